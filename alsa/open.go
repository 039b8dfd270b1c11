package alsa

import (
	"errors"
	"fmt"
	"syscall"
)

// output is what plays, a card or a stream of the sound server.
type output interface {
	Write(samples []int16) error
	Delay() int
	Xruns() int
	Stop() error
	Close() error
}

// input is what records.
type input interface {
	Read(samples []int16) error
	Delay() int
	Xruns() int
	Stop() error
	Close() error
}

// openNode opens one direction of a PCM.
func (r roots) openNode(n node, d direction, o Options) (*stream, error) {
	op := "read"
	if d == plays {
		op = "write"
	}
	fail := func(err error) (*stream, error) {
		e := &Error{Op: "open", Device: n.name(), Err: err}
		if errors.Is(err, syscall.EBUSY) {
			e.Holder = r.holder(n, d)
		}
		return nil, e
	}
	p, err := openPCM(n.path(r, d), d == records, o)
	if err != nil {
		return fail(err)
	}
	s, err := newStream(n.name(), op, p, p.setup)
	if err != nil {
		p.Close()
		return fail(fmt.Errorf("%w: %w", err, syscall.EINVAL))
	}
	return s, nil
}
