package board

import (
	"errors"
	"fmt"
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

// setVolume sets how loud the card of a device is, and takes it off mute.
func setVolume(device string, d direction, percent int) error {
	if device == "pulse" || strings.HasPrefix(device, "pulse:") {
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
