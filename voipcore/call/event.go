package call

import (
	"fmt"
	"time"
)

// A Kind says what happened.
type Kind uint8

// The kinds of events: what the owner and the box do, what the driver answers
// to a question, what time and session report, and what messages arrived.
const (
	Dial    Kind = iota // the owner calls: only for an Idle call
	Arrived             // a session was opened to us: only for an Idle call
	Answer              // the owner, or their list, takes the call; also before it rings
	HangUp              // the owner ends it, or rejects it while it rings
	Yield               // both boxes call each other and the other call stands

	Reached   // to Reach: the session stands
	Unreached // to Reach: it cannot be had
	Allow     // to AskPolicy: the call is taken
	Refuse    // to AskPolicy: it is not
	Hold      // to AskPolicy: both call each other and ours stands; Allow may follow
	LineFree  // to AskLine
	LineTaken // to AskLine
	QueueRoom // to AskQueue
	QueueFull // to AskQueue

	TimeUp    // the timer of the last StartTimer fired
	Lost      // the session broke, was closed, or its heartbeats stopped
	Malformed // the session got bytes that are no message, or a wrong pid

	GotHeartBeat
	GotHeartBeatOK
	GotHeartBeatNo // "not the voice module of this pid"
	GotInitiate    // with NoT
	GotInitiateOK
	GotInitiateNo // the callee does not take this call
	GotBusy
	GotBusyYes // the callee is in another call
	GotBusyNo  // its line is free
	GotWaiting
	GotWaitingOK // with TTW
	GotWaitingNo // no place in the queue
	GotParameters
	GotParametersReply // with Params, both
	GotTerminate
	GotTerminateReply // whatever its ok bit says: there is nothing to refuse

	// What judge makes of some of them.
	triesUsed
	waitsUsed
	gotWanted
	nothingCommon

	numKinds
)

const (
	firstMessage = GotHeartBeat
	firstDerived = triesUsed
)

// An Event is something that happened to a call. NoT belongs to GotInitiate,
// TTW (seconds) to GotWaitingOK, Params to GotParameters and
// GotParametersReply; they are zero elsewhere.
type Event struct {
	Kind   Kind
	NoT    uint8
	TTW    uint8
	Params Params
}

// A Do says what has to be done.
type Do uint8

// What a driver does. Send actions are the messages of the protocol, in the
// order that the far end must see them in. Tell actions are for the owner.
const (
	Reach Do = iota // look up, build tunnels, open the session; then Reached or Unreached
	Close           // close the session when what was sent is out; give up a Reach under way
	Drop            // end the session at once: the far end broke the protocol

	AskPolicy // is this caller welcome? then Allow, Refuse or Hold
	AskLine   // is the line free for this call? then LineFree or LineTaken
	AskQueue  // is there a place in the queue? then QueueRoom or QueueFull

	StartTimer  // with For; there is never more than one
	StopTimer   // after it no TimeUp may come from that timer
	StartVoice  // with Params
	StopVoice   //
	StopRinging // ends what TellRingingHere began

	SendHeartBeat
	SendHeartBeatReply
	SendInitiate // with NoT
	SendInitiateOK
	SendInitiateNo
	SendBusy
	SendBusyYes
	SendBusyNo
	SendWaiting
	SendWaitingOK // with TTW
	SendWaitingNo
	SendParameters      // with Params: the offer
	SendParametersReply // with Params: the choice, which is the answer
	SendTerminate
	SendTerminateReply

	TellRingingFar  // the far box rings
	TellRingingHere // ring, until StopRinging
	TellWaiting     // the far line is busy and we have a place in its queue
	TellWaitingHere // somebody waits for our line: sound the call-waiting tone once
	TellAnswered    // the far end or the owner answered: talk

	// The end of a call: the last thing that the owner is told of it.
	TellDeclined    // the far end does not take the call
	TellBusy        // its line is busy and there is no more waiting
	TellNoAnswer    // it rang for as often and as long as the rules say
	TellUnreachable // no way to it, or nobody there who speaks our language
	TellEnded       // one side hung up
	TellMissed      // it rang here, or waited, and went away unanswered
	TellLost        // the session broke, or the far end broke the protocol

	numDos
)

// closes reports whether d tells the owner that the call has ended.
func (d Do) closes() bool { return d >= TellDeclined && d <= TellLost }

// An Action is something that the driver of a call has to do. Fields that a
// Do does not name are zero.
type Action struct {
	Do     Do
	NoT    uint8
	TTW    uint8 // seconds
	Params Params
	For    time.Duration
}

// String shows the action with the facts it carries, for logs and tests.
func (a Action) String() string {
	switch a.Do {
	case SendInitiate:
		return fmt.Sprintf("%v(%d)", a.Do, a.NoT)
	case SendWaitingOK:
		return fmt.Sprintf("%v(%d)", a.Do, a.TTW)
	case SendParameters, SendParametersReply, StartVoice:
		return fmt.Sprintf("%v(%v)", a.Do, a.Params)
	case StartTimer:
		return fmt.Sprintf("%v(%v)", a.Do, a.For)
	}
	return a.Do.String()
}

func (k Kind) String() string {
	return name(k, "Dial", "Arrived", "Answer", "HangUp", "Yield",
		"Reached", "Unreached", "Allow", "Refuse", "Hold", "LineFree", "LineTaken", "QueueRoom", "QueueFull",
		"TimeUp", "Lost", "Malformed",
		"GotHeartBeat", "GotHeartBeatOK", "GotHeartBeatNo", "GotInitiate", "GotInitiateOK", "GotInitiateNo",
		"GotBusy", "GotBusyYes", "GotBusyNo", "GotWaiting", "GotWaitingOK", "GotWaitingNo",
		"GotParameters", "GotParametersReply", "GotTerminate", "GotTerminateReply",
		"triesUsed", "waitsUsed", "gotWanted", "nothingCommon")
}

func (d Do) String() string {
	return name(d, "Reach", "Close", "Drop", "AskPolicy", "AskLine", "AskQueue",
		"StartTimer", "StopTimer", "StartVoice", "StopVoice", "StopRinging",
		"SendHeartBeat", "SendHeartBeatReply", "SendInitiate", "SendInitiateOK", "SendInitiateNo",
		"SendBusy", "SendBusyYes", "SendBusyNo", "SendWaiting", "SendWaitingOK", "SendWaitingNo",
		"SendParameters", "SendParametersReply", "SendTerminate", "SendTerminateReply",
		"TellRingingFar", "TellRingingHere", "TellWaiting", "TellWaitingHere", "TellAnswered",
		"TellDeclined", "TellBusy", "TellNoAnswer", "TellUnreachable", "TellEnded", "TellMissed", "TellLost")
}

func (s State) String() string {
	return name(s, "?", "Idle",
		"Reaching", "Proving", "Initiating", "Asking", "Queueing", "Waiting", "Offering",
		"Listening", "Proved", "Judging", "Held", "Accepted", "Checking", "Cleared", "Occupied",
		"Sorting", "Queued", "Ringing", "Answered", "Refused",
		"Talking", "Ending", "Leaving", "Over")
}

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%T(%d)", v, uint8(v))
}
