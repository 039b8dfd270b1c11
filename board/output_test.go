package board

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/gpio"
)

// A fakeLine is an output in memory that can be taken away.
type fakeLine struct {
	mu    sync.Mutex // guards the rest
	gone  error      // why it cannot be opened or set
	on    bool
	opens int
	open  bool
}

func (f *fakeLine) get(gpio.Line) (switched, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return nil, f.gone
	}
	f.opens++
	f.on, f.open = false, true
	return f, nil
}

func (f *fakeLine) Set(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone != nil {
		return f.gone
	}
	f.on = on
	return nil
}

func (f *fakeLine) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on, f.open = false, false
	return nil
}

func (f *fakeLine) be(gone error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = gone
}

func (f *fakeLine) is() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on
}

var door = Wiring{
	Buttons: []Line{{Part: ButtonPart, Err: ErrLeftOut}}, LEDs: []Line{{Part: LEDPart, Err: ErrLeftOut}},
	Outputs: []Line{{Label: "door", Part: "output door", Line: gpio.Line{Name: "GPIO13"}}, {Label: "none", Part: "output none", Err: ErrUnset}},
}

// A door is open for as long as was asked for last, and never longer.
func TestOutputPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		h := f.start(t, door, nil)
		o := h.outputs[0]
		expect := func(on bool) {
			t.Helper()
			synctest.Wait()
			if f.line.is() != on || o.On() != on {
				t.Errorf("the line is on: %v, the output: %v, want %v", f.line.is(), o.On(), on)
			}
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		expect(false)
		do(o.Pulse(3 * time.Second))
		expect(true)
		time.Sleep(2999 * time.Millisecond)
		expect(true)
		time.Sleep(time.Millisecond)
		expect(false)
		do(o.Pulse(3 * time.Second))
		time.Sleep(2 * time.Second)
		do(o.Pulse(3 * time.Second)) // once more: from now on
		time.Sleep(2 * time.Second)
		expect(true)
		time.Sleep(time.Second)
		expect(false)
		do(o.Pulse(3 * time.Second))
		do(o.Set(false)) // at once
		expect(false)
		do(o.Set(true)) // the pulse before does not end this
		time.Sleep(time.Minute)
		expect(true)
		do(o.Pulse(time.Second))
		time.Sleep(500 * time.Millisecond)
		do(h.close())
		expect(false)
		if err := o.Pulse(time.Second); err == nil || f.line.is() {
			t.Errorf("after close: %v, on %v", err, f.line.is())
		}
	})
}

// What waits at close does not keep a door open, and the two directions of sound
// wait at the same time.
func TestOutputOffFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		var both sync.WaitGroup
		both.Add(2)
		for i := range f.cards {
			f.cards[i].close = func() {
				if f.line.is() {
					t.Errorf("%s is closed while the door is open", direction(i).part())
				}
				both.Done()
				both.Wait() // for ever, if one comes after the other
			}
		}
		h := f.start(t, door, nil)
		if err := errors.Join(h.outputs[0].Set(true), h.close()); err != nil {
			t.Error(err)
		}
	})
}

// A line that is away is told, looked for, and comes back switched off.
func TestOutputGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &gpio.LineError{Op: "open", Line: gpio.Line{Name: "GPIO13"}, Holder: "spi0", Err: gpio.ErrBusy}
		f := fakeBoard{}
		f.line.be(busy)
		h := f.start(t, door, nil)
		o := h.outputs[0]
		if err := o.Pulse(time.Second); !errors.Is(err, gpio.ErrBusy) || o.On() {
			t.Errorf("pulse of a busy line: %v, on %v", err, o.On())
		}
		if err := o.Set(false); err != nil {
			t.Errorf("off of a busy line: %v", err)
		}
		got := strings.Join(text(h.problems()), "\n")
		if !strings.Contains(got, `output door: gpio: open GPIO13: line in use by "spi0": take the line from`) ||
			!strings.Contains(got, "output none: no line is set: name one as none.line") {
			t.Errorf("problems %q", got)
		}
		if err := h.outputs[1].Set(true); !errors.Is(err, ErrUnset) {
			t.Errorf("an output without a line: %v", err)
		}
		f.line.be(nil)
		time.Sleep(outputAgain + time.Millisecond)
		if p := h.problems(); len(p) != 1 || f.line.is() {
			t.Errorf("the line is free: problems %q, on %v", text(p), f.line.is())
		}
		if err := o.Set(true); err != nil || !f.line.is() {
			t.Errorf("on = %v", err)
		}
		f.line.be(gpio.ErrGone) // and nobody touches it
		time.Sleep(lookEvery + time.Millisecond)
		if p := h.problems(); len(p) != 2 || o.On() {
			t.Errorf("the line is gone: problems %q, on %v", text(p), o.On())
		}
		f.line.be(nil)
		time.Sleep(lookEvery)
		if p := h.problems(); len(p) != 1 || f.line.is() || o.On() {
			t.Errorf("the line is back: problems %q, on %v and %v, want off", text(p), f.line.is(), o.On())
		}
	})
}

func TestSimulatedParts(t *testing.T) {
	b, err := Open(Sim, Options{LEDs: []LineOptions{{Name: "green"}, {Name: "red"}}, Outputs: []LineOptions{{Name: "door"}}})
	if err != nil {
		t.Fatal(err)
	}
	b.LED("red").Set("on")
	if b.Lamp != b.LED("green") || b.LED("red").Shows() != "on" || b.Lamp.Shows() != "" || b.LED("blue") != nil {
		t.Errorf("LEDs %v and %v", b.Lamp.Shows(), b.LED("red").Shows())
	}
	if b.Output("window") != nil {
		t.Error("there is an output that nobody asked for")
	}
	if err := b.Output("door").Set(true); err != nil || !b.Output("door").On() {
		t.Errorf("door: %v, on %v", err, b.Output("door").On())
	}
	if err := b.Close(); err != nil || b.Output("door").On() {
		t.Errorf("Close = %v, the door is on: %v", err, b.Output("door").On())
	}
}
