package kx

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/wire"
)

// waitingAt returns how many tunnels are registered and how many JOINs wait.
func (p *points) waitingAt(cookie [16]byte) (registered, joining int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting[cookie]), len(p.joining[cookie])
}

// streamOf returns the relay's end of the last tunnel that a client opened.
func streamOf(t testing.TB, r *loopRelay, client *Tunnel) *stream {
	t.Helper()
	var found *stream
	eventually(t, "the relay has the tunnel", func() bool {
		for _, l := range r.links.list() {
			l.mu.Lock()
			if !l.dialed && l.udp.txID.Load() == client.first.l.udp.rxID {
				found = l.streams[client.first.id]
			}
			l.mu.Unlock()
		}
		return found != nil
	})
	return found
}

func TestCalleeMaySpeakFirst(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, secret := within(t), NewSecret()
	cookie := Cookie(&secret)
	out, err := newLoopClient(t).Build(ctx, path(x))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := writeHopMessage(out.conn, &wire.HopMessage{Type: wire.KXJoin, Cookie: cookie}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the JOIN waits", func() bool { _, j := x.points.waitingAt(cookie); return j == 1 })

	// The exchange point cannot write to the caller for now.
	s := streamOf(t, x, out)
	s.l.mu.Lock()
	credit := s.credit
	s.credit, s.outLen = 0, outCells
	s.l.mu.Unlock()

	in, err := newLoopClient(t).BuildIn(ctx, path(x), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := in.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	callee := streamOf(t, x, in)
	read := func() (cell int, all bool) {
		callee.l.mu.Lock()
		defer callee.l.mu.Unlock()
		return callee.inHead, callee.inLen == 0
	}
	before, _ := read()
	in.Write([]byte("hush"))
	eventually(t, "the exchange point has read what the callee said", func() bool {
		now, all := read()
		return all && now != before
	})
	s.l.mu.Lock()
	s.credit, s.outLen = credit, 0
	s.wakeLocked()
	s.l.mu.Unlock()

	var buf [wire.MaxHopMessageSize]byte
	if m, err := readHopMessage(out.conn, &buf); err != nil || m.Type != wire.KXReady {
		t.Fatalf("the JOIN was answered by %v, %v", m, err)
	}
	var got [4]byte
	if _, err := io.ReadFull(out, got[:]); err != nil || string(got[:]) != "hush" {
		t.Errorf("the caller reads %q, %v", got, err)
	}
}

func TestJoinOfCallerWhoLeftUsesNothingUp(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, secret := within(t), NewSecret()
	cookie := Cookie(&secret)
	gone, err := newLoopClient(t).Build(ctx, path(x))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeHopMessage(gone.conn, &wire.HopMessage{Type: wire.KXJoin, Cookie: cookie}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the JOIN waits", func() bool { _, j := x.points.waitingAt(cookie); return j == 1 })
	s := streamOf(t, x, gone)
	gone.Close()
	eventually(t, "the exchange point knows that the caller left", func() bool {
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		return s.gone
	})
	in, err := newLoopClient(t).BuildIn(ctx, path(x), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := newLoopClient(t).BuildOut(ctx, path(x), cookie)
	if err != nil {
		t.Fatalf("the callee's only tunnel went to a caller who had left: %v", err)
	}
	defer out.Close()
	if err := in.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	talk(t, out, in)
}

func TestJoinOnEmptyPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		x, caller := s.relay(t, nil, "5.5.0.1"), s.client(t, "9.9.0.1")
		secret := NewSecret()
		start := time.Now()
		_, err := caller.BuildOut(t.Context(), []Relay{x.Relay}, Cookie(&secret))
		if took := time.Since(start); !errors.Is(err, ErrNobody) || took != joinWait {
			t.Errorf("JOIN where nobody is registered: %v after %v, want ErrNobody after %v", err, took, joinWait)
		}
		if r, j := x.points.waitingAt(Cookie(&secret)); r != 0 || j != 0 {
			t.Errorf("the exchange point remembers %d tunnels and %d JOINs", r, j)
		}
	})
}

func TestJoinWaitsForRegister(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, secret := within(t), NewSecret()
	callee := newLoopClient(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	var in *Tunnel
	wg.Go(func() {
		eventually(t, "the JOIN waits", func() bool { _, j := x.points.waitingAt(Cookie(&secret)); return j == 1 })
		var err error
		if in, err = callee.BuildIn(ctx, path(x), secret); err != nil {
			t.Error(err)
		}
	})
	out, err := newLoopClient(t).BuildOut(ctx, path(x), Cookie(&secret))
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := in.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	talk(t, out, in)
}

func TestForeignRegisterIsRefused(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, secret := within(t), NewSecret()
	cookie := Cookie(&secret)
	in, err := newLoopClient(t).BuildIn(ctx, path(x), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	thief, err := newLoopClient(t).Build(ctx, path(x))
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	if err := thief.register(ctx, cookie, NewSecret()); !errors.Is(err, ErrRefused) {
		t.Errorf("REGISTER with a wrong secret: %v, want ErrRefused", err)
	}
	if r, _ := x.points.waitingAt(cookie); r != 1 {
		t.Errorf("%d tunnels are registered, want the owner's", r)
	}
}

func TestOwnRegisterAfterCutIsTaken(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, secret := within(t), NewSecret()
	cookie := Cookie(&secret)
	callee := newLoopClient(t)
	if _, err := callee.BuildIn(ctx, path(x), secret); err != nil {
		t.Fatal(err)
	}
	callee.links.list()[0].close(errors.New("cut by the test"))
	eventually(t, "the exchange point notices the cut", func() bool { r, _ := x.points.waitingAt(cookie); return r == 0 })
	in, err := callee.BuildIn(ctx, path(x), secret)
	if err != nil {
		t.Fatal(err)
	}
	out, err := newLoopClient(t).BuildOut(ctx, path(x), cookie)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	talk(t, out, in)
}

func TestSparesTakeThePlaceOfTheOldest(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{Registrations: maxSpares})
	ctx, secret := within(t), NewSecret()
	callee := newLoopClient(t)
	var ins []*Tunnel
	for range maxSpares + 2 {
		in, err := callee.BuildIn(ctx, path(x), secret)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		ins = append(ins, in)
		eventually(t, "the tunnel is registered", func() bool {
			r, _ := x.points.waitingAt(Cookie(&secret))
			return r == min(len(ins), maxSpares)
		})
	}
	for i, in := range ins[:2] {
		if err := in.Ready(ctx); !errors.Is(err, ErrFull) {
			t.Errorf("tunnel %d, one too many: %v, want ErrFull", i, err)
		}
	}
	for range maxSpares {
		out, err := newLoopClient(t).BuildOut(ctx, path(x), Cookie(&secret))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
	}
	for _, in := range ins[2:] {
		if err := in.Ready(ctx); err != nil {
			t.Errorf("a spare was not joined: %v", err)
		}
	}
}

func TestRegistrationsLimit(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{Registrations: 2})
	ctx := within(t)
	callee := newLoopClient(t)
	var ins []*Tunnel
	for range 2 {
		in, err := callee.BuildIn(ctx, path(x), NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		ins = append(ins, in)
	}
	left := func(n int) func() bool {
		return func() bool {
			x.points.mu.Lock()
			defer x.points.mu.Unlock()
			return x.points.left == n
		}
	}
	eventually(t, "both are registered", left(0)) // before the thirdovertakes one
	refused := func() error {
		in, err := callee.BuildIn(ctx, path(x), NewSecret())
		if err != nil {
			return err
		}
		return in.Ready(ctx)
	}
	if err := refused(); !errors.Is(err, ErrFull) {
		t.Errorf("one registration too many: %v, want ErrFull", err)
	}
	ins[0].Close()
	eventually(t, "there is room again", left(1))
	in, err := callee.BuildIn(ctx, path(x), NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
}

func TestSeveralCallersAtOnce(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, secret := within(t), NewSecret()
	callee := newLoopClient(t)
	const callers = 6
	var wg sync.WaitGroup
	for range callers {
		// The callee replaces what is used up; half of the JOINs come first.
		wg.Go(func() {
			in, err := callee.BuildIn(ctx, path(x), secret)
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			if err := in.Ready(ctx); err != nil {
				t.Error(err)
				return
			}
			io.Copy(in, in) // an echo
		})
		wg.Go(func() {
			out, err := newLoopClient(t).BuildOut(ctx, path(x), Cookie(&secret))
			if err != nil {
				t.Error(err)
				return
			}
			defer out.Close()
			say := string(out.path[0].Key[:]) + string(secret[:])
			out.Write([]byte(say))
			got := make([]byte, len(say))
			if _, err := io.ReadFull(out, got); err != nil || string(got) != say {
				t.Errorf("echo came out different: %v", err)
			}
		})
	}
	wg.Wait()
	if r, j := x.points.waitingAt(Cookie(&secret)); r != 0 || j != 0 {
		t.Errorf("%d tunnels and %d JOINs are left", r, j)
	}
	eventually(t, "all registrations are given back", func() bool {
		x.points.mu.Lock()
		defer x.points.mu.Unlock()
		return x.points.left == x.limits.Registrations
	})
}

// Who joins with the cookie alone, as the exchange point itself could, gets a
// stream on which a callee says nothing. It reads what the callee sends and no
// more: no address, no key.
func TestJoinOfOwnCookieGivesSilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		guard, x := s.relay(t, nil, "5.5.0.1"), s.relay(t, nil, "5.6.0.1")
		callee := s.client(t, "9.9.0.1")
		secret := NewSecret()
		in, err := callee.BuildIn(t.Context(), []Relay{guard.Relay, x.Relay}, secret)
		if err != nil {
			t.Fatal(err)
		}
		spy, err := x.BuildOut(t.Context(), []Relay{x.Relay}, Cookie(&secret))
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		var heard atomic.Int32
		spy.OnVoice(func(*wire.Frame) { heard.Add(1) })
		spy.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := spy.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || heard.Load() != 0 {
			t.Errorf("%d bytes and %d frames came from a callee that said nothing, %v", n, heard.Load(), err)
		}
		for _, a := range []net.Addr{spy.RemoteAddr(), spy.LocalAddr()} {
			if a.String() != "tunnel" {
				t.Errorf("the tunnel's end tells an address: %v", a)
			}
		}
		if p := spy.Path(); len(p) != 1 || p[0].Key != x.Key {
			t.Errorf("the spy sees a path of %v", p)
		}
		spy.Close()
		in.Close()
	})
}

