package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hushbell/alsa"
	"hushbell/board"
	"hushbell/device/config"
	"hushbell/gpio"
)

// A wall is what the tests of the parts work with; that of this machine, but in
// tests of the tests.
type wall struct {
	watch    func(context.Context, gpio.Line, gpio.Timing, chan<- gpio.Event) error
	leds     func([]gpio.Line, func(gpio.Line, error)) leds
	playback func(device string) (player, error)
	capture  func(device string) (recorder, error)
}

type leds interface {
	Show(int, gpio.Pattern)
	Run(context.Context) error
}

type player interface {
	Write([]int16) error
	Delay() int
	Xruns() int
	Device() string
	Close() error
}

type recorder interface {
	Read([]int16) error
	Delay() int
	Xruns() int
	Device() string
	Close() error
}

var thisWall = wall{
	watch: gpio.Watch,
	leds:  func(l []gpio.Line, report func(gpio.Line, error)) leds { return gpio.NewLEDs(l, report) },
	playback: func(device string) (player, error) {
		p, err := alsa.OpenPlayback(device, alsa.Options{})
		if err != nil {
			return nil, err // not a nil *Playback in an interface
		}
		return p, nil
	},
	capture: func(device string) (recorder, error) {
		c, err := alsa.OpenCapture(device, alsa.Options{})
		if err != nil {
			return nil, err
		}
		return c, nil
	},
}

// A partTest is what the command line asks for, and what is tested.
type partTest struct {
	wall
	places
	board  string        // overrides the configuration
	limit  time.Duration // --for
	wiring board.Wiring
	out    io.Writer
}

func testCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "test",
		Short: "Try button, LED, speaker and microphone of this box",
		Long: `Tries one part of this box, as an installer does at the wall. Which line or sound
device it is comes from the configuration, or from the profile of the board if
there is none. A running box has its parts for itself: stop it first.

Each test ends by itself, or with Ctrl-C. The exit status is 0 if the part works
as far as the test can tell, else 1.`,
	},
		partCommand("button", "Show what is done with the button", 30*time.Second,
			"Shows presses as they come, until the time is over. It works if there was a press.", (*partTest).button),
		partCommand("led", "Show all patterns on the LED", 20*time.Second,
			"Shows one pattern after the other on the LED, and names it. It works if the line\ncould be switched; whether there is light is for you to see.", (*partTest).led),
		partCommand("speaker", "Play tones", 4*time.Second,
			"Plays three tones, each higher than the one before, over and over. It works if the\ndevice took them; whether they are heard is for you to tell.", (*partTest).speaker),
		partCommand("mic", "Show how loud the microphone hears", 10*time.Second,
			"Shows a level meter. It works if the microphone gives more than dead silence.", (*partTest).microphone),
		partCommand("loop", "Measure the way from the speaker to the microphone", 8*time.Second,
			"Plays chirps and looks for them in what the microphone hears. It works if most are\nfound, each as late as the others. The round trip is from handing sound to the\nspeaker until having it back from the microphone, with all buffers between.", (*partTest).loop),
	)
	return c
}

// partCommand is the command that tests one part.
func partCommand(name, short string, limit time.Duration, long string, test func(*partTest, context.Context) error) *cobra.Command {
	t := &partTest{wall: thisWall, limit: limit}
	c := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    long,
		Example: "  hushbell test " + name + "\n  hushbell test " + name + " --board pi-4 --for 1m",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if t.limit <= 0 {
				return usageError{fmt.Errorf("--for %v: it takes longer than that", t.limit)}
			}
			t.out = c.OutOrStdout()
			if err := t.wire(); err != nil {
				return err
			}
			if err := test(t, c.Context()); err != nil {
				return fmt.Errorf("test %s: %w", name, err)
			}
			return nil
		},
	}
	t.configFlag(c.Flags())
	c.Flags().StringVar(&t.board, "board", "", "`profile` of the board (default: that of the configuration, else auto)")
	c.Flags().DurationVar(&t.limit, "for", limit, "how long the test takes at most")
	return c
}

// wire finds out which lines and devices there are to test.
func (t *partTest) wire() (err error) {
	cfg, err := t.boardConfig(t.board)
	if err != nil {
		return err
	}
	if t.wiring, err = wire(&cfg); err != nil {
		err = fmt.Errorf("%w: name a real one with --board", err)
		if t.board != "" {
			return usageError{err}
		}
		return err
	}
	return nil
}

// wire returns what the board of a configuration is opened with.
func wire(cfg *config.Config) (board.Wiring, error) {
	o := boardOptions(&cfg.Board)
	linesOf(&o, cfg)
	return board.Wire(cfg.Board.Name, o)
}

// boardConfig is the configuration as far as it is about the board, for another
// board if name is not "": none of the lines is that one's. Without a configuration
// it is the board that is found.
func (p *places) boardConfig(name string) (config.Config, error) {
	file, err := p.configFile()
	if err != nil {
		return config.Config{}, err
	}
	cfg, err := config.Read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.config == "":
		cfg = config.Config{Board: config.Board{Name: board.Auto}}
	case errors.Is(err, fs.ErrNotExist):
		return config.Config{}, configError{noConfig(file)}
	case err != nil:
		return config.Config{}, configError{err}
	}
	if name != "" && name != cfg.Board.Name {
		cfg = config.Config{Board: config.Board{Name: name}}
	}
	return cfg, nil
}

