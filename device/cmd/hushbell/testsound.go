package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"hushbell/alsa"
	"hushbell/board"
)

const (
	frameTime = alsa.FrameSamples * time.Second / alsa.Rate
	// How loud tests play: 12 dB below the loudest, as speech has it on average,
	// which a small speaker can do and nobody is frightened by.
	testAmplitude = 32767 / 4
)

// openSpeaker and openMicrophone say what can be done if they cannot.
func (t *partTest) openSpeaker() (player, error) {
	p, err := t.playback(t.wiring.Speaker.Device)
	return p, withRemedy(err, board.SoundRemedy(err))
}

func (t *partTest) openMicrophone() (recorder, error) {
	c, err := t.capture(t.wiring.Microphone.Device)
	return c, withRemedy(err, board.SoundRemedy(err))
}

// tones is sample i of three tones of half a second, over and over, with a gap
// after each and soft ends.
func tones(i int) int16 {
	const step, length, ramp = alsa.Rate / 2, alsa.Rate * 2 / 5, alsa.Rate / 100
	hz := [...]float64{440, 660, 880}[i/step%3]
	i %= step
	soft := min(float64(i)/ramp, float64(length-i)/ramp, 1)
	if soft <= 0 {
		return 0
	}
	return int16(testAmplitude * soft * math.Sin(2*math.Pi*hz*float64(i)/alsa.Rate))
}

func (t *partTest) speaker(ctx context.Context) error {
	p, err := t.openSpeaker()
	if err != nil {
		return err
	}
	defer p.Close()
	t.say("Three tones, each higher than the one before, on %s. The test ends in %v, or with Ctrl-C.", p.Device(), t.limit)
	var frame [alsa.FrameSamples]int16
	n := 0
	for ; ctx.Err() == nil && time.Duration(n)*frameTime < t.limit; n++ {
		for i := range frame {
			frame[i] = tones(n*len(frame) + i)
		}
		if err := p.Write(frame[:]); err != nil {
			return withRemedy(err, board.SoundRemedy(err))
		}
	}
	xruns := p.Xruns() // at the end there is one
	// What is queued is to be heard before the device is closed.
	select {
	case <-time.After(time.Duration(p.Delay()) * time.Second / alsa.Rate):
	case <-ctx.Done():
	}
	t.say("The device took %v of sound; it ran dry %d times.", time.Duration(n)*frameTime, xruns)
	return nil
}

// decibels is a level relative to the loudest.
func decibels(level float64) float64 { return 20 * math.Log10(max(level, 0.1)/32768) }

const (
	// deadSilence is a peak that any live microphone is above: its noise, and the
	// last bits of the converter.
	deadSilence = 2
	clipped     = 32700
	meterWidth  = 40
	meterFloor  = -60 // dB at the meter's left end
)

// meter is a bar for a peak, and how loud it is.
func meter(peak int) string {
	db := decibels(float64(peak))
	n := min(max(int((db-meterFloor)*meterWidth/-meterFloor), 0), meterWidth)
	return fmt.Sprintf("[%s%s] %6.1f dB", strings.Repeat("#", n), strings.Repeat(" ", meterWidth-n), db)
}

func (t *partTest) microphone(ctx context.Context) error {
	c, err := t.openMicrophone()
	if err != nil {
		return err
	}
	defer c.Close()
	t.say("Speak into the microphone of %s. The test ends in %v, or with Ctrl-C.", c.Device(), t.limit)
	every, end := 50, "\n" // frames between two bars
	if isTerminal(t.out) {
		every, end = 5, "\r"
	}
	var frame [alsa.FrameSamples]int16
	peak, loudest, clips := 0, 0, 0
	n := 0
	for ; ctx.Err() == nil && time.Duration(n)*frameTime < t.limit; n++ {
		if err := c.Read(frame[:]); err != nil {
			return withRemedy(err, board.SoundRemedy(err))
		}
		for _, s := range frame {
			level := int(s)
			if level < 0 {
				level = -level
			}
			peak = max(peak, level)
			if level >= clipped {
				clips++
			}
		}
		loudest = max(loudest, peak)
		if n%every == every-1 {
			fmt.Fprint(t.out, meter(peak), end)
			peak = 0
		}
	}
	if end == "\r" {
		t.say("")
	}
	if n == 0 {
		return errors.New("it was ended before anything was heard")
	}
	if loudest <= deadSilence {
		return fmt.Errorf("%s gives dead silence: the microphone is switched off, mute in the mixer, or not connected", c.Device())
	}
	t.say("Loudest: %.1f dB; sound was lost %d times.", decibels(float64(loudest)), c.Xruns())
	if clips > 0 {
		t.say("It was too loud for the converter %d times: set board.microphone_volume lower if nobody shouted.", clips)
	}
	return nil
}

