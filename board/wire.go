package board

import (
	"errors"
	"strconv"
	"time"

	"hushbell/gpio"
)

// A Wiring is what a real board is opened with: its profile, and what the owner
// has other than that. It is plain data; nothing was looked at to make it.
type Wiring struct {
	Board               string // the name of the profile
	Button, LED         Line
	Settle              time.Duration // of the button; 0: package gpio's
	Microphone, Speaker Sound
}

// A Line is a line of the board, or none.
type Line struct {
	gpio.Line
	Err error // why there is none: ErrUnset or ErrLeftOut
}

// A Sound is one direction of sound.
type Sound struct {
	Device string // as package alsa has it, "" for what is found
	Volume int    // percent; 0: as the card is set
}

// Why a board has no button or no LED.
var (
	ErrUnset   = errors.New("no line is set")
	ErrLeftOut = errors.New("the configuration says that there is none")
)

// wire is the profile with what the owner has other than that.
func wire(name string, p Profile, o Options) Wiring {
	w := Wiring{
		Board: name, Settle: o.Settle,
		Microphone: Sound{o.Microphone, o.MicrophoneVolume},
		Speaker:    Sound{o.Speaker, o.SpeakerVolume},
		Button:     override(gpio.Line{ActiveLow: true, Bias: gpio.PullUp}, o.Chip, o.ButtonLine, o.ActiveLow),
		LED:        override(gpio.Line{}, o.Chip, o.LEDLine, o.LEDLow),
	}
	if o.Bias != nil {
		w.Button.Bias = *o.Bias
	}
	return w
}

// override is a profile's line with what the owner says of it: a name or an
// offset, on the profile's chip or another.
func override(l gpio.Line, chip, name string, low *bool) Line {
	if name == NoLine {
		return Line{Err: ErrLeftOut}
	}
	if chip != "" {
		l.Chip = chip
	}
	if low != nil {
		l.ActiveLow = *low
	}
	if offset, err := strconv.Atoi(name); err == nil {
		l.Name, l.Offset = "", offset
	} else if name != "" {
		l.Name = name
	}
	if l.Name == "" && name == "" && l.Offset == 0 {
		return Line{Err: ErrUnset}
	}
	return Line{Line: l}
}
