// Package celt encodes speech and other sound as Opus, with the CELT layer only
// (RFC 6716): 48 kHz mono, full band, 10 or 20 ms frames, packets of one size.
// It does not decode, and it has no stereo, SILK, variable bitrate or other rates.
//
// A frame goes through these steps, each in the file of its name: input
// (cleaning, pre-emphasis), pitch and prefilter, transient (short blocks or one
// long one), mdct, energy, tf (resolution in time or frequency), dynalloc (which
// bands get more), allocation, bands and pvq (shapes), rangecoder. The format
// fixes what a decoder makes of the bits; which bits are best is this package's
// choice, and was made with the measures of package metric. README.md has the
// results.
package celt

import (
	"errors"
	"fmt"
)

// Rates that an Encoder can be made for, in bits per second.
const (
	MinBitrate = 16000
	MaxBitrate = 64000
)

// MaxComplexity is the highest of Config.Complexity.
const MaxComplexity = 5

// A part is something that the encoder may do for the sound and a decoder can do
// without. Tests leave out one at a time, to see what it is good for.
type part uint16

const (
	shortBlocks part = 1 << iota
	tilt
	boosts
	antiCollapse
	timeFrequency
	spreading
	pitchFilter
	intraEnergy
	polishing
)

// partsAt is what each complexity does. The first four cost next to nothing.
var partsAt = func() (at [MaxComplexity + 1]part) {
	at[0] = shortBlocks | tilt | boosts | antiCollapse
	for i, more := range []part{timeFrequency, spreading, pitchFilter, intraEnergy, polishing} {
		at[i+1] = at[i] | more
	}
	return at
}()

// Config says what an Encoder makes. All fields are constant for its life.
type Config struct {
	// FrameSamples is 480 or 960: 10 or 20 ms at 48 kHz.
	FrameSamples int
	// PacketBytes is the size of every packet, TOC byte included. It stands
	// for a bitrate from MinBitrate to MaxBitrate; see PacketBytes.
	PacketBytes int
	// Complexity goes from 0, the least work, to MaxComplexity, the best sound.
	Complexity int
}

// PacketBytes returns the size of a packet of frameSamples samples at a bitrate.
func PacketBytes(bitrate, frameSamples int) int {
	return bitrate * frameSamples / sampleRate / 8
}

const sampleRate = 48000

// Delay is by how many samples the sound comes out late: the overlap of the frames, 2.5 ms.
const Delay = shortLen

// ErrShortBuffer is returned by Encode if the packet or the samples do not fit
// the Config.
var ErrShortBuffer = errors.New("celt: short buffer")

// An Encoder makes Opus packets of one size from 48 kHz mono sound. It is made
// by NewEncoder, allocates nothing afterwards, and is for one goroutine.
type Encoder struct {
	cfg     Config
	lm      uint // log2 of the frame in blocks of 2.5 ms: 2 or 3
	payload int  // bytes after the TOC byte
	bitrate int  // of the packets, which the choices depend on
	parts   part // what it does for the sound
	long    *mdct
	short   *mdct

	state // what Reset forgets

	pcm    [maxFrame]float32 // int16 input converted
	tf     tfChooser
	shaper shaper
}

// state is what one frame leaves to the next.
type state struct {
	input    conditioner
	filter   prefilter
	in       [shortLen + maxFrame]float32 // the overlap of the frame before, then this frame
	env      envelope
	started  bool // a frame with energies was coded
	runs     int  // transient frames in a row
	rc       rangeCoder
	spectrum [maxFrame]float32
}

