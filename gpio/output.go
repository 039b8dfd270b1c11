package gpio

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// An Output is an open output line: a LED, a relay. Its methods may be called
// from any goroutine.
type Output struct {
	place *place
	mu    sync.Mutex
	file  *os.File // guarded by mu, nil after Close
}

// OpenOutput opens the line, off from its first moment. The error is a
// *LineError.
func OpenOutput(l Line) (*Output, error) {
	p, err := find(l)
	if err != nil {
		return nil, err
	}
	f, err := p.request(flagOutput, l.ActiveLow)
	if err != nil {
		p.chip.file.Close()
		return nil, err
	}
	return &Output{place: p, file: f}, nil
}

// Set switches the output. A chip that went away is ErrGone; the output is then
// of no use but to be closed, and opened again.
func (o *Output) Set(on bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.setLocked(on)
}

func (o *Output) setLocked(on bool) error {
	if o.file == nil {
		return &LineError{Op: "set", Line: o.place.line, Device: o.place.chip.name, Err: os.ErrClosed}
	}
	v := lineValues{mask: 1}
	if on != o.place.line.ActiveLow {
		v.bits = 1
	}
	if err := ioctl(o.file, setValues, &v); err != nil {
		return o.place.fail("set", err)
	}
	return nil
}

// Close switches the output off and gives the line back. What the line does
// from then on is the chip's affair: most keep the level, some become inputs.
// The same happens to the level that was last set when the process is killed,
// so whoever must not be left on needs a circuit that is off without a driver.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	err := o.setLocked(false)
	if errors.Is(err, ErrGone) {
		err = nil // it is as off as can be
	}
	if e := o.file.Close(); e != nil && err == nil {
		err = fmt.Errorf("gpio: close %s: %w", o.place.line, e)
	}
	o.place.chip.file.Close()
	o.file = nil
	return err
}
