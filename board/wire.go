package board

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hushbell/alsa"
	"hushbell/gpio"
)

// A Wiring is what a real board is opened with: its profile, and what the owner
// has other than that. It is plain data; nothing was looked at to make it.
type Wiring struct {
	Board, Title        string // the name of the profile, and what it says to people
	Buttons, LEDs       []Line // one of each at least, which may have an Err
	Outputs             []Line
	Microphone, Speaker Sound
}

// A Line is a line of the board, or none.
type Line struct {
	Label string // the owner's name for what is at the line; "" if it has none
	Part  Part   // the same for messages: "button", "button gate"
	gpio.Line
	Timing gpio.Timing // of a button
	Err    error       // why there is none: ErrUnset, ErrLeftOut or ErrTwice
}

// A Sound is one direction of sound.
type Sound struct {
	Device string // as package alsa has it, "" for what is found
	Volume int    // percent; 0: as the card is set
	Named  bool   // Device is the owner's; else it suited best when the Wiring was made
}

// look names the device at each look for one. What the owner has not named may be
// another then: a card that was plugged in late, or in the place of one that broke.
func (s Sound) look(d direction, present func(context.Context) ([]alsa.Device, error)) func(context.Context) string {
	return func(ctx context.Context) string {
		if !s.Named {
			if sound, err := present(ctx); err == nil {
				return choose(sound, d)
			}
		}
		return s.Device
	}
}

// Why a board has no line for a part.
var (
	ErrUnset   = errors.New("no line is set")
	ErrLeftOut = errors.New("the configuration says that there is none")
	ErrTwice   = errors.New("two parts cannot share a line")
)

// wire is the model with what is stacked on it, and what the owner has other than
// that. sound are the devices that are there.
func wire(m Model, o Options, sound []alsa.Device) Wiring {
	w := Wiring{
		Board: m.Name, Title: m.Title,
		Microphone: Sound{o.Microphone, o.MicrophoneVolume, o.Microphone != ""},
		Speaker:    Sound{o.Speaker, o.SpeakerVolume, o.Speaker != ""},
	}
	if !w.Microphone.Named {
		w.Microphone.Device = choose(sound, records)
	}
	if !w.Speaker.Named {
		w.Speaker.Device = choose(sound, plays)
	}
	w.wireLines(m, o, sound)
	return w
}

// wireLines gives the lines of the model to the first button and the first LED.
// All others have the line that the owner names.
func (w *Wiring) wireLines(m Model, o Options, sound []alsa.Device) {
	button, led := m.ButtonLine(), m.LEDLine()
	if hat, ok := hatOf(sound); ok && m.Chip != "" {
		if hat.Button != 0 {
			button.Offset = hat.Button
		}
		if hat.LED != 0 {
			led.Offset = hat.LED
		}
	}
	button.ActiveLow, button.Bias = true, gpio.PullUp // as most are wired
	if o.Bias != nil {
		button.Bias = *o.Bias
	}
	first := m.Chip != "" // of the model's lines there is one
	for i, b := range someButtons(o) {
		l := b.LineOptions.override(button, first && i == 0, o.Chip, o.ActiveLow)
		l.Part, l.Timing = partOf(ButtonPart, b.Name), b.Timing
		if b.Bias != nil {
			l.Bias = *b.Bias
		}
		if l.Timing.Settle == 0 {
			l.Timing.Settle = o.Settle
		}
		w.Buttons = append(w.Buttons, l)
	}
	for i, b := range someLEDs(o) {
		l := b.override(led, first && i == 0, o.Chip, o.LEDLow)
		l.Part = partOf(LEDPart, b.Name)
		w.LEDs = append(w.LEDs, l)
	}
	for _, b := range o.Outputs {
		l := b.override(gpio.Line{Chip: m.Chip}, false, o.Chip, nil)
		l.Part = partOf(OutputPart, b.Name)
		w.Outputs = append(w.Outputs, l)
	}
	w.separate()
}

// separate leaves each line to one part: first to the outputs, since a LED at the line of
// a door would open it, and to buttons before LEDs.
func (w *Wiring) separate() {
	var taken []Line
	for _, lines := range [][]Line{w.Outputs, w.Buttons, w.LEDs} {
		for i := range lines {
			l := &lines[i]
			if l.Err != nil {
				continue
			}
			if at := slices.IndexFunc(taken, func(t Line) bool { return sameLine(t.Line, l.Line) }); at >= 0 {
				l.Err = fmt.Errorf("%w: %v is that of %s", ErrTwice, l.Line, taken[at].Part)
				continue
			}
			taken = append(taken, *l)
		}
	}
}

// sameLine reports whether two lines are one, as far as their names tell: on a Pi GPIO17
// is line 17.
func sameLine(a, b gpio.Line) bool {
	for _, l := range []*gpio.Line{&a, &b} {
		if n, found := strings.CutPrefix(l.Name, "GPIO"); found && strings.HasPrefix(l.Chip, "pinctrl-") {
			if offset, err := strconv.Atoi(n); err == nil {
				l.Name, l.Offset = "", offset
			}
		}
	}
	return a.Chip == b.Chip && a.Name == b.Name && (a.Name != "" || a.Offset == b.Offset)
}

// someButtons are the buttons, one at least. The first may have its line from
// Options.ButtonLine.
func someButtons(o Options) []ButtonOptions {
	all := slices.Clone(o.Buttons)
	if len(all) == 0 {
		all = make([]ButtonOptions, 1)
	}
	if all[0].Line == "" {
		all[0].Line = o.ButtonLine
	}
	return all
}

// someLEDs is for LEDs what someButtons is for buttons.
func someLEDs(o Options) []LineOptions {
	all := slices.Clone(o.LEDs)
	if len(all) == 0 {
		all = make([]LineOptions, 1)
	}
	if all[0].Line == "" {
		all[0].Line = o.LEDLine
	}
	return all
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

// override is a model's line, if it is to be had, with what the owner says of it:
// a name or an offset, on the model's chip or another. chip and low are for what
// o leaves out.
func (o LineOptions) override(l gpio.Line, has bool, chip string, low *bool) Line {
	none := Line{Label: o.Name}
	if o.Line == NoLine {
		none.Err = ErrLeftOut
		return none
	}
	if o.Line == "" && !has {
		none.Err = ErrUnset
		return none
	}
	if chip = cmp.Or(o.Chip, chip); chip != "" {
		l.Chip = chip
	}
	if low = cmp.Or(o.ActiveLow, low); low != nil {
		l.ActiveLow = *low
	}
	if offset, err := strconv.Atoi(o.Line); err == nil {
		l.Name, l.Offset = "", offset
	} else if o.Line != "" {
		l.Name = o.Line
	}
	return Line{Label: o.Name, Line: l}
}
