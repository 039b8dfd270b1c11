package board

import (
	"context"
	"sync"
	"time"

	"hushbell/gpio"
)

// A line that is not there is looked for so often.
const outputAgain = 2 * time.Second

// An Output is what a board switches, such as the release of a door. It is off
// from the start, and after Close of the board. Its methods may be called from
// any goroutine.
//
// When the process is killed while an output is on, the line stays as it is until
// the board is opened again, on most chips: what must not be left on needs a circuit
// that goes off by itself.
type Output struct {
	open   func() (switched, error) // constant
	report func(error)              // told when the trouble changes, nil at its end; constant

	mu     sync.Mutex
	line   switched // nil: not there, or closed; guarded by mu, as the rest
	err    error    // why
	on     bool
	pulse  *time.Timer // ends the last Pulse; nil before the first
	turns  int         // counts what was asked for, so that the timer knows whether it is the last word
	closed bool
}

// A switched is what is used of *gpio.Output.
type switched interface {
	Set(on bool) error
	Close() error
}

func kernelOutput(l gpio.Line) (switched, error) {
	o, err := gpio.OpenOutput(l)
	if err != nil {
		return nil, err // not a nil *Output in an interface
	}
	return o, nil
}

// nothing is the line of a simulated output.
type nothing struct{}

func (nothing) Set(bool) error { return nil }
func (nothing) Close() error   { return nil }

func simulatedOutput() *Output { return &Output{line: nothing{}, report: func(error) {}} }

// missing is an output without a line: err says why.
func missingOutput(err error) *Output { return &Output{err: err, report: func(error) {}} }

// Set switches the output on or off, until it is told otherwise. The error says
// that it could not be done; the output counts as off then. Off is never an error:
// what is not there is as off as can be.
func (o *Output) Set(on bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turnLocked()
	return o.setLocked(on)
}

// Pulse switches the output on, and off after d, whatever becomes of the caller.
// A further Pulse or Set is the last word instead.
func (o *Output) Pulse(d time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	turn := o.turnLocked()
	if err := o.setLocked(true); err != nil {
		return err
	}
	o.pulse = time.AfterFunc(d, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.turns == turn {
			o.setLocked(false)
		}
	})
	return nil
}

// turnLocked begins what is asked for now, and ends a pulse that goes on.
func (o *Output) turnLocked() int {
	if o.pulse != nil {
		o.pulse.Stop()
	}
	o.turns++
	return o.turns
}

// On reports whether the output is switched on.
func (o *Output) On() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.on
}

func (o *Output) setLocked(on bool) error {
	o.on = false
	if o.line == nil {
		if on {
			return o.err
		}
		return nil
	}
	if err := o.line.Set(on); err != nil {
		o.line.Close() // off, if that can be done
		o.line = nil
		o.tellLocked(err)
		if on {
			return err
		}
		return nil
	}
	o.on = on
	return nil
}

// tellLocked notes trouble, or its end, and reports what is news.
func (o *Output) tellLocked(err error) {
	news := (err == nil) != (o.err == nil) || err != nil && err.Error() != o.err.Error()
	o.err = err
	if news {
		o.report(err)
	}
}

// run keeps the line open until ctx is done: one that is missing is looked for,
// and one that is there is looked at, at the time of all lines.
func (o *Output) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		if o.look() {
			timer.Reset(lookEvery - now.Sub(now.Truncate(lookEvery)))
		} else {
			timer.Reset(outputAgain)
		}
	}
}

// look reports whether the line is there, after an attempt to get it.
func (o *Output) look() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	if o.line != nil {
		o.setLocked(o.on) // which finds out whether it is still there
		return o.line != nil
	}
	line, err := o.open()
	if err == nil {
		o.line = line
	}
	o.tellLocked(err)
	return err == nil
}

// close switches the output off for good.
func (o *Output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.turnLocked()
	o.closed, o.on = true, false
	if o.err == nil {
		o.err = errClosed
	}
	if o.line == nil {
		return nil
	}
	line := o.line
	o.line = nil
	return line.Close()
}
