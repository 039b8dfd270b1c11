package call

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// sample is a call as it may stand in s: told, and in its first try.
func sample(s State) Call {
	c := New(Rules{})
	c.State, c.Tries, c.TTW, c.Told = s, 1, 5, true
	return c
}

// variants are all events, with the facts that change what they mean.
func variants() (names []string, events []Event, prepare []func(*Call)) {
	add := func(note string, e Event, f func(*Call)) {
		names, events, prepare = append(names, e.Kind.String()+note), append(events, e), append(prepare, f)
	}
	same := func(*Call) {}
	for k := Kind(0); k < firstDerived; k++ {
		e := Event{Kind: k}
		switch k {
		case TimeUp:
			add(" (tries and waits left)", e, same)
			add(" (none left)", e, func(c *Call) { c.Tries, c.Waits = c.Rules.Tries, c.Rules.Waits })
			continue
		case GotInitiate:
			e.NoT = 1
			add(" (in order)", e, same)
			e.NoT = 2
			add(" (a try left out)", e, same)
			e.NoT = New(Rules{}).Rules.Tries
			add(" (none left)", e, func(c *Call) { c.Tries = c.Rules.Tries })
			continue
		case GotWaiting:
			add("", e, same)
			add(" (none left)", e, func(c *Call) { c.Waits = c.Rules.Waits })
			continue
		case GotWaitingOK:
			e.TTW = 5
			add(" (5 s)", e, same)
			e.TTW = 0
			add(" (0 s)", e, same)
			continue
		case GotParameters:
			e.Params = DefaultParams
			add(" (wanted)", e, func(c *Call) { c.Wanted = true })
			add("", e, same)
			e.Params.Codec = 9
			add(" (not valid)", e, same)
			continue
		case GotParametersReply:
			e.Params = DefaultParams
			add(" (first try)", e, same)
			add(" (second try)", e, func(c *Call) { c.Tries = 2 })
			e.Params.Kbps++
			add(" (more than offered)", e, func(c *Call) { c.Tries = 2 })
			continue
		}
		add("", e, same)
	}
	return
}

// A caller's tries and waits are counted at the callee, too: he rings, and keeps the
// one place in the queue, for so long and no longer, whatever he sends.
func TestCallerWithoutEnd(t *testing.T) {
	follow := func(c Call, kinds ...Kind) Call {
		for _, k := range kinds {
			c, _ = c.Step(Event{Kind: k, NoT: c.Tries, Params: DefaultParams})
		}
		return c
	}
	c := follow(New(Rules{}), Arrived, GotHeartBeat)
	rings := 0
	for c = follow(c, GotInitiate, Allow, GotBusy, LineFree, GotParameters); c.State == Ringing; rings++ {
		c = follow(c, GotInitiate, Allow, GotBusy, LineFree, GotParameters)
		if rings > 100 {
			break
		}
	}
	if rings != int(c.Rules.Tries) || c.State != Ending {
		t.Errorf("it rang %d times, then it is %v; want %d rings and the end", rings, c.State, c.Rules.Tries)
	}
	c = follow(New(Rules{}), Arrived, GotHeartBeat, GotInitiate, Allow)
	waits := 0
	for c = follow(c, GotBusy, LineTaken, GotWaiting, QueueRoom); c.State == Queued; waits++ {
		c = follow(c, GotBusy, LineTaken, GotWaiting, QueueRoom)
		if waits > 100 {
			break
		}
	}
	if waits != int(c.Rules.Waits) || c.State != Refused {
		t.Errorf("it waited %d times, then it is %v; want %d and no", waits, c.State, c.Rules.Waits)
	}
}

