package celt

import (
	"math"
	"testing"

	"github.com/pion/opus"
)

func TestLog2(t *testing.T) {
	for x := 1e-30; x < 1e30; x *= 1.37 {
		if got, want := float64(log2(float32(x))), math.Log2(x); math.Abs(got-want) > 1e-4 {
			t.Errorf("log2(%v) = %v, want %v", x, got, want)
		}
	}
}

func TestQuarterTurns(t *testing.T) {
	for i := range 1001 {
		want := float64(i) / 1000
		sin, cos := math.Sincos(want * math.Pi / 2)
		if got := float64(quarterTurns(float32(sin), float32(cos))); math.Abs(got-want) > 1e-4 {
			t.Errorf("angle %v of a quarter turn measured as %v", want, got)
		}
	}
}

// TestCombIsUndone filters with many settings in turn and puts back what was
// taken as a decoder does (4.3.7.1): the input must come out.
func TestCombIsUndone(t *testing.T) {
	rng := newRand(7)
	for _, n := range []int{480, 960} {
		var f prefilter
		var out [maxFrame]float32
		got := make([]float32, 2*maxPeriod) // what the decoder has so far
		var want []float32
		old := comb{period: minPeriod}
		for range 40 {
			in := f.next(n)
			for i := range in {
				in[i] = float32(1000 * rng.NormFloat64())
			}
			want = append(want, in...)
			next := comb{minPeriod + rng.IntN(maxPeriod-2-minPeriod), rng.IntN(9), rng.IntN(3)}
			if rng.IntN(3) == 0 {
				next = old
			}
			f.run(out[:], n, next)
			tap := func(c comb) float32 {
				c0, c1, c2 := c.coefficients()
				at := len(got) - c.period
				return c0*got[at] + c1*(got[at-1]+got[at+1]) + c2*(got[at-2]+got[at+2])
			}
			for i, v := range out[:n] {
				w := float32(1)
				if i < shortLen {
					w = window[i] * window[i]
				}
				got = append(got, v+(1-w)*tap(old)+w*tap(next))
			}
			old = next
		}
		got = got[2*maxPeriod:]
		for i := range want {
			if d := got[i] - want[i]; !(d < 0.5 && d > -0.5) {
				t.Fatalf("frames of %d: sample %d is %v, want %v", n, i, got[i], want[i])
			}
		}
	}
}

// TestPitchIsFound uses pulses with a decaying ring, as of a throat.
func TestPitchIsFound(t *testing.T) {
	for _, period := range []int{50, 64, 97, 120, 200, 333, 480, 600, 799} {
		var f prefilter
		y1, y2 := 0.0, 0.0
		for frame := range 6 {
			in := f.next(960)
			for i := range in {
				x := 0.0
				if (frame*960+i)%period == 0 {
					x = 5000
				}
				y := x + 1.9*y1 - 0.93*y2
				y1, y2 = y, y1
				in[i] = float32(y - 0.85*y2)
			}
			f.pitch.add(f.sound[:], 960)
			got, match := f.pitch.find(f.sound[:])
			if frame < 3 {
				continue
			}
			// Twice the period repeats as well, and between two samples of the low
			// rate it is the better guess; to the filter it is all the same.
			once, twice := got-period, got-2*period
			if (once < -1 || once > 1) && (twice < -1 || twice > 1) || match < 0.8 {
				t.Errorf("period %d in frame %d: found %d with a match of %v", period, frame, got, match)
			}
		}
	}
}

func TestNoiseHasNoPitch(t *testing.T) {
	rng := newRand(8)
	var f prefilter
	for frame := range 20 {
		in := f.next(960)
		for i := range in {
			in[i] = float32(3000 * rng.NormFloat64())
		}
		if c := f.choose(960); c.gain != 0 {
			t.Errorf("frame %d of noise: %+v, want no filter", frame, c)
		}
	}
}

func TestAttack(t *testing.T) {
	rng := newRand(9)
	noise := make([]float32, shortLen+maxFrame)
	for i := range noise {
		noise[i] = float32(3000 * rng.NormFloat64())
	}
	if got := attack(noise); got > 0.1 {
		t.Errorf("steady noise has an attack of %v, want at most 0.1", got)
	}
	late := append([]float32(nil), noise...)
	for i := range late[:700] {
		late[i] /= 1000
	}
	if got := attack(late); got < attackLimit {
		t.Errorf("noise out of silence has an attack of %v, want above %v", got, attackLimit)
	}
	fade := append([]float32(nil), noise...)
	for i := range fade {
		fade[i] *= float32(math.Exp(-float64(i) / 300))
	}
	if got := attack(fade); got > attackLimit {
		t.Errorf("noise that fades has an attack of %v, want below %v", got, attackLimit)
	}
	if got := attack(make([]float32, shortLen+maxFrame)); got != 0 {
		t.Errorf("silence has an attack of %v, want 0", got)
	}
}

