package voipcore

import (
	"errors"

	"hushbell/voipcore/call"
	"hushbell/voipcore/session"
	"hushbell/voipcore/wire"
)

// Errors of OpenDoor.
var (
	ErrNoCall   = errors.New("voipcore: there is no call that was answered")
	ErrDoorBusy = errors.New("voipcore: the far end has not answered the last PIN yet")
)

// A door is what the ends of a call have asked of each other's door. There is one
// PIN under way at a time in each direction: more breaks the protocol.
type door struct {
	asked bool // the far end has, and we have not answered
	asks  bool // we have, and were not answered
}

// OpenDoor shows a PIN to the far end of a call, to have its door opened. What
// comes of it is told by DoorAnswered; a box that does not know of doors breaks the
// call off. The PIN is seen by nobody but the far end.
func (c *Core) OpenDoor(id call.ID, pin PIN) error {
	var err error
	closed := c.board.do(func() {
		l := c.board.talking(id)
		switch {
		case l == nil:
			err = ErrNoCall
		case l.door.asks:
			err = ErrDoorBusy
		default:
			l.door.asks = true
			l.send(wire.Message{Type: wire.Door, PIN: pin})
		}
	})
	if closed != nil {
		return closed // err may still be written to
	}
	return err
}

// AnswerDoor tells the far end of a call whether the door was opened, once for
// each DoorAsked. It says nothing of why not.
func (c *Core) AnswerDoor(id call.ID, opened bool) {
	c.board.post(func() {
		if l := c.board.talking(id); l != nil && l.door.asked {
			l.answerDoor(opened)
		}
	})
}

func (l *leg) answerDoor(opened bool) {
	l.door.asked = false
	l.send(wire.Message{Type: wire.DoorReply, OK: opened})
}

// talking returns the call of that id, or of a group who has answered first, if
// it was answered.
func (b *switchboard) talking(id call.ID) *leg {
	l := b.legs[id]
	if p := b.parties[id]; p != nil {
		l = p.winner
	}
	if l == nil || l.call.State != call.Talking && l.call.State != call.Answered {
		return nil
	}
	return l
}

// gotDoor takes a message about a door. It means something in a call that was
// answered; when that is over it has crossed our goodbye.
func (l *leg) gotDoor(m wire.Message) {
	state, asks := l.call.State, m.Type == wire.Door
	switch {
	case !state.Alive():
		return
	case state != call.Talking && state != call.Answered, asks && l.door.asked, !asks && !l.door.asks:
		l.err = session.ErrProtocol
		l.feed(call.Event{Kind: call.Malformed})
		return
	}
	e := Event{Kind: DoorAnswered, Call: l.id, Own: l.own.ID(), Peer: l.peer, Outgoing: l.outgoing, Opened: m.OK}
	if l.door.asks = l.door.asks && asks; asks {
		l.door.asked = true
		e.Kind, e.PIN = DoorAsked, m.PIN
	}
	if l.party != nil {
		l.party.heard(l, e)
		return
	}
	l.board.core.cfg.Notify(e)
}