// A caller waits for 5 min in all, and at most one wait more, whatever it is told.
func TestCalleeWithoutEnd(t *testing.T) {
	for ttw, want := range map[uint8]int{1: 60, 5: 300, 60: 300, 199: 398, 255: 510} {
		c := sample(Queueing)
		seconds := 0
		for c.State == Queueing && seconds < 24*60*60 {
			c, _ = c.Step(Event{Kind: GotWaitingOK, TTW: ttw})
			seconds += int(c.limit(waitTimer) / time.Second)
			c, _ = c.Step(Event{Kind: TimeUp})
			if c.State == Asking {
				c, _ = c.Step(Event{Kind: GotBusyYes})
			}
		}
		if seconds != want || c.State != Ending {
			t.Errorf("told to wait for %d s it waited for %d s in all, then it is %v; want %d s and the end", ttw, seconds, c.State, want)
		}
	}
}

// The golden file shows a reviewer the whole table, and what a change did to it.
func TestGolden(t *testing.T) {
	var b strings.Builder
	names, events, prepare := variants()
	for s := Idle; s < numStates; s++ {
		fmt.Fprintf(&b, "%v\n", s)
		var ignored, outOfTurn []string
		_, drop := sample(s).Step(Event{Kind: Malformed})
		for i, e := range events {
			c := sample(s)
			prepare[i](&c)
			next, do := c.Step(e)
			switch {
			case next == c && len(do) == 0:
				ignored = append(ignored, names[i])
			case e.Kind >= firstMessage && len(drop) > 0 && slices.Equal(do, drop):
				outOfTurn = append(outOfTurn, names[i])
			default:
				fmt.Fprintf(&b, "    %-36s -> %-10v %v\n", names[i], next.State, do)
			}
		}
		fmt.Fprintf(&b, "    as Malformed: %s\n", strings.Join(outOfTurn, ", "))
		fmt.Fprintf(&b, "    nothing: %s\n\n", strings.Join(ignored, ", "))
	}
	golden(t, "testdata/transitions.golden", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s; if that is meant, run go test -update\n%s", file, got)
	}
}

// A follower carries out actions as a driver would, and watches over them.
type follower struct {
	timer, voice, ring  bool
	open, closed, ended bool
	bad                 string
}

func (f *follower) follow(do []Action) {
	fail := func(format string, a ...any) {
		if f.bad == "" {
			f.bad = fmt.Sprintf(format, a...)
		}
	}
	for _, a := range do {
		if f.closed && !a.Do.closes() {
			fail("%v after the session was closed", a)
		}
		switch a.Do {
		case Reach:
			f.open = true
		case Close, Drop:
			f.closed = true
		case StartTimer:
			if f.timer || a.For <= 0 {
				fail("%v with a timer running: %v", a, f.timer)
			}
			f.timer = true
		case StopTimer:
			if !f.timer {
				fail("StopTimer without a timer")
			}
			f.timer = false
		case StartVoice:
			if f.voice || !a.Params.Valid() {
				fail("%v with voice on: %v", a, f.voice)
			}
			f.voice = true
		case StopVoice:
			if !f.voice {
				fail("StopVoice without voice")
			}
			f.voice = false
		case TellRingingHere:
			if f.ring {
				fail("rings twice")
			}
			f.ring = true
		case StopRinging:
			if !f.ring {
				fail("StopRinging without a ring")
			}
			f.ring = false
		}
		if a.Do.closes() {
			if f.ended {
				fail("%v after the end was told", a)
			}
			f.ended = true
		} else if a.Do >= TellRingingFar && f.ended {
			fail("%v after the end was told", a)
		}
	}
}

