package voice

import (
	"fmt"
)

// A Sender makes payloads from frames of sound. It belongs to one goroutine,
// and allocates nothing after NewSender if its encoder does not.
type Sender struct {
	encoder   Encoder
	size      int // of a packet
	copies    bool
	timestamp uint32
	packet    [MaxPackets]byte
	before    [MaxPackets]byte // the packet of the frame before
	beforeLen int
}

// NewSender returns a Sender of packets of packetBytes, the constant size that
// was agreed on; with copies, each payload also holds the packet before. It
// refuses sizes that do not fit into a payload. The Sender owns the encoder.
func NewSender(e Encoder, packetBytes int, copies bool) (*Sender, error) {
	all := packetBytes
	if copies {
		all *= 2
	}
	if packetBytes < 1 || all > MaxPackets {
		return nil, fmt.Errorf("voice: sender of %d-byte packets, copies %v: %w", packetBytes, copies, ErrSize)
	}
	return &Sender{encoder: e, size: packetBytes, copies: copies}, nil
}

// Send encodes one frame into p. It returns the length of the payload in p and
// the timestamp that belongs to it: the number of samples sent before, which
// wraps. After an error that frame is lost, and the next one can be sent.
func (s *Sender) Send(pcm *[FrameSamples]int16, p *Payload) (n int, timestamp uint32, err error) {
	timestamp = s.timestamp
	s.timestamp += FrameSamples

	size, err := s.encoder.Encode(pcm[:], s.packet[:s.size])
	if err == nil {
		n, err = putPayload(p, s.packet[:size], s.before[:s.beforeLen])
	}
	if err != nil {
		s.beforeLen = 0
		return 0, timestamp, fmt.Errorf("voice: encode frame: %w", err)
	}
	if s.copies {
		s.beforeLen = copy(s.before[:], s.packet[:size])
	}
	return n, timestamp, nil
}

// Skip leaves out one frame that was never captured, so that the far end
// plays the following ones at their time.
func (s *Sender) Skip() {
	s.timestamp += FrameSamples
	s.beforeLen = 0
}