// TestResolutionFollowsTheSound: a click in a long block is better seen in time,
// a tone in short blocks better in frequency.
func TestResolutionFollowsTheSound(t *testing.T) {
	in := make([]float32, shortLen+maxFrame)
	spectrum := make([]float32, maxFrame)
	var amp, logE [numBands]float32
	var c tfChooser

	in[500] = 10000
	newMDCT(960).forward(in, spectrum, 1)
	bandEnergies(spectrum, 3, &amp, &logE)
	normalize(spectrum, 3, &amp)
	flags, sel := c.choose(spectrum, &logE, 3, false)
	for b := 8; b < numBands; b++ {
		if got := tfTable[1][0][sel][flags[b]]; got >= 0 {
			t.Errorf("click: band %d has change %d, want a negative one", b, got)
		}
	}

	for i := range in {
		in[i] = 0
		for b := range numBands {
			f := 200 * (float64(bandEdges[b]+bandEdges[b+1])/2 + 0.1)
			in[i] += float32(1000 * math.Sin(2*math.Pi*f*float64(i)/sampleRate))
		}
	}
	short := newMDCT(shortLen)
	for b := range 8 {
		short.forward(in[b*shortLen:], spectrum[b:], 8)
	}
	bandEnergies(spectrum, 3, &amp, &logE)
	normalize(spectrum, 3, &amp)
	flags, sel = c.choose(spectrum, &logE, 3, true)
	joined := 0
	for b := range flags {
		if tfTable[1][1][sel][flags[b]] > 0 {
			joined++
		}
	}
	if joined < numBands/2 {
		t.Errorf("tones in short blocks: %d bands joined, want most", joined)
	}
}

func TestTrimStaysInRange(t *testing.T) {
	for _, bitrate := range []int{16000, 64000} {
		for _, slope := range []float32{-100, -1, 0, 1, 100} {
			var logE [numBands]float32
			for b := range logE {
				logE[b] = slope * float32(b)
			}
			got := chooseTrim(&logE, bitrate)
			if got < 0 || got > 10 || (slope < 0) != (got > 5) && slope != 0 {
				t.Errorf("slope %v at %d bit/s: trim %d, want 0 to 10, above 5 for a falling one", slope, bitrate, got)
			}
		}
	}
}

func TestConditioner(t *testing.T) {
	var c conditioner
	pcm, out := make([]float32, 960), make([]float32, 960)
	for i := range pcm {
		pcm[i] = 0.25
	}
	for f := range 100 {
		if c.condition(pcm, out, 32768) {
			t.Fatalf("frame %d of a constant is silent", f)
		}
	}
	if v := out[959]; v > 1 || v < -1 {
		t.Errorf("a constant of 8192 after two seconds is %v, want 0", v)
	}
	clear(pcm)
	if c.condition(pcm, out, 1) {
		t.Error("a silent frame that overlaps with sound counts as silent")
	}
	if !c.condition(pcm, out, 1) {
		t.Error("the second silent frame does not count as silent")
	}
	pcm[959] = 1
	if c.condition(pcm, out, 1) {
		t.Error("a frame with one step at its end counts as silent")
	}
}

// TestConditionerIsExact compares with the same filters in float64, sample by sample: what
// is off by 50 dB below the bass shows in the treble, where speech has nothing.
func TestConditionerIsExact(t *testing.T) {
	var c conditioner
	pcm, out := make([]float32, 960), make([]float32, 960)
	var dc, last, signal, noise float64
	for f := range 50 {
		for i := range pcm {
			pcm[i] = float32(math.Round(12000 * (0.3 + math.Sin(2*math.Pi*110*float64(f*960+i)/sampleRate))))
		}
		c.condition(pcm, out, 1)
		for i, v := range pcm {
			x := float64(v) - dc
			dc += dcShare * x
			want := x - preEmphasis*last
			last = x
			d := float64(out[i]) - want
			signal += want * want
			noise += d * d
		}
	}
	if snr := 10 * math.Log10(signal/noise); !(snr > 80) {
		t.Errorf("the conditioner is within %.1f dB of its definition, want 80", snr)
	}
}

// TestTrebleStaysEmpty encodes a loud tone in the bass, with the noise of 16-bit
// samples: what comes out between 9 and 16 kHz must be no louder than what went in.
func TestTrebleStaysEmpty(t *testing.T) {
	for _, complexity := range []int{0, MaxComplexity} {
		e, _ := NewEncoder(Config{960, 120, complexity})
		dec, err := opus.NewDecoderWithOutput(sampleRate, 1)
		if err != nil {
			t.Fatal(err)
		}
		rng := newRand(11)
		pcm := each(50*960, func(i int) float64 {
			return 30000*math.Sin(2*math.Pi*150*float64(i)/sampleRate) + rng.Float64() - 0.5
		})
		out, packet := make([]int16, 50*960), make([]byte, 120)
		for at := 0; at < len(pcm); at += 960 {
			if _, err := e.Encode(pcm[at:], packet); err != nil {
				t.Fatal(err)
			}
			if _, err := dec.DecodeToInt16(packet, out[at:]); err != nil {
				t.Fatal(err)
			}
		}
		treble := func(x []int16) float64 {
			// Eight differences: 48 dB per octave less below.
			y := floats(x[10*960:])
			for range 8 {
				for i := len(y) - 1; i > 0; i-- {
					y[i] = (y[i] - y[i-1]) / 2
				}
			}
			sum := 0.0
			for _, v := range y[8:] {
				sum += v * v
			}
			return 10 * math.Log10(sum/float64(len(y)-8)+1e-30)
		}
		if in, got := treble(pcm), treble(out); got > in+1 {
			t.Errorf("complexity %d: the treble has %.1f dB, %.1f went in", complexity, got, in)
		}
	}
}
