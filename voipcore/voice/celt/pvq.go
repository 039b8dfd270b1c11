package celt

import "math"

// Spreading of a band's pulses, from none to the most (4.3.4.3).
const (
	spreadNone = iota
	spreadLight
	spreadNormal
	spreadAggressive
)

// pulsesOf returns the pulses that entry q of a pulseBits row stands for: all
// numbers up to 8, then ever wider steps.
func pulsesOf(q int) int {
	if q < 8 {
		return q
	}
	return (8 + q&7) << (q>>3 - 1)
}

// costOf returns the cost of entry q of a row in 1/8 bit.
func costOf(row []uint8, q int) int {
	if q == 0 {
		return 0
	}
	return int(row[q]) + 1
}

// entryFor returns the entry of a row whose cost is closest to bits.
func entryFor(row []uint8, bits int) int {
	lo, hi := 0, int(row[0])
	bits--
	for range 6 {
		mid := (lo + hi + 1) / 2
		if int(row[mid]) >= bits {
			hi = mid
		} else {
			lo = mid
		}
	}
	below := -1
	if lo > 0 {
		below = int(row[lo])
	}
	if bits-below <= int(row[hi])-bits {
		return lo
	}
	return hi
}

// rotate spreads a sparse vector over its neighbours: the inverse of what
// the decoder does with it. Each of the blocks is turned on its own.
func rotate(x []float32, blocks, pulses, spread int) {
	if spread == spreadNone || 2*pulses >= len(x) {
		return
	}
	factor := [...]int{spreadLight: 15, spreadNormal: 10, spreadAggressive: 5}[spread]
	gain := float32(len(x)) / float32(len(x)+factor*pulses)
	sin64, cos64 := math.Sincos(math.Pi / 4 * float64(gain*gain))
	sin, cos := float32(sin64), float32(cos64)

	// Long blocks get a second turn, between neighbours at about the square root of the length.
	far := 0
	if len(x) >= 8*blocks {
		for far = 1; (far*far+far)*blocks+blocks>>2 < len(x); far++ {
		}
	}
	n := len(x) / blocks
	for b := range blocks {
		block := x[b*n : (b+1)*n]
		turn(block, 1, cos, -sin)
		if far > 0 {
			turn(block, far, sin, -cos)
		}
	}
}

// turn rotates the pairs of coefficients that are stride apart, up and then down again.
func turn(x []float32, stride int, cos, sin float32) {
	if stride >= len(x) {
		return
	}
	lo, hi := x[:len(x)-stride], x[stride:]
	hi = hi[:len(lo)]
	for i, a := range lo {
		b := hi[i]
		lo[i] = cos*a - sin*b
		hi[i] = cos*b + sin*a
	}
	for i := len(lo) - stride - 1; i >= 0; i-- {
		a, b := lo[i], hi[i]
		lo[i] = cos*a - sin*b
		hi[i] = cos*b + sin*a
	}
}

// A searcher finds pulse vectors. It is scratch space only.
type searcher struct {
	polish bool              // look for better places when all pulses are placed
	mag    [maxWidth]float32 // magnitudes of the target
	twice  [maxWidth]float32 // twice the pulses so far, plus one
	pulse  [maxWidth]int32   // the result, with signs
}

