package celt

import (
	"math"
	"testing"

	"github.com/pion/opus"

	"hushbell/voipcore/voice/internal/metric"
)

// through encodes with some parts and decodes: what comes out is Delay samples late.
func through(t testing.TB, pcm []int16, bitrate, frame int, parts part) []int16 {
	t.Helper()
	e, err := NewEncoder(Config{frame, PacketBytes(bitrate, frame), MaxComplexity})
	if err != nil {
		t.Fatal(err)
	}
	e.use(parts)
	dec, err := opus.NewDecoderWithOutput(sampleRate, 1)
	if err != nil {
		t.Fatal(err)
	}
	out, packet := make([]int16, len(pcm)/frame*frame), make([]byte, e.cfg.PacketBytes)
	for at := 0; at < len(out); at += frame {
		if _, err := e.Encode(pcm[at:], packet); err != nil {
			t.Fatal(err)
		}
		if _, err := dec.DecodeToInt16(packet, out[at:]); err != nil {
			t.Fatal(err)
		}
		if got, want := pionRange(&dec), e.FinalRange(); got != want {
			t.Fatalf("sample %d: final range %08x, want %08x", at, got, want)
		}
	}
	return out
}

// without is everything but one part.
func without(p part) part { return partsAt[MaxComplexity] &^ p }

// TestEachPartHelps leaves out one part at a time: recorded speech, or the music
// that the part is for, must be the worse for it.
func TestEachPartHelps(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("a comparison of sounds: the same every time")
	}
	speech, rate, err := readWAV("/usr/share/sounds/alsa/Front_Center.wav")
	if err != nil || rate != sampleRate {
		missing(t, "the sounds of alsa-utils: rate %d, error %v", rate, err)
	}
	music := chords(newRand(22), 2*sampleRate)
	fullBand := func(ref, out []float64) float64 { return metric.NSIM(ref, out, metric.FullBand) }
	after := func(pcm []int16, bitrate int, parts part, measure func(ref, out []float64) float64) float64 {
		out := through(t, pcm, bitrate, 960, parts)
		return measure(floats(pcm[:len(out)-Delay]), floats(out[Delay:]))
	}
	for _, c := range []struct {
		name    string
		part    part
		sound   string
		pcm     []int16
		bitrate int
		measure func(ref, out []float64) float64
		gain    float64 // at least; about half of what was seen
	}{
		{"short blocks: SNR", shortBlocks, "speech", speech, 32000, metric.SegSNR, 0.08},
		{"tilt: SNR", tilt, "speech", speech, 32000, metric.SegSNR, 0.6},
		{"tilt: SNR", tilt, "music", music, 32000, metric.SegSNR, 0.8},
		{"boosts: SNR", boosts, "speech", speech, 32000, metric.SegSNR, 0.7},
		{"boosts: SNR", boosts, "music", music, 16000, metric.SegSNR, 0.8},
		{"time and frequency: STOI", timeFrequency, "speech", speech, 16000, metric.STOI, 0.002},
		{"time and frequency: SNR", timeFrequency, "speech", speech, 32000, metric.SegSNR, 0.3},
		{"spreading: NSIM", spreading, "speech", speech, 16000, fullBand, 0.0007},
		{"pitch filter: SNR", pitchFilter, "speech", speech, 16000, metric.SegSNR, 0.7},
		{"pitch filter: STOI", pitchFilter, "speech", speech, 16000, metric.STOI, 0.004},
		{"energy with or without prediction: NSIM", intraEnergy, "speech", speech, 16000, fullBand, 0.0007},
		{"moved pulses: SNR", polishing, "speech", speech, 32000, metric.SegSNR, 0.02},
	} {
		with := after(c.pcm, c.bitrate, partsAt[MaxComplexity], c.measure)
		left := after(c.pcm, c.bitrate, without(c.part), c.measure)
		t.Logf("%s of %s at %d bit/s: %.4f, %.4f without it (%+.4f)", c.name, c.sound, c.bitrate, with, left, with-left)
		if !(with-left >= c.gain) {
			t.Errorf("%s of %s at %d bit/s: %.4f, %.4f without it: want %v more", c.name, c.sound, c.bitrate, with, left, c.gain)
		}
	}
}

