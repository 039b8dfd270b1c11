package call

// A group is a set of states that treat most events alike. Where the row of a
// state says nothing, the row of its group is asked.
type group uint8

const (
	resting group = iota // no session yet, so no messages
	seeking              // caller, before the far box rings or queues us
	hoping               // caller, with a place in the queue or a ring
	guest                // callee, before the answer
	talking              // voice runs
	done                 // saying goodbye

	numGroups
)

// states is what a state brings with it: Step starts and stops timer and voice
// by it, so no row of the table can forget to.
var states = [numStates]struct {
	group group
	timer timer
	voice bool
}{
	Idle:       {group: resting},
	Reaching:   {group: resting, timer: reachTimer},
	Proving:    {group: seeking, timer: replyTimer},
	Initiating: {group: seeking, timer: replyTimer},
	Asking:     {group: seeking, timer: replyTimer},
	Queueing:   {group: seeking, timer: replyTimer},
	Waiting:    {group: hoping, timer: waitTimer},
	Offering:   {group: hoping, timer: ringTimer},
	Listening:  {group: guest, timer: replyTimer},
	Proved:     {group: guest, timer: replyTimer},
	Judging:    {group: guest, timer: replyTimer},
	Held:       {group: guest, timer: replyTimer},
	Accepted:   {group: guest, timer: replyTimer},
	Checking:   {group: guest, timer: replyTimer},
	Cleared:    {group: guest, timer: replyTimer},
	Occupied:   {group: guest, timer: replyTimer},
	Sorting:    {group: guest, timer: replyTimer},
	Queued:     {group: guest, timer: queueTimer},
	Ringing:    {group: guest, timer: ringHereTimer},
	Refused:    {group: done, timer: replyTimer},
	Answered:   {group: talking, timer: replyTimer, voice: true},
	Talking:    {group: talking, voice: true},
	Ending:     {group: done, timer: endTimer},
	Leaving:    {group: done, timer: endTimer},
	Over:       {group: done},
}

// stay in place of a next state: what runs goes on running.
const stay State = numStates

type transition struct {
	next State
	do   []Do // in this order
}

type row [numKinds]transition

// rows is the call logic, groups its common part. A message with no entry in
// either is out of turn and counts as Malformed, except when all is done; any
// other event with no entry changes nothing.
var rows = [numStates]row{
	Idle: {
		Dial:    {Reaching, []Do{Reach}},
		Arrived: {Listening, nil},
	},

	// The caller.
	Reaching: {
		Reached:   {Proving, []Do{SendHeartBeat}},
		Unreached: {Over, []Do{TellUnreachable}},
		TimeUp:    {Over, []Do{Close, TellUnreachable}},
		HangUp:    {Over, []Do{Close, TellEnded}},
		Yield:     {Over, []Do{Close}},
	},
	Proving: {
		GotHeartBeat:   {Over, []Do{Drop, TellLost}}, // it has not proved who it is
		GotTerminate:   {Over, []Do{Drop, TellLost}},
		GotHeartBeatOK: {Initiating, []Do{SendInitiate}},
		GotHeartBeatNo: {Over, []Do{Close, TellUnreachable}},
		TimeUp:         {Over, []Do{Close, TellUnreachable}},
		HangUp:         {Over, []Do{Close, TellEnded}},
		Yield:          {Over, []Do{Close}},
	},
	Initiating: {
		GotInitiateOK:      {Asking, []Do{SendBusy}},
		GotInitiateNo:      {Ending, []Do{SendTerminate, TellDeclined}},
		GotParametersReply: {Talking, []Do{TellAnswered}}, // to the try before: judge lets it pass only then
	},
	Asking: {
		GotBusyYes: {Queueing, []Do{SendWaiting}},
		GotBusyNo:  {Offering, []Do{SendParameters, TellRingingFar}},
	},
	Queueing: {
		GotWaitingOK: {Waiting, []Do{TellWaiting}},
		GotWaitingNo: {Ending, []Do{SendTerminate, TellBusy}},
	},
	Waiting: {
		TimeUp:    {Asking, []Do{SendBusy}},
		waitsUsed: {Ending, []Do{SendTerminate, TellBusy}},
	},
	Offering: {
		GotParametersReply: {Talking, []Do{TellAnswered}},
		TimeUp:             {Initiating, []Do{SendInitiate}},
		triesUsed:          {Ending, []Do{SendTerminate, TellNoAnswer}},
	},

	// The callee. Answer before the ring is kept in Wanted.
	Listening: {
		GotHeartBeat:   {Proved, []Do{SendHeartBeatReply}},
		GotHeartBeatOK: {Over, []Do{Drop}}, // nothing is said before the first heartbeat
		GotTerminate:   {Over, []Do{Drop}},
		TimeUp:         {Over, []Do{Close}},
		HangUp:         {Over, []Do{Close}},
	},
	Proved: {
		GotInitiate: {Judging, []Do{AskPolicy}},
	},
	Judging: {
		Allow:  {Accepted, []Do{SendInitiateOK}},
		Refuse: {Refused, []Do{SendInitiateNo, TellMissed}},
		Hold:   {Held, nil},
		Answer: {stay, nil},
	},
	Held: {
		Allow:  {Accepted, []Do{SendInitiateOK}}, // our own call came to nothing
		Answer: {stay, nil},
	},
	Accepted: {
		GotBusy: {Checking, []Do{AskLine}},
		Answer:  {stay, nil},
	},
	Checking: {
		LineFree:  {Cleared, []Do{SendBusyNo}},
		LineTaken: {Occupied, []Do{SendBusyYes}},
		Answer:    {stay, nil},
	},
	Cleared: {
		GotParameters: {Ringing, []Do{TellRingingHere}},
		gotWanted:     {Answered, []Do{SendParametersReply, TellAnswered}},
		nothingCommon: {Ending, []Do{SendTerminate, TellMissed}},
		Answer:        {stay, nil},
	},
	Occupied: {
		GotWaiting: {Sorting, []Do{AskQueue}},
		waitsUsed:  {Refused, []Do{SendWaitingNo, TellMissed}}, // it keeps the place from others
		Answer:     {stay, nil},
	},
	Sorting: {
		QueueRoom: {Queued, []Do{SendWaitingOK, TellWaitingHere}},
		QueueFull: {Refused, []Do{SendWaitingNo, TellMissed}},
		Answer:    {stay, nil},
	},
	Queued: {
		GotBusy: {Checking, []Do{AskLine}},
		Answer:  {stay, nil},
	},
	Ringing: {
		Answer:      {Answered, []Do{SendParametersReply, TellAnswered}},
		GotInitiate: {Judging, []Do{AskPolicy}}, // the next try
		triesUsed:   {Ending, []Do{SendTerminate, TellMissed}},
	},
	Answered: {
		// The caller's next try and our answer have crossed: it takes the answer.
		GotInitiate: {stay, nil},
		TimeUp:      {Talking, nil},
	},
	Refused: {
		GotTerminate: {Leaving, []Do{SendTerminateReply}},
		TimeUp:       {Over, []Do{Close}},
	},

	// Both.
	Ending: {
		GotTerminate:      {stay, []Do{SendTerminateReply}}, // both at once
		GotTerminateReply: {Over, []Do{Close}},
	},
}

