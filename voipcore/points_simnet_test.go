package voipcore

import (
	"slices"
	"testing"
	"time"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// The callee changes its exchange points at any moment of a caller's lookup and
// JOIN: it was switched off and on again, so the old ones are gone at once. The
// caller notices, looks again and gets through in the same call.
func TestSimExchangePointsChangeDuringJoin(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		state, key := t.TempDir(), pid.NewKey()
		keep := func(c *Config) { c.State, c.Keys = state, []*pid.Key{key} }
		a, h := w.box(t, "a", w.host("45.1.0.1"), nil), w.host("45.2.0.1")
		b := w.box(t, "b", h, keep)
		mustReach(t, a, b)
		waited := 0 // JOINs that were at an exchange point that was left meanwhile
		step := 100 * time.Millisecond
		if testing.Short() {
			step *= 4
		}
		for at := time.Duration(0); at < 1500*time.Millisecond; at += step {
			a.forget()
			id := a.call(t, key.ID())
			time.Sleep(at)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = w.offline(t, "b", h, keep)
			switch e := a.first(t, time.Minute, Answered, Declined, Ended); {
			case e.Kind == Ended:
				t.Errorf("after %v: ended before it was answered", at)
			case e.Kind == Declined: // it was there already, and was hung up by who switched off
			case e.Report.Setup > 2*time.Second:
				waited++
				b.told(t, Answered, time.Minute)
				a.HangUp(id)
				a.told(t, Ended, 5*time.Second)
			default: // it was through before
				a.told(t, Ended, 5*time.Second)
			}
			b.told(t, Reachability, time.Minute)
			time.Sleep(time.Minute)
		}
		if waited == 0 {
			t.Error("no JOIN was under way when the exchange points changed: nothing was tested")
		}
		t.Logf("%d JOINs waited where nobody was any more", waited)
	})
}

// While a callee replaces a lost exchange point, one call after the other comes
// through: the other point serves until the new ones do.
func TestSimCallsWhilePointsChange(t *testing.T) {
	inWorld(t, 9, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		old, _, err := a.lookup(t.Context(), b.key.ID())
		if err != nil {
			t.Fatal(err)
		}
		// Not b's guard: with that all of its tunnels would be gone.
		guards := w.guards(b)
		i := slices.IndexFunc(old.ExchangePoints, func(x wire.ExchangePoint) bool { return !slices.Contains(guards, x.Relay) })
		if i < 0 {
			t.Fatal("a box has its guards for exchange points")
		}
		dead := old.ExchangePoints[i].Relay
		w.kill(dead)
		calls, pause := 0, time.Second
		if testing.Short() {
			pause = 8 * time.Second
		}
		for begin := time.Now(); time.Since(begin) < 3*pointLost; calls++ {
			id, _ := connect(t, a, b)
			hangUp(t, a, b, id)
			time.Sleep(pause)
		}
		now, _, err := a.lookup(t.Context(), b.key.ID())
		if err != nil || now.ServerKey == old.ServerKey || slices.ContainsFunc(now.ExchangePoints, isAt(dead)) {
			t.Errorf("lookup = %v; the exchange points have not changed", err)
		}
		t.Logf("%d calls", calls)
	})
}

// first returns the first event that b is told of some kinds.
func (b *box) first(t testing.TB, within time.Duration, kinds ...EventKind) Event {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b.mu.Lock()
		i := slices.IndexFunc(b.events, func(e Event) bool { return slices.Contains(kinds, e.Kind) })
		if i >= 0 {
			k := b.events[i].Kind
			b.mu.Unlock()
			return b.told(t, k, 0)
		}
		b.mu.Unlock()
	}
	t.Fatalf("none of the events %v within %v", kinds, within)
	return Event{}
}

// The tunnels that wait for callers have guard and point in common and no more:
// one dead relay never takes all of them.
func TestSimWaitingTunnelsApart(t *testing.T) {
	inWorld(t, 9, wan, func(t *testing.T, w *world) {
		a, _ := w.pair(t)
		a.learn(t, 9)
		r := &registration{p: &presence{core: a.Core}, paths: make([][]kx.Relay, pointsEach*sparesEach)}
		var points []pid.ID
		for range pointsEach {
			path, err := a.relays.Path(a.cfg.Hops, kx.Relay{}, points...)
			if err != nil {
				t.Fatal(err)
			}
			x := path[len(path)-1]
			r.points, points = append(r.points, &point{relay: x}), append(points, x.Key)
		}
		for round := range 100 {
			i := round % len(r.paths)
			path, err := r.apart(i)
			if err != nil || len(path) != 3 || path[2].Key != points[i/sparesEach] {
				t.Fatalf("tunnel %d: %v, or not to its point", i, err)
			}
			between := slices.Clone(points)
			for _, p := range r.paths {
				if p != nil && slices.Contains(between, p[1].Key) {
					t.Fatal("a relay is between guard and point of two tunnels, or is a point")
				} else if p != nil {
					between = append(between, p[1].Key)
				}
			}
		}
	})
}
