package device

import (
	"fmt"
	"time"

	"hushbell/device/tone"
)

// A State is what the box does. There is one at a time.
type State uint8

// The states. The first ones are those of a box that does nothing: the others
// beside Idle say why it may not be called, or what its owner has to see to.
// From Declined on they show for a while what became of a call.
const (
	Offline     State = iota // it cannot be called at present
	Idle                     //
	Quiet                    // do not disturb: nothing rings
	NoNetwork                // no cable, no wireless network
	NoRelays                 // there is a network, but no relay is known
	NoSound                  // no microphone, or no speaker
	ClockWrong               // the system clock, which do-not-disturb goes by
	Calling                  // looks for the far box
	RingingFar               // the far box rings
	Waiting                  // the far line is busy, and we have a place in its queue
	RingingHere              // somebody calls
	Answering                // somebody calls, and the button was pressed
	InCall                   // talk
	CallWaiting              // talk, and somebody else waits for the line
	Declined
	Busy
	NoAnswer
	Unreachable
	Ended  // the far end has hung up, or the call broke
	HungUp // we have
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

// states is what a state brings with it: Step switches sound, tones and timer by
// this table, so no transition can forget to. README.md shows it.
var states = [numStates]struct {
	name  string
	group group
	lamp  string        // the pattern of the LED, by the names of package gpio
	tone  tone.Sound    // what the speaker plays
	voice bool          // microphone and speaker carry a call
	shown time.Duration // how long it lasts, for those that end by themselves
}{
	Offline:     {name: "offline", group: resting, lamp: "heartbeat"},
	Idle:        {name: "idle", group: resting, lamp: "off"},
	Quiet:       {name: "do not disturb", group: resting, lamp: "1 blinks"},
	NoNetwork:   {name: "no network", group: resting, lamp: "6 blinks"},
	NoRelays:    {name: "no relays", group: resting, lamp: "7 blinks"},
	NoSound:     {name: "no sound card", group: resting, lamp: "8 blinks"},
	ClockWrong:  {name: "clock wrong", group: resting, lamp: "9 blinks"},
	Calling:     {name: "calling", group: seeking, lamp: "fast blink"},
	RingingFar:  {name: "ringing far", group: seeking, lamp: "slow blink", tone: tone.Ringback},
	Waiting:     {name: "waiting", group: seeking, lamp: "slow blink", tone: tone.Ringback},
	RingingHere: {name: "ringing here", group: ringing, lamp: "fast blink", tone: tone.Ring},
	Answering:   {name: "answering", group: answering, lamp: "on"},
	InCall:      {name: "in call", group: talking, lamp: "on", voice: true},
	CallWaiting: {name: "call waiting", group: talking, lamp: "slow blink", tone: tone.Waiting, voice: true},
	Declined:    {name: "declined", group: telling, lamp: "2 blinks", tone: tone.Busy, shown: showFailure},
	Busy:        {name: "busy", group: telling, lamp: "3 blinks", tone: tone.Busy, shown: showFailure},
	NoAnswer:    {name: "no answer", group: telling, lamp: "4 blinks", tone: tone.HangUp, shown: showFailure},
	Unreachable: {name: "unreachable", group: telling, lamp: "5 blinks", tone: tone.Unreachable, shown: showFailure},
	Ended:       {name: "ended", group: telling, lamp: "off", tone: tone.HangUp, shown: showEnd},
	HungUp:      {name: "hung up", group: telling, lamp: "off", shown: showEnd},
}

const (
	showFailure = 5 * time.Second // 5 blinks and the pause behind them
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

// Tone returns what the speaker plays in this state.
func (s State) Tone() tone.Sound { return states[s].tone }

// Voice reports whether microphone and speaker carry a call in this state.
func (s State) Voice() bool { return states[s].voice }

// table returns the states as a table in Markdown, for README.md.
func table() string {
	text := "| state | LED | sound |\n|---|---|---|\n"
	for _, s := range states {
		sound := ""
		switch {
		case s.voice && s.tone != tone.None:
			sound = "the call, and " + s.tone.String()
		case s.voice:
			sound = "the call"
		case s.tone != tone.None:
			sound = s.tone.String()
		}
		lamp := s.lamp
		if lamp == "1 blinks" {
			lamp = "1 blink"
		}
		text += fmt.Sprintf("| %s | %s | %s |\n", s.name, lamp, sound)
	}
	return text
}
