package celt

import "math"

// silenceEnergy is what the decoder takes for all bands after a frame of silence.
const silenceEnergy = -28

// bandEnergies measures each band: its amplitude in amp, and the log2 of that
// less the band's mean in logE.
func bandEnergies(spectrum []float32, lm uint, amp, logE *[numBands]float32) {
	for b := range amp {
		sum := float32(1e-27)
		for _, v := range spectrum[bandEdges[b]<<lm : bandEdges[b+1]<<lm] {
			sum += v * v
		}
		amp[b] = sqrt32(sum)
		logE[b] = 0.5*log2(sum) - energyMeans[b]
	}
}

// normalize divides each band by its amplitude: what is left is the shape.
func normalize(spectrum []float32, lm uint, amp *[numBands]float32) {
	for b, a := range amp {
		g := 1 / (a + 1e-27)
		band := spectrum[bandEdges[b]<<lm : bandEdges[b+1]<<lm]
		for i := range band {
			band[i] *= g
		}
	}
}

// An envelope is the quantized energy of all bands, as the decoder has it, and
// how far it is off.
type envelope struct {
	value [numBands]float32
	err   [numBands]float32
}

// coarse writes the energy of all bands in steps of 6 dB, predicted from the
// bands below and, unless intra, from the frame before (4.3.2.1).
func (env *envelope) coarse(rc *rangeCoder, logE *[numBands]float32, lm uint, intra bool) {
	alpha, beta, model := energyAlpha[lm-2], energyBeta[lm-2], &energyModel[lm-2][0]
	if intra {
		alpha, beta, model = 0, energyBetaIntra, &energyModel[lm-2][1]
	}
	budget := rc.bytes * 8
	below := float32(0)
	for b, e := range logE {
		base := alpha*max(-9, env.value[b]) + below
		step := int(math.Floor(float64(e - base + 0.5)))

		// The bands above must not starve when a large step meets a small frame:
		// three bits each are put by, which is what a step of zero or one costs.
		left := budget - rc.tell()
		if spare := left - 3*(numBands-b); b > 0 && spare < 30 {
			if spare < 24 {
				step = min(step, 1)
			}
			if spare < 16 {
				step = max(step, -1)
			}
		}
		switch {
		case left >= 15:
			step = rc.laplace(step, uint32(model[b][0])<<7, uint32(model[b][1])<<6)
		case left >= 2:
			step = max(-1, min(step, 1))
			rc.symbol([3]int{1, 0, 2}[step+1], smallCDF, 2)
		case left >= 1:
			step = max(-1, min(step, 0))
			rc.bit(step < 0, 1)
		default:
			step = -1
		}
		q := float32(step)
		env.value[b] = base + q
		env.err[b] = e - env.value[b]
		below += q - beta*q
	}
}

// laplace writes a value with a Laplace distribution in 1/32768, of which zero
// has the share zero and each further value decay/32768 of the one before, but
// at least 1. It returns the value written: what is too far out is clipped.
func (r *rangeCoder) laplace(v int, zero, decay uint32) int {
	const (
		shift = 15
		total = 1 << shift
		least = 1  // share of any value
		sure  = 16 // values on each side that have a share for certain
	)
	if v == 0 {
		r.encodeShift(0, zero, shift)
		return 0
	}
	size := v
	if v < 0 {
		size = -v
	}
	lo := zero
	share := (total - 2*sure*least - zero) * (16384 - decay) >> 15 // less least
	at := 1
	for ; at < size && share > 0; at++ {
		lo += 2 * (share + least)
		share = 2 * share * decay >> 15
	}
	if share == 0 {
		// All from here on have the least share, as many as there is room for.
		room := int(total-lo+1) / 2
		if v > 0 {
			room = int(total-lo) / 2
		}
		extra := min(size-at, room-1)
		at += extra
		lo += uint32(2 * extra * least)
	}
	if v > 0 {
		lo += share + least
	}
	r.encodeShift(lo, min(lo+share+least, total), shift)
	if v < 0 {
		return -at
	}
	return at
}

// fine refines the energy of each band by its number of raw bits (4.3.2.2).
func (env *envelope) fine(rc *rangeCoder, bits *[numBands]int) {
	for b, n := range bits {
		if n > 0 {
			steps := float32(int(1) << n)
			q := int((env.err[b] + 0.5) * steps)
			q = max(0, min(q, 1<<n-1))
			rc.raw(uint32(q), n)
			env.adjust(b, (float32(q)+0.5)/steps-0.5)
		}
	}
}

// finish spends the bits that are left on one more bit of energy for a band,
// those of the first priority first.
func (env *envelope) finish(rc *rangeCoder, a *allocation) {
	left := rc.bytes*8 - rc.tell()
	for _, later := range []bool{false, true} {
		for b := range env.value {
			if left < 1 || a.fine[b] >= maxFineBits || a.later[b] != later {
				continue
			}
			half := 0.5 / float32(int(2)<<a.fine[b])
			if env.err[b] < 0 {
				rc.raw(0, 1)
				env.adjust(b, -half)
			} else {
				rc.raw(1, 1)
				env.adjust(b, half)
			}
			left--
		}
	}
}

func (env *envelope) adjust(b int, by float32) {
	env.value[b] += by
	env.err[b] -= by
}

// sqrt32 is compiled to one instruction where there is one.
func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// log2 is the binary logarithm of a positive normal number within 1e-5, by a
// polynomial on the mantissa: math.Log2 costs ten times as much.
func log2(x float32) float32 {
	u := math.Float32bits(x)
	// Centre the mantissa on 1: from 1/sqrt(2) to sqrt(2).
	e := int32(u-0x3f3504f3) >> 23
	m := math.Float32frombits(u - uint32(e)<<23)
	// log2((1+t)/(1-t)) as its odd series.
	t := (m - 1) / (m + 1)
	t2 := t * t
	return float32(e) + t*(2.88539008+t2*(0.96179669+t2*(0.57707802+t2*0.41219859)))
}
