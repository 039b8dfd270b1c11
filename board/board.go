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
	b := &Board{Name: name, presses: make(chan struct{})}
	if name == Sim {
		sim, err := openSimulation(o)
		if err != nil {
			return nil, err
		}
		b.sim, b.Microphone, b.Speaker, b.Lamp = sim, sim.microphone, sim.speaker, new(Lamp)
		return b, nil
	}
	w, err := Wire(name, o)
	if err != nil {
		return nil, err
	}
	b.Name, b.hardware = w.Board, openHardware(w, kernel, b.presses, o.Log)
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
