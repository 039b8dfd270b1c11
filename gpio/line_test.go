package gpio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// onBoth runs a test on a line of a chip that periph scanned and on one of a
// chip that came later, which is requested from the kernel directly.
func onBoth(t *testing.T, test func(t *testing.T, s *sim, name string)) {
	needBoard(t)
	t.Run("periph", func(t *testing.T) {
		s := boardChip(t)
		want[*periphInput](t, s.line("GPIO17"))
		test(t, s, "GPIO17")
	})
	t.Run("kernel", func(t *testing.T) {
		periphChips() // now or before: it does not know the next chip
		names := make([]string, 18)
		names[17] = "GPIO17"
		s := newSim(t, "expander", names...)
		want[*kernelInput](t, s.line("GPIO17"))
		test(t, s, "GPIO17")
	})
}

// want checks which way a line is opened.
func want[T input](t *testing.T, l Line) {
	t.Helper()
	in, err := openInput(l)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	if _, ok := in.(T); !ok {
		t.Fatalf("%v is opened as a %T", l, in)
	}
}

// boardChip is the chip that the emulated board has from the start.
func boardChip(t *testing.T) *sim {
	needBoard(t)
	s := &sim{t: t, dir: "/sys/kernel/config/gpio-sim/pi", label: "pinctrl-bcm2711"}
	s.chip = s.read(s.dir + "/bank0/chip_name")
	s.sysfs = "/sys/devices/platform/" + s.read(s.dir+"/dev_name") + "/" + s.chip
	return s
}

// A finger is somebody at a button to ground, and what Watch tells of it.
type finger struct {
	*sim
	number int
	wire   *os.File // what pulls the line
	events chan Event
	down   bool // as told last
}

func touch(t *testing.T, s *sim, l Line, number int, timing Timing) *finger {
	t.Helper()
	wire, err := os.OpenFile(fmt.Sprintf("%s/sim_gpio%d/pull", s.sysfs, number), os.O_WRONLY, 0)
	s.must(err)
	t.Cleanup(func() { wire.Close() })
	f := &finger{sim: s, number: number, wire: wire, events: make(chan Event)}
	f.press(false)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Watch(ctx, l, timing, f.events); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch = %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	f.expect(Found)
	return f
}

// heard notes an event.
func (f *finger) heard(e Event) Event {
	if e.Kind == Down || e.Kind == Up {
		f.down = e.Kind == Down
	}
	return e
}

// expect takes the next events, which must be these.
func (f *finger) expect(kinds ...Kind) (last Event) {
	f.t.Helper()
	for _, want := range kinds {
		select {
		case e := <-f.events:
			last = f.heard(e)
			if last.Kind != want {
				f.t.Fatalf("told %v (%v), want %v", last.Kind, last.Err, want)
			}
		case <-time.After(time.Minute):
			f.t.Fatalf("not told of %v within a minute", want)
		}
	}
	return last
}

// quiet takes events until none came for d, and returns their number.
func (f *finger) quiet(d time.Duration) (n int) {
	for {
		select {
		case e := <-f.events:
			f.heard(e)
			n++
		case <-time.After(d):
			return n
		}
	}
}

// clear releases the button and takes what comes of it and of what was before:
// until a clean press is told as nothing but that. It goes by what is told: Watch
// can be later than any time that one would give it.
func (f *finger) clear() {
	f.t.Helper()
	for presses, releases := 0, 0; presses != 2 || releases != 1; {
		f.press(false)
		f.quiet(50 * time.Millisecond)
		if f.down {
			f.settled(Up)
		}
		f.press(true)
		presses = f.settled(Press)
		f.press(false)
		releases = f.settled(Up)
	}
}

// settled takes events until it was quiet after the one that must come last, and
// returns their number.
func (f *finger) settled(last Kind) (n int) {
	f.t.Helper()
	var e Event
	wait := time.Minute
	for {
		select {
		case next := <-f.events:
			e = f.heard(next)
			n++
			wait = time.Minute
			if e.Kind == last {
				wait = 50 * time.Millisecond
			}
		case <-time.After(wait):
			if e.Kind != last {
				f.t.Fatalf("not told of %v within a minute", last)
			}
			return n
		}
	}
}

