package board

import (
	"strconv"

	"hushbell/gpio"
)

// wire is the profile with what the owner has other than that.
func wire(p Profile, o Options) wiring {
	w := wiring{settle: o.Settle, sound: [2]soundWiring{
		records: {o.Microphone, o.MicrophoneVolume},
		plays:   {o.Speaker, o.SpeakerVolume},
	}}
	w.button = override(gpio.Line{ActiveLow: true, Bias: gpio.PullUp}, o.Chip, o.ButtonLine, o.ActiveLow)
	if o.Bias != nil {
		w.button.Bias = *o.Bias
	}
	w.led = override(gpio.Line{}, o.Chip, o.LEDLine, o.LEDLow)
	return w
}

// override is a profile's line with what the owner says of it: a name or an
// offset, on the profile's chip or another.
func override(l gpio.Line, chip, name string, low *bool) line {
	if name == NoLine {
		return line{left: true}
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
		return line{err: errUnset}
	}
	return line{Line: l}
}
