package device

import (
	"fmt"
	"time"

	"hushbell/voipcore"
	"hushbell/voipcore/call"
)

// A State is what the box does. There is one at a time.
type State uint8

// The states. From Declined on they show for a while what became of a call.
const (
	Offline     State = iota // nothing, and it cannot be called at present
	Idle                     // nothing
	Calling                  // looks for the far box
	RingingFar               // the far box rings
	Waiting                  // the far line is busy, and we have a place in its queue
	RingingHere              // somebody calls
	Answering                // somebody calls, and the button was pressed
	InCall                   // talk
	Declined
	Busy
	NoAnswer
	Unreachable
	Ended
	numStates
)

// A group is a set of states that take events alike.
type group uint8

const (
	resting group = iota
	seeking       // our call, before the answer
	ringing
	answering
	talking
	telling // what became of a call
	numGroups
)

// states is what a state brings with it. Step switches sound and timer by this
// table, so no transition can forget to.
var states = [numStates]struct {
	name  string
	group group
	lamp  string        // the pattern of the LED, by the names of package gpio
	sound bool          // microphone and speaker run
	shown time.Duration // how long it lasts, for those that end by themselves
}{
	Offline:     {name: "offline", group: resting, lamp: "heartbeat"},
	Idle:        {name: "idle", group: resting, lamp: "off"},
	Calling:     {name: "calling", group: seeking, lamp: "fast blink"},
	RingingFar:  {name: "ringing far", group: seeking, lamp: "slow blink"},
	Waiting:     {name: "waiting", group: seeking, lamp: "2 blinks"},
	RingingHere: {name: "ringing here", group: ringing, lamp: "fast blink"},
	Answering:   {name: "answering", group: answering, lamp: "on"},
	InCall:      {name: "in call", group: talking, lamp: "on", sound: true},
	Declined:    {name: "declined", group: telling, lamp: "3 blinks", shown: showFailure},
	Busy:        {name: "busy", group: telling, lamp: "4 blinks", shown: showFailure},
	NoAnswer:    {name: "no answer", group: telling, lamp: "5 blinks", shown: showFailure},
	Unreachable: {name: "unreachable", group: telling, lamp: "6 blinks", shown: showFailure},
	Ended:       {name: "ended", group: telling, lamp: "off", shown: showEnd},
}

const (
	showFailure = 5 * time.Second // 6 blinks and the pause behind them
	showEnd     = time.Second
)