// press moves the contact.
func (f *finger) press(down bool) {
	f.t.Helper()
	_, err := f.wire.WriteAt([]byte(map[bool]string{true: "pull-down", false: "pull-up"}[down]), 0)
	f.must(err)
}

// bounce brings the contact to a level the way a bad contact goes there. It
// reports the longest time that the contact rested on the way.
func (f *finger) bounce(pressed bool, times int, rest func() time.Duration) (longest time.Duration) {
	last := time.Now()
	move := func(pressed bool) {
		f.press(pressed)
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
	}
	for range times {
		move(pressed)
		spin(rest())
		move(!pressed)
		spin(rest())
	}
	move(pressed)
	return longest
}

// spin waits more exactly than a sleep, which takes over a millisecond here.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func TestThousandPresses(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sim, name string) {
		const settle = 5 * time.Millisecond
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		rest := func() time.Duration { return time.Duration(r.IntN(200)) * time.Microsecond }

		l := s.line(name)
		l.ActiveLow, l.Bias = true, PullUp
		f := touch(t, s, l, 17, Timing{Settle: settle, Refill: time.Millisecond})
		start := time.Now()
		var spoiled, edges int
		var slowest time.Duration // from the last edge to its event
		for n := 0; n < 1000; {
			// On a busy machine a bounce can last longer than the settle time.
			// Then it is no bounce, and what it makes is not counted.
			times := 1 + r.IntN(4)
			if f.bounce(true, times, rest) > settle-time.Millisecond {
				spoiled++
				f.clear()
				continue
			}
			last := time.Now()
			f.expect(Down, Press)
			slowest = max(slowest, time.Since(last))
			edges += 2*times + 1
			n++
			times = 1 + r.IntN(4)
			if f.bounce(false, times, rest) > settle-time.Millisecond {
				spoiled++
				f.clear()
				continue // the press was right
			}
			last = time.Now()
			f.expect(Up)
			slowest = max(slowest, time.Since(last))
			edges += 2*times + 1
		}
		if n := f.quiet(time.Second); n != 0 {
			t.Errorf("%d events after the last press", n)
		}
		t.Logf("1000 presses, %d edges in %v; slowest event %v; %d spoiled and not counted",
			edges, time.Since(start).Round(time.Millisecond), slowest, spoiled)
	})
}

func TestSpikes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sim, name string) {
		const settle = 20 * time.Millisecond
		l := s.line(name)
		l.ActiveLow, l.Bias = true, PullUp
		f := touch(t, s, l, 17, Timing{Settle: settle, Refill: time.Millisecond})
		spoiled := 0
		for n := 0; n < 200; n++ {
			width := time.Duration(n%10) * time.Millisecond
			if f.bounce(false, 1+n%3, func() time.Duration { return width }) > settle-time.Millisecond {
				spoiled++
				f.clear()
				continue
			}
			if e := f.quiet(settle + 5*time.Millisecond); e != 0 {
				t.Fatalf("%d events of a spike of %v", e, width)
			}
		}
		if n := f.quiet(time.Second); n != 0 {
			t.Errorf("%d events after the spikes", n)
		}
		t.Logf("%d spikes, %d not counted", 200-spoiled, spoiled)
		f.pull(17, false) // and it is not deaf
		f.expect(Down, Press)
	})
}

