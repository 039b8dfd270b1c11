// Package board knows the boards that a box can be made of, and opens their
// parts: button and LED through package gpio, sound through package alsa. A part
// that is missing, busy or taken away is a Problem, and is looked for again; it
// keeps nothing else from working.
//
// The button of the simulated board is pressed by the program, and its sound is
// WAV files that are played and recorded in real time.
//
// The package knows lines and sound devices; it does not know calls.
package board

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"hushbell/gpio"
)

// A Profile is what is known of a board: facts, no code.
type Profile struct {
	Title     string // for people
	Simulated bool   // there is no hardware
}

// profiles are all boards, by the name that the configuration has for them.
var profiles = map[string]Profile{
	"sim": {Title: "simulated: WAV files for sound, pressed by the control socket", Simulated: true},
}

// Names returns the names of all boards.
func Names() []string { return slices.Sorted(maps.Keys(profiles)) }

// Options override the profile, or complete it. The simulated board uses
// Microphone and Speaker only.
type Options struct {
	// Microphone and Speaker are sound devices as package alsa names them; ""
	// is the profile's, or what is found. Of the simulated board they are WAV
	// files: what is spoken, "" for silence, and what is recorded, "" for nowhere.
	Microphone, Speaker string
	// The volumes are percent of what the card can do; 0 leaves it as it is.
	MicrophoneVolume, SpeakerVolume int

	Chip       string        // label of the GPIO chip; "" is the profile's
	ButtonLine string        // name or offset; "" is the profile's, NoLine none
	LEDLine    string        // likewise
	ActiveLow  *bool         // the button connects its line to ground; nil: as the profile has it
	LEDLow     *bool         // the LED is lit when its line is at ground; nil: likewise
	Bias       *gpio.Bias    // of the button's line; nil: likewise
	Settle     time.Duration // of the button; 0 is package gpio's

	Log *slog.Logger // told when parts are lost and found; nil for nobody
}

// NoLine is the name of a line that is left out on purpose.
const NoLine = "none"

// A Board is the open parts of a board. All but its Close and Problems is for
// package device.
type Board struct {
	Name       string // of the profile: what was found, if that was asked for
	Microphone Microphone
	Speaker    Speaker
	Lamp       *Lamp
	presses    chan struct{}
	sim        *simulation // nil of a real board
	hardware   *hardware   // nil of a simulated board
}

// Moments are those of the call that stands, or of the last one, by the wall
// clock; zero if there was none.
type Moments struct {
	Spoken time.Time // when the first sample of the microphone's file was spoken
	Heard  time.Time // when the first sample in the speaker's file was heard
}

// find returns the profile of that name.
func find(name string) (Profile, error) {
	p, ok := profiles[name]
	if !ok {
		return Profile{}, fmt.Errorf("board: there is no board %q: there is %s", name, strings.Join(Names(), ", "))
	}
	return p, nil
}

// Wire returns what Open would open of a real board, and opens nothing. The
// error says that there is no such board, or that it is simulated.
func Wire(name string, o Options) (Wiring, error) {
	p, err := find(name)
	if err == nil && p.Simulated {
		err = fmt.Errorf("board: %q has no hardware: it is simulated", name)
	}
	if err != nil {
		return Wiring{}, err
	}
	return wire(name, p, o), nil
}

// Open opens the parts of the named board. Of a real board it fails only if
// there is no such board: see Problems.
func Open(name string, o Options) (*Board, error) {
	p, err := find(name)
	if err != nil {
		return nil, err
	}
	b := &Board{Name: name, presses: make(chan struct{})}
	if p.Simulated {
		if b.sim, err = openSimulation(o); err != nil {
			return nil, err
		}
		b.Microphone, b.Speaker, b.Lamp = b.sim.microphone, b.sim.speaker, new(Lamp)
		return b, nil
	}
	b.hardware = openHardware(wire(name, p, o), kernel, b.presses, o.Log)
	b.Microphone, b.Speaker, b.Lamp = b.hardware.microphone, b.hardware.speaker, &b.hardware.lamp
	return b, nil
}

// Presses is where presses of the button come from.
func (b *Board) Presses() <-chan struct{} { return b.presses }

// Press presses the button by program, and returns when that was taken notice
// of, or done is closed.
func (b *Board) Press(done <-chan struct{}) {
	select {
	case b.presses <- struct{}{}:
	case <-done:
	}
}

// Moments returns those of the last call. A real board has none.
func (b *Board) Moments() Moments {
	if b.sim == nil {
		return Moments{}
	}
	return Moments{b.sim.microphone.began(), b.sim.speaker.began()}
}

// Problems returns what does not work at present. It is looked for again all
// the time, so that nothing needs to be started anew when it is there.
func (b *Board) Problems() []Problem {
	if b.hardware == nil {
		return nil
	}
	return b.hardware.problems()
}

// Close closes the parts. The lamp is dark then, and the files of a simulated
// speaker are complete. It is safe twice, and returns what went wrong.
func (b *Board) Close() error {
	if b.hardware != nil {
		return b.hardware.close()
	}
	return b.sim.speaker.Close()
}
