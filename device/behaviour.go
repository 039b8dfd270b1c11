package device

import (
	"hushbell/voipcore"
	"hushbell/voipcore/call"
)

// A Kind is what an Event is.
type Kind uint8

// What can happen: to a button, by command, to the box, and to calls.
const (
	Press         Kind = iota
	TalkStart          // a button for push to talk is held from now on
	TalkEnd            // until now
	CallCommand        // as a press that calls, but somebody else
	AnswerCommand      // as a press that answers
	HangUpCommand      // as a press that hangs up
	WentOnline         //
	WentOffline        //
	QuietBegan         // do not disturb
	QuietEnded         //
	Diagnosed          // Trouble says what is wrong, if anything
	TooLong            // the call has lasted as long as one may
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

var kindNames = [numKinds]string{"Press", "TalkStart", "TalkEnd", "CallCommand", "AnswerCommand", "HangUpCommand",
	"WentOnline", "WentOffline", "QuietBegan", "QuietEnded", "Diagnosed", "TooLong",
	"TimeUp", "Placed", "FarRings", "FarQueues", "RingsHere", "RingStops", "Answered", "EndDeclined", "EndBusy",
	"EndNoAnswer", "EndUnreachable", "EndHungUp", "EndMissed", "EndLost", "Vanished", "Knocks"}

func (k Kind) String() string { return kindNames[k] }

// ends reports whether a call is over by it.
func (k Kind) ends() bool { return k >= EndDeclined && k <= Vanished }

// An Event is something that happens to the box.
type Event struct {
	Kind    Kind
	Call    call.ID // from Placed on
	Trouble State   // Diagnosed: NoNetwork and the like; 0 is none
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

// What Step has done, in this order: voice begins before the tone changes and
// ends after it, so that a speaker that goes on playing is not stopped between;
// what leads to further events is last.
const (
	VoiceOn    Do = iota
	ChangeTone    // to that of the state
	VoiceOff
	ShowResult // TimeUp when the state has lasted as long as it is shown
	StopShowing
	Click       // tell that the press was taken: a short sound
	AnswerBeep  // tell that the box has answered by itself: a sound that cannot be missed
	ConnectTone // tell that the far end has answered
	PlaceCall   // then Placed, or an End of call 0
	PickUp
	PutDown
	Silence // let it ring unheard: it does not hold the line
	numDos
)

var doNames = [numDos]string{"VoiceOn", "ChangeTone", "VoiceOff", "ShowResult", "StopShowing", "Click", "AnswerBeep",
	"ConnectTone", "PlaceCall", "PickUp", "PutDown", "Silence"}

func (d Do) String() string { return doNames[d] }

// A Machine is how the box behaves: a value that can be copied and compared.
// It has no clock, goroutine or I/O. The zero Machine is offline.
type Machine struct {
	State   State
	Online  bool    // we can be called
	Quiet   bool    // do not disturb
	Trouble State   // what is wrong with the box; 0 for nothing
	Held    bool    // a button for push to talk is
	Call    call.ID // the call that the state is about; 0 in the others, and while one is placed
	Waits   call.ID // in CallWaiting, the one that waits; 0 in all others
	Down    call.ID // the last one that we have put down: of it we want to hear no more
}

// Alive reports whether the state is about a call that is not over.
func (m Machine) Alive() bool { return states[m.State].group.alive() }

func (g group) alive() bool { return g != resting && g != telling }

// Speaks reports whether the far end is to hear us, with a box that has push to
// talk or not.
func (m Machine) Speaks(pushToTalk bool) bool { return m.State.Voice() && (m.Held || !pushToTalk) }

// rest is what the box does when it does nothing: see Machine.rest.
const rest State = numStates

// rest returns the state of a box that does nothing.
func (m Machine) rest() State {
	wayOut := m.Trouble == NoNetwork || m.Trouble == NoRelays // of that Online knows sooner
	switch {
	case m.Trouble != 0 && !(wayOut && m.Online):
		return m.Trouble
	case !m.Online:
		return Offline
	case m.Quiet:
		return Quiet
	}
	return Idle
}

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
		Press:       {Calling, []Do{Click, PlaceCall}},
		TalkStart:   {Calling, []Do{Click, PlaceCall}},
		CallCommand: {Calling, []Do{PlaceCall}},
		WentOnline:  {rest, nil},
		WentOffline: {rest, nil},
		QuietBegan:  {rest, nil},
		QuietEnded:  {rest, nil},
		Diagnosed:   {rest, nil},
	},
	seeking: {
		Press:          {HungUp, []Do{PutDown}},
		HangUpCommand:  {HungUp, []Do{PutDown}},
		FarRings:       {RingingFar, nil},
		FarQueues:      {Waiting, nil},
		RingsHere:      {RingingHere, nil}, // whom we called was calling us
		Answered:       {InCall, []Do{ConnectTone}},
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
		TalkStart:     {Answering, []Do{PickUp}},
		AnswerCommand: {Answering, []Do{PickUp}},
		HangUpCommand: {rest, []Do{PutDown}},
		RingStops:     {rest, nil}, // it may ring again
		QuietBegan:    {rest, []Do{Silence}},
		Answered:      {InCall, []Do{AnswerBeep}},
	},
	answering: {
		Press:         {HungUp, []Do{PutDown}},
		HangUpCommand: {HungUp, []Do{PutDown}},
		Answered:      {InCall, nil},
	},
	talking: {
		Press:         {HungUp, []Do{PutDown}},
		HangUpCommand: {HungUp, []Do{PutDown}},
		TooLong:       {Ended, []Do{PutDown}},
	},
	telling: {
		Press:       {Calling, []Do{Click, PlaceCall}},
		TalkStart:   {Calling, []Do{Click, PlaceCall}},
		CallCommand: {Calling, []Do{PlaceCall}},
		TimeUp:      {rest, nil},
	},
}