// String returns the state as people read it.
func (s State) String() string {
	if s < numStates {
		return states[s].name
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Lamp returns the name of the pattern that the LED shows in this state.
func (s State) Lamp() string { return states[s].lamp }

// A Kind is what an Event is.
type Kind uint8

// What can happen: to the button, by command, to the network, and to calls.
const (
	Press         Kind = iota
	CallCommand        // as a press that calls, but somebody else
	AnswerCommand      // as a press that answers
	HangUpCommand      // as a press that hangs up
	WentOnline         //
	WentOffline        //
	TimeUp             // a result was shown for long enough
	Placed             // what PlaceCall has led to: Call is its number

	FarRings // of the call of that number, all that follow
	FarQueues
	RingsHere
	RingStops
	Answered
	EndDeclined
	EndBusy
	EndNoAnswer
	EndUnreachable
	EndHungUp
	EndMissed
	EndLost
	Vanished // there is no such call any more, and nothing was said
	Knocks   // somebody waits for the line
	numKinds
)

var kindNames = [numKinds]string{"Press", "CallCommand", "AnswerCommand", "HangUpCommand", "WentOnline", "WentOffline",
	"TimeUp", "Placed", "FarRings", "FarQueues", "RingsHere", "RingStops", "Answered", "EndDeclined", "EndBusy",
	"EndNoAnswer", "EndUnreachable", "EndHungUp", "EndMissed", "EndLost", "Vanished", "Knocks"}

func (k Kind) String() string { return kindNames[k] }

// An Event is something that happens to the box.
type Event struct {
	Kind Kind
	Call call.ID // from Placed on
}

// kinds maps what a Core tells.
var kinds = map[voipcore.EventKind]Kind{
	voipcore.RingingFar:  FarRings,
	voipcore.Waiting:     FarQueues,
	voipcore.RingingHere: RingsHere,
	voipcore.StopRinging: RingStops,
	voipcore.WaitingHere: Knocks,
	voipcore.Answered:    Answered,
	voipcore.Declined:    EndDeclined,
	voipcore.Busy:        EndBusy,
	voipcore.NoAnswer:    EndNoAnswer,
	voipcore.Unreachable: EndUnreachable,
	voipcore.Ended:       EndHungUp,
	voipcore.Missed:      EndMissed,
	voipcore.Lost:        EndLost,
}

// A Do says what has to be done.
type Do uint8

// What Step has done, in this order: silence first, and what leads to further
// events last.
const (
	SoundOn Do = iota
	SoundOff
	ShowResult // TimeUp when the state has lasted as long as it is shown
	StopShowing
	PlaceCall // then Placed, or an End of call 0
	PickUp
	PutDown
	numDos
)

var doNames = [numDos]string{"SoundOn", "SoundOff", "ShowResult", "StopShowing", "PlaceCall", "PickUp", "PutDown"}

func (d Do) String() string { return doNames[d] }

// A Machine is how the box behaves: a value that can be copied and compared.
// It has no clock, goroutine or I/O. The zero Machine is offline.
type Machine struct {
	State  State
	Online bool    // we can be called
	Call   call.ID // the call that the state is about; 0 in the others, and while one is placed
	Down   call.ID // the last one that we have put down: of it we want to hear no more
}

// Alive reports whether the state is about a call that is not over.
func (m Machine) Alive() bool { return states[m.State].group.alive() }

func (g group) alive() bool { return g != resting && g != telling }

// rest is what the box does when it does nothing.
const rest State = numStates

// A transition is the next state, and what has to be done besides what it
// brings with it.
type transition struct {
	next State
	do   []Do
}

type row map[Kind]transition

// own are the transitions of events about m.Call, and of those about no call.
// What is not there changes nothing.
var own = [numGroups]row{
	resting: {
		Press:       {Calling, []Do{PlaceCall}},
		CallCommand: {Calling, []Do{PlaceCall}},
		WentOnline:  {rest, nil},
		WentOffline: {rest, nil},
	},
	seeking: {
		Press:          {Ended, []Do{PutDown}},
		HangUpCommand:  {Ended, []Do{PutDown}},
		FarRings:       {RingingFar, nil},
		FarQueues:      {Waiting, nil},
		RingsHere:      {RingingHere, nil}, // whom we called was calling us
		Answered:       {InCall, nil},
		EndDeclined:    {Declined, nil},
		EndBusy:        {Busy, nil},
		EndNoAnswer:    {NoAnswer, nil},
		EndUnreachable: {Unreachable, nil},
		EndHungUp:      {Ended, nil},
		EndMissed:      {Ended, nil},
		EndLost:        {Unreachable, nil},
		Vanished:       {Unreachable, nil},
	},
	ringing: {
		Press:         {Answering, []Do{PickUp}},
		AnswerCommand: {Answering, []Do{PickUp}},
		HangUpCommand: {rest, []Do{PutDown}},
		RingStops:     {rest, nil}, // it may ring again
		Answered:      {InCall, nil},
	},
	answering: {
		Press:         {Ended, []Do{PutDown}},
		HangUpCommand: {Ended, []Do{PutDown}},
		Answered:      {InCall, nil},
	},
	talking: {
		Press:         {Ended, []Do{PutDown}},
		HangUpCommand: {Ended, []Do{PutDown}},
	},
	telling: {
		Press:       {Calling, []Do{PlaceCall}},
		CallCommand: {Calling, []Do{PlaceCall}},
		TimeUp:      {rest, nil},
	},
}

// Step returns the box as it is after e, and what has to be done, in order.
func (m Machine) Step(e Event) (Machine, []Do) {
	switch e.Kind {
	case WentOnline, WentOffline:
		m.Online = e.Kind == WentOnline
	case Placed:
		if m.State == Calling && m.Call == 0 {
			m.Call = e.Call
		}
		return m, nil
	}
	t, ok := m.find(e)
	if !ok {
		return m, nil
	}
	was := m.State
	if m.State = t.next; m.State == rest {
		m.State = Offline
		if m.Online {
			m.State = Idle
		}
	}
	switch {
	case len(t.do) > 0 && t.do[0] == PutDown:
		m.Down, m.Call = m.Call, 0
	case !m.Alive():
		m.Call = 0
	case e.Call != 0:
		m.Call = e.Call
	}
	return m, append(brings(was, m.State), t.do...)
}

// find returns the transition for e, if there is one.
func (m Machine) find(e Event) (t transition, ok bool) {
	g := states[m.State].group
	switch {
	case e.Kind < Placed || e.Call == m.Call && g.alive():
		if t, ok = own[g][e.Kind]; !ok && e.Kind >= EndDeclined && e.Kind <= Vanished && g.alive() {
			// Every end of a call is an end, however it is called.
			return transition{next: Ended}, true
		}
		return t, ok
	case e.Call == 0 || e.Call == m.Down:
		return t, false
	}
	// Another call. voipcore gives it the line only when the line is free, so
	// the one that we had is none any more.
	switch e.Kind {
	case RingsHere:
		return transition{next: RingingHere}, true
	case Answered:
		return transition{next: InCall}, true
	}
	return t, false
}

// brings is what changes by itself from one state to another.
func brings(was, is State) (do []Do) {
	a, b := states[was], states[is]
	switch {
	case a.sound && !b.sound:
		do = append(do, SoundOff)
	case b.sound && !a.sound:
		do = append(do, SoundOn)
	}
	switch {
	case b.shown > 0 && was != is:
		do = append(do, ShowResult)
	case a.shown > 0 && b.shown == 0:
		do = append(do, StopShowing)
	}
	return do
}
