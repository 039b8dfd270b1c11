package alsa

import (
	"context"
	"errors"
	"fmt"

	"hushbell/alsa/pulse"
)

// A Device is something that can be opened by its name.
type Device struct {
	Name     string // for OpenPlayback and OpenCapture
	Title    string // what it calls itself, for people; may be empty
	Playback bool   // it plays
	Capture  bool   // it records
	// Problem is what keeps it from being opened now, nil if nothing does: EBUSY
	// and who holds it, EACCES, a format that we cannot convert, and so on. Of a
	// device that does one direction only that is no problem. It is that of either
	// direction, which the two below have.
	Problem                         error
	PlaybackProblem, CaptureProblem error
}

// List lists the sound server, if there is one, with its sinks and sources, then
// the PCMs of the cards. It opens each one for a moment to see what is wrong with
// it, which makes no sound; a device that is in use is left alone and is EBUSY.
func List() ([]Device, error) {
	return list(context.Background(), func(d *Device, n node) {
		if n.playback {
			d.PlaybackProblem = system.try(n, plays, "playback")
		}
		if n.capture {
			d.CaptureProblem = system.try(n, records, "capture")
		}
		d.Problem = errors.Join(d.PlaybackProblem, d.CaptureProblem)
	})
}

// Present is List without the problems: no PCM is opened, so it keeps nobody from
// opening one. A sound server that does not answer is waited for until ctx is done.
func Present(ctx context.Context) ([]Device, error) { return list(ctx, func(*Device, node) {}) }

// list looks at each PCM.
func list(ctx context.Context, look func(*Device, node)) ([]Device, error) {
	all := listServer(ctx)
	nodes, err := system.nodes()
	if err != nil {
		return all, err
	}
	for _, n := range nodes {
		d := Device{Name: n.name(), Title: system.title(n.card), Playback: n.playback, Capture: n.capture}
		look(&d, n)
		all = append(all, d)
	}
	return all, nil
}

// try opens one direction of a PCM for a moment.
func (r roots) try(n node, d direction, what string) error {
	s, err := r.openNode(n, d, Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.Close()
	return nil
}

func listServer(ctx context.Context) []Device {
	s, err := pulse.Ask(ctx)
	if errors.Is(err, pulse.ErrNoServer) {
		return nil
	}
	if err != nil {
		return []Device{{Name: server, Playback: true, Capture: true, Problem: err}}
	}
	list := []Device{{Name: server, Title: s.Name, Playback: s.Sink != "", Capture: s.Source != ""}}
	for _, p := range s.Sinks {
		list = append(list, Device{Name: serverName(p.Name), Title: p.Title, Playback: true})
	}
	for _, p := range s.Sources {
		list = append(list, Device{Name: serverName(p.Name), Title: p.Title, Capture: true})
	}
	return list
}
