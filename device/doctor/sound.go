package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hushbell/alsa"
	"hushbell/board"
	"hushbell/device/config"
)

// simulated reports whether there is no hardware to look at.
func (e *exam) simulated() bool { return e.cfg.Board.Name == board.Sim }

// heldByBox tells of what the running box has, where it belongs.
const heldByBox = "the running box has it"

// held reports whether a busy device is that of a box that we may not ask. The
// box that we may ask has told itself what it has.
func (e *exam) held(holder string) bool {
	return errors.Is(e.statusErr, os.ErrPermission) && strings.HasPrefix(holder, "hushbell")
}

// problem is what the running box tells of a part; nil if it works.
func (e *exam) problem(part board.Part, why string) []Finding {
	var all []Finding
	for _, p := range e.status.Board.Problems {
		if p.Part == string(part) {
			all = append(all, found(Fault, p.Part, p.Error, why, p.Remedy)...)
		}
	}
	return all
}

func (e *exam) board(context.Context) []Finding {
	const check = "board"
	switch {
	case e.simulated():
		return ok(check, "simulated: sound is files, and hushbell press is the button")
	case e.wiringErr != nil:
		return found(Fault, check, oneLine(e.wiringErr), "a box does not start with it", "write another name under [board], or none: then the board is found")
	}
	return ok(check, "%s, %s", e.wiring.Board, e.wiring.Title)
}

func (e *exam) cards(context.Context) []Finding {
	const check = "sound cards"
	if e.simulated() {
		return nil
	}
	list, err := alsa.List()
	e.sound = list
	switch {
	case err != nil:
		return found(Fault, check, oneLine(err), "without sound there is no intercom", board.SoundRemedy(err))
	case len(list) == 0:
		return found(Fault, check, "there is none", "without sound there is no intercom", board.SoundRemedy(alsa.ErrNoCard))
	}
	return ok(check, "%s", strings.Join(e.soundNames(false, false), ", "))
}

// sessions is where systemd puts what belongs to users who are logged in.
const sessions = "/run/user"

// servers looks for sound servers of others, which take the cards from a box that
// is a service of the system.
func (e *exam) servers(context.Context) []Finding { return e.serversIn(sessions) }

func (e *exam) serversIn(dir string) []Finding {
	const check = "sound server"
	if e.simulated() {
		return nil
	}
	var others []string
	for _, name := range []string{"pulse/native", "pipewire-0"} {
		sockets, _ := filepath.Glob(filepath.Join(dir, "*", name))
		for _, s := range sockets {
			fi, err := os.Stat(s)
			if err != nil || fi.Mode().Type() != fs.ModeSocket || uidOf(fi) == e.user.uid {
				continue
			}
			if a := byUID(uidOf(fi)); !slices.Contains(others, a.name) {
				others = append(others, a.name)
			}
		}
	}
	if len(others) == 0 {
		return nil
	}
	return found(Warning, check, fmt.Sprintf("that of %s runs, and the box runs as %s", strings.Join(others, ", "), e.user.name),
		"it takes the card whenever it plays or records: the box worked in a shell, and is silent as a service",
		fmt.Sprintf("run the box as that user: sudo systemctl disable --now hushbell, then as %s: systemctl --user enable --now hushbell, "+
			"and sudo loginctl enable-linger %s so that it starts without a login", others[0], others[0]))
}

// soundNames are the devices that play and record, as far as that is asked for.
func (e *exam) soundNames(plays, records bool) []string {
	var names []string
	for _, d := range e.sound {
		if (d.Playback || !plays) && (d.Capture || !records) {
			names = append(names, d.Name)
		}
	}
	return names
}

func (e *exam) microphone(context.Context) []Finding {
	return e.soundPart(board.MicrophonePart, e.wiring.Microphone, e.soundNames(false, true), "the far side hears nothing from here", func(device string) error {
		c, err := alsa.OpenCapture(device, alsa.Options{})
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func (e *exam) speaker(context.Context) []Finding {
	return e.soundPart(board.SpeakerPart, e.wiring.Speaker, e.soundNames(true, false), "nothing is heard here, no ring either", func(device string) error {
		p, err := alsa.OpenPlayback(device, alsa.Options{})
		if err != nil {
			return err
		}
		return p.Close()
	})
}

// soundPart looks at one direction of sound. names are the devices that could
// be it, open opens one for a moment.
func (e *exam) soundPart(part board.Part, s board.Sound, names []string, why string, open func(string) error) []Finding {
	check, state := string(part), "can be opened"
	if e.simulated() || e.wiringErr != nil || len(e.sound) == 0 && !e.runs() {
		return nil // cards has told
	}
	if e.runs() {
		if f := append(e.problem(part, why), e.problem(part+" volume", "it may be too quiet, or too loud")...); f != nil {
			return f
		}
		state = heldByBox
	} else if err := open(s.Device); err != nil {
		var busy *alsa.Error
		switch {
		case e.denied(err):
			return unseen(check, oneLine(err))
		case errors.Is(err, syscall.EBUSY) && errors.As(err, &busy) && e.held(busy.Holder):
			state = heldByBox
		default:
			return found(Fault, check, oneLine(err), why, openRemedy(err, check, s.Device, names))
		}
	}
	switch err := board.Mute(s.Device, part); {
	case errors.Is(err, board.ErrMuted) && s.Volume > 0 && !e.runs():
		return found(Warning, check, oneLine(err), why+" until the box starts, which sets the volume", e.systemctl("start"))
	case errors.Is(err, board.ErrMuted):
		return found(Fault, check, oneLine(err), why, board.SoundRemedy(err))
	}
	name := s.Device
	if name == "" {
		name = "the first that fits"
	}
	return ok(check, "%s: %s", name, state)
}

// openRemedy is what to do about a sound device that cannot be opened: of one
// that is not there, the ones that are.
func openRemedy(err error, part, device string, names []string) string {
	if device == "" || !errors.Is(err, alsa.ErrNoCard) || len(names) == 0 {
		return board.SoundRemedy(err)
	}
	far := func(name string) int { return config.Distance(strings.ToLower(name), strings.ToLower(device)) }
	best := slices.MinFunc(names, func(a, b string) int { return far(a) - far(b) })
	others := ""
	if len(names) > 1 {
		others = fmt.Sprintf(" (there are %s)", strings.Join(names, ", "))
	}
	return fmt.Sprintf("write %s = %q under [board]%s, or plug in the card that is meant", part, best, others)
}
