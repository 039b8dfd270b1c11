package voipcore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/wire"
)

// A leg carries out what a call.Call decides. Everything in it belongs to the
// switchboard's goroutine; what waits (lookup, tunnels, the session's reading
// and writing) runs beside it and posts what came of it.
type leg struct {
	board    *switchboard
	id       call.ID
	call     call.Call
	own      *pid.Key
	peer     pid.ID
	outgoing bool
	party    *party // whose call this is one of; nil for none
	stranger bool   // the owner wants to hear nothing of its caller
	silent   bool   // it rings unheard: the owner is told only when it is over
	door     door   // what was asked of the door at either end

	began  time.Time
	report Report
	err    error // why it could not be reached

	giveUp  context.CancelFunc // ends a Reach under way
	tunnel  *kx.Tunnel
	session *session.Session
	out     chan wire.Message // to the writer; closed by close
	closed  bool
	timer   *time.Timer
	timers  int // counts up, so that a stopped timer's firing is known
	talk    *talkEnd
}

// outLen is how many messages may wait to be sent. A call has one or two under
// way; more means that the far end does not read, and the session is lost.
const outLen = 8

// feed lets an event happen to the call.
func (l *leg) feed(e call.Event) {
	b, was := l.board, l.call.State
	var do []call.Action
	l.call, do = l.call.Step(e)
	if was != l.call.State {
		b.core.log.Debug("call", "call", l.id, "event", e.Kind, "state", l.call.State)
	}
	for _, a := range do {
		l.act(a)
	}
	if was.Alive() && !l.call.State.Alive() {
		l.leaveLine()
	}
	if l.call.State == call.Over && b.legs[l.id] == l {
		delete(b.legs, l.id)
		l.stopTimer()
		if l.party != nil {
			l.party.gone(l)
		}
		b.checkEmpty()
	}
}

// leaveLine gives back what the call has of the line.
func (l *leg) leaveLine() {
	b := l.board
	var allow call.ID
	if b.line, allow = b.line.Gone(l.id); allow != 0 {
		b.soon(allow, call.Allow)
	}
}

// soon feeds an event to a call once the present one is done with.
func (b *switchboard) soon(id call.ID, k call.Kind) {
	b.later = append(b.later, func() {
		if l := b.legs[id]; l != nil {
			l.feed(call.Event{Kind: k})
		}
	})
}

// sends maps an action to the message that it sends.
var sends = map[call.Do]wire.Message{
	call.SendInitiate:        {Type: wire.CallInitiate},
	call.SendInitiateOK:      {Type: wire.CallInitiateReply, OK: true},
	call.SendInitiateNo:      {Type: wire.CallInitiateReply},
	call.SendBusy:            {Type: wire.CallBusy},
	call.SendBusyYes:         {Type: wire.CallBusyReply, OK: true},
	call.SendBusyNo:          {Type: wire.CallBusyReply},
	call.SendWaiting:         {Type: wire.CallWaiting},
	call.SendWaitingOK:       {Type: wire.CallWaitingReply, OK: true},
	call.SendWaitingNo:       {Type: wire.CallWaitingReply},
	call.SendParameters:      {Type: wire.CallParameters},
	call.SendParametersReply: {Type: wire.CallParametersReply},
	call.SendTerminate:       {Type: wire.CallTerminate},
	call.SendTerminateReply:  {Type: wire.CallTerminateReply, OK: true},
}

// act carries out one action.
func (l *leg) act(a call.Action) {
	b := l.board
	if m, ok := sends[a.Do]; ok {
		m.NoT, m.TTW, m.Params = a.NoT, a.TTW, wireParams(a.Params)
		l.send(m)
		return
	}
	if kind, ok := kinds[a.Do]; ok {
		l.tell(kind)
		return
	}
	var verdict call.Kind
	switch a.Do {
	case call.Reach:
		l.reach()
	case call.Close:
		l.close()
	case call.Drop:
		if l.err == nil { // the session took the message: it was out of turn
			l.err = session.ErrProtocol
		}
		l.drop()
	case call.AskPolicy:
		l.judge()
	case call.AskLine:
		if l.call.Waits > 0 && !l.call.Wanted && b.core.cfg.Welcome(l.peer) == Silent {
			l.hush() // since it came it has waited, and that may have changed
		}
		if l.silent {
			b.soon(l.id, call.LineFree)
			return
		}
		b.line, verdict = b.line.Ask(l.id, l.peer)
		b.soon(l.id, verdict)
	case call.AskQueue:
		b.line, verdict = b.line.Queue(l.id, l.peer)
		b.soon(l.id, verdict)
	case call.StartTimer:
		l.startTimer(a.For)
	case call.StopTimer:
		l.stopTimer()
	case call.StartVoice:
		l.startVoice(a.Params)
	case call.StopVoice:
		l.stopVoice()
	case call.SendHeartBeat, call.SendHeartBeatReply:
		// The session has its own heartbeats, the first one included.
	}
}

