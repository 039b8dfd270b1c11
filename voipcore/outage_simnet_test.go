package voipcore

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"hushbell/voipcore/internal/simnet"
)

// wan is a plain way through the Internet.
var wan = simnet.Link{Delay: 15 * time.Millisecond, Jitter: 5 * time.Millisecond}

// UDP that is blocked from the start: the box is reachable without it, and
// voice takes the TCP link and says so. A firewall that comes in mid-call costs
// seconds, not the call, and when it goes voice takes UDP again.
func TestSimUDPBlocked(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		ha, hb := w.host("45.1.0.1"), w.host("45.2.0.1")
		ha.BlockUDP(true)
		a, b := w.box(t, "a", ha, nil), w.box(t, "b", hb, nil)
		overTCP := func(b *box) uint64 { return b.node.Traffic.VoiceOverTCP.Load() }
		mustReach(t, b, a)
		id, _ := connect(t, a, b)
		if worst := gap(5*time.Second, a, b); worst > 500*time.Millisecond {
			t.Errorf("blocked from the start: a gap of %v", worst)
		}
		if n := overTCP(a); n < 5*50 {
			t.Errorf("%d cells of the blocked box took TCP", n)
		}
		ha.BlockUDP(false)
		for _, step := range []struct {
			name    string
			host    *simnet.Host
			box     *box
			blocked bool
		}{
			{"caller's UDP comes", ha, a, false},
			{"callee's UDP goes", hb, b, true},
			{"callee's UDP comes", hb, b, false},
			{"caller's UDP goes", ha, a, true},
		} {
			step.host.BlockUDP(step.blocked)
			if worst := gap(8*time.Second, a, b); worst > 4*time.Second {
				t.Errorf("%s: a gap of %v", step.name, worst)
			}
			before := overTCP(step.box)
			if worst := gap(2*time.Second, a, b); worst > 500*time.Millisecond {
				t.Errorf("%s: after 8 s still a gap of %v", step.name, worst)
			}
			if tcp := overTCP(step.box) != before; tcp != step.blocked {
				t.Errorf("%s: voice over TCP is %v, want %v", step.name, tcp, step.blocked)
			}
		}
		hangUp(t, a, b, id)
	})
}

// Both boxes behind NATs that forget what is silent for 30 s: they are callable
// after hours, and a call stands.
func TestSimBehindNAT(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b, _, _ := w.natPair(t)
		mustReach(t, a, b)
		time.Sleep(time.Hour)
		mustReach(t, b, a)
		id, _ := connect(t, a, b)
		for range 3 {
			talk20ms(100, a, b)
			before := a.node.Traffic.VoiceOverTCP.Load() + b.node.Traffic.VoiceOverTCP.Load()
			talk20ms(100, a, b)
			if n := a.node.Traffic.VoiceOverTCP.Load() + b.node.Traffic.VoiceOverTCP.Load() - before; n != 0 {
				t.Errorf("%d cells took TCP", n)
			}
			time.Sleep(5 * time.Minute) // nobody says a word
		}
		hangUp(t, a, b, id)
	})
}

// A box that has only IPv6 and one that has only IPv4 call each other over
// relays that have both.
func TestSimBothFamilies(t *testing.T) {
	inWorld(t, 0, wan, func(t *testing.T, w *world) {
		for i := range 8 {
			v4, v6 := fmt.Sprintf("23.%d.0.1", i+1), fmt.Sprintf("2a%02x::1", i+1)
			h := w.Host(netip.MustParseAddr(v4), netip.MustParseAddr(v6))
			w.addRelay(t, h, func(c *Config) {
				c.Listen = netip.AddrPortFrom(netip.IPv6Unspecified(), simPort)
				c.Advertise = []netip.AddrPort{
					netip.AddrPortFrom(netip.MustParseAddr(v4), simPort), netip.AddrPortFrom(netip.MustParseAddr(v6), simPort),
				}
				if i == 0 {
					return
				}
				c.Bootstrap = []netip.AddrPort{w.boot[0], netip.AddrPortFrom(netip.MustParseAddr("2a01::1"), simPort)}
			})
		}
		six := func(c *Config) {
			c.Bootstrap = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("2a01::1"), simPort)}
		}
		a := w.box(t, "a", w.host("2b01::1"), six)
		b := w.box(t, "b", w.host("45.2.0.1"), nil)
		for _, x := range []*box{a, b} {
			if n := x.relays.Len(); n != len(w.relays) {
				t.Errorf("%d relays are known, want %d", n, len(w.relays))
			}
		}
		mustReach(t, a, b)
		mustReach(t, b, a)
		id, _ := connect(t, a, b)
		talk20ms(100, a, b)
		before := a.node.Traffic.VoiceOverTCP.Load() + b.node.Traffic.VoiceOverTCP.Load()
		talk20ms(100, a, b)
		if n := a.node.Traffic.VoiceOverTCP.Load() + b.node.Traffic.VoiceOverTCP.Load() - before; n != 0 {
			t.Errorf("%d cells took TCP", n)
		}
		hangUp(t, a, b, id)
	})
}

