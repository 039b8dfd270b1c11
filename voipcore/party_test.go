package voipcore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/voice"
)

// group calls several boxes at once and fails the test if that is refused.
func (b *box) group(t testing.TB, page bool, far ...*box) call.ID {
	t.Helper()
	ids := []pid.ID{b.key.ID()} // which is left out
	for _, f := range far {
		ids = append(ids, f.key.ID(), f.key.ID())
	}
	id, err := b.CallGroup(b.key, ids, page)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func slowRing(c *Config) { c.Welcome = ring; c.Rules.Ring = 20 * time.Second }

// Two boxes ring, a third is out of reach. Who answers first gets the call, the
// other stops ringing, and the owner of the calling box sees one call.
func TestRingGroup(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b, c := s.newBox(t, "a", nil), s.newBox(t, "b", slowRing), s.newBox(t, "c", slowRing)
	nobody := &box{key: pid.NewKey()}
	id := a.group(t, false, b, c, nobody)
	b.wait(t, RingingHere)
	ringing := c.wait(t, RingingHere)
	if !a.Alive(id) {
		t.Error("the group is not alive while it rings")
	}
	c.Answer(ringing.Call)
	answered := a.wait(t, Answered)
	if answered.Call != id || answered.Peer != c.key.ID() || !answered.Outgoing || answered.Report.Hops != 3 {
		t.Errorf("told of the answer: %+v", answered)
	}
	c.wait(t, Answered)
	b.wait(t, StopRinging)
	b.wait(t, Missed)
	talk20ms(25, a, c)
	for _, st := range a.Status().Calls {
		if st.ID == id && st.Report.Sent < 20 {
			t.Errorf("the status of the group: %+v", st)
		}
	}
	a.HangUp(id)
	e := a.wait(t, Ended)
	if e.Call != id || e.Report.Voice.Received < 15 {
		t.Errorf("the end: %+v", e)
	}
	c.wait(t, Ended)
	if a.Alive(id) {
		t.Error("the group is alive after its end")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind != RingingFar || e.Call != id {
			t.Errorf("the caller was also told %+v", e)
		}
	}
}

// What a group comes to when nobody takes the call, and when its caller gives up.
func TestRingGroupThatFails(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a := s.newBox(t, "a", nil)
	refuses := s.newBox(t, "b", func(c *Config) { c.Welcome = nil })
	unanswered := s.newBox(t, "c", func(c *Config) { c.Welcome = ring })
	nobody := &box{key: pid.NewKey()}
	a.group(t, false, nobody, refuses)
	a.wait(t, Declined)
	a.group(t, false, refuses, unanswered)
	a.wait(t, NoAnswer)
	unanswered.wait(t, Missed)

	id := a.group(t, false, unanswered, nobody)
	unanswered.wait(t, RingingHere)
	if _, err := a.CallGroup(a.key, []pid.ID{refuses.key.ID()}, true); !errors.Is(err, ErrLineTaken) {
		t.Errorf("CallGroup in a call = %v", err)
	}
	a.HangUp(id)
	if e := a.wait(t, Ended); e.Call != id {
		t.Errorf("the end of what was given up: %+v", e)
	}
	if _, err := a.CallGroup(a.key, []pid.ID{a.key.ID()}, true); !errors.Is(err, ErrSelf) {
		t.Errorf("CallGroup of itself = %v", err)
	}
	if _, err := a.CallGroup(a.key, make9(), true); !errors.Is(err, ErrTooMany) {
		t.Errorf("CallGroup of 9 = %v", err)
	}
}

func make9() (ids []pid.ID) {
	for range MaxGroup + 1 {
		ids = append(ids, pid.NewKey().ID())
	}
	return ids
}

// A page: two answer by themselves and hear us, we hear both; one leaves, and the
// page goes on; a third is busy and is not waited for.
func TestPage(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b, c := s.newBox(t, "a", nil), s.newBox(t, "b", nil), s.newBox(t, "c", nil)
	id := a.group(t, true, b, c)
	first := a.wait(t, Answered)
	b.wait(t, Answered)
	eb := c.wait(t, Answered)
	if first.Call != id {
		t.Errorf("told of the answer: %+v", first)
	}
	waitEnds(t, a, 2)

	// Only who answered first is asked about for our door.
	for _, x := range []*box{b, c} {
		id := x.Status().Calls[0].ID
		if err := x.OpenDoor(id, PIN{'1'}); err != nil {
			t.Fatal(err)
		}
		if x.key.ID() == first.Peer {
			if e := a.wait(t, DoorAsked); e.Peer != first.Peer {
				t.Errorf("the door is asked for by %+v", e)
			}
			a.AnswerDoor(first.Call, true)
		}
		if e := x.wait(t, DoorAnswered); e.Opened != (x.key.ID() == first.Peer) {
			t.Errorf("opened %v for the first: %v", e.Opened, x.key.ID() == first.Peer)
		}
	}

	// b says 6000, c says 3000: a hears the sum.
	say := func(v int) (pcm [voice.FrameSamples]int16) {
		for i := range pcm {
			pcm[i] = int16(v * (1 - i/24%2*2)) // 1 kHz
		}
		return pcm
	}
	pa, pb, pc := say(2000), say(6000), say(3000)
	var out [voice.FrameSamples]int16
	loud := map[*box]int{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 60 {
		<-tick.C
		a.Speak(&pa)
		b.Speak(&pb)
		c.Speak(&pc)
		for _, x := range []*box{a, b, c} {
			x.Listen(&out)
			loud[x] = max(loud[x], int(slices.Max(out[:])))
		}
	}
	if loud[a] < 7000 || loud[b] < 1500 || loud[b] > 4500 || loud[c] < 1500 || loud[c] > 4500 {
		t.Errorf("heard by the caller %d, by the others %d and %d", loud[a], loud[b], loud[c])
	}
	c.HangUp(eb.Call)
	c.wait(t, Ended)
	waitEnds(t, a, 1)
	talk20ms(10, a, b)
	a.HangUp(id)
	a.wait(t, Ended)
	b.wait(t, Ended)
	if a.Listen(&out) || a.Speak(&pa) {
		t.Error("there is sound after the page")
	}
}

// waitEnds waits until so many take part in a talk.
func waitEnds(t *testing.T, b *box, n int) {
	t.Helper()
	for range 1000 {
		if talk := b.talk.Load(); talk != nil && len(*talk.ends.Load()) == n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not %d take part", n)
}

// Sound to and from several ends takes nothing from the heap.
func TestPageDoesNotAllocate(t *testing.T) {
	if testing.Short() {
		t.Skip("counts allocations: not under the race detector")
	}
	s := newSwarm(t, 8, "127.0.0.1")
	a, b, c := s.newBox(t, "a", nil), s.newBox(t, "b", nil), s.newBox(t, "c", nil)
	id := a.group(t, true, b, c)
	a.wait(t, Answered)
	waitEnds(t, a, 2)
	talk20ms(50, a, b, c)
	var pcm [voice.FrameSamples]int16
	// What relays and tunnels do meanwhile in this process is counted, too: the
	// quietest of many runs tells.
	least := math.Inf(1)
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, func() {
			for range 50 {
				a.Listen(&pcm)
				a.Speak(&pcm)
			}
		}))
	}
	if least >= 50 {
		t.Errorf("%v allocations in 50 frames of a page", least)
	}
	a.HangUp(id)
	a.wait(t, Ended)
}