// A tunnel that waits ends while the JOIN for it is under way, and another one
// takes its place: whatever comes first, the caller gets a clear answer.
func TestTunnelReplacedWhileJoinIsUnderWay(t *testing.T) {
	x, callee, caller := newLoopRelay(t, nil, Limits{}), newLoopClient(t), newLoopClient(t)
	ctx := within(t)
	var joined, nobody int
	for i := range 60 {
		secret := NewSecret()
		old, err := callee.BuildIn(ctx, path(x), secret)
		if err != nil {
			t.Fatal(err)
		}
		out, err := caller.Build(ctx, path(x))
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := callee.Build(ctx, path(x))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		replaced := make(chan struct{})
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 10 * time.Microsecond) // another moment each time
			old.Close()
			// It fails only where the old one was joined and we are done here.
			err := fresh.register(ctx, Cookie(&secret), secret)
			close(replaced)
			if err == nil && fresh.Ready(ctx) == nil {
				io.Copy(fresh, fresh)
			}
		})
		if i%4 == 0 { // the JOIN comes last, and takes the fresh tunnel
			<-replaced
			eventually(t, "the fresh tunnel alone waits", func() bool {
				x.points.mu.Lock()
				defer x.points.mu.Unlock()
				ws := x.points.waiting[Cookie(&secret)]
				return len(ws) == 1 && ws[0].h.in.id == fresh.first.id
			})
		}
		_, err = out.request(ctx, &wire.HopMessage{Type: wire.KXJoin, Cookie: Cookie(&secret)}, wire.KXReady)
		if err != nil {
			t.Fatalf("JOIN: %v", err)
		}
		out.SetDeadline(time.Now().Add(patience))
		out.Write([]byte("x"))
		switch _, err := out.Read(make([]byte, 1)); {
		case err == nil:
			joined++
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Error("the caller hangs at a dead tunnel")
		default: // it was the old one, whose end came just after
			nobody++
		}
		out.Close()
		fresh.Close()
		wg.Wait()
	}
	t.Logf("%d joined to the fresh tunnel, %d to the old one", joined, nobody)
	if joined < 15 {
		t.Errorf("%d JOINs found the fresh tunnel, want at least the 15 that came after it", joined)
	}
}
