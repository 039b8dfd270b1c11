package wire

import (
	"math"
	"math/rand/v2"
	"testing"
)

// naiveWindow says the same as window, as plainly as it can be said.
type naiveWindow struct {
	seen   map[uint64]bool
	newest uint64
}

func (n *naiveWindow) fresh(c uint64) bool {
	old := len(n.seen) > 0 && n.newest >= windowSize && c <= n.newest-windowSize
	return c != math.MaxUint64 && !old && !n.seen[c]
}

func (n *naiveWindow) mark(c uint64) {
	if n.seen == nil {
		n.seen = map[uint64]bool{}
	}
	n.seen[c] = true
	n.newest = max(n.newest, c)
}

// TestWindowModel feeds a window and its model the same counters: around the
// newest one and the window's end, around the borders of words, after jumps of
// less and more than the window, and near the end of all counters.
func TestWindowModel(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	near := func(c uint64) uint64 { // c or a little beside it, or a word's border near it
		switch rng.IntN(3) {
		case 0:
			return c
		case 1:
			return c - 3 + rng.Uint64N(7)
		}
		return c/64*64 - 1 + rng.Uint64N(3)
	}
	for round := range 300 {
		var w window
		var model naiveWindow
		base := uint64(0)
		switch round % 4 {
		case 1:
			base = rng.Uint64N(4096)
		case 2:
			base = rng.Uint64()
		case 3:
			base = math.MaxUint64 - rng.Uint64N(8*windowSize)
		}
		c := base
		for range 2000 {
			switch rng.IntN(8) {
			case 0, 1:
				c = model.newest + 1
			case 2:
				c = near(model.newest)
			case 3:
				c = near(model.newest - windowSize)
			case 4:
				c = model.newest - rng.Uint64N(windowSize+windowSize/2)
			case 5:
				c = model.newest + rng.Uint64N(200)
			case 6:
				c = near(model.newest + rng.Uint64N(3*windowSize))
			case 7:
				if rng.IntN(50) == 0 {
					c = rng.Uint64()
				}
			}
			got, want := w.fresh(c), model.fresh(c)
			if got != want {
				t.Fatalf("seed %d, round %d: fresh(%d) with newest %d = %v, want %v", seed, round, c, model.newest, got, want)
			}
			if got {
				w.mark(c)
				model.mark(c)
			}
		}
	}
}

// TestWindowJumps marks every second counter, jumps, and looks at every counter
// that the window can still tell apart, for all jumps up to past the window.
func TestWindowJumps(t *testing.T) {
	for _, start := range []uint64{0, 1, 62, 63, 64, 65, 127, 1023, 1024, 1087, 1088, 1089, 1 << 40} {
		for jump := uint64(1); jump < windowSize+200; jump++ {
			var w window
			for c := start - min(start, windowSize); c <= start; c += 2 {
				w.mark(c)
			}
			before := w
			newest := w.next - 1
			w.mark(newest + jump)
			for back := range uint64(windowSize + 70) {
				c := newest + jump - back
				if back > newest+jump {
					break
				}
				want := false
				switch {
				case back == 0, back >= windowSize:
				case c > newest:
					want = true
				default:
					want = before.fresh(c)
				}
				if got := w.fresh(c); got != want {
					t.Fatalf("from %d by %d: fresh(%d) = %v, want %v", newest, jump, c, got, want)
				}
			}
		}
	}
}

// TestWindowEnd: after the last counter there is no next one, so it is never
// taken; if it were, the window would forget all that it has seen.
func TestWindowEnd(t *testing.T) {
	var w window
	w.mark(math.MaxUint64 - 1)
	if w.fresh(math.MaxUint64) {
		t.Error("the last counter is fresh, want it refused")
	}
	if w.fresh(math.MaxUint64 - 1) {
		t.Error("the counter before the last is fresh twice")
	}
	if !w.fresh(math.MaxUint64-windowSize) || w.fresh(math.MaxUint64-1-windowSize) {
		t.Error("the window does not end 1024 counters behind the newest")
	}
}
