package alsa

import (
	"errors"
	"sync/atomic"
	"syscall"
)

// device is what a stream asks of a PCM file: *pcm, or a script in the tests.
type device interface {
	transfer(buf []byte) (frames int, err error)
	prepare() error
	resume() error
	drop() error
	check() error
	delay() int
	Close() error
}

// maxRestarts bounds the restarts in one Read or Write, so that a card that only
// ever runs dry is an error instead of a busy loop.
const maxRestarts = 3

// stream is what both directions of a card share: the buffer in the card's
// layout, the resampler if there is one, and getting going again.
type stream struct {
	device string
	op     string // "read" or "write", for errors
	dev    device
	setup  setup

	buf     []byte     // one chunk as the card has it
	mid     []int16    // the same, mono, still or already at the card's rate
	convert *resampler // nil at 48 kHz
	lag     int        // half the resampler's filter, in samples at 48 kHz
	stopped bool       // Stop was last: prepare first

	xruns atomic.Int64
}

// newStream lays out the buffers for chunks of FrameSamples.
func newStream(name, op string, dev device, s setup) (*stream, error) {
	st := &stream{device: name, op: op, dev: dev, setup: s}
	n := FrameSamples
	if s.rate != Rate {
		from, to := Rate, s.rate
		if op == "read" {
			from, to = to, from
		}
		var err error
		if st.convert, err = newResampler(from, to); err != nil {
			return nil, err
		}
		st.lag = st.convert.width / 2 * Rate / from
		n = FrameSamples*s.rate/Rate + 2 // one for the fraction, one for the phase
		st.mid = make([]int16, n)
	}
	st.buf = make([]byte, n*s.frameBytes())
	return st, nil
}

// move moves the first n frames of buf and restarts the card when it stopped.
func (s *stream) move(n int) error {
	if s.stopped {
		if err := s.dev.prepare(); err != nil {
			return s.fail("restart", err)
		}
		s.stopped = false
	}
	whole := s.buf[:n*s.setup.frameBytes()]
	for restarts, buf := 0, whole; ; restarts++ {
		done, err := s.dev.transfer(buf)
		if buf = buf[done*s.setup.frameBytes():]; s.op == "read" {
			buf = whole // what was read before a gap is old, and the card's periods begin anew
		}
		switch {
		case err == nil:
			return nil
		case restarts == maxRestarts:
			return s.fail(s.op, err)
		case errors.Is(err, syscall.EPIPE): // xrun: ran dry, or was read too late
			s.xruns.Add(1)
			err = s.dev.prepare()
		case errors.Is(err, syscall.ESTRPIPE): // suspended with the machine
			s.xruns.Add(1)
			if err = s.dev.resume(); err != nil { // most cards cannot
				err = s.dev.prepare()
			}
		case errors.Is(err, syscall.EBADFD): // unplugged while the kernel was moving samples
			return s.fail(s.op, syscall.ENODEV)
		default: // ENODEV: gone. EIO: dead.
			return s.fail(s.op, err)
		}
		if err != nil {
			return s.fail("restart", err)
		}
	}
}

func (s *stream) fail(op string, err error) error {
	if errors.Is(err, ErrClosed) {
		return ErrClosed
	}
	return &Error{Op: op, Device: s.device, Err: err}
}

// Delay is the card's delay and the resampler's, in samples at 48 kHz.
func (s *stream) Delay() int { return int(int64(s.dev.delay())*Rate/int64(s.setup.rate)) + s.lag }

// Check asks the card whether it is still there.
func (s *stream) Check() error {
	if err := s.dev.check(); err != nil {
		return s.fail("check", err)
	}
	return nil
}

func (s *stream) Xruns() int { return int(s.xruns.Load()) }

// Stop silences the card at once.
func (s *stream) Stop() error {
	if s.convert != nil {
		s.convert.reset()
	}
	s.stopped = true
	if err := s.dev.drop(); err != nil {
		return s.fail("stop", err)
	}
	return nil
}

func (s *stream) Close() error { return s.dev.Close() }

// cardOutput plays on a card.
type cardOutput struct{ *stream }

// Write plays samples and returns when the card has taken them all.
func (c cardOutput) Write(samples []int16) error {
	for len(samples) > 0 {
		chunk := samples[:min(len(samples), FrameSamples)]
		samples = samples[len(chunk):]
		if c.convert != nil {
			mid := c.mid[:c.convert.gives(len(chunk))]
			c.convert.run(mid, chunk)
			chunk = mid
		}
		c.setup.put(c.buf, chunk)
		if err := c.move(len(chunk)); err != nil {
			return err
		}
	}
	return nil
}

// cardInput records from a card.
type cardInput struct {
	*stream
	listen int
}

// Read fills samples and returns when the last one has been recorded.
func (c cardInput) Read(samples []int16) error {
	for len(samples) > 0 {
		chunk := samples[:min(len(samples), FrameSamples)]
		samples = samples[len(chunk):]
		raw := chunk
		if c.convert != nil {
			raw = c.mid[:c.convert.need(len(chunk))]
		}
		if err := c.move(len(raw)); err != nil {
			return err
		}
		c.setup.take(raw, c.buf, c.listen)
		if c.convert != nil {
			c.convert.run(chunk, raw)
		}
	}
	return nil
}
