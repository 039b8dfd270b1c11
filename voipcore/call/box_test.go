package call

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A world is some boxes with a network and a clock of their own: a list of
// things to do at a time. It shows what a driver of calls has to do.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Duration
	todo  []task
	trail []string
}

type task struct {
	at time.Duration
	do func()
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{t: t, rng: rand.New(rand.NewPCG(seed, 2))}
}

// at lets f happen at a time; what is due together happens in the order given.
func (w *world) at(when time.Duration, f func()) {
	i, _ := slices.BinarySearchFunc(w.todo, when, func(t task, when time.Duration) int {
		if t.at <= when {
			return -1
		}
		return 1
	})
	w.todo = slices.Insert(w.todo, i, task{when, f})
}

func (w *world) delay() time.Duration { return time.Duration(1+w.rng.IntN(400)) * time.Millisecond }

// run lets everything happen until nothing is left to do.
func (w *world) run() {
	w.t.Helper()
	for n := 0; len(w.todo) > 0; n++ {
		if n > 100000 {
			w.t.Fatal("the world does not come to rest")
		}
		next := w.todo[0]
		w.todo = w.todo[1:]
		w.now = next.at
		next.do()
	}
}

// A box is one device: its line, its calls, and what its owner was told.
type box struct {
	w     *world
	name  string
	line  Line
	rules Rules
	last  ID
	legs  map[ID]*leg
	told  []string // in order, over all calls

	off    bool            // cannot be reached
	refuse map[string]bool // pids that it does not take calls from
	auto   bool            // answers by itself
}

// A leg is the driver of one Call.
type leg struct {
	box      *box
	id       ID
	peer     *box
	call     Call
	far      *leg
	open     bool
	arrives  time.Duration // of the last thing sent: a session keeps the order
	timer    int           // counts up, so that a stopped timer's firing is known
	watch    follower
	messages []Do // sent
}

func (w *world) box(name string) *box {
	b := &box{w: w, name: name, legs: map[ID]*leg{}, refuse: map[string]bool{}}
	copy(b.line.Self[:], name)
	return b
}

func (b *box) pid() (p [32]byte) { copy(p[:], b.name); return }

func (b *box) newLeg(peer *box) *leg {
	b.last++
	l := &leg{box: b, id: b.last, peer: peer, call: New(b.rules)}
	b.legs[l.id] = l
	return l
}

// press is the button that calls peer.
func (b *box) press(peer *box) {
	l := b.newLeg(peer)
	next, ok, answer := b.line.Dial(l.id, peer.pid())
	b.line = next
	switch {
	case ok:
		l.feed(Event{Kind: Dial})
	case answer != 0:
		b.legs[answer].feed(Event{Kind: Answer})
	default:
		b.told = append(b.told, "line taken")
	}
}

// each feeds an event to every call that is alive.
func (b *box) each(k Kind) {
	for id := ID(1); id <= b.last; id++ {
		if l := b.legs[id]; l.call.State.Alive() && l.call.State != Idle {
			l.feed(Event{Kind: k})
		}
	}
}

func (l *leg) feed(e Event) {
	w := l.box.w
	from := l.call.State
	var do []Action
	l.call, do = l.call.Step(e)
	w.trail = append(w.trail, fmt.Sprintf("%8v %s%d %v + %v -> %v %v", w.now, l.box.name, l.id, from, e.Kind, l.call.State, do))
	l.watch.follow(do)
	if l.watch.bad != "" {
		w.t.Fatalf("%s\n%s", l.watch.bad, strings.Join(w.trail, "\n"))
	}
	for _, a := range do {
		l.act(a)
	}
	if from.Alive() && !l.call.State.Alive() {
		next, allow := l.box.line.Gone(l.id)
		l.box.line = next
		if allow != 0 {
			l.box.legs[allow].feed(Event{Kind: Allow})
		}
	}
}

