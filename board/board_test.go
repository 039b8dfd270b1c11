package board

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/wav"
)

const samples = voice.FrameSamples

// ramp is a sound in which no two frames are alike.
func ramp(n int) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = int16(i%30000 + 1)
	}
	return s
}

func writeWAV(t *testing.T, path string, rate int, s []int16) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := wav.NewWriter(f, rate)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(s), w.Close()); err != nil {
		t.Fatal(err)
	}
}

func readWAV(t *testing.T, path string) []int16 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The header is fixed on close: it says how much there is.
	if n := binary.LittleEndian.Uint32(b[40:]); int(n) != len(b)-44 {
		t.Errorf("the header of %s says %d bytes, there are %d", path, n, len(b)-44)
	}
	s, err := wav.Read(bytes.NewReader(b))
	if err != nil || s.RateHz != voice.RateHz {
		t.Fatalf("%s has %d Hz, %v", path, s.RateHz, err)
	}
	return s.Samples
}

func open(t *testing.T, o Options) *Board {
	t.Helper()
	b, err := Open("sim", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// The file is spoken from its first sample, once, in real time: whatever the
// reader does between its reads, each frame comes when it is over, not later.
func TestMicrophone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.wav")
	sound := ramp(3*samples + 100)
	writeWAV(t, path, voice.RateHz, sound)
	b := open(t, Options{Microphone: path})
	synctest.Test(t, func(t *testing.T) {
		for range 2 { // two calls
			time.Sleep(1234567 * time.Nanosecond) // nobody reads before the call
			start := time.Now()
			padded := append(append([]int16(nil), sound...), make([]int16, 3*samples)...)
			for i := range 6 {
				var pcm [samples]int16
				if err := b.Microphone.Read(&pcm); err != nil {
					t.Fatal(err)
				}
				if got, want := time.Since(start), time.Duration(i+1)*20*time.Millisecond; got != want {
					t.Errorf("frame %d came after %v, want %v", i, got, want)
				}
				if !equal(pcm[:], padded[i*samples:(i+1)*samples]) {
					t.Errorf("frame %d is not what was spoken then", i)
				}
				time.Sleep(time.Duration(i) * 3 * time.Millisecond)
			}
			if got := b.Moments().Spoken; !got.Equal(start) {
				t.Errorf("the first sample was spoken at %v, want %v", got, start)
			}
			b.Microphone.Stop()
		}
		if n := b.Microphone.Xruns(); n != 0 {
			t.Errorf("%d xruns of a reader in time", n)
		}
	})
}

func equal(a, b []int16) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// Who comes up to 200 ms late gets all, at once; who comes later has lost what
// was spoken meanwhile, and is in time again.
func TestMicrophoneReadLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.wav")
	sound := ramp(30 * samples)
	writeWAV(t, path, voice.RateHz, sound)
	b := open(t, Options{Microphone: path})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var pcm [samples]int16
		at := 0
		for _, step := range []struct {
			pause       time.Duration
			frame       int // the one that is read after it
			over, xruns int
		}{
			{0, 0, 1, 0},
			{100 * time.Millisecond, 1, 6, 0}, {0, 2, 6, 0}, {0, 3, 6, 0}, {0, 4, 6, 0}, {0, 5, 6, 0}, {0, 6, 7, 0},
			{230 * time.Millisecond, 18, 19, 1}, {0, 19, 20, 1},
		} {
			time.Sleep(step.pause)
			b.Microphone.Read(&pcm)
			at++
			if !equal(pcm[:], sound[step.frame*samples:][:samples]) {
				t.Errorf("read %d is not frame %d", at, step.frame)
			}
			if got, least := time.Since(start), time.Duration(step.over)*20*time.Millisecond; got < least || b.Microphone.Xruns() != step.xruns {
				t.Errorf("read %d came after %v with %d xruns, want %v and %d", at, got, b.Microphone.Xruns(), least, step.xruns)
			}
		}
	})
}

