package kx

import (
	"net"
	"testing"
	"time"

	"hushbell/voipcore/wire"
)

// perCells is how many cells an allocation test looks at: AllocsPerRun rounds
// down, so one cell would prove nothing.
const perCells = 1000

// allocsPerCells returns what perCells calls of one allocate.
func allocsPerCells(one func()) float64 {
	return leastAllocs(func() {
		for range perCells {
			one()
		}
	})
}

// leastAllocs returns what f allocates. It is the least of three runs: the runtime
// itself allocates now and then, when a goroutine waits on more than it ever did,
// and so do links and timers. What allocates once a cell does so each time.
func leastAllocs(f func()) float64 {
	least := testing.AllocsPerRun(1, f)
	for i := 0; i < 2 && least > 0; i++ {
		least = min(least, testing.AllocsPerRun(1, f))
	}
	return least
}

// A voiceRun sends frames one by one through a splice and waits for each.
type voiceRun struct {
	from  *Tunnel
	heard chan struct{}
	limit *time.Timer
	f     wire.Frame
}

func newVoiceRun(t testing.TB, from, to *Tunnel) *voiceRun {
	r := &voiceRun{from: from, heard: make(chan struct{}, 1), limit: time.NewTimer(5 * time.Minute)}
	t.Cleanup(func() { r.limit.Stop() })
	to.OnVoice(func(*wire.Frame) {
		select {
		case r.heard <- struct{}{}:
		default:
		}
	})
	return r
}

func (r *voiceRun) one() bool {
	if r.from.SendVoice(&r.f) != nil {
		return false
	}
	select {
	case <-r.heard:
		return true
	case <-r.limit.C:
		return false
	}
}

// udpUp waits until voice takes UDP everywhere, both ways.
func (s *splice) udpUp(t testing.TB) {
	t.Helper()
	count := func() (n uint64) {
		for _, r := range s.relays {
			n += r.Traffic.VoiceOverTCP.Load()
		}
		return n + s.nodes[0].Traffic.VoiceOverTCP.Load() + s.nodes[1].Traffic.VoiceOverTCP.Load()
	}
	a, b := newVoiceRun(t, s.caller, s.callee), newVoiceRun(t, s.callee, s.caller)
	eventually(t, "voice takes UDP everywhere", func() bool {
		before := count()
		for range 10 {
			if !a.one() || !b.one() {
				t.Fatal("voice does not arrive")
			}
		}
		return count() == before
	})
}

// Sender, four relays, the exchange point and the receiver are all in this
// process, over real sockets: none of them allocates.
func TestVoiceDoesNotAllocate(t *testing.T) {
	s := newSplice(t)
	s.udpUp(t)
	for _, ends := range [][2]*Tunnel{{s.caller, s.callee}, {s.callee, s.caller}} {
		r := newVoiceRun(t, ends[0], ends[1])
		if n := allocsPerCells(func() {
			if !r.one() {
				t.Fatal("voice does not arrive")
			}
		}); n != 0 {
			t.Errorf("%v allocations for %d cells over 6 links, want 0", n, perCells)
		}
	}
}

// What is dropped allocates as little as what is carried: forged for the link,
// repeated, for a tunnel that is not there, forged for the layer, of unknown
// links, of wrong size, and KRPC.
func TestDroppedCellsDoNotAllocate(t *testing.T) {
	s := newSplice(t)
	s.udpUp(t)
	guard := s.relays[0].Node
	l := clientLink(s.relays[0])
	from := *l.udp.to.Load()
	tx := s.caller.first.l.udp.tx
	id := s.caller.first.l.udp.txID.Load()
	for _, c := range []struct {
		name string
		make func(*wire.VoiceCell)
	}{
		{"forged", func(c *wire.VoiceCell) { tx.Seal(c, id); c[200] ^= 1 }},
		{"of an unknown link", func(c *wire.VoiceCell) { tx.Seal(c, id^1) }},
		{"of an unknown tunnel", func(c *wire.VoiceCell) { c.SetTunnelID(999); tx.Seal(c, id) }},
		{"with a forged layer", func(c *wire.VoiceCell) { c.SetTunnelID(s.caller.first.id); tx.Seal(c, id) }},
	} {
		var cell wire.VoiceCell
		before := guard.Traffic.VoiceDropped.Load()
		made := uint64(0)
		if n := allocsPerCells(func() {
			c.make(&cell)
			guard.takeCell(&cell, from)
			made++
		}); n != 0 {
			t.Errorf("%s: %v allocations for %d cells, want 0", c.name, n, perCells)
		}
		if got := guard.Traffic.VoiceDropped.Load() - before; got != made {
			t.Errorf("%s: %d cells were dropped, want %d", c.name, got, made)
		}
	}
	// Through the socket: other sizes, and KRPC that nobody takes.
	u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.relays[0].Addrs[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	short, krpc := make([]byte, 100), append([]byte{wire.FirstByteKRPC}, make([]byte, 99)...)
	began := guard.Traffic.VoiceDropped.Load()
	if n := leastAllocs(func() {
		for range perCells / 10 {
			before := guard.Traffic.VoiceDropped.Load()
			for range 10 {
				u.Write(krpc)
				u.Write(short)
			}
			// Not faster than it reads. It sleeps for long enough that the
			// runtime, on the one processor that it has here, polls sockets.
			for try := 0; guard.Traffic.VoiceDropped.Load() < before+10 && try < 1000; try++ {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}); n != 0 {
		t.Errorf("of other sizes: %v allocations, want 0", n)
	}
	if got := guard.Traffic.VoiceDropped.Load() - began; got < perCells {
		t.Errorf("of other sizes: %d were dropped, want %d", got, 2*perCells)
	}
}

// Keep-alive cells, while voice flows, are on the voice path too.
func TestKeepAliveDoesNotAllocate(t *testing.T) {
	s := newSplice(t)
	s.udpUp(t)
	l := s.caller.first.l
	if n := allocsPerCells(func() {
		l.udp.ping(time.Now())
		for {
			l.udp.mu.Lock()
			waiting := !l.udp.waiting.IsZero()
			l.udp.mu.Unlock()
			if !waiting {
				break
			}
			time.Sleep(10 * time.Microsecond)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d pings and pongs, want 0", n, perCells)
	}
}
