package wire

import "math"

const (
	windowSize  = 1024 // counters behind the newest that may still come
	windowWords = windowSize/64 + 1
)

// A window tells repeated counters from fresh ones, after RFC 6479: a ring of
// words in which moving on clears whole words, so no bits are shifted. The
// zero value has seen nothing.
type window struct {
	next uint64 // one past the newest counter seen
	bits [windowWords]uint64
}

// fresh reports whether c has not been seen and is not too old. The last of all
// counters is never fresh: there is no next one after it.
func (w *window) fresh(c uint64) bool {
	if c >= w.next {
		return c != math.MaxUint64
	}
	return w.next-c <= windowSize && w.bits[c/64%windowWords]&(1<<(c%64)) == 0
}

// mark notes that c has been seen. The caller has checked that it is fresh.
func (w *window) mark(c uint64) {
	if c >= w.next {
		from := w.next / 64
		if w.next%64 == 0 && w.next > 0 {
			from-- // the word of the newest counter is the one before
		}
		for i := uint64(1); i <= min(c/64-from, windowWords); i++ {
			w.bits[(from+i)%windowWords] = 0
		}
		w.next = c + 1
	}
	w.bits[c/64%windowWords] |= 1 << (c % 64)
}
