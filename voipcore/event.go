package voipcore

import (
	"errors"
	"fmt"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/wire"
)

// An EventKind says what happened.
type EventKind uint8

// What a Core tells. The last ones, from Declined on, are the end of a call:
// nothing more is told of it.
const (
	Reachability EventKind = iota // all our pids can be called, or not: Online
	RingingFar                    // the far box rings
	RingingHere                   // somebody calls: ring until StopRinging
	StopRinging                   //
	Waiting                       // the far line is busy, we wait for it
	WaitingHere                   // somebody waits for our line
	Answered                      // talk: Speak and Listen carry sound
	DoorAsked                     // the far end shows a PIN to have our door opened: see AnswerDoor
	DoorAnswered                  // what became of our OpenDoor: Opened

	Declined    // the far end does not take the call
	Busy        // the far line is busy, and there is no place to wait
	NoAnswer    // nobody answered
	Unreachable // no way to it: Err says why
	Ended       // somebody hung up
	Missed      // somebody called and went away unanswered
	Lost        // the connection broke
	numEventKinds
)

var eventNames = [numEventKinds]string{"reachability", "ringing-far", "ringing-here", "stop-ringing", "waiting",
	"waiting-here", "answered", "door-asked", "door-answered", "declined", "busy", "no-answer", "unreachable", "ended", "missed", "lost"}

// String returns the kind as one word, as status and logs show it.
func (k EventKind) String() string {
	if k < numEventKinds {
		return eventNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Final reports whether the event is the end of its call.
func (k EventKind) Final() bool { return k >= Declined && k < numEventKinds }

// An Event is something that the owner of a Core is told.
type Event struct {
	Kind     EventKind
	Call     call.ID // 0 for Reachability
	Own      pid.ID  // which of our pids is in the call
	Peer     pid.ID
	Outgoing bool
	Online   bool   // Reachability
	Opened   bool   // DoorAnswered
	PIN      PIN    // DoorAsked
	Report   Report // Answered, and the end of a call that was answered
	Err      error  // Unreachable and Lost: why, without addresses; one of the Err values
}

// A PIN is what opens a door: bytes, with zeros behind them. It does not show
// itself when it is printed.
type PIN = wire.PIN

// PINSize is the size of a PIN.
const PINSize = wire.PINSize

// Why a call did not come about, or ended, beside ErrNotFound and ErrOffline.
var (
	ErrNoWay    = errors.New("voipcore: the exchange points of the pid do not lead to it")
	ErrImpostor = errors.New("voipcore: who answers is not the pid that was dialled")
	ErrTooLong  = errors.New("voipcore: no way to the pid was found in time: relays on the way may be down, try again")
	ErrSilent   = errors.New("voipcore: the far box does not answer any more")
	ErrBroken   = errors.New("voipcore: the far box broke the protocol")
	ErrCut      = errors.New("voipcore: the connection was cut")
)

// reason says in one of the Err values why a call failed. What it leaves out,
// addresses most of all, is for the debug log.
func reason(err error) error {
	for _, r := range []struct{ is, say error }{
		{ErrNotFound, ErrNotFound},
		{ErrOffline, ErrOffline},
		{ErrTooLong, ErrTooLong},
		{ErrSilent, ErrSilent},
		{kx.ErrFewRelays, ErrOffline},
		{session.ErrWrongPID, ErrImpostor},
		{session.ErrSilent, ErrSilent},
		{session.ErrProtocol, ErrBroken},
		{session.ErrClosed, ErrCut},
		{kx.ErrNobody, ErrNoWay},
		{kx.ErrUnreachable, ErrNoWay},
	} {
		if errors.Is(err, r.is) {
			return r.say
		}
	}
	return ErrCut
}

// A Report says how a call went. Durations of steps that were not taken, as on
// the callee's side, are zero.
type Report struct {
	Lookup      time.Duration // of the record
	Tunnel      time.Duration // to the exchange point, with the splice
	Setup       time.Duration // from Call to answered
	Hops        int           // of our tunnel
	KeyExchange string        // of the end-to-end session
	OverTCP     bool          // our voice takes TCP, since UDP does not pass
	Sent        uint64        // voice frames
	Voice       voice.Counters
}

// kinds maps what a call says to what we tell.
var kinds = map[call.Do]EventKind{
	call.TellRingingFar:  RingingFar,
	call.TellRingingHere: RingingHere,
	call.StopRinging:     StopRinging,
	call.TellWaiting:     Waiting,
	call.TellWaitingHere: WaitingHere,
	call.TellAnswered:    Answered,
	call.TellDeclined:    Declined,
	call.TellBusy:        Busy,
	call.TellNoAnswer:    NoAnswer,
	call.TellUnreachable: Unreachable,
	call.TellEnded:       Ended,
	call.TellMissed:      Missed,
	call.TellLost:        Lost,
}
