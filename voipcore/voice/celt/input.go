package celt

import "math"

const (
	preEmphasis = 0.85000610 // 27853/32768 (4.3.7.2)
	// quietest is half a step of 16-bit samples: below it a frame is silent.
	quietest = 0.5
	// limit is twice full scale.
	limit = 65536
	// dcShare puts the corner of the DC filter at 3 Hz.
	dcShare = 2 * math.Pi * 3 / sampleRate
	// leastDC is far below hearing, and far above the subnormal numbers in which the DC
	// of digital silence would end: ARMv6 has a trap for each operation with one.
	leastDC = 1e-9
)

// A conditioner prepares samples for the codec: cleans them, takes off what is
// below hearing and raises the treble as the decoder will lower it.
type conditioner struct {
	dc    float32
	last  float32 // sample before, for the pre-emphasis
	quiet int     // silent samples in a row
}

// condition writes the prepared samples to out, in units of 16-bit samples, and
// reports whether they are silent and what they overlap with is too. The
// number of samples is a multiple of 4.
func (c *conditioner) condition(pcm, out []float32, scale float32) bool {
	const infinity = 0x7f800000
	n := len(pcm)
	out = out[:n]
	loudest := uint32(0) // magnitudes compare like their bits, and worse ones are above
	for i, v := range pcm {
		v *= scale
		out[i] = v
		loudest = max(loudest, math.Float32bits(v)&signless)
	}
	if loudest > math.Float32bits(limit) {
		for i, v := range out {
			switch b := math.Float32bits(v) & signless; {
			case b > infinity:
				out[i] = 0
			case v > limit:
				out[i] = limit
			case v < -limit:
				out[i] = -limit
			}
		}
	}
	loud := -1
	if loudest > math.Float32bits(quietest) {
		for loud = n - 1; loud > 0 && out[loud] <= quietest && out[loud] >= -quietest; loud-- {
		}
	}

	// The DC moves with every sample: steps would be heard as an image of the bass in
	// the treble. It is carried on once in four, which keeps the chain of operations
	// that wait for each other short; what that leaves out is 130 dB below.
	dc, last := c.dc, c.last
	for x := out; len(x) >= 4; x = x[4:] {
		a, b, c, d := x[0]-dc, x[1]-dc, x[2]-dc, x[3]-dc
		ab := a + b
		abc := ab + c
		dc += dcShare * (ab + (c + d))
		b -= dcShare * a
		c -= dcShare * ab
		d -= dcShare * abc
		x[0], x[1], x[2], x[3] = a-preEmphasis*last, b-preEmphasis*a, c-preEmphasis*b, d-preEmphasis*c
		last = d
	}
	if dc < leastDC && dc > -leastDC {
		dc = 0
	}
	c.dc, c.last = dc, last

	if loud < 0 {
		c.quiet += n
	} else {
		c.quiet = n - 1 - loud
	}
	return c.quiet >= n+shortLen
}
