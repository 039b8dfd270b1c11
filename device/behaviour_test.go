package device

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"hushbell/gpio"
	"hushbell/voipcore"
	"hushbell/voipcore/call"
)

var update = flag.Bool("update", false, "write testdata/behaviour.golden")

// Every state and event, as a page to be read.
func TestBehaviour(t *testing.T) {
	var b strings.Builder
	for s := range numStates {
		fmt.Fprintf(&b, "%v: LED %s\n", s, s.Lamp())
		for k := range numKinds {
			m := Machine{State: s, Online: s != Offline, Down: 2}
			if m.Alive() {
				m.Call = 7
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
				next, do := m.Step(Event{k, a.call})
				if next == m && len(do) == 0 {
					continue
				}
				fmt.Fprintf(&b, "    %-32v -> %-13v %v\n", k.String()+a.of, next.State, do)
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
		if (states[s].shown > 0) != (states[s].group == telling) || states[s].sound != (s == InCall) {
			t.Errorf("%v: shown %v, sound %v", s, states[s].shown, states[s].sound)
		}
	}
	if len(groups) != int(numGroups) {
		t.Errorf("%d of %d groups are used", len(groups), numGroups)
	}
	for k := voipcore.Reachability + 1; k <= voipcore.Lost; k++ {
		if _, ok := kinds[k]; !ok {
			t.Errorf("no event for what voipcore calls %v", k)
		}
	}
}

// A world is what a machine believes in: carried out in the simplest way.
type world struct {
	sound, timer bool
	calls        map[call.ID]bool // that we placed, or were told of, and did not put down
	last         call.ID
}

func (w *world) step(m Machine, e Event) Machine {
	m, do := m.Step(e)
	for _, do := range do {
		switch do {
		case SoundOn, SoundOff:
			if w.sound == (do == SoundOn) {
				panic("sound switched twice")
			}
			w.sound = do == SoundOn
		case ShowResult:
			w.timer = true
		case StopShowing:
			w.timer = false
		case PlaceCall:
			if rand.N(4) == 0 {
				m = w.step(m, Event{EndBusy, 0})
				continue
			}
			w.last++
			m = w.step(m, Event{Placed, w.last})
		case PickUp:
			if m.Call == 0 {
				panic("picked up no call")
			}
		case PutDown:
			if m.Down == 0 {
				panic("put down no call")
			}
		}
	}
	return m
}

// Whatever happens, in whatever order, no sound plays without a call, no result
// is shown for ever, no state is about no call, and all comes to rest.
func TestRandomEvents(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	seen := map[State]bool{}
	for range 200 {
		w, m := &world{}, Machine{}
		var log []string
		for range 500 {
			e := Event{Kind: Kind(r.IntN(int(numKinds)))}
			if e.Kind == TimeUp && !w.timer || e.Kind == Placed {
				continue
			}
			if e.Kind > Placed {
				if e.Call = w.last; r.IntN(3) == 0 {
					w.last++
					e.Call = w.last
				}
			}
			if e.Kind == TimeUp {
				w.timer = false
			}
			log = append(log, fmt.Sprint(e))
			was := m
			m = w.step(m, e)
			seen[m.State] = true
			switch {
			case w.sound != (m.State == InCall),
				w.timer != (states[m.State].group == telling),
				m.Alive() != (m.Call != 0),
				m.Call != 0 && m.Call == m.Down,
				m.State == Idle && !m.Online, m.State == Offline && m.Online:
				t.Fatalf("seed %d: %+v became %+v, sound %v, timer %v, after %v", seed, was, m, w.sound, w.timer, log)
			}
		}
		if m.Alive() {
			m = w.step(m, Event{Vanished, m.Call})
		}
		if w.timer {
			m = w.step(m, Event{Kind: TimeUp})
		}
		if m.State != Idle && m.State != Offline {
			t.Fatalf("seed %d: does not come to rest: %+v after %v", seed, m, log)
		}
	}
	if len(seen) != int(numStates) {
		t.Errorf("seed %d: only %d of %d states were reached", seed, len(seen), numStates)
	}
}
