package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/alsa"
	"hushbell/gpio"
)

// A fakeBoard is hardware in memory: what the drivers would tell is set by the
// test.
type fakeBoard struct {
	events   chan gpio.Event // of the button
	report   func(gpio.Line, error)
	gestures chan Gesture
	line     fakeLine // of the output

	raised   atomic.Int32 // how often somebody asked for priority
	priority int
	refused  error

	mu      sync.Mutex // guards the rest
	shown   []gpio.Pattern
	dark    bool // Run of the LED has ended
	cards   [2]fakeCard
	volumes []string // as they were set
	deaf    error    // why volumes cannot be set
}

func (f *fakeBoard) drivers() drivers {
	return drivers{
		watch: func(ctx context.Context, _ gpio.Line, timing gpio.Timing, events chan<- gpio.Event) error {
			if err := timing.Check(); err != nil {
				return err
			}
			for {
				select {
				case e := <-f.events:
					select {
					case events <- e:
					case <-ctx.Done():
						return ctx.Err()
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		},
		lights: func(_ []gpio.Line, report func(gpio.Line, error)) lights {
			f.report = report
			return f
		},
		output:     f.line.get,
		microphone: func(func(context.Context) string) input { return &f.cards[records] },
		speaker:    func(func(context.Context) string) output { return &f.cards[plays] },
		raise:      f.raise,
		volume: func(device string, d direction, percent int) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.volumes = append(f.volumes, fmt.Sprintf("%s %s %d", d.part(), device, percent))
			return f.deaf
		},
	}
}

func (f *fakeBoard) raise() (alsa.Thread, error) {
	f.raised.Add(1)
	return alsa.Thread{Priority: f.priority}, f.refused
}

func (f *fakeBoard) Show(_ int, p gpio.Pattern) { f.shown = append(f.shown, p) }

func (f *fakeBoard) Run(ctx context.Context) error {
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dark = true
	return ctx.Err()
}

type fakeCard struct {
	mu     sync.Mutex // guards the rest
	device string
	err    error
	losses int
	closed int
	close  func() // what closing waits for, if not nil
}

func (c *fakeCard) be(device string, err error, losses int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device, c.err, c.losses = device, err, losses
}

func (c *fakeCard) Device() string       { c.mu.Lock(); defer c.mu.Unlock(); return c.device }
func (c *fakeCard) Err() error           { c.mu.Lock(); defer c.mu.Unlock(); return c.err }
func (c *fakeCard) Losses() int          { c.mu.Lock(); defer c.mu.Unlock(); return c.losses }
func (c *fakeCard) Xruns() int           { return 0 }
func (c *fakeCard) Stop()                {}
func (c *fakeCard) Read(s []int16) error { s[0]++; return nil }
func (c *fakeCard) Write([]int16) error  { return nil }
func (c *fakeCard) Close() error {
	if c.close != nil {
		c.close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return nil
}

var wired = Wiring{
	Buttons: []Line{{Part: ButtonPart, Line: gpio.Line{Name: "GPIO17"}}},
	LEDs:    []Line{{Part: LEDPart, Line: gpio.Line{Name: "GPIO25"}}},
}

// start opens a fake board inside a synctest bubble.
func (f *fakeBoard) start(t *testing.T, w Wiring, log *slog.Logger) *hardware {
	t.Helper()
	f.events = make(chan gpio.Event)
	f.gestures = make(chan Gesture)
	h := openHardware(w, f.drivers(), f.gestures, log)
	t.Cleanup(func() { h.close() })
	synctest.Wait() // for the first look at the sound devices
	return h
}

func text(all []Problem) (s []string) {
	for _, p := range all {
		s = append(s, p.String())
	}
	return s
}

func TestButtonProblems(t *testing.T) {
	busy := &gpio.LineError{Op: "open", Line: gpio.Line{Name: "GPIO17"}, Holder: "spi0 CS0", Err: gpio.ErrBusy}
	for _, tt := range []struct {
		event gpio.Event
		want  string // a part of the problem; "" for none
		end   gpio.Kind
	}{
		{gpio.Event{Kind: gpio.Lost, Err: busy}, `line in use by "spi0 CS0": take the line from`, gpio.Found},
		{gpio.Event{Kind: gpio.Stuck}, "button: it is held down, or its contact is stuck: look at", gpio.Freed},
		{gpio.Event{Kind: gpio.Noisy}, `does not come to rest: look at the wires`, gpio.Press},
		{gpio.Event{Kind: gpio.TooFast}, "", gpio.Press},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f fakeBoard
			h := f.start(t, wired, nil)
			f.events <- tt.event
			synctest.Wait()
			got := strings.Join(text(h.problems()), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("%v: problems %q, want %q", tt.event.Kind, got, tt.want)
			}
			f.events <- gpio.Event{Kind: tt.end}
			synctest.Wait()
			if got := h.problems(); len(got) != 0 {
				t.Errorf("%v, then %v: problems %q", tt.event.Kind, tt.end, text(got))
			}
		})
	}
}

// With nothing there the board starts, says so once, and finds what comes.
func TestNothingThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		for i := range f.cards {
			f.cards[i].be("", fmt.Errorf("%w: %w", syscall.ENODEV, alsa.ErrNoCard), 0)
		}
		var log bytes.Buffer // written by goroutines of the board, read when they wait
		h := f.start(t, wired, slog.New(slog.NewTextHandler(&log, nil)))
		f.events <- gpio.Event{Kind: gpio.Lost, Err: &gpio.LineError{Op: "open", Err: gpio.ErrNoChip}}
		f.report(wired.LEDs[0].Line, &gpio.LineError{Op: "open", Err: gpio.ErrNoLine})
		synctest.Wait()
		var parts []Part
		for _, p := range h.problems() {
			parts = append(parts, p.Part)
			if p.Remedy == "" {
				t.Errorf("no remedy for %v", p)
			}
		}
		slices.Sort(parts)
		if want := []Part{ButtonPart, LEDPart, MicrophonePart, SpeakerPart}; !slices.Equal(parts, want) {
			t.Errorf("problems with %v, want %v", parts, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "does not work"); n != 4 {
			t.Errorf("the log tells of %d problems, want 4 once each:\n%s", n, log.String())
		}

		f.events <- gpio.Event{Kind: gpio.Found}
		f.report(wired.LEDs[0].Line, nil)
		for i := range f.cards {
			f.cards[i].be("Device", nil, 0)
		}
		time.Sleep(2 * lookEvery) // nobody asks
		synctest.Wait()
		if n := strings.Count(log.String(), "works again"); n != 4 {
			t.Errorf("the log tells of %d parts that came, want 4:\n%s", n, log.String())
		}
		if p := h.problems(); len(p) != 0 {
			t.Errorf("all is there, and problems are %q", text(p))
		}
	})
}