// Rules: what must hold after any events in any order.
func TestRandomEvents(t *testing.T) {
	const runs, steps = 4000, 60
	seen := make(map[State]int)
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c, f := New(Rules{Tries: uint8(1 + rng.IntN(3)), Waits: 2}), follower{}
		start := []Kind{Dial, Arrived}[rng.IntN(2)]
		f.open = start == Arrived
		yielded := false
		var trail []string
		step := func(e Event) {
			if e.Kind == TimeUp {
				if !f.timer {
					return // a driver has no TimeUp without a timer
				}
				f.timer = false
			}
			if e.Kind == Unreached && c.State == Reaching {
				f.open = false
			}
			from := c
			var do []Action
			c, do = c.Step(e)
			trail = append(trail, fmt.Sprint(from.State, " + ", e.Kind, " -> ", c.State, " ", do))
			yielded = yielded || e.Kind == Yield && from.State.Alive() && !c.State.Alive()
			f.follow(do)
			seen[c.State]++

			s := &states[c.State]
			if f.timer != (s.timer != noTimer) {
				f.bad = "timer does not fit the state"
			}
			if f.voice != s.voice {
				f.bad = "voice does not fit the state"
			}
			if f.ring != (c.State == Ringing) {
				f.bad = "ring does not fit the state"
			}
			if !c.State.Alive() && c.State != Over && s.timer == noTimer {
				f.bad = "says goodbye for ever"
			}
			if !from.State.Alive() && c.State.Alive() {
				f.bad = "alive again"
			}
			if f.closed != (c.State == Over && f.open) {
				f.bad = "session open after the end, or closed before it"
			}
			if c.Tries > c.Rules.Tries && start == Dial {
				f.bad = "more tries than allowed"
			}
		}
		step(Event{Kind: start})
		for range steps {
			step(randomEvent(rng, c))
		}
		for range 20 { // left alone, it comes to its end by its timers
			if c.State == Talking {
				step(Event{Kind: HangUp})
			}
			step(Event{Kind: TimeUp})
		}
		if c.State != Over {
			f.bad = "never ends"
		}
		if told := c.Told && !yielded; told != f.ended {
			f.bad = fmt.Sprintf("owner told of the call: %v, of its end: %v", told, f.ended)
		}
		if f.bad != "" {
			t.Fatalf("seed %d: %s\n%s", seed, f.bad, strings.Join(trail, "\n"))
		}
	}
	for s := Reaching; s < numStates; s++ {
		if seen[s] == 0 {
			t.Errorf("%d random calls never came to %v", runs, s)
		}
	}
}

// randomEvent is mostly one that leads on from where c is, since a message out
// of turn ends a call.
func randomEvent(rng *rand.Rand, c Call) Event {
	e := Event{Kind: Kind(rng.IntN(int(firstDerived)))}
	if rng.IntN(10) > 0 {
		var on []Kind
		for k := Kind(0); k < firstDerived; k++ {
			if t := rows[c.State][k]; t.next != 0 && t.next != Over {
				on = append(on, k)
			}
		}
		if len(on) > 0 {
			e.Kind = on[rng.IntN(len(on))]
		}
	}
	e.NoT, e.TTW, e.Params = c.Tries, uint8(rng.IntN(9)), DefaultParams
	if rng.IntN(20) == 0 {
		e.NoT++
		e.Params.Kbps = uint8(rng.IntN(256))
	}
	return e
}

// Every message that a state does not wait for ends the session at once.
func TestOutOfTurn(t *testing.T) {
	names, events, prepare := variants()
	for s := Reaching; s < numStates; s++ {
		if !s.Alive() || states[s].group == resting {
			continue
		}
		for i, e := range events {
			if e.Kind < firstMessage {
				continue
			}
			c := sample(s)
			prepare[i](&c)
			if rows[s][c.judge(e)].next != 0 || groups[states[s].group][c.judge(e)].next != 0 && c.judge(e) != Malformed {
				continue // expected here
			}
			next, do := c.Step(e)
			dropped := slices.ContainsFunc(do, func(a Action) bool { return a.Do == Drop })
			if next.State != Over || !dropped {
				t.Errorf("%v + %s leads to %v %v, want Over with Drop", s, names[i], next.State, do)
			}
		}
	}
}

// A Call that nobody made, and kinds that nobody may send, change nothing.
func TestStepNonsense(t *testing.T) {
	for _, tt := range []struct {
		c Call
		k Kind
	}{{Call{}, Dial}, {Call{State: numStates}, Dial}, {Call{State: 255}, Lost}, {sample(Offering), triesUsed}, {sample(Offering), 255}} {
		if next, do := tt.c.Step(Event{Kind: tt.k}); next != tt.c || do != nil {
			t.Errorf("%v + %v = %v, %v; want no change", tt.c.State, tt.k, next, do)
		}
	}
}