// judge answers whether the call of somebody is taken, and how.
func (l *leg) judge() {
	b := l.board
	welcome := b.core.cfg.Welcome(l.peer)
	b.line.Self = l.own.ID()
	ours := b.line.Calling(l.peer)
	if ours != 0 && welcome != Admit {
		welcome = Ring // whom the owner calls is welcome
	}
	l.silent = welcome == Silent && !l.call.Wanted
	switch {
	case welcome == Decline:
		b.soon(l.id, call.Refuse)
		return
	case l.silent && b.silent() > maxSilent:
		b.soon(l.id, call.Malformed) // as a box with too many calls does: it says nothing
		return
	case l.silent:
		l.hush()
		b.soon(l.id, call.Allow)
		return
	}
	line, verdict, yield := b.line.Initiate(l.id, l.peer)
	b.line = line
	b.soon(l.id, verdict)
	if yield != 0 {
		if p := b.legs[yield].party; p != nil {
			p.take(l)
		}
		b.soon(yield, call.Yield)
	}
	if yield != 0 || welcome == Admit {
		b.soon(l.id, call.Answer)
	}
}

func wireParams(p call.Params) wire.Parameters {
	return wire.Parameters{Codec: p.Codec, FrameMS: p.FrameMs, Kbits: p.Kbps, Redundancy: p.Redundancy}
}

func callParams(p wire.Parameters) call.Params {
	return call.Params{Codec: p.Codec, FrameMs: p.FrameMS, Kbps: p.Kbits, Redundancy: p.Redundancy}
}

// tell tells the owner what the call says.
func (l *leg) tell(k EventKind) {
	b := l.board
	if l.silent && !k.Final() {
		return
	}
	if k == Answered {
		b.line = b.line.Talking(l.id)
		l.report.Setup = time.Since(l.began)
	}
	l.report = l.reportNow()
	e := Event{Kind: k, Call: l.id, Own: l.own.ID(), Peer: l.peer, Outgoing: l.outgoing, Report: l.report}
	if k == Unreachable || k == Lost {
		if l.err == nil && l.session == nil {
			l.err = ErrTooLong // a timer ran out
		} else if l.err == nil {
			l.err = ErrSilent
		}
		e.Err = reason(l.err)
		if k == Unreachable && e.Err == ErrCut { // before there was anything to cut
			e.Err = ErrNoWay
		}
		b.core.log.Debug("call failed", "call", l.id, "err", l.err)
	}
	if l.party != nil {
		l.party.heard(l, e)
		return
	}
	b.core.cfg.Notify(e)
}

func (l *leg) startTimer(d time.Duration) {
	l.timers++
	n := l.timers
	l.timer = time.AfterFunc(d, func() {
		l.board.post(func() {
			if l.timers == n {
				l.feed(call.Event{Kind: call.TimeUp})
			}
		})
	})
}

func (l *leg) stopTimer() {
	l.timers++
	if l.timer != nil {
		l.timer.Stop()
	}
}

// reach looks the callee up and opens a session to it.
func (l *leg) reach() {
	c := l.board.core
	ctx, cancel := context.WithCancel(c.ctx)
	l.giveUp = cancel
	c.wg.Go(func() {
		defer cancel()
		r := c.reach(ctx, l.own, l.peer)
		posted := l.board.do(func() {
			if l.call.State != call.Reaching {
				c.wg.Go(r.drop) // closing takes its time, and others call, too
				return
			}
			l.report, l.err = r.report, r.err
			if r.err != nil {
				l.feed(call.Event{Kind: call.Unreached})
				return
			}
			l.setSession(r.tunnel, r.session)
			l.feed(call.Event{Kind: call.Reached})
			l.feed(call.Event{Kind: call.GotHeartBeatOK})
		})
		if posted != nil {
			r.drop()
		}
	})
}

const (
	// maxLegs is how many calls a box has to do with at a time: the one that stands,
	// the one that waits, and those that are told to wait or to go.
	maxLegs = 16
	// maxStrangers of them may be of callers who are refused or ring unheard, who
	// can take their time before they ask for anything.
	maxStrangers = maxLegs / 2
	// maxOfOne may be of one pid: its call, tries by other ways that it begins side by
	// side, and what is left of one before.
	maxOfOne = maxLegs / 4
)

// room reports whether there is a place for one call more of a pid.
func (b *switchboard) room(peer pid.ID, stranger bool) bool {
	strangers, same := 0, 0
	for _, l := range b.legs {
		if l.outgoing {
			continue
		}
		if l.stranger {
			strangers++
		}
		if l.peer == peer {
			same++
		}
	}
	return len(b.legs) < maxLegs && same < maxOfOne && !(stranger && strangers >= maxStrangers)
}

