// Package control is the local control socket of a running box: HTTP and JSON
// on a unix socket that the box's user and group may open. The command line,
// scripts and other programs see by it how the box is, press its simulated
// button, place and end calls, and follow what happens.
//
//	GET  /status           Status
//	POST /press            as a button does; {"button": "2", "gesture": "long"} is
//	                       another than the first, and no short press
//	POST /call  {"to": ..} the name of a contact or a group, or a pid; with
//	                       "page": true all who answer take part
//	POST /answer  /hangup
//	POST /reload           read contacts and configuration again
//	POST /dnd   {"switch": "on"}   do-not-disturb: "on", "off" or "scheduled"
//	POST /door  {"pin": ..}        show the far end a PIN to have its door opened
//	GET  /missed           calls that nobody answered, the newest first
//	POST /missed/clear     forget them
//	GET  /events?after=N   Events, one JSON object a line, as they come: those after
//	                       number N as far as they are kept, or only new ones
//
// What cannot be done is status 409, what cannot be understood 400, each with
// {"error": "..."}. The package knows what is said, not what it does: that is
// the Box's.
package control

import (
	"context"
	"time"
)

// A Box is what the socket controls. Its methods are called by several
// goroutines, and do what the requests of the same name ask for.
type Box interface {
	Status() Status
	Press(ctx context.Context, p Press) error
	Call(ctx context.Context, to string, page bool) error
	Answer(ctx context.Context) error
	HangUp(ctx context.Context) error
	Reload(ctx context.Context) error
	SetDND(ctx context.Context, word string) error
	OpenDoor(ctx context.Context, pin string) error // nil when it is open
	Missed() []Missed
	ClearMissed(ctx context.Context) error
}

// A Status is how a box is.
type Status struct {
	Version string    `json:"version"`
	State   string    `json:"state"` // what the box does, as one word
	Since   time.Time `json:"since"` // when it began to
	Lamp    string    `json:"lamp"`  // the pattern that its LED shows
	Online  bool      `json:"online"`
	Relays  int       `json:"relays"` // known
	Clock   Clock     `json:"clock"`
	Call    *Call     `json:"call,omitempty"` // the one that stands, or the last one
	Missed  int       `json:"missed"`         // calls that nobody answered, and that nobody has cleared
	DND     DND       `json:"dnd"`
	Board   Board     `json:"board"`
	Memory  Memory    `json:"memory"`

	// VoiceOverTCP is that UDP does not pass from here to the first relay of
	// the call that stands, or did not in the last one, so that voice takes
	// TCP: it works, but is late when the network is bad.
	VoiceOverTCP bool `json:"voice_over_tcp"`
}

// A Press is what is done with a button. The zero value is a short press of the
// first one.
type Press struct {
	Button  string `json:"button,omitempty"`  // "" the first, "2" and so on the others
	Gesture string `json:"gesture,omitempty"` // "", "long", "double", "hold" or "release"
}

// A DND is do-not-disturb.
type DND struct {
	Active bool   `json:"active"` // nothing rings now
	Switch string `json:"switch"` // why: "on", "off", or "scheduled"
}

// A Missed is a call that nobody answered, or several of the same caller in a row.
type Missed struct {
	At    time.Time `json:"at"`
	Peer  string    `json:"peer,omitempty"` // the contact's name; "" for a stranger
	PID   string    `json:"pid"`
	Count int       `json:"count"`
}

// A Clock is what is known of the time.
type Clock struct {
	Trusted  bool    `json:"trusted"`   // relays in three networks have told it
	Networks int     `json:"networks"`  // that have
	OffsetMS float64 `json:"offset_ms"` // how far it is ahead of the system clock
}

// A Call is a call that stands or stood. Who reads the socket is the owner, so
// it holds the whole pid.
type Call struct {
	Peer     string    `json:"peer,omitempty"` // the contact's name; "" for a stranger
	PID      string    `json:"pid"`            // "" of a group that nobody has answered yet
	Outgoing bool      `json:"outgoing"`
	Page     bool      `json:"page,omitempty"`
	Began    time.Time `json:"began"`
	Answered time.Time `json:"answered,omitzero"`
	Ended    time.Time `json:"ended,omitzero"` // zero while it stands
	Reason   string    `json:"reason,omitempty"`
	Error    string    `json:"error,omitempty"`
	Report   Report    `json:"report"`
}

// Over reports whether the call has ended.
func (c *Call) Over() bool { return !c.Ended.IsZero() }

// A Report says how a call goes or went, with its counters.
type Report struct {
	LookupMS    float64 `json:"lookup_ms"`
	TunnelMS    float64 `json:"tunnel_ms"`
	SetupMS     float64 `json:"setup_ms"`
	Hops        int     `json:"hops"`
	KeyExchange string  `json:"key_exchange"`
	OverTCP     bool    `json:"voice_over_tcp"` // our voice takes TCP: UDP does not pass
	Sent        uint64  `json:"voice_sent"`
	Voice       Voice   `json:"voice"`
}

// Voice counts the frames that came in, as voice.Counters has them.
type Voice struct {
	Received  uint64 `json:"received"`
	Lost      uint64 `json:"lost"`
	Late      uint64 `json:"late"`
	Repaired  uint64 `json:"repaired"`
	Repeated  uint64 `json:"repeated"`
	Concealed uint64 `json:"concealed"`
	Merged    uint64 `json:"merged"`
	Dropped   uint64 `json:"dropped"`
	Malformed uint64 `json:"malformed"`
}

// A Board is what its sound devices tell. The two moments are those of the
// simulated board in the call that stands, or in the last one: when the first
// sample of its microphone's file was spoken, and when the first sample of its
// speaker's file was heard.
type Board struct {
	Name            string    `json:"name"`
	SpokenAt        time.Time `json:"spoken_at,omitzero"`
	HeardAt         time.Time `json:"heard_at,omitzero"`
	MicrophoneXruns int       `json:"microphone_xruns"`
	SpeakerXruns    int       `json:"speaker_xruns"`
	Problems        []Problem `json:"problems,omitempty"` // parts that do not work now
}

// A Problem is a part of the board that does not work, and what can be done
// about it. The box goes on looking for the part.
type Problem struct {
	Part   string `json:"part"`
	Error  string `json:"error"`
	Remedy string `json:"remedy,omitempty"`
}

// Memory is what the process uses.
type Memory struct {
	Mallocs     uint64 `json:"mallocs"`     // allocations since its start
	Collections uint32 `json:"collections"` // of garbage, since its start
	RSS         uint64 `json:"rss"`         // bytes resident now; 0 if the kernel does not tell
}

// An Event is something that happened. Kind is "online", "offline", "press",
// "calling", "ringing-far", "waiting", "ringing-here", "stop-ringing",
// "waiting-here", "answered", "ended", "quiet" when do-not-disturb was switched,
// "door" when our door was opened, or "state" when only that has changed.
type Event struct {
	Seq      uint64    `json:"seq"` // counts from 1; Tell sets it
	At       time.Time `json:"at"`  // by the wall clock; Tell sets it if it is zero
	Kind     string    `json:"kind"`
	State    string    `json:"state"` // after it
	Peer     string    `json:"peer,omitempty"`
	PID      string    `json:"pid,omitempty"`
	Outgoing bool      `json:"outgoing,omitempty"`
	Reason   string    `json:"reason,omitempty"` // of "ended": how
	Error    string    `json:"error,omitempty"`  // and why, if it is known
	Report   *Report   `json:"report,omitempty"` // of a call that was answered, or ended
}
