package celt

import "math"

// A tfChooser decides for each band between a finer resolution in time and one in frequency.
type tfChooser struct {
	work [maxWidth]float32
}

// choose returns the flags of the bands and which of the two tables they mean.
//
// A shape is cheaper the fewer coefficients it is made of, and the sum of
// magnitudes is what tells that for a vector of length one. Of all ways to set
// the flags the one is taken that saves most, less the cost of the flags.
func (c *tfChooser) choose(spectrum []float32, logE *[numBands]float32, lm uint, transient bool) (flags [numBands]int, sel int) {
	t, first, next := 0, float32(4), float32(5)
	if transient {
		t, first, next = 1, 2, 4
	}
	table := &tfTable[lm-2][t]

	// price[b][i] is for change i-3, from -3 to 3, in bits.
	var price [numBands][7]float32
	quiet := loudest(logE) - idleBelow
	for b := range price {
		if logE[b] < quiet {
			continue // any will do
		}
		c.price(spectrum[bandEdges[b]<<lm:bandEdges[b+1]<<lm], lm, transient, &price[b])
	}
	bestCost := float32(0)
	for s := range 2 {
		// The cheapest way to each flag of each band, from the lowest band up.
		var from [numBands][2]int
		var cost [2]float32
		for b := range price {
			change := next
			if b == 0 {
				change = first
			}
			var then [2]float32
			for flag := range 2 {
				stay, turn := cost[flag], cost[1-flag]+change
				if b == 0 {
					stay, turn = change*float32(flag), 1e9
				}
				from[b][flag] = flag
				then[flag] = stay
				if turn < stay {
					from[b][flag] = 1 - flag
					then[flag] = turn
				}
				then[flag] += price[b][table[s][flag]+3]
			}
			cost = then
		}
		flag := 0
		if cost[1] < cost[0] {
			flag = 1
		}
		if total := cost[flag]; s == 0 || total < bestCost {
			bestCost, sel = total, s
			for b := numBands - 1; b >= 0; b-- {
				flags[b] = flag
				flag = from[b][flag]
			}
		}
	}
	return flags, sel
}

// price measures a band at all resolutions it can have.
func (c *tfChooser) price(x []float32, lm uint, transient bool, price *[7]float32) {
	weight := tfWeight * float32(len(x))
	work := c.work[:len(x)]
	copy(work, x)
	base := log2(magnitude(x))
	if transient {
		blocks := 1 << lm
		if len(x)/blocks&1 == 0 {
			price[2] = weight * (log2(haarMagnitude(x, blocks)) - base)
		}
		price[4] = weight * (log2(haarMagnitude(x, 1)) - base)
		haar(work, 1)
		if lm == 3 {
			haar(work, 2)
		}
		price[3+lm] = weight * (log2(haarMagnitude(work, 1<<(lm-1))) - base)
		return
	}
	haar(work, 1)
	price[1] = weight * (log2(haarMagnitude(work, 2)) - base)
	price[0] = price[1]
	if len(x)&7 == 0 {
		haar(work, 2)
		price[0] = weight * (log2(haarMagnitude(work, 4)) - base)
	}
}

// tfWeight is how many bits a coefficient saves for half the magnitude.
const tfWeight = 0.5

const signless = 1<<31 - 1 // a float32 without its sign

// magnitude is the sum of all magnitudes, and never zero.
func magnitude(x []float32) float32 {
	sum := float32(1e-15)
	for _, v := range x {
		sum += math.Float32frombits(math.Float32bits(v) & signless)
	}
	return sum
}

// haarMagnitude is the magnitude that x would have after haar: for each pair
// |a+b| + |a-b|, which is twice the greater of the two.
func haarMagnitude(x []float32, stride int) float32 {
	sum := float32(1e-15)
	if stride == 1 {
		for ; len(x) >= 2; x = x[2:] {
			// Positive numbers compare like their bits.
			a, b := math.Float32bits(x[0])&signless, math.Float32bits(x[1])&signless
			sum += math.Float32frombits(max(a, b))
		}
		return math.Sqrt2 * sum
	}
	for ; len(x) >= 2*stride; x = x[2*stride:] {
		lo, hi := x[:stride], x[stride:2*stride]
		for i, v := range lo {
			a, b := math.Float32bits(v)&signless, math.Float32bits(hi[i])&signless
			sum += math.Float32frombits(max(a, b))
		}
	}
	return math.Sqrt2 * sum
}

// writeTF writes the time-frequency changes: flags, one per band and coded as
// changes, and sel, which table they mean. It replaces the flags by their meaning.
func writeTF(rc *rangeCoder, tf *[numBands]int, sel int, lm uint, transient bool) {
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
	table := &tfTable[lm-2][t]
	if reserve && table[0][any] != table[1][any] {
		rc.bit(sel == 1, 1)
	} else {
		sel = 0
	}
	for b := range tf {
		tf[b] = table[sel][tf[b]]
	}
}
