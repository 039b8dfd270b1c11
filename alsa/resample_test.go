package alsa

import (
	"math"
	"math/rand/v2"
	"testing"
)

// tone is n samples of a sine at hz.
func tone(n int, hz, rate, amplitude float64) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/rate)))
	}
	return s
}

// fit returns the amplitude of hz in s and the effective value of all the rest.
func fit(s []int16, hz, rate float64) (amplitude, rest float64) {
	var a, b float64
	for i, v := range s {
		x := 2 * math.Pi * hz * float64(i) / rate
		a += float64(v) * math.Sin(x)
		b += float64(v) * math.Cos(x)
	}
	n := float64(len(s))
	a, b = 2*a/n, 2*b/n
	for i, v := range s {
		x := 2 * math.Pi * hz * float64(i) / rate
		d := float64(v) - a*math.Sin(x) - b*math.Cos(x)
		rest += d * d
	}
	return math.Hypot(a, b), math.Sqrt(rest / n)
}

// resampleAll runs s through in pieces of random length.
func resampleAll(t *testing.T, s []int16, from, to int) []int16 {
	t.Helper()
	r, err := newResampler(from, to)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var got []int16
	for len(s) > 0 {
		n := min(len(s), rng.IntN(1000))
		dst := make([]int16, r.gives(n))
		if need := r.need(len(dst)); need > n {
			t.Fatalf("%d outputs of %d inputs need %d", len(dst), n, need)
		}
		if need := r.need(len(dst) + 1); need <= n {
			t.Fatalf("%d inputs give %d outputs, yet %d more need only %d", n, len(dst), 1, need)
		}
		r.run(dst, s[:n])
		got, s = append(got, dst...), s[n:]
	}
	return got
}

func TestResampleTones(t *testing.T) {
	const amplitude = 16000
	tests := []struct {
		from, to int
		hz       float64
	}{
		{48000, 44100, 440}, {48000, 44100, 17000}, {44100, 48000, 440}, {44100, 48000, 17000},
		{48000, 16000, 1000}, {48000, 16000, 6000}, {16000, 48000, 1000}, {16000, 48000, 6000},
		{48000, 96000, 15000}, {96000, 48000, 15000}, {48000, 32000, 9000}, {8000, 48000, 3000}, {11025, 48000, 3000},
	}
	for _, tt := range tests {
		got := resampleAll(t, tone(tt.from, tt.hz, float64(tt.from), amplitude), tt.from, tt.to)
		if d := len(got) - tt.to; d < -1 || d > 1 {
			t.Errorf("%d to %d: a second became %d samples", tt.from, tt.to, len(got))
		}
		a, rest := fit(got[len(got)/4:], tt.hz, float64(tt.to)) // without the start
		gain := 20 * math.Log10(a/amplitude)
		snr := 20 * math.Log10(a/math.Sqrt2/rest)
		if math.Abs(gain) > 0.1 || snr < 68 {
			t.Errorf("%d to %d, %v Hz: gain %.3f dB, rest %.1f dB below", tt.from, tt.to, tt.hz, gain, snr)
		}
	}
}

// What the lower rate cannot hold must not come back as another tone.
func TestResampleAliases(t *testing.T) {
	for _, tt := range []struct {
		from, to int
		hz       float64
	}{{48000, 16000, 9000}, {48000, 16000, 20000}, {96000, 48000, 30000}, {48000, 44100, 22500}} {
		got := resampleAll(t, tone(tt.from, tt.hz, float64(tt.from), 16000), tt.from, tt.to)
		_, rest := fit(got[len(got)/4:], 1, float64(tt.to))
		if db := 20 * math.Log10((rest+1e-9)/(16000/math.Sqrt2)); db > -60 {
			t.Errorf("%d to %d: %v Hz is heard at %.1f dB", tt.from, tt.to, tt.hz, db)
		}
	}
}

func TestResampleThereAndBack(t *testing.T) {
	s := tone(48000, 1000, 48000, 10000)
	back := resampleAll(t, resampleAll(t, s, 48000, 44100), 44100, 48000)
	a, rest := fit(back[12000:], 1000, 48000)
	if math.Abs(a-10000) > 20 || rest > 5 {
		t.Errorf("1 kHz at 10000 came back at %.1f with %.2f of noise", a, rest)
	}
}

func TestResampleReset(t *testing.T) {
	r, err := newResampler(44100, 48000)
	if err != nil {
		t.Fatal(err)
	}
	src := tone(441, 1000, 44100, 20000)
	first, again := make([]int16, r.gives(441)), make([]int16, r.gives(441))
	r.run(first, src)
	r.reset()
	r.run(again, src)
	for i := range first {
		if first[i] != again[i] {
			t.Fatalf("sample %d is %d after reset, was %d", i, again[i], first[i])
		}
	}
}

func TestResampleRefuses(t *testing.T) {
	for _, tt := range [][2]int{{0, 48000}, {48000, 0}, {-1, 48000}, {47999, 48000}, {768000, 8000}} {
		if _, err := newResampler(tt[0], tt[1]); err == nil {
			t.Errorf("%d to %d Hz was taken", tt[0], tt[1])
		}
	}
}

func TestResampleAllocs(t *testing.T) {
	r, err := newResampler(48000, 44100)
	if err != nil {
		t.Fatal(err)
	}
	src, dst := make([]int16, FrameSamples), make([]int16, FrameSamples)
	if n := testing.AllocsPerRun(1000, func() { r.run(dst[:r.gives(len(src))], src) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkResample(b *testing.B) {
	r, _ := newResampler(48000, 44100)
	src, dst := make([]int16, FrameSamples), make([]int16, FrameSamples)
	b.ReportAllocs()
	for b.Loop() {
		r.run(dst[:r.gives(len(src))], src)
	}
}
