package main

import (
	"math"
	"time"

	"hushbell/voipcore/voice/heard"
)

// The beep of a box that answers by itself: 2400 Hz, twice 150 ms (package tone).
const (
	beepHz   = 2400
	beepLong = 300 * time.Millisecond
)

const window = heard.RateHz / 50 // 20 ms: a whole number of periods of the beep

// beeped tells how long the beep's tone, and nothing beside it, is in a
// recording.
func beeped(recording []int16) (d time.Duration) {
	for ; len(recording) >= window; recording = recording[window:] {
		if isTone(recording[:window], beepHz) {
			d += 20 * time.Millisecond
		}
	}
	return d
}

// isTone reports whether nine tenths of the power are at one frequency, and that
// is louder than a whisper.
func isTone(pcm []int16, hz float64) bool {
	var re, im, power float64
	for i, v := range pcm {
		sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / heard.RateHz)
		re, im = re+float64(v)*cos, im+float64(v)*sin
		power += float64(v) * float64(v)
	}
	n := float64(len(pcm))
	return power/n > 100*100 && 2*(re*re+im*im)/n > 0.9*power
}
