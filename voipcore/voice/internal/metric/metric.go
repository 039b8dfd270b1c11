// Package metric measures how much of speech survives a codec or a network, by
// comparing the sound after with the sound before: STOI (intelligibility), NSIM
// (similarity of what the ear sees) and segmental SNR. It is support for tests.
//
// It is not a listener: the numbers rank versions of one processing chain on
// one set of voices, and say little about sounds of different kinds.
//
// All functions take 48 kHz mono sound, of the same length and aligned; see
// Align. A processed sound that is equal to the reference has STOI 1 and NSIM 1.
package metric

import "math"

// Rate is the sample rate of all sound here, in Hz.
const Rate = 48000

// silentBelow is the energy of a frame, relative to the loudest, below which SegSNR skips it.
const silentBelow = 1e-4 // -40 dB

// SegSNR returns the mean over frames of 20 ms of the signal to noise ratio in dB,
// each limited to -10 to 35 dB. Frames 40 dB below the loudest do not count.
// It is 0 if nothing counts.
func SegSNR(ref, deg []float64) float64 {
	const frame = Rate / 50
	n := min(len(ref), len(deg)) / frame
	energy := make([]float64, n)
	loudest := 0.0
	for f := range energy {
		for _, v := range ref[f*frame : (f+1)*frame] {
			energy[f] += v * v
		}
		loudest = max(loudest, energy[f])
	}
	sum, count := 0.0, 0
	for f, e := range energy {
		if e == 0 || e < loudest*silentBelow {
			continue
		}
		noise := 1e-12
		for i := f * frame; i < (f+1)*frame; i++ {
			d := ref[i] - deg[i]
			noise += d * d
		}
		sum += max(-10, min(10*math.Log10(e/noise), 35))
		count++
	}
	if count == 0 {
		return 0
	}
	return sum / float64(count)
}

// Align returns the parts of ref and deg that belong together if deg is late by
// 0 to maxLag samples: the lag of the greatest correlation.
func Align(ref, deg []float64, maxLag int) (r, d []float64) {
	n := min(len(ref), len(deg))
	// The correlation by Fourier transform, of at most the first ten seconds.
	n = min(n, 10*Rate)
	size := 1
	for size < n+maxLag {
		size *= 2
	}
	a, b := make([]complex128, size), make([]complex128, size)
	for i := range n {
		a[i], b[i] = complex(ref[i], 0), complex(deg[i], 0)
	}
	f := newFFT(size)
	f.run(a)
	f.run(b)
	for i := range a {
		// The conjugate of the spectrum of the correlation: its transform is real.
		a[i] *= complex(real(b[i]), -imag(b[i]))
	}
	f.run(a)
	lag := 0
	for l := range maxLag + 1 {
		if real(a[l]) > real(a[lag]) {
			lag = l
		}
	}
	lag = min(lag, len(deg))
	deg = deg[lag:]
	n = min(len(ref), len(deg))
	return ref[:n], deg[:n]
}
