package voice

import (
	"errors"
	"fmt"

	"hushbell/voipcore/wire"
)

// The payload of a voice frame holds the packet of that frame and, if copies
// were agreed on, the packet of the frame before it:
//
//	0        1        2              2+n            2+n+c
//	+--------+--------+--------------+--------------+
//	| n      | c      | packet       | copy         |
//	+--------+--------+--------------+--------------+
//
// n is 1 or more; c is 0 where there is no copy: without redundancy, and in
// the first frame of a stream. Nothing follows: the length of the payload is
// 2 + n + c, and the voice frame around it pads it to its fixed size.
const (
	payloadHeader = 2

	// MaxPackets is how many bytes packet and copy can have together.
	MaxPackets = wire.PayloadSize - payloadHeader
)

// A Payload is room for the payload of one voice frame.
type Payload [wire.PayloadSize]byte

// Errors of payloads. Both mean that the sender is broken: a payload has been
// authenticated before it is looked at.
var (
	ErrPayload = errors.New("not a voice payload")
	ErrSize    = errors.New("packets do not fit into a voice payload")
)

// putPayload writes packet and copied, the packet before it or nothing, to p
// and returns the length of the payload.
func putPayload(p *Payload, packet, copied []byte) (int, error) {
	if len(packet) == 0 || len(packet)+len(copied) > MaxPackets {
		return 0, fmt.Errorf("voice: packets of %d and %d bytes: %w", len(packet), len(copied), ErrSize)
	}
	p[0], p[1] = byte(len(packet)), byte(len(copied))
	n := payloadHeader
	n += copy(p[n:], packet)
	n += copy(p[n:], copied)
	return n, nil
}

// splitPayload returns the packet in b and the copy of the one before it,
// which is empty if there is none. Both lie in b.
func splitPayload(b []byte) (packet, copied []byte, err error) {
	if len(b) < payloadHeader || len(b) > wire.PayloadSize {
		return nil, nil, ErrPayload
	}
	n, c := int(b[0]), int(b[1])
	if n == 0 || len(b) != payloadHeader+n+c {
		return nil, nil, ErrPayload
	}
	b = b[payloadHeader:]
	return b[:n:n], b[n:], nil
}
