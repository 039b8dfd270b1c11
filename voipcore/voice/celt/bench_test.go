package celt

import (
	"fmt"
	"os"
	"testing"
)

// BenchmarkEncode is for 20 ms at 32 kbit/s of recorded speech, or of vowels
// where there is none.
func BenchmarkEncode(b *testing.B) {
	pcm := speedVoice()
	for _, complexity := range []int{0, MaxComplexity} {
		b.Run(fmt.Sprint(complexity), func(b *testing.B) {
			e, err := NewEncoder(Config{960, 80, complexity})
			if err != nil {
				b.Fatal(err)
			}
			packet := make([]byte, 80)
			b.ReportAllocs()
			at := 0
			for b.Loop() {
				if at+960 > len(pcm) {
					at = 0
				}
				if _, err := e.Encode(pcm[at:], packet); err != nil {
					b.Fatal(err)
				}
				at += 960
			}
		})
	}
}

// TestLoop encodes CELT_FRAMES frames of 20 ms at 32 kbit/s and nothing else: the load
// under which instructions are counted.
func TestLoop(t *testing.T) {
	var frames, complexity int
	if n, _ := fmt.Sscan(os.Getenv("CELT_LOOP"), &frames, &complexity); n != 2 {
		t.Skip("runs on behalf of the instruction count only")
	}
	pcm := speedVoice()
	e, err := NewEncoder(Config{960, 80, complexity})
	if err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, 80)
	for f := range frames {
		if _, err := e.Encode(pcm[f%(len(pcm)/960)*960:], packet); err != nil {
			t.Fatal(err)
		}
	}
}
