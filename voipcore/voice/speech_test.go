package voice

import (
	"math/rand/v2"
	"testing"

	"hushbell/voipcore/voice/heard"
)

// Speech over a network that loses and delays frames is still that speech:
// with the copies, without them, and while the buffer adapts. What the
// network does to a word is judged here, not sample by sample.
func TestSpeechSurvives(t *testing.T) {
	spoken := readVoice(t)
	tests := []struct {
		name   string
		copies bool
		loss   float64
		spread int // frames arrive up to so many pulls late
		heard  bool
	}{
		{"nothing lost", true, 0, 0, true},
		{"1 % lost, no copies", false, 0.01, 0, true},
		{"5 % lost", true, 0.05, 0, true},
		{"1 % lost, jitter of 60 ms", true, 0.01, 3, true},
		{"70 % lost", true, 0.7, 0, false},
	}
	for _, tt := range tests {
		rng := rand.New(rand.NewPCG(3, 4))
		s, err := NewSender(readTape(t), 80, tt.copies)
		if err != nil {
			t.Fatal(err)
		}
		r := newReceiver(t)
		var pcm [FrameSamples]int16
		var out []int16
		late := make(map[int][]sent)
		for n := range 330 {
			f := send(t, s)
			at := n + rng.IntN(tt.spread+1)
			if rng.Float64() >= tt.loss {
				late[at] = append(late[at], f)
			}
			for _, f := range late[n] {
				if err := r.Push(f.timestamp, f.payload); err != nil {
					t.Fatal(err)
				}
			}
			r.Pull(&pcm)
			out = append(out, pcm[:]...)
		}
		res := heard.Compare(spoken, out)
		t.Logf("%-28s %d of %d, score %.3f, delay %v, %+v", tt.name, res.Found, res.Active, res.Score, res.Delay, r.Counters())
		if res.Heard != tt.heard {
			t.Errorf("%s: heard is %v: %+v, %+v", tt.name, res.Heard, res, r.Counters())
		}
	}
}
