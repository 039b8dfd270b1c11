// Package heard judges whether a recording holds what was spoken: the same
// words by the same voice, not something else and not half of it, and how much
// later. It compares two pieces of sound; it knows nothing of calls.
//
// The verdict is made in the band from 30 Hz to 1.5 kHz, where voices are loudest
// and where a codec keeps the waveform:
//
//  1. The recording is searched for the place where its loudness, in steps of
//     10 ms, follows the spoken one best. The best few places are looked at
//     closer by the waveform, and the one that resembles it most is the delay.
//  2. What was spoken is cut into segments of 200 ms. Those that are not
//     silence (softer than 30 dB below the loudest) are active.
//  3. Each active segment is looked for near that delay, or near where the one
//     before was found (250 ms at most): the delay of a call moves when its
//     jitter buffer adapts. It is heard if its normalised correlation with the recording is
//     at least 0.7 and it is between 12 dB softer and 12 dB louder.
//  4. The speech is heard if there is at least one second of active segments
//     and 85 of 100 of them are heard.
//
// The numbers are measured (see the tests, and the table in them): the output
// of a call at 32 kbit/s with 1 % of its frames lost and some gaps has 98 of
// 100 and more, noise, other speech and silence have under 10, and speech that
// is cut in half has 50.
package heard

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// RateHz is the rate of all sound here.
const RateHz = 48000

const (
	decimation = 8 // to 6 kHz
	lowHz      = RateHz / decimation

	step       = lowHz / 100 // 10 ms
	segment    = lowHz / 5   // 200 ms
	leastSpeak = 5           // segments: one second

	wander  = lowHz / 4   // 250 ms: how far a segment may lie from where the last one was found
	still   = lowHz / 500 // 2 ms: how far it is looked for at first, since mostly nothing has moved
	places  = 8           // looked at closer
	margin  = 30          // steps of silence around both, where their loudness is compared
	nearBy  = 2 * step    // how far they are looked at
	sparse  = 7           // every so many samples of them: enough to tell them apart
	dcPole  = 0.97        // 29 Hz at lowHz
	silence = 1e-3        // of the loudest segment's power: -30 dB
	alike   = 0.7
	softest = 0.25 // amplitude: -12 dB
	loudest = 4

	enough = 0.85 // of the active segments
)

// A Result says what was found. Delay means something only if Heard.
type Result struct {
	Heard  bool          // the speech is in the recording
	Delay  time.Duration // how much later than spoken: the median of the segments heard
	Score  float64       // mean likeness of the active segments, from 0 to 1
	Active int           // segments of 200 ms that are not silence
	Found  int           // those of them that were heard
}

// Enough reports whether there is enough in what is to be spoken to be heard: a
// second that is not silence. What has less, Compare never finds.
func Enough(spoken []int16) bool { return len(activeSegments(decimate(spoken))) >= leastSpeak }

// Compare looks for spoken in recording. Delay counts from the first sample of
// both; it is below zero if the recording began after the speech. Sound of
// ten seconds takes a fraction of a second.
func Compare(spoken, recording []int16) Result {
	a, b := decimate(spoken), decimate(recording)
	active := activeSegments(a)
	res := Result{Active: len(active)}
	if len(active) == 0 || len(b) < segment {
		return res
	}

	lag := align(a, b)
	near := lag
	var lags []int
	for _, at := range active {
		seg := a[at:][:segment]
		like, found := best(seg, b, at+near, still, 1)
		if like < alike { // the delay has moved: on from there, or back
			like, found = wide(seg, b, at+near)
		}
		if like < alike && near != lag {
			if l, f := wide(seg, b, at+lag); l > like {
				like, found = l, f
			}
		}
		res.Score += max(like, 0) / float64(len(active))
		if like >= alike && levelFits(seg, b, found) {
			near = found - at
			lags = append(lags, near)
			res.Found++
		}
	}
	res.Heard = res.Active >= leastSpeak && float64(res.Found) >= enough*float64(res.Active)
	if len(lags) > 0 {
		slices.Sort(lags)
		res.Delay = time.Duration(lags[len(lags)/2]) * time.Second / lowHz
	}
	return res
}

