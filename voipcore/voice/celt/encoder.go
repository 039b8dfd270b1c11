// Package celt encodes speech and other sound as Opus, with the CELT layer only
// (RFC 6716): 48 kHz mono, full band, 10 or 20 ms frames, packets of one size.
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

// From which complexity on the choices are made that cost most. Short blocks,
// tilt and boosts cost next to nothing and are always there.
const (
	withTF     = 1
	withSpread = 2
	withPitch  = 3
	withIntra  = 4
	withPolish = 5
)

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
	bitrate int
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
	e.shaper.search.polish = cfg.Complexity >= withPolish
	return e, nil
}

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
	if e.cfg.Complexity >= withPitch {
		if c := e.filter.choose(n, e.payload < 35); !silent {
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

// encodeSilence writes a frame that is silent.
func (e *Encoder) encodeSilence() {
	e.rc.bit(true, 15)
	for b := range e.env.value {
		e.env.value[b] = silenceEnergy
	}
	e.runs = 0
	e.started = false
}

func (e *Encoder) encodeFrame(n int, next comb) {
	rc, lm := &e.rc, e.lm
	budget := e.payload * 8
	rc.bit(false, 15) // not silent
	next.write(rc)

	transient := attack(e.in[:n+shortLen]) > attackLimit
	var amp, logE [numBands]float32
	if transient {
		blocks := 1 << lm
		for b := range blocks {
			e.short.forward(e.in[b*shortLen:], e.spectrum[b:], blocks)
		}
	} else {
		e.long.forward(e.in[:], e.spectrum[:], 1)
	}
	bandEnergies(e.spectrum[:], lm, &amp, &logE)
	normalize(e.spectrum[:], lm, &amp)
	rc.bit(transient, 3)

	e.encodeEnergy(&logE)

	var tf [numBands]int
	sel := 0
	if e.cfg.Complexity >= withTF {
		tf, sel = e.tf.choose(e.spectrum[:], lm, transient)
	} else if transient {
		for b := range tf {
			tf[b] = 1 // leave the short blocks as they are
		}
	}
	e.encodeTF(&tf, sel, transient)
	spread := spreadNormal // what it is if there is no room to say
	if rc.tell()+4 <= budget {
		spread = spreadNone // which costs nothing
		if e.cfg.Complexity >= withSpread {
			spread = chooseSpread(e.spectrum[:], lm)
		}
		rc.symbol(spread, spreadCDF, 5)
	}
	boost := chooseBoost(&logE, e.bitrate)
	left := e.encodeBoost(&boost)
	trim := 5 // likewise
	if rc.tellFrac()+6*oneBit <= left {
		trim = chooseTrim(&logE, e.bitrate)
		rc.symbol(trim, trimCDF, 7)
	}

	total := budget*oneBit - rc.tellFrac() - 1
	antiCollapse := 0
	if transient && total >= (int(lm)+2)*oneBit {
		antiCollapse = oneBit
	}
	var a allocation
	a.allocate(rc, lm, total-antiCollapse, trim, &boost)
	e.env.fine(rc, &a.fine)

	e.shaper.rc, e.shaper.lm, e.shaper.transient, e.shaper.spread = rc, lm, transient, spread
	e.shaper.encode(e.spectrum[:], &a, &tf, budget*oneBit-antiCollapse)
	if antiCollapse > 0 {
		// After some frames of short blocks noise is what the sound is like.
		on := uint32(0)
		if e.runs < 2 {
			on = 1
		}
		rc.raw(on, 1)
	}
	e.env.finish(rc, &a)
	e.runs++
	if !transient {
		e.runs = 0
	}
	e.started = true
}

// encodeEnergy writes the coarse energy, predicted from the last frame or not,
// whichever takes fewer bits.
func (e *Encoder) encodeEnergy(logE *[numBands]float32) {
	rc := &e.rc
	intra, inter := e.env, e.env
	start := *rc
	code := func(env *envelope, isIntra bool) {
		if rc.tell()+3 <= rc.bytes*8 {
			rc.bit(isIntra, 3)
		}
		env.coarse(rc, logE, e.lm, isIntra)
	}
	switch {
	case !e.started:
		code(&intra, true)
		e.env = intra
	case e.cfg.Complexity < withIntra:
		code(&inter, false)
		e.env = inter
	default:
		code(&intra, true)
		ifIntra := *rc
		*rc = start
		code(&inter, false)
		e.env = inter
		if ifIntra.tellFrac() < rc.tellFrac() {
			*rc = ifIntra
			e.env = intra
		}
	}
}

// encodeTF writes the time-frequency changes: flags, one per band and coded as
// changes, and sel, which table they mean. It replaces the flags by their meaning.
func (e *Encoder) encodeTF(tf *[numBands]int, sel int, transient bool) {
	rc := &e.rc
	budget := rc.bytes * 8
	t, first, next := 0, uint(4), uint(5)
	if transient {
		t, first, next = 1, 2, 4
	}
	reserve := rc.tell()+int(first)+1 <= budget
	if reserve {
		budget--
	}
	last, any, logp := 0, 0, first
	for b := range tf {
		if rc.tell()+int(logp) <= budget {
			rc.bit(tf[b] != last, logp)
			last = tf[b]
			any |= last
		} else {
			tf[b] = last
		}
		logp = next
	}
	table := &tfTable[e.lm-2][t]
	if reserve && table[0][any] != table[1][any] {
		rc.bit(sel == 1, 1)
	} else {
		sel = 0
	}
	for b := range tf {
		tf[b] = table[sel][tf[b]]
	}
}

// encodeBoost writes the dynamic allocation: boost holds the number of steps for
// each band and is replaced by the 1/8 bits they are. It returns the frame's
// 1/8 bits less the boosts.
func (e *Encoder) encodeBoost(boost *[numBands]int) int {
	rc := &e.rc
	total := rc.bytes * 8 * oneBit
	logp := 6
	for b, steps := range boost {
		w := widthOf(b) << e.lm
		step := min(w<<bitRes, max(6<<bitRes, w))
		limit := capOf(b, e.lm)
		given, p := 0, logp
		for i := 0; rc.tellFrac()+p<<bitRes < total && given < limit; i++ {
			rc.bit(i < steps, uint(p))
			if i >= steps {
				break
			}
			given += step
			total -= step
			p = 1
		}
		if given > 0 {
			logp = max(2, logp-1)
		}
		boost[b] = given
	}
	return total
}
