package call

import "time"

// Rules are what one end allows for in its calls. The zero value of a field
// takes the default that stands beside it.
type Rules struct {
	Ring  time.Duration // 30 s: how long the far box rings before the next try
	Tries uint8         // 3: how often it is tried, by us or by a caller
	TTW   uint8         // 5: seconds that a caller in our queue is told to wait
	Waits uint8         // 60: how often we are told so, or a caller is; we wait for TTW times Waits in all, 5 min
	Reach time.Duration // 30 s: for lookup, tunnels and session together
	Reply time.Duration // 10 s: for one answer over two tunnels
	End   time.Duration // 2 s: for goodbyes, and a person who waits for the line
	Offer Params        // DefaultParams: the best that this end can do
}

// The values of 30 s and 3 tries are the protocol's. A TTW of 5 s is how long
// a free line stays unused at worst, since nobody tells the waiting caller.
func (r Rules) filled() Rules {
	set(&r.Ring, 30*time.Second)
	set(&r.Tries, 3)
	set(&r.TTW, 5)
	set(&r.Waits, 60)
	set(&r.Reach, 30*time.Second)
	set(&r.Reply, 10*time.Second)
	set(&r.End, 2*time.Second)
	set(&r.Offer, DefaultParams)
	return r
}

// longest is how many seconds we wait in all, whatever TTW the far end tells. One wait
// more may have begun then.
func (r Rules) longest() uint16 { return uint16(r.Waits) * uint16(r.TTW) }

func set[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// A timer says what a state waits for.
type timer uint8

const (
	noTimer       timer = iota
	reachTimer          // the session
	replyTimer          // the far end's next message, or the driver's answer
	waitTimer           // the time to wait that the callee gave
	queueTimer          // a waiting caller that should have asked again by now
	ringTimer           // somebody at the far end
	ringHereTimer       // the owner; the caller ends the ring, unless it has gone silent
	endTimer            // goodbye
)

// limit is how long a timer runs in this call.
func (c Call) limit(t timer) time.Duration {
	ttw := time.Duration(c.TTW) * time.Second
	switch t {
	case reachTimer:
		return c.Rules.Reach
	case replyTimer:
		return c.Rules.Reply
	case waitTimer:
		return ttw
	case queueTimer:
		return ttw + c.Rules.Reply
	case ringTimer:
		return c.Rules.Ring
	case ringHereTimer:
		return c.Rules.Ring + c.Rules.Reply
	case endTimer:
		return c.Rules.End
	}
	return 0
}
