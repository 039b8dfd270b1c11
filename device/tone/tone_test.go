package tone

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"hushbell/voipcore/voice"
)

type frame = [voice.FrameSamples]int16

func newPlayer(t testing.TB, o Options) *Player {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// take fills samples of sound, rounded up to whole frames.
func take(p *Player, samples int) []int16 {
	var all []int16
	for len(all) < samples {
		var f frame
		p.Fill(&f)
		all = append(all, f[:]...)
	}
	return all
}

// goertzel is the amplitude of one frequency in the samples, as a part of full
// scale.
func goertzel(samples []int16, hz float64) float64 {
	k := 2 * math.Cos(2*math.Pi*hz/voice.RateHz)
	var a, b float64
	for i, v := range samples {
		// A Hann window, so that what is beside hz does not leak into it.
		w := 1 - math.Cos(2*math.Pi*float64(i)/float64(len(samples)))
		a, b = w*float64(v)/fullScale+k*a-b, a
	}
	return 2 * math.Sqrt(a*a+b*b-k*a*b) / float64(len(samples))
}

// runs splits samples into sounding and silent ones: lengths, the first of
// which is of sound, or 0. A zero crossing is no silence: that takes 2 ms.
func runs(samples []int16) []int {
	const silence = 96
	list, sounding, begin, quiet := []int{}, true, 0, 0
	for i, v := range samples {
		if v == 0 {
			if quiet++; sounding && quiet == silence {
				list, sounding, begin = append(list, i+1-silence-begin), false, i+1-silence
			}
			continue
		}
		if !sounding {
			list, sounding, begin = append(list, i-begin), true, i
		}
		quiet = 0
	}
	return append(list, len(samples)-begin)
}

// What most people know by ear is written down here once more, so that a slip
// in the tables shows.
func TestTonesOfTheUnitedStates(t *testing.T) {
	for _, tt := range []struct {
		sound Sound
		hz    []float64
		onMs  int
		offMs int
	}{
		{Ringback, []float64{440, 480}, 2000, 4000},
		{Busy, []float64{480, 620}, 500, 500},
		{Waiting, []float64{440}, 300, 10000},
	} {
		p := newPlayer(t, Options{Country: "US"})
		p.Play(tt.sound)
		period := (tt.onMs + tt.offMs) * 48
		got := take(p, 2*period)
		for _, hz := range tt.hz {
			if a, want := goertzel(got[:tt.onMs*48], hz), toneLevel/float64(len(tt.hz)); math.Abs(a/want-1) > 0.03 {
				t.Errorf("%v: %g Hz has amplitude %.4f, want %.4f", tt.sound, hz, a, want)
			}
		}
		near(t, tt.sound.String(), runs(got[:2*period]), []int{tt.onMs * 48, tt.offMs * 48, tt.onMs * 48, tt.offMs * 48})
	}
}

// near compares lengths of runs: the ramp's first samples, and zero crossings
// at the edges, may round to 0.
func near(t *testing.T, what string, got, want []int) {
	t.Helper()
	const slack = 60 // 1.25 ms of 5 ms ramps, and of the slow beginning of a modulated tone
	ok := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		ok = ok && got[i] >= want[i]-2*slack && got[i] <= want[i]+2*slack
	}
	if !ok {
		t.Errorf("%s: runs of %v samples, want %v", what, got, want)
	}
}

// every calls f with each cadence of each country and the sound that plays it.
func every(t *testing.T, f func(t *testing.T, c Tones, s Sound, cadence Cadence)) {
	for _, c := range Countries() {
		t.Run(c.Code, func(t *testing.T) {
			f(t, c, Ring, bell(c.Ring))
			f(t, c, Ringback, c.Ringback)
			f(t, c, Busy, c.Busy)
			f(t, c, Unreachable, append(slices.Clone(c.Information), c.Congestion...))
			f(t, c, Waiting, c.Waiting)
		})
	}
}