func TestInputLevelAndBias(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sim, name string) {
		for _, tt := range []struct {
			bias      Bias
			activeLow bool
			want      bool
		}{
			{PullUp, false, true}, {PullUp, true, false}, {PullDown, false, false}, {PullDown, true, true},
		} {
			l := s.line(name)
			l.Bias, l.ActiveLow = tt.bias, tt.activeLow
			s.pull(17, tt.bias == PullDown) // the bias must overcome it
			in, err := openInput(l)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := in.level(); err != nil || got != tt.want {
				t.Errorf("bias %d, active low %v: level %v, %v, want %v", tt.bias, tt.activeLow, got, err, tt.want)
			}
			s.pull(17, tt.bias == PullDown)
			if got, err := in.level(); err != nil || got == tt.want {
				t.Errorf("bias %d, active low %v, pulled: level %v, %v, want %v", tt.bias, tt.activeLow, got, err, !tt.want)
			}
			in.close()
		}
		l := s.line(name)
		l.Bias = BiasOff // which periph cannot
		in, err := openInput(l)
		if err != nil {
			t.Fatalf("bias off: %v", err)
		}
		in.close()
	})
}

func TestBusy(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sim, name string) {
		if err := Look(s.line(name)); err != nil {
			t.Errorf("a look at a free line: %v", err)
		}
		in, err := openInput(s.line(name))
		if err != nil {
			t.Fatal(err)
		}
		defer in.close()
		_, again := openInput(s.line(name))
		_, out := OpenOutput(s.line(name))
		for what, err := range map[string]error{"input": again, "output": out, "look": Look(s.line(name))} {
			var e *LineError
			if !errors.Is(err, ErrBusy) || !errors.As(err, &e) || e.Holder == "" || e.Device != s.chip {
				t.Errorf("a busy line as %s: %v, want busy with chip and holder", what, err)
			}
			t.Log(err)
		}
	})
}

func TestFind(t *testing.T) {
	a := newSim(t, "twin", "", "BELL", "LAMP")
	b := newSim(t, "other", "DOOR", "DOOR", "LAMP")
	tests := []struct {
		name   string
		line   Line
		chip   string
		offset int
		err    error
		text   string
	}{
		{"label and name", Line{Chip: "twin", Name: "LAMP"}, a.chip, 2, nil, ""},
		{"label and offset", Line{Chip: "twin"}, a.chip, 0, nil, ""},
		{"kernel's name and offset", Line{Chip: b.chip, Offset: 1}, b.chip, 1, nil, ""},
		{"name alone", Line{Name: "BELL"}, a.chip, 1, nil, ""},
		{"name alone, on two chips", Line{Name: "LAMP"}, "", 0, ErrNoLine, "2 chips have it"},
		{"name twice on the chip", Line{Chip: "other", Name: "DOOR"}, "", 0, nil, "2 lines of that name"},
		{"no such chip", Line{Chip: "pinctrl-rp1", Name: "GPIO17"}, "", 0, ErrNoChip, "open GPIO17 of pinctrl-rp1: no such GPIO chip, there is "},
		{"no such name", Line{Chip: "twin", Name: "GPIO99"}, "", 0, ErrNoLine, "open GPIO99 of twin (" + a.chip + "): no such line"},
		{"no such offset", Line{Chip: "twin", Offset: 3}, "", 0, ErrNoLine, "line 3 of twin"},
		{"negative offset", Line{Chip: "twin", Offset: -1}, "", 0, ErrNoLine, ""},
		{"nothing", Line{}, "", 0, ErrNoLine, "it needs a name"},
	}
	for _, tt := range tests {
		if err := Look(tt.line); (err == nil) != (tt.chip != "") || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: a look: %v", tt.name, err)
		}
		p, err := find(tt.line)
		if err == nil {
			p.chip.file.Close()
			if tt.chip == "" || p.chip.name != tt.chip || p.offset != tt.offset {
				t.Errorf("%s: found %s %d, want %s %d", tt.name, p.chip.name, p.offset, tt.chip, tt.offset)
			}
			continue
		}
		if tt.chip != "" || tt.err != nil && !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v %q", tt.name, err, tt.err, tt.text)
		}
	}

	list, err := Chips()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, c := range list {
		if c.Err != nil {
			t.Errorf("%s: %v", c.Name, c.Err)
		}
		if c.Name == a.chip && (len(c.Lines) != 3 || c.Lines[1].Name != "BELL" || c.Lines[1].Used) {
			t.Errorf("Chips tells of %s: %+v", c.Name, c.Lines)
		}
		seen = append(seen, c.Label)
	}
	if all := strings.Join(seen, " "); !strings.Contains(all, "twin") || !strings.Contains(all, "other") || !strings.Contains(all, "pinctrl-bcm2711") {
		t.Errorf("Chips lists %q", all)
	}
}

