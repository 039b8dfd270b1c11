package gpio

import (
	"fmt"
	"time"
)

// A Pattern is how a LED shows a state. The zero value is Off.
type Pattern uint8

const (
	Off Pattern = iota
	On
	SlowBlink // 1 s on, 1 s off
	FastBlink // four times a second
	Heartbeat // two short flashes every 2 s
	firstCode // Code(1)
)

// MaxCode is the highest number that Code blinks: nobody counts further.
const MaxCode = 9

// Code is the pattern of n short blinks and a pause, to be counted by somebody
// without a screen. It panics if n is not within 1 and MaxCode.
func Code(n int) Pattern {
	if n < 1 || n > MaxCode {
		panic(fmt.Sprintf("gpio: no blink code %d", n))
	}
	return firstCode + Pattern(n-1)
}

func (p Pattern) String() string {
	names := [...]string{Off: "off", On: "on", SlowBlink: "slow blink", FastBlink: "fast blink", Heartbeat: "heartbeat"}
	switch {
	case int(p) < len(names):
		return names[p]
	case p < firstCode+MaxCode:
		return fmt.Sprintf("%d blinks", p-firstCode+1)
	}
	return fmt.Sprintf("gpio.Pattern(%d)", uint8(p))
}

// A blink is a pattern that repeats: n times light and dark, and a pause.
type blink struct {
	n                  int
	light, dark, pause time.Duration
}

var blinks = [...]blink{
	SlowBlink: {n: 1, light: time.Second, dark: time.Second},
	FastBlink: {n: 1, light: 125 * time.Millisecond, dark: 125 * time.Millisecond},
	Heartbeat: {n: 2, light: 70 * time.Millisecond, dark: 150 * time.Millisecond, pause: 1560 * time.Millisecond},
}

// at tells whether the pattern is lit when so much time has passed since its
// start, and in how long that changes; 0: never. Unknown patterns are dark.
func (p Pattern) at(since time.Duration) (lit bool, next time.Duration) {
	var b blink
	switch {
	case p == On:
		return true, 0
	case p >= firstCode && p < firstCode+MaxCode:
		// The pause is long against dark, so that the end cannot be missed.
		b = blink{int(p-firstCode) + 1, 250 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond}
	case int(p) < len(blinks):
		b = blinks[p]
	}
	if b.n == 0 {
		return false, 0
	}
	flashes := time.Duration(b.n) * (b.light + b.dark)
	since %= flashes + b.pause
	if since >= flashes-b.dark {
		return false, flashes + b.pause - since
	}
	since %= b.light + b.dark
	if since < b.light {
		return true, b.light - since
	}
	return false, b.light + b.dark - since
}
