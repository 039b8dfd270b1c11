package voipcore

import (
	"errors"
	"slices"

	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
)

// MaxGroup is how many pids CallGroup calls at most.
const MaxGroup = call.Together

// ErrTooMany means that a group has more than MaxGroup members.
var ErrTooMany = errors.New("voipcore: too many to be called at once")

// A party is several calls of ours that are one to the owner: a ring group, of
// which the first to answer gets the call, or a page, which all hear. It has an id
// of its own, and its events are those of a single call. It belongs to the
// switchboard's goroutine.
type party struct {
	board *switchboard
	id    call.ID
	page  bool

	legs   []*leg    // those that are not over for us
	winner *leg      // the first to answer; nil before
	told   EventKind // RingingFar, once it was told; else 0
	end    Event     // the best that has become of a leg so far
	rank   int       // how good that is
}

// CallGroup calls several pids at once with one of our own; a pid of the box
// itself is left out. Who answers first gets the call, and the others are hung
// up; nobody is waited for whose line is busy. With page all who answer take part
// instead: they hear us, and we hear all of them, but they do not hear each other.
//
// The ID is that of all the calls together: events, Answer and HangUp are about
// them as if they were one, with the Peer of who has answered.
func (c *Core) CallGroup(own *pid.Key, far []pid.ID, page bool) (call.ID, error) {
	far = slices.DeleteFunc(slices.Clone(far), func(id pid.ID) bool {
		return slices.ContainsFunc(c.cfg.Keys, func(k *pid.Key) bool { return k.ID() == id })
	})
	slices.SortFunc(far, func(a, b pid.ID) int { return slices.Compare(a[:], b[:]) })
	far = slices.Compact(far)
	switch {
	case len(far) == 0:
		return 0, ErrSelf
	case len(far) > MaxGroup:
		return 0, ErrTooMany
	}
	var id call.ID
	var err error
	if closed := c.board.do(func() { id, err = c.board.callGroup(own, far, page) }); closed != nil {
		return 0, closed // id and err may still be written to
	}
	return id, err
}

func (b *switchboard) callGroup(own *pid.Key, far []pid.ID, page bool) (call.ID, error) {
	b.line.Self = own.ID()
	if i := slices.IndexFunc(far, b.unsilence); i >= 0 {
		far[0], far[i] = far[i], far[0] // it calls us: Dial answers it
	}
	b.last++
	p := &party{board: b, id: b.last, page: page}
	for i, peer := range far {
		b.last++
		var ok bool
		var answer call.ID
		if i > 0 {
			b.line, ok = b.line.DialAlso(b.last, peer)
		} else if b.line, ok, answer = b.line.Dial(b.last, peer); answer != 0 {
			b.legs[answer].feed(call.Event{Kind: call.Answer})
			return answer, nil
		}
		if !ok {
			return 0, ErrLineTaken
		}
		l := b.newLeg(own, peer, true)
		l.party = p
		p.legs = append(p.legs, l)
	}
	b.parties[p.id] = p
	for _, l := range slices.Clone(p.legs) {
		l.feed(call.Event{Kind: call.Dial})
	}
	return p.id, nil
}

// take has the call of somebody whom we were calling take the place of ours.
func (p *party) take(l *leg) {
	l.party = p
	p.legs = append(p.legs, l)
}

// heard hears what a leg would tell the owner.
func (p *party) heard(l *leg, e Event) {
	switch {
	case e.Kind.Final():
		p.ended(l, e)
	case e.Kind == Waiting: // the others are free, perhaps
		p.ended(l, Event{Kind: Busy, Peer: e.Peer, Own: e.Own})
		p.board.soon(l.id, call.HangUp)
	case e.Kind == RingingFar && p.told == 0 && p.winner == nil:
		p.told = RingingFar
		p.tell(e)
	case e.Kind == DoorAsked && l != p.winner: // to the owner all are one, so one may ask
		l.answerDoor(false)
	case e.Kind == DoorAsked, e.Kind == DoorAnswered:
		p.tell(e)
	case e.Kind == Answered && p.winner == nil:
		p.winner = l
		p.tell(e)
		for _, other := range p.legs {
			if other != l && !p.page {
				p.board.soon(other.id, call.HangUp)
			}
		}
	}
}

// ranks says which end of a leg is the end of all: the one that came closest to
// somebody, and most of all one of a leg that was answered.
var ranks = map[EventKind]int{Lost: 1, Unreachable: 2, Missed: 3, Declined: 4, Busy: 5, NoAnswer: 6, Ended: 7}

const answered = 10 // above all ranks of legs that were not

// ended notes that a leg is over for the owner, whatever goodbyes it still says.
func (p *party) ended(l *leg, e Event) {
	i := slices.Index(p.legs, l)
	if i < 0 {
		return // of it that was told before
	}
	p.legs = slices.Delete(p.legs, i, i+1)
	rank := ranks[e.Kind]
	if l.talk != nil {
		rank += answered
	}
	if l == p.winner && !p.page || rank > p.rank {
		p.end, p.rank = e, rank
	}
	if p.winner != nil && !p.page && l != p.winner {
		return // the end is the winner's
	}
	if len(p.legs) > 0 && (l != p.winner || p.page) {
		return
	}
	delete(p.board.parties, p.id)
	p.tell(p.end)
}

// gone notes that a leg is no more and has said nothing, as one that gives way to
// a call of the same peer does.
func (p *party) gone(l *leg) {
	p.ended(l, Event{Kind: Unreachable, Peer: l.peer, Own: l.own.ID(), Err: ErrCut})
}

// tell tells the owner of the calls as one.
func (p *party) tell(e Event) {
	e.Call, e.Outgoing = p.id, true
	if p.winner != nil {
		e.Peer, e.Report = p.winner.peer, p.winner.reportNow()
	}
	p.board.core.cfg.Notify(e)
}
