package celt

// encodeSilence writes a frame that is silent.
func (e *Encoder) encodeSilence() {
	e.rc.bit(true, 15)
	for b := range e.env.value {
		e.env.value[b] = silenceEnergy
	}
	e.runs = 0
	e.started = false
}

// encodeFrame writes a frame of n samples from e.in, in the order of RFC 6716,
// table 56. Even the smallest frame, of 152 bits, has room for what comes before the energy.
func (e *Encoder) encodeFrame(n int, next comb) {
	rc, lm := &e.rc, e.lm
	budget := e.payload * 8
	rc.bit(false, 15) // not silent
	next.write(rc)

	transient := e.has(shortBlocks) && attack(e.in[:n+shortLen]) > attackLimit
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
	if e.has(timeFrequency) {
		tf, sel = e.tf.choose(e.spectrum[:], &logE, lm, transient)
	} else if transient {
		for b := range tf {
			tf[b] = 1 // leave the short blocks as they are
		}
	}
	writeTF(rc, &tf, sel, lm, transient)
	spread := spreadNormal // what it is if there is no room to say
	if rc.tell()+4 <= budget {
		spread = spreadNone // which costs nothing
		if e.has(spreading) {
			spread = chooseSpread(e.spectrum[:], lm)
		}
		rc.symbol(spread, spreadCDF, 5)
	}
	var boost [numBands]int
	if e.has(boosts) {
		boost = chooseBoost(&logE, e.bitrate, budget)
	}
	left := writeBoost(rc, &boost, lm)
	trim := 5 // likewise
	if rc.tellFrac()+6*oneBit <= left {
		if e.has(tilt) {
			trim = chooseTrim(&logE, e.bitrate)
		}
		rc.symbol(trim, trimCDF, 7)
	}

	total := budget*oneBit - rc.tellFrac() - 1
	kept := 0 // for the flag of anti-collapse
	if transient && total >= (int(lm)+2)*oneBit {
		kept = oneBit
	}
	var a allocation
	a.allocate(rc, lm, total-kept, trim, &boost)
	e.env.fine(rc, &a.fine)

	e.shaper.rc, e.shaper.lm, e.shaper.transient, e.shaper.spread = rc, lm, transient, spread
	e.shaper.encode(e.spectrum[:], &a, &tf, budget*oneBit-kept)
	if kept > 0 {
		// After some frames of short blocks noise is what the sound is like.
		on := uint32(0)
		if e.runs < 2 && e.has(antiCollapse) {
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
	case !e.has(intraEnergy):
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
