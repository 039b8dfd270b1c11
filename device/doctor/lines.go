package doctor

import (
	"context"
	"errors"
	"sync"
	"time"

	"hushbell/board"
	"hushbell/gpio"
)

// How long a button is watched. Nobody leans on it all that time unasked, and a
// line that does not settle has shown it.
const (
	watchButton = 2500 * time.Millisecond
	heldFor     = 2 * time.Second
)

// hasButton reports whether somebody can press something.
func (e *exam) hasButton() bool {
	for _, b := range e.wiring.Buttons {
		if b.Err == nil {
			return true
		}
	}
	return false
}

// lines looks at buttons, LEDs and outputs.
func (e *exam) lines(ctx context.Context) []Finding {
	if e.simulated() || e.wiringErr != nil {
		return nil
	}
	buttons := make([][]Finding, len(e.wiring.Buttons))
	var wg sync.WaitGroup
	for i, l := range e.wiring.Buttons {
		wg.Go(func() {
			buttons[i] = e.line(l, "a press does nothing", func() error { return watch(ctx, l) })
		})
	}
	wg.Wait()
	var all []Finding
	for _, f := range buttons {
		all = append(all, f...)
	}
	for _, l := range e.wiring.LEDs {
		all = append(all, e.line(l, "nobody sees what the box does", func() error { return gpio.Look(l.Line) })...)
	}
	for _, l := range e.wiring.Outputs {
		all = append(all, e.line(l, "it cannot be switched", func() error { return gpio.Look(l.Line) })...)
	}
	return all
}

// line looks at one line, by look unless the running box has it.
func (e *exam) line(l board.Line, why string, look func() error) []Finding {
	check := string(l.Part)
	switch {
	case errors.Is(l.Err, board.ErrLeftOut):
		return ok(check, "none, as the configuration says")
	case l.Err != nil:
		return found(Warning, check, oneLine(l.Err), why, board.LineRemedy(l.Err, l.Part))
	case e.runs():
		if f := e.problem(l.Part, why); f != nil {
			return f
		}
		return ok(check, "%v: %s", l, heldByBox)
	}
	err := look()
	var busy *gpio.LineError
	switch {
	case err == nil:
		return ok(check, "%v: free", l)
	case e.denied(err):
		return unseen(check, oneLine(err))
	case errors.Is(err, gpio.ErrBusy) && errors.As(err, &busy) && e.held(busy.Holder):
		return ok(check, "%v: %s", l, heldByBox)
	}
	text := oneLine(err)
	if busy == nil && !errors.As(err, &busy) { // it does not name the line
		text = l.String() + ": " + text
	}
	return found(Fault, check, text, why, board.LineRemedy(err, l.Part))
}

// watch looks at a button as the box does, and returns what is wrong with it.
func watch(ctx context.Context, l board.Line) error {
	ctx, cancel := context.WithTimeout(ctx, watchButton)
	defer cancel()
	events := make(chan gpio.Event)
	var wrong error // of the timing; owned by the goroutine until wg.Wait
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(events)
		err := gpio.Watch(ctx, l.Line, gpio.Timing{Settle: l.Timing.Settle, Stuck: heldFor}, events)
		if ctx.Err() == nil {
			wrong = err
		}
	})
	var err error
	for ev := range events {
		switch ev.Kind {
		case gpio.Lost:
			err = ev.Err
		case gpio.Stuck:
			err = board.ErrStuck
		case gpio.Noisy:
			err = board.ErrNoisy
		default:
			continue
		}
		cancel()
	}
	wg.Wait()
	return errors.Join(err, wrong)
}
