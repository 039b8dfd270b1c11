package device

import (
	"context"
	"testing"
	"time"
)

// Ping answers while the loop turns, also in the middle of what happens, and
// not while it hangs or when it has ended.
func TestPing(t *testing.T) {
	var ended *Device
	onBench(t, func(t *testing.T, b *bench) {
		ended = b.Device
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return b.Ping(ctx)
		}
		if err := ask(); err != nil {
			t.Errorf("a loop that turns: %v", err)
		}
		free := make(chan struct{})
		b.queue.put(func() { <-free })
		if err := ask(); err == nil {
			t.Error("a loop that hangs answers")
		}
		late, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := b.Press(late, Gesture{Kind: ShortPress}); err == nil {
			t.Error("a loop that hangs takes a press")
		}
		close(free)
		if err := ask(); err != nil {
			t.Errorf("a loop that turns again: %v", err)
		}
		b.want(Idle) // the press that came to nothing is not made up for
	})
	if err := ended.Ping(t.Context()); err == nil {
		t.Error("a loop that has ended answers")
	}
}
