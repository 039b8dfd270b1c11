package celt

// The sound of a frame is looked at in steps of half a millisecond.
const (
	stepLen  = 24
	maxSteps = (shortLen + maxFrame) / stepLen
)

// attackLimit is from which attack on short blocks pay: the noise of a long block stands
// that far above what hides it, in steps of 3 dB, in the mean over the frame. Twice as much
// costs 0.001 of NSIM to 16 kHz.
const attackLimit = 0.6

// attack tells how well the noise of a long block would be heard, which lasts as long as
// the frame: where it is louder than the sound there and what masks it, shortly before and
// for longer after loud parts. It is 0 for a steady sound, and large for an attack.
func attack(in []float32) float32 {
	var level [maxSteps]float32
	steps := level[:len(in)/stepLen]
	last, mean := in[0], float32(0)
	for s := range steps {
		sum := float32(0)
		// The treble, where noise is heard best and attacks are sharpest.
		for _, v := range in[s*stepLen : (s+1)*stepLen] {
			d := v - last
			last = v
			sum += d * d
		}
		steps[s] = sum
		mean += sum / float32(len(steps))
	}
	const (
		quiet = 10 * stepLen // nothing is heard below
		noise = 0.05         // of the sound: 13 dB below
		// Masking per step: 3 dB a millisecond after a loud part, so that pulses of a voice
		// are no attacks, and 14 dB before.
		after, before = 0.7, 0.2
	)
	mask := float32(0)
	for s := range steps {
		mask = max(steps[s], after*mask)
		steps[s] = mask
	}
	mask = quiet
	heard := float32(0)
	for s := len(steps) - 1; s >= 0; s-- {
		mask = max(steps[s], before*mask, quiet)
		if above := noise * mean / mask; above > 1 {
			heard += log2(above)
		}
	}
	return heard / float32(len(steps))
}
