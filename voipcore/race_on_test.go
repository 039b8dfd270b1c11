//go:build race

package voipcore

// raceEnabled: the race detector of Go 1.26.8 itself crashes (a failed CHECK in
// tsan_rtl.cpp, or SIGSEGV on a thread without goroutine) in most runs of whole
// boxes in a synctest bubble. Their tests are left to runs without it; those
// over loopback run the same code with it.
const raceEnabled = true