// Chirps of the loop test. Small speakers play little below 500 Hz, and rooms
// keep little above 3 kHz; 250 = bandwidth times length makes noise alike to
// 0.19 at the most in 12000 places (4.2 sigma of 1/sqrt(2*250)).
const (
	chirps      = 5
	chirpLow    = 500.0  // Hz
	chirpHigh   = 3000.0 // Hz
	chirpLength = alsa.Rate / 10
	chirpEvery  = alsa.Rate // 1 s: the echo of one has gone when the next comes
	chirpFirst  = alsa.Rate / 2
	chirpLate   = alsa.Rate * 9 / 10 // a chirp is looked for so long
	loopLength  = chirpFirst + chirps*chirpEvery
	chirpAlike  = 0.35
	chirpEnough = chirps/2 + 1
	// Found ones are as late as each other, but for the time that a busy
	// processor takes to write down when it was.
	chirpSpread = 25 * time.Millisecond
)

// chirp is one: its frequency rises all the time, its ends are soft.
func chirp() []int16 {
	s := make([]int16, chirpLength)
	for i := range s {
		at := float64(i) / alsa.Rate
		length := float64(chirpLength) / alsa.Rate
		phase := 2 * math.Pi * (chirpLow*at + (chirpHigh-chirpLow)*at*at/(2*length))
		soft := min(1, float64(min(i, chirpLength-i))/(alsa.Rate/200))
		s[i] = int16(testAmplitude * soft * math.Sin(phase))
	}
	return s
}

// A track is sound that went out or came in, and when each frame of it was
// handed over.
type track struct {
	samples []int16
	at      []time.Time
}

// heard is when a recorded sample was there: the last one of a frame when the
// frame was handed over, those before it that much earlier.
func (k *track) heard(sample int) time.Time {
	after := alsa.FrameSamples - 1 - sample%alsa.FrameSamples
	return k.at[sample/alsa.FrameSamples].Add(-time.Duration(after) * time.Second / alsa.Rate)
}

func (t *partTest) loop(ctx context.Context) error {
	if least := loopLength * time.Second / alsa.Rate; t.limit < least {
		return usageError{fmt.Errorf("--for %v: it takes %v", t.limit, least)}
	}
	p, err := t.openSpeaker()
	if err != nil {
		return err
	}
	defer p.Close()
	c, err := t.openMicrophone()
	if err != nil {
		return err
	}
	defer c.Close()
	t.say("%d chirps from %s to %s. Be quiet for %v, please.", chirps, p.Device(), c.Device(), loopLength*time.Second/alsa.Rate)
	out, in, queued, err := playAndRecord(ctx, p, c)
	if err != nil {
		return withRemedy(err, board.SoundRemedy(err))
	}
	found := findChirps(out, in)
	for i, f := range found {
		if f.alike < chirpAlike {
			t.say("  chirp %d: not found (likeness %.2f)", i+1, f.alike)
		} else {
			t.say("  chirp %d: after %.1f ms, %.0f dB, likeness %.2f", i+1, f.late.Seconds()*1000, f.decibels, f.alike)
		}
	}
	late, n := judge(found)
	if p.Xruns()+c.Xruns() > 0 {
		t.say("%d underruns, %d overruns: the processor is too busy, or the card too slow", p.Xruns(), c.Xruns())
	}
	if n < chirpEnough {
		return fmt.Errorf("%d of %d chirps came back: hushbell test speaker and hushbell test mic tell which of the two it is", n, chirps)
	}
	t.say("Round trip: %.1f ms, of which %.1f ms are queued in the speaker's device.", late.Seconds()*1000, float64(queued)*1000/alsa.Rate)
	return nil
}

