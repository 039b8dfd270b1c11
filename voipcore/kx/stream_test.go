package kx

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/wire"
)

// Who does not read stops his own tunnel, and no other one on the same links.
func TestStalledReaderDelaysNobodyElse(t *testing.T) {
	rs := relays(t, 3)
	caller, callee := newLoopClient(t), newLoopClient(t)
	out, in := path(rs[0], rs[1]), path(rs[2], rs[1])
	stalled, _ := join(t, caller, callee, out, in)
	from, to := join(t, caller, callee, out, in)
	if stalled.first.l != from.first.l {
		t.Fatal("the two tunnels have no link in common")
	}
	// Fill all that holds anything on the way; the callee never reads.
	stalled.SetWriteDeadline(time.Now().Add(patience))
	var written atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := stalled.Write(make([]byte, 1024))
			written.Add(int64(m))
			if err != nil {
				return
			}
		}
	}()
	full := func() bool {
		s := stalled.first
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		return s.credit == 0 && s.outLen == outCells
	}
	// What it has no credit for now may go on in a moment: it is stalled when
	// nothing has moved in all of fifty rounds of the other one.
	eventually(t, "the tunnel is full", func() bool {
		before, was := written.Load(), full()
		for range 50 {
			talk(t, from, to)
		}
		return was && full() && written.Load() == before
	})
	big := make([]byte, 100_000)
	go from.Write(big)
	if _, err := io.ReadFull(to, big); err != nil {
		t.Fatal(err)
	}
	stalled.Close()
	<-done
	if n := written.Load(); n > 1<<20 {
		t.Errorf("%d bytes were written to a reader that reads none", n)
	}
}

// Tunnels with something to send take turns, one cell each; what has no credit
// is passed over.
func TestTunnelsTakeTurns(t *testing.T) {
	n := newLoopClient(t)
	l := &link{node: n, streams: map[uint32]*stream{}}
	l.toWrite.L = &l.mu
	for _, id := range []uint32{1, 3, 5} {
		s := newStream(l, id, n.cells.get(0))
		l.streams[id] = s
		if id == 3 {
			s.credit = 1
		}
		if _, err := s.Write(make([]byte, outCells*wire.CellDataSize)); err != nil {
			t.Fatal(err)
		}
	}
	var order []uint32
	for c := (wire.Cell{}); l.nextLocked(&c); {
		order = append(order, c.Tunnel)
	}
	if want := []uint32{1, 3, 5, 1, 5, 1, 5, 1, 5}; !slices.Equal(order, want) {
		t.Errorf("cells of tunnels %v, want %v", order, want)
	}
}

// More cells than credit cost the tunnel, and only that.
func TestCreditExceeded(t *testing.T) {
	r, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	var ts [2]*Tunnel
	for i := range ts {
		var err error
		if ts[i], err = n.Build(within(t), path(r)); err != nil {
			t.Fatal(err)
		}
	}
	// The relay is the one that cheats: the client reads nothing meanwhile.
	s := streamOf(t, r, ts[0])
	s.l.mu.Lock()
	s.credit = 1000
	s.l.mu.Unlock()
	s.SetWriteDeadline(time.Now().Add(patience))
	var err error
	for err == nil { // until the client has noticed
		_, err = s.Write(make([]byte, wire.CellDataSize))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("more than credit was written, and the tunnel goes on")
	}
	eventually(t, "the client ends the tunnel", ts[0].first.ended)
	if _, err := ts[1].Describe(within(t)); err != nil {
		t.Errorf("another tunnel of the link suffers: %v", err)
	}
}

// A window of cells is taken, one more is not.
func TestWindow(t *testing.T) {
	n := newLoopClient(t)
	s := newStream(&link{node: n, streams: map[uint32]*stream{}}, 1, n.cells.get(0))
	data := wire.Cell{Tunnel: 1, Command: wire.CellData, Length: 1}
	for i := range wire.Credit {
		if err := s.takeLocked(&data); err != nil {
			t.Errorf("cell %d: %v", i, err)
		}
	}
	if err := s.takeLocked(&data); err == nil {
		t.Error("a cell more than credit was taken")
	}
}

