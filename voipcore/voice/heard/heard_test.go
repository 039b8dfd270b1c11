package heard

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"hushbell/voipcore/voice"
)

func read(t testing.TB, name string) []int16 {
	t.Helper()
	f, err := os.Open("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pcm, err := voice.ReadOpus(f)
	if err != nil {
		t.Fatal(err)
	}
	return pcm
}

const ms = RateHz / 1000

func silent(n int) []int16 { return make([]int16, n) }

// each returns a changed copy.
func each(x []int16, f func(i int, v int16) float64) []int16 {
	y := make([]int16, len(x))
	for i, v := range x {
		y[i] = int16(math.Round(min(max(f(i, v), math.MinInt16), math.MaxInt16)))
	}
	return y
}

// gaps puts silence in place of 20 ms frames.
func gaps(x []int16, gone func(frame int) bool) []int16 {
	return each(x, func(i int, v int16) float64 {
		if gone(i / 960) {
			return 0
		}
		return float64(v)
	})
}

func TestCompare(t *testing.T) {
	spoken, coded, other := read(t, "voice.opus"), read(t, "voice-32k.opus"), read(t, "other.opus")
	rng := rand.New(rand.NewPCG(1, 1))
	noise := func(level float64) func(int, int16) float64 {
		return func(_ int, v int16) float64 { return float64(v) + level*rng.NormFloat64() }
	}
	half := len(coded) / 2
	late := slices.Concat(silent(70*ms), coded)

	tests := []struct {
		name      string
		recording []int16
		heard     bool
		delay     time.Duration // where heard
	}{
		{"the codec's output", coded, true, 0},
		{"70 ms late", late, true, 70 * time.Millisecond},
		{"3 s late, and 2 s longer", slices.Concat(silent(3000*ms), coded, silent(2000*ms)), true, 3 * time.Second},
		{"recording began 100 ms late", coded[100*ms:], true, -100 * time.Millisecond},
		{"half as loud", each(coded, func(_ int, v int16) float64 { return float64(v) / 2 }), true, 0},
		{"a little noise", each(coded, noise(150)), true, 0},
		{"1 % of the frames silent", gaps(coded, func(int) bool { return rng.IntN(100) == 0 }), true, 0},
		{"three gaps of 60 ms", gaps(coded, func(f int) bool { return f%80 < 3 }), true, 0},
		{"the delay grows by 20 ms on the way", slices.Concat(coded[:half], coded[half-20*ms:]), true, 0},
		{"the delay grows to 200 ms and goes back", slices.Concat(coded[:half], silent(200*ms), coded[half:half+1200*ms], coded[half+1400*ms:]), true, 0},

		{"silence", silent(len(coded)), false, 0},
		{"nothing", nil, false, 0},
		{"one sample", []int16{1}, false, 0},
		{"noise", each(silent(len(coded)), noise(3000)), false, 0},
		{"faint noise", each(silent(len(coded)), noise(1)), false, 0},
		{"a tone", each(silent(len(coded)), func(i int, _ int16) float64 { return 8000 * math.Sin(float64(i)/40) }), false, 0},
		{"other speech", other, false, 0},
		{"other speech, twice", slices.Concat(other, other), false, 0},
		{"drowned in other speech", each(coded, func(i int, v int16) float64 { return float64(v)/4 + float64(other[i%len(other)]) }), false, 0},
		{"drowned in noise", each(coded, noise(20000)), false, 0},
		{"only the first half", coded[:half], false, 0},
		{"only the second half", coded[half:], false, 0},
		{"the second half in its place", slices.Concat(silent(half), coded[half:]), false, 0},
		{"halves the other way round", slices.Concat(coded[half:], coded[:half]), false, 0},
		{"backwards", func() []int16 { b := slices.Clone(coded); slices.Reverse(b); return b }(), false, 0},
		{"every third of a second silent", gaps(coded, func(f int) bool { return f%17 < 6 }), false, 0},
		{"50 dB too soft", each(coded, func(_ int, v int16) float64 { return float64(v) / 300 }), false, 0},
	}
	for _, tt := range tests {
		r := Compare(spoken, tt.recording)
		t.Logf("%-42s heard %-5v %3d of %d, score %.3f, delay %v", tt.name, r.Heard, r.Found, r.Active, r.Score, r.Delay)
		if r.Heard != tt.heard {
			t.Errorf("%s: heard is %v, want %v", tt.name, r.Heard, tt.heard)
		}
		if d := r.Delay - tt.delay; tt.heard && (d < -time.Millisecond || d > time.Millisecond) {
			t.Errorf("%s: delay is %v, want %v", tt.name, r.Delay, tt.delay)
		}
	}
}

// What others speak into a demo is not always a voice in a quiet room.
func TestCompareOtherSounds(t *testing.T) {
	voice, coded := read(t, "voice.opus"), read(t, "voice-32k.opus")
	tone := each(silent(3000*ms), func(i int, _ int16) float64 { return 8000 * math.Sin(float64(i)*2*math.Pi*440/RateHz) })
	for _, tt := range []struct {
		name           string
		spoken, played []int16
	}{
		{"a constant added, which the call leaves out", each(voice, func(_ int, v int16) float64 { return float64(v)/2 + 8000 }), coded},
		{"a constant added on the way", voice, each(coded, func(_ int, v int16) float64 { return float64(v) - 3000 })},
		{"a steady tone", tone, tone},
	} {
		r := Compare(tt.spoken, slices.Concat(silent(62*ms), tt.played, silent(500*ms)))
		if d := r.Delay - 62*time.Millisecond; !r.Heard || d < -time.Millisecond || d > time.Millisecond {
			t.Errorf("%s: %+v, want it heard 62 ms later", tt.name, r)
		}
	}
}

func TestEnough(t *testing.T) {
	voice := read(t, "voice.opus")
	for _, tt := range []struct {
		name   string
		spoken []int16
		want   bool
	}{
		{"speech", voice, true},
		{"silence", silent(5 * RateHz), false},
		{"a constant", each(silent(5*RateHz), func(int, int16) float64 { return 9000 }), false},
		{"a word in silence", slices.Concat(silent(RateHz), voice[:600*ms], silent(RateHz)), false},
		{"nothing", nil, false},
	} {
		if got := Enough(tt.spoken); got != tt.want {
			t.Errorf("%s: Enough is %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Too little to judge by is not heard.
func TestCompareShort(t *testing.T) {
	spoken := read(t, "voice.opus")
	for _, x := range [][]int16{nil, {1}, silent(RateHz), spoken[:400*ms]} {
		if r := Compare(x, spoken); r.Heard {
			t.Errorf("%d samples are heard: %+v", len(x), r)
		}
	}
	if r := Compare(spoken, spoken); !r.Heard || r.Score < 0.999 || r.Delay != 0 {
		t.Errorf("a sound in itself: %+v", r)
	}
}

// Ten seconds of speech in as much of a recording.
func BenchmarkCompare(b *testing.B) {
	x := read(b, "voice.opus")
	x = slices.Concat(x, x)[:10*RateHz]
	for b.Loop() {
		if !Compare(x, x).Heard {
			b.Fatal("not heard")
		}
	}
}