// NewEncoder makes an encoder.
func NewEncoder(cfg Config) (*Encoder, error) {
	e := &Encoder{cfg: cfg, payload: cfg.PacketBytes - 1}
	e.bitrate = cfg.PacketBytes * 8 * sampleRate / max(1, cfg.FrameSamples)
	switch cfg.FrameSamples {
	case 480:
		e.lm = 2
	case 960:
		e.lm = 3
	default:
		return nil, fmt.Errorf("celt: frame of %d samples: want 480 or 960", cfg.FrameSamples)
	}
	lo, hi := PacketBytes(MinBitrate, cfg.FrameSamples), PacketBytes(MaxBitrate, cfg.FrameSamples)
	if cfg.PacketBytes < lo || cfg.PacketBytes > hi {
		return nil, fmt.Errorf("celt: packet of %d bytes: want %d to %d", cfg.PacketBytes, lo, hi)
	}
	if cfg.Complexity < 0 || cfg.Complexity > MaxComplexity {
		return nil, fmt.Errorf("celt: complexity %d: want 0 to %d", cfg.Complexity, MaxComplexity)
	}
	e.long, e.short = newMDCT(cfg.FrameSamples), newMDCT(shortLen)
	e.use(partsAt[cfg.Complexity])
	return e, nil
}

func (e *Encoder) use(parts part) {
	e.parts = parts
	e.shaper.search.polish = parts&polishing != 0
}

func (e *Encoder) has(p part) bool { return e.parts&p != 0 }

// Reset forgets everything about the sound so far: the next packet is the
// first of a new stream.
func (e *Encoder) Reset() { e.state = state{} }

// FinalRange returns the state of the range coder after the last packet. A decoder
// that read the packet rightly has the same (OPUS_GET_FINAL_RANGE of libopus).
func (e *Encoder) FinalRange() uint32 { return e.rc.size }

// Encode writes the packet for one frame of samples to packet and returns its
// size, always Config.PacketBytes. Both slices may be longer than needed and are
// not kept. Any samples will do.
func (e *Encoder) Encode(pcm []int16, packet []byte) (int, error) {
	if len(pcm) < e.cfg.FrameSamples {
		return 0, fmt.Errorf("celt: encode: %d samples of %d: %w", len(pcm), e.cfg.FrameSamples, ErrShortBuffer)
	}
	for i, v := range pcm[:e.cfg.FrameSamples] {
		e.pcm[i] = float32(v)
	}
	return e.encode(e.pcm[:e.cfg.FrameSamples], 1, packet)
}

// EncodeFloat is Encode for samples from -1 to 1. What is louder is clipped at
// twice that; what is not a number counts as 0.
func (e *Encoder) EncodeFloat(pcm []float32, packet []byte) (int, error) {
	if len(pcm) < e.cfg.FrameSamples {
		return 0, fmt.Errorf("celt: encode: %d samples of %d: %w", len(pcm), e.cfg.FrameSamples, ErrShortBuffer)
	}
	return e.encode(pcm[:e.cfg.FrameSamples], 32768, packet)
}

func (e *Encoder) encode(pcm []float32, scale float32, packet []byte) (int, error) {
	if len(packet) < e.cfg.PacketBytes {
		return 0, fmt.Errorf("celt: encode: buffer of %d bytes for %d: %w", len(packet), e.cfg.PacketBytes, ErrShortBuffer)
	}
	n := len(pcm)
	copy(e.in[:shortLen], e.in[n:n+shortLen])
	silent := e.input.condition(pcm, e.filter.next(n), scale)
	next := comb{period: minPeriod}
	if e.has(pitchFilter) {
		if c := e.filter.choose(n); !silent {
			next = c
		}
	}
	e.filter.run(e.in[shortLen:], n, next)

	e.rc.reset(e.payload)
	if silent {
		e.encodeSilence()
	} else {
		e.encodeFrame(n, next)
	}
	if !e.rc.finish() {
		// The budgets are kept so that this cannot be; it would be our bug.
		return 0, errors.New("celt: encode: frame overflowed")
	}
	// TOC: CELT, full band, 10 or 20 ms (configurations 30 and 31), mono, one frame (RFC 6716, 3.1).
	packet[0] = byte(28+e.lm) << 3
	copy(packet[1:], e.rc.buf[:e.payload])
	return e.cfg.PacketBytes, nil
}
