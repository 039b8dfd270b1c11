// Package board knows the boards that a box can be made of, and opens their
// parts: buttons, LEDs and outputs through package gpio, sound through package
// alsa. A part that is missing, busy or taken away is a Problem, and is looked for
// again; it keeps nothing else from working.
//
// The simulated board has no buttons but those of the program; its sound is WAV
// files that are played and recorded in real time.
//
// The package knows lines and sound devices; it does not know calls.
package board

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"hushbell/alsa"
	"hushbell/gpio"
)

// Sim is the name of the simulated board.
const Sim = "sim"

// deviceTree is where the kernel shows what machine this is.
const deviceTree = "/proc/device-tree"

// Options override the profile, or complete it. The simulated board uses
// Microphone and Speaker only.
type Options struct {
	// Microphone and Speaker are sound devices as package alsa names them; ""
	// is the profile's, or what is found. Of the simulated board they are WAV
	// files: what is spoken, "" for silence, and what is recorded, "" for nowhere.
	Microphone, Speaker string
	// The volumes are percent of what the card can do; 0 leaves it as it is.
	MicrophoneVolume, SpeakerVolume int

	// Of all lines, the first button and the first LED. "" and nil are as the
	// profile has it.

	Chip       string        // label of the GPIO chip
	ButtonLine string        // name or offset of the first button's line; NoLine: it has none
	LEDLine    string        // likewise of the first LED
	ActiveLow  *bool         // a button connects its line to ground
	LEDLow     *bool         // a LED is lit when its line is at ground
	Bias       *gpio.Bias    // of buttons' lines
	Settle     time.Duration // of buttons; 0 is package gpio's

	Buttons []ButtonOptions // none: one, without a name
	LEDs    []LineOptions   // likewise
	Outputs []LineOptions   // what is switched, such as a door's release

	Log *slog.Logger // told when parts are lost and found; nil for nobody
}

// LineOptions are what is different with one of several lines.
type LineOptions struct {
	Name      string // what the owner calls it, each part of a kind otherwise
	Line      string // name or offset; "" is the profile's, which has one for the first button and LED
	Chip      string // "" is Options.Chip
	ActiveLow *bool  // nil is that of Options; of an output false
}

// ButtonOptions are what is different with one of several buttons.
type ButtonOptions struct {
	LineOptions
	Bias   *gpio.Bias  // nil is Options.Bias
	Timing gpio.Timing // which gestures it has; a Settle of 0 is Options.Settle
}

// NoLine is the name of a line that is left out on purpose.
const NoLine = "none"

// A Board is the open parts of a board. All but its Close and Problems is for
// package device.
type Board struct {
	Name       string // of the profile: what was found, if that was asked for
	Microphone Microphone
	Speaker    Speaker
	Lamp       *Lamp // the first LED

	lamps    map[string]*Lamp   // by LineOptions.Name; constant
	outputs  map[string]*Output // likewise
	gestures chan Gesture
	sim      *simulation // nil of a real board
	hardware *hardware   // nil of a simulated board
}

// Moments are those of the call that stands, or of the last one, by the wall
// clock; zero if there was none.
type Moments struct {
	Spoken time.Time // when the first sample of the microphone's file was spoken
	Heard  time.Time // when the first sample in the speaker's file was heard
}

// Wire returns what Open would open of a real board, and opens nothing for
// longer than it takes to see which sound cards there are. The error says that
// there is no such board, or that it is simulated.
func Wire(name string, o Options) (Wiring, error) {
	if name == Sim {
		return Wiring{}, fmt.Errorf("board: %q has no hardware: it is simulated", name)
	}
	m, err := FindModel(name, os.DirFS(deviceTree))
	if err != nil {
		return Wiring{}, fmt.Errorf("%w, or %s", err, Sim)
	}
	sound, err := alsa.List()
	if err != nil {
		sound = nil // whoever opens the devices learns what is wrong
	}
	return wire(m, o, sound), nil
}

// Open opens the parts of the named board: a model's name, Auto, or Sim. Of a
// real board it fails only if there is no such board: see Problems.
func Open(name string, o Options) (*Board, error) {
	b := &Board{
		Name: name, gestures: make(chan Gesture), lamps: map[string]*Lamp{}, outputs: map[string]*Output{},
	}
	if name == Sim {
		sim, err := openSimulation(o)
		if err != nil {
			return nil, err
		}
		b.sim, b.Microphone, b.Speaker = sim, sim.microphone, sim.speaker
		b.wired(sim.lamps, someLEDs(o), sim.outputs, o.Outputs)
		return b, nil
	}
	w, err := Wire(name, o)
	if err != nil {
		return nil, err
	}
	b.Name, b.hardware = w.Board, openHardware(w, kernel, b.gestures, o.Log)
	b.Microphone, b.Speaker = b.hardware.microphone, b.hardware.speaker
	b.wired(b.hardware.lamps, someLEDs(o), b.hardware.outputs, o.Outputs)
	return b, nil
}

// wired enters LEDs and outputs by their names.
func (b *Board) wired(lamps []*Lamp, leds []LineOptions, outputs []*Output, outs []LineOptions) {
	b.Lamp = lamps[0]
	for i, o := range leds {
		b.lamps[o.Name] = lamps[i]
	}
	for i, o := range outs {
		b.outputs[o.Name] = outputs[i]
	}
}

// LED returns the LED of that name in the Options, nil if there is none. One
// that is not connected is a Lamp all the same.
func (b *Board) LED(name string) *Lamp { return b.lamps[name] }

// Output returns the output of that name in the Options, nil if there is none.
func (b *Board) Output(name string) *Output { return b.outputs[name] }

// Gestures is where gestures of all buttons come from. One that nobody takes
// within a second is lost; but who has taken a TalkStart gets its TalkEnd.
func (b *Board) Gestures() <-chan Gesture { return b.gestures }

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

// Close closes the parts. LEDs are dark and outputs off then, and the files of a
// simulated speaker are complete. It is safe twice, and returns what went wrong.
func (b *Board) Close() error {
	if b.hardware != nil {
		return b.hardware.close()
	}
	return b.sim.close()
}
