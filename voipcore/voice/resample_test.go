package voice

import (
	"math"
	"testing"
)

func tone(rateHz int, hz float64, n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(16000 * math.Sin(2*math.Pi*hz*float64(i)/float64(rateHz))))
	}
	return pcm
}

func resample(t *testing.T, rateHz int, src []int16) []int16 {
	t.Helper()
	r, err := NewResampler(rateHz)
	if err != nil {
		t.Fatal(err)
	}
	var dst []int16
	for len(src) > 0 { // in uneven pieces
		n := min(len(src), 1+len(dst)%777)
		dst = r.Append(dst, src[:n])
		src = src[n:]
	}
	return r.Flush(dst)
}

var usualRates = []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 176400, 192000}

// A tone comes out as the same tone at the same time: no delay, no change of
// level, and what is added is 60 dB below it.
func TestResamplerTone(t *testing.T) {
	for _, rate := range usualRates {
		for _, hz := range []float64{300, 3300} {
			got := resample(t, rate, tone(rate, hz, rate/2))
			if d := len(got) - RateHz/2; d < -2 || d > 2 {
				t.Errorf("%d Hz: half a second makes %d samples", rate, len(got))
				continue
			}
			want := tone(RateHz, hz, RateHz/2)
			var noise, signal float64
			for i := 1000; i < RateHz/2-1000; i++ { // without the ends, where the tone begins and stops
				d := float64(got[i]) - float64(want[i])
				noise += d * d
				signal += float64(want[i]) * float64(want[i])
			}
			if db := 10 * math.Log10(signal/(noise+1)); db < 60 {
				t.Errorf("%d Hz: tone of %v Hz has %.1f dB of signal to noise, want 60", rate, hz, db)
			}
		}
	}
}

// What 48 kHz cannot hold, and images of what lower rates do hold, stay out.
func TestResamplerAliases(t *testing.T) {
	level := func(pcm []int16) float64 {
		var sum float64
		for _, v := range pcm[1000 : len(pcm)-1000] {
			sum += float64(v) * float64(v)
		}
		return 10 * math.Log10(sum/float64(len(pcm)-2000)/(16000*16000/2)+1e-12)
	}
	for _, tt := range []struct {
		rate int
		hz   float64
	}{{192000, 27000}, {192000, 70000}, {96000, 27000}, {96000, 40000}, {88200, 30000}, {64000, 30000}} {
		if db := level(resample(t, tt.rate, tone(tt.rate, tt.hz, tt.rate))); db > -70 {
			t.Errorf("%d Hz: tone of %v Hz comes through at %.1f dB, want under -70", tt.rate, tt.hz, db)
		}
	}
	// The image of 1 kHz at 8 kHz would lie at 7 kHz: subtract the tone.
	got, want := resample(t, 8000, tone(8000, 1000, 8000)), tone(RateHz, 1000, RateHz)
	for i := range want {
		got[i] -= want[i]
	}
	if db := level(got); db > -70 {
		t.Errorf("8000 Hz: images at %.1f dB, want under -70", db)
	}
}

func TestResamplerConstant(t *testing.T) {
	src := make([]int16, 5000)
	for i := range src {
		src[i] = math.MaxInt16
	}
	for _, rate := range usualRates {
		got := resample(t, rate, src)
		for i, v := range got[500 : len(got)-500] {
			if v < math.MaxInt16-1 {
				t.Errorf("%d Hz: full scale is %d at sample %d", rate, v, i)
				break
			}
		}
	}
}

func TestResamplerSameRate(t *testing.T) {
	src := tone(RateHz, 440, 1000)
	got := resample(t, RateHz, src)
	for i := range src {
		if got[i] != src[i] {
			t.Fatalf("sample %d is %d, want %d", i, got[i], src[i])
		}
	}
}

func TestNewResamplerRates(t *testing.T) {
	for _, rate := range []int{0, -1, 7999, 192001, 44101, 9999} {
		if _, err := NewResampler(rate); err == nil {
			t.Errorf("NewResampler(%d) takes it", rate)
		}
	}
}

func BenchmarkResample44100(b *testing.B) {
	r, err := NewResampler(44100)
	if err != nil {
		b.Fatal(err)
	}
	src, dst := tone(44100, 440, 882), make([]int16, 0, 2000)
	b.ReportAllocs()
	for b.Loop() {
		r.Append(dst, src)
	}
}
