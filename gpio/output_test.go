package gpio

import (
	"context"
	"errors"
	"math"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	s := newSim(t, "lamps", "", "LAMP", "DOOR")
	for _, activeLow := range []bool{false, true} {
		l := s.line("DOOR")
		l.ActiveLow = activeLow
		o, err := OpenOutput(l)
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string, on bool) {
			t.Helper()
			if got := s.level(2) != activeLow; got != on {
				t.Errorf("active low %v, %s: on %v, want %v", activeLow, when, got, on)
			}
		}
		check("opened", false)
		for _, on := range []bool{true, false, true} {
			if err := o.Set(on); err != nil {
				t.Fatal(err)
			}
			check("set", on)
		}
		if err := o.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := o.Close(); err != nil {
			t.Errorf("second Close = %v", err)
		}
		if err := o.Set(true); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Set after Close = %v", err)
		}
	}
}

// trace lets the kernel note each level that it gives to a line. The result
// returns what was noted since, by line.
func trace(s *sim) func() map[string]string {
	s.t.Helper()
	const dir = "/sys/kernel/tracing"
	if err := syscall.Mount("tracefs", dir, "tracefs", 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
		s.t.Fatal(err)
	}
	s.write(dir+"/events/gpio/gpio_value/enable", "1")
	s.t.Cleanup(func() { s.write(dir+"/events/gpio/gpio_value/enable", "0") })
	s.must(os.WriteFile(dir+"/trace", nil, 0)) // empties it
	note := regexp.MustCompile(`gpio_value: (\d+) set ([01])`)
	return func() map[string]string {
		levels := map[string]string{}
		for _, m := range note.FindAllStringSubmatch(s.read(dir+"/trace"), -1) {
			levels[m[1]] += m[2]
		}
		return levels
	}
}

// A door that is wired active low must not open for a microsecond when the
// program starts.
func TestOutputFirstLevel(t *testing.T) {
	s := newSim(t, "door", "DOOR")
	for _, activeLow := range []bool{true, false} {
		levels := trace(s)
		o, err := OpenOutput(Line{Chip: "door", Name: "DOOR", ActiveLow: activeLow})
		if err != nil {
			t.Fatal(err)
		}
		s.must(o.Set(true))
		s.must(o.Close())
		on, off := "1", "0"
		if activeLow {
			on, off = off, on
		}
		got := levels()
		for line, l := range got {
			// The kernel may note the first level twice.
			if strings.TrimLeft(l, off) != on+off || !strings.HasPrefix(l, off) {
				t.Errorf("active low %v: line %s had the levels %s, want %s, on, off", activeLow, line, l, off)
			}
		}
		if len(got) != 1 {
			t.Errorf("active low %v: the kernel noted %v, want one line", activeLow, got)
		}
	}
}

func TestOutputChipLeaves(t *testing.T) {
	s := newSim(t, "lamps", "LAMP")
	o, err := OpenOutput(s.line("LAMP"))
	if err != nil {
		t.Fatal(err)
	}
	s.unplug()
	if err := o.Set(true); !errors.Is(err, ErrGone) {
		t.Errorf("Set = %v, want that the chip is gone", err)
	}
	if err := o.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	s.plug()
}

func TestLEDsOnLines(t *testing.T) {
	s := newSim(t, "lamps", "RED", "GREEN")
	green := s.line("GREEN")
	green.ActiveLow = true
	reports := make(chan error, 16) // more than the test makes
	leds := NewLEDs([]Line{s.line("RED"), green}, func(_ Line, err error) { reports <- err })
	leds.Show(0, On)
	leds.Show(1, FastBlink)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- leds.Run(ctx) }()
	eventually(t, "red is lit", func() bool { return s.level(0) })
	for range 3 {
		eventually(t, "green is lit", func() bool { return !s.level(1) })
		eventually(t, "green is dark", func() bool { return s.level(1) })
	}
	s.unplug()
	for range 2 {
		if err := <-reports; !errors.Is(err, ErrGone) {
			t.Errorf("report = %v, want that the chip is gone", err)
		}
	}
	for range 2 {
		if err := <-reports; !errors.Is(err, ErrNoChip) {
			t.Errorf("report = %v, want that it is not there", err)
		}
	}
	s.plug()
	for range 2 {
		if err := <-reports; err != nil {
			t.Errorf("report = %v, want that all is well", err)
		}
	}
	eventually(t, "red is lit again", func() bool { return s.level(0) })
	eventually(t, "green blinks again", func() bool { return !s.level(1) })
	levels := trace(s)
	leds.Show(1, On)
	eventually(t, "green is lit", func() bool { return !s.level(1) })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	// The chip forgets the levels of lines that were given back.
	last := map[byte]int{}
	for _, l := range levels() {
		last[l[len(l)-1]]++
	}
	if len(last) != 2 || last['0'] != 1 || last['1'] != 1 {
		t.Errorf("levels %v, want red to end with 0 and green, active low, with 1", levels())
	}
}

// Nothing is pressed and nothing blinks: four buttons and four LEDs may wake the
// processor less than five times a second, all in all.
func TestIdle(t *testing.T) {
	s := newSim(t, "panel", "B0", "B1", "B2", "B3", "L0", "L1", "L2", "L3")
	var lamps []Line
	for i := range 4 {
		touch(t, s, s.line(s.lines[i]), i, Timing{Long: time.Second, Double: 300 * time.Millisecond})
		lamps = append(lamps, s.line(s.lines[4+i]))
	}
	leds := NewLEDs(lamps, nil)
	leds.Show(2, On)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- leds.Run(ctx) }()
	eventually(t, "a LED is lit", func() bool { return s.level(6) })
	time.Sleep(time.Second)
	usage := func() (wakes int64, cpu time.Duration) {
		var u syscall.Rusage
		s.must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return int64(u.Nvcsw), time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	// The runtime wakes up too, in bursts: the quietest of three stretches counts. A
	// line that wakes us does so in each.
	const seconds = 20
	quiet := int64(math.MaxInt64)
	for range 3 {
		wakes, cpu := usage()
		time.Sleep(seconds * time.Second)
		wakes2, cpu2 := usage()
		t.Logf("in %d s: %d wake-ups, %v of CPU", seconds, wakes2-wakes, cpu2-cpu)
		quiet = min(quiet, wakes2-wakes)
	}
	if quiet >= 5*seconds {
		t.Errorf("%d wake-ups in %d s, want less than 5 a second", quiet, seconds)
	}
	cancel()
	<-done
}
