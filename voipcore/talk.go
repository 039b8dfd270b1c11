package voipcore

import (
	"errors"
	"math"
	"slices"
	"sync/atomic"

	"hushbell/voipcore/call"
	"hushbell/voipcore/session"
	"hushbell/voipcore/voice"
)

// A talk is the sound of a call, or of a page with several ends: everything that
// a frame needs exists before the first one.
type talk struct {
	party   *party // of a page; else nil
	params  call.Params
	sender  *voice.Sender              // owned by whoever calls Speak
	payload voice.Payload              // owned by whoever calls Speak
	other   [voice.FrameSamples]int16  // owned by whoever calls Listen
	ends    atomic.Pointer[[]*talkEnd] // never changed, but replaced by the switchboard
}

// A talkEnd is one far end of a talk.
type talkEnd struct {
	talk     *talk
	session  *session.Session
	receiver *voice.Receiver // its own lock
	sent     atomic.Uint64
}

// startVoice gives the call the sound. Of a page it may be one more to share it.
func (l *leg) startVoice(p call.Params) {
	c := l.board.core
	t := c.talk.Load()
	var err error
	if t == nil || t.party == nil || t.party != l.party {
		t, err = c.newTalk(p)
		if err == nil && l.party != nil && l.party.page {
			t.party = l.party
		}
	}
	if err == nil && t.params != p {
		err = errParams
	}
	var receiver *voice.Receiver
	if err == nil {
		receiver, err = voice.NewReceiver()
	}
	if err != nil {
		c.log.Error("cannot start voice", "err", err)
		l.err = err
		l.board.soon(l.id, call.HangUp)
		return
	}
	l.talk = &talkEnd{talk: t, session: l.session, receiver: receiver}
	l.session.OnVoice(func(timestamp uint32, payload []byte) { receiver.Push(timestamp, payload) })
	t.setEnds(append(slices.Clone(*t.ends.Load()), l.talk))
	c.talk.Store(t)
}

// errParams is why somebody cannot take part in a page: one packet serves all.
var errParams = errors.New("voipcore: it speaks with other parameters than those that are called already")

func (c *Core) newTalk(p call.Params) (*talk, error) {
	e, err := c.cfg.NewEncoder(p.PacketBytes())
	if err != nil {
		return nil, err
	}
	t := &talk{params: p}
	t.setEnds(nil)
	t.sender, err = voice.NewSender(e, p.PacketBytes(), p.Redundancy > 0)
	return t, err
}

func (t *talk) setEnds(ends []*talkEnd) { t.ends.Store(&ends) }

// stopVoice takes the sound from the call.
func (l *leg) stopVoice() {
	if l.talk == nil {
		return
	}
	t := l.talk.talk
	ends := slices.DeleteFunc(slices.Clone(*t.ends.Load()), func(e *talkEnd) bool { return e == l.talk })
	if len(ends) == 0 {
		l.board.core.talk.CompareAndSwap(t, nil)
		return
	}
	t.setEnds(ends)
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
	if err != nil {
		return true
	}
	for _, e := range *t.ends.Load() {
		if e.session.SendVoice(timestamp, t.payload[:n]) == nil {
			e.sent.Add(1)
		}
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
	for i, e := range *t.ends.Load() {
		if i == 0 {
			e.receiver.Pull(pcm)
			continue
		}
		e.receiver.Pull(&t.other)
		for k, v := range t.other {
			pcm[k] = int16(min(max(int32(pcm[k])+int32(v), math.MinInt16), math.MaxInt16))
		}
	}
	return true
}
