package celt

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pion/opus"
)

// configs are the ends and the middle of what an Encoder can be made for.
func configs() (all []Config) {
	for _, samples := range []int{480, 960} {
		for _, bitrate := range []int{16000, 24000, 32000, 48000, 64000} {
			for _, complexity := range []int{0, 2, MaxComplexity} {
				all = append(all, Config{samples, PacketBytes(bitrate, samples), complexity})
			}
		}
	}
	return all
}

// TestHourDecodes encodes an hour of mixed sound, in pieces with all settings, and
// has libopus and pion decode it: no error, and their final range is ours.
func TestHourDecodes(t *testing.T) {
	prog := buildC(t, "decode")
	seconds := 3600
	if testing.Short() {
		seconds = 120
	}
	if underRace {
		seconds = 60
	}
	all := configs()
	for i, cfg := range all {
		t.Run(fmt.Sprint(cfg), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(i), 4))
			e, err := NewEncoder(cfg)
			if err != nil {
				t.Fatal(err)
			}
			dec, err := opus.NewDecoderWithOutput(sampleRate, 1)
			if err != nil {
				t.Fatal(err)
			}
			var s stream
			packet, out := make([]byte, cfg.PacketBytes), make([]int16, maxFrame)
			for left := seconds * sampleRate / len(all); left > 0; {
				kind := sounds[rng.IntN(len(sounds))]
				frames := 1 + rng.IntN(100)
				pcm := kind.make(rng, frames*cfg.FrameSamples)
				left -= len(pcm)
				for f := range frames {
					n, err := e.Encode(pcm[f*cfg.FrameSamples:], packet)
					if err != nil || n != cfg.PacketBytes {
						t.Fatalf("%s: Encode gave %d bytes and error %v, want %d bytes", kind.name, n, err, cfg.PacketBytes)
					}
					s.add(e, packet)
					if n, err := dec.DecodeToInt16(packet, out); err != nil || n != cfg.FrameSamples {
						t.Fatalf("%s: pion decoded %d samples with error %v, want %d", kind.name, n, err, cfg.FrameSamples)
					}
					if got, want := pionRange(&dec), e.FinalRange(); got != want {
						t.Fatalf("%s: pion's final range is %08x, want %08x", kind.name, got, want)
					}
				}
			}
			decodeC(t, prog, &s)
		})
	}
}
