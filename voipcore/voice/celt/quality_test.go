package celt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pion/opus/pkg/oggreader"

	"hushbell/voipcore/voice/internal/metric"
)

// A voice is some seconds of speech.
type voice struct {
	name string
	pcm  []int16
}

// recorded is the speech that comes with alsa-utils.
func recorded(t testing.TB) voice {
	t.Helper()
	var joined []int16
	for _, name := range []string{"Front_Center", "Rear_Left", "Side_Right", "Front_Left"} {
		pcm, rate, err := readWAV("/usr/share/sounds/alsa/" + name + ".wav")
		if err != nil || rate != sampleRate {
			missing(t, "the sounds of alsa-utils: %s: rate %d, error %v", name, rate, err)
		}
		joined = append(joined, pcm...)
	}
	return voice{"alsa", joined}
}

// voices are recorded speech, and sentences said by espeak-ng.
func voices(t testing.TB) []voice {
	t.Helper()
	need(t, "espeak-ng")
	all := []voice{recorded(t)}
	for _, v := range []struct{ name, text string }{
		{"en-us", "The quick brown fox jumps over the lazy dog. Please open the door, I have your parcel here."},
		{"en-gb+f3", "She had your dark suit in greasy wash water all year. Can you hear me now?"},
		{"de+m3", "Guten Tag, hier ist die Post. Könnten Sie bitte die Tür aufmachen? Es regnet schon wieder."},
		{"fr+f2", "Bonjour, je suis devant la porte. Pouvez-vous descendre, s'il vous plaît?"},
		{"it+m7", "Buongiorno, sono il postino. C'è un pacco per lei, può scendere un momento?"},
	} {
		file := t.TempDir() + "/v.wav"
		if msg, err := exec.Command("espeak-ng", "-v", v.name, "-w", file, v.text).CombinedOutput(); err != nil {
			missing(t, "espeak-ng -v %s: %v %s", v.name, err, msg)
		}
		pcm, rate, err := readWAV(file)
		if err != nil || rate != 22050 {
			t.Fatalf("espeak-ng made %d Hz, error %v, want 22050 Hz", rate, err)
		}
		all = append(all, voice{v.name, samples(metric.Resample(floats(pcm), 320, 147))})
	}
	return all
}

// readWAV reads 16-bit mono.
func readWAV(name string) (pcm []int16, rate int, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < 44 || string(b[:4]) != "RIFF" {
		return nil, 0, fmt.Errorf("%s: not a WAV file", name)
	}
	pcm = make([]int16, (len(b)-44)/2)
	_, err = binary.Decode(b[44:], binary.LittleEndian, pcm)
	return pcm, int(binary.LittleEndian.Uint32(b[24:])), err
}

func floats(pcm []int16) []float64 {
	x := make([]float64, len(pcm))
	for i, v := range pcm {
		x[i] = float64(v) / 32768
	}
	return x
}

func samples(x []float64) []int16 {
	return each(len(x), func(i int) float64 { return 32768 * x[i] })
}

// scores are what the measures say of one codec and one voice.
type scores [4]float64

var scoreNames = [4]string{"STOI", "NSIM", "NSIM full band", "segSNR"}

// margins is how far below libopus each may be.
var margins = scores{0.004, 0.004, 0.004, 1}

func score(ref, out []int16) scores {
	r, d := metric.Align(floats(ref), floats(out), 1000)
	return scores{metric.STOI(r, d), metric.NSIM(r, d, metric.Wideband), metric.NSIM(r, d, metric.FullBand), metric.SegSNR(r, d)}
}

// encodeC encodes with libopus.
func encodeC(t testing.TB, prog string, pcm []int16, bitrate, frame, complexity int) *stream {
	t.Helper()
	var in bytes.Buffer
	_ = binary.Write(&in, binary.LittleEndian, pcm)
	cmd := exec.Command(prog, fmt.Sprint(bitrate), fmt.Sprint(frame), fmt.Sprint(complexity))
	cmd.Stdin = &in
	var s stream
	cmd.Stdout = &s.Buffer
	if err := cmd.Run(); err != nil {
		t.Fatalf("libopus: encode: %v", err)
	}
	// What is compared must be alike: CELT, full band, mono, one frame, the same size.
	toc := map[int]byte{480: 30 << 3, 960: 31 << 3}[frame]
	for i, p := range s.packets() {
		if p[0] != toc || len(p) != PacketBytes(bitrate, frame) {
			t.Fatalf("libopus: packet %d has %d bytes and begins with %#x, want %d and %#x", i, len(p), p[0], PacketBytes(bitrate, frame), toc)
		}
	}
	return &s
}

func encodeGo(t testing.TB, pcm []int16, bitrate, frame, complexity int) *stream {
	t.Helper()
	e, err := NewEncoder(Config{frame, PacketBytes(bitrate, frame), complexity})
	if err != nil {
		t.Fatal(err)
	}
	var s stream
	packet := make([]byte, e.cfg.PacketBytes)
	for ; len(pcm) >= frame; pcm = pcm[frame:] {
		if _, err := e.Encode(pcm, packet); err != nil {
			t.Fatal(err)
		}
		s.add(e, packet)
	}
	return &s
}

