package call

import "bytes"

// An ID names a call within a box. The driver counts them from 1.
type ID uint64

// A Line knows which of a box's calls has the line, who waits for it, and what
// to do when two boxes call each other. It answers the Ask actions of the
// calls, and says whether the owner may call. It is a value like a Call: each
// method returns the Line as it is afterwards.
//
// A call has the line from the first moment in which it may need it: an
// outgoing one from Dial on, an incoming one from the INITIATE that was
// allowed. It gives the line back with Gone, as soon as it is not Alive.
type Line struct {
	Self [32]byte // this box's pid in the calls of this line

	has  slot               // its id is 0: the line is free
	also [Together - 1]slot // calls of ours that were placed together with that one

	queued     ID // the one waiting caller
	queuedPeer [32]byte
}

// Together is how many calls a box may place at once.
const Together = 8

// A slot is a call that has the line, or shares it.
type slot struct {
	id       ID
	peer     [32]byte
	outgoing bool
	talking  bool
	held     ID // the peer's own call to us, while this one of ours stands; 0 if there is none
}

// Dial asks for the line for a new call to peer. If ok, the call may start.
// Otherwise the line is taken; and if that very peer is calling us, or waits
// for us, answer is its call, to be sent Answer in place of a call to it.
func (l Line) Dial(id ID, peer [32]byte) (next Line, ok bool, answer ID) {
	switch {
	case l.has.id != 0 && !l.has.outgoing && !l.has.talking && l.has.peer == peer:
		return l, false, l.has.id
	case l.has.id != 0:
		return l, false, 0
	case l.queued != 0 && l.queuedPeer == peer:
		return l, false, l.queued
	}
	l.has = slot{id: id, peer: peer, outgoing: true}
	return l, true, 0
}

// DialAlso has a new call share the line with the one that Dial has just given it
// to. It reports false when there are Together of them.
func (l Line) DialAlso(id ID, peer [32]byte) (next Line, ok bool) {
	for i := range l.also {
		if l.also[i].id == 0 && l.has.id != 0 {
			l.also[i] = slot{id: id, peer: peer, outgoing: true}
			return l, true
		}
	}
	return l, false
}

// slot returns where a call has the line, nil if it has not.
func (l *Line) slot(id ID) *slot {
	if l.has.id == id {
		return &l.has
	}
	for i := range l.also {
		if l.also[i].id == id {
			return &l.also[i]
		}
	}
	return nil
}

// Calling returns the call by which we call peer and that was not answered yet,
// 0 if there is none.
func (l *Line) Calling(peer [32]byte) ID {
	wanted := func(s *slot) bool { return s.id != 0 && s.outgoing && !s.talking && s.peer == peer }
	if wanted(&l.has) {
		return l.has.id
	}
	for i := range l.also {
		if wanted(&l.also[i]) {
			return l.also[i].id
		}
	}
	return 0
}

// Initiate answers AskPolicy for a call that the owner's policy allows: Allow
// or Hold. If yield is not 0, that call of ours is to be sent Yield, and this
// one Answer once it was sent Allow, since the owner wants to talk to this
// peer. When two boxes call each other, the call whose caller's pid is the
// smaller number stands.
func (l Line) Initiate(id ID, peer [32]byte) (next Line, verdict Kind, yield ID) {
	ours := l.Calling(peer)
	switch {
	case l.slot(id) != nil:
		return l, Allow, 0
	case l.has.id == 0 && (l.queued == 0 || l.queued == id):
		return l.give(id, peer), Allow, 0
	case ours != 0:
		if bytes.Compare(peer[:], l.Self[:]) < 0 {
			*l.slot(ours) = slot{id: id, peer: peer}
			return l.unqueue(id), Allow, ours
		}
		l.slot(ours).held = id
		return l, Hold, 0
	}
	return l, Allow, 0 // that the line is busy it learns by BUSY
}

// Ask answers AskLine: LineFree or LineTaken. The queue goes first.
func (l Line) Ask(id ID, peer [32]byte) (next Line, verdict Kind) {
	if l.has.id == 0 && (l.queued == 0 || l.queued == id) {
		l = l.give(id, peer)
	}
	if l.slot(id) != nil {
		return l, LineFree
	}
	return l, LineTaken
}

// Queue answers AskQueue: QueueRoom or QueueFull. There is one place.
func (l Line) Queue(id ID, peer [32]byte) (next Line, verdict Kind) {
	if l.queued != 0 && l.queued != id {
		return l, QueueFull
	}
	l.queued, l.queuedPeer = id, peer
	return l, QueueRoom
}

// Talking notes that the call has been answered: from then on it yields to no
// other.
func (l Line) Talking(id ID) Line {
	if s := l.slot(id); s != nil {
		s.talking = true
	}
	return l
}

// Gone takes back whatever the call had. If allow is not 0, that call was on
// hold for the one that has gone and is to be sent Allow; it has the line now, if
// nobody else has.
func (l Line) Gone(id ID) (next Line, allow ID) {
	l = l.unqueue(id)
	l.has.unhold(id)
	for i := range l.also {
		l.also[i].unhold(id)
	}
	s := l.slot(id)
	if s == nil {
		return l, 0
	}
	peer, allow := s.peer, s.held
	*s = slot{}
	for i := range l.also { // the first of the others has the line
		if l.has.id == 0 {
			l.has, l.also[i] = l.also[i], slot{}
		}
	}
	if allow != 0 && l.has.id == 0 {
		l = l.give(allow, peer)
	}
	return l, allow
}

// unhold forgets a call that was on hold and has gone.
func (s *slot) unhold(id ID) {
	if s.held == id {
		s.held = 0
	}
}

// Has returns the call that has the line, 0 if it is free.
func (l Line) Has() ID { return l.has.id }

// give hands the line to an incoming call.
func (l Line) give(id ID, peer [32]byte) Line {
	l.has = slot{id: id, peer: peer}
	return l.unqueue(id)
}

// unqueue takes a call from the queue, if it is there.
func (l Line) unqueue(id ID) Line {
	if l.queued == id {
		l.queued, l.queuedPeer = 0, [32]byte{}
	}
	return l
}
