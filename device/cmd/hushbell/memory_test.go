package main

import (
	"math"
	"runtime/metrics"
	"testing"
	"time"
)

// collects waits until the garbage collector works as it is to: gcPercent, or off, which
// the runtime has as the largest number.
func collects(t *testing.T, when string, percent uint64) {
	t.Helper()
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		metrics.Read(s)
		got := s[0].Value.Uint64()
		if got == percent {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s GOGC is %d, want %d", when, got, percent)
		}
	}
}

const never = math.MaxUint64
