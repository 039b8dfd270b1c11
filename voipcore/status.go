package voipcore

import (
	"cmp"
	"slices"

	"hushbell/voipcore/call"
	"hushbell/voipcore/clock"
	"hushbell/voipcore/pid"
)

// A Status is what a person wants to know of a Core.
type Status struct {
	Online bool         // all our pids can be called
	Relays int          // known
	Clock  clock.Status // the protocol's time
	Calls  []CallStatus // by ID; those that say goodbye are among them, and those of a group beside the group
}

// A CallStatus is one call as it is now.
type CallStatus struct {
	ID       call.ID
	Peer     pid.ID
	Outgoing bool
	Report   Report // so far
}

// Status returns how the Core is. After Close there are no calls.
func (c *Core) Status() Status {
	s := Status{Relays: c.relays.Len(), Clock: c.clock.Status()}
	c.mu.Lock()
	s.Online = c.online
	c.mu.Unlock()
	var calls []CallStatus
	err := c.board.do(func() {
		for _, l := range c.board.legs {
			calls = append(calls, CallStatus{l.id, l.peer, l.outgoing, l.reportNow()})
		}
		for _, p := range c.board.parties {
			s := CallStatus{ID: p.id, Outgoing: true}
			if p.winner != nil {
				s.Peer, s.Report = p.winner.peer, p.winner.reportNow()
			}
			calls = append(calls, s)
		}
	})
	if err != nil {
		return s // closed meanwhile: calls may still be written to
	}
	slices.SortFunc(calls, func(a, b CallStatus) int { return cmp.Compare(a.ID, b.ID) })
	s.Calls = calls
	return s
}

// Alive reports whether there is such a call. When it says no, all that there
// is to tell of the call has been told.
func (c *Core) Alive(id call.ID) bool {
	alive := make(chan bool, 1) // so that the switchboard does not wait for us
	if c.board.do(func() { alive <- c.board.legs[id] != nil || c.board.parties[id] != nil }) != nil {
		return false
	}
	return <-alive
}

// reportNow is the report with the counters of this moment.
func (l *leg) reportNow() Report {
	r := l.report
	if l.talk != nil {
		r.Sent, r.Voice = l.talk.sent.Load(), l.talk.receiver.Counters()
		r.OverTCP = l.tunnel.VoiceOverTCP()
	}
	return r
}
