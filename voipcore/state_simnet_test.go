package voipcore

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"hushbell/voipcore/internal/simnet"
)

// A box whose disk takes nothing any more can be called all the same.
func TestSimStateThatCannotBeSaved(t *testing.T) {
	inWorld(t, 4, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		state := filepath.Join(t.TempDir(), "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		a := w.box(t, "a", w.host("45.2.0.1"), nil)
		b := w.offline(t, "b", w.host("45.1.0.1"), func(c *Config) { c.State = state })
		if err := os.Remove(state); err != nil {
			t.Fatal(err)
		}
		if e := b.told(t, Reachability, time.Minute); !e.Online {
			t.Fatalf("told %+v", e)
		}
		connect(t, a, b)
		if err := b.Close(); err == nil {
			t.Error("that nothing was saved is not said at the end")
		}
	})
}