// TestSpectra looks at every step of every tone: its frequencies are there at
// their level, others are not.
func TestSpectra(t *testing.T) {
	probes := []float64{150, 300, 413, 425, 450, 480, 620, 700, 1000, 1150, 1600, 2000, 3000, 5000}
	every(t, func(t *testing.T, c Tones, s Sound, cadence Cadence) {
		p := newPlayer(t, Options{Country: c.Code})
		p.Play(s)
		var total int
		for _, step := range cadence {
			total += step.Ms * 48
		}
		samples := take(p, total)
		for i, step := range cadence {
			part := samples[:step.Ms*48]
			samples = samples[step.Ms*48:]
			if len(step.Hz) == 0 {
				if slices.ContainsFunc(part, func(v int16) bool { return v != 0 }) {
					t.Errorf("%v, step %d: sound in the silence", s, i)
				}
				continue
			}
			level := toneLevel
			if s == Ring {
				level = ringLevel
			}
			level *= math.Pow(10, float64(step.DB)/20) / float64(len(step.Hz))
			if step.ModHz != 0 {
				level /= 2 // the carrier of full modulation
			}
			// The window's main lobe is 2 bins wide on each side.
			bin := voice.RateHz / float64(len(part))
			for _, hz := range step.Hz {
				// The ramps take up to a seventh of the shortest tones (40 ms).
				if a := goertzel(part, float64(hz)); len(step.Hz) == 1 || bin < 10 {
					if a < 0.85*level || a > 1.02*level {
						t.Errorf("%v, step %d: %d Hz has amplitude %.4f, want %.4f", s, i, hz, a, level)
					}
				}
			}
			for _, hz := range probes {
				far := true
				for _, have := range step.Hz {
					far = far && math.Abs(hz-float64(have)) > 4*bin+float64(step.ModHz)
				}
				if a := goertzel(part, hz); far && a > level/30 {
					t.Errorf("%v, step %d: %g Hz has amplitude %.4f beside %v Hz of %.4f", s, i, hz, a, step.Hz, level)
				}
			}
		}
	})
}

// TestCadenceOverHours counts: each period is the one before, sample by sample,
// for 3 hours of frames.
func TestCadenceOverHours(t *testing.T) {
	p := newPlayer(t, Options{Country: "nl"}) // 0.5 s in 10 s: mostly silence, which is quick to make
	p.Play(Waiting)
	const frames = 500
	first := take(p, frames*voice.FrameSamples)
	near(t, "call-waiting", runs(first), []int{500 * 48, 9500 * 48})
	var f frame
	for n := range 3 * 3600 * 50 {
		at := n % frames * voice.FrameSamples
		if p.Fill(&f); !slices.Equal(f[:], first[at:at+voice.FrameSamples]) {
			t.Fatalf("frame %d, after %d s: not what it was in the first period", n, n/50)
		}
	}
}

// TestUnreachable hears the information tone once, then congestion for good.
func TestUnreachable(t *testing.T) {
	p := newPlayer(t, Options{})
	p.Play(Unreachable)
	got := take(p, (1990+3*500)*48)
	for i, hz := range []float64{950, 1400, 1800} {
		if a := goertzel(got[i*330*48:(i+1)*330*48], hz); math.Abs(a/toneLevel-1) > 0.05 {
			t.Errorf("tone %d: %g Hz has amplitude %.4f, want %.4f", i, hz, a, toneLevel)
		}
	}
	ms := 48
	near(t, "unreachable", runs(got[:(1990+3*500)*ms]), []int{990 * ms, 1000 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms})
}

// TestOnce: sounds that end do, and say so.
func TestOnce(t *testing.T) {
	for _, tt := range []struct {
		sound Sound
		ms    int
	}{{Beep, 380}, {HangUp, 230}, {Connected, 150}, {Click, 60}} {
		p := newPlayer(t, Options{})
		p.Play(tt.sound)
		frames, energy := 0, 0.0
		for ; p.Sounding(); frames++ {
			if frames > 100 {
				t.Fatalf("%v does not end", tt.sound)
			}
			for _, v := range take(p, 1) {
				energy += float64(v) * float64(v)
			}
		}
		if want := (tt.ms + 19) / 20; frames != want {
			t.Errorf("%v: %d frames, want %d", tt.sound, frames, want)
		}
		if energy == 0 {
			t.Errorf("%v is silent", tt.sound)
		}
		if got := take(p, 48000); slices.ContainsFunc(got, func(v int16) bool { return v != 0 }) {
			t.Errorf("%v goes on after its end", tt.sound)
		}
	}
}

