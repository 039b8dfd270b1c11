package voipcore

import (
	"errors"
	"fmt"
	"testing"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// Relays whose DHT answers nothing but errors cost a lookup the time to ask others.
func TestSimLookupsBesideBrokenRelays(t *testing.T) {
	inWorld(t, 5, wan, func(t *testing.T, w *world) {
		for i := range 4 {
			w.addRelayWith(t, w.host(fmt.Sprintf("23.%d.0.1", 6+i)), nil, func(c *Core) kx.DHT {
				return liar{(*lookupService)(c.dht), func([32]byte) (wire.Item, error) { return wire.Item{}, errors.New("no nodes") }}
			})
		}
		a, b := w.box(t, "a", w.host("45.1.0.1"), nil), w.box(t, "b", w.host("45.2.0.1"), nil)
		a.learn(t, 9)
		failed := 0
		for range 100 {
			if _, _, err := a.lookup(t.Context(), b.key.ID()); err != nil {
				failed++
			}
		}
		// Five in a row are broken ones, of which there are four, only if one is drawn again.
		if failed > 1 {
			t.Errorf("%d of 100 lookups failed, though 5 of 9 relays work", failed)
		}
	})
}

// A box with two pids is online when both of them can be called.
func TestSimOnlineWithTwoPids(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		for i := range 5 {
			keys := []*pid.Key{pid.NewKey(), pid.NewKey()}
			b := w.box(t, fmt.Sprint("b", i), w.host(fmt.Sprintf("45.%d.0.1", 2+i)), func(c *Config) { c.Keys = keys })
			b.Core.mu.Lock()
			for _, k := range keys {
				if !b.presences[k.ID()] {
					t.Error("it is online, and one of its pids cannot be called")
				}
			}
			b.Core.mu.Unlock()
		}
	})
}
