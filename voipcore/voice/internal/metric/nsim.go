package metric

import "math"

// A Band says which part of the spectrum NSIM looks at.
type Band struct {
	up, down int     // of the rate
	filters  int     // on the ear's scale, from 50 Hz
	top      float64 // the highest filter, in Hz
}

// The bands: what carries speech, and what the ear hears.
var (
	Wideband = Band{1, 3, 21, 7500}
	FullBand = Band{1, 1, 32, 16000}
)

// Parameters of the similarity, after A. Hines et al., "ViSQOL", 2015, with 80 ms frames.
const (
	nsimRange  = 60 // dB that the picture shows, below its brightest point
	nsimActive = 35 // frames whose peak is further below do not count
	nsimMask   = 45 // what is further below the peak of its frame is not heard
)

// nsimWindow weighs a point and its neighbours in time and frequency.
var nsimWindow = [3][3]float64{
	{0.0113, 0.0838, 0.0113},
	{0.0838, 0.6193, 0.0838},
	{0.0113, 0.0838, 0.0113},
}

// NSIM returns the similarity of the two spectrograms on the ear's scale of
// frequency, with gammatone filters: 1 for equal ones. It is NaN for less than 0.2 s.
func NSIM(ref, deg []float64, band Band) float64 {
	x := spectrogram(Resample(ref, band.up, band.down), band)
	y := spectrogram(Resample(deg, band.up, band.down), band)
	brightest := math.Inf(-1)
	for _, row := range x {
		for _, v := range row {
			brightest = max(brightest, v)
		}
	}
	floor := brightest - nsimRange
	active := make([]bool, len(x))
	for f := range x {
		peak := math.Inf(-1)
		for _, v := range x[f] {
			peak = max(peak, v)
		}
		hidden := max(floor, peak-nsimMask)
		for b := range x[f] {
			x[f][b] = max(x[f][b], hidden) - floor
			y[f][b] = max(y[f][b], hidden) - floor
		}
		active[f] = peak > brightest-nsimActive
	}
	// The constants of structural similarity, for this range.
	const c1, c3 = (0.01 * nsimRange) * (0.01 * nsimRange), (0.03 * nsimRange) * (0.03 * nsimRange) / 2
	sum, count := 0.0, 0
	for f := 1; f < len(x)-1; f++ {
		if !active[f] {
			continue
		}
		for b := 1; b < band.filters-1; b++ {
			var mx, my, xx, yy, xy float64
			for i, row := range nsimWindow {
				for j, g := range row {
					p, q := x[f+i-1][b+j-1], y[f+i-1][b+j-1]
					mx += g * p
					my += g * q
					xx += g * p * p
					yy += g * q * q
					xy += g * p * q
				}
			}
			vx, vy := max(0, xx-mx*mx), max(0, yy-my*my)
			level := (2*mx*my + c1) / (mx*mx + my*my + c1)
			structure := (xy - mx*my + c3) / (math.Sqrt(vx*vy) + c3)
			sum += level * structure
			count++
		}
	}
	if count == 0 {
		return math.NaN()
	}
	return sum / float64(count)
}

// spectrogram returns the level in dB after each filter, every 20 ms.
func spectrogram(x []float64, band Band) [][]float64 {
	rate := Rate * float64(band.up) / float64(band.down)
	n := int(0.08 * rate)
	size := 1
	for size < n {
		size *= 2
	}
	// Frequency as the ear has it: the number of equivalent rectangular bandwidths (Glasberg and Moore, 1990).
	erb := func(f float64) float64 { return 21.4 * math.Log10(1+0.00437*f) }
	hertz := func(e float64) float64 { return (math.Pow(10, e/21.4) - 1) / 0.00437 }
	type filter struct {
		first  int
		weight []float64
	}
	filters := make([]filter, band.filters)
	for b := range filters {
		at := float64(b) / float64(band.filters-1)
		centre := hertz(erb(50) + (erb(band.top)-erb(50))*at)
		width := 1.019 * 24.7 * (0.00437*centre + 1)
		for k := range size/2 + 1 {
			d := (float64(k)*rate/float64(size) - centre) / width
			// The power response of a gammatone filter of the fourth order.
			if w := math.Pow(1+d*d, -4); w > 1e-5 {
				if filters[b].weight == nil {
					filters[b].first = k
				}
				filters[b].weight = append(filters[b].weight, w)
			}
		}
	}
	meter := newPowerMeter(n, size)
	out := make([][]float64, max(0, (len(x)-n)/(n/4)))
	for f := range out {
		power := meter.of(x[f*(n/4):])
		out[f] = make([]float64, band.filters)
		for b, g := range filters {
			sum := 1e-20
			for k, w := range g.weight {
				sum += w * power[g.first+k]
			}
			out[f][b] = 10 * math.Log10(sum)
		}
	}
	return out
}