// steepest is the largest step between samples.
func steepest(samples []int16) (step, at int) {
	for i := 1; i < len(samples); i++ {
		if d := abs(int(samples[i]) - int(samples[i-1])); d > step {
			step, at = d, i
		}
	}
	return step, at
}

func abs(v int) int { return max(v, -v) }

// steps is how steep a sound may be at most: a sine of that level and frequency
// rises by level*2*pi*f/rate a sample, the ramp by pi/2 of the level in its 240
// samples, and the rounding adds one.
func steps(level, hz float64) int {
	return int(math.Ceil(fullScale*level*(2*math.Pi*hz/voice.RateHz+math.Pi/2/rampSamples))) + 1
}

// TestNoClicks plays every sound from the first sample to after the stop, stops
// it at random places, and replaces it by others.
func TestNoClicks(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 7))
	for _, c := range Countries() {
		p := newPlayer(t, Options{Country: c.Code})
		for s := Ring; s < sounds; s++ {
			level, hz := toneLevel, 1850.0
			switch s {
			case Ring:
				level, hz = ringLevel, bellHigh
			case Beep:
				level, hz = beepLevel, 2400
			case Connected:
				hz = 2400
			}
			for range 5 {
				p.Play(s)
				got := take(p, 960*random.IntN(40))
				p.Stop()
				got = append(got, take(p, 1920)...)
				if d, at := steepest(got); d > steps(level, hz) {
					t.Fatalf("%s, %v: a step of %d at sample %d, want at most %d", c.Code, s, d, at, steps(level, hz))
				}
			}
		}
		// Two at once are as steep as both.
		var got []int16
		for range 200 {
			p.Play(Sound(random.IntN(int(sounds))))
			got = append(got, take(p, 960*random.IntN(10))...)
		}
		limit := steps(ringLevel, bellHigh) + steps(ringLevel, bellHigh)
		if d, at := steepest(got); d > limit {
			t.Fatalf("%s: a step of %d at sample %d while sounds are replaced, want at most %d", c.Code, d, at, limit)
		}
	}
}

// TestVolumeDoesNotClick moves the volume at each frame, while the tone is at
// no zero crossing.
func TestVolumeDoesNotClick(t *testing.T) {
	p := newPlayer(t, Options{Country: "us"})
	p.Play(Ringback)
	var got []int16
	for i := range 40 {
		p.SetVolume(0, Volume(i%2*100))
		got = append(got, take(p, 1)...)
	}
	// The volume itself moves by at most the level in one frame.
	if d, at := steepest(got); d > steps(toneLevel, 480)+fullScale/8/voice.FrameSamples {
		t.Errorf("a step of %d at sample %d, want at most %d", d, at, steps(toneLevel, 480)+fullScale/8/voice.FrameSamples)
	}
}

// TestVolumes: the ring has one, all others have the other.
func TestVolumes(t *testing.T) {
	loudness := func(s Sound, ring, talk Volume) float64 {
		p := newPlayer(t, Options{})
		p.SetVolume(ring, talk)
		p.Play(s)
		var sum float64
		for _, v := range take(p, 9600) {
			sum += float64(v) * float64(v)
		}
		return math.Sqrt(sum)
	}
	for s := Ring; s < sounds; s++ {
		ring, talk := loudness(s, 60, 100)/loudness(s, 100, 100), loudness(s, 100, 60)/loudness(s, 100, 100)
		wantRing, wantTalk := 1.0, 0.1 // 40 percent are 20 dB
		if s == Ring {
			wantRing, wantTalk = 0.1, 1.0
		}
		if math.Abs(ring/wantRing-1) > 0.01 || math.Abs(talk/wantTalk-1) > 0.01 {
			t.Errorf("%v: factors of %.3f and %.3f with ring and talk 20 dB down, want %g and %g", s, ring, talk, wantRing, wantTalk)
		}
		if v := loudness(s, 0, 0); v != 0 {
			t.Errorf("%v: %g at volume 0", s, v)
		}
		if got, want := loudness(s, 1000, 1000), loudness(s, 100, 100); got != want {
			t.Errorf("%v: volume 1000 gives %g, want that of 100, %g", s, got, want)
		}
	}
}

