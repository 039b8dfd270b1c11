package device

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hushbell/device/tone"
	"hushbell/gpio"
	"hushbell/voipcore"
	"hushbell/voipcore/call"
)

var update = flag.Bool("update", false, "write testdata/behaviour.golden")

// Every state and event, as a page to be read.
func TestBehaviour(t *testing.T) {
	var b strings.Builder
	for s := range numStates {
		fmt.Fprintf(&b, "%v: LED %s, plays %v\n", s, s.Lamp(), s.Tone())
		for k := range numKinds {
			m := Machine{State: s, Online: s != Offline, Quiet: s == Quiet, Down: 2}
			if s >= NoNetwork && s <= ClockWrong {
				m.Trouble, m.Online = s, s == NoSound || s == ClockWrong
			}
			if m.Alive() {
				m.Call = 7
			}
			if s == CallWaiting {
				m.Waits = 8
			}
			about := []struct {
				call call.ID
				of   string
			}{{0, ""}}
			if k >= Placed {
				about[0].call = 7
				about[0].of = " of our call"
				if !m.Alive() {
					about[0].of = " of a call"
				} else {
					about = append(about, struct {
						call call.ID
						of   string
					}{8, " of another call"})
				}
			}
			for _, a := range about {
				next, do := m.Step(Event{Kind: k, Call: a.call, Trouble: NoSound})
				if next.State == m.State && len(do) == 0 {
					continue
				}
				fmt.Fprintf(&b, "    %-32v -> %-14v %v\n", k.String()+a.of, next.State, do)
			}
		}
	}
	const file = "testdata/behaviour.golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the behaviour is not that of %s (-update writes it):\n%s", file, got)
	}
}

// Every state has a name and a LED pattern that package gpio knows, and every
// group is used.
func TestStates(t *testing.T) {
	var patterns []string
	for p := range gpio.Code(gpio.MaxCode) + 1 {
		patterns = append(patterns, p.String())
	}
	names := map[string]bool{}
	groups := map[group]bool{}
	for s := range numStates {
		if names[s.String()] || s.String() == "" {
			t.Errorf("state %d is called %q", s, s)
		}
		names[s.String()] = true
		groups[states[s].group] = true
		if !slices.Contains(patterns, s.Lamp()) {
			t.Errorf("%v: no LED pattern is called %q", s, s.Lamp())
		}
		if (states[s].shown > 0) != (states[s].group == telling) || s.Voice() != (states[s].group == talking) {
			t.Errorf("%v: shown %v, voice %v", s, states[s].shown, s.Voice())
		}
		if states[s].group == resting && s.Tone() != tone.None {
			t.Errorf("%v: plays %v, for ever", s, s.Tone())
		}
	}
	if len(groups) != int(numGroups) {
		t.Errorf("%d of %d groups are used", len(groups), numGroups)
	}
	for k := voipcore.Reachability + 1; k <= voipcore.Lost; k++ {
		if k == voipcore.DoorAsked || k == voipcore.DoorAnswered {
			continue // are none to the machine
		}
		if _, ok := kinds[k]; !ok {
			t.Errorf("no event for what voipcore calls %v", k)
		}
	}
}

// Every failure has a code of its own, and so has all that is wrong with a box at
// rest: who counts blinks knows what it is.
func TestCodesDiffer(t *testing.T) {
	seen := map[string]State{}
	for s := range numStates {
		if !strings.HasSuffix(s.Lamp(), " blinks") {
			continue
		}
		if other, ok := seen[s.Lamp()]; ok {
			t.Errorf("%v and %v both show %s", s, other, s.Lamp())
		}
		seen[s.Lamp()] = s
	}
	for _, s := range []State{Quiet, NoNetwork, NoRelays, NoSound, ClockWrong, Declined, Busy, NoAnswer, Unreachable} {
		if seen[s.Lamp()] != s {
			t.Errorf("%v has no code", s)
		}
	}
}

// What the README says of states is what they are.
func TestREADMEHasTheTable(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n"+table()) {
		t.Errorf("README.md does not have the table of states:\n%s", table())
	}
}

// A world is what a machine believes in: carried out in the simplest way, with a
// clock of its own.
type world struct {
	r     *rand.Rand
	now   time.Duration
	voice bool
	plays tone.Sound    // goes on until another is played
	shown time.Duration // when the result that is shown goes; 0: none is
	calls map[call.ID]bool
	last  call.ID
}

