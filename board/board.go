// Package board knows the boards that a box can be made of, and opens their
// parts. So far there is one, the simulated board: its button is pressed by the
// program, its sound is WAV files that are played and recorded in real time.
//
// It knows lines and sound devices; it does not know calls.
package board

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
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

// Options override the profile, or complete it.
type Options struct {
	Microphone string // of the simulated board: the WAV file to speak; "" is silence
	Speaker    string // of the simulated board: the WAV file to record; "" is nowhere
}

// A Board is the open parts of a board. All but its Close is for package device.
type Board struct {
	Name       string
	Microphone *Microphone
	Speaker    *Speaker
	Lamp       *Lamp
	presses    chan struct{}
}

// Moments are those of the call that stands, or of the last one, by the wall
// clock; zero if there was none.
type Moments struct {
	Spoken time.Time // when the first sample of the microphone's file was spoken
	Heard  time.Time // when the first sample in the speaker's file was heard
}

// Open opens the parts of the named board.
func Open(name string, o Options) (*Board, error) {
	if _, ok := profiles[name]; !ok {
		return nil, fmt.Errorf("board: there is no board %q: there is %s", name, strings.Join(Names(), ", "))
	}
	if o.Microphone != "" && filepath.Clean(o.Microphone) == filepath.Clean(o.Speaker) {
		return nil, fmt.Errorf("board: %s is both microphone and speaker: what is spoken would be overwritten", o.Speaker)
	}
	mic, err := openMicrophone(o.Microphone)
	if err != nil {
		return nil, err
	}
	speaker, err := openSpeaker(o.Speaker)
	if err != nil {
		return nil, err
	}
	return &Board{Name: name, Microphone: mic, Speaker: speaker, Lamp: new(Lamp), presses: make(chan struct{})}, nil
}

// Presses is where presses of the button come from.
func (b *Board) Presses() <-chan struct{} { return b.presses }

// Press presses the button of a simulated board, and returns when that was
// taken notice of, or done is closed.
func (b *Board) Press(done <-chan struct{}) {
	select {
	case b.presses <- struct{}{}:
	case <-done:
	}
}

// Moments returns those of the last call.
func (b *Board) Moments() Moments { return Moments{b.Microphone.began(), b.Speaker.began()} }

// Close closes the parts. The files of the speaker are complete then.
func (b *Board) Close() error { return b.Speaker.Close() }
