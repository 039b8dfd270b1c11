package board

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hushbell/alsa"
)

// levels are the mixer elements that set how loud a card is, by direction: the
// first one that it has is taken. The names are those of the kernel's drivers
// (sound/usb/mixer.c, sound/soc/codecs, staging/bcm2835-audio, snd-dummy).
// "Mic Playback Volume" is not among them: it is how loud one hears oneself.
var levels = [2][]string{
	records: {"Mic Capture Volume", "Capture Volume", "Headset Capture Volume", "Digital Capture Volume",
		"ADC Capture Volume", "Line Capture Volume", "Mic Volume"},
	plays: {"Speaker Playback Volume", "Master Playback Volume", "PCM Playback Volume", "Headphone Playback Volume",
		"Digital Playback Volume", "Playback Volume", "Headset Playback Volume", "Master Volume"},
}

var (
	errServerVolume = errors.New("the volume is the sound server's")
	errNoLevel      = errors.New("the card has no volume that we know")
)

// fromServer tells whether a device is the sound server's.
func fromServer(device string) bool { return device == "pulse" || strings.HasPrefix(device, "pulse:") }

// setVolume sets how loud the card of a device is, and takes it off mute.
func setVolume(device string, d direction, percent int) error {
	if fromServer(device) {
		return fmt.Errorf("board: %s: %w", device, errServerVolume)
	}
	m, err := alsa.OpenMixer(device)
	if err != nil {
		return fmt.Errorf("board: set volume: %w", err)
	}
	defer m.Close()
	for _, name := range levels[d] {
		err := m.SetVolume(name, percent)
		if errors.Is(err, alsa.ErrNoElement) {
			continue
		}
		if err == nil {
			err = m.SetMute(strings.TrimSuffix(name, " Volume"), false)
			if errors.Is(err, alsa.ErrNoElement) { // it cannot be mute
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("board: set volume: %w", err)
		}
		return nil
	}
	return fmt.Errorf("board: set volume: %s: %w", device, errNoLevel)
}

// ErrMuted means that the mixer of a card lets nothing through.
var ErrMuted = errors.New("muted")

// What all sound of a card passes, and the ends of which one is enough, by
// direction. Names are as in levels, without Volume or Switch.
var (
	gates = [2][]string{
		records: {"Capture", "ADC Capture", "Digital Capture"},
		plays:   {"Playback", "Master Playback", "PCM Playback", "Digital Playback"},
	}
	ends = [2][]string{
		records: {"Mic Capture", "Headset Capture", "Line Capture"},
		plays:   {"Speaker Playback", "Headphone Playback", "Headset Playback"},
	}
)

// Mute reports whether the mixer lets sound pass between a device and part,
// which is MicrophonePart or SpeakerPart. The error matches ErrMuted if it does
// not and names what is off or turned down to nothing; else it says why the
// mixer cannot be asked. What the sound server does is not known.
func Mute(device string, part Part) error {
	if fromServer(device) {
		return nil
	}
	m, err := alsa.OpenMixer(device)
	if err != nil {
		return fmt.Errorf("board: %w", err)
	}
	defer m.Close()
	all, err := m.Elements()
	if err != nil {
		return fmt.Errorf("board: %w", err)
	}
	d := plays
	if part == MicrophonePart {
		d = records
	}
	if off := silent(all, d); off != "" {
		return fmt.Errorf("board: %s: %w: %s", device, ErrMuted, off)
	}
	return nil
}

// silent names what keeps a direction silent, "" if nothing does.
func silent(all []alsa.Element, d direction) string {
	for _, gate := range gates[d] {
		if _, off := blocked(all, gate); off != "" {
			return off
		}
	}
	var dead []string
	for _, end := range ends[d] {
		there, off := blocked(all, end)
		switch {
		case off != "":
			dead = append(dead, off)
		case there:
			return "" // one is enough
		}
	}
	return strings.Join(dead, ", ")
}

// blocked reports whether the card has such a switch or level, and names the one
// that lets nothing through.
func blocked(all []alsa.Element, name string) (there bool, off string) {
	for _, e := range all {
		isSwitch := e.Switch && e.Name == name+" Switch"
		if !isSwitch && (e.Switch || e.Name != name+" Volume") || len(e.Values) == 0 {
			continue
		}
		there = true
		switch {
		case slices.Max(e.Values) > e.Min:
		case isSwitch:
			return true, e.Name + " is off"
		default:
			return true, e.Name + " is turned down to nothing"
		}
	}
	return there, ""
}
