package metric

import "math"

// Parameters of STOI, from C. Taal et al., "An Algorithm for Intelligibility
// Prediction of Time-Frequency Weighted Noisy Speech", 2011.
const (
	stoiFrame  = 256 // at 10 kHz
	stoiHop    = 128
	stoiPoints = 512
	stoiBands  = 15 // thirds of an octave from 150 Hz
	stoiSpan   = 30 // frames that are correlated: 384 ms
	stoiRange  = 40 // dB below the loudest frame that count
	stoiClip   = 15 // dB that a band may be worse than the reference
)

// STOI returns the short-time objective intelligibility of deg, from 0 to 1.
// It is NaN for less than 0.4 s of speech.
func STOI(ref, deg []float64) float64 {
	x, y := Resample(ref, 5, 24), Resample(deg, 5, 24)
	x, y = loudFrames(x, y)
	bx, by := thirds(x), thirds(y)
	clip := 1 + math.Pow(10, stoiClip/20.0)
	sum, count := 0.0, 0
	for f := stoiSpan; f <= len(bx); f++ {
		for b := range stoiBands {
			var ex, ey float64
			for i := f - stoiSpan; i < f; i++ {
				ex += bx[i][b] * bx[i][b]
				ey += by[i][b] * by[i][b]
			}
			gain := math.Sqrt(ex / (ey + 1e-20))
			var p, q [stoiSpan]float64
			for i := range stoiSpan {
				p[i] = bx[f-stoiSpan+i][b]
				q[i] = min(by[f-stoiSpan+i][b]*gain, p[i]*clip)
			}
			sum += correlation(p[:], q[:])
			count++
		}
	}
	if count == 0 {
		return math.NaN()
	}
	return sum / float64(count)
}

// correlation is that of x and y about their means.
func correlation(x, y []float64) float64 {
	var mx, my float64
	for i := range x {
		mx += x[i] / float64(len(x))
		my += y[i] / float64(len(y))
	}
	var xy, xx, yy float64
	for i := range x {
		dx, dy := x[i]-mx, y[i]-my
		xy += dx * dy
		xx += dx * dx
		yy += dy * dy
	}
	return xy / (math.Sqrt(xx*yy) + 1e-20)
}

// loudFrames joins the frames of both in which x is not silent.
func loudFrames(x, y []float64) (lx, ly []float64) {
	n := (min(len(x), len(y)) - stoiFrame) / stoiHop
	if n <= 0 {
		return nil, nil
	}
	w := hann(stoiFrame)
	level := make([]float64, n)
	loudest := math.Inf(-1)
	for f := range level {
		e := 1e-20
		for i, g := range w {
			v := x[f*stoiHop+i] * g
			e += v * v
		}
		level[f] = 10 * math.Log10(e)
		loudest = max(loudest, level[f])
	}
	lx, ly = make([]float64, len(x)), make([]float64, len(x))
	end, at := 0, 0
	for f, l := range level {
		if l < loudest-stoiRange {
			continue
		}
		for i, g := range w {
			lx[at+i] += x[f*stoiHop+i] * g
			ly[at+i] += y[f*stoiHop+i] * g
		}
		end = at + stoiFrame
		at += stoiHop
	}
	return lx[:end], ly[:end]
}

// thirds returns the amplitude in thirds of an octave, frame by frame.
func thirds(x []float64) [][stoiBands]float64 {
	n := max(0, (len(x)-stoiFrame)/stoiHop)
	out := make([][stoiBands]float64, n)
	meter := newPowerMeter(stoiFrame, stoiPoints)
	bin := func(f float64) int { return int(math.Round(f * stoiPoints / 10000)) }
	for f := range out {
		power := meter.of(x[f*stoiHop:])
		for b := range stoiBands {
			centre := 150 * math.Exp2(float64(b)/3)
			sum := 0.0
			for _, p := range power[bin(centre*math.Exp2(-1.0/6)):bin(centre*math.Exp2(1.0/6))] {
				sum += p
			}
			out[f][b] = math.Sqrt(sum)
		}
	}
	return out
}
