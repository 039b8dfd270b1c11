package voipcore

import "hushbell/voipcore/call"

// Silence has a call that rings here ring unheard from now on, as one whose caller is
// welcome as Silent: the caller notices nothing, the line is free for others, and the
// owner is told no more of it than its end. A call that was answered, or is none of
// somebody else's, goes on as it is.
func (c *Core) Silence(id call.ID) {
	c.board.post(func() {
		l := c.board.legs[id]
		if l == nil || l.outgoing || l.call.Wanted || !l.call.State.Alive() {
			return
		}
		if l.call.State != call.Answered && l.call.State != call.Talking {
			l.hush()
		}
	})
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
