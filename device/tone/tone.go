// Package tone makes the sounds that a person hears from a box: ringing, the
// tones of a call that goes on or fails, beeps. They are made by the program
// after the telephone networks of a country (Countries), or they are a WAV file
// of the owner (ReadClip).
//
//	behaviour -- Play, Stop --> Player --> Fill: a frame of sound, or silence
//	                                   --> Mix:  the same, into a frame of call audio
//
// A Player plays one sound at a time. A sound that replaces another, or that
// stops, is faded within one frame, so nothing clicks; cadences are counted in
// samples and stay exact for as long as they last. No frame allocates.
//
// It knows no calls, no loudspeaker and no clock: which sound belongs to which
// state is package device's affair, and time passes by frames taken.
package tone

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"hushbell/voipcore/voice"
)

// A Sound is one of the sounds that a person hears.
type Sound uint8

// Sounds. The first five go on until they are stopped, the others end.
const (
	None        Sound = iota
	Ring              // here: somebody calls
	Ringback          // the far end is being called
	Busy              // the far end is in another call
	Unreachable       // there is no way to the far end
	Waiting           // somebody else calls, in a call
	Beep              // the box has answered by itself
	HangUp            // the call is over
	Connected         // the far end has answered
	Click             // a press was taken
	sounds
)

var names = [sounds]string{"none", "ring", "ringback", "busy", "unreachable", "call-waiting", "beep", "hang-up", "connected", "click"}

// String is the name that the configuration has for the sound.
func (s Sound) String() string {
	if s >= sounds {
		return fmt.Sprintf("sound %d", uint8(s))
	}
	return names[s]
}

// ParseSound is the inverse of String.
func ParseSound(name string) (Sound, error) {
	if i := slices.Index(names[:], name); i > 0 {
		return Sound(i), nil
	}
	return None, fmt.Errorf("tone: there is no sound %q: there is %s", name, strings.Join(names[1:], ", "))
}

// Countries returns the tones of all countries, the default first. The list is
// the caller's, the cadences in it are not: they must not be changed.
func Countries() []Tones { return slices.Clone(countries) }

// tonesOf returns the tones of a country by its code, in any case; "" is the
// default.
func tonesOf(code string) (*Tones, error) {
	if code == "" {
		code = DefaultCountry
	}
	var codes []string
	for i := range countries {
		if strings.EqualFold(countries[i].Code, code) {
			return &countries[i], nil
		}
		codes = append(codes, countries[i].Code)
	}
	return nil, fmt.Errorf("tone: there are no tones of %q: there are %s", code, strings.Join(codes, ", "))
}

// CheckCountry returns an error if there are no tones of that code.
func CheckCountry(code string) error {
	_, err := tonesOf(code)
	return err
}

// A Volume is in percent, 0 to 100; 0 is silence. One percent is half a
// decibel, so 50 is 25 dB below 100.
type Volume int

// Full is as loud as the sound was made.
const Full Volume = 100

// Options say what a Player has to play. The zero value is good: the tones of
// DefaultCountry at full volume.
type Options struct {
	Country string         // a code of Countries; "" is DefaultCountry
	Clips   map[Sound]Clip // sounds of the owner's, instead of ours
}

// A Player plays one sound at a time into frames of 20 ms. Fill and Mix may be
// called from one goroutine, which is that of the loudspeaker, all else from any.
type Player struct {
	programs [sounds]program // set by New, then constant

	order  atomic.Uint32 // what to play: number of the order, and the sound in the low 8 bits
	volume atomic.Uint32 // of ring and of all others, 8 bits each
	done   atomic.Uint32 // the last order that has become silence

	taken    uint32 // the order that now serves
	now, old track  // old is being faded, in the frame in which it was replaced
	mix      [voice.FrameSamples]float32
	room     [voice.FrameSamples]float32 // how much of full scale mix may take, sample by sample
}

