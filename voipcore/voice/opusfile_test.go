package voice

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestReadOpus(t *testing.T) {
	for _, tt := range []struct {
		file    string
		samples int // as opusinfo has it: 6.10 s
	}{{"voice.opus", 292589}, {"voice-32k.opus", 292589}} {
		f, err := os.Open("testdata/" + tt.file)
		if err != nil {
			t.Fatal(err)
		}
		pcm, err := ReadOpus(f)
		f.Close()
		if err != nil || len(pcm) != tt.samples {
			t.Errorf("ReadOpus(%s) gives %d samples, %v; want %d", tt.file, len(pcm), err, tt.samples)
		}
		var sum float64
		for _, v := range pcm {
			sum += float64(v) * float64(v)
		}
		if rms := sum / float64(len(pcm)); rms < 1e5 {
			t.Errorf("%s is nearly silent: mean square %.0f", tt.file, rms)
		}
	}
}

// A file that is cut or changed anywhere is an error, or gives what was whole.
func TestReadOpusBroken(t *testing.T) {
	whole, err := os.ReadFile("testdata/voice-32k.opus")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 27, 40, 47, 100, 500, 1000} {
		if pcm, err := ReadOpus(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("the first %d bytes give %d samples and no error", n, len(pcm))
		} else if !strings.Contains(err.Error(), "read opus file") {
			t.Errorf("the first %d bytes: error %q does not say what failed", n, err)
		}
	}
	for i := 0; i < 20000; i += 977 {
		b := bytes.Clone(whole)
		b[i] ^= 0x55
		if _, err := ReadOpus(bytes.NewReader(b)); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
	}
}

func FuzzReadOpus(f *testing.F) {
	whole, err := os.ReadFile("testdata/voice-32k.opus")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:5000])
	f.Add([]byte("OggS"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, err := ReadOpus(bytes.NewReader(b))
		if err == nil && len(pcm) == 0 {
			t.Error("no sound and no error")
		}
	})
}
