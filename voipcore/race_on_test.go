//go:build race

package voipcore

import "runtime"

// oneProcessor has all goroutines take turns, until the function that it
// returns is called. The race detector needs that in a bubble: runtime/time.go
// of Go 1.26 runs the timers of a bubble in one race context, which two
// processors may use at the same time (a timer that a select finds due, and
// another one), and the detector's own code crashes (SIGSEGV in SlotLock) in a
// bubble with as many timers as these. It finds the same races: it looks at
// what orders accesses, not at when they happen. When the bug is gone, so can
// this be.
func oneProcessor() (undo func()) {
	n := runtime.GOMAXPROCS(1)
	return func() { runtime.GOMAXPROCS(n) }
}