// Any usual rate, and two channels.
func TestMicrophoneFormats(t *testing.T) {
	dir := t.TempDir()
	low := filepath.Join(dir, "low.wav")
	writeWAV(t, low, 16000, ramp(16000))
	if b := open(t, Options{Microphone: low}); len(b.sim.microphone.sound) != voice.RateHz {
		t.Errorf("a second of 16 kHz has become %d samples, want %d", len(b.sim.microphone.sound), voice.RateHz)
	}
	// A stereo file: the same header with two channels.
	stereo := filepath.Join(dir, "stereo.wav")
	writeWAV(t, stereo, voice.RateHz, []int16{100, 300, 200, 400})
	raw, err := os.ReadFile(stereo)
	if err != nil {
		t.Fatal(err)
	}
	raw[22], raw[32] = 2, 4
	if err := os.WriteFile(stereo, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if b := open(t, Options{Microphone: stereo}); !equal(b.sim.microphone.sound, []int16{200, 300}) {
		t.Errorf("two channels have become %v, want their mean", b.sim.microphone.sound)
	}
}

// The file begins with the first frame of a call, and time in it is real time.
func TestSpeaker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.wav")
	b := open(t, Options{Speaker: path})
	sound := ramp(20 * samples)
	synctest.Test(t, func(t *testing.T) {
		for _, frames := range []int{7, 3} { // two calls: the file holds the second
			time.Sleep(time.Second)
			start := time.Now()
			for i := range frames {
				if err := b.Speaker.Write((*[samples]int16)(sound[i*samples:])); err != nil {
					t.Fatal(err)
				}
				if got, want := time.Since(start), time.Duration(i+1)*20*time.Millisecond; got != want {
					t.Errorf("frame %d was over after %v, want %v", i, got, want)
				}
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
			if got := b.Moments().Heard; !got.Equal(start) {
				t.Errorf("the first sample was heard at %v, want %v", got, start)
			}
			b.Speaker.Stop()
			if got := readWAV(t, path); !equal(got, sound[:frames*samples]) {
				t.Errorf("the file does not hold what was heard in %d frames", frames)
			}
		}
	})
}

func TestSpeakerWrittenLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.wav")
	b := open(t, Options{Speaker: path})
	sound := ramp(2 * samples)
	synctest.Test(t, func(t *testing.T) {
		b.Speaker.Write((*[samples]int16)(sound))
		time.Sleep(300 * time.Millisecond)
		b.Speaker.Write((*[samples]int16)(sound[samples:]))
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	want := append(append(sound[:samples:samples], make([]int16, 15*samples)...), sound[samples:]...)
	if got := readWAV(t, path); !equal(got, want) || b.Speaker.Xruns() != 1 {
		t.Errorf("the file has %d samples with %d xruns, want %d with silence in place of what did not come, and 1", len(got), b.Speaker.Xruns(), len(want))
	}
	if err := b.Speaker.Write((*[samples]int16)(sound)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close = %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("the second Close = %v", err)
	}
}

func TestSoundDoesNotAllocate(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.wav")
	writeWAV(t, in, voice.RateHz, ramp(500*samples))
	b := open(t, Options{Microphone: in, Speaker: filepath.Join(dir, "out.wav")})
	synctest.Test(t, func(t *testing.T) {
		var pcm [samples]int16
		b.Speaker.Write(&pcm)
		if n := testing.AllocsPerRun(5, func() {
			for range 1000 {
				b.Microphone.Read(&pcm)
				b.Speaker.Write(&pcm)
			}
		}); n != 0 {
			t.Errorf("%v allocations in 1000 frames", n)
		}
	})
}

func TestOpenWrong(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.wav")
	os.WriteFile(text, []byte("no sound"), 0o600)
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"toaster", Options{}, `no model "toaster": there is pi-zero-w`},
		{"toaster", Options{}, ", or auto, or sim"},
		{"sim", Options{Microphone: filepath.Join(dir, "none.wav")}, "none.wav"},
		{"sim", Options{Microphone: text}, "text.wav"},
		{"sim", Options{Speaker: filepath.Join(dir, "none", "out.wav")}, "no such folder"},
		{"sim", Options{Microphone: text, Speaker: filepath.Join(dir, ".", "text.wav")}, "overwritten"},
	} {
		if _, err := Open(tt.name, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%s, %+v) = %v, want it to tell of %s", tt.name, tt.o, err, tt.want)
		}
	}
	if _, err := Open("sim", Options{Microphone: filepath.Join(dir, "none.wav")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file gives %v, want fs.ErrNotExist", err)
	}
}
