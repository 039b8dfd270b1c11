// Package call decides what a box does in one call: what it sends, how long it
// waits, when voice runs and what its owner is told. It only decides. It has
// no clock, no goroutine and no I/O, so that a test can walk through every
// case, and two of them can call each other without a network.
//
// A Call is one call over one session, seen from one end. Whoever drives it
// turns what happens into an Event, calls Step, keeps the Call it gives back
// and carries out the Actions in their order:
//
//	message received, timer fired, button pressed -> Event -> Step -> Actions
//
// The Ask actions are questions about the rest of the box: the driver answers
// each with one Event, at once or later. A Line, one for all calls of a box,
// knows most of the answers. A Call has one timer at most.
//
//	caller                                            callee
//	Idle, Reaching                                    Idle
//	Proving     -- HEART_BEAT -->                     Listening
//	            <-- HEART_BEAT_REPLY --               Proved
//	Initiating  -- INITIATE (NoT) -->                 Judging, Held
//	            <-- INITIATE_REPLY --                 Accepted, or Refused
//	Asking      -- BUSY -->                           Checking
//	            <-- BUSY_REPLY --                     Cleared, or Occupied
//	Queueing    -- WAITING -->                        Sorting
//	Waiting     <-- WAITING_REPLY (TTW) --            Queued
//	Offering    -- PARAMETERS -->                     Ringing
//	Talking     <-- PARAMETERS_REPLY --               Answered, Talking
//	Ending      -- TERMINATE -->                      Leaving
//	Over        <-- TERMINATE_REPLY --                Over
//
// It does not count the heartbeats of a standing session: who carries the
// session does, and reports Lost when they stop. It does not know pids either,
// except that a Line compares them when two boxes call each other at once.
package call

// A State is where one end of a call stands. The zero State is not valid.
type State uint8

// The states of the caller, of the callee, and of both.
const (
	_    State = iota
	Idle       // nothing yet: Dial makes it a caller, Arrived a callee

	Reaching   // looking up, building tunnels, opening the session
	Proving    // asked the far end to prove that it is the voice module of its pid
	Initiating // asked whether it takes this call
	Asking     // asked whether its line is busy
	Queueing   // asked for a place in its queue
	Waiting    // has the place, asks again when the time to wait is over
	Offering   // offered parameters: the far box rings

	Listening // a session came; says nothing until the first heartbeat
	Proved    // answered the heartbeat
	Judging   // the driver decides whether this call is taken
	Held      // two boxes call each other and ours stands: no reply until it is settled
	Accepted  // said that the call is taken
	Checking  // the driver looks whether the line is free
	Cleared   // said that the line is free
	Occupied  // said that the line is busy
	Sorting   // the driver looks for a place in the queue
	Queued    // gave the place
	Ringing   // parameters came: rings here
	Answered  // sent the answer, which the caller may not have seen yet; voice runs
	Refused   // said no; the caller is to end it

	Talking // voice both ways
	Ending  // sent TERMINATE, waits for the reply
	Leaving // replied to TERMINATE, waits for the far end to close
	Over    // nothing more happens

	numStates
)

// Alive reports whether the call still goes on for the people at its ends. A
// call that is not alive holds no line: it only says goodbye.
func (s State) Alive() bool { return s != 0 && states[s].group != done }

// A Call is one end of one call: a value that can be copied and compared.
// New makes one; the zero Call is not valid.
type Call struct {
	State State
	Rules Rules // constant after New

	Tries  uint8  // INITIATEs sent (caller) or received (callee) so far
	Waits  uint8  // times that the caller was told to wait
	Waited uint16 // seconds of it, of a caller
	TTW    uint8  // seconds to wait, as last told
	Wanted bool   // the callee answers as soon as it can: Answer came before the ring
	Told   bool   // the owner knows of this call, so they are told of its end
	Params Params // offered by the caller; once Talking or Answered, what both agreed on
}

// New returns a Call in Idle. Zero fields of r take their defaults.
func New(r Rules) Call {
	r = r.filled()
	return Call{State: Idle, Rules: r, Params: r.Offer}
}

