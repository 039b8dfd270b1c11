package voipcore

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// At relays that have no room for all of its tunnels a box stays callable with what it
// has, and does not ask for more all the time: that would fill up the rest of the swarm.
func TestSimFullExchangePoints(t *testing.T) {
	inWorld(t, 3, wan, func(t *testing.T, w *world) {
		for i := range 6 {
			w.addRelay(t, w.host(fmt.Sprintf("23.%d.0.1", 4+i)), func(c *Config) { c.Limits.Registrations = 1 })
		}
		const home = "45.1.0.1"
		var sent atomic.Int64
		w.InterceptStreams(func(from, to netip.AddrPort, p []byte) []byte {
			if from.Addr() == netip.MustParseAddr(home) {
				sent.Add(int64(len(p)))
			}
			return p
		})
		b := w.box(t, "b", w.host(home), nil)
		time.Sleep(time.Minute)
		b.forget()
		before := sent.Load()
		time.Sleep(10 * time.Minute)
		if n := sent.Load() - before; n > 1<<20 {
			t.Errorf("a box that nobody calls has sent %d kB in 10 minutes", n>>10)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.events {
			t.Errorf("meanwhile it told %+v", e)
		}
	})
}