// natPair opens two boxes behind NATs of their own, with the same private address.
func (w *world) natPair(t testing.TB) (a, b *box, na, nb *simnet.NAT) {
	t.Helper()
	inside := netip.MustParseAddr("192.168.0.2")
	na, nb = w.NAT(netip.MustParseAddr("45.1.0.1")), w.NAT(netip.MustParseAddr("45.2.0.1"))
	return w.box(t, "a", na.Host(inside), nil), w.box(t, "b", nb.Host(inside), nil), na, nb
}

// A NAT gets another address in mid-call, as lines do every night. Voice heals
// itself within moments. The TCP links are gone for good: heartbeats find that
// out and end the call on both sides, and both boxes are callable again.
func TestSimAddressChanges(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b, na, nb := w.natPair(t)
		for who, change := range map[string]func(){
			"caller": func() { na.SetAddrs(netip.MustParseAddr("46.1.0.1")) },
			"callee": func() { nb.SetAddrs(netip.MustParseAddr("46.2.0.1")) },
		} {
			connect(t, a, b)
			gap(2*time.Second, a, b)
			change()
			if worst := gap(5*time.Second, a, b); worst > 2500*time.Millisecond {
				t.Errorf("%s: voice was away for %v", who, worst)
			}
			for _, end := range []*box{a, b} {
				if e := end.told(t, Lost, 25*time.Second); e.Err != ErrSilent && e.Err != ErrCut {
					t.Errorf("%s: told %v", who, e.Err)
				}
			}
			time.Sleep(90 * time.Second)
			mustReach(t, a, b)
			mustReach(t, b, a)
		}
	})
}

// The network is cut for a minute, and for longer. After that both boxes are
// callable again by themselves, and they know when they are not.
func TestSimNetworkCut(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		ha, hb := w.host("45.1.0.1"), w.host("45.2.0.1")
		a, b := w.box(t, "a", ha, nil), w.box(t, "b", hb, nil)
		c := w.box(t, "c", w.host("45.3.0.1"), nil)
		for _, d := range []time.Duration{time.Minute, 10 * time.Minute} {
			connect(t, a, b)
			gap(time.Second, a, b)
			cut := time.Now()
			ha.Cut()
			hb.Cut()
			for _, x := range []*box{a, b} {
				x.told(t, Lost, 25*time.Second)
				if e := x.told(t, Reachability, time.Minute); e.Online {
					t.Error("a box without a network is told that it is online")
				}
			}
			time.Sleep(time.Until(cut.Add(d)))
			healed := time.Now()
			ha.Heal()
			hb.Heal()
			for _, x := range []*box{a, b} {
				if e := x.told(t, Reachability, 15*time.Second); !e.Online {
					t.Error("told twice that it is offline")
				}
			}
			time.Sleep(time.Until(healed.Add(20 * time.Second)))
			mustReach(t, c, a)
			mustReach(t, c, b)
			mustReach(t, a, b)
		}
	})
}

// All machines are suspended in a call, over a midnight, for longer than a record
// is valid: no timer has moved when they go on. The call is over, and a minute
// later all can be called, under the key of the new day.
func TestSimSuspended(t *testing.T) {
	const night = 8 * time.Hour
	var asleep atomic.Int64
	// A bubble begins at midnight; this one at 22 o'clock.
	wall := func() time.Time { return time.Now().Add(22*time.Hour + time.Duration(asleep.Load())) }
	at := func(c *Config) {
		c.Wall, c.Asleep = wall, func() time.Duration { return time.Duration(asleep.Load()) }
	}
	inWorld(t, 0, wan, func(t *testing.T, w *world) {
		for i := range 8 {
			w.addRelay(t, w.host(fmt.Sprintf("23.%d.0.1", i+1)), at)
		}
		a, b := w.box(t, "a", w.host("45.1.0.1"), at), w.box(t, "b", w.host("45.2.0.1"), at)
		connect(t, a, b)
		gap(time.Second, a, b)
		asleep.Add(int64(night))
		for _, x := range []*box{a, b} {
			x.told(t, Lost, 30*time.Second)
		}
		time.Sleep(90 * time.Second)
		mustReach(t, a, b)
		mustReach(t, b, a)
		rec, _, err := a.lookup(t.Context(), b.key.ID())
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Unix(rec.ValidUntil, 0).Sub(wall()); left < recordValid-3*time.Minute {
			t.Errorf("the record is valid for %v", left)
		}
	})
}
