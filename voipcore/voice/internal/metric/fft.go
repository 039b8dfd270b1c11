package metric

import (
	"math"
	"math/bits"
	"math/cmplx"
)

// An fft is the Fourier transform of a fixed power of two of points, in place.
type fft struct {
	n       int
	twiddle []complex128
}

func newFFT(n int) *fft {
	f := &fft{n: n, twiddle: make([]complex128, n/2)}
	for k := range f.twiddle {
		f.twiddle[k] = cmplx.Exp(complex(0, -2*math.Pi*float64(k)/float64(n)))
	}
	return f
}

func (f *fft) run(x []complex128) {
	shift := 64 - bits.Len(uint(f.n-1))
	if f.n == 1 {
		return
	}
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for span := 1; span < f.n; span *= 2 {
		step := f.n / (2 * span)
		for at := 0; at < f.n; at += 2 * span {
			for k := range span {
				u, v := x[at+k], x[at+k+span]*f.twiddle[k*step]
				x[at+k], x[at+k+span] = u+v, u-v
			}
		}
	}
}

// A powerMeter gives the power spectrum of windowed frames of sound.
type powerMeter struct {
	f      *fft
	window []float64
	work   []complex128
	power  []float64
}

// newPowerMeter is for frames of n samples in transforms of size points, with a Hann window.
func newPowerMeter(n, size int) *powerMeter {
	return &powerMeter{
		f:      newFFT(size),
		window: hann(n),
		work:   make([]complex128, size),
		power:  make([]float64, size/2+1),
	}
}

// of returns the power spectrum of a frame. It is valid until the next call.
func (p *powerMeter) of(x []float64) []float64 {
	clear(p.work)
	for i, w := range p.window {
		p.work[i] = complex(x[i]*w, 0)
	}
	p.f.run(p.work)
	for i := range p.power {
		re, im := real(p.work[i]), imag(p.work[i])
		p.power[i] = re*re + im*im
	}
	return p.power
}

func hann(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(n))
	}
	return w
}

// Resample changes the rate by up/down, with a windowed sinc that ends 5 % below
// the lower of the two Nyquist frequencies.
func Resample(x []float64, up, down int) []float64 {
	const zeros = 32 // of the sinc on each side
	narrow := min(1, float64(up)/float64(down))
	cut := 0.95 * narrow
	half := zeros / narrow
	// The same taps come back after up outputs.
	taps := make([][]float64, up)
	first := make([]int, up)
	for p := range taps {
		centre := float64(p*down) / float64(up)
		first[p] = int(math.Ceil(centre - half))
		for k := first[p]; k <= int(centre+half); k++ {
			t := centre - float64(k)
			v := cut
			if t != 0 {
				v = math.Sin(math.Pi*cut*t) / (math.Pi * t)
			}
			taps[p] = append(taps[p], v*(0.5+0.5*math.Cos(math.Pi*t/half)))
		}
	}
	out := make([]float64, len(x)*up/down)
	for i := range out {
		p := i % up
		at := i/up*down + first[p]
		for k, w := range taps[p] {
			if j := at + k; j >= 0 && j < len(x) {
				out[i] += x[j] * w
			}
		}
	}
	return out
}
