package gpio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A lamp stands in for an Output.
type lamp struct {
	mu      sync.Mutex // guards all
	line    Line
	present bool
	lit     bool
	open    bool
	opened  int
	written int
	changes []string // "250ms on"
	start   time.Time
}

// here plugs the lamp in, or pulls it out.
func (l *lamp) here(present bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.present = present
}

// look tells how the lamp is.
func (l *lamp) look() (lit bool, opened, written int, changes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lit, l.opened, l.written, slices.Clone(l.changes)
}

func (l *lamp) Set(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written++
	if !l.present {
		return &LineError{Op: "set", Line: l.line, Err: ErrGone}
	}
	if on != l.lit {
		l.lit = on
		l.changes = append(l.changes, fmt.Sprint(time.Since(l.start), " ", map[bool]string{true: "on", false: "off"}[on]))
	}
	return nil
}

func (l *lamp) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.lit = false, false
	return nil
}

// sleep lets simulated time pass, and what then happens happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// bench makes LEDs on n lamps, of which all but the missing are there, and runs
// them until the test's end. Run may have looked at the lamps when it returns.
func bench(t *testing.T, n int, missing ...int) (lamps []*lamp, leds *LEDs, reports *[]string, stop func()) {
	t.Helper()
	lines := make([]Line, n)
	reports = new([]string)
	for i := range lines {
		lines[i] = Line{Chip: "chip", Offset: i}
		lamps = append(lamps, &lamp{line: lines[i], present: !slices.Contains(missing, i), start: time.Now()})
	}
	leds = NewLEDs(lines, func(l Line, err error) {
		*reports = append(*reports, fmt.Sprint(l, ": ", err))
	})
	leds.open = func(line Line) (switchable, error) {
		l := lamps[line.Offset]
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.present {
			return nil, &LineError{Op: "open", Line: line, Err: ErrNoLine}
		}
		if l.open {
			t.Errorf("%v opened twice", line)
		}
		l.open, l.lit = true, false
		l.opened++
		return l, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- leds.Run(ctx) }()
	return lamps, leds, reports, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		for i, l := range lamps { // Run has returned
			if l.open || l.lit {
				t.Errorf("after Run LED %d is open %v, lit %v", i, l.open, l.lit)
			}
		}
	}
}

func TestLEDsPatterns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lamps, leds, _, stop := bench(t, 3)
		synctest.Wait()
		leds.Show(0, SlowBlink)
		leds.Show(1, On)
		sleep(500 * time.Millisecond)
		leds.Show(2, Code(2)) // begins now, not with the others
		leds.Show(0, SlowBlink)
		sleep(1750 * time.Millisecond)
		leds.Show(0, Off)
		synctest.Wait()
		for i, want := range [][]string{
			{"0s on", "1s off", "2s on", "2.25s off"},
			{"0s on"},
			{"500ms on", "750ms off", "1.05s on", "1.3s off"},
		} {
			if _, _, _, got := lamps[i].look(); !slices.Equal(got, want) {
				t.Errorf("LED %d: %v, want %v", i, got, want)
			}
		}
		stop()
	})
}

// Steady LEDs are written to every 5 s, to find out whether they are there.
func TestLEDsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lamps, leds, _, stop := bench(t, 4)
		leds.Show(1, On)
		synctest.Wait()
		var before, after [2]int
		for i := range before {
			_, _, before[i], _ = lamps[i].look()
		}
		sleep(100*time.Second + time.Millisecond)
		for i := range after {
			_, _, after[i], _ = lamps[i].look()
			if n := after[i] - before[i]; n != 20 {
				t.Errorf("LED %d: %d writes in 100 s, want 20", i, n)
			}
		}
		stop()
	})
}

func TestLEDsGoAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lamps, leds, reports, stop := bench(t, 2, 1)
		leds.Show(0, On)
		leds.Show(1, On)
		sleep(time.Minute)
		if lit, opened, _, changes := lamps[0].look(); !lit || opened != 1 || !slices.Equal(changes, []string{"0s on"}) {
			t.Errorf("the LED that works: lit %v, opened %d times, %v", lit, opened, changes)
		}
		lamps[1].here(true)
		sleep(3 * time.Second)
		if lit, _, _, _ := lamps[1].look(); !lit {
			t.Error("not lit 3 s after it came")
		}
		lamps[1].here(false)
		sleep(6 * time.Second) // steady, so only the look finds out
		lamps[1].here(true)
		sleep(3 * time.Second)
		if lit, opened, _, _ := lamps[1].look(); !lit || opened != 2 {
			t.Errorf("after its return: lit %v, opened %d times", lit, opened)
		}
		want := []string{
			"line 1 of chip: gpio: open line 1 of chip: no such line",
			"line 1 of chip: <nil>",
			"line 1 of chip: gpio: set line 1 of chip: GPIO chip is gone",
			"line 1 of chip: gpio: open line 1 of chip: no such line",
			"line 1 of chip: <nil>",
		}
		if got := *reports; !slices.Equal(got, want) {
			t.Errorf("reports:\n%q\nwant\n%q", got, want)
		}
		stop()
	})
}
