package celt

import (
	"math"
	"math/bits"
)

// A shaper writes the shapes of the bands (4.3.4). The decoder fills what gets no
// pulses by folding; nothing of that shows in the bits, so here it is absent.
type shaper struct {
	rc        *rangeCoder
	lm        uint
	transient bool
	spread    int
	band      int // the one being coded
	remaining int // 1/8 bits left in the frame

	search  searcher
	scratch [maxWidth]float32
}

// encode writes all shapes. total is the frame's bits in 1/8, without what is kept back.
func (s *shaper) encode(spectrum []float32, a *allocation, tf *[numBands]int, total int) {
	blocks := 1
	if s.transient {
		blocks = 1 << s.lm
	}
	balance := a.balance
	for b := range numBands {
		used := s.rc.tellFrac()
		if b > 0 {
			balance -= used
		}
		s.band = b
		s.remaining = total - used - 1
		share := 0
		if b < a.coded {
			share = a.shape[b] + balance/min(3, a.coded-b)
			share = max(0, min(share, s.remaining+1, 1<<14-1))
		}
		s.encodeBand(spectrum[bandEdges[b]<<s.lm:bandEdges[b+1]<<s.lm], share, blocks, tf[b])
		balance += a.shape[b] + used
	}
}

// encodeBand writes one band, of which x is used up. A positive tf joins short
// blocks for a finer resolution in frequency, a negative one divides in time.
func (s *shaper) encodeBand(x []float32, share, blocks, tf int) {
	if len(x) == 1 {
		if s.remaining >= oneBit {
			s.rc.raw(math.Float32bits(x[0])>>31, 1)
			s.remaining -= oneBit
		}
		return
	}
	long := blocks == 1
	blocks = changeResolution(x, blocks, tf)
	if blocks > 1 {
		join := max(tf, 0)
		s.unweave(x, blocks<<join, long)
	}
	s.encodePart(x, share, blocks, int(s.lm))
}

// changeResolution returns the number of blocks after the change.
func changeResolution(x []float32, blocks, tf int) int {
	for k := 0; k < tf; k++ {
		haar(x, 1<<k)
	}
	if tf > 0 {
		blocks >>= tf
	}
	for ; tf < 0 && len(x)/blocks&1 == 0; tf++ {
		haar(x, blocks)
		blocks <<= 1
	}
	return blocks
}

// haar replaces the pairs that are stride apart by their sum and difference.
func haar(x []float32, stride int) {
	const h = math.Sqrt2 / 2
	if stride == 1 {
		for ; len(x) >= 2; x = x[2:] {
			a, b := h*x[0], h*x[1]
			x[0], x[1] = a+b, a-b
		}
		return
	}
	for ; len(x) >= 2*stride; x = x[2*stride:] {
		lo, hi := x[:stride], x[stride:2*stride]
		for i := range lo {
			a, b := h*lo[i], h*hi[i]
			lo[i], hi[i] = a+b, a-b
		}
	}
}

// hadamardOrder puts the blocks that were made from one long one in the order
// of their sequency; it starts at index blocks-2.
var hadamardOrder = [...]uint8{
	1, 0,
	3, 0, 2, 1,
	7, 0, 4, 3, 6, 1, 5, 2,
	15, 0, 8, 7, 12, 3, 11, 4, 14, 1, 9, 6, 13, 2, 10, 5,
}

// unweave puts the coefficients of each block side by side.
func (s *shaper) unweave(x []float32, blocks int, long bool) {
	n := len(x) / blocks
	copy(s.scratch[:], x)
	for b := range blocks {
		to := b
		if long {
			to = int(hadamardOrder[blocks-2+b])
		}
		dst := x[to*n : (to+1)*n]
		from := b
		for j := range dst {
			dst[j] = s.scratch[from]
			from += blocks
		}
	}
}

// encodePart writes a band or a part of one, splitting it while its bits are more
// than a codebook can use. lm is -1 to 3: the part's size.
func (s *shaper) encodePart(x []float32, share, blocks, lm int) {
	row := s.row(lm)
	if lm >= 0 && len(x) > 2 && row != nil && share > int(row[row[0]])+12 {
		s.splitPart(x, share, blocks, lm-1)
		return
	}
	if row == nil {
		return
	}
	q := entryFor(row, share)
	cost := costOf(row, q)
	s.remaining -= cost
	for s.remaining < 0 && q > 0 {
		s.remaining += cost
		q--
		cost = costOf(row, q)
		s.remaining -= cost
	}
	if q == 0 {
		return
	}
	k := pulsesOf(q)
	rotate(x, blocks, k, s.spread)
	s.search.search(x, k)
	s.rc.uniform(codeword(s.search.pulse[:len(x)], k))
}

func (s *shaper) row(lm int) []uint8 {
	at := pulseIndex[lm+1][s.band]
	if at < 0 {
		return nil
	}
	return pulseBits[at:]
}

