package wire

import "encoding/binary"

// Sizes of voice, all fixed:
//
//	cell  320 = link id 4 | counter 8 | AEAD_link( tunnel id 4 | body 288 ) 292 + 16
//	body  288 = up to 3 onion layers of 20 (counter 4, tag 16) around a frame of 228, rest zero
//	frame 228 = counter 4 | AEAD_end( type 1 | flags 1 | length 2 | timestamp 4 | payload 200 ) 208 + 16
const (
	VoiceCellSize = 320
	BodySize      = 288
	FrameSize     = 228
	PayloadSize   = 200 // the most that one frame carries

	MaxLayers = 3  // hops that a tunnel can have
	layerSize = 20 // counter 4, tag 16

	frameHeader  = 8
	framePlain   = frameHeader + PayloadSize
	cellPlain    = 4 + BodySize
	voiceHeader  = 4 + 8
	counterSize  = 4
	callDataSize = 252 // the seed's MSG_VOIP_CALL_DATA with 200 bytes of audio and a tag of 128 bits
)

// FirstByteKRPC starts every KRPC message, and no link id.
const FirstByteKRPC = 'd'

// A VoiceCell is one UDP datagram between the two ends of a link. TunnelID and
// Body are readable after LinkOpener.Open, and writable before LinkSealer.Seal.
type VoiceCell [VoiceCellSize]byte

// LinkID is the receiver's id of the link, in the clear.
func (c *VoiceCell) LinkID() uint32 { return binary.BigEndian.Uint32(c[:]) }

// TunnelID is the tunnel's id on the link; 0 keeps the link alive.
func (c *VoiceCell) TunnelID() uint32 { return binary.BigEndian.Uint32(c[voiceHeader:]) }

// SetTunnelID sets the tunnel's id.
func (c *VoiceCell) SetTunnelID(id uint32) { binary.BigEndian.PutUint32(c[voiceHeader:], id) }

// Body is the part of the cell that travels from link to link.
func (c *VoiceCell) Body() *[BodySize]byte { return (*[BodySize]byte)(c[voiceHeader+4:]) }

// What a keep-alive cell (tunnel id 0) says. A ping asks for a pong, so each side knows
// that its own cells arrive.
const (
	KeepAlivePing = 1
	KeepAlivePong = 2
)

// SetKeepAlive makes c a keep-alive cell.
func (c *VoiceCell) SetKeepAlive(kind byte) {
	clear(c[:])
	c.Body()[0] = kind
}

// KeepAlive is what a cell with tunnel id 0 says: a byte, and zeros behind it. Of any
// other it is 0.
func (c *VoiceCell) KeepAlive() byte {
	if b := c.Body(); zero(b[1:]) {
		return b[0]
	}
	return 0
}

// A Frame is one end-to-end sealed voice frame, as it lies in a body without
// layers.
type Frame [FrameSize]byte

// A FrameType says what a frame's payload is.
type FrameType uint8

// FrameAudio is the one type so far: payload as the call's parameters say.
const FrameAudio FrameType = 1

// A FrameHeader goes before the payload, sealed with it. Length is at most
// PayloadSize, the rest of the payload is zero.
type FrameHeader struct {
	Type      FrameType
	Flags     uint8 // none defined: 0
	Length    uint16
	Timestamp uint32 // in samples of 48 kHz, wraps
}

// FrameFromBody returns the frame in a body without layers.
func FrameFromBody(b *[BodySize]byte) *Frame { return (*Frame)(b[:]) }