// playAndRecord plays the chirps and records meanwhile. queued is how much the
// output held on average, in samples.
func playAndRecord(ctx context.Context, p player, c recorder) (out, in *track, queued int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out = &track{samples: make([]int16, loopLength)}
	for i, one := 0, chirp(); i < chirps; i++ {
		copy(out.samples[chirpFirst+i*chirpEvery:], one)
	}
	in = &track{samples: make([]int16, loopLength)}
	var played, heard error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for at := 0; at < loopLength && ctx.Err() == nil && heard == nil; at += alsa.FrameSamples {
			heard = c.Read(in.samples[at:][:alsa.FrameSamples])
			in.at = append(in.at, time.Now())
		}
	})
	silence := make([]int16, alsa.FrameSamples)
	n := 0
	for ; ctx.Err() == nil && played == nil; n++ {
		frame := silence // after the last chirp, until all was recorded
		if at := n * alsa.FrameSamples; at < loopLength {
			frame = out.samples[at:][:alsa.FrameSamples]
			out.at = append(out.at, time.Now())
		}
		played = p.Write(frame)
		queued += p.Delay()
	}
	cancel()
	wg.Wait()
	if err := errors.Join(played, heard); err != nil {
		return nil, nil, 0, err
	}
	if len(in.at)*alsa.FrameSamples < loopLength {
		return nil, nil, 0, errors.New("it was ended before it was done")
	}
	return out, in, queued / n, nil
}

// A sighting is what was found of a chirp.
type sighting struct {
	alike    float64 // 1: it is the chirp and nothing else
	late     time.Duration
	decibels float64 // relative to what was played
}

// findChirps looks for each chirp in what was recorded after it was played.
func findChirps(out, in *track) []sighting {
	want := thin(chirp())
	var power float64
	for _, v := range want {
		power += v * v
	}
	var all []sighting
	for i := range chirps {
		at := chirpFirst + i*chirpEvery
		played := out.at[at/alsa.FrameSamples] // a chirp begins with a frame
		// The place in the recording that was heard when the chirp was played.
		first, _ := slices.BinarySearchFunc(in.at, played, time.Time.Compare)
		from := first * alsa.FrameSamples
		to := min(from+chirpLate+chirpLength, len(in.at)*alsa.FrameSamples)
		if to-from < chirpLength {
			all = append(all, sighting{})
			continue
		}
		heard := thin(in.samples[from:to])
		var best sighting
		var own float64 // power of the piece that is compared
		for _, v := range heard[:len(want)-1] {
			own += v * v
		}
		for k := 0; k+len(want) <= len(heard); k++ {
			piece := heard[k:][:len(want)]
			var dot float64
			for j, v := range want {
				dot += v * piece[j]
			}
			last := piece[len(piece)-1]
			own += last * last
			// A chirp that came back turned over is one all the same. Less than one
			// step of the converter is rounding.
			if alike := math.Abs(dot) / math.Sqrt(power*own); own > float64(len(want)) && alike > best.alike {
				best = sighting{alike, in.heard(from + k*thinning).Sub(played), 20 * math.Log10(math.Abs(dot)/power)}
			}
			own -= piece[0] * piece[0]
		}
		all = append(all, best)
	}
	return all
}

// judge returns how late the chirps are that were found: the median, and how
// many of them agree with it.
func judge(all []sighting) (late time.Duration, n int) {
	var lates []time.Duration
	for _, f := range all {
		if f.alike >= chirpAlike {
			lates = append(lates, f.late)
		}
	}
	if len(lates) == 0 {
		return 0, 0
	}
	slices.Sort(lates)
	late = lates[len(lates)/2]
	for _, l := range lates {
		if (l - late).Abs() <= chirpSpread {
			n++
		}
	}
	return late, n
}

// thinning is how many samples are made one to look for chirps: 12 kHz hold
// them, and the time is still known to 0.1 ms.
const thinning = 4

func thin(s []int16) []float64 {
	f := make([]float64, len(s)/thinning)
	for i := range f {
		for _, v := range s[i*thinning:][:thinning] {
			f[i] += float64(v) / thinning
		}
	}
	return f
}
