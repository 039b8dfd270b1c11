package metric

import (
	"math"
	"math/rand/v2"
	"testing"
)

// speech is a sound with the rhythm of syllables: pulses at 120 Hz through three
// resonances that change, five times a second.
func speech(seconds float64) []float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	out := make([]float64, int(seconds*Rate))
	var y [3][2]float64
	f := [3]float64{500, 1500, 2500}
	loud := 1.0
	for i := range out {
		if i%(Rate/5) == 0 {
			f = [3]float64{300 + 500*rng.Float64(), 900 + 1200*rng.Float64(), 2300 + 800*rng.Float64()}
			loud = rng.Float64()
		}
		x := 0.02 * rng.NormFloat64()
		if i%400 == 0 {
			x++
		}
		for k := range y {
			r := math.Exp(-math.Pi * 80 / Rate)
			v := x + 2*r*math.Cos(2*math.Pi*f[k]/Rate)*y[k][0] - r*r*y[k][1]
			y[k] = [2]float64{v, y[k][0]}
			out[i] += 0.02 * loud * v
		}
	}
	return out
}

// with adds noise of a level.
func with(x []float64, level float64) []float64 {
	rng := rand.New(rand.NewPCG(2, 2))
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v + level*rng.NormFloat64()
	}
	return y
}

func TestEqualSoundIsPerfect(t *testing.T) {
	x := speech(2)
	if got := STOI(x, x); math.Abs(got-1) > 1e-9 {
		t.Errorf("STOI = %v, want 1", got)
	}
	for _, b := range []Band{Wideband, FullBand} {
		if got := NSIM(x, x, b); math.Abs(got-1) > 1e-9 {
			t.Errorf("NSIM to %v Hz = %v, want 1", b.top, got)
		}
	}
	if got := SegSNR(x, x); got != 35 {
		t.Errorf("SegSNR = %v, want its limit, 35", got)
	}
}

// TestMoreNoiseIsWorse walks up in noise: each measure must fall every time.
func TestMoreNoiseIsWorse(t *testing.T) {
	x := speech(2)
	last := [4]float64{2, 2, 2, 100}
	for _, level := range []float64{0.0005, 0.002, 0.01, 0.05, 0.2} {
		y := with(x, level)
		now := [4]float64{STOI(x, y), NSIM(x, y, Wideband), NSIM(x, y, FullBand), SegSNR(x, y)}
		for i, name := range []string{"STOI", "NSIM wideband", "NSIM full band", "SegSNR"} {
			if !(now[i] < last[i]) {
				t.Errorf("%s with noise of %v = %v, want less than %v", name, level, now[i], last[i])
			}
		}
		last = now
	}
	if last[0] > 0.8 {
		t.Errorf("STOI with noise above the speech = %v, want below 0.8", last[0])
	}
}

// TestAgainstAnotherProgram compares with what a second program, written apart from this
// one from the same papers, says of the same sounds (2026-11-25).
func TestAgainstAnotherProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("numbers: the same every time")
	}
	x := speech(4)
	for _, c := range []struct{ level, stoi, wide, full, snr float64 }{
		{0.002, 0.9972, 0.9740, 0.8985, 25.46},
		{0.01, 0.9537, 0.8945, 0.7945, 11.57},
		{0.05, 0.7455, 0.7240, 0.6367, -1.16},
	} {
		y := with(x, c.level)
		got := [4]float64{STOI(x, y), NSIM(x, y, Wideband), NSIM(x, y, FullBand), SegSNR(x, y)}
		for i, want := range [4]float64{c.stoi, c.wide, c.full, c.snr} {
			if tolerance := [4]float64{3e-4, 3e-4, 3e-4, 0.02}[i]; math.Abs(got[i]-want) > tolerance {
				t.Errorf("noise of %v: measure %d is %.4f, the other program has %.4f", c.level, i, got[i], want)
			}
		}
	}
}

// TestSTOIOfUnrelatedSound: speech and steady noise have nothing in common.
func TestSTOIOfUnrelatedSound(t *testing.T) {
	x := speech(2)
	if got := STOI(x, with(make([]float64, len(x)), 0.1)); math.Abs(got) > 0.2 {
		t.Errorf("STOI of noise = %v, want about 0", got)
	}
}

// TestLoudnessDoesNotMatterToSTOI: each span is brought to the reference's level.
func TestLoudnessDoesNotMatterToSTOI(t *testing.T) {
	x := speech(2)
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / 4
	}
	if got := STOI(x, y); math.Abs(got-1) > 1e-6 {
		t.Errorf("STOI at a quarter of the level = %v, want 1", got)
	}
	if got := NSIM(x, y, Wideband); got > 0.99 {
		t.Errorf("NSIM at a quarter of the level = %v, want less than 0.99", got)
	}
}

// TestSegSNRIsTheRatio uses noise of a known level under a steady sound.
func TestSegSNRIsTheRatio(t *testing.T) {
	x := make([]float64, 2*Rate)
	for i := range x {
		x[i] = math.Sin(float64(i) / 7)
	}
	for _, want := range []float64{0, 10, 20, 30} {
		level := math.Sqrt(0.5) * math.Pow(10, -want/20)
		if got := SegSNR(x, with(x, level)); math.Abs(got-want) > 0.1 {
			t.Errorf("SegSNR of %v dB = %v", want, got)
		}
	}
	if got := SegSNR(make([]float64, Rate), x); got != 0 {
		t.Errorf("SegSNR of silence = %v, want 0", got)
	}
}

func TestAlignFindsTheLag(t *testing.T) {
	x := speech(1)
	for _, lag := range []int{0, 1, 120, 437, 960} {
		late := append(make([]float64, lag), with(x, 0.001)...)
		r, d := Align(x, late, 1000)
		if len(r) != len(d) {
			t.Fatalf("lag %d: lengths %d and %d", lag, len(r), len(d))
		}
		if got := SegSNR(r, d); got < 10 {
			t.Errorf("lag %d: SegSNR after Align = %v, want above 10", lag, got)
		}
	}
}

func TestTooShort(t *testing.T) {
	x := speech(0.05)
	if got := STOI(x, x); !math.IsNaN(got) {
		t.Errorf("STOI of 50 ms = %v, want NaN", got)
	}
	if got := NSIM(x, x, Wideband); !math.IsNaN(got) {
		t.Errorf("NSIM of 50 ms = %v, want NaN", got)
	}
	if got := STOI(nil, nil); !math.IsNaN(got) {
		t.Errorf("STOI of nothing = %v, want NaN", got)
	}
}

// TestResampleKeepsASine checks rate, level and that the frequency above is gone.
func TestResampleKeepsASine(t *testing.T) {
	for _, c := range []struct {
		f    float64
		want float64
	}{{1000, math.Sqrt(0.5)}, {4000, math.Sqrt(0.5)}, {6000, 0}} {
		x := make([]float64, Rate)
		for i := range x {
			x[i] = math.Sin(2 * math.Pi * c.f * float64(i) / Rate)
		}
		y := Resample(x, 5, 24)
		if len(y) != 10000 {
			t.Fatalf("a second has %d samples, want 10000", len(y))
		}
		sum := 0.0
		for _, v := range y[1000:9000] {
			sum += v * v
		}
		if got := math.Sqrt(sum / 8000); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%v Hz has a level of %v, want %v", c.f, got, c.want)
		}
	}
}