// TestNoNoiseBeforeAnAttack: short blocks keep what an attack takes from being heard
// before it. Bursts of noise come out of silence at every place in a frame.
func TestNoNoiseBeforeAnAttack(t *testing.T) {
	rng := newRand(77)
	const period, start = 14489, 9000
	var at []int
	pcm := each(6*sampleRate, func(i int) float64 {
		k := i % period
		if k == start {
			at = append(at, i)
		}
		if k >= start {
			return 8000 * rng.NormFloat64() * math.Exp(float64(start-k)/2000)
		}
		return rng.NormFloat64()
	})
	before := func(parts part) float64 {
		out := through(t, pcm, 32000, 960, parts)[Delay:]
		sum := 1.0
		for _, a := range at {
			for _, v := range out[a-960 : a-240] { // 20 to 5 ms before
				sum += float64(v) * float64(v)
			}
		}
		return 10 * math.Log10(sum)
	}
	if with, left := before(partsAt[0]), before(partsAt[0]&^shortBlocks); with > left-10 {
		t.Errorf("before the attacks there are %.1f dB, %.1f without short blocks, want 10 less", with, left)
	}
}

// TestSpreadNoiseIsNoise: few pulses make noise a chime. The fourth moment of the
// treble's coefficients is 3 for noise, and grows with that.
func TestSpreadNoiseIsNoise(t *testing.T) {
	rng := newRand(31)
	noise := each(sampleRate, func(int) float64 { return 5000 * rng.NormFloat64() })
	peaky := func(pcm []int16) float64 {
		m := newMDCT(960)
		var in [maxFrame + shortLen]float32
		var out [maxFrame]float32
		sum, count := 0.0, 0.0
		for at := 960; at+len(in) <= len(pcm); at += 960 {
			for i := range in {
				in[i] = float32(pcm[at+i])
			}
			m.forward(in[:], out[:], 1)
			for b := 8; b < numBands-1; b++ {
				band := out[8*bandEdges[b] : 8*bandEdges[b+1]]
				var second, fourth float64
				for _, v := range band {
					v2 := float64(v) * float64(v)
					second += v2
					fourth += v2 * v2
				}
				sum += fourth * float64(len(band)) / (second * second)
				count++
			}
		}
		return sum / count
	}
	in := peaky(noise)
	for _, bitrate := range []int{16000, 32000} {
		with := peaky(through(t, noise, bitrate, 960, partsAt[MaxComplexity])) - in
		left := peaky(through(t, noise, bitrate, 960, without(spreading))) - in
		if with > 0.7*left {
			t.Errorf("%d bit/s: the moment is %.2f above that of the input, %.2f without spreading, want 0.7 of it", bitrate, with, left)
		}
	}
}

// TestAntiCollapseFillsHoles looks at hits of noise in cells of 2.5 ms and a band: those
// that come out 20 dB below what they were are holes.
func TestAntiCollapseFillsHoles(t *testing.T) {
	rng := newRand(31)
	hits := each(2*sampleRate, func(i int) float64 {
		return 9000 * rng.NormFloat64() * math.Exp(-float64(i%1900)/300)
	})
	holes := func(parts part) (n int) {
		got := through(t, hits, 24000, 960, parts)[Delay:]
		m := newMDCT(shortLen)
		var x, y [2 * shortLen]float32
		var a, b [shortLen]float32
		for at := 0; at+len(x) <= len(got); at += shortLen {
			for i := range x {
				x[i], y[i] = float32(hits[at+i]), float32(got[at+i])
			}
			m.forward(x[:], a[:], 1)
			m.forward(y[:], b[:], 1)
			for k := 12; k < numBands-1; k++ {
				lo, hi := bandEdges[k], bandEdges[k+1]
				if dot(b[lo:hi], b[lo:]) < dot(a[lo:hi], a[lo:])/100 {
					n++
				}
			}
		}
		return n
	}
	if with, left := holes(partsAt[MaxComplexity]), holes(without(antiCollapse)); float64(with) > 0.9*float64(left) || left < 100 {
		t.Errorf("%d holes, %d without anti-collapse, want less than 0.9 of it", with, left)
	}
}

// TestIntraSavesBits: a spectrum whose hills and valleys change places in each frame is cheaper without prediction.
func TestIntraSavesBits(t *testing.T) {
	spent := func(parts part) (bits int) {
		e, _ := NewEncoder(Config{960, 80, MaxComplexity})
		e.use(parts)
		for f := range 20 {
			var logE [numBands]float32
			for b := range logE {
				logE[b] = 3
				if (b/4+f)%2 > 0 {
					logE[b] = -3
				}
			}
			e.rc.reset(e.payload)
			e.encodeEnergy(&logE)
			e.started = true
			bits += e.rc.tell()
		}
		return bits
	}
	if with, left := spent(partsAt[MaxComplexity]), spent(without(intraEnergy)); with > left*19/20 {
		t.Errorf("20 frames of energy take %d bits, %d if always predicted, want 5 %% less", with, left)
	}
}
