package celt

import (
	"fmt"
	"testing"
)

// BenchmarkEncode is for 20 ms at 32 kbit/s of recorded speech, or of vowels
// where there is none.
func BenchmarkEncode(b *testing.B) {
	pcm, _, err := readWAV("/usr/share/sounds/alsa/Front_Center.wav")
	if err != nil {
		pcm = sounds[0].make(newRand(1), 2*sampleRate)
	}
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
