package gpio

import (
	"errors"
	"fmt"
	"time"
)

// A Kind is what happened at a button.
type Kind uint8

const (
	// Down and Up frame whatever the finger does, as soon as it has settled.
	Down Kind = iota + 1
	Up
	// Press is one short press: with Down if nothing else is asked for, else as
	// soon as it can be nothing else: with Up, or when no second press came.
	Press
	// LongPress comes while the button is still down.
	LongPress
	// DoublePress comes with the Down of the second press.
	DoublePress
	// TalkStart and TalkEnd frame the time that a push-to-talk button is held.
	// Whatever happens, a TalkEnd follows each TalkStart before the next Down.
	TalkStart
	TalkEnd
	// Stuck tells that the button is down for longer than anybody holds one. It
	// counts as released until it was up, which Freed tells.
	Stuck
	Freed
	// TooFast tells that presses are being left out because there are too many.
	// It comes once, until a press is taken again.
	TooFast
	// Noisy tells that the line does not settle, most often an open input
	// without a bias. It comes once, until the line has settled.
	Noisy
	// Found tells that the line is open and watched, Lost that it is not, with
	// the reason in Err. After Lost nothing holds that came before it.
	Found
	Lost
)

var kindNames = [...]string{Down: "down", Up: "up", Press: "press", LongPress: "long press",
	DoublePress: "double press", TalkStart: "talk start", TalkEnd: "talk end", Stuck: "stuck",
	Freed: "freed", TooFast: "too fast", Noisy: "noisy", Found: "found", Lost: "lost"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("gpio.Kind(%d)", uint8(k))
}

// Timing says what counts as a press, and as which. The zero value is a plain
// button: one Press for each, at once.
type Timing struct {
	Settle time.Duration // a level counts when it stood still for so long; 0: 20 ms
	Hold   time.Duration // a press counts when it was held for so long; 0, or less than Settle: Settle

	Long   time.Duration // held so long it is a LongPress; 0: there is none
	Talk   time.Duration // held so long it is push to talk; 0: there is none; excludes Long
	Double time.Duration // a second press so soon after the first is a DoublePress; 0: there is none

	Stuck time.Duration // held so long the button is stuck; 0: 60 s

	// Presses in quick succession: Burst of them are taken, and then one more
	// for each Refill that has passed. 0: 5, and 500 ms.
	Burst  int
	Refill time.Duration
}

// withDefaults fills what is zero.
func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&t.Settle, 20*time.Millisecond)
	set(&t.Stuck, time.Minute)
	set(&t.Refill, 500*time.Millisecond)
	t.Hold = max(t.Hold, t.Settle)
	if t.Burst == 0 {
		t.Burst = 5
	}
	return t
}

// Check reports everything that is wrong with t.
func (t Timing) Check() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("gpio: timing: "+format, a...)) }
	for _, f := range []struct {
		name string
		d    time.Duration
	}{{"settle", t.Settle}, {"hold", t.Hold}, {"long", t.Long}, {"talk", t.Talk},
		{"double", t.Double}, {"stuck", t.Stuck}, {"refill", t.Refill}} {
		if f.d < 0 {
			bad("%s is negative (%v)", f.name, f.d)
		}
	}
	if t.Burst < 0 {
		bad("burst is negative (%d)", t.Burst)
	}
	if t.Long > 0 && t.Talk > 0 {
		bad("a button cannot have both a long press and push to talk")
	}
	t = t.withDefaults()
	if held := max(t.Long, t.Talk); held >= t.Stuck {
		bad("a press of %v cannot be told from a stuck button (%v)", held, t.Stuck)
	}
	if t.Hold >= t.Stuck {
		bad("a hold of %v cannot be told from a stuck button (%v)", t.Hold, t.Stuck)
	}
	return errors.Join(errs...)
}

// A gestureState is where a button is between two events.
type gestureState uint8

const (
	idle    gestureState = iota
	down                 // pressed, and not yet known for what
	held                 // pressed, and nothing more comes of it
	talking              // pressed to talk
	between              // up, waiting for a second press
	deaf                 // down, but not taken: too fast, or down from the start
	stuck                // down for too long
)

// A gesture makes events of clean levels. Like debouncer it has neither clock
// nor line.
type gesture struct {
	timing  Timing // with defaults, set at the start, then constant
	state   gestureState
	pressed time.Time // when the button went down
	due     time.Time // when tick is to be called; zero: never

	full   time.Time // when the limiter has all of its burst again
	warned bool      // TooFast was told since a press was last taken
}

// press appends to events what a button going down means.
func (g *gesture) press(events []Kind, now time.Time) []Kind {
	second := g.state == between
	g.pressed = now
	g.due = now.Add(g.timing.Stuck)
	if !g.take(now) {
		if second {
			events = append(events, Press)
		}
		if !g.warned {
			events = append(events, TooFast)
		}
		g.state, g.warned = deaf, true
		return events
	}
	g.warned = false
	events = append(events, Down)
	hold := max(g.timing.Long, g.timing.Talk)
	switch {
	case second:
		g.state = held
		events = append(events, DoublePress)
	case hold > 0:
		g.state = down
		g.due = now.Add(hold)
	case g.timing.Double > 0:
		g.state = down
	default:
		g.state = held
		events = append(events, Press)
	}
	return events
}

// release appends what a button going up means.
func (g *gesture) release(events []Kind, now time.Time) []Kind {
	was := g.state
	g.state, g.due = idle, time.Time{}
	switch was {
	case down:
		events = append(events, Up)
		if g.timing.Double == 0 {
			return append(events, Press)
		}
		g.state, g.due = between, now.Add(g.timing.Double)
	case held:
		events = append(events, Up)
	case talking:
		events = append(events, TalkEnd, Up)
	case stuck:
		events = append(events, Freed)
	}
	return events
}

// tick appends what the passing of time means. It is called when due.
func (g *gesture) tick(events []Kind, now time.Time) []Kind {
	g.due = time.Time{}
	if g.state == between {
		g.state = idle
		return append(events, Press)
	}
	end := g.pressed.Add(g.timing.Stuck)
	switch {
	case g.state == down && now.Before(end) && g.timing.Talk > 0:
		g.state, g.due = talking, end
		return append(events, TalkStart)
	case g.state == down && now.Before(end) && g.timing.Long > 0:
		g.state, g.due = held, end
		return append(events, LongPress)
	case g.state == talking:
		events = append(events, TalkEnd, Up)
	case g.state == down || g.state == held:
		events = append(events, Up)
	case g.state != deaf:
		return events
	}
	g.state = stuck
	return append(events, Stuck)
}

// start is for a line that was just opened. A button that is down is not
// pressed: nobody knows since when.
func (g *gesture) start(active bool, now time.Time) {
	g.state, g.due = idle, time.Time{}
	if active {
		g.state, g.pressed, g.due = deaf, now, now.Add(g.timing.Stuck)
	}
}

// stop is for a line that was lost: it appends the ends of what had begun.
func (g *gesture) stop(events []Kind) []Kind {
	switch g.state {
	case down, held:
		events = append(events, Up)
	case talking:
		events = append(events, TalkEnd, Up)
	case between:
		events = append(events, Press)
	}
	g.state, g.due = idle, time.Time{}
	return events
}

// take asks the rate limiter for one press: a bucket of Burst, of which it
// keeps the time at which it will be full.
func (g *gesture) take(now time.Time) bool {
	if g.full.Before(now) {
		g.full = now
	}
	if g.full.Sub(now) > time.Duration(g.timing.Burst-1)*g.timing.Refill {
		return false
	}
	g.full = g.full.Add(g.timing.Refill)
	return true
}
