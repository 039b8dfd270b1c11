package session

import (
	"sync/atomic"

	"hushbell/voipcore/wire"
)

// voice is the voice of a session: sealed end to end, in frames beside the
// stream.
type voice struct {
	sealer *wire.FrameSealer
	opener *wire.FrameOpener
	frame  wire.Frame // owned by whoever calls SendVoice

	handler atomic.Pointer[func(timestamp uint32, payload []byte)]
	dropped atomic.Uint64
}

// SendVoice seals payload, at most wire.PayloadSize bytes, and sends it. It is
// for one goroutine at a time, does not block or allocate, and keeps nothing.
// timestamp counts samples of 48 kHz and wraps.
func (s *Session) SendVoice(timestamp uint32, payload []byte) error {
	v := &s.voice
	err := v.sealer.Seal(&v.frame, wire.FrameHeader{Type: wire.FrameAudio, Timestamp: timestamp}, payload)
	if err != nil {
		return err
	}
	return s.tunnel.SendVoice(&v.frame)
}

// OnVoice sets who takes the payloads that arrive: in any order, but none
// twice, and none that the far end has not sealed. It runs on the goroutine that
// reads the network, and must neither block nor keep the payload. What arrives
// before is dropped.
func (s *Session) OnVoice(take func(timestamp uint32, payload []byte)) { s.voice.handler.Store(&take) }

// VoiceDropped returns how many frames were altered, repeated, sealed with
// another key, or came before OnVoice.
func (s *Session) VoiceDropped() uint64 { return s.voice.dropped.Load() }

// take opens a frame that arrived.
func (v *voice) take(f *wire.Frame) {
	h, _, payload, err := v.opener.Open(f)
	take := v.handler.Load()
	if err != nil || take == nil {
		v.dropped.Add(1)
		return
	}
	(*take)(h.Timestamp, payload)
}
