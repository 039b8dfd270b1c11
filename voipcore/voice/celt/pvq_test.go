package celt

import (
	"math"
	"testing"
)

// vectors calls f with every vector of n coefficients with k pulses.
func vectors(n, k int, f func(y []int32)) {
	y := make([]int32, n)
	var fill func(i, left int)
	fill = func(i, left int) {
		if i == n-1 {
			y[i] = int32(left)
			f(y)
			if left > 0 {
				y[i] = -int32(left)
				f(y)
			}
			return
		}
		for v := -left; v <= left; v++ {
			y[i] = int32(v)
			fill(i+1, left-max(v, -v))
		}
	}
	fill(0, k)
}

func TestCodewordsAreDense(t *testing.T) {
	for n := 2; n <= 6; n++ {
		for k := 1; k <= 6; k++ {
			seen := map[uint32]bool{}
			var total uint32
			vectors(n, k, func(y []int32) {
				var index uint32
				index, total = codeword(y, k)
				if seen[index] || index >= total {
					t.Fatalf("n=%d k=%d: %v is number %d of %d, out of range or taken", n, k, y, index, total)
				}
				seen[index] = true
			})
			if len(seen) != int(total) {
				t.Errorf("n=%d k=%d: %d vectors, but the total is %d", n, k, len(seen), total)
			}
		}
	}
}

// TestCodebooksFit checks every codebook of the cost table: it fits 32 bits and
// costs what the table says.
func TestCodebooksFit(t *testing.T) {
	for lm := range pulseIndex {
		for b, at := range pulseIndex[lm] {
			if at < 0 {
				continue
			}
			n := widthOf(b) << lm >> 1
			row := pulseBits[at:]
			for q := 1; q <= int(row[0]); q++ {
				k := pulsesOf(q)
				exact := float64(count(n, k)) + float64(count(n, k+1))
				total := count(n, k) + count(n, k+1)
				if exact != float64(total) {
					t.Fatalf("band %d, size %d, %d pulses: %v codewords", b, n, k, exact)
				}
				if got, want := float64(costOf(row, q)), 8*math.Log2(exact); math.Abs(got-want) > 1.5 {
					t.Errorf("band %d, size %d, %d pulses: cost %v, want %v", b, n, k, got, want)
				}
			}
		}
	}
}

// TestSearchIsNearlyBest compares with all vectors.
func TestSearchIsNearlyBest(t *testing.T) {
	rng := newRand(5)
	for _, polish := range []bool{false, true} {
		for range 200 {
			n, k := 2+rng.IntN(5), 1+rng.IntN(7)
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			likeness := func(y []int32) float64 {
				var xy, yy float64
				for i, v := range y {
					xy += float64(v) * float64(x[i])
					yy += float64(v) * float64(v)
				}
				return xy / math.Sqrt(yy)
			}
			best := math.Inf(-1)
			vectors(n, k, func(y []int32) { best = max(best, likeness(y)) })
			s := searcher{polish: polish}
			s.search(x, k)
			sum := int32(0)
			for _, v := range s.pulse[:n] {
				sum += max(v, -v)
			}
			if int(sum) != k {
				t.Fatalf("%d pulses in %v, want %d", sum, s.pulse[:n], k)
			}
			if got := likeness(s.pulse[:n]); got < 0.96*best {
				t.Errorf("polish %v: %v for %v: likeness %v, the best is %v", polish, s.pulse[:n], x, got, best)
			}
		}
	}
}

// TestSearchOfNothing: whatever the numbers, there are k pulses.
func TestSearchOfNothing(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, v := range []float32{0, 1e-40, 1e-20, inf, nan, 3e38, -0} {
		for _, k := range []int{1, 2, 5, 40} {
			x := []float32{v, v, v, v, v}
			var s searcher
			s.search(x, k)
			sum := int32(0)
			for _, p := range s.pulse[:5] {
				sum += max(p, -p)
			}
			if int(sum) != k {
				t.Errorf("%d pulses for %v, want %d", sum, x, k)
			}
		}
	}
}

func TestRotateKeepsTheLength(t *testing.T) {
	rng := newRand(6)
	for _, blocks := range []int{1, 2, 4, 8} {
		for spread := spreadNone; spread <= spreadAggressive; spread++ {
			x := make([]float32, 96)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			before := dot(x, x)
			first := x[0]
			rotate(x, blocks, 3, spread)
			if after := dot(x, x); math.Abs(float64(after/before-1)) > 1e-4 {
				t.Errorf("%d blocks, spread %d: energy %v, before %v", blocks, spread, after, before)
			}
			if changed := x[0] != first; changed != (spread != spreadNone) {
				t.Errorf("%d blocks, spread %d: changed = %v", blocks, spread, changed)
			}
		}
	}
}
