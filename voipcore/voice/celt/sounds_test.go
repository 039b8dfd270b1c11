package celt

import (
	"math"
	"math/rand/v2"
)

// newRand is a source of random numbers that is the same every time.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// A sound makes the next n samples at 48 kHz of what it is called.
type sound struct {
	name string
	make func(rng *rand.Rand, n int) []int16
}

// sounds are the kinds of input that an encoder must take.
var sounds = []sound{
	{"vowels", vowels},
	{"chords", chords},
	{"noise", func(rng *rand.Rand, n int) []int16 {
		level := math.Exp2(15 * rng.Float64())
		return each(n, func(int) float64 { return level * rng.NormFloat64() / 3 })
	}},
	{"silence", func(_ *rand.Rand, n int) []int16 { return make([]int16, n) }},
	{"clicks", func(rng *rand.Rand, n int) []int16 {
		period := 50 + rng.IntN(9000)
		return each(n, func(i int) float64 {
			if i%period == 0 {
				return 65534*rng.Float64() - 32767
			}
			return 0
		})
	}},
	{"square", func(rng *rand.Rand, n int) []int16 {
		half := 3 + rng.IntN(800)
		return each(n, func(i int) float64 { return 32767 * float64(1-2*(i/half%2)) })
	}},
	{"sine", func(rng *rand.Rand, n int) []int16 {
		f, level := 20*math.Exp2(10*rng.Float64()), math.Exp2(15*rng.Float64())
		return each(n, func(i int) float64 { return level * math.Sin(2*math.Pi*f*float64(i)/sampleRate) })
	}},
	{"sweep", func(rng *rand.Rand, n int) []int16 {
		level := 32767 * rng.Float64()
		return each(n, func(i int) float64 {
			x := float64(i) / float64(n)
			return level * math.Sin(math.Pi*x*x*float64(n)*0.5)
		})
	}},
	{"constant", func(rng *rand.Rand, n int) []int16 {
		level := 65535*rng.Float64() - 32768
		return each(n, func(int) float64 { return level })
	}},
	{"wild", func(rng *rand.Rand, n int) []int16 {
		return each(n, func(int) float64 { return float64(int16(rng.Uint32())) })
	}},
	{"bursts", func(rng *rand.Rand, n int) []int16 {
		on := false
		return each(n, func(i int) float64 {
			if rng.IntN(2000) == 0 {
				on = !on
			}
			if on {
				return 12000 * rng.NormFloat64()
			}
			return 0
		})
	}},
}

// each makes n samples from a function, clipped to 16 bits.
func each(n int, f func(i int) float64) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(max(-32768, min(math.Round(f(i)), 32767)))
	}
	return out
}

// vowels is voiced sound: pulses through three resonances that wander, with
// breaths of noise between.
func vowels(rng *rand.Rand, n int) []int16 {
	type resonance struct{ y1, y2, f, target float64 }
	formants := [3]resonance{{f: 500}, {f: 1500}, {f: 2500}}
	pitch, phase, voiced, level := 80+200*rng.Float64(), 0.0, true, 0.0
	return each(n, func(i int) float64 {
		if i%7200 == 0 {
			voiced = rng.IntN(4) > 0
			formants[0].target = 250 + 600*rng.Float64()
			formants[1].target = 900 + 1500*rng.Float64()
			formants[2].target = 2300 + 900*rng.Float64()
		}
		pitch *= 1 + 1e-5*rng.NormFloat64()
		x := 0.05 * rng.NormFloat64()
		if phase += pitch / sampleRate; phase >= 1 {
			phase--
			if voiced {
				x += 4
			}
		}
		level += 0.001 * (rng.Float64()*2 - level)
		sum := 0.0
		for k := range formants {
			r := &formants[k]
			r.f += 0.0005 * (r.target - r.f)
			radius := math.Exp(-math.Pi * 90 / sampleRate)
			y := x + 2*radius*math.Cos(2*math.Pi*r.f/sampleRate)*r.y1 - radius*radius*r.y2
			r.y2, r.y1 = r.y1, y
			sum += y / float64(k+1)
		}
		return 60 * level * sum
	})
}

// chords is like music: struck notes with overtones that die away.
func chords(rng *rand.Rand, n int) []int16 {
	var f, a [4]float64
	return each(n, func(i int) float64 {
		if i%24000 == 0 {
			root := 55 * math.Exp2(4*rng.Float64())
			for k := range f {
				f[k] = root * math.Exp2(float64(rng.IntN(24))/12)
				a[k] = 5000 * rng.Float64()
			}
		}
		sum := 0.0
		for k := range f {
			a[k] *= 0.99995
			p := 2 * math.Pi * f[k] * float64(i) / sampleRate
			sum += a[k] * (math.Sin(p) + 0.5*math.Sin(2*p) + 0.25*math.Sin(3*p) + 0.1*math.Sin(5*p))
		}
		return sum
	})
}