// Step returns the call as it is after e, and what has to be done about it, in
// order. An event that means nothing in this state changes nothing. A message
// that is out of turn, or breaks the rules, ends the session at once: the
// actions then hold Drop.
func (c Call) Step(e Event) (Call, []Action) {
	if c.State == 0 || c.State >= numStates || e.Kind >= firstDerived {
		return c, nil
	}
	t, kind := find(c.State, c.judge(e))
	if t.next == 0 {
		return c, nil
	}
	from, to := c.State, t.next
	if to == stay {
		to = from
	}
	c.State = to
	c.learn(kind, e)

	var do []Action
	was, is := &states[from], &states[to]
	if was.voice && !is.voice {
		do = append(do, Action{Do: StopVoice})
	}
	if from == Ringing && to != Ringing {
		do = append(do, Action{Do: StopRinging})
	}
	if was.timer != noTimer && from != to && e.Kind != TimeUp {
		do = append(do, Action{Do: StopTimer})
	}
	for _, d := range t.do {
		if d.closes() && !c.Told {
			continue // nobody was told that it began
		}
		do = append(do, c.fill(d))
	}
	if is.voice && !was.voice {
		do = append(do, c.fill(StartVoice))
	}
	if is.timer != noTimer && from != to {
		do = append(do, c.fill(StartTimer))
	}
	return c, do
}

// judge looks at what a message says, beside its type, and at what the call
// has used up, and returns the kind that the table is asked for.
func (c Call) judge(e Event) Kind {
	if !c.State.Alive() {
		return e.Kind // what crossed our goodbye is not looked at
	}
	switch e.Kind {
	case GotInitiate:
		if e.NoT != c.Tries {
			return Malformed
		}
		if c.State == Ringing && c.Tries >= c.Rules.Tries {
			return triesUsed
		}
	case GotWaiting:
		if c.State == Occupied && c.Waits >= c.Rules.Waits {
			return waitsUsed
		}
	case GotWaitingOK:
		if e.TTW == 0 { // it would have us ask without a pause
			return Malformed
		}
	case GotParameters:
		if !e.Params.Valid() {
			return Malformed
		}
		if _, ok := Choose(e.Params, c.Rules.Offer); !ok {
			return nothingCommon
		}
		if c.Wanted {
			return gotWanted
		}
	case GotParametersReply:
		if !e.Params.Valid() || !e.Params.within(c.Rules.Offer) {
			return Malformed
		}
		if c.State == Initiating && c.Tries < 2 { // nothing was offered yet
			return Malformed
		}
	case TimeUp:
		if c.State == Offering && c.Tries >= c.Rules.Tries {
			return triesUsed
		}
		if c.State == Waiting && (c.Waits >= c.Rules.Waits || c.Waited >= c.Rules.longest()) {
			return waitsUsed
		}
	}
	return e.Kind
}

// learn keeps the facts that came with an event.
func (c *Call) learn(kind Kind, e Event) {
	switch kind {
	case Dial:
		c.Told = true
	case GotInitiate:
		c.Tries++
	case GotWaitingOK:
		c.TTW = e.TTW
		c.Waits++
		c.Waited += uint16(e.TTW) // fits: it ends at longest, and 255 after that
	case Answer:
		c.Wanted = true
	case GotParameters, gotWanted:
		c.Params, _ = Choose(e.Params, c.Rules.Offer)
	case GotParametersReply:
		c.Params = e.Params
	}
}

// fill gives an action the facts that it needs.
func (c *Call) fill(d Do) Action {
	a := Action{Do: d}
	switch d {
	case SendInitiate:
		a.NoT = c.Tries
		c.Tries++
	case SendWaitingOK:
		c.TTW = c.Rules.TTW
		c.Waits++
		a.TTW = c.TTW
	case SendParameters:
		a.Params = c.Rules.Offer
	case SendParametersReply, StartVoice:
		a.Params = c.Params
	case StartTimer:
		a.For = c.limit(states[c.State].timer)
	case TellRingingHere, TellWaitingHere, TellAnswered:
		c.Told = true
	}
	return a
}
