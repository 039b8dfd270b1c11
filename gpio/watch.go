package gpio

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// A line that is not there is looked for so often.
	lookAgain = 2 * time.Second

	// A quiet line is read so often, in case its chip left: before Linux 6.6 a
	// wait does not end by it. Also what an edge that the kernel dropped costs.
	checkEvery = 5 * time.Second

	// Before a level counts, edges that wait in the kernel are given so long to
	// come out, since a timer can be served before them on a busy machine.
	drainTime = time.Millisecond
)

// An Event is one thing that happened at a button.
type Event struct {
	Kind Kind
	At   time.Time // when it was known, a settle time after the contact closed
	Err  error     // why a line is Lost, a *LineError; else nil
}

// Watch reports what is done with the button on line until ctx is done, and
// returns ctx's error then; it returns at once when the timing is wrong. A line
// that is missing, busy or taken away is Lost, and is looked for every 2 s.
//
// events should be read promptly: Watch waits for its reader, and what happens
// meanwhile comes late, or, a press and its release, not at all. An unbuffered
// channel will do. Nothing is sent after Watch returned.
//
// While a line is open Watch runs one more goroutine, which waits for ctx and
// ends before Watch does. An untouched button wakes it once in 5 s.
func Watch(ctx context.Context, line Line, timing Timing, events chan<- Event) error {
	w := watcher{line: line, events: events, open: openInput}
	return w.run(ctx, timing)
}

// A watcher is the state of one Watch, and is owned by it.
type watcher struct {
	line    Line
	events  chan<- Event
	open    func(Line) (input, error)
	bounce  debouncer
	gesture gesture
	noisy   bool      // told, and not settled since
	kinds   [8]Kind   // room for what one step says
	check   time.Time // when the level is to be read although nothing happened
}

func (w *watcher) run(ctx context.Context, timing Timing) error {
	if err := timing.Check(); err != nil {
		return err
	}
	timing = timing.withDefaults()
	w.bounce = debouncer{settle: timing.Settle, hold: timing.Hold}
	w.gesture = gesture{timing: timing}
	var told string
	for {
		err := w.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var opening *LineError
		if !errors.As(err, &opening) || opening.Op != "open" {
			told = "" // the line had been there
		}
		// The same trouble is told once, not at every look.
		if err.Error() != told {
			told = err.Error()
			w.send(ctx, Event{Kind: Lost, At: time.Now(), Err: err})
		}
		pause(ctx, lookAgain)
	}
}

// session opens the line and serves it until it is lost or ctx is done.
func (w *watcher) session(ctx context.Context) error {
	in, err := w.open(w.line)
	if err != nil {
		return err
	}
	defer in.close()

	// A halt can fall between two waits and be lost, hence the repetition.
	var wg sync.WaitGroup
	defer wg.Wait()
	over := make(chan struct{})
	defer close(over)
	wg.Go(func() {
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for {
			in.halt()
			select {
			case <-over:
				return
			case <-again.C:
			}
		}
	})

	active, err := in.level()
	if err != nil {
		return err
	}
	now := time.Now()
	w.bounce.start(active)
	w.gesture.start(active, now)
	w.noisy, w.check = false, nextCheck(now)
	w.send(ctx, Event{Kind: Found, At: now})
	for ctx.Err() == nil && err == nil {
		err = w.step(ctx, in)
	}
	w.tell(ctx, w.gesture.stop(w.kinds[:0]), time.Now())
	return err
}

// step waits for the next thing to happen and deals with it.
func (w *watcher) step(ctx context.Context, in input) error {
	began := time.Now()
	until := earliest(w.bounce.due, w.gestureDue(), w.check)
	edge := in.wait(max(until.Sub(began), drainTime))
	now := time.Now()
	if !edge && w.settling() && !now.Before(w.bounce.due) {
		edge = in.wait(drainTime)
		now = time.Now()
	}
	if ctx.Err() != nil {
		return nil
	}
	if !edge && now.Before(until) {
		// There is nothing to wait for any more: the line is gone, which level
		// tells, or its file is broken and must not keep a processor busy.
		pause(ctx, 50*time.Millisecond)
		w.check = now
	}
	settled := w.settling() && !now.Before(w.bounce.due)
	if edge || settled || !now.Before(w.check) {
		active, err := in.level()
		if err != nil {
			return err
		}
		w.check = nextCheck(now)
		switch {
		case edge, !w.settling() && active != w.bounce.active: // the latter: its edge was lost
			w.onEdge(ctx, active, now)
		case settled:
			w.onLevel(ctx, active, now)
		}
	}
	if due := w.gestureDue(); !due.IsZero() && !now.Before(due) {
		w.tell(ctx, w.gesture.tick(w.kinds[:0], now), now)
	}
	return nil
}

func (w *watcher) settling() bool { return !w.bounce.due.IsZero() }

func (w *watcher) onEdge(ctx context.Context, active bool, now time.Time) {
	if !w.bounce.edge(active, now) {
		return
	}
	if !w.noisy {
		w.noisy = true
		w.tell(ctx, append(w.kinds[:0], Noisy), now)
	}
	pause(ctx, w.bounce.settle) // let the kernel drop what is of no use
}

func (w *watcher) onLevel(ctx context.Context, active bool, now time.Time) {
	changed := w.bounce.read(active, now)
	w.noisy = w.noisy && w.settling()
	switch {
	case changed && active:
		w.tell(ctx, w.gesture.press(w.kinds[:0], now), now)
	case changed:
		w.tell(ctx, w.gesture.release(w.kinds[:0], now), now)
	}
}

// gestureDue is when the gesture wants to go on. That waits for a level that is
// just settling, which may be the release that came in time; but a noisy line
// must not keep anybody talking.
func (w *watcher) gestureDue() time.Time {
	if w.settling() && !w.noisy {
		return time.Time{}
	}
	return w.gesture.due
}

func (w *watcher) tell(ctx context.Context, kinds []Kind, now time.Time) {
	for _, k := range kinds {
		w.send(ctx, Event{Kind: k, At: now})
	}
}

func (w *watcher) send(ctx context.Context, e Event) {
	select {
	case w.events <- e:
	case <-ctx.Done():
	}
}

// nextCheck is when lines are looked at next: all at once, so that they wake the
// processor together.
func nextCheck(now time.Time) time.Time {
	return now.Add(checkEvery - now.Sub(now.Truncate(checkEvery)))
}

// earliest is the first of the times that are not zero.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