// incoming answers whoever has joined a tunnel of ours.
func (c *Core) incoming(t *kx.Tunnel, s, own *pid.Key) {
	ctx, cancel := context.WithTimeout(c.ctx, sessionTimeout)
	defer cancel()
	sess, err := session.Accept(ctx, t, s, own.ID(), c.cfg.Session)
	if err != nil {
		c.log.Debug("nobody who knows how to call", "err", err)
		t.Close()
		return
	}
	err = c.board.do(func() {
		welcome := c.cfg.Welcome(sess.Far())
		stranger := (welcome == Decline || welcome == Silent) && c.board.line.Calling(sess.Far()) == 0
		if !c.board.room(sess.Far(), stranger) {
			c.wg.Go(reached{tunnel: t, session: sess}.drop)
			return
		}
		c.board.last++
		l := c.board.newLeg(own, sess.Far(), false)
		l.stranger = stranger
		l.report.Hops, l.report.KeyExchange = len(t.Path()), sess.KeyExchange()
		l.setSession(t, sess)
		l.feed(call.Event{Kind: call.Arrived})
		l.feed(call.Event{Kind: call.GotHeartBeat})
	})
	if err != nil {
		sess.Close()
		t.Close()
	}
}

// setSession starts reading and writing the session.
func (l *leg) setSession(t *kx.Tunnel, s *session.Session) {
	l.tunnel, l.session, l.out = t, s, make(chan wire.Message, outLen)
	c := l.board.core
	c.wg.Go(func() { l.read(s) })
	c.wg.Go(func() { l.write(s, t, l.out) })
}

// read posts what the far end says until the session ends.
func (l *leg) read(s *session.Session) {
	for {
		m, err := s.Receive()
		e := call.Event{Kind: call.Lost}
		switch {
		case err == nil && (m.Type == wire.Door || m.Type == wire.DoorReply):
			l.board.post(func() { l.gotDoor(m) })
			continue
		case err == nil:
			e = eventOf(m)
		case errors.Is(err, session.ErrProtocol):
			e.Kind = call.Malformed
		}
		l.board.post(func() {
			if err != nil {
				l.err = err
			}
			l.feed(e)
		})
		if err != nil {
			return
		}
	}
}

// eventOf is what a message means to a call.
func eventOf(m wire.Message) call.Event {
	yes := func(yes, no call.Kind) call.Event {
		if m.OK {
			return call.Event{Kind: yes}
		}
		return call.Event{Kind: no}
	}
	switch m.Type {
	case wire.CallInitiate:
		return call.Event{Kind: call.GotInitiate, NoT: m.NoT}
	case wire.CallInitiateReply:
		return yes(call.GotInitiateOK, call.GotInitiateNo)
	case wire.CallBusy:
		return call.Event{Kind: call.GotBusy}
	case wire.CallBusyReply:
		return yes(call.GotBusyYes, call.GotBusyNo)
	case wire.CallWaiting:
		return call.Event{Kind: call.GotWaiting}
	case wire.CallWaitingReply:
		e := yes(call.GotWaitingOK, call.GotWaitingNo)
		if m.OK {
			e.TTW = m.TTW
		}
		return e
	case wire.CallParameters:
		return call.Event{Kind: call.GotParameters, Params: callParams(m.Params)}
	case wire.CallParametersReply:
		return call.Event{Kind: call.GotParametersReply, Params: callParams(m.Params)}
	case wire.CallTerminate:
		return call.Event{Kind: call.GotTerminate}
	case wire.CallTerminateReply:
		return call.Event{Kind: call.GotTerminateReply}
	}
	return call.Event{Kind: call.Malformed} // resuming a call, which nothing of ours does
}

// write sends what the call says, and closes the session behind the last of it.
func (l *leg) write(s *session.Session, t *kx.Tunnel, out <-chan wire.Message) {
	for m := range out {
		if err := s.Send(m); err != nil {
			err = fmt.Errorf("voipcore: %w", err)
			l.board.post(func() {
				l.err = err
				l.feed(call.Event{Kind: call.Lost})
			})
			break
		}
	}
	for range out { // what comes now is not sent any more
	}
	s.Close()
	t.Close()
}

// send queues a message.
func (l *leg) send(m wire.Message) {
	if l.closed || l.out == nil {
		return
	}
	select {
	case l.out <- m:
	default:
		l.board.soon(l.id, call.Lost)
	}
}

// close ends the session when what was sent is out, and a Reach under way.
func (l *leg) close() {
	if l.giveUp != nil {
		l.giveUp()
	}
	if !l.closed && l.out != nil {
		close(l.out)
	}
	l.closed = true
}

// drop ends the session at once.
func (l *leg) drop() {
	l.close()
	l.stopVoice()
	if l.tunnel != nil {
		l.tunnel.Close()
	}
}
