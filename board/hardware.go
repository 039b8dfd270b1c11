package board

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"hushbell/alsa"
	"hushbell/gpio"
)

// A direction is that of sound, seen from the board.
type direction int

const (
	records direction = iota
	plays
)

func (d direction) part() Part { return [...]Part{records: MicrophonePart, plays: SpeakerPart}[d] }
func (d direction) volumePart() Part {
	return [...]Part{records: MicrophoneVolumePart, plays: SpeakerVolumePart}[d]
}

// A card is what is asked of an *alsa.Microphone and *alsa.Speaker alike: both
// open their device again when it comes back.
type card interface {
	Device() string
	Err() error
	Losses() int
	Xruns() int
	Stop()
	Close() error
}

type input interface {
	card
	Read([]int16) error
}

type output interface {
	card
	Write([]int16) error
}

// A lights is what is used of *gpio.LEDs.
type lights interface {
	Run(context.Context) error
	Show(int, gpio.Pattern)
}

// drivers open the parts of a board. Tests have their own.
type drivers struct {
	watch      func(context.Context, gpio.Line, gpio.Timing, chan<- gpio.Event) error
	lights     func([]gpio.Line, func(gpio.Line, error)) lights
	output     func(gpio.Line) (switched, error)
	microphone func(device func(context.Context) string) input
	speaker    func(device func(context.Context) string) output
	present    func(context.Context) ([]alsa.Device, error)
	volume     func(device string, d direction, percent int) error
	raise      func() (alsa.Thread, error)
}

// kernel is the drivers of what the machine really has.
var kernel = drivers{
	watch:      gpio.Watch,
	lights:     func(l []gpio.Line, report func(gpio.Line, error)) lights { return gpio.NewLEDs(l, report) },
	output:     kernelOutput,
	microphone: func(device func(context.Context) string) input { return alsa.NewMicrophone(device, alsa.Options{}) },
	speaker:    func(device func(context.Context) string) output { return alsa.NewSpeaker(device, alsa.Options{}) },
	present:    alsa.Present,
	volume:     setVolume,
	raise:      alsa.Raise,
}

// Sound devices are looked at so often, to log what became of them: together
// with the lines, which package gpio looks at at the full five seconds.
const lookEvery = 5 * time.Second

var errClosed = errors.New("the board is closed")

// A hardware is the open parts of a real board. It owns two goroutines for each
// button, one for each output, one for the LEDs, and one that looks at the sound
// devices; all end with close.
type hardware struct {
	microphone *cardMicrophone
	speaker    *cardSpeaker
	lamps      []*Lamp   // as Wiring.LEDs
	outputs    []*Output // as Wiring.Outputs
	troubles   troubles
	log        *slog.Logger
	volume     func(device string, d direction, percent int) error
	wiring     Wiring

	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error // of close

	mu  sync.Mutex   // guards set
	set [2]volumeSet // by direction
}

// A volumeSet says which opening of which device has its volume.
type volumeSet struct {
	device string
	losses int
}

// openHardware opens the parts. What is missing or busy is a problem that is
// told, and no reason to fail: the drivers go on looking for it.
func openHardware(w Wiring, d drivers, gestures chan<- Gesture, log *slog.Logger) *hardware {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &hardware{wiring: w, log: log, cancel: cancel, volume: d.volume}
	h.microphone = &cardMicrophone{input: d.microphone(w.Microphone.look(records, d.present)), rush: rush{raise: d.raise}}
	h.speaker = &cardSpeaker{output: d.speaker(w.Speaker.look(plays, d.present)), rush: rush{raise: d.raise}}
	h.wg.Go(func() { tellPriority(d.raise, log) })
	h.wg.Go(func() { h.lookAgain(ctx) })
	for _, l := range w.Buttons {
		if h.has(l) {
			h.openButton(ctx, d, &button{l, gestures, h.heard, h.lostPress})
		}
	}
	for _, l := range w.Outputs {
		h.outputs = append(h.outputs, h.openOutput(ctx, d, l))
	}
	h.openLEDs(ctx, d)
	return h
}

// has reports whether there is a line to open.
func (h *hardware) has(l Line) bool {
	if l.Err != nil && !errors.Is(l.Err, ErrLeftOut) {
		h.tell(Problem{l.Part, l.Err, LineRemedy(l.Err, l.Part)})
	}
	return l.Err == nil
}

// tell notes a problem, or with a nil Err its end, and logs what is news.
func (h *hardware) tell(p Problem) {
	switch {
	case !h.troubles.set(p):
	case p.Err == nil:
		h.log.Info("works again", "part", p.Part)
	default:
		h.log.Warn("does not work", "part", p.Part, "err", p.Err, "remedy", p.Remedy)
	}
}