// search fills pulse[:len(x)] with the k pulses that point closest to x, that is
// those of the greatest correlation for their length. It starts from the
// projection where there are many pulses and then adds them one by one (5.3.8.1).
func (s *searcher) search(x []float32, k int) {
	n := len(x)
	mag, twice, pulse := s.mag[:n], s.twice[:n], s.pulse[:n]
	sum := float32(0)
	for i, v := range x {
		v = math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
		mag[i] = v
		sum += v
		twice[i] = 1
		pulse[i] = 0
	}
	if !(sum > 1e-15 && sum < 1e15) {
		// No direction to speak of: any vector will do.
		clear(mag)
		mag[0], sum = 1, 1
	}
	left := k
	var dot, energy float32 // of the pulses with the target, and with themselves
	if k > n/2 {
		scale := (float32(k) + 0.8) / sum
		for i, v := range mag {
			p := int32(scale * v)
			pulse[i] = p
			q := float32(p)
			dot += q * v
			energy += q * q
			twice[i] = 2*q + 1
			left -= int(p)
		}
	}
	// Rounding could only ever leave too many if one coefficient is all there is.
	for ; left < 0; left++ {
		for i, p := range pulse {
			if p > 0 {
				pulse[i]--
				twice[i] -= 2
				dot -= mag[i]
				energy -= twice[i]
				break
			}
		}
	}
	for ; left > 0; left-- {
		best := 0
		d := dot + mag[0]
		bestNum, bestDen := d*d, energy+twice[0]
		for i := 1; i < len(mag); i++ {
			d = dot + mag[i]
			d *= d
			e := energy + twice[i]
			if d*bestDen > bestNum*e {
				best, bestNum, bestDen = i, d, e
			}
		}
		dot += mag[best]
		energy += twice[best]
		twice[best] += 2
		pulse[best]++
	}
	if s.polish {
		s.move(n, dot, energy)
	}
	for i, v := range x {
		// Without a branch: signs are random, so one would be missed half the time.
		sign := int32(math.Float32bits(v)) >> 31
		pulse[i] = pulse[i] ^ sign - sign
	}
}

// move takes pulses away where that hurts least, one at a time, and puts them where
// they are best, as long as that is another place.
func (s *searcher) move(n int, dot, energy float32) {
	mag, twice, pulse := s.mag[:n], s.twice[:n], s.pulse[:n]
	for range 4 {
		from, fromNum, fromDen := -1, float32(-1), float32(1)
		for i, p := range pulse {
			if p == 0 {
				continue
			}
			d := dot - mag[i]
			d *= d
			e := energy - twice[i] + 2
			if d*fromDen > fromNum*e {
				from, fromNum, fromDen = i, d, e
			}
		}
		if from < 0 || fromDen <= 0 {
			break
		}
		d0, e0 := dot-mag[from], energy-twice[from]+2
		to, num, den := from, dot*dot, energy
		for i, m := range mag {
			d := d0 + m
			d *= d
			e := e0 + twice[i]
			if i != from && d*den > num*e {
				to, num, den = i, d, e
			}
		}
		if to == from {
			break
		}
		pulse[from]--
		twice[from] -= 2
		dot, energy = d0+mag[to], e0+twice[to]
		pulse[to]++
		twice[to] += 2
	}
}

// counts[r][c] is U(n, k) of 4.3.4.2 for r = min(n, k) and c = max(n, k): the
// number of vectors of n coefficients with k pulses of which the first is not
// negative and, if zero, followed by a first positive one. A codebook fits
// 32 bits, so the smaller of the two never exceeds 14 or the other's bound.
var counts = func() (u [15][maxWidth + 1]uint32) {
	u[0][0] = 1
	for c := 1; c <= maxWidth; c++ {
		u[1][c] = 1
	}
	at := func(n, k int) uint32 { return u[min(n, k)][max(n, k)] }
	for r := 2; r < len(u); r++ {
		for c := r; c <= maxWidth; c++ {
			// Overflow in the corner that is never used does no harm.
			u[r][c] = at(r-1, c) + at(r, c-1) + at(r-1, c-1)
		}
	}
	return u
}()

func count(n, k int) uint32 {
	if n < k {
		return counts[n][k]
	}
	return counts[k][n]
}

// codeword returns which of the vectors with k pulses y is, and of how many.
func codeword(y []int32, k int) (index, total uint32) {
	total = count(len(y), k) + count(len(y), k+1)
	for i, v := range y {
		n := len(y) - i
		if v < 0 {
			index += count(n, k+1)
			v = -v
		}
		k -= int(v)
		if k == 0 {
			break
		}
		index += count(n, k)
	}
	return index, total
}
