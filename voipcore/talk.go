package voipcore

import (
	"sync/atomic"

	"hushbell/voipcore/call"
	"hushbell/voipcore/session"
	"hushbell/voipcore/voice"
)

// A talk is the sound of a call: everything that a frame needs exists before
// the first one.
type talk struct {
	session  *session.Session
	sender   *voice.Sender   // owned by whoever calls Speak
	payload  voice.Payload   // owned by whoever calls Speak
	receiver *voice.Receiver // its own lock
	sent     atomic.Uint64
}

// startVoice gives the call the sound.
func (l *leg) startVoice(p call.Params) {
	c := l.board.core
	t, err := c.newTalk(l.session, p)
	if err != nil {
		c.log.Error("cannot start voice", "err", err)
		l.err = err
		l.board.soon(l.id, call.HangUp)
		return
	}
	l.talk = t
	l.session.OnVoice(func(timestamp uint32, payload []byte) { t.receiver.Push(timestamp, payload) })
	c.talk.Store(t)
}

func (c *Core) newTalk(s *session.Session, p call.Params) (*talk, error) {
	e, err := c.cfg.NewEncoder(p.PacketBytes())
	if err != nil {
		return nil, err
	}
	t := &talk{session: s}
	if t.sender, err = voice.NewSender(e, p.PacketBytes(), p.Redundancy > 0); err != nil {
		return nil, err
	}
	t.receiver, err = voice.NewReceiver()
	return t, err
}

// stopVoice takes the sound from the call.
func (l *leg) stopVoice() {
	if l.talk != nil {
		l.board.core.talk.CompareAndSwap(l.talk, nil)
	}
}

// Speak sends 20 ms of sound in the call that stands, and reports whether one
// does. It belongs to one goroutine, the one that reads the microphone; it
// does not block or allocate. A frame that cannot be sent is lost, as on the way.
func (c *Core) Speak(pcm *[voice.FrameSamples]int16) bool {
	t := c.talk.Load()
	if t == nil {
		return false
	}
	n, timestamp, err := t.sender.Send(pcm, &t.payload)
	if err == nil && t.session.SendVoice(timestamp, t.payload[:n]) == nil {
		t.sent.Add(1)
	}
	return true
}

// Listen writes the next 20 ms of sound of the call that stands to pcm, and
// reports whether one does; else pcm is silence. It is to be called for every
// 20 ms that the speaker plays, by one goroutine; it does not block or allocate.
func (c *Core) Listen(pcm *[voice.FrameSamples]int16) bool {
	t := c.talk.Load()
	if t == nil {
		clear(pcm[:])
		return false
	}
	t.receiver.Pull(pcm)
	return true
}
