// Command celtenc encodes a WAV file as Ogg Opus with this project's encoder, so
// that anyone can judge it with any player.
//
//	celtenc [-bitrate 32000] [-frame 20] [-complexity 5] in.wav out.opus
//
// The input is 16-bit PCM, mono or stereo, of any usual rate; it is made mono and 48 kHz.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/celt"
	"hushbell/voipcore/voice/wav"
)

func main() {
	bitrate := flag.Int("bitrate", 32000, "bits per second, 16000 to 64000")
	frame := flag.Int("frame", 20, "milliseconds in a packet, 10 or 20")
	complexity := flag.Int("complexity", celt.MaxComplexity, "effort, 0 to 5")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: celtenc [flags] in.wav out.opus")
		fmt.Fprintln(os.Stderr, "Encodes a WAV file (16 bit, mono or stereo) as Ogg Opus, which any player opens.")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	cfg, err := config(*bitrate, *frame, *complexity)
	if err != nil {
		fmt.Fprintln(os.Stderr, "celtenc:", err)
		os.Exit(2)
	}
	if err := run(cfg, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "celtenc:", err)
		os.Exit(1)
	}
}

// config checks the flags and says in their terms what is wrong.
func config(bitrate, frame, complexity int) (celt.Config, error) {
	switch {
	case bitrate < celt.MinBitrate || bitrate > celt.MaxBitrate:
		return celt.Config{}, fmt.Errorf("-bitrate %d: want %d to %d", bitrate, celt.MinBitrate, celt.MaxBitrate)
	case frame != 10 && frame != 20:
		return celt.Config{}, fmt.Errorf("-frame %d: want 10 or 20", frame)
	case complexity < 0 || complexity > celt.MaxComplexity:
		return celt.Config{}, fmt.Errorf("-complexity %d: want 0 to %d", complexity, celt.MaxComplexity)
	}
	samples := frame * voice.RateHz / 1000
	return celt.Config{FrameSamples: samples, PacketBytes: celt.PacketBytes(bitrate, samples), Complexity: complexity}, nil
}

// run encodes a file. On an error the output is removed.
func run(cfg celt.Config, in, out string) (err error) {
	r, err := os.Open(in)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if e := w.Close(); err == nil {
			err = e
		}
		if err != nil {
			err = errors.Join(err, os.Remove(out))
		}
	}()
	buffered := bufio.NewWriter(w)
	if err := encode(cfg, bufio.NewReader(r), buffered); err != nil {
		return fmt.Errorf("encode %s: %w", in, err)
	}
	return buffered.Flush()
}

// encode reads WAV and writes Ogg Opus.
func encode(cfg celt.Config, r io.Reader, w io.Writer) error {
	e, err := celt.NewEncoder(cfg)
	if err != nil {
		return err
	}
	sound, err := wav.Read(r)
	if err != nil {
		return err
	}
	resampler, err := voice.NewResampler(sound.RateHz)
	if err != nil {
		return err
	}
	sound.Samples = resampler.Flush(resampler.Append(nil, sound.Samples))
	ogg, err := newOggOpus(w, cfg.FrameSamples)
	if err != nil {
		return err
	}
	pcm := make([]int16, cfg.FrameSamples)
	packet := make([]byte, cfg.PacketBytes)
	for {
		n := copy(pcm, sound.Samples)
		clear(pcm[n:])
		sound.Samples = sound.Samples[n:]
		if _, err := e.Encode(pcm, packet); err != nil {
			return err
		}
		// The sound is late by celt.Delay, so a last frame that is nearly
		// full needs one more packet to come out.
		if err := ogg.write(packet, n); err != nil {
			return err
		}
		if n < len(pcm) {
			if n+celt.Delay > len(pcm) {
				clear(pcm)
				if _, err := e.Encode(pcm, packet); err != nil {
					return err
				}
				if err := ogg.write(packet, 0); err != nil {
					return err
				}
			}
			return ogg.close()
		}
	}
}
