package main

import (
	"context"
	"net"
	"slices"
	"time"

	"hushbell/board"
	"hushbell/device"
)

const (
	// diagnoseEvery is how often the box looks what is wrong with it, and
	// diagnoseFirst how long after the first time it looks again.
	diagnoseEvery = 15 * time.Second
	diagnoseFirst = 5 * time.Second
	// A system clock that is so far off makes do-not-disturb wrong.
	clockOff = 10 * time.Minute
)

// diagnose tells the device what is wrong with the box until ctx is done, so that
// its LED shows it. What it sees twice in a row is trouble: a box that starts has
// no relays yet, and a sound card that comes back is away for a moment.
func (b *box) diagnose(ctx context.Context) {
	wait := time.NewTimer(diagnoseFirst)
	defer wait.Stop()
	var before device.State
	for {
		now := b.trouble()
		if now == before || now == 0 {
			b.device.Diagnose(now)
		}
		before = now
		select {
		case <-wait.C:
			wait.Reset(diagnoseEvery)
		case <-ctx.Done():
			return
		}
	}
}

// trouble returns the first thing that its owner has to see to, 0 if there is
// nothing.
func (b *box) trouble() device.State {
	core := b.core.Status()
	for _, p := range b.board.Problems() {
		if p.Part == board.MicrophonePart || p.Part == board.SpeakerPart {
			return device.NoSound
		}
	}
	switch {
	case core.Online:
	case !networkUp():
		return device.NoNetwork
	case core.Relays == 0:
		return device.NoRelays
	}
	if core.Clock.Trusted && core.Clock.Offset.Abs() > clockOff {
		return device.ClockWrong
	}
	return 0
}

// audible reports whether the speaker works.
func (b *box) audible() bool {
	return !slices.ContainsFunc(b.board.Problems(), func(p board.Problem) bool { return p.Part == board.SpeakerPart })
}

// networkUp reports whether an interface is up that has an address other machines
// may know. Where that cannot be found out there is a network.
func networkUp() bool {
	all, err := net.Interfaces()
	if err != nil {
		return true
	}
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return true
		}
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				return true
			}
		}
	}
	return false
}
