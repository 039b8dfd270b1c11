package alsa

import (
	"context"
	"sync"
	"time"
)

const (
	// searchEvery is the time between two looks for a device that is gone.
	searchEvery = 250 * time.Millisecond
	// faithful is how many looks are for the same device before another one may
	// take its place: 10 s, longer than a sound server or a USB hub takes to
	// restart. Else the restarting server would find its card taken by us.
	faithful = 40
	// searchSlowly is the time between two looks from then on: a box without a
	// card is to sleep.
	searchSlowly = 2 * time.Second
)

// kept is what a keeper keeps open: *Playback or *Capture.
type kept interface {
	comparable
	Check() error
	Delay() int
	Xruns() int
	Device() string
	Close() error
}

// keeper keeps a stream open. One goroutine uses the stream (get, pass).
type keeper[S kept] struct {
	wanted func(context.Context) string // what to look for
	open   func(ctx context.Context, device string) (S, error)
	ctx    context.Context // ends with close, and with it what wanted and open wait for
	cancel context.CancelFunc
	wg     sync.WaitGroup // the search

	due   time.Time // when the samples that passed without a device are over; owned by pass
	timer *time.Timer

	mu     sync.Mutex // guards the rest
	stream S
	has    bool   // stream is open
	last   string // name of the stream's device, kept when it is gone
	err    error  // why there is none
	lost   int
	past   int // xruns of streams that are gone
	done   bool
}

// start tries to open the stream at once and leaves the rest to the search.
func (k *keeper[S]) start(device func(context.Context) string, open func(ctx context.Context, device string) (S, error)) {
	k.wanted, k.open = device, open
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.timer = time.NewTimer(time.Hour)
	k.timer.Stop()
	s, err := open(k.ctx, device(k.ctx))
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.takeLocked(s)
		return
	}
	k.err = err
	k.wg.Go(k.search)
}

func (k *keeper[S]) takeLocked(s S) { k.stream, k.has, k.last, k.err = s, true, s.Device(), nil }

// search looks for a device until there is one. Only one runs at a time: it is
// started when the stream is lost and ends when there is one again, or at close.
func (k *keeper[S]) search() {
	for try := 0; ; try++ {
		device := k.name()
		if device == "" || try >= faithful {
			device = k.wanted(k.ctx)
		}
		s, err := k.open(k.ctx, device)
		k.mu.Lock()
		if err == nil && !k.done {
			k.takeLocked(s)
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		if err == nil { // closed meanwhile
			s.Close()
			return
		}
		pause := searchEvery
		if try >= faithful {
			pause = searchSlowly
		}
		select {
		case <-k.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// get returns the stream if it is open.
func (k *keeper[S]) get() (S, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has {
		k.due = time.Time{}
	}
	return k.stream, k.has && !k.done
}

// lose gives a stream up that has failed, and starts the search. Who is second to
// find that out changes nothing.
func (k *keeper[S]) lose(s S, err error) {
	k.mu.Lock()
	if k.done || !k.has || k.stream != s {
		k.mu.Unlock()
		return
	}
	k.has, k.err = false, err
	k.lost++
	k.past += s.Xruns()
	k.mu.Unlock()
	s.Close() // before the search: the kernel frees a card when its last file is closed
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.done {
		k.wg.Go(k.search)
	}
}

// pass lets the time of n samples pass.
func (k *keeper[S]) pass(n int) error {
	now := time.Now()
	// The next is due when the last is over, so that rounding does not add up; but
	// nothing is made good after a long pause.
	if k.due.IsZero() || now.Sub(k.due) > time.Second {
		k.due = now
	}
	k.due = k.due.Add(time.Duration(n) * time.Second / Rate)
	k.timer.Reset(k.due.Sub(now))
	defer k.timer.Stop()
	select {
	case <-k.ctx.Done():
		return ErrClosed
	default:
	}
	select {
	case <-k.ctx.Done():
		return ErrClosed
	case <-k.timer.C:
		return nil
	}
}

func (k *keeper[S]) delay() int {
	if s, ok := k.current(); ok {
		return s.Delay()
	}
	return 0
}

func (k *keeper[S]) xruns() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has {
		return k.past + k.stream.Xruns()
	}
	return k.past
}

func (k *keeper[S]) current() (S, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stream, k.has
}

func (k *keeper[S]) losses() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

// state also finds out that a device has left that nobody uses at present.
func (k *keeper[S]) state() error {
	if s, ok := k.current(); ok {
		if err := s.Check(); err != nil {
			k.lose(s, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *keeper[S]) name() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

func (k *keeper[S]) close() error {
	k.mu.Lock()
	again := k.done
	k.done = true
	s, has := k.stream, k.has
	k.mu.Unlock()
	if again {
		return nil
	}
	k.cancel()
	var err error
	if has {
		err = s.Close()
	}
	k.wg.Wait()
	return err
}
