package voipcore

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/wire"
)

// An attacker on any link of a call sends garbage, repeats or takes out bytes
// of the TCP stream, in either direction. That ends the link, and with it the
// call, on both sides; it ends no box and no relay.
func TestSimStreamsTamperedWith(t *testing.T) {
	attacks := map[string]func(b []byte) []byte{
		"garbage":  func(b []byte) []byte { rand.Read(b); return b },
		"bit":      func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"repeated": func(b []byte) []byte { return append(slices.Clone(b), b...) },
		"cut":      func(b []byte) []byte { return nil },
		"added":    func(b []byte) []byte { return append(slices.Clone(b), make([]byte, 600)...) },
	}
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		own := a.cfg.Network.(simHost).Host
		n := 0
		for name, attack := range attacks {
			connect(t, a, b)
			n++
			from, to := w.link(own, a.legTunnel(), n%3)
			if n%2 == 0 {
				from, to = to, from
			}
			done := false // Intercept has one call at a time
			w.InterceptStreams(func(f, t netip.AddrPort, p []byte) []byte {
				if done || f.Addr() != from.Addr() || t.Addr() != to.Addr() {
					return p
				}
				done = true
				return attack(p)
			})
			for _, end := range []*box{a, b} {
				if e := end.told(t, Lost, 25*time.Second); e.Err != ErrCut && e.Err != ErrSilent {
					t.Errorf("%s on link %d: told %v", name, n%3, e.Err)
				}
			}
			w.InterceptStreams(nil)
			time.Sleep(time.Minute) // the callee's spares may have been on the same link
			mustReach(t, a, b)
			mustReach(t, b, a)
		}
	})
}

// A box in a call is under fire at its UDP port, which is all that it has open:
// noise, KRPC, and cells with the link id of its guard, which an attacker on the
// line sees. The call does not notice.
func TestSimGarbageOnTheBox(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		id, _ := connect(t, a, b)
		gap(2*time.Second, a, b)
		own := a.cfg.Network.(simHost).Addr()
		var guard, port netip.AddrPort
		var head []byte // link id and counter of a cell
		w.Intercept(func(from, to netip.AddrPort, p []byte) []byte {
			if to.Addr() == own && head == nil && len(p) == wire.VoiceCellSize {
				guard, port, head = from, to, slices.Clone(p[:12])
			}
			return p
		})
		gap(time.Second, a, b)
		w.Intercept(nil)
		if head == nil {
			t.Fatal("no cell goes to the box")
		}
		before := a.node.Traffic.VoiceDropped.Load()
		fire := time.NewTicker(time.Millisecond)
		defer fire.Stop()
		end := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				case <-fire.C:
				}
				p := make([]byte, wire.VoiceCellSize)
				rand.Read(p)
				switch i % 4 {
				case 0:
					p = p[:i%len(p)]
				case 1:
					p[0] = wire.FirstByteKRPC
				case 2:
					copy(p, head)
				}
				w.Inject(guard, port, p)
			}
		})
		worst := gap(10*time.Second, a, b)
		close(end)
		wg.Wait()
		if worst > 200*time.Millisecond {
			t.Errorf("under fire there was a gap of %v", worst)
		}
		if n := a.node.Traffic.VoiceDropped.Load() - before; n < 5000 {
			t.Errorf("%d packets were counted as dropped, the test is none", n)
		}
		hangUp(t, a, b, id)
		mustReach(t, b, a)
	})
}

// The stream of one side stalls while its voice goes on: what is heard does
// not keep a call alive that can no longer be hung up. Heartbeats find out, and
// end it on both sides.
func TestSimStreamStalls(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		for _, side := range []*box{a, b} {
			connect(t, a, b)
			gap(2*time.Second, a, b)
			near, far := w.link(side.cfg.Network.(simHost).Host, side.legTunnel(), 0)
			w.InterceptStreams(func(f, t netip.AddrPort, p []byte) []byte {
				if f.Addr() == near.Addr() && t.Addr() == far.Addr() || f.Addr() == far.Addr() && t.Addr() == near.Addr() {
					return nil
				}
				return p
			})
			if worst := gap(10*time.Second, a, b); worst > time.Second {
				t.Errorf("voice had a gap of %v, though only the stream is stalled", worst)
			}
			for _, end := range []*box{a, b} {
				if e := end.told(t, Lost, 15*time.Second); e.Err != ErrSilent {
					t.Errorf("told %v, want ErrSilent", e.Err)
				}
			}
			w.InterceptStreams(nil)
			time.Sleep(90 * time.Second)
			mustReach(t, a, b)
		}
	})
}

// Hanging up works at once, whatever the far side does.
func TestSimHangUpWhileFarSideIsUnreachable(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		c := w.box(t, "c", w.host("45.3.0.1"), nil)
		far := b.cfg.Network.(simHost).Host
		for name, cut := range map[string]func(yes bool){
			"the far box has no network": func(yes bool) {
				if yes {
					far.Cut()
				} else {
					far.Heal()
				}
			},
			"nor have we": func(yes bool) {
				own := a.cfg.Network.(simHost).Host
				if yes {
					own.Cut()
				} else {
					own.Heal()
				}
			},
		} {
			id, _ := connect(t, a, b)
			talk20ms(20, a, b)
			cut(true)
			a.HangUp(id)
			a.told(t, Ended, time.Second)
			var pcm [960]int16
			if a.Speak(&pcm) {
				t.Errorf("%s: there is sound after hanging up", name)
			}
			time.Sleep(2*time.Second + time.Millisecond)
			if n := a.legs(); n != 0 {
				t.Errorf("%s: 2 s after hanging up %d calls are there", name, n)
			}
			b.told(t, Lost, 25*time.Second)
			cut(false)
			time.Sleep(time.Minute)
			mustReach(t, a, c)
			mustReach(t, a, b)
		}
	})
}
