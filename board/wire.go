package board

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"hushbell/alsa"
	"hushbell/gpio"
)

// A Wiring is what a real board is opened with: its profile, and what the owner
// has other than that. It is plain data; nothing was looked at to make it.
type Wiring struct {
	Board, Title        string // the name of the profile, and what it says to people
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

// wire is the model with what is stacked on it, and what the owner has other than
// that. sound are the devices that are there.
func wire(m Model, o Options, sound []alsa.Device) Wiring {
	button, led := m.ButtonLine(), m.LEDLine()
	if hat, ok := hatOf(sound); ok && m.Chip != "" {
		if hat.Button != 0 {
			button.Offset = hat.Button
		}
		if hat.LED != 0 {
			led.Offset = hat.LED
		}
	}
	if m.Chip == "" { // the owner's lines are wired as most are
		button.ActiveLow, button.Bias = true, gpio.PullUp
	}
	w := Wiring{
		Board: m.Name, Title: m.Title, Settle: o.Settle,
		Microphone: Sound{o.Microphone, o.MicrophoneVolume},
		Speaker:    Sound{o.Speaker, o.SpeakerVolume},
		Button:     override(button, m.Chip != "", o.Chip, o.ButtonLine, o.ActiveLow),
		LED:        override(led, m.Chip != "", o.Chip, o.LEDLine, o.LEDLow),
	}
	if o.Bias != nil {
		w.Button.Bias = *o.Bias
	}
	if w.Microphone.Device == "" {
		w.Microphone.Device = choose(sound, records)
	}
	if w.Speaker.Device == "" {
		w.Speaker.Device = choose(sound, plays)
	}
	return w
}

// hatOf returns the known sound card that has a button or an LED of its own.
func hatOf(sound []alsa.Device) (SoundCard, bool) {
	for _, d := range sound {
		if c, ok := SoundCardByID(d.Name); ok && (c.Button != 0 || c.LED != 0) {
			return c, true
		}
	}
	return SoundCard{}, false
}

// anyUSB is the id that the kernel gives to simple USB sound cards: what is
// waited for when there are only cards that nobody should hear an intercom of.
const anyUSB = "Device"

// choose returns the device that suits an intercom best: a running sound server,
// then what plays and records, known cards first, then what does the one only.
// With nothing there it is what package alsa finds when it comes ("").
func choose(sound []alsa.Device, d direction) string {
	best, rank, useless := "", 0, false
	for _, s := range sound {
		if s.Name == "pulse" {
			return ""
		}
		if d == records && !s.Capture || d == plays && !s.Playback {
			continue
		}
		at := slices.IndexFunc(soundCards, func(c SoundCard) bool {
			known, ok := SoundCardByID(s.Name)
			return ok && known.Title == c.Title
		})
		if at >= 0 && soundCards[at].Useless {
			useless = true
			continue
		}
		if at < 0 {
			at = len(soundCards)
		}
		if !s.Playback || !s.Capture {
			at += len(soundCards) + 1
		}
		if best == "" || at < rank {
			best, rank = s.Name, at
		}
	}
	if best == "" && useless {
		return anyUSB
	}
	return best
}

// override is a model's line, if it has one, with what the owner says of it: a
// name or an offset, on the model's chip or another.
func override(l gpio.Line, has bool, chip, name string, low *bool) Line {
	if name == NoLine {
		return Line{Err: ErrLeftOut}
	}
	if name == "" && !has {
		return Line{Err: ErrUnset}
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
	return Line{Line: l}
}
