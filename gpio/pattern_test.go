package gpio

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The light of a pattern, in steps of 50 ms: a picture that a person can check
// against the README.
func draw(p Pattern, d time.Duration) string {
	var b strings.Builder
	for t := time.Duration(0); t < d; t += 50 * time.Millisecond {
		lit, _ := p.at(t)
		b.WriteByte(".#"[map[bool]int{true: 1}[lit]])
	}
	return b.String()
}

func TestPatterns(t *testing.T) {
	dot, hash := func(n int) string { return strings.Repeat(".", n) }, func(n int) string { return strings.Repeat("#", n) }
	tests := []struct {
		p    Pattern
		name string
		want string
	}{
		{Off, "off", dot(80)},
		{On, "on", hash(80)},
		{SlowBlink, "slow blink", hash(20) + dot(20) + hash(20) + dot(20)},
		{FastBlink, "fast blink", "###..###..###..###..###.."},
		{Heartbeat, "heartbeat", "##...#." + dot(33) + "##...#."},
		{Code(1), "1 blinks", hash(5) + dot(36) + hash(5)},
		{Code(3), "3 blinks", hash(5) + dot(6) + hash(5) + dot(6) + hash(5) + dot(36) + hash(5) + dot(6)},
	}
	for _, tt := range tests {
		if got := draw(tt.p, time.Duration(len(tt.want))*50*time.Millisecond); got != tt.want {
			t.Errorf("%v:\n got %s\nwant %s", tt.p, got, tt.want)
		}
		if got := tt.p.String(); got != tt.name {
			t.Errorf("String = %q, want %q", got, tt.name)
		}
	}
}

// Following next from change to change must give the same light as asking at
// every millisecond, and never stand still.
func TestPatternNext(t *testing.T) {
	patterns := []Pattern{SlowBlink, FastBlink, Heartbeat}
	for n := 1; n <= MaxCode; n++ {
		patterns = append(patterns, Code(n))
	}
	for _, p := range patterns {
		var lit bool
		var change time.Duration
		for now := time.Duration(0); now < 20*time.Second; now += time.Millisecond {
			is, next := p.at(now)
			if now == change {
				lit, change = is, now+next
				if next <= 0 {
					t.Fatalf("%v at %v: next = %v", p, now, next)
				}
			}
			if is != lit || now+next != change {
				t.Fatalf("%v at %v: lit %v until %v, want %v until %v", p, now, is, now+next, lit, change)
			}
		}
	}
	for _, p := range []Pattern{Off, On, firstCode + MaxCode, 255} {
		if lit, next := p.at(time.Hour); lit != (p == On) || next != 0 {
			t.Errorf("%v: lit %v, next %v, want steady", p, lit, next)
		}
	}
}

func TestCodeRefuses(t *testing.T) {
	for _, n := range []int{-1, 0, MaxCode + 1, 300} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "no blink code") {
					t.Errorf("Code(%d): %v, want a panic", n, r)
				}
			}()
			Code(n)
		}()
	}
}
