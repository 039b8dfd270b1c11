package celt

// The pitch is looked for in copies of the sound at 24 and 6 kHz: at the low
// rate among all periods, then around the best at the higher ones.
const (
	pitchWindow = maxFrame // samples that are compared, also for shorter frames
	pitchSpan   = maxPeriod + pitchWindow
)

// A pitchFinder looks for the period after which sound repeats.
type pitchFinder struct {
	half    [pitchSpan / 2]float32
	quarter [pitchSpan / 4]float32
	eighth  [pitchSpan / 8]float32
	period  int     // the last one found
	match   float32 // and how well it matched
}

// add takes n more samples into the copies. sound ends with them, and
// has at least one before them.
func (p *pitchFinder) add(sound []float32, n int) {
	halve(p.half[:], sound, n/2)
	halve(p.quarter[:], p.half[:], n/4)
	halve(p.eighth[:], p.quarter[:], n/8)
}

// halve appends n samples to dst, of the last 2n of src at half the rate.
func halve(dst, src []float32, n int) {
	copy(dst, dst[n:])
	dst = dst[len(dst)-n:]
	src = src[len(src)-2*n-1:]
	for i := range dst {
		dst[i] = 0.25*(src[2*i]+src[2*i+2]) + 0.5*src[2*i+1]
	}
}

// find returns the period of the newest sound in samples, from minPeriod to
// maxPeriod-2, and how much of it repeats: 0 to 1. sound is the newest
// maxPeriod+pitchWindow samples.
func (p *pitchFinder) find(sound []float32) (period int, match float32) {
	const lowest = 2 * minPeriod / 16
	var best [2]int // in units of 8 samples, the best first
	var bestMatch [2]float32
	now := p.eighth[maxPeriod/8:]
	energy := dot(p.eighth[maxPeriod/8-lowest+1:][:len(now)], p.eighth[maxPeriod/8-lowest+1:])
	last, rising := float32(0), false
	for lag := lowest; lag < maxPeriod/8; lag++ {
		// Slide the energy of the earlier sound by one.
		at := maxPeriod/8 - lag
		in, out := p.eighth[at], p.eighth[at+len(now)]
		energy += in*in - out*out
		m := float32(0)
		if c := dot(now, p.eighth[at:]); c > 0 {
			m = c * c / (energy + 1)
		}
		// Only peaks: neighbours of the best one are no second candidate.
		if m < last && rising {
			if last > bestMatch[0] {
				best, bestMatch = [2]int{lag - 1, best[0]}, [2]float32{last, bestMatch[0]}
			} else if last > bestMatch[1] {
				best[1], bestMatch[1] = lag-1, last
			}
		}
		last, rising = m, m > last && lag > lowest
	}
	if bestMatch[0] == 0 {
		p.period, p.match = 0, 0
		return minPeriod, 0
	}

	// At 24 kHz, and the parts of the period too: what repeats after T also
	// does after 2T, and the shorter one is the better guess.
	h := halfRate{sound: p.half[:], at: maxPeriod / 2}
	h.init()
	lag, match := h.around(4*best[0], 4)
	if best[1] > 0 {
		if l, m := h.around(4*best[1], 4); m > match {
			lag, match = l, m
		}
	}
	whole := lag
	for part := 2; part <= 6 && whole/part >= minPeriod; part++ {
		l, m := h.around((whole+part/2)/part, 1)
		near := 2*l - p.period
		limit := 0.85 * match
		if p.match > 0.3 && near > -4 && near < 4 {
			limit = 0.6 * match
		}
		if m > limit {
			lag = l
			match = max(match, m)
		}
	}

	// At 48 kHz.
	now = sound[maxPeriod:]
	own := dot(now, now) + 1
	match = 0
	period = 2 * lag
	for l := max(minPeriod, 2*lag-1); l <= min(2*lag+1, maxPeriod-2); l++ {
		then := sound[maxPeriod-l:][:len(now)]
		if m := dot(now, then) / sqrt32(own*(dot(then, then)+1)); m > match {
			period, match = l, m
		}
	}
	period = max(minPeriod, min(period, maxPeriod-2))
	p.period, p.match = period, match
	return period, match
}

// halfRate compares sound at half the rate with itself.
type halfRate struct {
	sound []float32
	at    int // where the newest window begins
	own   float32
}

func (h *halfRate) init() { h.own = dot(h.sound[h.at:], h.sound[h.at:]) + 1 }

// around returns the best of the lags up to reach off centre, and its match.
func (h *halfRate) around(centre, reach int) (lag int, match float32) {
	now := h.sound[h.at:]
	lag = centre
	first := max(minPeriod/2, centre-reach)
	energy := float32(0)
	for l := first; l <= min(centre+reach, h.at); l++ {
		then := h.sound[h.at-l:]
		if l == first {
			energy = dot(then[:len(now)], then) + 1
		} else {
			energy += then[0]*then[0] - then[len(now)]*then[len(now)]
		}
		if m := dot(now, then); m > 0 {
			if m /= sqrt32(h.own * max(energy, 1)); m > match {
				lag, match = l, m
			}
		}
	}
	return lag, match
}

// dot is the sum of products over the length of a, a multiple of 4.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	return (s0 + s1) + (s2 + s3)
}