// The names are written by hand beside the constants: none is missing.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	check := func(s string) {
		if s == "" || strings.Contains(s, "(") || seen[s] {
			t.Errorf("%q is no name, or one too many", s)
		}
		seen[s] = true
	}
	for s := State(0); s < numStates; s++ {
		check(s.String())
	}
	for k := Kind(0); k < numKinds; k++ {
		check(k.String())
	}
	for d := Do(0); d < numDos; d++ {
		check(d.String())
	}
	if got := Over.String() + TellLost.String() + nothingCommon.String(); got != "OverTellLostnothingCommon" {
		t.Errorf("last names are %s: a name is missing", got)
	}
}

// Calls that are placed together share the line: each of them may give way to its
// own peer, and the line is free when the last has gone.
func TestLineTogether(t *testing.T) {
	low, high, other := [32]byte{1}, [32]byte{9}, [32]byte{7}
	l := Line{Self: [32]byte{5}}
	l, ok, _ := l.Dial(1, low)
	if !ok {
		t.Fatal("Dial of a free line")
	}
	for id := ID(2); id <= Together; id++ {
		peer := high
		if id > 2 {
			peer = [32]byte{100 + byte(id)}
		}
		if l, ok = l.DialAlso(id, peer); !ok {
			t.Fatalf("DialAlso %d is refused", id)
		}
	}
	if _, ok := l.DialAlso(50, other); ok {
		t.Errorf("DialAlso takes more than %d", Together)
	}
	if _, ok := (Line{}).DialAlso(1, other); ok {
		t.Error("DialAlso of a free line")
	}
	if _, verdict := l.Ask(60, other); verdict != LineTaken {
		t.Errorf("Ask of a stranger: %v", verdict)
	}
	// The peer with the smaller pid wins, with the larger one waits for ours.
	l, verdict, yield := l.Initiate(20, low)
	if verdict != Allow || yield != 1 || l.Has() != 20 {
		t.Errorf("Initiate of a smaller pid: %v, yields %d, has %d", verdict, yield, l.Has())
	}
	l, verdict, yield = l.Initiate(21, high)
	if verdict != Hold || yield != 0 {
		t.Errorf("Initiate of a larger pid: %v, yields %d", verdict, yield)
	}
	third := [32]byte{103} // another of those whom we call
	if l, verdict, _ = l.Initiate(22, third); verdict != Hold {
		t.Errorf("Initiate of another larger pid: %v", verdict)
	}
	if l, verdict = l.Ask(20, low); verdict != LineFree {
		t.Errorf("Ask of who won: %v", verdict)
	}
	// Ours to the larger one ends while others are under way: theirs goes on, and
	// learns that the line is busy.
	l, allow := l.Gone(2)
	if allow != 21 {
		t.Errorf("Gone of ours allows %d, want 21", allow)
	}
	if _, allow := l.Gone(3); allow != 22 {
		t.Errorf("Gone of another of ours allows %d, want 22", allow)
	}
	left, _ := l.Gone(22) // it has hung up: there is nobody to be allowed
	if _, allow := left.Gone(3); allow != 0 {
		t.Errorf("Gone of ours allows %d, which has gone", allow)
	}
	if _, verdict = l.Ask(21, high); verdict != LineTaken {
		t.Errorf("Ask of who was on hold: %v", verdict)
	}
	l = l.Talking(5)
	if l.Calling([32]byte{105}) != 0 || l.Calling([32]byte{106}) != 6 {
		t.Error("a call that talks still calls, or one that calls does not")
	}
	for _, id := range []ID{20, 3, 4, 6, 7, 8, 5} {
		if l.Has() == 0 {
			t.Errorf("the line is free before %d has gone", id)
		}
		l, _ = l.Gone(id)
	}
	if l.Has() != 0 {
		t.Errorf("%d has the line when all have gone", l.Has())
	}
}