func (h *hardware) tellLine(l Line, err error) { h.tell(Problem{l.Part, err, LineRemedy(err, l.Part)}) }

func (h *hardware) openButton(ctx context.Context, d drivers, b *button) {
	events := make(chan gpio.Event)
	h.wg.Go(func() {
		err := d.watch(ctx, b.Line.Line, b.Timing, events)
		if ctx.Err() == nil {
			h.tellLine(b.Line, err)
		}
	})
	h.wg.Go(func() { b.serve(ctx, events) })
}

// heard deals with an event of a button that tells how its line is.
func (h *hardware) heard(l Line, e gpio.Event) {
	var err error
	switch e.Kind {
	case gpio.Found:
		h.log.Info("button is ready", "part", l.Part, "line", l.Line)
	case gpio.Press, gpio.Up, gpio.Freed:
	case gpio.Stuck:
		err = ErrStuck
	case gpio.Noisy:
		err = ErrNoisy
	case gpio.Lost:
		err = e.Err
	case gpio.TooFast:
		h.log.Warn("presses in too quick succession are left out", "part", l.Part)
		return
	default:
		return
	}
	h.tellLine(l, err)
}

func (h *hardware) lostPress(l Line) {
	h.log.Warn("a press was lost: the box was not ready for it", "part", l.Part)
}

// openLEDs makes a lamp for each LED, also for those without a line.
func (h *hardware) openLEDs(ctx context.Context, d drivers) {
	var there []Line
	var lines []gpio.Line
	var leds lights // set before a lamp is shown to anybody
	for _, l := range h.wiring.LEDs {
		lamp := new(Lamp)
		h.lamps = append(h.lamps, lamp)
		if h.has(l) {
			i := len(lines)
			there, lines = append(there, l), append(lines, l.Line)
			lamp.show = func(p gpio.Pattern) { leds.Show(i, p) }
		}
	}
	if len(lines) == 0 {
		return
	}
	leds = d.lights(lines, func(line gpio.Line, err error) {
		if i := slices.Index(lines, line); i >= 0 {
			h.tellLine(there[i], err)
		}
	})
	h.wg.Go(func() { leds.Run(ctx) })
}

func (h *hardware) openOutput(ctx context.Context, d drivers, l Line) *Output {
	if !h.has(l) {
		return missingOutput(fmt.Errorf("board: %s: %w", l.Part, l.Err))
	}
	o := &Output{
		open:   func() (switched, error) { return d.output(l.Line) },
		report: func(err error) { h.tellLine(l, err) },
	}
	o.look() // so that it can be used from now on
	h.wg.Go(func() { o.run(ctx) })
	return o
}

func (h *hardware) lookAgain(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			h.look()
		case <-ctx.Done():
			return
		}
		now := time.Now()
		timer.Reset(lookEvery - now.Sub(now.Truncate(lookEvery)))
	}
}

// look sees how the sound devices are, and sets the volume of one that came.
func (h *hardware) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for d, c := range [...]card{records: h.microphone.input, plays: h.speaker.output} {
		h.lookLocked(direction(d), c)
	}
}

func (h *hardware) lookLocked(d direction, c card) {
	err := c.Err()
	h.tell(Problem{d.part(), err, SoundRemedy(err)})
	now := volumeSet{c.Device(), c.Losses()}
	percent := [...]Sound{records: h.wiring.Microphone, plays: h.wiring.Speaker}[d].Volume
	if err != nil || percent == 0 || h.set[d] == now {
		return
	}
	err = h.volume(now.device, d, percent)
	if err == nil {
		h.set[d] = now
	}
	h.tell(Problem{d.volumePart(), err, SoundRemedy(err)})
}

// problems are those of this moment.
func (h *hardware) problems() []Problem {
	h.look()
	return h.troubles.list()
}

// close ends everything; whoever waits for sound gets alsa.ErrClosed. The outputs
// are off before anything is waited for: should we be killed meanwhile, no door is
// left open.
func (h *hardware) close() error {
	h.once.Do(func() {
		for _, o := range h.outputs {
			h.err = errors.Join(h.err, o.close())
		}
		h.cancel()
		h.wg.Wait()
		var sound sync.WaitGroup
		var err error // of the microphone
		sound.Go(func() { err = h.microphone.Close() })
		h.err = errors.Join(h.err, h.speaker.Close())
		sound.Wait()
		h.err = errors.Join(h.err, err)
	})
	return h.err
}
