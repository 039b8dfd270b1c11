package voipcore

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// guards returns the relays that a box has links to now, most of all its
// guard: each link carries a padding cell every 15 s.
func (w *world) guards(b *box) (keys []pid.ID) {
	own := b.cfg.Network.(simHost).Addr()
	var mu sync.Mutex
	seen := map[netip.Addr]bool{}
	w.InterceptStreams(func(from, to netip.AddrPort, p []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if to.Addr() == own {
			seen[from.Addr()] = true
		}
		return p
	})
	time.Sleep(16 * time.Second)
	w.InterceptStreams(nil)
	for i, h := range w.hosts {
		if seen[h.Addr()] {
			keys = append(keys, w.relays[i].cfg.RelayKey.ID())
		}
	}
	return keys
}

func isAt(k pid.ID) func(wire.ExchangePoint) bool {
	return func(x wire.ExchangePoint) bool { return x.Relay == k }
}

// reachesWithin has a call b, and hang up. What a call may take, while relays are
// dead that its box counts on, is above the slowest of 200: 8.7 s when it happened
// just now, and 2.5 s two minutes later.
func reachesWithin(t testing.TB, limit time.Duration, a, b *box) {
	t.Helper()
	id, _ := connect(t, a, b)
	if ra, _ := hangUp(t, a, b, id); ra.Setup > limit {
		t.Errorf("the call took %v, want %v at most", ra.Setup, limit)
	}
}

// The machine of an exchange point loses its power, which nobody is told. A
// caller whose record names it finds the other one, in the same call; the
// callee gets a new one and publishes it.
func TestSimExchangePointKilled(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		old, _, err := a.lookup(t.Context(), b.key.ID())
		if err != nil || len(old.ExchangePoints) != pointsEach {
			t.Fatalf("lookup = %v; %d exchange points", err, len(old.ExchangePoints))
		}
		// Not b's guard: with that all of its tunnels would be gone.
		guards := w.guards(b)
		i := slices.IndexFunc(old.ExchangePoints, func(x wire.ExchangePoint) bool { return !slices.Contains(guards, x.Relay) })
		if i < 0 {
			t.Fatal("a box has its guards for exchange points")
		}
		dead := old.ExchangePoints[i].Relay
		w.kill(dead)
		reachesWithin(t, 12*time.Second, a, b)
		// One of the tunnels that wait at the other may lead through the dead
		// relay, too: then a caller tries again, as this one does.
		var r reached
		for range sparesEach + 1 {
			if r, _ = a.reachAt(t.Context(), a.key, b.key.ID(), old, &old.ExchangePoints[1-i], nil); r.err == nil {
				break
			}
		}
		if r.err != nil {
			t.Errorf("the other exchange point of the old record: %v", r.err)
		}
		r.drop()
		time.Sleep(3 * pointLost)
		now, _, err := a.lookup(t.Context(), b.key.ID())
		if err != nil || len(now.ExchangePoints) != pointsEach || slices.ContainsFunc(now.ExchangePoints, isAt(dead)) {
			t.Errorf("lookup = %v; the record has %+v", err, now)
		}
		mustReach(t, a, b)
	})
}

// All guards of both boxes lose their power, then three of eight relays in
// all: within two minutes the boxes have found other ways by themselves.
func TestSimRelaysKilled(t *testing.T) {
	inWorld(t, 9, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		mustReach(t, a, b)
		dead := append(w.guards(a), w.guards(b)...)
		slices.SortFunc(dead, func(x, y pid.ID) int { return slices.Compare(x[:], y[:]) })
		dead = slices.Compact(dead)
		for _, k := range dead {
			w.kill(k)
		}
		t.Logf("%d guards are dead", len(dead))
		time.Sleep(2 * time.Minute)
		mustReach(t, a, b)
		mustReach(t, b, a)
		for i := 0; len(dead) < 4; i++ {
			if k := w.relays[i].cfg.RelayKey.ID(); !slices.Contains(dead, k) {
				w.kill(k)
				dead = append(dead, k)
			}
		}
		time.Sleep(2 * time.Minute)
		reachesWithin(t, 8*time.Second, a, b)
		mustReach(t, a, b)
		reachesWithin(t, 8*time.Second, b, a)
		mustReach(t, b, a)
	})
}

// A box starts again with its state folder, and none of its bootstrap
// addresses answers any more: it knows the other relays.
func TestSimBootstrapDead(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		state, key := t.TempDir(), pid.NewKey()
		keep := func(c *Config) { c.State, c.Keys = state, []*pid.Key{key} }
		h := w.host("45.1.0.1")
		a, b := w.box(t, "a", h, keep), w.box(t, "b", w.host("45.2.0.1"), nil)
		mustReach(t, a, b)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range w.boot {
			w.kill(w.relays[i].cfg.RelayKey.ID())
		}
		time.Sleep(2 * time.Minute)
		again := w.box(t, "a again", h, keep)
		mustReach(t, again, b)
		mustReach(t, b, again)
		if n := again.relays.Len(); n < len(w.relays)-len(w.boot) {
			t.Errorf("%d relays are known after the restart", n)
		}
	})
}
