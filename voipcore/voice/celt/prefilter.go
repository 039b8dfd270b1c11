package celt

import "math/bits"

// A comb is the setting of the pitch filter: what repeats after period is
// taken off here and put back by the decoder (4.3.7.1). Quantization noise then
// follows the harmonics of the voice, where it is not heard.
type comb struct {
	period int
	gain   int // in steps of 3/32; 0 is off
	taps   int // which of combTaps
}

const (
	combStep = 3.0 / 32
	// combShare is the gain for a sound that repeats wholly. More raises the segmental
	// SNR of steady vowels, but what is off between the harmonics comes through.
	combShare = 0.55
	// combWide takes off the bass more than the treble, which repeats less.
	combWide = 0
)

// coefficients returns the three taps times the gain.
func (c comb) coefficients() (c0, c1, c2 float32) {
	g := combStep * float32(c.gain)
	t := &combTaps[c.taps]
	return g * t[0], g * t[1], g * t[2]
}

// A prefilter is the pitch filter of the encoder and what steers it.
type prefilter struct {
	pitch pitchFinder
	comb  comb
	// sound is what came in: a history, then the frame.
	sound [pitchSpan]float32
}

// next makes room for n samples at the end of the sound and returns it.
func (f *prefilter) next(n int) []float32 {
	copy(f.sound[:], f.sound[n:])
	return f.sound[pitchSpan-n:]
}

// choose finds the setting for the newest n samples. What repeats by little is left alone,
// unless the filter is on and goes on with the same voice: it costs bits to start, and is heard
// when it comes and goes.
func (f *prefilter) choose(n int) comb {
	const begin, goOn = 0.4, 0.2
	f.pitch.add(f.sound[:], n)
	period, match := f.pitch.find(f.sound[:])
	limit := float32(begin)
	if moved := period - f.comb.period; f.comb.gain > 0 && max(moved, -moved) < period/8 {
		limit = goOn
	}
	if match < limit {
		return comb{period: minPeriod}
	}
	gain := int(match*combShare/combStep + 0.5)
	return comb{period: period, gain: max(1, min(gain, 8)), taps: combWide}
}

// run writes the newest n samples filtered to out, going over from the last
// setting to the next within the overlap as the decoder does.
func (f *prefilter) run(out []float32, n int, next comb) {
	old := f.comb
	f.comb = next
	at := pitchSpan - n
	copy(out, f.sound[at:])
	if old.gain == 0 && next.gain == 0 {
		return
	}
	from := 0
	if old != next {
		from = shortLen
		a0, a1, a2 := old.coefficients()
		b0, b1, b2 := next.coefficients()
		a := f.sound[at-max(old.period, minPeriod)-2:][:shortLen+4]
		b := f.sound[at-max(next.period, minPeriod)-2:][:shortLen+4]
		for i := range shortLen {
			w := window[i] * window[i]
			out[i] -= (1-w)*(a0*a[i+2]+a1*(a[i+1]+a[i+3])+a2*(a[i]+a[i+4])) +
				w*(b0*b[i+2]+b1*(b[i+1]+b[i+3])+b2*(b[i]+b[i+4]))
		}
	}
	if next.gain == 0 {
		return
	}
	b0, b1, b2 := next.coefficients()
	b := f.sound[at-next.period-2+from:]
	out = out[from:n]
	b = b[:len(out)+4]
	// The five samples move along in variables.
	v0, v1, v2, v3 := b[0], b[1], b[2], b[3]
	for i, v4 := range b[4:] {
		out[i] -= b0*v2 + b1*(v1+v3) + b2*(v0+v4)
		v0, v1, v2, v3 = v1, v2, v3, v4
	}
}

// write writes the setting at the start of a frame.
func (c comb) write(rc *rangeCoder) {
	rc.bit(c.gain > 0, 1)
	if c.gain == 0 {
		return
	}
	p := c.period + 1
	octave := bits.Len(uint(p)) - 5
	rc.uniform(uint32(octave), 6)
	rc.raw(uint32(p-16<<octave), 4+octave)
	rc.raw(uint32(c.gain-1), 3)
	rc.symbol(c.taps, tapsetCDF, 2)
}