// TestReferenceIsOpusenc: what is compared with is, packet for packet, what anyone
// gets from opusenc.
func TestReferenceIsOpusenc(t *testing.T) {
	prog := buildC(t, "encode")
	need(t, "opusenc")
	const in = "/usr/share/sounds/alsa/Front_Center.wav"
	pcm, _, err := readWAV(in)
	if err != nil {
		missing(t, "the sounds of alsa-utils: %v", err)
	}
	for _, bitrate := range []int{16000, 24000, 32000, 48000} {
		file := filepath.Join(t.TempDir(), "out.opus")
		// 4000 and 2051: OPUS_SET_APPLICATION, OPUS_APPLICATION_RESTRICTED_LOWDELAY
		cmd := exec.Command("opusenc", "--quiet", "--hard-cbr", "--comp", "5", "--framesize", "20",
			"--set-ctl-int", "4000=2051", "--bitrate", fmt.Sprint(bitrate/1000), in, file)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("opusenc: %v %s", err, msg)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		ogg, _, err := oggreader.NewWith(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ogg.ParseNextPacket(); err != nil { // the tags
			t.Fatal(err)
		}
		for i, want := range encodeC(t, prog, pcm, bitrate, 960, 5).packets() {
			if got, _, err := ogg.ParseNextPacket(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bit/s: packet %d of opusenc is %x, error %v; the reference is %x", bitrate, i, got, err, want)
			}
		}
	}
}

// TestQualityAgainstLibopus compares at full complexity with libopus at 5, and at 0
// with libopus at 0, by what libopus decodes of both.
func TestQualityAgainstLibopus(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("a comparison of sounds: takes long, and is the same every time")
	}
	decode, encode := buildC(t, "decode"), buildC(t, "encode")
	all := voices(t)
	for _, c := range []struct{ bitrate, frame, complexity int }{
		{16000, 960, 5}, {24000, 960, 5}, {32000, 960, 5}, {48000, 960, 5}, {32000, 480, 5},
		{16000, 960, 0}, {32000, 960, 0},
	} {
		at := fmt.Sprintf("%d bit/s, %d ms, complexity %d", c.bitrate, c.frame/48, c.complexity)
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			var meanGo, meanC scores
			for _, v := range all {
				ours := score(v.pcm, decodeC(t, decode, encodeGo(t, v.pcm, c.bitrate, c.frame, c.complexity)))
				theirs := score(v.pcm, decodeC(t, decode, encodeC(t, encode, v.pcm, c.bitrate, c.frame, c.complexity)))
				line := fmt.Sprintf("%-8s:", v.name)
				for i := range ours {
					meanGo[i] += ours[i] / float64(len(all))
					meanC[i] += theirs[i] / float64(len(all))
					line += fmt.Sprintf(" %s %.4f (%+.4f)", scoreNames[i], ours[i], ours[i]-theirs[i])
					if !(ours[i] >= theirs[i]-margins[i]) {
						t.Errorf("%s: %s %.4f, libopus has %.4f", v.name, scoreNames[i], ours[i], theirs[i])
					}
				}
				t.Log(line)
			}
			line := "mean    :"
			for i := range meanGo {
				line += fmt.Sprintf(" %s %.4f (%+.4f)", scoreNames[i], meanGo[i], meanGo[i]-meanC[i])
			}
			t.Log(line)
		})
	}
}

// TestTonesAgainstLibopus does so with what is no speech: doorbells, signals, music.
// The ear follows a pure tone closely, so it is the signal to noise ratio that counts.
func TestTonesAgainstLibopus(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("a comparison of sounds: the same every time")
	}
	decode, encode := buildC(t, "decode"), buildC(t, "encode")
	tones := func(level float64, hertz ...float64) []int16 {
		return each(2*sampleRate, func(i int) (v float64) {
			for _, f := range hertz {
				v += level * math.Sin(2*math.Pi*f*float64(i)/sampleRate)
			}
			return v
		})
	}
	sweep := each(2*sampleRate, func(i int) float64 {
		x := float64(i) / sampleRate
		return 12000 * math.Sin(2*math.Pi*(400*x+300*x*x))
	})
	for _, v := range []voice{
		{"440 Hz", tones(10000, 440)},
		{"1234 Hz", tones(10000, 1234)},
		{"5100 Hz", tones(10000, 5100)},
		{"two tones", tones(8000, 697, 1209)},
		{"sweep", sweep},
		{"chords", chords(newRand(5), 2*sampleRate)},
	} {
		for _, bitrate := range []int{16000, 24000, 32000, 48000} {
			ratio := func(s *stream) float64 {
				return metric.SegSNR(metric.Align(floats(v.pcm), floats(decodeC(t, decode, s)), 200))
			}
			ours := ratio(encodeGo(t, v.pcm, bitrate, 960, MaxComplexity))
			theirs := ratio(encodeC(t, encode, v.pcm, bitrate, 960, 5))
			t.Logf("%-9s at %d bit/s: %.1f dB (%+.1f)", v.name, bitrate, ours, ours-theirs)
			if !(ours >= theirs-margins[3]) {
				t.Errorf("%s at %d bit/s: %.1f dB, libopus has %.1f", v.name, bitrate, ours, theirs)
			}
		}
	}
}