// A trace is what a call of a box has seen and done: every message among it.
type trace struct {
	mu    sync.Mutex
	steps []string
}

func (tr *trace) Enabled(context.Context, slog.Level) bool { return true }
func (tr *trace) WithAttrs([]slog.Attr) slog.Handler       { return tr }
func (tr *trace) WithGroup(string) slog.Handler            { return tr }
func (tr *trace) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "call" {
		return nil
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	step := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "call" {
			step += fmt.Sprint(a.Value, " ")
		}
		return true
	})
	tr.steps = append(tr.steps, step)
	return nil
}

func (tr *trace) take() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	steps := tr.steps
	tr.steps = nil
	return steps
}

// From outside, a box that lets strangers ring unheard is one where nobody is at
// home, whatever it does meanwhile; its owner is told only when it is over.
func TestSilentIsNobodyAtHome(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	tr := &trace{}
	stranger := s.newBox(t, "stranger", func(c *Config) { c.Log = slog.New(tr) })
	friend := s.newBox(t, "friend", nil)
	away := s.newBox(t, "away", func(c *Config) { c.Welcome = ring })
	silent := s.newBox(t, "silent", func(c *Config) {
		c.Welcome = func(from pid.ID) Welcome {
			if from == friend.key.ID() {
				return Admit
			}
			return Silent
		}
	})
	traceOf := func(far *box) []string {
		tr.take()
		stranger.call(t, far.key.ID())
		stranger.wait(t, NoAnswer)
		for stranger.Status().Calls != nil {
			time.Sleep(10 * time.Millisecond)
		}
		return tr.take()
	}
	want := traceOf(away)
	if len(want) < 10 {
		t.Fatalf("the trace is only %q", want)
	}
	if got := traceOf(silent); !slices.Equal(got, want) {
		t.Errorf("a silent box looks like\n%q, nobody at home like\n%q", got, want)
	}
	if e := silent.wait(t, Missed); e.Peer != stranger.key.ID() {
		t.Errorf("told %+v", e)
	}
	// In a call with a friend it looks the same, and the call is not disturbed.
	friend.call(t, silent.key.ID())
	friend.wait(t, Answered)
	if got := traceOf(silent); !slices.Equal(got, want) {
		t.Errorf("a silent box in a call looks like\n%q, nobody at home like\n%q", got, want)
	}
	talk20ms(10, friend, silent)
	silent.mu.Lock()
	defer silent.mu.Unlock()
	for _, e := range silent.events {
		if e.Kind != Answered && e.Kind != Missed {
			t.Errorf("the owner is told %v", e.Kind)
		}
	}
}

