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

	has      ID // 0: the line is free
	peer     [32]byte
	outgoing bool
	talking  bool

	queued     ID // the one waiting caller
	queuedPeer [32]byte

	held ID // called us while we called it, and ours stands
}

// Dial asks for the line for a new call to peer. If ok, the call may start.
// Otherwise the line is taken; and if that very peer is calling us, or waits
// for us, answer is its call, to be sent Answer in place of a call to it.
func (l Line) Dial(id ID, peer [32]byte) (next Line, ok bool, answer ID) {
	switch {
	case l.has != 0 && !l.outgoing && !l.talking && l.peer == peer:
		return l, false, l.has
	case l.has != 0:
		return l, false, 0
	case l.queued != 0 && l.queuedPeer == peer:
		return l, false, l.queued
	}
	l.has, l.peer, l.outgoing, l.talking = id, peer, true, false
	return l, true, 0
}

// Initiate answers AskPolicy for a call that the owner's policy allows: Allow
// or Hold. If yield is not 0, that call of ours is to be sent Yield, and this
// one Answer once it was sent Allow, since the owner wants to talk to this
// peer. When two boxes call each other, the call whose caller's pid is the
// smaller number stands.
func (l Line) Initiate(id ID, peer [32]byte) (next Line, verdict Kind, yield ID) {
	switch {
	case l.has == id:
		return l, Allow, 0
	case l.has == 0 && (l.queued == 0 || l.queued == id):
		return l.give(id, peer), Allow, 0
	case l.has != 0 && l.outgoing && !l.talking && l.peer == peer:
		if bytes.Compare(peer[:], l.Self[:]) < 0 {
			yield = l.has
			return l.give(id, peer), Allow, yield
		}
		l.held = id
		return l, Hold, 0
	}
	return l, Allow, 0 // that the line is busy it learns by BUSY
}

// Ask answers AskLine: LineFree or LineTaken. The queue goes first.
func (l Line) Ask(id ID, peer [32]byte) (next Line, verdict Kind) {
	if l.has == 0 && (l.queued == 0 || l.queued == id) {
		l = l.give(id, peer)
	}
	if l.has == id {
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
	if l.has == id {
		l.talking = true
	}
	return l
}

// Gone takes back whatever the call had. If allow is not 0, that call was on
// hold for the one that has gone and has the line now: it is to be sent Allow.
func (l Line) Gone(id ID) (next Line, allow ID) {
	if l.queued == id {
		l.queued, l.queuedPeer = 0, [32]byte{}
	}
	if l.held == id {
		l.held = 0
	}
	if l.has != id {
		return l, 0
	}
	allow, peer := l.held, l.peer
	l.has, l.peer, l.outgoing, l.talking, l.held = 0, [32]byte{}, false, false, 0
	if allow != 0 {
		l = l.give(allow, peer)
	}
	return l, allow
}

// Has returns the call that has the line, 0 if it is free.
func (l Line) Has() ID { return l.has }

// give hands the line to an incoming call.
func (l Line) give(id ID, peer [32]byte) Line {
	l.has, l.peer, l.outgoing, l.talking = id, peer, false, false
	if l.queued == id {
		l.queued, l.queuedPeer = 0, [32]byte{}
	}
	return l
}
