package tone

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"hushbell/voipcore/voice"
)

// wavFile makes a file of a sine.
func wavFile(rateHz, channels int, hz float64, length time.Duration) []byte {
	n := int(length.Seconds() * float64(rateHz))
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(36+2*channels*n))
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, uint16(channels))
	b = binary.LittleEndian.AppendUint32(b, uint32(rateHz))
	b = binary.LittleEndian.AppendUint32(b, uint32(2*channels*rateHz))
	b = binary.LittleEndian.AppendUint16(b, uint16(2*channels))
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*channels*n))
	for i := range n {
		v := uint16(int16(math.Round(16384 * math.Sin(2*math.Pi*hz*float64(i)/float64(rateHz)))))
		for range channels {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	return b
}

func readClip(t testing.TB, file []byte) Clip {
	t.Helper()
	c, err := ReadClip(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClipRates: a file of any usual rate is heard at its pitch and length.
func TestClipRates(t *testing.T) {
	for _, rate := range []int{8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000} {
		for _, channels := range []int{1, 2} {
			c := readClip(t, wavFile(rate, channels, 1000, time.Second))
			if d := c.Length() - time.Second; d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("%d Hz, %d channels: lasts %v, want 1s", rate, channels, c.Length())
			}
			p := newPlayer(t, Options{Clips: map[Sound]Clip{Connected: c}})
			p.Play(Connected)
			got := take(p, 47000)
			if a := goertzel(got[960:46000], 1000); math.Abs(a/0.5-1) > 0.02 {
				t.Errorf("%d Hz, %d channels: 1000 Hz has amplitude %.3f, want 0.5", rate, channels, a)
			}
		}
	}
}

// TestClipPlays: what goes on loops, what ends ends, a waiting tone has a
// pause, and none of it clicks, whatever the file begins and ends with.
func TestClipPlays(t *testing.T) {
	file := wavFile(48000, 1, 440, 101*time.Millisecond) // ends in mid-wave
	c := readClip(t, file)
	p := newPlayer(t, Options{Clips: map[Sound]Clip{Ring: c, Waiting: c, Beep: c}})

	p.Play(Ring)
	got := take(p, 48000)
	near(t, "ring", runs(got), []int{48000})
	if d, at := steepest(got); d > steps(0.5, 440) {
		t.Errorf("ring: a step of %d at sample %d, want at most %d", d, at, steps(0.5, 440))
	}
	p.Stop()
	take(p, 1)
	p.Play(Waiting)
	period := len(c.samples) + 8*voice.RateHz
	near(t, "call-waiting", runs(take(p, 2*period)[:2*period]), []int{101 * 48, 8 * voice.RateHz, 101 * 48, 8 * voice.RateHz})
	p.Play(Beep)
	near(t, "beep", runs(take(p, 48000)), []int{101 * 48, 48000 - 101*48})
	if p.Sounding() {
		t.Error("beep: still sounding after its end")
	}

	// Constant full scale, the worst that a file can be: up and down by the
	// ramp, and over a call no louder than a quarter.
	loud := Clip{samples: slices.Repeat([]int16{math.MinInt16}, 4800)}
	p = newPlayer(t, Options{Clips: map[Sound]Clip{Busy: loud}})
	p.Play(Busy)
	got = take(p, 48000)
	if d, _ := steepest(got); d > steps(1, 0) {
		t.Errorf("a step of %d, want at most %d", d, steps(1, 0))
	}
	if m := slices.Min(got); m != math.MinInt16 {
		t.Errorf("the lowest sample is %d", m)
	}
	p.Stop()
	take(p, 1)
	p.Play(Busy)
	for range 20 {
		var f frame
		if p.Mix(&f); slices.Min(f[:]) < -fullScale*mixLevel-1 {
			t.Fatalf("%d in a call", slices.Min(f[:]))
		}
	}
}

func TestClipErrors(t *testing.T) {
	good := wavFile(8000, 1, 440, time.Second)
	huge := wavFile(192000, 2, 440, 18*time.Second) // longer than is read
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "RIFF"},
		{"text", []byte("this is no sound file at all"), "WAV"},
		{"cut in the header", good[:30], "format"},
		{"no samples", wavFile(8000, 1, 440, 0), "samples"},
		{"too long", wavFile(8000, 1, 440, MaxClip+time.Second/100), "longer than 15s"},
		{"too long to read", huge, "longer than 15s"},
		{"odd rate", wavFile(47999, 1, 440, time.Second), "rate"},
		{"rate too low", wavFile(4000, 1, 440, time.Second), "4000 Hz"},
		{"rate too high", wavFile(200000, 1, 440, time.Second), "200000 Hz"},
	} {
		c, err := ReadClip(bytes.NewReader(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "tone: read clip: ") {
			t.Errorf("%s: clip of %v, %v; want an error with %q", tt.name, c.Length(), err, tt.want)
		}
	}
	if c := readClip(t, wavFile(8000, 1, 440, MaxClip)); c.Length() != MaxClip {
		t.Errorf("the longest clip lasts %v", c.Length())
	}
	for s, c := range map[Sound]Clip{None: readClip(t, good), sounds: readClip(t, good), Ring: {}} {
		if _, err := New(Options{Clips: map[Sound]Clip{s: c}}); err == nil {
			t.Errorf("a clip of %v for %v: want an error", c.Length(), s)
		}
	}
}

// FuzzReadClip: whatever the file, there is a clip that can be played, within
// its bounds, or an error.
func FuzzReadClip(f *testing.F) {
	f.Add([]byte{})
	f.Add(wavFile(8000, 1, 440, 50*time.Millisecond))
	f.Add(wavFile(44100, 2, 440, 10*time.Millisecond))
	f.Add(wavFile(96000, 1, 440, time.Millisecond)[:50])
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := ReadClip(bytes.NewReader(file))
		if err != nil {
			return
		}
		if c.Length() > MaxClip+time.Second/100 {
			t.Fatalf("a clip of %v", c.Length())
		}
		p := newPlayer(t, Options{Clips: map[Sound]Clip{Ring: c}})
		p.Play(Ring)
		take(p, 9600)
		p.Stop()
		if got := take(p, 1920)[960:]; slices.Max(got) != 0 || slices.Min(got) != 0 {
			t.Fatal("not silent after Stop")
		}
	})
}
