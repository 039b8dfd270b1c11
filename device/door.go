package device

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"hushbell/device/tone"
	"hushbell/voipcore"
)

// A Door is what a contact may open in a call by showing the PIN.
type Door struct {
	PIN  voipcore.PIN
	Open func() error // opens it for its time, and does not wait for that; an Err if it cannot
}

// maxPause is how long no PIN is taken at most after wrong ones.
const maxPause = 15 * time.Minute

// A doorGuard bounds how often PINs may be tried. After the n-th wrong one in a
// row none is taken for 2^n seconds: a PIN of four digits then lasts for weeks on
// average. It counts for all callers together, since pids cost nothing. The zero
// value has seen none.
type doorGuard struct {
	wrong int
	until time.Time // no PIN is taken before
}

// try returns the guard after a PIN was shown, and whether it is the right one.
func (g doorGuard) try(shown, right voipcore.PIN, now time.Time) (doorGuard, bool) {
	same := subtle.ConstantTimeCompare(shown[:], right[:]) == 1
	switch {
	case now.Before(g.until):
		return g, false // not looked at, and so no reason to wait longer
	case same && right != voipcore.PIN{}:
		return doorGuard{}, true
	}
	g.wrong++
	pause := maxPause
	if g.wrong < 10 {
		pause = min(pause, time.Second<<g.wrong)
	}
	g.until = now.Add(pause)
	return g, false
}

// doorAsked opens the door if a contact shows the right PIN.
func (d *Device) doorAsked(e voipcore.Event) {
	peer := d.policy.Load().peer(e.Peer)
	why, err := d.unlock(peer, e.PIN)
	opened := why == ""
	d.calls.AnswerDoor(e.Call, opened)
	switch {
	case opened:
		d.o.Log.Info("door opened", "contact", peer.shown())
		d.o.Tell(News{Kind: NewsDoor, At: time.Now(), State: d.m.State, Call: d.Status().Call})
	case time.Since(d.doorTold) >= doorTell: // who asks all the time does not fill the log
		d.doorTold = time.Now()
		about := []any{"contact", peer.shown(), "wrong", d.guard.wrong}
		if err != nil {
			about = append(about, "err", err)
		}
		d.o.Log.Warn("the door stays closed: "+why, about...)
	}
}

// doorTell is between two lines of the log about a door that stays closed.
const doorTell = 2 * time.Second

// unlock opens the door; why says why it did not.
func (d *Device) unlock(from Peer, shown voipcore.PIN) (why string, err error) {
	door := d.policy.Load().Door
	switch {
	case door == nil:
		return "there is none in the configuration", nil
	case from.Name == "":
		return "it is for contacts", nil
	}
	var right bool
	if d.guard, right = d.guard.try(shown, door.PIN, time.Now()); !right {
		return "a wrong PIN, or one too soon after", nil
	}
	if err := door.Open(); err != nil {
		return "it cannot be opened", err
	}
	return "", nil
}

// Errors of OpenDoor.
var (
	ErrDoorClosed = errors.New("the far box did not open its door: a wrong PIN, one too soon after a wrong one, or no door")
	errNoDoorCall = errors.New("the call was over before the door's answer came")
)

// OpenDoor shows a PIN to the far end of the call that stands, and returns nil when
// it has opened its door.
func (d *Device) OpenDoor(ctx context.Context, pin voipcore.PIN) error {
	answer := make(chan error, 1) // so that Run does not wait for who has gone
	if err := d.do(ctx, func() error { return d.askDoor(pin, answer) }); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-d.queue.over:
		return errNotRunning
	}
}

// askDoor shows the PIN to the far end. answer has room for what becomes of it.
func (d *Device) askDoor(pin voipcore.PIN, answer chan<- error) error {
	if !d.m.State.Voice() {
		return errors.New("a door can be opened in a call that was answered: there is none")
	}
	if err := d.calls.OpenDoor(d.m.Call, pin); err != nil {
		return err
	}
	d.doorAnswer = answer
	return nil
}

// doorByButton opens the far end's door. What became of it is heard: upwards it is
// open, downwards it is not.
func (d *Device) doorByButton() {
	answer := make(chan error, 1)
	err := d.askDoor(d.policy.Load().FarPIN, answer)
	if err != nil {
		d.o.Log.Warn("cannot open the far end's door", "err", err)
		d.signal(tone.HangUp)
		return
	}
	d.doorHeard = answer
}

// doorAnswered tells who waits for it what became of a PIN; err is nil if the door
// was opened.
func (d *Device) doorAnswered(err error) {
	if d.doorAnswer != nil {
		d.doorAnswer <- err
		d.doorAnswer = nil
	}
	select {
	case err := <-d.doorHeard: // it was a button: a person waits for a sound
		d.doorHeard = nil
		switch {
		case err == nil:
			d.signal(tone.Connected)
		case d.m.State.Voice():
			d.signal(tone.HangUp)
		}
	default:
	}
}
