package board

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"hushbell/alsa"
	"hushbell/gpio"
)

// What is wrong with a button although its line is fine. LineRemedy knows them.
var (
	ErrStuck = errors.New("it is held down, or its contact is stuck")
	ErrNoisy = errors.New("its line does not come to rest")
)

// Own tells whether the holder of a device or line, as packages alsa and gpio name
// it, is a hushbell.
func Own(holder string) bool { return strings.HasPrefix(holder, "hushbell") }

// soundServer tells whether the holder of a device is a sound server, which
// belongs to the session of a user.
func soundServer(holder string) bool {
	for _, name := range []string{"pipewire", "wireplumber", "pulseaudio"} {
		if strings.HasPrefix(holder, name) {
			return true
		}
	}
	return false
}

const stopDaemon = "a running hushbell has it: stop that first (systemctl stop hushbell)"

// PriorityRemedy is what can be done where sound gets no real-time priority.
const PriorityRemedy = "a service needs LimitRTPRIO=10 and no RestrictRealtime in its unit; a user a file in /etc/security/limits.d " +
	"that says: @audio - rtprio 10"

// SoundRemedy is what can be done about an error of a sound device of package
// alsa; "" if there is no advice.
func SoundRemedy(err error) string {
	if err == nil {
		return ""
	}
	var e *alsa.Error
	errors.As(err, &e)
	switch {
	case errors.Is(err, syscall.EBUSY) && e != nil && Own(e.Holder):
		return stopDaemon
	case errors.Is(err, syscall.EBUSY) && e != nil && soundServer(e.Holder):
		return "the sound server of a user has it: run the box as that user (systemctl disable --now hushbell, " +
			"then as the user systemctl --user enable --now hushbell, and loginctl enable-linger so that it starts without them), " +
			"or take the card from the server"
	case errors.Is(err, syscall.EBUSY):
		return "end the program that has it, or name another device in [board]"
	case errors.Is(err, alsa.ErrNoServer):
		return "start the sound server in the session of the user that runs hushbell (a service of the system has none), or name a card in [board]"
	case errors.Is(err, fs.ErrPermission):
		return "add the user that runs hushbell to the group audio"
	case errors.Is(err, errServerVolume):
		return "set it there (pactl, wpctl), or name a card in [board]"
	case errors.Is(err, ErrMuted):
		return "say how loud as board.microphone_volume or board.speaker_volume, which takes it off mute at the next start, or use alsamixer"
	case errors.Is(err, errNoLevel):
		return "leave the volume out in [board]; what the card has is shown by amixer"
	case errors.Is(err, alsa.ErrNoCard), errors.Is(err, syscall.ENODEV):
		return "plug a sound card in, or switch on that of the board; hushbell devices lists what there is"
	case errors.Is(err, syscall.EINVAL):
		return "the card has no format, rate or buffer that suits: take another"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EBADFD):
		return "the card has stopped: plug it in again, and look for a weak power supply"
	}
	return ""
}

// lineKey is the key of the configuration that says which line a part has.
func lineKey(part Part) string {
	kind, name, _ := strings.Cut(string(part), " ")
	switch {
	case part == ButtonPart:
		return "board.button_line"
	case part == LEDPart:
		return "board.led_line"
	case Part(kind) == ButtonPart: // "button 2"
		return kind + name + ".line"
	}
	return name + ".line" // "output door"
}

// LineRemedy is what can be done about an error of a line of package gpio that
// is for that part; "" if there is no advice.
func LineRemedy(err error, part Part) string {
	if err == nil {
		return ""
	}
	key := lineKey(part)
	var e *gpio.LineError
	errors.As(err, &e)
	switch {
	case errors.Is(err, ErrUnset):
		return "name one as " + key + `, or say "` + NoLine + `" there`
	case errors.Is(err, ErrTwice):
		return "name another as " + key + `, or say "` + NoLine + `" there`
	case errors.Is(err, ErrStuck):
		return "look at the contact; where a press connects the line to plus, set board.active_low = false"
	case errors.Is(err, ErrNoisy):
		return `look at the wires; an open line needs a resistor, such as board.bias = "pull-up"`
	case errors.Is(err, gpio.ErrBusy) && e != nil && Own(e.Holder):
		return stopDaemon
	case errors.Is(err, gpio.ErrBusy):
		return "take the line from who has it (a device tree overlay, most often), or name another as " + key
	case errors.Is(err, fs.ErrPermission):
		return "add the user that runs hushbell to the group gpio"
	case errors.Is(err, gpio.ErrNoChip):
		return "look whether this is the board that board.name says, or name one of its chips as board.chip; hushbell devices lists them"
	case errors.Is(err, gpio.ErrNoLine):
		return "name another as " + key + "; hushbell devices lists what there is"
	case errors.Is(err, gpio.ErrGone):
		return "plug it in again"
	}
	return ""
}
