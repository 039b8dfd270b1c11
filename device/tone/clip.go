package tone

import (
	"fmt"
	"io"
	"time"

	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/wav"
)

// A Clip is a sound of the owner's, in memory. It is not changed once read, and
// may serve several Players.
type Clip struct{ samples []int16 }

// Bounds of a clip: 15 s are 1.4 MB in memory. A file is not read beyond what
// 15 s take at the highest rate, and some room for titles and pictures.
const (
	MaxClip      = 15 * time.Second
	maxClipBytes = 15*192000*2*2 + 1<<20
)

// ReadClip reads a WAV file: 16 bits, one channel or two, any of the usual
// rates from 8 to 192 kHz, at most MaxClip. A longer one is refused rather than
// cut.
func ReadClip(r io.Reader) (Clip, error) {
	file := &io.LimitedReader{R: r, N: maxClipBytes}
	sound, err := wav.Read(file)
	if err != nil {
		return Clip{}, fmt.Errorf("tone: read clip: %w", err)
	}
	length := time.Duration(len(sound.Samples)) * time.Second / time.Duration(sound.RateHz)
	switch {
	case file.N <= 0 || length > MaxClip:
		return Clip{}, fmt.Errorf("tone: read clip: it is longer than %v", MaxClip)
	case len(sound.Samples) == 0:
		return Clip{}, fmt.Errorf("tone: read clip: it has no samples")
	}
	resampler, err := voice.NewResampler(sound.RateHz)
	if err != nil {
		return Clip{}, fmt.Errorf("tone: read clip: %w", err)
	}
	samples := make([]int16, 0, int(int64(len(sound.Samples))*voice.RateHz/int64(sound.RateHz))+1)
	return Clip{resampler.Flush(resampler.Append(samples, sound.Samples))}, nil
}

// Length is how long the clip lasts.
func (c Clip) Length() time.Duration {
	return time.Duration(len(c.samples)) * time.Second / voice.RateHz
}

// Peak is the loudest sample, as a part of full scale.
func (c Clip) Peak() float64 {
	var peak int16
	for _, v := range c.samples {
		peak = max(peak, v, -max(v, -1<<15+1))
	}
	return float64(peak) / fullScale
}

// waitingPause is between two times of a clip in a call: most countries leave 4
// to 10 s. Other clips that repeat have the pause that their owner gave them.
const waitingPause = 8 * time.Second

// program plays the clip as s is played: over and over, or once.
func (c Clip) program(s Sound) program {
	p := program{loop: -1, segments: []segment{{samples: len(c.samples), clip: c.samples, level: float32(c.Peak())}}}
	if s < Beep {
		p.loop = 0
	}
	if s == Waiting {
		p.segments = append(p.segments, segment{samples: int(waitingPause * voice.RateHz / time.Second)})
	}
	return p
}
