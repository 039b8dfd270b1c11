package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"

	"hushbell/device/control"
)

// How much memory the program may take before the collector works harder; soft.
// A box was measured to need 20 MB. A relay with all of its default limits in
// use needs 75 MB (package kx, Limits).
const (
	boxMemory   = 48 << 20
	relayMemory = 128 << 20
)

// gcPercent is lazier than Go's own: it costs memory that the limit bounds, and
// saves time on slow boards.
const gcPercent = 400

// limitMemory sets the limit, unless the environment has its own.
func limitMemory(limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// A collector has the garbage collector rest while there is sound, until the memory limit
// is reached: a call allocates next to nothing.
//
// A thread of real-time priority that comes back from the sound card while the collector
// looks at its stack spins until that is done (casgstatus in Go's runtime). If it took
// the processor from the collector's thread, only the kernel's limit for such threads
// ends that: on an emulated ARMv7 board everything else stood still for up to 1.4 s
// (Go 1.26; in 3 of 100 collections, when the thread woke every 2 ms).
type collector struct {
	told chan bool // of size 1: the newest
}

func newCollector() collector { return collector{make(chan bool, 1)} }

// sound tells whether there is some. It does not wait for a collection that is under way.
// One goroutine at a time may call it.
func (c collector) sound(is bool) {
	select {
	case <-c.told:
	default:
	}
	c.told <- is
}

// run does what sound tells, until ctx is done. It does nothing if the environment says
// how the collector is to work.
func (c collector) run(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	for rests := false; ; {
		percent := gcPercent
		select {
		case sound := <-c.told:
			if sound == rests {
				continue
			}
			if rests = sound; rests {
				percent = -1
			}
		case <-ctx.Done():
		}
		debug.SetGCPercent(percent)
		if ctx.Err() != nil {
			return
		}
	}
}

func memoryUsed() control.Memory {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return control.Memory{Mallocs: m.Mallocs, Collections: m.NumGC, RSS: rssKB(os.Getpid()) << 10}
}
