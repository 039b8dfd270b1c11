package celt

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestMDCTAgainstItsDefinition compares the fast transform with the sum that defines it.
func TestMDCTAgainstItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{120, 480, 960} {
		for _, stride := range []int{1, 8} {
			in := make([]float32, n+shortLen)
			for i := range in {
				in[i] = float32(rng.NormFloat64())
			}
			out := make([]float32, n*stride)
			newMDCT(n).forward(in, out, stride)
			shift := (n - shortLen) / 2
			for k := range n {
				want := 0.0
				for i, v := range in {
					w := 1.0
					if i < shortLen {
						w = float64(window[i])
					} else if i >= n {
						w = float64(window[n+shortLen-1-i])
					}
					phase := math.Pi / float64(n) * (float64(i+shift) + 0.5 + float64(n)/2) * (float64(k) + 0.5)
					want += w * float64(v) * math.Cos(phase) * 2 / float64(n)
				}
				if got := float64(out[k*stride]); math.Abs(got-want) > 1e-5 {
					t.Fatalf("n=%d stride=%d: coefficient %d is %v, want %v", n, stride, k, got, want)
				}
			}
		}
	}
}
