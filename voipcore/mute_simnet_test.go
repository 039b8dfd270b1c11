package voipcore

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// A mute is the DHT of relays of which one, once told to, takes a PUT and a TRACE
// and never answers them.
type mute struct {
	kx.DHT
	core *Core
	*silence
}

type silence struct {
	put, trace atomic.Bool          // the next one is not answered
	get        atomic.Pointer[Core] // answers none any more
	traces     atomic.Int64
	end        chan struct{}
}

func (m mute) Put(ctx context.Context, it wire.Item) (int, error) {
	if m.put.CompareAndSwap(true, false) {
		<-m.end
	}
	return m.DHT.Put(ctx, it)
}

func (m mute) Get(ctx context.Context, key [32]byte) (wire.Item, error) {
	if m.get.Load() == m.core {
		<-m.end
	}
	return m.DHT.Get(ctx, key)
}

func (m mute) Trace(ctx context.Context, target [32]byte) ([]wire.TraceHop, error) {
	if m.trace.CompareAndSwap(true, false) {
		m.traces.Store(0)
		<-m.end
	}
	m.traces.Add(1)
	return m.DHT.Trace(ctx, target)
}

// A relay that never answers costs a box that one request: it goes on publishing,
// and learning of relays. Its link is kept by padding all the while.
func TestSimRelayThatNeverAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("hours: make unit runs it, the race detector and 32 bits do without")
	}
	inWorld(t, 0, wan, func(t *testing.T, w *world) {
		s := &silence{end: make(chan struct{})}
		defer close(s.end)
		for i := range 5 {
			w.addRelayWith(t, w.host(fmt.Sprintf("23.%d.0.1", i+1)), nil,
				func(c *Core) kx.DHT { return mute{(*lookupService)(c.dht), c, s} })
		}
		b := w.box(t, "b", w.host("45.1.0.1"), nil)
		s.put.Store(true)
		s.trace.Store(true)
		// A record ends after two hours; that no TRACE is due in so long is
		// one chance in a million.
		time.Sleep(7 * time.Hour)
		if s.put.Load() || s.trace.Load() {
			t.Fatal("the relay was not asked")
		}
		if _, _, err := b.lookup(t.Context(), b.key.ID()); err != nil {
			t.Errorf("some hours after a PUT that was not answered, the pid is looked up: %v", err)
		}
		if s.traces.Load() == 0 {
			t.Error("the box learns of no more relays after a TRACE that was not answered")
		}
		// That there is no such pid is known without it.
		s.get.Store(w.relays[0])
		for range 10 {
			start := time.Now()
			if _, _, err := b.lookup(t.Context(), pid.NewKey().ID()); err != ErrNotFound || time.Since(start) > 4*headStart {
				t.Errorf("beside a relay that answers no GET a lookup of nobody = %v, after %v", err, time.Since(start))
			}
		}
	})
}