// Whom the owner calls is talked to, also if that very box rings unheard here.
func TestSilentAndCalled(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	quiet := func(c *Config) {
		c.Welcome = func(pid.ID) Welcome { return Silent }
		c.Rules.Ring = 20 * time.Second
	}
	a, b := s.newBox(t, "a", quiet), s.newBox(t, "b", quiet)
	for _, byGroup := range []bool{false, true} {
		id := a.call(t, b.key.ID())
		a.wait(t, RingingFar)
		if byGroup {
			b.group(t, false, &box{key: pid.NewKey()}, a, &box{key: pid.NewKey()})
		} else {
			b.call(t, a.key.ID())
		}
		a.wait(t, Answered)
		b.wait(t, Answered)
		talk20ms(10, a, b)
		a.HangUp(id)
		a.wait(t, Ended)
		b.wait(t, Ended)
	}
}

// Callers who ring unheard take half of the places at most: the next one is let go
// without a word, and a contact still gets through.
func TestSilentLeavesRoom(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	stranger, friend := s.newBox(t, "stranger", nil), s.newBox(t, "friend", nil)
	b := s.newBox(t, "b", func(c *Config) {
		c.Welcome = func(from pid.ID) Welcome {
			if from == friend.key.ID() {
				return Admit
			}
			return Silent
		}
	})
	b.board.do(func() {
		for i := range maxSilent {
			id := call.ID(1000 + i)
			b.board.legs[id] = &leg{board: b.board, id: id, call: call.New(call.Rules{}), silent: true}
		}
	})
	stranger.call(t, b.key.ID())
	if e := stranger.wait(t, Unreachable); !errors.Is(e.Err, ErrNoWay) {
		t.Errorf("not reached because of %v", e.Err)
	}
	friend.call(t, b.key.ID())
	friend.wait(t, Answered)
	b.wait(t, Answered)
	b.board.do(func() {
		for i := range maxSilent {
			delete(b.board.legs, call.ID(1000+i))
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) > 0 {
		t.Errorf("the owner is told %+v", b.events)
	}
}