// decimate keeps the low band and every 8th sample. The mean of 16 samples,
// taken twice, is 8 dB down at 1.5 kHz and has zeros at 3, 6 and 9 kHz; what
// it leaves above 3 kHz is 26 dB down, so that no aliasing shows in a likeness
// of 0.7. What is below 30 Hz goes: cheap sound cards add a constant, which
// nobody hears and no encoder sends.
func decimate(pcm []int16) []float64 {
	const width = 2 * decimation
	out := make([]float64, 0, len(pcm)/decimation)
	sums := make([]float64, len(pcm)+1)
	for i, v := range pcm {
		sums[i+1] = sums[i] + float64(v)
	}
	mean := func(at int) float64 { // of width samples around at
		lo, hi := max(at-width/2, 0), min(at+width/2, len(pcm))
		if lo >= hi {
			return 0
		}
		return (sums[hi] - sums[lo]) / width
	}
	for i := decimation / 2; i+decimation/2 <= len(pcm); i += decimation {
		var sum float64
		for k := -width / 2; k < width/2; k++ {
			sum += mean(i + k)
		}
		out = append(out, sum/width)
	}
	var in, blocked float64
	for i, v := range out {
		if i == 0 {
			in = v
		}
		blocked = v - in + dcPole*blocked
		in, out[i] = v, blocked
	}
	return out
}

func power(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	return sum
}

// activeSegments returns where the segments of x begin that are not silence.
func activeSegments(x []float64) []int {
	var loud float64
	for at := 0; at+segment <= len(x); at += segment {
		loud = max(loud, power(x[at:][:segment]))
	}
	var active []int
	for at := 0; at+segment <= len(x); at += segment {
		if p := power(x[at:][:segment]); loud > segment && p > silence*loud {
			active = append(active, at)
		}
	}
	return active
}

// align returns by how much b is later than a as a whole.
func align(a, b []float64) (lag int) {
	// Around what was spoken there is silence: it tells where steady sound begins.
	around := make([]float64, margin)
	ea, eb := slices.Concat(around, envelope(a), around), slices.Concat(around, envelope(b), around)
	type place struct {
		lag  int
		like float64
	}
	var all []place
	for l := 1 - len(ea); l < len(eb); l++ {
		// At least a quarter of what was spoken must lie in the recording.
		if lo, hi := max(0, -l), min(len(ea), len(eb)-l); hi-lo >= len(ea)/4 {
			all = append(all, place{l * step, correlation(ea[lo:hi], eb[lo+l:hi+l]) * float64(hi-lo)})
		}
	}
	slices.SortFunc(all, func(x, y place) int { return cmp.Compare(y.like, x.like) })
	like := math.Inf(-1)
	var seen []int
	for _, p := range all {
		if slices.ContainsFunc(seen, func(l int) bool { return p.lag-l < nearBy && l-p.lag < nearBy }) {
			continue // was looked at
		}
		seen = append(seen, p.lag)
		if c, at := best(a, b, p.lag, nearBy, sparse); c > like {
			like, lag = c, at
		}
		if len(seen) == places {
			break
		}
	}
	return lag
}

// envelope is the loudness of x in steps of 10 ms, as the ear has it: its
// cube root, so that soft sounds count.
func envelope(x []float64) []float64 {
	e := make([]float64, 0, len(x)/step)
	for at := 0; at+step <= len(x); at += step {
		e = append(e, math.Cbrt(math.Sqrt(power(x[at:][:step])/step)))
	}
	return e
}

// correlation is that of two pieces of equal length without their means.
func correlation(x, y []float64) float64 {
	var sx, sy, xx, yy, xy float64
	for i, v := range x {
		w := y[i]
		sx, sy = sx+v, sy+w
		xx, yy, xy = xx+v*v, yy+w*w, xy+v*w
	}
	n := float64(len(x))
	d := (xx - sx*sx/n) * (yy - sy*sy/n)
	if n == 0 || d < 1e-6 {
		return 0
	}
	return (xy - sx*sy/n) / math.Sqrt(d)
}

// best looks for x in y around at, up to reach samples to either side, and
// returns the greatest likeness and its place. What lies outside y is silence.
// Of x, every stride-th sample is looked at.
func best(x, y []float64, at, reach, stride int) (like float64, place int) {
	like, place = math.Inf(-1), at
	var px float64
	for i := 0; i < len(x); i += stride {
		px += x[i] * x[i]
	}
	for p := at - reach; p <= at+reach; p++ {
		lo, hi := max(0, -p), min(len(x), len(y)-p)
		if lo >= hi {
			continue
		}
		var xy, yy float64
		for i := lo; i < hi; i += stride {
			v := y[i+p]
			xy += x[i] * v
			yy += v * v
		}
		if c := xy / math.Sqrt(px*yy+1); c > like {
			like, place = c, p
		}
	}
	return max(like, 0), place
}

// wide looks for x in y as far as it may have wandered.
func wide(x, y []float64, at int) (like float64, place int) {
	_, place = best(x, y, at, wander, 3)
	return best(x, y, place, still, 1)
}

// levelFits reports whether x is about as loud in y at that place.
func levelFits(x, y []float64, at int) bool {
	lo, hi := max(0, at), min(len(y), at+len(x))
	if lo >= hi {
		return false
	}
	ratio := math.Sqrt(power(y[lo:hi]) / power(x))
	return ratio >= softest && ratio <= loudest
}
