package gpio

import (
	"context"
	"sync"
	"time"
)

// LEDs shows patterns on several LEDs. Show may be called from any goroutine,
// before, during and after Run.
type LEDs struct {
	lines  []Line                         // constant
	report func(Line, error)              // constant
	open   func(Line) (switchable, error) // constant; OpenOutput but for tests
	wake   chan struct{}                  // of size 1: Show was called; more need not be known

	mu   sync.Mutex
	want []Pattern // guarded by mu
}

// A switchable is what LEDs uses of *Output.
type switchable interface {
	Set(on bool) error
	Close() error
}

// A led is one LED as Run sees it, and is owned by it.
type led struct {
	out   switchable // nil: not there
	shown Pattern
	since time.Time // when the pattern began
	lit   bool
	told  string // the trouble that was reported last
}

// NewLEDs makes LEDs of the lines, all dark; Run lights them. report, which may
// be nil, is called by Run when the trouble with a line changes: with a
// *LineError, or with nil when the line works again. Trouble with one line does
// not touch the others.
func NewLEDs(lines []Line, report func(Line, error)) *LEDs {
	if report == nil {
		report = func(Line, error) {}
	}
	return &LEDs{
		lines: lines, report: report, want: make([]Pattern, len(lines)), wake: make(chan struct{}, 1),
		open: func(l Line) (switchable, error) {
			o, err := OpenOutput(l)
			if err != nil {
				return nil, err // not a nil *Output in an interface
			}
			return o, nil
		},
	}
}

// Show makes the LED of lines[i] show p, from the beginning of the pattern
// unless it shows it already. It returns at once.
func (l *LEDs) Show(i int, p Pattern) {
	l.mu.Lock()
	l.want[i] = p
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run drives the LEDs until ctx is done, with no goroutine but the caller's.
// Then all are dark and their lines given back, and it returns ctx's error. A
// line that is missing or goes away is looked for every 2 s. Steady LEDs cost a
// look at their lines every 5 s and nothing else. When the process is killed
// the LEDs stay as they are on most chips; the next Run makes them dark first.
func (l *LEDs) Run(ctx context.Context) error {
	leds := make([]led, len(l.lines))
	defer func() {
		for i := range leds {
			if d := &leds[i]; d.out != nil {
				if err := d.out.Close(); err != nil {
					l.report(l.lines[i], err)
				}
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var look time.Time // when lines are looked at, and for, next
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-l.wake:
		}
		now := time.Now()
		looking := !now.Before(look)
		if looking {
			look = nextCheck(now)
		}
		next := look
		for i := range leds {
			d := &leds[i]
			change := l.update(i, d, now, looking)
			if change > 0 {
				next = earliest(next, now.Add(change))
			}
			if again := now.Add(lookAgain); d.out == nil && again.Before(look) {
				look, next = again, earliest(next, again)
			}
		}
		timer.Reset(time.Until(next))
	}
}

// update gives one LED the level that it should have now, and returns in how
// long that changes; 0: not by itself. looking: the line is opened if it is not,
// and written to even if nothing changed, which finds out that it is gone.
func (l *LEDs) update(i int, d *led, now time.Time, looking bool) time.Duration {
	l.mu.Lock()
	want := l.want[i]
	l.mu.Unlock()
	if want != d.shown || d.since.IsZero() {
		d.shown, d.since = want, now
	}
	if d.out == nil {
		if !looking {
			return 0
		}
		out, err := l.open(l.lines[i])
		l.tell(i, d, err)
		if err != nil {
			return 0
		}
		d.out, d.lit = out, false
	}
	lit, next := d.shown.at(now.Sub(d.since))
	if lit == d.lit && !looking {
		return next
	}
	if err := d.out.Set(lit); err != nil {
		l.tell(i, d, err)
		_ = d.out.Close() // the trouble is told
		d.out = nil
		return 0
	}
	d.lit = lit
	return next
}

// tell reports trouble, or its end, once.
func (l *LEDs) tell(i int, d *led, err error) {
	var text string
	if err != nil {
		text = err.Error()
	}
	if text != d.told {
		d.told = text
		l.report(l.lines[i], err)
	}
}
