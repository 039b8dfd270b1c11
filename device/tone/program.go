package tone

import (
	"math"
	"slices"

	"hushbell/voipcore/voice"
)

// Levels are those of the peak of a tone, as parts of full scale. They are the
// box's own: what networks send is against a line that is not there. Speech has
// peaks of a half.
const (
	toneLevel = 1.0 / 8 // 18 dB below full scale
	beepLevel = 1.0 / 4 // must be heard by all in the room: a microphone is on
	ringLevel = 1.0 / 2 // through the house
	mixLevel  = 1.0 / 4 // no sound is above this in a call
)

const (
	fullScale = 1 << 15

	// rampSamples is how long tones take to come and go: 5 ms is too short to
	// be heard as such, and long enough not to click. It is less than a frame,
	// which render relies on.
	rampSamples = voice.RateHz / 200

	// maxHz is how many frequencies sound together at most.
	maxHz = 2
)

// A segment is a Step, ready to be played: a tone, a clip, or silence, when
// neither inc nor clip is set.
type segment struct {
	samples int
	inc     [maxHz]uint32 // phase per sample, of 2^32
	tones   int           // how many of inc
	mod     uint32        // phase per sample of the modulation
	level   float32       // peak of all together
	clip    []int16
}

// A program is a sound, ready to be played. It is not changed by playing.
type program struct {
	segments []segment
	loop     int // the segment after the last; -1 is the end
}

func (p *program) same(o *program) bool {
	return p.loop == o.loop && slices.EqualFunc(p.segments, o.segments, func(a, b segment) bool {
		return a.samples == b.samples && a.inc == b.inc && a.tones == b.tones && a.mod == b.mod && a.level == b.level && slices.Equal(a.clip, b.clip)
	})
}

// compile makes a program of a cadence, all tones at that level, but for what
// their DB says.
func compile(level float64, c Cadence, loop bool) program {
	p := program{loop: -1}
	if loop {
		p.loop = 0
	}
	for _, step := range c {
		s := segment{
			samples: step.Ms * voice.RateHz / 1000, // whole: 48 samples a millisecond
			mod:     increment(step.ModHz),
			tones:   min(len(step.Hz), maxHz),
			level:   float32(level * math.Pow(10, float64(step.DB)/20)),
		}
		for i := range s.tones {
			s.inc[i] = increment(step.Hz[i])
		}
		p.segments = append(p.segments, s)
	}
	return p
}

// increment is the phase per sample; it is off by 0.00001 Hz at most.
func increment(hz int) uint32 { return uint32((uint64(hz)<<32 + voice.RateHz/2) / voice.RateHz) }

// A track is a program that is being played. The zero value is silence.
type track struct {
	program *program
	ring    bool // has the ring's volume
	segment int
	at      int           // samples of the segment that were played
	phase   [maxHz]uint32 // of the tones
	mod     uint32        // phase of the modulation
	gain    float32       // at the end of the last frame
}

// active is false when there is nothing left to play.
func (t *track) active() bool { return t.program != nil && t.segment < len(t.program.segments) }

// peak is the highest level of the program's segments.
func (t *track) peak() float32 {
	var peak float32
	for i := range t.program.segments {
		peak = max(peak, t.program.segments[i].level)
	}
	return peak
}

// add adds the next frame to mix, and to room how much of full scale each
// sample of it can take at most. The gain goes in a straight line from the last
// frame's to the new one; fade brings the track to silence and ends it.
func (t *track) add(mix, room *[voice.FrameSamples]float32, gain float32, fade bool) {
	slope := (gain - t.gain) / voice.FrameSamples
	end := len(mix)
	if fade {
		end = rampSamples
	}
	for i := 0; i < end && t.active(); {
		s := &t.program.segments[t.segment]
		n := min(end-i, s.samples-t.at)
		if s.tones > 0 || s.clip != nil {
			for k := i; k < i+n; k++ {
				g := (t.gain + slope*float32(k)) * ramp(t.at) * ramp(s.samples-1-t.at)
				if fade {
					g *= ramp(rampSamples - 1 - k)
				}
				mix[k] += g * t.next(s)
				room[k] += g * s.level
				t.at++
			}
		} else {
			t.at += n
		}
		if i += n; t.at == s.samples {
			t.advance()
		}
	}
	t.gain = gain
}

// skip passes over the next frame if it is all in a pause, and is false if not:
// pauses are most of what a box plays.
func (t *track) skip(gain float32) bool {
	s := &t.program.segments[t.segment]
	if s.tones > 0 || s.clip != nil || s.samples-t.at <= voice.FrameSamples {
		return false
	}
	t.at += voice.FrameSamples
	t.gain = gain
	return true
}

// next is the next sample of the segment, without its ramps.
func (t *track) next(s *segment) float32 {
	if s.clip != nil {
		return float32(s.clip[t.at]) / fullScale
	}
	var v float32
	for i := range s.tones {
		v += sine(t.phase[i])
		t.phase[i] += s.inc[i]
	}
	v *= s.level / float32(s.tones)
	if s.mod != 0 { // fully: from silence to the level and back
		v *= 0.5 - 0.5*sine(t.mod+1<<30)
		t.mod += s.mod
	}
	return v
}

func (t *track) advance() {
	t.at, t.phase, t.mod = 0, [maxHz]uint32{}, 0
	if t.segment++; t.segment == len(t.program.segments) && t.program.loop >= 0 {
		t.segment = t.program.loop
	}
}

// Tables: a period of the sine, the first value again at its end; the ramp,
// half a period of a cosine; the gains of the volumes.
var (
	sines = func() (t [1025]float32) {
		for i := range t {
			t[i] = float32(math.Sin(2 * math.Pi * float64(i) / 1024))
		}
		return t
	}()
	ramps = func() (t [rampSamples]float32) {
		for i := range t {
			t[i] = float32(0.5 - 0.5*math.Cos(math.Pi*(float64(i)+0.5)/rampSamples))
		}
		return t
	}()
	gains = func() (t [Full + 1]float32) {
		for i := 1; i < len(t); i++ {
			t[i] = float32(math.Pow(10, (float64(i)-float64(Full))/40))
		}
		return t
	}()
)

// sine is that of phase parts of 2^32 of a period, to 5 parts in a million.
func sine(phase uint32) float32 {
	i, part := phase>>22, float32(phase&(1<<22-1))/(1<<22)
	return sines[i] + (sines[i+1]-sines[i])*part
}

// ramp is the level of the i-th sample from an edge.
func ramp(i int) float32 {
	if i >= rampSamples {
		return 1
	}
	return ramps[i]
}

func sample(v float32) int16 {
	return int16(math.Round(float64(min(max(v*fullScale, math.MinInt16), math.MaxInt16))))
}
