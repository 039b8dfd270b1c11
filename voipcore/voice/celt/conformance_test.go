package celt

import (
	"fmt"
	"math/rand/v2"
	"sync"
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

// allSizes has every size of packet, with all complexities in turn.
func allSizes() (all []Config) {
	for _, samples := range []int{480, 960} {
		for size := PacketBytes(MinBitrate, samples); size <= PacketBytes(MaxBitrate, samples); size++ {
			all = append(all, Config{samples, size, len(all) % (MaxComplexity + 1)})
		}
	}
	return all
}

// TestHourDecodes encodes an hour of mixed sound, in pieces with packets of every size,
// and has libopus and pion decode it: no error, and for every packet their range
// coders end where ours does.
func TestHourDecodes(t *testing.T) {
	prog := buildC(t, "decode")
	all, seconds, speech := allSizes(), 3600, []voice{recorded(t)}
	switch {
	case underRace:
		all, seconds = configs(), 60
	case testing.Short():
		all, seconds = configs(), 120
	default:
		speech = voices(t)
	}
	kinds := append([]sound{{"speech", func(rng *rand.Rand, n int) []int16 {
		v := speech[rng.IntN(len(speech))].pcm
		from := rng.IntN(max(1, len(v)-n))
		out := make([]int16, n)
		copy(out, v[from:])
		return out
	}}}, sounds...)

	var mu sync.Mutex
	encoded := make(map[string]int) // samples of each kind
	t.Run("sizes", func(t *testing.T) {
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
					kind := kinds[rng.IntN(len(kinds))]
					frames := 1 + rng.IntN(100)
					pcm := kind.make(rng, frames*cfg.FrameSamples)
					left -= len(pcm)
					mu.Lock()
					encoded[kind.name] += len(pcm)
					mu.Unlock()
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
	})
	total := 0
	for _, k := range kinds {
		total += encoded[k.name]
		if got := encoded[k.name] / sampleRate; got < seconds/len(kinds)/3 {
			t.Errorf("%d s of %s, want about %d", got, k.name, seconds/len(kinds))
		}
	}
	if got := total / sampleRate; got < seconds {
		t.Errorf("%d s encoded, want %d", got, seconds)
	}
	t.Logf("%d s in %d settings, of them %d s of speech", total/sampleRate, len(all), encoded["speech"]/sampleRate)
}
