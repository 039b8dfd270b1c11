package voipcore

import (
	"context"
	"errors"
	"slices"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
)

// Errors of Call.
var (
	ErrLineTaken = errors.New("voipcore: the line is taken by another call")
	ErrSelf      = errors.New("voipcore: that is a pid of this box itself")
)

// A switchboard owns the line and the calls. One goroutine does everything to
// them: others post functions to it.
type switchboard struct {
	core *Core
	todo chan func()

	// Owned by run.
	line    call.Line
	legs    map[call.ID]*leg
	parties map[call.ID]*party // those that the owner has a call of; ids are those of legs, too
	last    call.ID
	later   []func()      // to be done before the next of todo
	empty   chan struct{} // closed when the last leg has gone, if somebody waits
}

func newSwitchboard(c *Core) *switchboard {
	return &switchboard{core: c, todo: make(chan func()), legs: map[call.ID]*leg{}, parties: map[call.ID]*party{}}
}

// run does what is posted until ctx is done, then ends all calls at once.
func (b *switchboard) run(ctx context.Context) {
	for {
		for len(b.later) > 0 {
			f := b.later[0]
			b.later = b.later[1:]
			f()
		}
		select {
		case f := <-b.todo:
			f()
		case <-ctx.Done():
			for _, l := range b.legs {
				l.stopTimer()
				l.drop()
			}
			return
		}
	}
}

// post has run do f soon. After the Core is closed it does nothing.
func (b *switchboard) post(f func()) {
	select {
	case b.todo <- f:
	case <-b.core.ctx.Done():
	}
}

// do is post, and waits until f is done.
func (b *switchboard) do(f func()) error {
	done := make(chan struct{})
	b.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-b.core.ctx.Done():
		return ErrClosed
	}
}

// ping returns nil when run has done something that was posted now.
func (b *switchboard) ping(ctx context.Context) error {
	turned := make(chan struct{})
	select {
	case b.todo <- func() { close(turned) }:
		<-turned // run is at it: nothing can be in between
		return nil
	case <-b.core.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return errors.New("voipcore: the switchboard does not answer")
	}
}

// hangUpAll ends all calls politely, as far as that goes in the time that a
// goodbye may take.
func (b *switchboard) hangUpAll() {
	empty := make(chan struct{})
	b.post(func() {
		for _, l := range b.legs {
			end := call.HangUp
			if l.unanswered() { // it was not turned away by anybody: it is missed
				l.stopTimer()
				end = call.TimeUp
			}
			l.feed(call.Event{Kind: end})
		}
		b.empty = empty
		b.checkEmpty()
	})
	select {
	case <-empty:
	case <-b.core.ctx.Done():
	case <-time.After(goodbye):
	}
}

// goodbye is how long Close waits for the far ends' answers.
const goodbye = 1500 * time.Millisecond

func (b *switchboard) checkEmpty() {
	if b.empty != nil && len(b.legs) == 0 {
		close(b.empty)
		b.empty = nil
	}
}

// Call calls a pid with one of our own. It returns at once: what becomes of
// the call is told by events. If that very pid is calling us, the call is its
// call, and Call answers it.
func (c *Core) Call(own *pid.Key, far pid.ID) (call.ID, error) {
	for _, k := range c.cfg.Keys {
		if k.ID() == far {
			return 0, ErrSelf
		}
	}
	var id call.ID
	var err error
	if closed := c.board.do(func() {
		b := c.board
		b.line.Self = own.ID()
		b.unsilence(far)
		b.last++
		var ok bool
		var answer call.ID
		if b.line, ok, answer = b.line.Dial(b.last, far); !ok {
			if id, err = answer, ErrLineTaken; answer != 0 {
				err = nil
				b.legs[answer].feed(call.Event{Kind: call.Answer})
			}
			return
		}
		id = b.last
		l := b.newLeg(own, far, true)
		l.feed(call.Event{Kind: call.Dial})
	}); closed != nil {
		return 0, closed // id and err may still be written to
	}
	return id, err
}

// Answer answers a call that rings, HangUp ends or rejects one. A call that is
// no more is not an error.
func (c *Core) Answer(id call.ID) { c.feed(id, call.Answer) }

// HangUp ends or rejects a call.
func (c *Core) HangUp(id call.ID) { c.feed(id, call.HangUp) }

func (c *Core) feed(id call.ID, k call.Kind) {
	c.board.post(func() {
		if l := c.board.legs[id]; l != nil {
			l.feed(call.Event{Kind: k})
		}
		if p := c.board.parties[id]; p != nil {
			for _, l := range slices.Clone(p.legs) {
				l.feed(call.Event{Kind: k})
			}
		}
	})
}

// unsilence takes to be a call like any other what was let ring unheard, since
// the owner wants to talk to that very peer, and reports whether there is one.
func (b *switchboard) unsilence(far pid.ID) bool {
	for _, l := range b.legs {
		if l.silent && l.peer == far && l.call.State.Alive() && b.line.Has() == 0 {
			l.silent = false
			b.line, _, _ = b.line.Initiate(l.id, far)
			return true
		}
	}
	return false
}

// newLeg enters a call under the last id.
func (b *switchboard) newLeg(own *pid.Key, far pid.ID, outgoing bool) *leg {
	l := &leg{board: b, id: b.last, call: call.New(b.core.cfg.Rules), own: own, peer: far, outgoing: outgoing, began: time.Now()}
	b.legs[l.id] = l
	return l
}