// A volume is set when a card comes, and again when it or another one comes back.
func TestVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakeBoard{deaf: errNoLevel}
		w := wired
		w.Speaker.Volume = 70
		f.cards[records].be("A", nil, 0)
		f.cards[plays].be("", alsa.ErrNoCard, 0)
		h := f.start(t, w, nil)
		expect := func(want ...string) {
			t.Helper()
			f.mu.Lock()
			defer f.mu.Unlock()
			if !slices.Equal(f.volumes, want) {
				t.Errorf("volumes set: %q, want %q", f.volumes, want)
			}
			f.volumes = nil
		}
		h.look()
		expect()
		f.cards[plays].be("A", nil, 0)
		if p := h.problems(); len(p) != 1 || p[0].Part != SpeakerVolumePart || p[0].Remedy == "" {
			t.Errorf("a card without a volume: problems %q", text(p))
		}
		expect("speaker A 70")
		f.deaf = nil
		h.look()
		h.look()
		expect("speaker A 70")
		f.cards[plays].be("A", nil, 1)
		h.look()
		h.look()
		expect("speaker A 70")
		f.cards[plays].be("B", nil, 1)
		h.look()
		expect("speaker B 70")
		if p := h.problems(); len(p) != 0 {
			t.Errorf("problems %q", text(p))
		}
	})
}

func TestLampAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		h := f.start(t, wired, nil)
		for _, name := range []string{"fast blink", "6 blinks", "on", "no such pattern", "off"} {
			h.lamps[0].Set(name)
			if got := h.lamps[0].Shows(); got != name {
				t.Errorf("the lamp shows %q, want %q", got, name)
			}
		}
		if want := []gpio.Pattern{gpio.FastBlink, gpio.Code(6), gpio.On, gpio.Off, gpio.Off}; !slices.Equal(f.shown, want) {
			t.Errorf("the LED was told %v, want %v", f.shown, want)
		}
		for range 2 {
			if err := h.close(); err != nil {
				t.Errorf("close = %v", err)
			}
		}
		if !f.dark || f.cards[records].closed != 1 || f.cards[plays].closed != 1 {
			t.Errorf("after close: LED given back %v, devices closed %d and %d times", f.dark, f.cards[records].closed, f.cards[plays].closed)
		}
	})
}

func TestLinesLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		h := f.start(t, Wiring{Buttons: []Line{{Part: ButtonPart, Err: ErrLeftOut}}, LEDs: []Line{{Part: LEDPart, Err: ErrUnset}}}, nil)
		if got := text(h.problems()); len(got) != 1 || got[0] != `led: no line is set: name one as board.led_line, or say "none" there` {
			t.Errorf("problems %q", got)
		}
		h.lamps[0].Set("on") // no LED, and no harm
		if f.report != nil {
			t.Error("an LED was opened")
		}
	})
}

func TestWrongTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		w := wired
		w.Buttons = []Line{{Part: ButtonPart, Line: gpio.Line{Name: "GPIO17"}, Timing: gpio.Timing{Settle: 2 * time.Minute}}}
		h := f.start(t, w, nil)
		synctest.Wait()
		if got := text(h.problems()); len(got) != 1 || !strings.Contains(got[0], "cannot be told from a stuck button") {
			t.Errorf("problems %q", got)
		}
	})
}

func TestHardwareSoundDoesNotAllocate(t *testing.T) {
	var f fakeBoard
	raised := rush{raise: f.raise}
	var m Microphone = &cardMicrophone{f.drivers().microphone(nil), raised}
	var s Speaker = &cardSpeaker{f.drivers().speaker(nil), raised}
	var pcm [samples]int16
	n := testing.AllocsPerRun(5, func() {
		for range 1000 {
			if m.Read(&pcm) != nil || s.Write(&pcm) != nil {
				t.Fatal("no sound")
			}
		}
	})
	if n != 0 || pcm[0] == 0 {
		t.Errorf("%v allocations in 1000 frames, first sample %d", n, pcm[0])
	}
	if n := f.raised.Load(); n != 2 {
		t.Errorf("two goroutines asked for priority %d times", n)
	}
	m.Stop()
	m.Read(&pcm)
	if n := f.raised.Load(); n != 3 {
		t.Errorf("after Stop priority was asked for %d times, want once more", n-2)
	}
}

func TestPriorityIsTold(t *testing.T) {
	for _, tt := range []struct {
		priority int
		refused  error
		want     string
	}{
		{0, syscall.EPERM, `level=WARN msg="sound has no real-time priority, and may break up while the machine is busy" err="operation not permitted" remedy="a service needs LimitRTPRIO=10`},
		{3, nil, "level=INFO msg=\"sound has less real-time priority than it asks for\" priority=3 asked=10"},
		{alsa.Priority, nil, "level=INFO msg=\"sound has real-time priority\" priority=10"},
	} {
		var log bytes.Buffer
		f := fakeBoard{priority: tt.priority, refused: tt.refused}
		tellPriority(f.raise, slog.New(slog.NewTextHandler(&log, nil)))
		if !strings.Contains(log.String(), tt.want) {
			t.Errorf("logged %s\nwant %s", log.String(), tt.want)
		}
	}
}

func TestRemedies(t *testing.T) {
	daemon := "stop hushbell"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&alsa.Error{Holder: "hushbell (process 7)", Err: syscall.EBUSY}, daemon},
		{errors.Join(alsa.ErrNoCard, &alsa.Error{Holder: "mpd (process 7)", Err: syscall.EBUSY}), "end the program"},
		{&alsa.Error{Holder: "pipewire (process 7)", Err: syscall.EBUSY}, "systemctl --user enable --now hushbell"},
		{&alsa.Error{Err: syscall.EACCES}, "group audio"},
		{&alsa.Error{Err: fmt.Errorf("%w: %w", syscall.ENODEV, alsa.ErrNoCard)}, "plug a sound card in"},
		{&alsa.Error{Err: syscall.EIO}, "plug it in again"},
		{fmt.Errorf("board: %w", errServerVolume), "set it there"},
		{fmt.Errorf("board: %w", ErrMuted), "board.microphone_volume"},
		{&alsa.Error{Err: alsa.ErrNoServer}, "start the sound server"},
		{nil, ""},
		{os.ErrClosed, ""},
	} {
		if got := SoundRemedy(tt.err); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("remedy for %v: %q, want %q", tt.err, got, tt.want)
		}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&gpio.LineError{Holder: "hushbell", Err: gpio.ErrBusy}, daemon},
		{&gpio.LineError{Holder: "spi0", Err: gpio.ErrBusy}, "name another as board.led_line"},
		{&gpio.LineError{Err: syscall.EACCES}, "group gpio"},
		{&gpio.LineError{Err: gpio.ErrNoLine}, "board.led_line"},
		{&gpio.LineError{Err: gpio.ErrNoChip}, "board.chip"},
		{&gpio.LineError{Err: gpio.ErrGone}, "plug it in again"},
		{nil, ""},
	} {
		if got := LineRemedy(tt.err, LEDPart); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("remedy for %v: %q, want %q", tt.err, got, tt.want)
		}
	}
	for part, want := range map[Part]string{ButtonPart: "board.button_line", "button 2": "button2.line", "output door": "door.line"} {
		if got := LineRemedy(gpio.ErrNoLine, part); !strings.Contains(got, want) {
			t.Errorf("remedy for %s: %q, want %s named", part, got, want)
		}
	}
}