func (l *leg) act(a Action) {
	b, w := l.box, l.box.w
	answer := func(k Kind) { w.at(w.now, func() { l.feed(Event{Kind: k}) }) }
	var verdict Kind
	switch a.Do {
	case Reach:
		l.watch.open = true
		takes := w.delay()
		if l.peer.off {
			takes += 5 * time.Second // a lookup that finds nothing
		}
		w.at(w.now+takes, func() {
			if l.call.State != Reaching {
				return
			}
			if l.peer.off {
				l.feed(Event{Kind: Unreached})
				return
			}
			far := l.peer.newLeg(b)
			l.far, far.far, l.open, far.open = far, l, true, true
			far.watch.open = true
			far.feed(Event{Kind: Arrived})
			l.feed(Event{Kind: Reached})
		})
	case Close, Drop:
		if l.open {
			l.open = false
			l.send(Event{Kind: Lost})
		}
	case AskPolicy:
		if b.refuse[l.peer.name] {
			answer(Refuse)
			return
		}
		var yield ID
		b.line, verdict, yield = b.line.Initiate(l.id, l.peer.pid())
		answer(verdict)
		if yield != 0 {
			b.legs[yield].feed(Event{Kind: Yield})
		}
		if verdict == Allow && (yield != 0 || b.auto) {
			answer(Answer)
		}
	case AskLine:
		b.line, verdict = b.line.Ask(l.id, l.peer.pid())
		answer(verdict)
	case AskQueue:
		b.line, verdict = b.line.Queue(l.id, l.peer.pid())
		answer(verdict)
	case StartTimer:
		l.timer++
		n := l.timer
		w.at(w.now+a.For, func() {
			if n == l.timer {
				l.watch.timer = false
				l.feed(Event{Kind: TimeUp})
			}
		})
	case StopTimer:
		l.timer++
	case StartVoice:
		b.line = b.line.Talking(l.id)
	}
	if a.Do >= SendHeartBeat && a.Do <= SendTerminateReply {
		l.messages = append(l.messages, a.Do)
		l.send(Event{Kind: received[a.Do], NoT: a.NoT, TTW: a.TTW, Params: a.Params})
	}
	if a.Do >= TellRingingFar || a.Do == StopRinging {
		b.told = append(b.told, strings.TrimPrefix(a.Do.String(), "Tell"))
	}
}

// received says what a message is at the other end.
var received = map[Do]Kind{
	SendHeartBeat: GotHeartBeat, SendHeartBeatReply: GotHeartBeatOK,
	SendInitiate: GotInitiate, SendInitiateOK: GotInitiateOK, SendInitiateNo: GotInitiateNo,
	SendBusy: GotBusy, SendBusyYes: GotBusyYes, SendBusyNo: GotBusyNo,
	SendWaiting: GotWaiting, SendWaitingOK: GotWaitingOK, SendWaitingNo: GotWaitingNo,
	SendParameters: GotParameters, SendParametersReply: GotParametersReply,
	SendTerminate: GotTerminate, SendTerminateReply: GotTerminateReply,
}

// send carries an event to the far end, some time later, in order.
func (l *leg) send(e Event) {
	w, far := l.box.w, l.far
	if far == nil {
		return
	}
	l.arrives = max(l.arrives, w.now+w.delay())
	w.at(l.arrives, func() {
		if far.open {
			far.feed(e)
		}
	})
}

// check holds that the world is at rest and the owners were told so.
func (w *world) check(want map[*box]string) {
	w.t.Helper()
	for b, want := range want {
		if got := strings.Join(b.told, " "); got != want {
			w.t.Errorf("%s was told:\n\t%s\nwant\n\t%s", b.name, got, want)
		}
		for id, l := range b.legs {
			if l.call.State != Over && l.call.State != Idle || l.open || l.watch.voice || l.watch.ring || l.watch.timer {
				w.t.Errorf("%s's call %d is left in %v, %+v", b.name, id, l.call.State, l.watch)
			}
		}
		if b.line != (Line{Self: b.line.Self}) {
			w.t.Errorf("%s's line is left as %+v", b.name, b.line)
		}
	}
	if w.t.Failed() {
		w.t.Logf("%s", strings.Join(w.trail, "\n"))
	}
}
