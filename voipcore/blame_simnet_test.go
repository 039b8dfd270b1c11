package voipcore

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// Whom we call names our guard and two honest relays as its exchange points, at an
// address where nobody is: none of them is left out.
func TestSimRelaysAtAWrongAddress(t *testing.T) {
	inWorld(t, 9, wan, func(t *testing.T, w *world) {
		a := w.box(t, "a", w.host("45.1.0.1"), nil)
		a.learn(t, 9)
		w.host("99.1.0.1") // nobody listens
		guards := w.guards(a)
		victims := []pid.ID{guards[0]}
		for _, r := range w.relays {
			if k := r.cfg.RelayKey.ID(); !slices.Contains(guards, k) && len(victims) < 3 {
				victims = append(victims, k)
			}
		}
		rec := wire.Record{ServerKey: pid.NewKey().ID(), ValidUntil: time.Now().Add(2 * time.Hour).Unix()}
		for _, v := range victims {
			rec.ExchangePoints = append(rec.ExchangePoints, wire.ExchangePoint{Relay: v, Addr: netip.MustParseAddrPort("99.1.0.1:4433")})
		}
		callee := forgery{key: pid.NewKey(), seq: time.Now().Unix(), rec: rec}
		for a.put(t, callee.item(t, pid.DayOf(time.Now()))) != nil {
		}
		for range 4 {
			a.forget()
			a.call(t, callee.key.ID())
			a.told(t, Unreachable, time.Minute)
			for i, v := range victims {
				if a.relays.Down(v) {
					t.Errorf("relay %d, which has not failed, is left out", i)
				}
			}
			time.Sleep(30 * time.Second)
		}
		if n := a.relays.Len(); n != 9 {
			t.Errorf("%d relays are known, of 9 that work", n)
		}
	})
}
