// Package voice turns what the microphone gives into the payload of voice
// frames, and what comes from the network into what the speaker takes: 48 kHz
// mono, 16 bit, in frames of 20 ms, as Opus packets.
//
//	microphone -> Sender ( encode, add a copy of the packet before ) -> payload
//	payload -> Receiver ( order, repair, decode or conceal ) -> speaker
//
// Sender and Receiver allocate nothing once made, and the delay that a
// Receiver adds has a hard limit. Both take and give payloads in the clear:
// sealing them and carrying them is for others, and so is the sound card.
//
// It does not cancel echo, set levels, or stretch time against drifting
// clocks.
package voice

// The one form of sound inside the program.
const (
	RateHz       = 48000
	FrameSamples = 960 // 20 ms
)

// An Encoder makes one Opus packet of one frame. pcm has FrameSamples samples;
// the packet is written to the beginning of packet, and its length returned.
// It keeps neither slice.
type Encoder interface {
	Encode(pcm []int16, packet []byte) (int, error)
}