// Step returns the box as it is after e, and what has to be done, in order.
func (m Machine) Step(e Event) (Machine, []Do) {
	if m.note(e) {
		return m, nil
	}
	t, ok := m.find(e)
	if !ok {
		return m, nil
	}
	was, before := m.State, m.Call
	if m.State = t.next; m.State == rest {
		m.State = m.rest()
	}
	switch {
	case len(t.do) > 0 && t.do[len(t.do)-1] == PutDown:
		m.Down, m.Call = m.Call, 0
	case !m.Alive():
		m.Call = 0
	case m.State == CallWaiting:
		m.Waits = e.Call
	case e.Call != 0 && !e.Kind.ends(): // the one that waits may have gone
		m.Call = e.Call
	}
	if m.State != CallWaiting {
		m.Waits = 0
	}
	if !m.Alive() || states[was].group == talking && m.Call != before {
		m.Held = false // that it was let go may never be told: the next call begins mute
	}
	return m, append(brings(was, m.State), t.do...)
}

// note keeps what an event says beside what it does, and reports whether that is
// all there is to it.
func (m *Machine) note(e Event) bool {
	switch e.Kind {
	case WentOnline, WentOffline:
		m.Online = e.Kind == WentOnline
	case QuietBegan, QuietEnded:
		m.Quiet = e.Kind == QuietBegan
	case Diagnosed:
		m.Trouble = e.Trouble
	case TalkStart, TalkEnd:
		m.Held = e.Kind == TalkStart
	case Placed:
		if m.State == Calling && m.Call == 0 {
			m.Call = e.Call
		}
		return true
	}
	return false
}

// find returns the transition for e, if there is one.
func (m Machine) find(e Event) (t transition, ok bool) {
	g := states[m.State].group
	switch {
	case e.Kind < Placed || e.Call == m.Call && g.alive():
		if t, ok = own[g][e.Kind]; !ok && e.Kind.ends() && g.alive() {
			// Every end of a call is an end, however it is called.
			return transition{next: Ended}, true
		}
		return t, ok
	case e.Call == 0 || e.Call == m.Down:
		return t, false
	}
	// Another call. voipcore gives it the line only when the line is free, so
	// the one that we had is none any more.
	switch {
	case e.Kind == RingsHere && m.Quiet: // it was on its way when that began
		if g.alive() {
			return transition{Ended, []Do{Silence}}, true
		}
		return transition{m.State, []Do{Silence}}, true
	case e.Kind == RingsHere:
		return transition{next: RingingHere}, true
	case e.Kind == Answered:
		return transition{InCall, []Do{AnswerBeep}}, true
	case e.Kind == Knocks && g == talking:
		return transition{next: CallWaiting}, true
	case e.Kind.ends() && e.Call == m.Waits:
		return transition{next: InCall}, true
	}
	return t, false
}

// brings is what changes by itself from one state to another.
func brings(was, is State) (do []Do) {
	a, b := states[was], states[is]
	if b.voice && !a.voice {
		do = append(do, VoiceOn)
	}
	if a.tone != b.tone || a.voice && !b.voice { // with the voice, a beep ends, too
		do = append(do, ChangeTone)
	}
	if a.voice && !b.voice {
		do = append(do, VoiceOff)
	}
	switch {
	case b.shown > 0 && was != is:
		do = append(do, ShowResult)
	case a.shown > 0 && b.shown == 0:
		do = append(do, StopShowing)
	}
	return do
}
