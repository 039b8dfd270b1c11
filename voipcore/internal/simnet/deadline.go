package simnet

import (
	"os"
	"sync"
	"time"
)

// A deadline wakes who waits on a condition when its time has come. It has at
// most a few events on the agenda however often it is moved, since code under
// test may move it with every message.
type deadline struct {
	net   *Net
	cond  *sync.Cond
	at    time.Time // zero is never
	armed time.Time // when the agenda next wakes us, zero if it does not
}

func (d *deadline) setLocked(at time.Time) {
	d.at = at
	d.armLocked()
	d.cond.Broadcast()
}

func (d *deadline) armLocked() {
	if !d.at.IsZero() && (d.armed.IsZero() || d.at.Before(d.armed)) {
		d.armed = d.at
		d.net.atLocked(d.at, d)
	}
}

func (d *deadline) fireLocked(now time.Time) {
	d.armed = time.Time{}
	if d.at.After(now) {
		d.armLocked()
		return
	}
	d.cond.Broadcast()
}

// passedLocked returns os.ErrDeadlineExceeded if it has passed.
func (d *deadline) passedLocked() error {
	if d.at.IsZero() || time.Now().Before(d.at) {
		return nil
	}
	return os.ErrDeadlineExceeded
}
