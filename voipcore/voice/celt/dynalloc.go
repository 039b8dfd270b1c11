package celt

// chooseTrim tilts the allocation towards where the energy is: from 0, treble,
// to 10, bass. Centre and slope were found with the measures: more tilt gives
// the bass, which speech lives in, a better SNR, and empties the treble.
func chooseTrim(logE *[numBands]float32, bitrate int) int {
	centre, span := float32(4.4), float32(1.5)
	if bitrate >= 30000 {
		centre, span = 5.5, 2
	}
	tilt := float32(0)
	for b, e := range logE {
		tilt -= e * float32(2*b-(numBands-1))
	}
	tilt *= 3.0 / (numBands * numBands)
	return int(centre + max(-span, min(tilt, span)) + 0.5)
}