// A chip is pulled while its button is watched and held, and plugged in again.
func lostAndFound(t *testing.T, s *sim) {
	l := s.line("BELL")
	l.ActiveLow, l.Bias = true, PullUp
	f := touch(t, s, l, 1, Timing{Talk: 50 * time.Millisecond})
	for range 3 {
		f.pull(1, false)
		f.expect(Down, TalkStart)
		s.unplug()
		start := time.Now()
		if e := f.expect(TalkEnd, Up, Lost); !errors.Is(e.Err, ErrGone) {
			t.Errorf("lost: %v, want that it is gone", e.Err)
		} else {
			t.Logf("after %v: %v", time.Since(start).Round(time.Millisecond), e.Err)
		}
		if e := f.expect(Lost); !errors.Is(e.Err, ErrNoChip) {
			t.Errorf("looked for: %v, want that it is not there", e.Err)
		}
		s.plug()
		s.pull(1, true)
		f.expect(Found)
	}
	f.pull(1, false)
	f.expect(Down, TalkStart)
	f.pull(1, true)
	f.expect(TalkEnd, Up)
}

func TestChipLeaves(t *testing.T) {
	needBoard(t)
	periphChips()
	lostAndFound(t, newSim(t, "expander", "", "BELL"))
}

// again runs one test in a process of its own, whose periph has not scanned yet.
func again(t *testing.T, child func(t *testing.T), change func(*exec.Cmd)) {
	needBoard(t)
	if os.Getenv("HUSHBELL_CHILD") == t.Name() {
		child(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m")
	c.Env = append(os.Environ(), "HUSHBELL_CHILD="+t.Name())
	if change != nil {
		change(c)
	}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, strings.ReplaceAll(string(out), "--- ", "child: "))
	}
}

// The same with a chip that periph has scanned: its second life is not periph's.
func TestPeriphChipLeaves(t *testing.T) {
	again(t, func(t *testing.T) {
		s := newSim(t, "expander", "", "BELL")
		want[*periphInput](t, s.line("BELL"))
		lostAndFound(t, s)
		want[*kernelInput](t, Line{Chip: s.label})
	}, nil)
}

// A chip with a second name in /dev makes periph's scan close descriptor 0.
func TestDescriptorZeroStays(t *testing.T) {
	again(t, func(t *testing.T) {
		s := newSim(t, "chip", "", "BELL")
		second := "/dev/gpiochip99"
		s.must(os.Symlink("/dev/"+s.chip, second))
		defer os.Remove(second)
		var before, after syscall.Stat_t
		s.must(syscall.Fstat(0, &before))
		in, err := openInput(s.line("BELL"))
		if err != nil {
			t.Fatal(err)
		}
		in.close()
		if err := syscall.Fstat(0, &after); err != nil || before.Ino != after.Ino || before.Rdev != after.Rdev {
			t.Errorf("descriptor 0 is another file: %v", err)
		}
		if len(periphChips()) == 0 {
			t.Error("periph has not scanned")
		}
	}, nil)
}

// Somebody outside the group gpio is told so.
func TestPermission(t *testing.T) {
	again(t, func(t *testing.T) {
		for what, err := range map[string]error{
			"input":  func() error { _, err := openInput(Line{Chip: "pinctrl-bcm2711", Name: "GPIO17"}); return err }(),
			"output": func() error { _, err := OpenOutput(Line{Chip: "pinctrl-bcm2711", Name: "GPIO17"}); return err }(),
		} {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v, want permission denied", what, err)
			}
		}
		list, err := Chips()
		if err != nil || len(list) == 0 || !errors.Is(list[0].Err, fs.ErrPermission) {
			t.Errorf("Chips = %+v, %v, want chips with permission denied", list, err)
		}
	}, func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	})
}
