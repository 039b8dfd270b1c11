package alsa

import (
	"fmt"
	"math"
)

// taps is the length of the filter in samples of the lower rate. With the Kaiser
// window below, 48 of them pass 18 kHz and stop 22 kHz by 70 dB at 44.1 kHz. They
// delay by half their length, 0.5 ms.
const taps = 48

// resampler turns one rate into another by a fixed ratio of small numbers: a
// windowed sinc in up phases (44100 to 48000: 160 phases, every 147th taken).
type resampler struct {
	up, down int       // output rate : input rate in lowest terms
	width    int       // taps of one phase
	filter   []float32 // up phases of width taps, for the oldest sample first
	history  []float32 // the last width inputs, twice, so that any window is one slice
	at       int       // where in history the next input goes
	phase    int       // of the next output behind the newest input, in input/up; from up on, inputs are missing
}

// maxPhases bounds the filter's memory: 640 phases are 11025 to 48000 Hz.
const maxPhases = 640

// newResampler makes one from a rate to a rate, in Hz.
func newResampler(from, to int) (*resampler, error) {
	if from <= 0 || to <= 0 {
		return nil, fmt.Errorf("resample %d to %d Hz", from, to)
	}
	g := gcd(from, to)
	r := &resampler{up: to / g, down: from / g}
	if r.up > maxPhases || from > 8*to {
		return nil, fmt.Errorf("resample %d to %d Hz: too odd a ratio", from, to)
	}
	r.width = taps
	cut := 0.5 // of the input rate: the lower of the two Nyquist frequencies ...
	if to < from {
		r.width = taps * from / to
		cut = 0.5 * float64(to) / float64(from)
	}
	// ... and the middle of a transition band that ends there.
	const beta = 6.8 // Kaiser: 70 dB
	cut -= (70 - 7.95) / (14.36 * float64(r.width)) / 2
	r.filter = make([]float32, r.up*r.width)
	n := len(r.filter)
	middle := float64(n-1) / 2
	for p := range r.up {
		row, sum := r.filter[p*r.width:(p+1)*r.width], 0.0
		for k := range row {
			t := float64(k*r.up+p) - middle
			x := 2 * cut * t / float64(r.up)
			sinc := 1.0
			if x != 0 {
				sinc = math.Sin(math.Pi*x) / (math.Pi * x)
			}
			w := bessel0(beta*math.Sqrt(1-(t/(middle+1))*(t/(middle+1)))) / bessel0(beta)
			row[r.width-1-k] = float32(sinc * w)
			sum += sinc * w
		}
		for k := range row { // every phase passes a constant alike, else they whistle
			row[k] = float32(float64(row[k]) / sum)
		}
	}
	r.history = make([]float32, 2*r.width)
	r.phase = r.up // the first output needs the first input
	return r, nil
}

// need returns how many inputs the next n outputs take.
func (r *resampler) need(n int) int {
	if n <= 0 {
		return 0
	}
	return (r.phase + (n-1)*r.down) / r.up
}

// gives returns how many outputs n inputs make.
func (r *resampler) gives(n int) int {
	// The largest m with need(m) <= n.
	room := n*r.up + r.up - 1 - r.phase
	if room < 0 {
		return 0
	}
	return room/r.down + 1
}

// run makes outputs of inputs. The lengths fit each other by need or gives.
func (r *resampler) run(dst, src []int16) {
	for i := range dst {
		for r.phase >= r.up {
			r.push(src[0])
			src = src[1:]
			r.phase -= r.up
		}
		row := r.filter[r.phase*r.width:][:r.width]
		window := r.history[r.at:][:r.width] // oldest first
		var sum float32
		for k, s := range window {
			sum += s * row[k]
		}
		dst[i] = clamp16(sum)
		r.phase += r.down
	}
	for _, s := range src { // inputs behind the last output
		r.push(s)
		r.phase -= r.up
	}
}

func (r *resampler) push(s int16) {
	r.history[r.at], r.history[r.at+r.width] = float32(s), float32(s)
	if r.at++; r.at == r.width {
		r.at = 0
	}
}

// reset forgets what was heard, as after a break in the sound.
func (r *resampler) reset() {
	clear(r.history)
	r.phase, r.at = r.up, 0
}

func clamp16(v float32) int16 {
	switch {
	case v >= 32767:
		return 32767
	case v <= -32768:
		return -32768
	case v < 0:
		return int16(v - 0.5)
	}
	return int16(v + 0.5)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}
