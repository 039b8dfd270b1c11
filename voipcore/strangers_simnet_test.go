package voipcore

import (
	"context"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/pid"
)

// Strangers who prove who they are and then ask for nothing have half of the places for
// calls, and one pid has a few: a contact comes through.
func TestSimStrangersTakeTheirTime(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of handshakes; make unit runs it")
	}
	for _, tt := range []struct {
		name string
		pids int
		most int // places
	}{{"one pid", 1, maxOfOne}, {"a pid for each", 12, maxStrangers}} {
		inWorld(t, 9, wan, func(t *testing.T, w *world) {
			friend := w.box(t, "friend", w.host("45.3.0.1"), nil)
			a := w.box(t, "stranger", w.host("45.1.0.1"), nil)
			b := w.box(t, "b", w.host("45.2.0.1"), func(cfg *Config) {
				cfg.Welcome = func(from pid.ID) Welcome {
					if from == friend.key.ID() {
						return Admit
					}
					return Decline
				}
			})
			rec, _, err := a.lookup(t.Context(), b.key.ID())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			keys := make([]*pid.Key, tt.pids)
			for i := range keys {
				keys[i] = pid.NewKey()
			}
			for i := range 12 {
				wg.Go(func() {
					for ctx.Err() == nil {
						r, _ := a.reachAt(ctx, keys[i%tt.pids], b.key.ID(), rec, &rec.ExchangePoints[i%len(rec.ExchangePoints)], nil)
						if r.err != nil {
							time.Sleep(time.Second)
							continue
						}
						for err := error(nil); err == nil; {
							_, err = r.session.Receive()
						}
						r.drop()
					}
				})
			}
			most, answered := 0, 0
			for range 10 {
				time.Sleep(5 * time.Second)
				most = max(most, b.legs())
			}
			for range 3 {
				friend.forget()
				id := friend.call(t, b.key.ID())
				if e := friend.first(t, time.Minute, Answered, Unreachable, Lost, Declined); e.Kind == Answered {
					answered++
					friend.HangUp(id)
				}
				time.Sleep(5 * time.Second)
			}
			if most > tt.most {
				t.Errorf("%s: strangers have %d places, want at most %d", tt.name, most, tt.most)
			}
			if answered == 0 { // the tunnels that wait for callers are taken for moments, too
				t.Errorf("%s: %d of 3 calls of a contact came through", tt.name, answered)
			}
			cancel()
			b.Close()
			wg.Wait()
		})
	}
}
