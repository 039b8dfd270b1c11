package voipcore

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/wire"
)

// Half a day of four boxes, with a midnight in it. The record is published
// again before it expires, and under the key of the new day; exchange points
// change after hours, and the old ones serve until their last record has
// expired; a call that stands all the time knows nothing of it; a relay that
// comes is learned of.
func TestSimHalfADay(t *testing.T) {
	if testing.Short() {
		t.Skip("hours: make unit runs it, the race detector and 32 bits do without")
	}
	const length = 9 * time.Hour
	// A bubble begins at midnight; this one at 22 o'clock.
	wall := func() time.Time { return time.Now().Add(22 * time.Hour) }
	at := func(c *Config) { c.Wall = wall }
	inWorld(t, 0, wan, func(t *testing.T, w *world) {
		for i := range 6 {
			w.addRelay(t, w.host(fmt.Sprintf("23.%d.0.1", i+1)), at)
		}
		var boxes []*box
		for i := range 4 {
			boxes = append(boxes, w.box(t, fmt.Sprint("box ", i), w.host(fmt.Sprintf("45.%d.0.1", i+1)), at))
		}
		a, b, c, d := boxes[0], boxes[1], boxes[2], boxes[3]
		standing, _ := connect(t, c, d)
		newcomer := w.addRelay(t, w.host("23.99.0.1"), at).cfg.RelayKey.ID()

		lookup := func() *wire.Record {
			t.Helper()
			rec, _, err := a.lookup(t.Context(), b.key.ID())
			if err != nil {
				t.Fatalf("%v: lookup = %v", wall(), err)
			}
			return rec
		}
		last, changes := lookup(), 0
		var old *wire.Record // the last one with other exchange points
		check := func() {
			t.Helper()
			rec := lookup()
			if left := time.Unix(rec.ValidUntil, 0).Sub(wall()); left < recordValid-republish-time.Minute || left > recordValid {
				t.Errorf("%v: the record is valid for %v", wall(), left)
			}
			if rec.ServerKey != last.ServerKey {
				changes++
				old = last
				for _, x := range rec.ExchangePoints {
					if slices.ContainsFunc(old.ExchangePoints, func(y wire.ExchangePoint) bool { return x.Cookie == y.Cookie }) {
						t.Errorf("%v: a cookie is used again", wall())
					}
				}
			}
			last = rec
			mustReach(t, a, b)
			if old == nil || time.Unix(old.ValidUntil, 0).Before(wall()) {
				return
			}
			for i := range old.ExchangePoints {
				r, _ := a.reachAt(t.Context(), a.key, b.key.ID(), old, &old.ExchangePoints[i], nil)
				if r.err != nil {
					t.Errorf("%v: the record of before the change does not lead to the box: %v", wall(), r.err)
				}
				r.drop()
			}
		}
		// Every 25 minutes, but often at midnight.
		midnight := wall().Truncate(24 * time.Hour).Add(24 * time.Hour)
		for end := wall().Add(length); wall().Before(end); {
			step := 25 * time.Minute
			if left := midnight.Sub(wall()); left > -3*time.Minute && left < step+time.Minute {
				step = 20 * time.Second
				if left > 2*time.Minute {
					step = left - time.Minute
				}
			}
			time.Sleep(step)
			check()
		}
		if changes == 0 {
			t.Errorf("the exchange points have not changed in %v", length)
		}
		if worst := gap(5*time.Second, c, d); worst > 500*time.Millisecond {
			t.Errorf("the call that stood all the time has a gap of %v", worst)
		}
		hangUp(t, c, d, standing)
		for i, b := range boxes {
			if !slices.ContainsFunc(b.relays.Relays(), func(r kx.Relay) bool { return r.Key == newcomer }) {
				t.Errorf("box %d has not learned of the relay that came", i)
			}
			b.mu.Lock()
			for _, e := range b.events {
				if e.Kind == Reachability {
					t.Errorf("box %d was told %+v", i, e)
				}
			}
			b.mu.Unlock()
		}
		t.Logf("%d changes of exchange points", changes)
	})
}

// A box is switched off without a goodbye. Its record leads nowhere from then
// on, and is gone when it has expired.
func TestSimRecordExpires(t *testing.T) {
	if testing.Short() {
		t.Skip("hours: make unit runs it, the race detector and 32 bits do without")
	}
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		mustReach(t, a, b)
		b.cfg.Network.(simHost).Cut()
		off := time.Now()
		b.Close()
		time.Sleep(5 * time.Minute)
		for i, want := range []error{ErrNoWay, ErrNoWay, ErrNotFound, ErrNotFound} {
			a.call(t, b.key.ID())
			if e := a.told(t, Unreachable, time.Minute); !errors.Is(e.Err, want) {
				t.Errorf("%v after it was switched off: unreachable because of %v, want %v", time.Since(off), e.Err, want)
			}
			switch i {
			case 0:
				time.Sleep(time.Until(off.Add(recordValid - republish)))
			case 1:
				time.Sleep(time.Until(off.Add(recordValid + time.Second)))
			case 2:
				time.Sleep(time.Hour)
			}
		}
	})
}
