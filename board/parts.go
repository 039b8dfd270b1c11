package board

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"hushbell/gpio"
	"hushbell/voipcore/voice"
)

// A Microphone is the sound input of a board. Read waits for the next 20 ms;
// the first one after opening or Stop starts the recording. It belongs to one
// goroutine; Xruns, which counts how often sound was lost, may be called by
// others.
type Microphone interface {
	Read(*[voice.FrameSamples]int16) error
	Stop()
	Xruns() int
}

// A Speaker is the sound output of a board. Write takes 20 ms and waits until
// there is room for the next. Stop silences it until the next Write. It belongs
// to one goroutine; Xruns may be called by others.
type Speaker interface {
	Write(*[voice.FrameSamples]int16) error
	Stop()
	Xruns() int
}

// A Lamp is the LED of a board, and remembers what it shows.
type Lamp struct {
	pattern atomic.Value
	show    func(gpio.Pattern) // nil of a simulated board; constant
}

// Set has the lamp show a pattern, by its name in package gpio. One that is not
// known there is dark.
func (l *Lamp) Set(pattern string) {
	l.pattern.Store(pattern)
	if l.show != nil {
		l.show(patterns[pattern])
	}
}

// Shows returns what the lamp shows.
func (l *Lamp) Shows() string {
	s, _ := l.pattern.Load().(string)
	return s
}

// patterns are those of package gpio by name.
var patterns = func() map[string]gpio.Pattern {
	all := map[string]gpio.Pattern{}
	for _, p := range []gpio.Pattern{gpio.Off, gpio.On, gpio.SlowBlink, gpio.FastBlink, gpio.Heartbeat} {
		all[p.String()] = p
	}
	for n := 1; n <= gpio.MaxCode; n++ {
		all[gpio.Code(n).String()] = gpio.Code(n)
	}
	return all
}()

// A Part is what a Problem is about.
type Part string

// The parts of a board. Buttons, LEDs and outputs that have a name have it
// behind: "button gate".
const (
	ButtonPart           Part = "button"
	LEDPart              Part = "led"
	OutputPart           Part = "output"
	MicrophonePart       Part = "microphone"
	SpeakerPart          Part = "speaker"
	MicrophoneVolumePart Part = "microphone volume"
	SpeakerVolumePart    Part = "speaker volume"
)

// partOf is a part that has a name.
func partOf(kind Part, name string) Part {
	if name == "" {
		return kind
	}
	return kind + " " + Part(name)
}

// A Problem is a part that does not work, and what can be done about it.
type Problem struct {
	Part   Part
	Err    error
	Remedy string // for people; "" if there is no advice
}

func (p Problem) String() string {
	if p.Remedy == "" {
		return fmt.Sprintf("%s: %v", p.Part, p.Err)
	}
	return fmt.Sprintf("%s: %v: %s", p.Part, p.Err, p.Remedy)
}

// troubles are the problems there are, one for each part.
type troubles struct {
	mu  sync.Mutex // guards all
	all []Problem  // in the order in which they came
}

// set notes that a part has a problem, or with a nil Err that it has none any
// more, and returns whether that is news.
func (t *troubles) set(p Problem) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.all, func(o Problem) bool { return o.Part == p.Part })
	switch {
	case i < 0 && p.Err == nil:
		return false
	case i < 0:
		t.all = append(t.all, p)
	case p.Err == nil:
		t.all = slices.Delete(t.all, i, i+1)
	case t.all[i].Err.Error() == p.Err.Error():
		return false
	default:
		t.all[i] = p
	}
	return true
}

func (t *troubles) list() []Problem {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}
