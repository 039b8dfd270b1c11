package celt

const (
	preEmphasis = 0.85000610 // 27853/32768 (4.3.7.2)
	// quietest is half a step of 16-bit samples: below it a frame is silent.
	quietest = 0.5
	loudest  = 65536
	// dcPole puts the corner of the DC filter at 3 Hz.
	dcPole = 1 - 2*3.14159265*3/sampleRate
)

// A conditioner prepares samples for the codec: cleans them, takes off what is
// below hearing and raises the treble as the decoder will lower it.
type conditioner struct {
	dc    float32
	last  float32 // sample before, for the pre-emphasis
	quiet int     // silent samples in a row
}

// condition writes the prepared samples to out, in units of 16-bit samples, and
// reports whether they are silent and what they overlap with is too.
func (c *conditioner) condition(pcm, out []float32, scale float32) bool {
	out = out[:len(pcm)]
	dc, last := c.dc, c.last
	loud := -1
	for i, v := range pcm {
		v *= scale
		if !(v < loudest) { // also what is not a number
			v = clean(v)
		} else if v < -loudest {
			v = -loudest
		}
		if v > quietest || v < -quietest {
			loud = i
		}
		v -= dc
		dc += (1 - dcPole) * v
		out[i] = v - preEmphasis*last
		last = v
	}
	c.dc, c.last = dc, last
	return c.hush(loud, len(pcm))
}

func clean(v float32) float32 {
	if v != v {
		return 0
	}
	return loudest
}

// hush counts silent samples.
func (c *conditioner) hush(loud, n int) bool {
	if loud < 0 {
		c.quiet += n
	} else {
		c.quiet = n - 1 - loud
	}
	return c.quiet >= n+shortLen
}
