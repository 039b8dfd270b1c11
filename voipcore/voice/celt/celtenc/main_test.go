package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/opus/pkg/oggreader"

	"hushbell/voipcore/voice/celt"
)

// wavFile makes a WAV file, with a chunk that is no sound.
func wavFile(rate, channels int, pcm []int16) []byte {
	var b bytes.Buffer
	b.WriteString("RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00abc\x00fmt \x10\x00\x00\x00")
	for _, v := range []any{uint16(1), uint16(channels), uint32(rate), uint32(2 * rate * channels), uint16(2 * channels), uint16(16)} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, uint32(2*len(pcm)))
	_ = binary.Write(&b, binary.LittleEndian, pcm)
	return b.Bytes()
}

func sine(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*440*float64(i)/48000))
	}
	return pcm
}

// TestOgg reads back the stream: its packets, and the position of its end.
func TestOgg(t *testing.T) {
	for _, samples := range []int{0, 1, 500, 840, 841, 959, 960, 961, 48000, 100000} {
		for _, frame := range []int{480, 960} {
			var out bytes.Buffer
			cfg := celt.Config{FrameSamples: frame, PacketBytes: celt.PacketBytes(32000, frame)}
			if err := encode(cfg, bytes.NewReader(wavFile(48000, 1, sine(samples))), &out); err != nil {
				t.Fatal(err)
			}
			r, head, err := oggreader.NewWith(&out)
			if err != nil {
				t.Fatalf("%d samples: %v", samples, err)
			}
			if head.Channels != 1 || head.PreSkip != celt.Delay || head.SampleRate != 48000 {
				t.Errorf("%d samples: header %+v, want one channel, 48000 Hz, %d samples to skip", samples, head, celt.Delay)
			}
			packets, end := 0, uint64(0)
			for {
				segments, page, err := r.ParseNextPage()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%d samples: page after packet %d: %v", samples, packets, err)
				}
				if len(segments) > 0 && strings.HasPrefix(string(segments[0]), "OpusTags") {
					continue
				}
				for _, s := range segments {
					if len(s) != cfg.PacketBytes {
						t.Errorf("%d samples: packet of %d bytes, want %d", samples, len(s), cfg.PacketBytes)
					}
					packets++
				}
				end = page.GranulePosition
			}
			if want := uint64(samples + celt.Delay); end != want {
				t.Errorf("%d samples in frames of %d: stream ends at %d, want %d", samples, frame, end, want)
			}
			if have := packets * frame; have < samples+celt.Delay || have >= samples+celt.Delay+2*frame {
				t.Errorf("%d samples: %d packets of %d samples", samples, packets, frame)
			}
		}
	}
}

// TestPlayer has opusdec read files, mono or stereo and of other rates, and compares the length.
func TestPlayer(t *testing.T) {
	if _, err := exec.LookPath("opusdec"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("opusdec of opus-tools is not installed")
	}
	dir := t.TempDir()
	in, out, back := filepath.Join(dir, "in.wav"), filepath.Join(dir, "out.opus"), filepath.Join(dir, "back.wav")
	for _, c := range []struct{ rate, channels, samples, want int }{
		{48000, 2, 30000, 30000},
		{44100, 1, 22050, 24000},
		{16000, 1, 8000, 24000},
	} {
		if err := os.WriteFile(in, wavFile(c.rate, c.channels, sine(c.channels*c.samples)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(celt.Config{FrameSamples: 960, PacketBytes: 80, Complexity: 5}, in, out); err != nil {
			t.Fatal(err)
		}
		if msg, err := exec.Command("opusdec", "--quiet", "--force-wav", out, back).CombinedOutput(); err != nil {
			t.Fatalf("opusdec: %v: %s", err, msg)
		}
		b, err := os.ReadFile(back)
		if err != nil {
			t.Fatal(err)
		}
		if got := (len(b) - 44) / 2; got != c.want {
			t.Errorf("%+v: opusdec made %d samples", c, got)
		}
		loudest := 0
		for i := 44; i+1 < len(b); i += 2 {
			loudest = max(loudest, int(int16(binary.LittleEndian.Uint16(b[i:]))))
		}
		if loudest < 7000 || loudest > 9000 {
			t.Errorf("%+v: a tone of 8000 comes out at %d", c, loudest)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		bitrate, frame, complexity int
		want                       string // in the error
	}{
		{32000, 20, 5, ""},
		{16000, 10, 0, ""},
		{64000, 20, 5, ""},
		{15999, 20, 5, "-bitrate 15999"},
		{64001, 20, 5, "-bitrate 64001"},
		{32000, 30, 5, "-frame 30"},
		{32000, 20, 6, "-complexity 6"},
		{32000, 20, -1, "-complexity -1"},
	} {
		cfg, err := config(c.bitrate, c.frame, c.complexity)
		if c.want == "" && err == nil {
			if _, err := celt.NewEncoder(cfg); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		} else if c.want == "" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

func TestBadInput(t *testing.T) {
	good := wavFile(48000, 1, sine(100))
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"text":           []byte("this is certainly no RIFF file"),
		"cut in header":  good[:30],
		"no data":        good[:48],
		"44101 Hz":       wavFile(44101, 1, sine(10)),
		"three channels": wavFile(48000, 3, sine(9)),
		"endless chunk":  []byte("RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\xff"),
		"small format":   []byte("RIFF\x00\x00\x00\x00WAVEfmt \x01\x00\x00\x00"),
		"data first":     []byte("RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00"),
	} {
		if err := encode(celt.Config{FrameSamples: 960, PacketBytes: 80}, bytes.NewReader(b), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	out := filepath.Join(t.TempDir(), "out.opus")
	in := filepath.Join(t.TempDir(), "in.wav")
	if err := os.WriteFile(in, good[:30], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(celt.Config{FrameSamples: 960, PacketBytes: 80}, in, out); err == nil {
		t.Error("run on a cut file: no error")
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("output after an error: %v, want none", err)
	}
}
