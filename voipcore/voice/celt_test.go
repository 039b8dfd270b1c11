package voice

import (
	"os"
	"testing"

	"hushbell/voipcore/voice/celt"
	"hushbell/voipcore/voice/heard"
)

var _ Encoder = (*celt.Encoder)(nil)

// newCELTSender is what a call at the default parameters sends with.
func newCELTSender(t testing.TB, complexity int) *Sender {
	t.Helper()
	e, err := celt.NewEncoder(celt.Config{FrameSamples: FrameSamples, PacketBytes: 80, Complexity: complexity})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSender(e, 80, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readVoice(t testing.TB) []int16 {
	t.Helper()
	f, err := os.Open("testdata/voice.opus")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pcm, err := ReadOpus(f)
	if err != nil {
		t.Fatal(err)
	}
	return pcm
}

// Speech goes through the whole of the voice path, with one frame in twenty
// lost, and is heard, one frame and the codec's delay of 120 samples later.
func TestSpeechThroughEncoder(t *testing.T) {
	spoken := readVoice(t)
	for _, complexity := range []int{0, celt.MaxComplexity} {
		s, r := newCELTSender(t, complexity), newReceiver(t)
		var out []int16
		var pcm [FrameSamples]int16
		var p Payload
		for n := 0; n*FrameSamples+FrameSamples <= len(spoken); n++ {
			copy(pcm[:], spoken[n*FrameSamples:])
			size, ts, err := s.Send(&pcm, &p)
			if err != nil {
				t.Fatal(err)
			}
			if n%20 != 13 {
				if err := r.Push(ts, p[:size]); err != nil {
					t.Fatal(err)
				}
			}
			r.Pull(&pcm)
			out = append(out, pcm[:]...)
		}
		res := heard.Compare(spoken, out)
		t.Logf("complexity %d: %+v", complexity, res)
		const want = (FrameSamples + 120) * 1e9 / RateHz
		if d := res.Delay.Nanoseconds() - want; !res.Heard || res.Score < 0.9 || d < -1e6 || d > 1e6 {
			t.Errorf("complexity %d: %+v, want heard 22.5 ms later with a score of 0.9 at least", complexity, res)
		}
		if c := r.Counters(); c.Malformed+c.Concealed+c.Late != 0 || c.Repaired != c.Lost || c.Lost == 0 {
			t.Errorf("complexity %d: counted %+v, want all that was lost repaired", complexity, c)
		}
	}
}

func TestCaptureToWireAllocs(t *testing.T) {
	spoken := readVoice(t)
	s := newCELTSender(t, celt.MaxComplexity)
	var p Payload
	n := 0
	if a := testing.AllocsPerRun(1, func() {
		for range 1000 {
			at := n * FrameSamples % (len(spoken) - FrameSamples)
			n++
			if _, _, err := s.Send((*[FrameSamples]int16)(spoken[at:]), &p); err != nil {
				t.Fatal(err)
			}
		}
	}); a != 0 {
		t.Errorf("1000 frames allocate %v times, want 0", a)
	}
}

func BenchmarkCaptureToWire(b *testing.B) {
	spoken := readVoice(b)
	s := newCELTSender(b, celt.MaxComplexity)
	var p Payload
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		at := n * FrameSamples % (len(spoken) - FrameSamples)
		n++
		if _, _, err := s.Send((*[FrameSamples]int16)(spoken[at:]), &p); err != nil {
			b.Fatal(err)
		}
	}
}
