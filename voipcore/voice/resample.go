package voice

import (
	"fmt"
	"math"
)

// A Resampler turns a mono stream of any usual rate into 48 kHz. It is a
// polyphase filter: between two samples of the input it knows as many places
// as the output can fall on, and has the weights of a windowed sinc for each.
// It adds no delay to the stream: what Write still owes, Flush gives.
//
// It belongs to one goroutine.
type Resampler struct {
	up, down int // the output has up samples for every down of the input
	taps     int
	weights  []float32 // up rows of taps
	past     []float32 // the last taps samples, twice, so that they always lie in one piece
	at       int       // where the next one goes
	phase    int       // of the next output sample, in 1/up of an input sample
	owed     int       // input samples until the filter is centred on the first one
}

const (
	minRateHz = 8000
	maxRateHz = 192000

	// maxPhases bounds the table: 48 kHz from 11.025 kHz takes 640 phases, and
	// no usual rate takes more.
	maxPhases = 640

	// zeroCrossings of the sinc on each side, and the cut-off as a part of the
	// lower of the two Nyquist frequencies: 80 dB down where images begin.
	zeroCrossings = 32
	cutOff        = 0.92
	kaiserBeta    = 8
)

// NewResampler returns a Resampler from a rate to RateHz. It takes the rates
// from 8 to 192 kHz that sound files have, not any number between.
func NewResampler(rateHz int) (*Resampler, error) {
	if rateHz < minRateHz || rateHz > maxRateHz {
		return nil, fmt.Errorf("voice: resample from %d Hz: rate is not from %d to %d Hz", rateHz, minRateHz, maxRateHz)
	}
	d := gcd(rateHz, RateHz)
	r := &Resampler{up: RateHz / d, down: rateHz / d}
	if r.up > maxPhases {
		return nil, fmt.Errorf("voice: resample from %d Hz: not a usual rate", rateHz)
	}
	if r.up == r.down {
		return r, nil // nothing to do, and nothing that could be heard
	}
	low := math.Min(1, float64(r.up)/float64(r.down)) // the lower rate, of the input's
	half := int(math.Ceil(zeroCrossings / low))
	r.taps = 2 * half
	r.past = make([]float32, 2*r.taps)
	r.owed = half
	r.weights = make([]float32, r.up*r.taps)
	for p := range r.up {
		row := r.weights[p*r.taps:][:r.taps]
		var sum float64
		w := make([]float64, r.taps)
		for i := range w {
			// Distance of tap i from an output that lies p/up behind the middle.
			x := float64(i-half+1) - float64(p)/float64(r.up)
			w[i] = sinc(x*low*cutOff) * kaiser(x/float64(half))
			sum += w[i]
		}
		for i := range w { // each phase passes constant sound as it is
			row[i] = float32(w[i] / sum)
		}
	}
	return r, nil
}

// Append appends to dst what the input in src makes, and returns the result.
func (r *Resampler) Append(dst []int16, src []int16) []int16 {
	if r.taps == 0 {
		return append(dst, src...)
	}
	for _, v := range src {
		dst = r.put(dst, float32(v))
	}
	return dst
}

// Flush appends the end of the stream to dst: together with what Append gave,
// as many samples as the input lasted. Then the Resampler is used up.
func (r *Resampler) Flush(dst []int16) []int16 {
	for range r.taps / 2 {
		dst = r.put(dst, 0)
	}
	return dst
}

func (r *Resampler) put(dst []int16, v float32) []int16 {
	r.past[r.at], r.past[r.at+r.taps] = v, v
	if r.at++; r.at == r.taps {
		r.at = 0
	}
	if r.owed > 0 {
		r.owed--
		return dst
	}
	window := r.past[r.at:][:r.taps]
	for ; r.phase < r.up; r.phase += r.down {
		var sum float32
		for i, w := range r.weights[r.phase*r.taps:][:r.taps] {
			sum += w * window[i]
		}
		dst = append(dst, clip(sum))
	}
	r.phase -= r.up
	return dst
}

func clip(v float32) int16 {
	return int16(math.Round(float64(min(max(v, math.MinInt16), math.MaxInt16))))
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window for x from -1 to 1.
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel(kaiserBeta*math.Sqrt(1-x*x)) / bessel(kaiserBeta)
}

// bessel is the modified Bessel function of order 0, by its power series.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}