// Too much credit costs the tunnel, and only that.
func TestTooMuchCredit(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	l := dialRaw(t, r.Relay)
	credit := wire.Cell{Tunnel: 1, Command: wire.CellCredit, Length: 2}
	credit.Data[1] = 1
	l.send(wire.Cell{Tunnel: 1, Command: wire.CellCreate}, wire.Cell{Tunnel: 3, Command: wire.CellCreate}, credit)
	l.mustRefuse(1, wire.ReasonProtocol)
	// The other tunnel, and the link, stand.
	l.send(wire.Cell{Tunnel: 5, Command: wire.CellCreate}, wire.Cell{Tunnel: 5, Command: wire.CellCredit, Length: 2, Data: credit.Data})
	l.mustRefuse(5, wire.ReasonProtocol)
	eventually(t, "the tunnels' slots are given back, but for the one that stands", func() bool { return r.slots() == 1 })
}

func TestStreamDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r, n := s.relay(t, nil, "5.5.0.1"), s.client(t, "9.9.0.1")
		tun, err := n.Build(t.Context(), []Relay{r.Relay})
		if err != nil {
			t.Fatal(err)
		}
		defer tun.Close()
		f := tun.first
		read := func() (time.Duration, error) {
			start := time.Now()
			_, err := f.Read(make([]byte, 1))
			return time.Since(start), err
		}
		f.SetReadDeadline(time.Now().Add(3 * time.Second))
		if took, err := read(); took != 3*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read returns after %v with %v", took, err)
		}
		if took, err := read(); took != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a second Read returns after %v with %v", took, err)
		}
		f.SetReadDeadline(time.Now().Add(-time.Second))
		if took, err := read(); took != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with a deadline that is past, Read returns after %v with %v", took, err)
		}
		// A deadline that was moved before it passed does not strike.
		f.SetReadDeadline(time.Now().Add(time.Second))
		f.SetReadDeadline(time.Now().Add(5 * time.Second))
		if took, _ := read(); took != 5*time.Second {
			t.Errorf("Read returns after %v, want 5 s", took)
		}
		// One that is set while somebody reads does.
		f.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { f.SetReadDeadline(time.Now()) })
		if took, err := read(); took != time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read returns after %v with %v", took, err)
		}
		// Writing: the relay's hop reads no garbage, so credit runs out.
		f.SetWriteDeadline(time.Now().Add(2 * time.Second))
		start := time.Now()
		f.l.mu.Lock()
		f.credit = 0
		f.l.mu.Unlock()
		if _, err := f.Write(make([]byte, 10*wire.CellDataSize)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("Write returns after %v with %v", time.Since(start), err)
		}
	})
}

// What was written before Close arrives, as far as credit reaches.
func TestWrittenBeforeClose(t *testing.T) {
	s := newSplice(t)
	s.caller.Write([]byte("good bye"))
	s.caller.Close()
	got, err := io.ReadAll(s.callee)
	if string(got) != "good bye" {
		t.Errorf("%q arrived, %v", got, err)
	}
}

// Close wakes who reads, and twice is as good as once.
func TestClosedStream(t *testing.T) {
	r, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	tun, err := n.Build(within(t), path(r))
	if err != nil {
		t.Fatal(err)
	}
	s := tun.first
	read := make(chan error, 1)
	go func() { _, err := s.Read(make([]byte, 1)); read <- err }()
	for range 3 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read during Close: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := s.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	s.SetDeadline(time.Now().Add(time.Millisecond))
	eventually(t, "both slots are given back", func() bool { return n.slots() == 0 && r.slots() == 0 })
	// Nothing that comes later gives them back again.
	s.l.close(errors.New("closed by the test"))
	s.Close()
	if n.slots() != 0 {
		t.Errorf("%d slots are in use", n.slots())
	}
}