// TestSilentAfterStop is the property: after any orders of which the last is
// Stop, the box is silent within 100 ms, and stays so; and it is not if the
// last was a sound that goes on.
func TestSilentAfterStop(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	p := newPlayer(t, Options{Clips: map[Sound]Clip{Connected: {samples: slices.Repeat([]int16{20000}, 3000)}}})
	for range 500 {
		for range random.IntN(12) {
			switch s := Sound(random.IntN(int(sounds) + 3)); {
			case s >= sounds:
				p.Stop()
			default:
				p.Play(s)
			}
			for range random.IntN(4) {
				var f frame
				if random.IntN(2) == 0 {
					p.Fill(&f)
				} else {
					p.Mix(&f)
				}
			}
		}
		p.Stop()
		const within = voice.RateHz / 10
		got := take(p, within+voice.FrameSamples)
		if i := slices.IndexFunc(got[voice.FrameSamples:], func(v int16) bool { return v != 0 }); i >= 0 {
			t.Fatalf("seed %d: sound %d samples after the stop", seed, voice.FrameSamples+i)
		}
		if i := slices.IndexFunc(got[rampSamples:], func(v int16) bool { return v != 0 }); i >= 0 {
			t.Fatalf("seed %d: the fade takes %d samples, want %d", seed, rampSamples+i, rampSamples)
		}
		if p.Sounding() {
			t.Fatalf("seed %d: stopped, and still sounding", seed)
		}
		s := Ring + Sound(random.IntN(5))
		p.Play(s)
		if got := take(p, 9600); slices.Max(got) == 0 || !p.Sounding() {
			t.Fatalf("seed %d: %v is not heard", seed, s)
		}
	}
}

// TestMix: the call is untouched without a sound and in its pauses, gives way
// to a sound, and is not overdriven at its loudest.
func TestMix(t *testing.T) {
	p := newPlayer(t, Options{})
	var call frame
	for i := range call {
		call[i] = int16(math.Round(32767 * math.Sin(2*math.Pi*float64(i)/96))) // 500 Hz, whole periods in a frame
	}
	f := call
	if p.Mix(&f); f != call {
		t.Error("a silent player changed the call")
	}
	p.Play(Waiting)
	var got []int16
	for range 30 {
		f := call
		p.Mix(&f)
		got = append(got, f[:]...)
	}
	// 0.2 s of tone, 0.2 s of silence, 0.2 s of tone.
	if !slices.Equal(got[200*48:400*48], slices.Repeat(call[:], 10)) {
		t.Error("the call is changed in the pause of the tone")
	}
	tone := got[10*48 : 190*48]
	if a := goertzel(tone, 425); math.Abs(a/toneLevel-1) > 0.05 {
		t.Errorf("the tone has amplitude %.4f in the call, want %.4f", a, toneLevel)
	}
	if a := goertzel(tone, 500); math.Abs(a/(1-toneLevel)-1) > 0.05 {
		t.Errorf("the call has amplitude %.4f under the tone, want %.4f", a, 1-toneLevel)
	}
	for _, hz := range []float64{1000, 1500, 2500, 350, 575} { // overdriven, it would have these
		if a := goertzel(tone, hz); a > 0.001 {
			t.Errorf("%g Hz has amplitude %.4f", hz, a)
		}
	}
	if d, at := steepest(got); d > steps(1-toneLevel, 500)+steps(2*toneLevel, 500) {
		t.Errorf("a step of %d at sample %d", d, at)
	}
	// Not even a ring with full volume goes over a quarter in a call.
	p.Play(Ring)
	var loud []int16
	for range 20 {
		var f frame
		p.Mix(&f)
		loud = append(loud, f[:]...)
	}
	if m := slices.Max(loud); m > fullScale*mixLevel+1 || m < fullScale*mixLevel*3/4 {
		t.Errorf("a ring in a call has a peak of %d, want %d", m, int(fullScale*mixLevel))
	}
}