// boardOptions are those of the configuration, in the words of package board.
func boardOptions(c *config.Board) board.Options {
	o := board.Options{
		Microphone: c.Microphone, Speaker: c.Speaker,
		MicrophoneVolume: c.MicrophoneVolume, SpeakerVolume: c.SpeakerVolume,
		Chip: c.Chip, ButtonLine: string(c.ButtonLine), LEDLine: string(c.LEDLine),
		ActiveLow: c.ActiveLow, LEDLow: c.LEDActiveLow, Settle: c.Settle,
	}
	if c.Bias != "" {
		bias := map[config.Bias]gpio.Bias{config.PullUp: gpio.PullUp, config.PullDown: gpio.PullDown,
			config.BiasOff: gpio.BiasOff, config.BiasAsIs: gpio.BiasAsIs}[c.Bias]
		o.Bias = &bias
	}
	return o
}

// say prints a line of what happens.
func (t *partTest) say(format string, a ...any) { fmt.Fprintf(t.out, format+"\n", a...) }

// over reports whether an error says that the time is over, or Ctrl-C: so ends
// what goes on for as long as one likes.
func over(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// withRemedy adds to an error what can be done about it.
func withRemedy(err error, remedy string) error {
	if err == nil || remedy == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

// there are the lines of a part that there is one of; the error says why there
// is none.
func there(all []board.Line) ([]board.Line, error) {
	var lines []board.Line
	for _, l := range all {
		if l.Err == nil {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return nil, lineError(all[0], all[0].Err)
	}
	return lines, nil
}

// lineError is what is wrong with a line, and what can be done about it.
func lineError(l board.Line, err error) error { return withRemedy(err, board.LineRemedy(err, l.Part)) }

// listed names the lines of a part: "GPIO17", or "button gate on GPIO5, ...".
func listed(lines []board.Line) string {
	if len(lines) == 1 {
		return lines[0].String()
	}
	var names []string
	for _, l := range lines {
		names = append(names, fmt.Sprintf("%v (%s)", l, l.Part))
	}
	return strings.Join(names, ", ")
}

// A sign is an event of one of the buttons.
type sign struct {
	from int
	gpio.Event
}

func (t *partTest) button(ctx context.Context) error {
	lines, err := there(t.wiring.Buttons)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	signs := make(chan sign)
	watched := make([]error, len(lines))
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	for i, l := range lines {
		watchers.Go(func() { watched[i] = t.watchOne(ctx, i, l, signs) })
	}
	go func() { watchers.Wait(); close(signs) }()
	began, presses, down, found := time.Now(), make([]int, len(lines)), make([]time.Time, len(lines)), 0
	for e := range signs {
		l := lines[e.from]
		at := fmt.Sprintf("%7.2f s  ", e.At.Sub(began).Seconds())
		if len(lines) > 1 {
			at += string(l.Part) + ": "
		}
		switch e.Kind {
		case gpio.Found:
			if found++; found == len(lines) {
				t.say("Press the button on %v. The test ends in %v, or with Ctrl-C.", listed(lines), t.limit)
			}
		case gpio.Lost:
			return lineError(l, e.Err)
		case gpio.Down:
			down[e.from] = e.At
			t.say("%sdown", at)
		case gpio.Up:
			t.say("%sup, after %d ms", at, e.At.Sub(down[e.from]).Milliseconds())
		case gpio.Press, gpio.LongPress, gpio.DoublePress, gpio.TalkStart:
			presses[e.from]++
			t.say("%s%v %d", at, e.Kind, presses[e.from])
		default:
			t.say("%s%v", at, e.Kind)
		}
	}
	for _, err := range watched {
		if !over(err) {
			return err
		}
	}
	total := 0
	for i, n := range presses {
		if n == 0 {
			return fmt.Errorf("no press on %v: look at the wires, and whether the line is the right one", lines[i])
		}
		total += n
	}
	t.say("The button works: %d presses.", total)
	return nil
}

// watchOne passes on what happens at one of the buttons.
func (t *partTest) watchOne(ctx context.Context, i int, l board.Line, signs chan<- sign) error {
	events := make(chan gpio.Event)
	var passing sync.WaitGroup
	passing.Go(func() {
		for e := range events {
			select {
			case signs <- sign{i, e}:
			case <-ctx.Done():
			}
		}
	})
	defer passing.Wait()
	defer close(events)
	return t.watch(ctx, l.Line, l.Timing, events)
}

func (t *partTest) led(ctx context.Context) error {
	there, err := there(t.wiring.LEDs)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lines []gpio.Line
	for _, l := range there {
		lines = append(lines, l.Line)
	}
	var trouble error // owned by Run
	leds := t.leds(lines, func(l gpio.Line, err error) {
		if err != nil {
			trouble = lineError(there[max(0, slices.Index(lines, l))], err)
			cancel()
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { leds.Run(ctx) })
	t.say("The LED on %v shows, until the end or Ctrl-C:", listed(there))
	patterns := []gpio.Pattern{gpio.On, gpio.SlowBlink, gpio.FastBlink, gpio.Heartbeat, gpio.Code(3)}
	for _, p := range patterns {
		for i := range lines {
			leds.Show(i, p)
		}
		t.say("  %v", p)
		select {
		case <-time.After(t.limit / time.Duration(len(patterns))):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	cancel()
	wg.Wait() // the LED is dark now
	if trouble != nil {
		return trouble
	}
	t.say("The line could be switched.")
	return nil
}

// isTerminal reports whether what is written to w is seen at once by a person.
func isTerminal(w io.Writer) bool {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}