// New returns a Player that is silent.
func New(o Options) (*Player, error) {
	t, err := tonesOf(o.Country)
	if err != nil {
		return nil, err
	}
	p := &Player{programs: [sounds]program{
		None:        {loop: -1},
		Ring:        compile(ringLevel, bell(t.Ring), true),
		Ringback:    compile(toneLevel, t.Ringback, true),
		Busy:        compile(toneLevel, t.Busy, true),
		Unreachable: compile(toneLevel, append(slices.Clone(t.Information), t.Congestion...), true),
		Waiting:     compile(toneLevel, t.Waiting, true),
		Beep:        compile(beepLevel, beep, false),
		HangUp:      compile(toneLevel, hangUp, false),
		Connected:   compile(toneLevel, connected, false),
		Click:       compile(toneLevel, click, false),
	}}
	// The information tone is heard once, and then the congestion tone.
	p.programs[Unreachable].loop = len(t.Information)
	for s, clip := range o.Clips {
		if s == None || s >= sounds {
			return nil, fmt.Errorf("tone: a clip for %v, which is no sound", s)
		}
		if len(clip.samples) == 0 {
			return nil, fmt.Errorf("tone: a clip without samples for %v", s)
		}
		p.programs[s] = clip.program(s)
	}
	p.SetVolume(Full, Full)
	return p, nil
}

// SetVolume sets the volume of Ring, and that of all other sounds. Volumes out
// of range are the nearest in range.
func (p *Player) SetVolume(ring, talk Volume) {
	ring, talk = min(max(ring, 0), Full), min(max(talk, 0), Full)
	p.volume.Store(uint32(ring)<<8 | uint32(talk))
}

// Play begins a sound with the next frame, instead of the one that plays. The
// same sound begins anew. None is Stop, and so is what is no sound.
func (p *Player) Play(s Sound) {
	if s >= sounds {
		s = None
	}
	for {
		was := p.order.Load()
		if p.order.CompareAndSwap(was, (was>>8+1)<<8|uint32(s)) {
			return
		}
	}
}

// Stop ends the sound: it is faded within the next frame, of which the last
// samples are silence.
func (p *Player) Stop() { p.Play(None) }

// Playing returns the sound that Sounding is about, None if it is false.
func (p *Player) Playing() Sound {
	if order := p.order.Load(); order != p.done.Load() {
		return Sound(order & 0xff)
	}
	return None
}

// Same reports whether all sounds of both are the same, and as loud.
func (p *Player) Same(o *Player) bool {
	if p.volume.Load() != o.volume.Load() {
		return false
	}
	for s := range p.programs {
		if !p.programs[s].same(&o.programs[s]) {
			return false
		}
	}
	return true
}

// Sounding is true from Play until the last sample was taken of a sound that
// ends, or that was stopped. The pauses of a cadence are part of it.
func (p *Player) Sounding() bool {
	order := p.order.Load()
	return order != p.done.Load()
}

// Fill writes the next frame of the sound, or silence.
func (p *Player) Fill(pcm *[voice.FrameSamples]int16) {
	if !p.render(1) {
		*pcm = [voice.FrameSamples]int16{}
		return
	}
	for i, v := range &p.mix {
		pcm[i] = sample(v)
	}
}

// Mix adds the next frame of the sound to call audio. What the sound needs of
// full scale the call gives way by, so that the sum never overdrives: 1 dB for
// a tone at full volume. Over a call no sound is louder than a quarter of full
// scale.
func (p *Player) Mix(pcm *[voice.FrameSamples]int16) {
	if !p.render(mixLevel) {
		return
	}
	for i, v := range &p.mix {
		pcm[i] = sample(v + float32(pcm[i])/fullScale*max(0, 1-p.room[i]))
	}
}

// render makes the next frame in mix and room, none of it above limit. It is
// false if the frame is silence.
func (p *Player) render(limit float32) bool {
	order := p.order.Load()
	if order != p.taken {
		// The old sound is gone by the end of this frame, so there are never
		// more than two.
		p.old, p.now = p.now, track{program: &p.programs[order&0xff], ring: Sound(order&0xff) == Ring}
		p.taken = order
		p.now.gain = p.gain(&p.now, limit) // begins with its volume, not with a fade from the last one's
	}
	if !p.now.active() && !p.old.active() {
		p.done.Store(p.taken)
		return false
	}
	if !p.old.active() && p.now.skip(p.gain(&p.now, limit)) {
		return false
	}
	p.mix, p.room = [voice.FrameSamples]float32{}, [voice.FrameSamples]float32{}
	if p.old.active() {
		p.old.add(&p.mix, &p.room, p.gain(&p.old, limit), true)
		p.old = track{}
	}
	if p.now.active() {
		p.now.add(&p.mix, &p.room, p.gain(&p.now, limit), false)
	}
	if !p.now.active() {
		p.done.Store(p.taken)
	}
	return true
}

// gain is the volume of the track, so that it is not above limit.
func (p *Player) gain(t *track, limit float32) float32 {
	v := p.volume.Load()
	if t.ring {
		v >>= 8
	}
	return min(gains[v&0xff], limit/max(t.peak(), limit))
}