// splitPart writes the angle between the two halves of x, and then each half
// with a share of the bits that follows from the angle.
func (s *shaper) splitPart(x []float32, share, blocks, lm int) {
	n := len(x) / 2
	lo, hi := x[:n], x[n:]
	halfBlocks := (blocks + 1) / 2

	limit := bandLog[s.band] + lm<<bitRes
	steps := thetaSteps(n, share, limit)
	before := s.rc.tellFrac()
	theta := 0
	if steps > 1 {
		q := quantizeAngle(lo, hi, steps)
		if blocks > 1 {
			// A half with less bits than nothing would be filled with noise.
			if q > 0 && q < steps {
				switch d := imbalance(n, q*16384/steps); {
				case d > share:
					q = steps
				case d < -share:
					q = 0
				}
			}
			s.rc.uniform(uint32(q), uint32(steps+1))
		} else {
			writeTriangular(s.rc, q, steps)
		}
		theta = q * 16384 / steps
	}
	spent := s.rc.tellFrac() - before
	share -= spent
	s.remaining -= spent

	delta := imbalance(n, theta)
	if blocks > 1 && theta&0x3fff != 0 {
		// In time, what comes first masks what follows.
		if theta > 8192 {
			delta -= delta >> (4 - lm)
		} else {
			delta = min(0, delta+n<<bitRes>>(5-lm))
		}
	}
	first := max(0, min(share, (share-delta)/2))
	second := share - first

	// The half with more bits goes first and hands on what it could not use.
	had := s.remaining
	if first >= second {
		s.encodePart(lo, first, halfBlocks, lm)
		if unused := first - (had - s.remaining); unused > 3*oneBit && theta != 0 {
			second += unused - 3*oneBit
		}
		s.encodePart(hi, second, halfBlocks, lm)
	} else {
		s.encodePart(hi, second, halfBlocks, lm)
		if unused := second - (had - s.remaining); unused > 3*oneBit && theta != 16384 {
			first += unused - 3*oneBit
		}
		s.encodePart(lo, first, halfBlocks, lm)
	}
}

// thetaSteps returns how finely an angle is coded for a half of n coefficients.
func thetaSteps(n, share, limit int) int {
	exp := [8]int{16384, 17866, 19483, 21247, 23170, 25267, 27554, 30048} // 2^(14+i/8)
	weight := 2*n - 1
	q := (share + weight*(limit>>1-4)) / weight
	q = min(q, share-limit-4*oneBit, 8*oneBit)
	if q < oneBit/2 {
		return 1
	}
	return (exp[q&7]>>(14-q>>bitRes) + 1) >> 1 << 1
}

// imbalance returns how many 1/8 bits more the second half needs than the first,
// for an angle from 0 to 16384.
func imbalance(n, theta int) int {
	switch theta {
	case 0:
		return -16384
	case 16384:
		return 16384
	}
	return mul15((n-1)<<7, log2Tan(cosine(16384-theta), cosine(theta)))
}

// quantizeAngle returns the angle between the halves in steps from 0 to a right angle.
func quantizeAngle(lo, hi []float32, steps int) int {
	var a, b float32
	for _, v := range lo {
		a += v * v
	}
	for _, v := range hi {
		b += v * v
	}
	if a+b <= 0 {
		return 0
	}
	return int(float32(steps)*quarterTurns(sqrt32(b), sqrt32(a)) + 0.5)
}

// quarterTurns is the arc tangent of y/x in right angles, for y and x not negative.
func quarterTurns(y, x float32) float32 {
	swap := y > x
	if swap {
		y, x = x, y
	}
	t := y / x
	t2 := t * t
	// Minimax polynomial of degree 9 (Abramowitz and Stegun 4.4.49), in quarter turns: error below 1e-5.
	const q = 2 / math.Pi
	a := t * (0.9998660*q + t2*(-0.3302995*q+t2*(0.1801410*q+t2*(-0.0851330*q+t2*0.0208351*q))))
	if swap {
		return 1 - a
	}
	return a
}

// writeTriangular writes v of 0 to steps with a probability that falls from the
// middle to both ends.
func writeTriangular(rc *rangeCoder, v, steps int) {
	half := steps / 2
	total := (half + 1) * (half + 1)
	share, lo := v+1, v*(v+1)/2
	if v > half {
		share = steps + 1 - v
		lo = total - share*(share+1)/2
	}
	rc.encode(uint32(lo), uint32(lo+share), uint32(total))
}

// The three below are defined by their integer arithmetic (4.3.4.4): both sides
// must come to the same bits.

func mul15(a, b int) int { return (16384 + int(int16(a))*int(int16(b))) >> 15 }

// cosine is 32768 times the cosine of a quarter turn times x/16384.
func cosine(x int) int {
	s := (4096 + x*x) >> 13
	return 1 + 32767 - s + mul15(s, -7651+mul15(s, 8277+mul15(-626, s)))
}

// log2Tan is 2048 times the log2 of sin/cos.
func log2Tan(sin, cos int) int {
	lc, ls := bits.Len(uint(cos)), bits.Len(uint(sin))
	cos <<= 15 - lc
	sin <<= 15 - ls
	return (ls-lc)<<11 + mul15(sin, mul15(sin, -2597)+7932) - mul15(cos, mul15(cos, -2597)+7932)
}