var groups = [numGroups]row{
	seeking: {
		GotHeartBeat:   {stay, []Do{SendHeartBeatReply}},
		GotHeartBeatOK: {stay, nil},
		GotHeartBeatNo: {Over, []Do{Close, TellLost}},
		GotTerminate:   {Leaving, []Do{SendTerminateReply, TellDeclined}},
		TimeUp:         {Ending, []Do{SendTerminate, TellUnreachable}},
		Lost:           {Over, []Do{Close, TellUnreachable}},
		Malformed:      {Over, []Do{Drop, TellLost}},
		HangUp:         {Ending, []Do{SendTerminate, TellEnded}},
		Yield:          {Ending, []Do{SendTerminate}},
	},
	hoping: {
		GotHeartBeat:   {stay, []Do{SendHeartBeatReply}},
		GotHeartBeatOK: {stay, nil},
		GotHeartBeatNo: {Over, []Do{Close, TellLost}},
		GotTerminate:   {Leaving, []Do{SendTerminateReply, TellDeclined}},
		Lost:           {Over, []Do{Close, TellLost}},
		Malformed:      {Over, []Do{Drop, TellLost}},
		HangUp:         {Ending, []Do{SendTerminate, TellEnded}},
		Yield:          {Ending, []Do{SendTerminate}},
	},
	guest: {
		GotHeartBeat:   {stay, []Do{SendHeartBeatReply}},
		GotHeartBeatOK: {stay, nil},
		GotHeartBeatNo: {Over, []Do{Close, TellMissed}},
		GotTerminate:   {Leaving, []Do{SendTerminateReply, TellMissed}},
		TimeUp:         {Ending, []Do{SendTerminate, TellMissed}},
		Lost:           {Over, []Do{Close, TellMissed}},
		Malformed:      {Over, []Do{Drop, TellMissed}},
		HangUp:         {Ending, []Do{SendTerminate, TellEnded}},
	},
	talking: {
		GotHeartBeat:   {stay, []Do{SendHeartBeatReply}},
		GotHeartBeatOK: {stay, nil},
		GotHeartBeatNo: {Over, []Do{Close, TellLost}},
		GotTerminate:   {Leaving, []Do{SendTerminateReply, TellEnded}},
		Lost:           {Over, []Do{Close, TellLost}},
		Malformed:      {Over, []Do{Drop, TellLost}},
		HangUp:         {Ending, []Do{SendTerminate, TellEnded}},
	},
	done: {
		GotHeartBeat: {stay, []Do{SendHeartBeatReply}},
		TimeUp:       {Over, []Do{Close}},
		Lost:         {Over, []Do{Close}},
		Malformed:    {Over, []Do{Drop}},
	},
}

// find returns the entry for an event in a state, and as what kind the event
// counts. The entry's next is 0 where the event changes nothing.
func find(s State, k Kind) (transition, Kind) {
	g := states[s].group
	switch {
	case s == Over:
		return transition{}, k
	case rows[s][k].next != 0:
		return rows[s][k], k
	case groups[g][k].next != 0:
		return groups[g][k], k
	case k >= firstMessage && g != done:
		return groups[g][Malformed], Malformed
	}
	return transition{}, k
}
