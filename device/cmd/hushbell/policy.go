package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hushbell/board"
	"hushbell/device"
	"hushbell/device/config"
	"hushbell/device/tone"
	"hushbell/gpio"
	"hushbell/voipcore"
)

// exampleBehaviour is every key that says how a box behaves. A test reads it.
const exampleBehaviour = `unknown = "silent"         # who is no contact: ring, refuse, or silent, as if nobody was
                           # at home; left out: refuse
max_call = "1h"            # the longest call; "0s": for ever
[groups]                   # contacts that are called together
house = ["kitchen", "workshop"]
[button]
call = "house"             # what a press calls, while there is no call: who answers first
long = "page house"        # held for a second: page NAME (all hear), call NAME, dnd, hang up,
                           # or door: opens that of the far end, in a call
double = "dnd"             # pressed twice: likewise; dnd turns do-not-disturb on and off.
                           # With long or double a press counts when the finger goes up,
                           # with double 0.4 s later; without them at once
[button2]                  # up to [button8]
line = "GPIO27"            # where it is; that of [button] is button_line of [board]
press = "page house"       # in place of call
talk = true                # push to talk: the microphone is on only while it is held
[dnd]
schedule = ["22:00-07:00", "sat-sun 13:00-15:00"]
[sounds]
country = "de"             # whose tones; left out: those that ITU-T E.180 recommends
ring_volume = 100          # percent
tone_volume = 80           # percent, of all other tones
ring = "bell.wav"          # a WAV file in place of ours; so are ringback, busy,
                           # unreachable, call_waiting, beep and hang_up
[door]                     # a contact opens it in a call by showing the PIN: hushbell door
line = "GPIO24"
active_low = false
open = "3s"
pin_file = "door.pin"      # holds the PIN; readable by the box's user only
far_pin_file = "far.pin"   # the PIN of another box's door, for a button that opens it`

// policyOf is what a running box can be told anew. file is that of the configuration,
// in whose folder the files are that it names, open what opens the door.
func policyOf(cfg *config.Config, state, file string, open func(time.Duration) error) (device.Policy, error) {
	cs, err := readContacts(state)
	if err != nil {
		return device.Policy{}, err
	}
	here := newZone(localtime)
	p := device.Policy{
		Unknown: map[config.Unknown]voipcore.Welcome{
			config.Refuse: voipcore.Decline, config.Ring: voipcore.Ring, config.Silent: voipcore.Silent,
		}[cfg.Unknown],
		MaxCall: cfg.MaxCall, Buttons: map[string]device.Button{},
		Quiet: func(t time.Time) bool { return cfg.DND.Schedule.Active(t.In(here.location())) },
	}
	for _, c := range cs {
		p.Contacts = append(p.Contacts, device.Contact{Name: c.Name, PID: c.PID, Answer: c.Answer})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Groups)) {
		p.Groups = append(p.Groups, device.Group{Name: name, Members: cfg.Groups[name]})
	}
	for _, b := range cfg.Buttons() {
		p.Buttons[b.Name] = device.Button{Press: actionOf(b.Pressed()), Long: actionOf(b.Long), Double: actionOf(b.Double)}
	}
	p.PushToTalk = pushToTalk(cfg)
	var errs []error
	wrong := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("config: %s: %s: %w", file, key, err))
		}
	}
	folder := filepath.Dir(file)
	p.Tones = tonesOf(&cfg.Sounds, folder, wrong)
	if cfg.Door.PINFile != "" {
		pin, err := readPIN(inFolder(folder, cfg.Door.PINFile))
		wrong("door.pin_file", err)
		p.Door = &device.Door{PIN: pin, Open: func() error { return open(cfg.Door.Open) }}
	}
	if cfg.Door.FarPINFile != "" {
		p.FarPIN, err = readPIN(inFolder(folder, cfg.Door.FarPINFile))
		wrong("door.far_pin_file", err)
	}
	return p, errors.Join(errs...)
}

// pushToTalk reports whether the microphone is on only while a button is held.
func pushToTalk(cfg *config.Config) bool {
	return slices.ContainsFunc(cfg.Buttons(), func(b config.NamedButton) bool { return b.Talk })
}

