// Package alsa plays and records sound: through the kernel's PCM devices, by
// ioctl and without libasound, or through the sound server of the session
// (package alsa/pulse) where one owns the cards. It also sets the mixer.
//
// Callers see 48 kHz mono 16-bit samples whatever the card takes: conversion of
// rate, format and channels is done here. A card is named by its id ("Device",
// "sndrpihifiberry"), which does not move when another card is plugged in, as
// the numbers do.
//
// A Playback or Capture is one open stream: it survives under- and overruns and
// ends with an error when its card is unplugged. A Speaker or Microphone keeps
// a stream open across unplugging and server restarts, with silence between.
//
// The package knows samples and devices; it does not know calls. It mixes
// nothing, cancels no echo, and does not correct clock drift.
//
// The PCM file is opened with O_NONBLOCK, and Read and Write wait in poll, in
// their caller's thread and not by way of the runtime's poller: so the thread that
// has real-time priority (Raise) is the one that the card wakes, and not another
// one that tells it. Close wakes a waiting Read or Write, a card that stops its
// interrupts is an error after five seconds, a busy card answers EBUSY at once, and
// no signal cuts a transfer short. Two threads are tied up while there is a call,
// and none when both ends are stopped. Measured 2026-11 on snd-aloop of Linux 6.1
// beside 8 programs that never rest, 4 s both ways in 19 runs: one xrun in all with
// priority, up to 10 in a run without (TestBoardBesideBusyPrograms). A card whose
// poll is broken would change our mind.
package alsa

import (
	"errors"
	"fmt"
	"os"
	"time"

	"hushbell/alsa/pulse"
)

const (
	// Rate is the sample rate of everything that is read and written here.
	Rate = 48000
	// FrameSamples is the length of the frames that a call uses, 20 ms. Read and
	// Write take any length; this one is what the buffers are laid out for.
	FrameSamples = 960
)

// ErrClosed is what a stream answers after Close.
var ErrClosed = os.ErrClosed

// ErrNoCard says that no device was found that fits. It is in the chain of what
// OpenPlayback and OpenCapture return.
var ErrNoCard = errors.New("no sound card")

// ErrNoServer says that a sound server was named and none is running. It is in the
// chain of what OpenPlayback and OpenCapture return.
var ErrNoServer = pulse.ErrNoServer

// Options is how a device is opened. The zero value is right for a call.
type Options struct {
	// Period is the time between two interrupts of the card, 10 ms if 0. The
	// nearest that the card can do is taken.
	Period time.Duration
	// Buffer is how much the card holds, 4 periods if 0. A playback that is
	// written as fast as it takes has this much delay.
	Buffer time.Duration

	// The rest overrides what would be negotiated, for odd hardware. A card that
	// cannot do it is an error. A sound server ignores it.

	Rate     int    // the card's rate in Hz; 0: 48000 if it can, else the next best
	Channels int    // 0: mono if it can, else stereo, else the fewest it has
	Format   Format // 0: S16 if it can, else S32, S24_3LE, S24
	// Listen picks the channel of a card that records several: 0 is the mean of
	// the first two, 1 the first (left), 2 the second. A single microphone on an
	// I2S board is on one of them only.
	Listen int
}

func (o Options) period() time.Duration {
	if o.Period <= 0 {
		return 10 * time.Millisecond
	}
	return o.Period
}

func (o Options) buffer() time.Duration {
	if o.Buffer <= 0 {
		return 4 * o.period()
	}
	return o.Buffer
}

// check refuses what no device can do.
func (o Options) check() error {
	switch {
	case o.Period < 0 || o.Buffer < 0 || o.Rate < 0 || o.Channels < 0:
		return errors.New("negative option")
	case o.period() > time.Second || o.buffer() > 5*time.Second:
		return fmt.Errorf("period %v or buffer %v is too long", o.period(), o.buffer())
	case o.buffer() < 2*o.period():
		return fmt.Errorf("buffer %v is shorter than two periods of %v", o.buffer(), o.period())
	case o.Listen < 0 || o.Listen > 2:
		return fmt.Errorf("listen to channel %d: there are 1, 2 and 0 for both", o.Listen)
	case o.Format != 0 && o.Format.bytes() == 0:
		return fmt.Errorf("format %v", o.Format)
	}
	return nil
}

// An Error says which operation failed on which device. It unwraps to the
// errno: ENODEV is an unplugged card, EBUSY one that another process holds,
// EACCES one that this user may not open, EIO one that has stopped working.
type Error struct {
	Op, Device string
	Holder     string // who holds a busy device, "name (process 123)", if the kernel tells
	Err        error
}

func (e *Error) Error() string {
	if e.Holder != "" {
		return fmt.Sprintf("alsa: %s %s: %v, held by %s", e.Op, e.Device, e.Err, e.Holder)
	}
	return fmt.Sprintf("alsa: %s %s: %v", e.Op, e.Device, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
