package alsa

import (
	"encoding/binary"
	"fmt"
)

// A Format is how the card wants its samples; the numbers are the kernel's,
// SNDRV_PCM_FORMAT_*.
type Format int

const (
	S16   Format = 2  // 16 bits, little endian
	S24   Format = 6  // 24 bits in the low three of four bytes
	S32   Format = 10 // 32 bits
	S24_3 Format = 32 // 24 bits in three bytes, as many USB cards have it
)

// formats are the ones that we convert, best first: what needs least work.
var formats = [...]Format{S16, S32, S24_3, S24}

// String returns the name that aplay knows.
func (f Format) String() string {
	switch f {
	case S16:
		return "S16_LE"
	case S24:
		return "S24_LE"
	case S32:
		return "S32_LE"
	case S24_3:
		return "S24_3LE"
	}
	return fmt.Sprintf("format %d", int(f))
}

// bytes is the size of a sample, 0 for a format that is not ours.
func (f Format) bytes() int {
	switch f {
	case S16:
		return 2
	case S24_3:
		return 3
	case S24, S32:
		return 4
	}
	return 0
}

// layout is how a frame lies in the card's buffer.
type layout struct {
	format   Format
	channels int
}

func (l layout) frameBytes() int { return l.format.bytes() * l.channels }

// put writes samples into dst, one frame for each: the same sound on the first
// two channels, silence on the others. dst has room for them.
func (l layout) put(dst []byte, samples []int16) {
	size, step := l.format.bytes(), l.frameBytes()
	loud := min(l.channels, 2)
	for _, s := range samples {
		for c := range l.channels {
			v := s
			if c >= loud {
				v = 0
			}
			b := dst[c*size:]
			switch l.format {
			case S16:
				binary.LittleEndian.PutUint16(b, uint16(v))
			case S24_3:
				b[0], b[1], b[2] = 0, byte(v), byte(v>>8)
			case S24:
				binary.LittleEndian.PutUint32(b, uint32(int32(v)<<8))
			case S32:
				binary.LittleEndian.PutUint32(b, uint32(int32(v)<<16))
			}
		}
		dst = dst[step:]
	}
}

// take reads one sample of each frame in src: of channel listen (from 1), or
// the mean of the first two when listen is 0. src holds len(samples) frames.
func (l layout) take(samples []int16, src []byte, listen int) {
	size, step := l.format.bytes(), l.frameBytes()
	one := l.channels == 1
	if listen > l.channels {
		listen = 0
	}
	for i := range samples {
		switch {
		case one:
			samples[i] = l.sample(src)
		case listen > 0:
			samples[i] = l.sample(src[(listen-1)*size:])
		default:
			samples[i] = int16((int32(l.sample(src)) + int32(l.sample(src[size:]))) >> 1)
		}
		src = src[step:]
	}
}

// sample reads one, rounded to 16 bits.
func (l layout) sample(b []byte) int16 {
	switch l.format {
	case S24_3:
		return round16(int32(b[0])<<8 | int32(b[1])<<16 | int32(b[2])<<24)
	case S24:
		return round16(int32(binary.LittleEndian.Uint32(b) << 8))
	case S32:
		return round16(int32(binary.LittleEndian.Uint32(b)))
	}
	return int16(binary.LittleEndian.Uint16(b))
}

// round16 keeps the upper half, rounded: cutting it off would add a constant.
func round16(v int32) int16 {
	if v > 0x7fff7fff {
		return 0x7fff
	}
	return int16((v + 0x8000) >> 16)
}