func TestNoAllocation(t *testing.T) {
	p := newPlayer(t, Options{Clips: map[Sound]Clip{Busy: {samples: make([]int16, 5000)}}})
	var f frame
	n := testing.AllocsPerRun(3, func() {
		for i := range 1000 {
			if i%7 == 0 {
				p.Play(Sound(i % (int(sounds) + 1)))
			}
			if i%2 == 0 {
				p.Fill(&f)
			} else {
				p.Mix(&f)
			}
		}
	})
	if n != 0 {
		t.Errorf("%g allocations in 1000 frames", n)
	}
}

// TestConcurrent gives orders from several goroutines while frames are taken;
// the race detector is the judge.
func TestConcurrent(t *testing.T) {
	p := newPlayer(t, Options{})
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 500 {
				p.Play(Sound((i + g) % int(sounds)))
				p.SetVolume(Volume(i%101), Volume(g))
				p.Sounding()
			}
		})
	}
	for range 500 {
		var f frame
		p.Fill(&f)
	}
	wg.Wait()
	p.Stop()
	if got := take(p, 1920)[960:]; slices.Max(got) != 0 || p.Sounding() {
		t.Error("not silent after the last Stop")
	}
}

// TestTables holds the data to what the player and a listener need.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for i, c := range Countries() {
		if seen[c.Code] || c.Code != strings.ToLower(c.Code) || c.Name == "" || c.Source == "" {
			t.Errorf("country %q: twice, or without a name or a source", c.Code)
		}
		if seen[c.Code] = true; i > 1 && c.Code < Countries()[i-1].Code {
			t.Errorf("country %q is out of order", c.Code)
		}
		if len(c.Ring)%2 != 0 || len(c.Ring) == 0 {
			t.Errorf("%s: a ring of %v", c.Code, c.Ring)
		}
	}
	for _, code := range strings.Fields("itu us uk de fr at ch nl it es se jp au") {
		if !seen[code] {
			t.Errorf("no country %q", code)
		}
	}
	if c := Countries()[0]; c.Code != DefaultCountry {
		t.Errorf("the first is %q, want the default", c.Code)
	}
	every(t, func(t *testing.T, c Tones, s Sound, cadence Cadence) {
		sounding := 0
		for i, step := range cadence {
			if len(step.Hz) > maxHz || step.Ms < 2*1000*rampSamples/voice.RateHz || step.Ms > 15000 || step.DB > 0 {
				t.Errorf("%v, step %d: %+v", s, i, step)
			}
			for _, hz := range step.Hz {
				if hz < 300 || hz > 3400 { // what a telephone and a small loudspeaker give
					t.Errorf("%v, step %d: %d Hz", s, i, hz)
				}
			}
			sounding += len(step.Hz)
		}
		if sounding == 0 || len(cadence[len(cadence)-1].Hz) != 0 {
			t.Errorf("%v: silent, or without a pause at its end", s)
		}
	})
}

func TestNames(t *testing.T) {
	for s := Ring; s < sounds; s++ {
		if got, err := ParseSound(s.String()); err != nil || got != s {
			t.Errorf("ParseSound(%q) = %v, %v", s.String(), got, err)
		}
	}
	for _, name := range []string{"", "none", "Ring", "ring "} {
		if got, err := ParseSound(name); err == nil {
			t.Errorf("ParseSound(%q) = %v, want an error", name, got)
		}
	}
	for _, code := range []string{"", "DE", "uk"} {
		if err := CheckCountry(code); err != nil {
			t.Errorf("CheckCountry(%q) = %v", code, err)
		}
	}
	for _, code := range []string{"xx", "germany", "de "} {
		if _, err := New(Options{Country: code}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", code)) {
			t.Errorf("New with country %q: %v, want an error that names it", code, err)
		}
	}
}

func BenchmarkFill(b *testing.B) {
	for _, s := range []Sound{None, Ring, Busy, Unreachable} {
		b.Run(s.String(), func(b *testing.B) {
			p := newPlayer(b, Options{Country: "us"})
			p.Play(s)
			var f frame
			b.ReportAllocs()
			for b.Loop() {
				p.Fill(&f)
			}
		})
	}
}
