package board

import (
	"strings"
	"testing"

	"hushbell/alsa"
)

func TestSilent(t *testing.T) {
	on := func(name string, values ...int) alsa.Element {
		return alsa.Element{Name: name, Switch: strings.HasSuffix(name, "Switch"), Values: values, Max: 1}
	}
	level := func(name string, low int, values ...int) alsa.Element {
		return alsa.Element{Name: name, Min: low, Max: low + 100, Values: values}
	}
	for _, tt := range []struct {
		name string
		card []alsa.Element
		d    direction
		want string
	}{
		{"no mixer", nil, plays, ""},
		{"USB", []alsa.Element{on("Mic Playback Switch", 0), on("Speaker Playback Switch", 1, 1), level("Speaker Playback Volume", 0, 40, 40)}, plays, ""},
		{"USB, its own voice off", []alsa.Element{on("Mic Playback Switch", 0), on("Mic Capture Switch", 1)}, records, ""},
		{"USB, mute", []alsa.Element{on("Mic Capture Switch", 0), level("Mic Capture Volume", 0, 40)}, records, "Mic Capture Switch is off"},
		{"USB, down", []alsa.Element{on("Mic Capture Switch", 1), level("Mic Capture Volume", -5, -5)}, records, "Mic Capture Volume is turned down to nothing"},
		{"one channel is enough", []alsa.Element{on("Capture Switch", 0, 1)}, records, ""},
		{"a gate", []alsa.Element{on("Master Playback Switch", 0, 0), on("Speaker Playback Switch", 1)}, plays, "Master Playback Switch is off"},
		{"one end of two", []alsa.Element{on("Headphone Playback Switch", 0), on("Speaker Playback Switch", 1)}, plays, ""},
		{"both ends", []alsa.Element{on("Headphone Playback Switch", 0), on("Speaker Playback Switch", 0)}, plays, "Speaker Playback Switch is off, Headphone Playback Switch is off"},
		{"an element of the other direction", []alsa.Element{on("Capture Switch", 0)}, plays, ""},
		{"an element that cannot be read", []alsa.Element{on("Capture Switch")}, records, ""},
	} {
		if got := silent(tt.card, tt.d); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
