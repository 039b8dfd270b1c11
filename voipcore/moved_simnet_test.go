package voipcore

import (
	"fmt"
	"testing"
	"time"

	"hushbell/voipcore/internal/simnet"
)

// All relays that a box has in its cache are gone for good, and others have come
// in their place: it finds them through its bootstrap addresses by itself.
func TestSimAllRelaysGone(t *testing.T) {
	inWorld(t, 6, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		state := t.TempDir()
		b := w.box(t, "b", w.host("45.1.0.1"), func(c *Config) { c.State = state })
		b.Close()
		for _, h := range w.hosts {
			h.Kill()
		}
		w.boot = nil
		for i := range 6 {
			w.addRelay(t, w.host(fmt.Sprintf("31.%d.0.1", i+1)), nil)
		}
		again := w.offline(t, "b again", w.host("45.1.0.2"), func(c *Config) { c.State = state })
		if e := again.told(t, Reachability, time.Hour); !e.Online {
			t.Errorf("told %+v", e)
		}
	})
}
