package pulse

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jfreymuth/pulse/proto"
)

// stream is what both directions share: the connection, how it was lost, and the
// last word on the delay.
type stream struct {
	link  *link
	index uint32
	// What starts and stops it at the server; made once, as a request for each
	// would be allocated.
	uncork, cork proto.RequestArgs
	// wake holds one token: something that Read or Write waits for has changed.
	wake  chan struct{}
	timer *time.Timer // of the one that waits
	xruns atomic.Int64

	mu      sync.Mutex // guards the rest
	err     error      // set once: lost or closed
	running bool       // uncorked
	moved   int64      // samples written or read by the caller
	clock   reading

	started chan struct{} // size 1: wakes the timing goroutine; one start is as good as two
	closed  chan struct{} // closed with err; ends the timing goroutine
	wg      sync.WaitGroup
}

// reading is one answer of the server about the delay.
type reading struct {
	at    time.Time
	delay int   // samples
	moved int64 // stream.moved then
}

func newStream() *stream {
	s := &stream{
		wake: make(chan struct{}, 1), started: make(chan struct{}, 1), closed: make(chan struct{}),
		timer: time.NewTimer(stall),
	}
	s.timer.Stop()
	return s
}

// lose notes why the stream is over. The first reason stays.
func (s *stream) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.closed)
	}
	s.signalLocked()
}

func (s *stream) signalLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wait waits for wake. An error is EIO: the server has been silent for too long.
func (s *stream) wait() error {
	s.timer.Reset(stall)
	defer s.timer.Stop()
	select {
	case <-s.wake:
		return nil
	case <-s.timer.C:
		return syscall.EIO
	}
}

// run starts or stops the stream at the server, if it is not so already.
func (s *stream) run(want bool) error {
	s.mu.Lock()
	err, is := s.err, s.running
	s.mu.Unlock()
	if err != nil || is == want {
		return err
	}
	args := s.cork
	if want {
		args = s.uncork
	}
	if err := s.link.request("start or stop", args, nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.clock = want, reading{at: time.Now(), moved: s.moved}
	if want {
		select {
		case s.started <- struct{}{}:
		default: // the timing goroutine has not even seen the last start
		}
	}
	return nil
}

// keepTime starts the goroutine that asks for the delay from time to time while
// the stream runs, so that Delay need not wait for the server. Close ends it.
func (s *stream) keepTime(ask func() (delay int, err error)) {
	s.wg.Go(func() {
		tick := time.NewTicker(timing)
		defer tick.Stop()
		for {
			select {
			case <-s.started:
				tick.Reset(timing)
			case <-tick.C:
			case <-s.closed:
				return
			}
			s.mu.Lock()
			running, moved := s.running, s.moved
			s.mu.Unlock()
			if !running {
				tick.Stop() // sleep until the next start
				continue
			}
			before := time.Now()
			delay, err := ask()
			if err != nil {
				continue
			}
			s.mu.Lock()
			s.clock = reading{before.Add(time.Since(before) / 2), delay, moved}
			s.mu.Unlock()
		}
	})
}

func (s *stream) fail(op string, err error) error {
	if errors.Is(err, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("pulse: %s: %w", op, err)
}

// Check returns why the stream is over, nil if it is not.
func (s *stream) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.fail("check", s.err)
	}
	return nil
}

// Xruns returns how often the server ran dry, or was read too late.
func (s *stream) Xruns() int { return int(s.xruns.Load()) }

// Close ends the stream at once and wakes who waits. Safe twice.
func (s *stream) Close() error {
	s.lose(ErrClosed)
	err := s.link.close()
	s.wg.Wait()
	return err
}