func (w *world) step(m Machine, e Event) Machine {
	before := m
	m, do := m.Step(e)
	if !slices.IsSorted(do) {
		panic(fmt.Sprint("out of order: ", do))
	}
	// A microphone that goes on without a press here is announced.
	byPress := e.Call == before.Call && (before.State == Answering || states[before.State].group == seeking)
	if e.Kind == Answered && m.Call == e.Call && m.Call != before.Call && !byPress && !slices.Contains(do, AnswerBeep) {
		panic(fmt.Sprintf("%+v answers %+v by itself and does not beep", before, e))
	}
	for _, do := range do {
		switch do {
		case VoiceOn, VoiceOff:
			if w.voice == (do == VoiceOn) {
				panic("voice switched twice")
			}
			w.voice = do == VoiceOn
		case ChangeTone:
			w.plays = m.State.Tone()
		case Click, AnswerBeep, ConnectTone:
			if w.plays != tone.None {
				panic(fmt.Sprintf("%v is cut off by %v in %v", w.plays, do, m.State))
			}
		case ShowResult:
			w.shown = w.now + states[m.State].shown
		case StopShowing:
			w.shown = 0
		case PlaceCall:
			if w.r.IntN(4) == 0 {
				m = w.step(m, Event{Kind: EndBusy})
				continue
			}
			w.last++
			w.calls[w.last] = true
			m = w.step(m, Event{Kind: Placed, Call: w.last})
		case PickUp:
			if m.Call == 0 {
				panic("picked up no call")
			}
		case PutDown:
			if m.Down == 0 || m.Down != before.Call {
				panic("put down another call")
			}
			delete(w.calls, m.Down)
		case Silence:
			if e.Call == 0 {
				e.Call = before.Call
			}
			if e.Call == 0 {
				panic("silenced no call")
			}
		}
	}
	return m
}

// event is the next one: of any kind, about a call of any age.
func (w *world) event() Event {
	e := Event{Kind: Kind(w.r.IntN(int(numKinds)))}
	switch {
	case e.Kind == Diagnosed && w.r.IntN(2) == 0:
		e.Trouble = NoNetwork + State(w.r.IntN(4))
	case e.Kind > Placed:
		if e.Call = w.last; w.r.IntN(3) == 0 {
			w.last++
			e.Call = w.last
		} else if w.r.IntN(3) == 0 && w.last > 0 {
			e.Call -= min(e.Call-1, call.ID(w.r.IntN(3)))
		}
		w.calls[e.Call] = !e.Kind.ends()
		if e.Kind.ends() {
			delete(w.calls, e.Call)
		}
	}
	return e
}

// A day of whatever happens, in whatever order: no tone plays and no voice runs
// without a state for it, no result is shown for longer than its time, no state is
// about no call, and all comes to rest. Whether each call has an owner is
// TestRandomDayOfCalls'.
func TestRandomDay(t *testing.T) {
	seed := rand.Uint64()
	w := &world{r: rand.New(rand.NewPCG(seed, 0)), calls: map[call.ID]bool{}}
	m, seen := Machine{}, map[State]bool{}
	var log []string
	note := func(e Event) {
		if log = append(log, fmt.Sprintf("%v %+v", w.now, e)); len(log) > 30 {
			log = log[1:]
		}
	}
	check := func(e Event) {
		seen[m.State] = true
		row := states[m.State]
		switch {
		case w.voice != row.voice,
			w.plays != row.tone,
			(w.shown != 0) != (row.group == telling),
			w.shown > w.now+row.shown,
			m.Alive() != (m.Call != 0),
			m.Call != 0 && m.Call == m.Down,
			(m.Waits != 0) != (m.State == CallWaiting),
			m.Call != 0 && m.Call == m.Waits,
			m.Speaks(true) && (!m.Held || !w.voice),
			m.Speaks(false) != w.voice,
			row.group == resting && m.State != m.rest():
			t.Fatalf("seed %d: %+v in %+v after %+v; before it: %s", seed, m, w, e, strings.Join(log, "\n"))
		}
	}
	for w.now < 24*time.Hour {
		w.now += time.Duration(w.r.ExpFloat64() * float64(500*time.Millisecond))
		for w.shown != 0 && w.now >= w.shown {
			w.shown = 0
			m = w.step(m, Event{Kind: TimeUp})
		}
		e := w.event()
		if e.Kind == TimeUp || e.Kind == Placed {
			continue
		}
		note(e)
		m = w.step(m, e)
		check(e)
		if w.r.IntN(200) > 0 {
			continue
		}
		// From anywhere it comes to rest when its call ends.
		end := m
		rest := *w
		rest.calls = maps.Clone(w.calls)
		if end.Alive() {
			end = rest.step(end, Event{Kind: Vanished, Call: end.Call})
		}
		if rest.shown != 0 {
			rest.shown = 0
			end = rest.step(end, Event{Kind: TimeUp})
		}
		if states[end.State].group != resting || rest.voice || rest.plays != tone.None {
			t.Fatalf("seed %d: does not come to rest: %+v, %+v; before it: %s", seed, end, rest, strings.Join(log, "\n"))
		}
	}
	if len(seen) != int(numStates) {
		t.Errorf("seed %d: only %d of %d states were reached", seed, len(seen), numStates)
	}
}
