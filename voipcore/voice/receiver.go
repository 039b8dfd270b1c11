package voice

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/pion/opus"
)

// A Receiver makes sound from payloads. Push is for the goroutine that reads
// the network, Pull for the one that plays, and neither waits for the other's
// I/O or decoding: the lock is held while a packet is put in or taken out. A
// sender that starts its timestamps afresh needs a new Receiver.
type Receiver struct {
	mu     sync.Mutex
	jitter jitter // guarded by mu

	// Owned by Pull.
	decoder opus.Decoder
	conceal concealer
	a, b    [MaxPackets]byte
	second  [FrameSamples]int16
	silence []byte // the packet of last, if it was digital silence; else empty
}

// NewReceiver returns a Receiver that has received nothing.
func NewReceiver() (*Receiver, error) {
	r := &Receiver{silence: make([]byte, 0, MaxPackets)}
	var err error
	if r.decoder, err = opus.NewDecoderWithOutput(RateHz, 1); err != nil {
		return nil, fmt.Errorf("voice: make decoder: %w", err)
	}
	return r, nil
}

// Push takes the payload of one voice frame, in any order. It keeps nothing of
// the slice. The error of a payload that no sender of ours makes is
// ErrPayload; it is counted, too.
func (r *Receiver) Push(timestamp uint32, payload []byte) error {
	packet, copied, err := splitPayload(payload)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.jitter.count.Malformed++
		return err
	}
	r.jitter.push(timestamp, packet, copied)
	return nil
}

// Pull writes the next 20 ms of sound to pcm: silence before the first frame,
// made-up sound in place of what is missing. It is to be called once for every
// 20 ms that the speaker plays: the pace of these calls is the clock.
func (r *Receiver) Pull(pcm *[FrameSamples]int16) {
	r.mu.Lock()
	v, na, nb := r.jitter.pull(&r.a, &r.b)
	r.mu.Unlock()

	switch v {
	case playNothing:
		clear(pcm[:])
		return
	case playConceal: // the decoder is not told: it makes up nothing itself
		r.conceal.conceal(pcm)
		return
	}
	ok := r.decode(r.a[:na], pcm)
	if v == playBoth {
		switch second := r.decode(r.b[:nb], &r.second); {
		case ok && second:
			for i := range pcm {
				pcm[i] += int16((int32(r.second[i]) - int32(pcm[i])) * int32(i) / FrameSamples)
			}
		case second:
			*pcm, ok = r.second, true
		}
	}
	if !ok {
		r.conceal.conceal(pcm)
		r.mu.Lock()
		r.jitter.count.Concealed++
		r.mu.Unlock()
		return
	}
	r.conceal.real(pcm)
}

// toc is the first byte of the only packets that were agreed on (RFC 6716,
// section 3.1): CELT, full band, 20 ms, mono, one frame. Nothing else reaches
// the decoder: its other paths allocate, and are longer ways to a mistake.
const toc = 31 << 3

// decode reports whether the packet was a frame of sound. Digital silence that goes on,
// as of a far end that is muted, is not decoded again: the decoder would calculate with
// subnormal numbers, for each of which ARMv6 has a trap.
func (r *Receiver) decode(packet []byte, pcm *[FrameSamples]int16) bool {
	if len(packet) > 1 && packet[0] == toc {
		if bytes.Equal(packet, r.silence) {
			clear(pcm[:])
			return true
		}
		r.silence = r.silence[:0]
		n, err := r.decoder.DecodeToInt16(packet, pcm[:])
		if err == nil && n == FrameSamples {
			if *pcm == ([FrameSamples]int16{}) {
				r.silence = append(r.silence, packet...)
			}
			return true
		}
	}
	r.mu.Lock()
	r.jitter.count.Malformed++
	r.mu.Unlock()
	return false
}

// Counters returns what has become of the frames so far. Any goroutine may
// call it.
func (r *Receiver) Counters() Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jitter.count
}
