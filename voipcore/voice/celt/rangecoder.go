package celt

import "math/bits"

// maxPayload is the largest frame after the TOC byte: 64 kbit/s at 20 ms is 160 bytes.
const maxPayload = 160 - 1

const (
	// bitRes: the codec counts bits in units of 1/8 (RFC 6716, 4.1.6.2).
	bitRes = 3

	codeBits  = 31          // width of low without its carry bit
	codeTop   = 1 << 31     // size of the first range
	codeFloor = 1 << 23     // the range is kept above this
	codeMask  = codeTop - 1 // low without its carry bit
)

// rangeCoder is the entropy coder of RFC 6716, 5.1. Symbols are written from
// the front of the frame, raw bits from its end. It is a plain value: a copy is
// a point to come back to, which is how two ways to code a thing are compared.
//
// Unlike the RFC's description, bytes go straight into the buffer and a carry
// is added to the bytes that are there, so nothing has to be held back.
type rangeCoder struct {
	low   uint32 // bottom of the range, 31 bits
	size  uint32 // its size, above codeFloor between symbols
	spent int    // bits that left low, plus what was there at the start, plus raw bits

	front int // bytes written from the front
	back  int // bytes written from the end

	window     uint32 // raw bits that do not fill a byte yet
	windowBits int

	bytes int // size of the frame
	lost  bool
	buf   [maxPayload]byte
}

// reset prepares the coder for a frame of n bytes.
func (r *rangeCoder) reset(n int) {
	*r = rangeCoder{size: codeTop, spent: 33, bytes: n}
}

// tell returns the bits that are used so far, rounded up.
func (r *rangeCoder) tell() int {
	return r.spent - bits.Len32(r.size)
}

// tellFrac returns the bits that are used so far in units of 1/8, rounded up.
// Both sides steer by this number, so its rounding is part of the format.
func (r *rangeCoder) tellFrac() int {
	l := bits.Len32(r.size)
	m := r.size >> (l - 16)
	for range bitRes {
		m = m * m >> 15
		b := m >> 16
		l = l<<1 | int(b)
		m >>= b
	}
	return r.spent<<bitRes - l
}

// put appends the byte above low's lower 23 bits and carries into those before it.
func (r *rangeCoder) put(v uint32) {
	if v>>codeBits != 0 {
		i := r.front - 1
		for i >= 0 {
			r.buf[i]++
			if r.buf[i] != 0 {
				break
			}
			i--
		}
	}
	if r.front+r.back >= r.bytes {
		r.lost = true
		return
	}
	r.buf[r.front] = byte(v >> (codeBits - 8))
	r.front++
}

func (r *rangeCoder) normalize() {
	for r.size <= codeFloor {
		r.put(r.low)
		r.low = r.low << 8 & codeMask
		r.size <<= 8
		r.spent += 8
	}
}

// encode writes the symbol that owns [lo, hi) of total.
func (r *rangeCoder) encode(lo, hi, total uint32) {
	unit := r.size / total
	if lo > 0 {
		r.low += r.size - unit*(total-lo)
		r.size = unit * (hi - lo)
	} else {
		r.size -= unit * (total - hi)
	}
	r.normalize()
}

// encodeShift is encode for a total of 1<<shift, without the division.
func (r *rangeCoder) encodeShift(lo, hi uint32, shift uint) {
	unit := r.size >> shift
	if lo > 0 {
		r.low += r.size - unit*(1<<shift-lo)
		r.size = unit * (hi - lo)
	} else {
		r.size -= unit * (1<<shift - hi)
	}
	r.normalize()
}

// bit writes one flag that is set with a probability of 1 in 1<<logp.
func (r *rangeCoder) bit(set bool, logp uint) {
	s := r.size >> logp
	if set {
		r.low += r.size - s
		r.size = s
	} else {
		r.size -= s
	}
	r.normalize()
}

// symbol writes symbol s of a distribution: cdf[s] to cdf[s+1], in 1<<shift.
func (r *rangeCoder) symbol(s int, cdf []uint8, shift uint) {
	r.encodeShift(uint32(cdf[s]), uint32(cdf[s+1]), shift)
}

// uniform writes v of total equally likely values, total at least 2.
func (r *rangeCoder) uniform(v, total uint32) {
	total--
	extra := bits.Len32(total) - 8
	if extra <= 0 {
		r.encode(v, v+1, total+1)
		return
	}
	top := v >> extra
	r.encode(top, top+1, total>>extra+1)
	r.raw(v&(1<<extra-1), extra)
}

// raw writes the n lowest bits of v to the end of the frame, n at most 25.
func (r *rangeCoder) raw(v uint32, n int) {
	if r.windowBits+n > 32 {
		r.flushWindow()
	}
	r.window |= v << r.windowBits
	r.windowBits += n
	r.spent += n
}

// flushWindow writes the whole bytes of the raw bits.
func (r *rangeCoder) flushWindow() {
	for r.windowBits >= 8 {
		if r.front+r.back >= r.bytes {
			r.lost = true
			return
		}
		r.back++
		r.buf[r.bytes-r.back] = byte(r.window)
		r.window >>= 8
		r.windowBits -= 8
	}
}

// finish writes what identifies the last range and the rest of the raw bits.
// It reports whether everything fitted; the encoder budgets so that it does.
func (r *rangeCoder) finish() bool {
	// The fewest bits that stay inside the range whatever follows them.
	n := codeBits + 1 - bits.Len32(r.size)
	mask := uint32(codeMask) >> n
	end := (r.low + mask) &^ mask
	if end|mask >= r.low+r.size {
		n++
		mask >>= 1
		end = (r.low + mask) &^ mask
	}
	for n > 0 {
		r.put(end)
		end = end << 8 & codeMask
		n -= 8
	}
	r.flushWindow()
	if r.windowBits > 0 {
		// The last raw bits may share a byte with the range coder's, which
		// used all but -n bits of it.
		switch {
		case r.front+r.back < r.bytes:
		case r.windowBits > -n:
			r.lost = true
		}
		if !r.lost {
			r.buf[r.bytes-r.back-1] |= byte(r.window)
		}
	}
	return !r.lost
}
