package celt

const (
	maxFineBits = 8
	fineOffset  = 21 // of the share of fine energy, in 1/8 bit
	oneBit      = 1 << bitRes
)

// An allocation says what a frame's bits are for (4.3.3).
type allocation struct {
	shape   [numBands]int  // for the shape of each band, in 1/8 bit
	fine    [numBands]int  // for its fine energy, in bits
	later   [numBands]bool // its last energy bit has to wait for the others'
	coded   int            // bands with a shape; those above get energy only
	balance int            // 1/8 bits handed on to the shapes
}

// capOf returns the most bits that a band can use, in 1/8.
func capOf(b int, lm uint) int {
	return (int(bandCaps[lm-2][b]) + 64) * (widthOf(b) << lm) >> 2
}

// widthOf returns the coefficients of a band in a 2.5 ms block.
func widthOf(b int) int { return bandEdges[b+1] - bandEdges[b] }

// allocate divides total (in 1/8 bit) among the bands, as the decoder will from
// the same numbers: the boosts and the trim that were sent. It could stop coding
// bands early, with a flag each that goes to rc; but keeping every band that is
// worth a shape sounds better at all rates.
func (a *allocation) allocate(rc *rangeCoder, lm uint, total, trim int, boost *[numBands]int) {
	total = max(total, 0)
	skipBit := 0
	if total >= oneBit {
		skipBit = oneBit
	}
	total -= skipBit

	// A band below its threshold is not worth a shape. The trim tilts the table.
	var threshold, tilt, limit [numBands]int
	for b := range threshold {
		w := widthOf(b)
		threshold[b] = max(oneBit, 3*w<<lm<<bitRes>>4)
		tilt[b] = w * (trim - 5 - int(lm)) * (numBands - 1 - b) << (lm + bitRes) >> 6
		if w<<lm == 1 {
			tilt[b] -= oneBit
		}
		limit[b] = capOf(b, lm)
	}
	vector := func(row, b int) int {
		bits := limit[b]
		if row < len(staticAllocation) {
			bits = widthOf(b) * int(staticAllocation[row][b]) << lm >> 2
		}
		if bits > 0 {
			bits = max(0, bits+tilt[b])
		}
		return bits
	}
	// cost is what a candidate takes in all. From the top down to the first band
	// that reaches its threshold, a band gets the minimum or nothing.
	cost := func(candidate func(b int) int) int {
		sum, reached := 0, false
		for b := numBands - 1; b >= 0; b-- {
			bits := candidate(b)
			if reached = reached || bits >= threshold[b]; reached {
				sum += min(bits, limit[b])
			} else if bits >= oneBit {
				sum += oneBit
			}
		}
		return sum
	}

	// The last vector of the table that fits, and the next.
	row := 0
	for lo, hi := 1, len(staticAllocation)-1; lo <= hi; {
		mid := (lo + hi) / 2
		if cost(func(b int) int { return vector(mid, b) + boost[b] }) > total {
			hi = mid - 1
		} else {
			lo = mid + 1
			row = mid
		}
	}
	var base, delta [numBands]int
	lowest := 0 // bands up to the last boosted one are always coded
	for b := range base {
		from, to := vector(row, b), vector(row+1, b)+boost[b]
		if row > 0 {
			from += boost[b]
		}
		if boost[b] > 0 {
			lowest = b
		}
		base[b], delta[b] = from, max(0, to-from)
	}
	// Between the two in steps of 1/64.
	part := 0
	for step := 32; step > 0; step /= 2 {
		try := part + step
		if cost(func(b int) int { return base[b] + try*delta[b]>>6 }) <= total {
			part = try
		}
	}
	sum, reached := 0, false
	for b := numBands - 1; b >= 0; b-- {
		bits := base[b] + part*delta[b]>>6
		if reached = reached || bits >= threshold[b]; !reached {
			if bits >= oneBit {
				bits = oneBit
			} else {
				bits = 0
			}
		}
		a.shape[b] = min(bits, limit[b])
		sum += a.shape[b]
	}

	// Drop bands from the top that are not worth it.
	a.coded = numBands
	for ; a.coded-1 > lowest; a.coded-- {
		b := a.coded - 1
		share := (total - sum) / bandEdges[a.coded]
		rest := total - sum - share*bandEdges[a.coded]
		bits := a.shape[b] + share*widthOf(b) + max(0, rest-bandEdges[b])
		if bits >= max(threshold[b], 2*oneBit) {
			rc.bit(true, 1)
			break
		}
		sum -= a.shape[b]
		a.shape[b] = 0
		if bits >= oneBit {
			sum += oneBit
			a.shape[b] = oneBit
		}
	}
	if a.coded-1 <= lowest {
		total += skipBit
	}

	// What is left goes to all coefficients alike.
	share := (total - sum) / bandEdges[a.coded]
	rest := total - sum - share*bandEdges[a.coded]
	for b := range a.coded {
		extra := min(rest, widthOf(b))
		rest -= extra
		a.shape[b] += share*widthOf(b) + extra
	}
	a.split(lm, &limit)
}

// split divides each band's bits between its shape and its fine energy.
func (a *allocation) split(lm uint, limit *[numBands]int) {
	over := 0 // what the bands before could not use
	for b := range a.coded {
		n := widthOf(b) << lm
		bits := a.shape[b] + over
		spare := 0
		if n > 1 {
			spare = max(0, bits-limit[b])
			bits -= spare
			log := n * (bandLog[b] + int(lm)<<bitRes)
			offset := log>>1 - n*fineOffset
			if n == 2 {
				offset += n << bitRes >> 2
			}
			// The second and the third bit come earlier than the rule says.
			switch {
			case bits+offset < n*2<<bitRes:
				offset += log >> 2
			case bits+offset < n*3<<bitRes:
				offset += log >> 3
			}
			fine := max(0, bits+offset+n<<(bitRes-1)) / (n << bitRes)
			fine = min(fine, bits>>bitRes, maxFineBits)
			a.fine[b] = fine
			a.later[b] = fine*(n<<bitRes) >= bits+offset
			bits -= fine << bitRes
		} else {
			spare = max(0, bits-oneBit)
			bits -= spare
			a.fine[b] = 0
			a.later[b] = true
		}
		if spare > 0 {
			extra := min(spare>>bitRes, maxFineBits-a.fine[b])
			a.fine[b] += extra
			a.later[b] = extra<<bitRes >= spare-over
			spare -= extra << bitRes
		}
		a.shape[b] = bits
		over = spare
	}
	a.balance = over
	for b := a.coded; b < numBands; b++ {
		a.fine[b] = a.shape[b] >> bitRes
		a.shape[b] = 0
		a.later[b] = a.fine[b] < 1
	}
}
