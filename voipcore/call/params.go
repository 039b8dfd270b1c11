package call

import "fmt"

// OpusCELT is the only codec so far: Opus, CELT only, 48 kHz mono, full band,
// constant bitrate.
const OpusCELT = 1

// Limits of OpusCELT, and what the payload of a voice frame has room for: 200
// bytes, two of them lengths.
const (
	minKbps    = 16
	maxKbps    = 64
	maxPackets = 198
)

// Params are the parameters of a voice stream, as in the PARAMETERS messages.
// In an offer they are the most that the caller can do; in a choice they are
// what both ends send from now on.
type Params struct {
	Codec      uint8
	FrameMs    uint8 // 10 or 20
	Kbps       uint8 // 16 to 64, constant
	Redundancy uint8 // copies of earlier packets that travel with each: 0 or 1
}

// DefaultParams are 80-byte packets every 20 ms, each with a copy of the one
// before.
var DefaultParams = Params{Codec: OpusCELT, FrameMs: 20, Kbps: 32, Redundancy: 1}

// PacketBytes returns the size of one packet: constant, as the bitrate is.
func (p Params) PacketBytes() int { return int(p.Kbps) * int(p.FrameMs) / 8 }

// Valid reports whether p can be sent: a known codec, a rate that it has, and
// packets that fit into a voice frame with their copies.
func (p Params) Valid() bool {
	return p.Codec == OpusCELT &&
		(p.FrameMs == 10 || p.FrameMs == 20) &&
		p.Kbps >= minKbps && p.Kbps <= maxKbps &&
		p.Redundancy <= 1 &&
		p.PacketBytes()*int(1+p.Redundancy) <= maxPackets
}

// Choose returns the best that both ends can do: what the caller offers and
// what we can ourselves. 20 ms is what everybody can, 10 ms is taken when both
// want it; where packet and copy would not fit, bits go before the copy does.
// It reports false when either of them is not valid.
func Choose(offer, ours Params) (Params, bool) {
	if !offer.Valid() || !ours.Valid() {
		return Params{}, false
	}
	p := Params{
		Codec:      OpusCELT,
		FrameMs:    max(offer.FrameMs, ours.FrameMs),
		Kbps:       min(offer.Kbps, ours.Kbps),
		Redundancy: min(offer.Redundancy, ours.Redundancy),
	}
	for !p.Valid() {
		p.Kbps-- // ends: 16 kbit/s with a copy takes 80 of 198 bytes
	}
	return p, true
}

// within reports whether a choice keeps to an offer.
func (p Params) within(offer Params) bool {
	return p.Codec == offer.Codec && p.FrameMs >= offer.FrameMs &&
		p.Kbps <= offer.Kbps && p.Redundancy <= offer.Redundancy
}

// String shows p as "opus 20ms 32kbit/s +1".
func (p Params) String() string {
	codec := "opus"
	if p.Codec != OpusCELT {
		codec = fmt.Sprintf("codec %d", p.Codec)
	}
	return fmt.Sprintf("%s %dms %dkbit/s +%d", codec, p.FrameMs, p.Kbps, p.Redundancy)
}
