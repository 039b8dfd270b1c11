package celt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"hushbell/voipcore/voice/internal/metric"
)

// A voice is some seconds of speech.
type voice struct {
	name string
	pcm  []int16
}

// voices are recordings of alsa-utils and sentences said by espeak-ng.
func voices(t testing.TB) []voice {
	t.Helper()
	need(t, "espeak-ng")
	var all []voice
	var joined []int16
	for _, name := range []string{"Front_Center", "Rear_Left", "Side_Right", "Front_Left"} {
		pcm, rate, err := readWAV("/usr/share/sounds/alsa/" + name + ".wav")
		if err != nil || rate != sampleRate {
			missing(t, "the sounds of alsa-utils: %s: rate %d, error %v", name, rate, err)
		}
		joined = append(joined, pcm...)
	}
	all = append(all, voice{"alsa", joined})
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

// TestQualityAgainstLibopus compares at full complexity with libopus at 5, by
// what libopus decodes of both.
func TestQualityAgainstLibopus(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("a comparison of sounds: takes long, and is the same every time")
	}
	decode, encode := buildC(t, "decode"), buildC(t, "encode")
	all := voices(t)
	for _, c := range []struct{ bitrate, frame int }{{16000, 960}, {24000, 960}, {32000, 960}, {48000, 960}, {32000, 480}} {
		at := fmt.Sprintf("%d bit/s, %d ms", c.bitrate, c.frame/48)
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			var meanGo, meanC scores
			for _, v := range all {
				ours := score(v.pcm, decodeC(t, decode, encodeGo(t, v.pcm, c.bitrate, c.frame, MaxComplexity)))
				theirs := score(v.pcm, decodeC(t, decode, encodeC(t, encode, v.pcm, c.bitrate, c.frame, 5)))
				line := fmt.Sprintf("%s, %-8s:", at, v.name)
				for i := range ours {
					meanGo[i] += ours[i] / float64(len(all))
					meanC[i] += theirs[i] / float64(len(all))
					line += fmt.Sprintf(" %s %.4f (%+.4f)", scoreNames[i], ours[i], ours[i]-theirs[i])
					if !(ours[i] >= theirs[i]-margins[i]) {
						t.Errorf("%s, %s: %s %.4f, libopus has %.4f", at, v.name, scoreNames[i], ours[i], theirs[i])
					}
				}
				t.Log(line)
			}
			line := at + ", mean    :"
			for i := range meanGo {
				line += fmt.Sprintf(" %s %.4f (%+.4f)", scoreNames[i], meanGo[i], meanGo[i]-meanC[i])
			}
			t.Log(line)
		})
	}
}
