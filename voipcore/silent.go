package voipcore

import "hushbell/voipcore/call"

// Silence has a call that rings here ring unheard from now on, as one whose caller is
// welcome as Silent: the caller notices nothing, the line is free for others, and the
// owner is told no more of it than its end. A call that was answered, or is none of
// somebody else's, goes on as it is.
func (c *Core) Silence(id call.ID) {
	c.board.post(func() {
		if l := c.board.legs[id]; l != nil && l.unanswered() && !l.call.Wanted {
			l.hush()
		}
	})
}

// unanswered reports whether somebody calls and has no answer yet.
func (l *leg) unanswered() bool {
	s := l.call.State
	return !l.outgoing && s.Alive() && s != call.Answered && s != call.Talking
}

// hush has a call that was not answered ring unheard. It does not hold the line: the
// owner, who does not know of it, could not free it.
func (l *leg) hush() {
	l.silent = true
	l.leaveLine()
}

// maxSilent is how many calls ring unheard at a time, so that strangers leave
// room for others.
const maxSilent = maxLegs / 2

// silent counts the calls that ring unheard.
func (b *switchboard) silent() (n int) {
	for _, l := range b.legs {
		if l.silent {
			n++
		}
	}
	return n
}