// inFolder is a path as a configuration in that folder has it.
func inFolder(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// actionOf is an action of the configuration. Check has looked at it.
func actionOf(a config.Action) device.Action {
	what, who := a.Split()
	return device.Action{Do: map[string]device.ActionKind{
		config.CallAction: device.DoCall, config.PageAction: device.DoPage,
		config.DNDAction: device.DoQuiet, config.HangUpAction: device.DoHangUp, config.DoorAction: device.DoDoor,
	}[what], Who: who}
}

// leastBeep is how loud a beep of the owner's must be at its peak, as a part of
// full scale: that the box has answered by itself has to be heard.
const leastBeep = 1.0 / 16

// tonesOf makes the player of the tones that the configuration asks for.
func tonesOf(s *config.Sounds, folder string, wrong func(key string, err error)) *tone.Player {
	o := tone.Options{Clips: map[tone.Sound]tone.Clip{}}
	if err := tone.CheckCountry(s.Country); err != nil {
		wrong("sounds.country", err)
	} else {
		o.Country = s.Country
	}
	for _, f := range []struct {
		key, file string
		sound     tone.Sound
	}{
		{"ring", s.Ring, tone.Ring}, {"ringback", s.Ringback, tone.Ringback}, {"busy", s.Busy, tone.Busy},
		{"unreachable", s.Unreachable, tone.Unreachable}, {"call_waiting", s.CallWaiting, tone.Waiting},
		{"beep", s.Beep, tone.Beep}, {"hang_up", s.HangUp, tone.HangUp},
	} {
		if f.file == "" {
			continue
		}
		clip, err := readClip(inFolder(folder, f.file))
		if err == nil && f.sound == tone.Beep && clip.Peak() < leastBeep {
			err = errors.New("it is too soft: that the box has answered by itself has to be heard")
		}
		if err != nil {
			wrong("sounds."+f.key, err)
			continue
		}
		o.Clips[f.sound] = clip
	}
	p, err := tone.New(o)
	if err != nil {
		wrong("sounds", err)
		return nil
	}
	p.SetVolume(tone.Volume(s.RingVolume), tone.Volume(s.ToneVolume))
	return p
}

func readClip(path string) (tone.Clip, error) {
	f, err := os.Open(path)
	if err != nil {
		return tone.Clip{}, err
	}
	defer f.Close()
	clip, err := tone.ReadClip(f)
	if err != nil {
		return clip, fmt.Errorf("%s: %w", path, err)
	}
	return clip, nil
}

// A PIN has at least so many characters.
const shortestPIN = 4

// parsePIN reads a PIN as people write it.
func parsePIN(text []byte) (pin voipcore.PIN, err error) {
	text = bytes.TrimSpace(text)
	if len(text) < shortestPIN || len(text) > len(pin) || bytes.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return pin, fmt.Errorf("a PIN has %d to %d characters: digits, or letters without accents", shortestPIN, len(pin))
	}
	copy(pin[:], text)
	return pin, nil
}

// readPIN reads the PIN of the door from a file that others cannot read.
func readPIN(path string) (voipcore.PIN, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return voipcore.PIN{}, err
	}
	switch mode := fi.Mode(); {
	case !mode.IsRegular():
		return voipcore.PIN{}, fmt.Errorf("%s is not a regular file", path)
	case mode.Perm()&0o007 != 0:
		return voipcore.PIN{}, fmt.Errorf("everybody can read or write %s: chmod 600 it", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return voipcore.PIN{}, err
	}
	pin, err := parsePIN(text)
	if err != nil {
		return pin, fmt.Errorf("%s: %w", path, err)
	}
	return pin, nil
}

// doorOutput is the name of the line that opens the door.
const doorOutput = "door"

// Times of gestures. Push to talk is known from a press after less time than
// anybody waits before speaking.
const (
	longPress   = time.Second
	doublePress = 400 * time.Millisecond
	holdToTalk  = 250 * time.Millisecond
)

// linesOf adds buttons and door to the options of a board.
func linesOf(o *board.Options, cfg *config.Config) {
	for _, b := range cfg.Buttons() {
		var t gpio.Timing
		if b.Long != "" {
			t.Long = longPress
		}
		if b.Double != "" {
			t.Double = doublePress
		}
		if b.Talk {
			t.Talk = holdToTalk
		}
		o.Buttons = append(o.Buttons, board.ButtonOptions{LineOptions: board.LineOptions{Name: b.Name, Line: string(b.Line)}, Timing: t})
	}
	if cfg.Door.PINFile != "" {
		low := cfg.Door.ActiveLow
		o.Outputs = append(o.Outputs, board.LineOptions{Name: doorOutput, Line: string(cfg.Door.Line), ActiveLow: &low})
	}
}

// gestures maps what package gpio calls gestures.
var gestures = map[gpio.Kind]device.GestureKind{
	gpio.Press: device.ShortPress, gpio.LongPress: device.LongPress, gpio.DoublePress: device.DoublePress,
	gpio.TalkStart: device.HoldStart, gpio.TalkEnd: device.HoldEnd,
}
