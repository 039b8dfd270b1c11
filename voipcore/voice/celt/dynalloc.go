package celt

// chooseTrim tilts the allocation towards where the energy is: from 0, treble,
// to 10, bass. Centre and slope were found with the measures: more tilt gives
// the bass, which speech lives in, a better SNR, and empties the treble.
func chooseTrim(logE *[numBands]float32, bitrate int) int {
	centre, span := float32(4.4), float32(1.5)
	if bitrate >= 30000 {
		centre, span = 5.5, 2
	}
	tilt := float32(0)
	for b, e := range logE {
		tilt -= e * float32(2*b-(numBands-1))
	}
	tilt *= 3.0 / (numBands * numBands)
	return int(centre + max(-span, min(tilt, span)) + 0.5)
}

// idleBelow is how far below the loudest band, in steps of 6 dB, one has nothing to
// say: what a pure tone leaks into the bands around it is less. Those of speech reach
// down to there in its treble.
const idleBelow = 8

func loudest(logE *[numBands]float32) float32 {
	top := logE[0]
	for _, e := range logE {
		top = max(top, e)
	}
	return top
}

// chooseBoost returns how many steps more than their share the bands get that stand
// out of their neighbours: formants, and notes. Below 20 kbit/s speech has nothing
// to give. bits is what the frame has in all.
func chooseBoost(logE *[numBands]float32, bitrate, bits int) (boost [numBands]int) {
	const (
		over  = 1 // 6 dB
		steps = 2
		far   = 3 // where speech ends and music begins
	)
	if boostTone(logE, bits, &boost) || bitrate < 20000 {
		return boost
	}
	for b := 1; b < numBands-1; b++ {
		below, above := logE[max(b-2, 0)]+logE[b-1], logE[b+1]+logE[min(b+2, numBands-1)]
		c := logE[b] - (below+above)/4 - over
		if c > 0 && logE[b] > 0 {
			boost[b] = min(int(c)+1, steps) + min(max(0, int(c)-far)*4, 24)
		}
	}
	return boost
}

// boostTone gives the loudest bands what the others cannot use, if that is most of them:
// tones, of which nothing else is heard. It reports whether the sound is one. A sine at
// 16 kbit/s gets 10 to 25 dB better by that.
func boostTone(logE *[numBands]float32, bits int, boost *[numBands]int) bool {
	const (
		few      = 8   // idle bands that other sounds have as well
		share    = 0.8 // of the bits, if all are idle
		enough   = 320 // bits that are enough for any tone; beyond, the rest is heard
		loud     = 4   // steps of 6 dB that the bands of the tone lie within
		stepBits = 7   // what a step takes, about
	)
	top := loudest(logE)
	idle, of := 0, 0
	for _, e := range logE {
		if e < top-idleBelow {
			idle++
		}
		if e > top-loud {
			of++
		}
	}
	if idle <= few || top < 0 {
		return false
	}
	steps := int(share / stepBits * float32(min(bits, enough)*(idle-few)) / (numBands - few))
	for b, e := range logE {
		if e > top-loud {
			boost[b] = (steps + of - 1) / of
		}
	}
	return true
}

// chooseSpread says how much the pulses are smeared: the less, the more some
// coefficients stand out of the others by themselves. Speech is all the same
// to it; it is for pure tones.
func chooseSpread(spectrum []float32, lm uint) int {
	sum, count := float32(0), float32(0)
	for b := range numBands {
		x := spectrum[bandEdges[b]<<lm : bandEdges[b+1]<<lm]
		if len(x) < 16 {
			continue
		}
		fourth := float32(1e-9)
		for _, v := range x {
			v *= v
			fourth += v * v
		}
		// The fourth moment is 3 for noise, so this is 1.6.
		w := float32(len(x))
		sum += w * log2(fourth*w)
		count += w
	}
	switch mean := sum / count; {
	case mean > 4:
		return spreadNone
	case mean > 3:
		return spreadLight
	default:
		return spreadNormal
	}
}

// writeBoost writes the dynamic allocation: boost holds the number of steps for
// each band and is replaced by the 1/8 bits they are. It returns the frame's
// 1/8 bits less the boosts.
func writeBoost(rc *rangeCoder, boost *[numBands]int, lm uint) int {
	total := rc.bytes * 8 * oneBit
	logp := 6
	for b, steps := range boost {
		w := widthOf(b) << lm
		step := min(w<<bitRes, max(6<<bitRes, w))
		limit := capOf(b, lm)
		given, p := 0, logp
		for i := 0; rc.tellFrac()+p<<bitRes < total && given < limit; i++ {
			rc.bit(i < steps, uint(p))
			if i >= steps {
				break
			}
			given += step
			total -= step
			p = 1
		}
		if given > 0 {
			logp = max(2, logp-1)
		}
		boost[b] = given
	}
	return total
}
