package gpio

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// Each row is one button's life: what the contact does at which millisecond, and
// the events with the millisecond at which each is known. "v" is down, "^" up.
func TestGestures(t *testing.T) {
	plain := Timing{}
	long := Timing{Long: time.Second}
	talk := Timing{Talk: 300 * ms}
	double := Timing{Double: 400 * ms}
	all := Timing{Double: 400 * ms, Long: time.Second}
	tests := []struct {
		name   string
		timing Timing
		in     string
		want   string
	}{
		{"plain", plain, "v0 ^200", "0 down, 0 press, 200 up"},
		{"plain, held", plain, "v0 ^3000", "0 down, 0 press, 3000 up"},
		{"short of long", long, "v0 ^999", "0 down, 999 up, 999 press"},
		{"long", long, "v0 ^1500", "0 down, 1000 long press, 1500 up"},
		{"long comes while down", long, "v0", "0 down, 1000 long press, 60000 up, 60000 stuck"},
		{"tap of a talk button", talk, "v0 ^100", "0 down, 100 up, 100 press"},
		{"talk", talk, "v0 ^5000", "0 down, 300 talk start, 5000 talk end, 5000 up"},
		{"talk ends by itself", talk, "v0 ^70000", "0 down, 300 talk start, 60000 talk end, 60000 up, 60000 stuck, 70000 freed"},
		{"single where double is possible", double, "v0 ^100", "0 down, 100 up, 500 press"},
		{"double", double, "v0 ^100 v300 ^400", "0 down, 100 up, 300 down, 300 double press, 400 up"},
		{"too late for a double", double, "v0 ^100 v501 ^600", "0 down, 100 up, 500 press, 501 down, 600 up, 1000 press"},
		{"triple", double, "v0 ^100 v200 ^300 v400 ^500",
			"0 down, 100 up, 200 down, 200 double press, 300 up, 400 down, 500 up, 900 press"},
		{"double whose second is long", all, "v0 ^100 v300 ^3000", "0 down, 100 up, 300 down, 300 double press, 3000 up"},
		{"long first, then short", all, "v0 ^1500 v1600 ^1700", "0 down, 1000 long press, 1500 up, 1600 down, 1700 up, 2100 press"},
		{"plain, stuck and freed", plain, "v0 ^90000 v91000 ^91100",
			"0 down, 0 press, 60000 up, 60000 stuck, 90000 freed, 91000 down, 91000 press, 91100 up"},
		{"short stuck time", Timing{Stuck: 5 * time.Second}, "v0 ^6000", "0 down, 0 press, 5000 up, 5000 stuck, 6000 freed"},
		{"hammered", Timing{Burst: 2, Refill: time.Second}, "v0 ^10 v100 ^110 v200 ^210 v300 ^310 v1000 ^1010 v1100 ^1110",
			"0 down, 0 press, 10 up, 100 down, 100 press, 110 up, 200 too fast, 1000 down, 1000 press, 1010 up, 1100 too fast"},
		{"a press too fast that sticks", Timing{Burst: 1, Refill: time.Minute}, "v0 ^10 v100 ^70000",
			"0 down, 0 press, 10 up, 100 too fast, 60100 stuck, 70000 freed"},
		{"too fast for the second of a double", Timing{Burst: 1, Refill: time.Second, Double: 400 * ms}, "v0 ^100 v200 ^300",
			"0 down, 100 up, 200 press, 200 too fast"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.timing.Check(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(live(tt.timing, tt.in), ", "); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

// live plays a script to a gesture, up to 100 s.
func live(timing Timing, script string) (got []string) {
	g := gesture{timing: timing.withDefaults()}
	zero := time.Unix(0, 0)
	tell := func(kinds []Kind, at time.Time) {
		for _, k := range kinds {
			got = append(got, fmt.Sprint(at.Sub(zero).Milliseconds(), " ", k))
		}
	}
	tickBefore := func(end time.Time) {
		for !g.due.IsZero() && g.due.Before(end) {
			now := g.due
			tell(g.tick(nil, now), now)
		}
	}
	for word := range strings.FieldsSeq(script) {
		n, _ := strconv.Atoi(word[1:])
		now := zero.Add(time.Duration(n) * ms)
		tickBefore(now)
		if word[0] == 'v' {
			tell(g.press(nil, now), now)
		} else {
			tell(g.release(nil, now), now)
		}
	}
	tickBefore(zero.Add(100 * time.Second))
	return got
}

// Whatever is done to a button, and whenever its line is lost: each Down has its
// Up and each TalkStart its TalkEnd, in that order, and neither is inside
// another.
func FuzzGesture(f *testing.F) {
	f.Add(uint8(0), []byte{1, 20, 1, 20, 1, 255, 255, 1})
	f.Add(uint8(1), []byte{1, 100, 0, 100, 1, 100, 2, 1})
	f.Add(uint8(2), []byte{1, 3, 1, 3, 1, 3, 1, 200, 200, 2, 3})
	timings := []Timing{{}, {Long: time.Second}, {Talk: 300 * ms}, {Double: 400 * ms},
		{Talk: 300 * ms, Double: 400 * ms, Stuck: 2 * time.Second, Burst: 1, Refill: time.Second}}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		g := gesture{timing: timings[int(which)%len(timings)].withDefaults()}
		now := time.Unix(0, 0)
		g.start(len(script)%2 == 1, now)
		pressed := len(script)%2 == 1
		var isDown, isTalking bool
		var last []Kind
		tell := func(kinds []Kind) {
			for _, k := range kinds {
				last = append(last, k)
				wrong := false
				switch k {
				case Down:
					wrong, isDown = isDown, true
				case Up:
					wrong, isDown = !isDown || isTalking, false
				case TalkStart:
					wrong, isTalking = !isDown || isTalking, true
				case TalkEnd:
					wrong, isTalking = !isTalking, false
				case LongPress, DoublePress:
					wrong = !isDown
				case Stuck:
					wrong = isDown
				}
				if wrong {
					t.Fatalf("%v does not fit: %v", k, last)
				}
			}
		}
		for _, b := range script {
			end := now.Add(time.Duration(b) * 40 * ms)
			for !g.due.IsZero() && !g.due.After(end) {
				due := g.due
				tell(g.tick(nil, due))
			}
			now = end
			switch {
			case b%17 == 0:
				tell(g.stop(nil))
				g.start(false, now)
				pressed = false
				if isDown || isTalking {
					t.Fatalf("lost, and still down: %v", last)
				}
			case pressed:
				tell(g.release(nil, now))
				pressed = false
			default:
				tell(g.press(nil, now))
				pressed = true
			}
		}
	})
}

func TestTimingCheck(t *testing.T) {
	bad := Timing{Settle: -1, Long: time.Hour, Talk: time.Hour, Burst: -1}
	err := bad.Check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"settle is negative", "burst is negative", "both a long press and push to talk",
		"press of 1h0m0s cannot be told from a stuck button (1m0s)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := (Timing{Hold: time.Minute}).Check(); err == nil {
		t.Error("a hold as long as the stuck time is taken")
	}
	if err := (Timing{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Down; k <= Lost; k++ {
		if s := k.String(); strings.Contains(s, "Kind") || seen[s] {
			t.Errorf("kind %d is called %q", uint8(k), s)
		}
		seen[k.String()] = true
	}
	if got, want := Kind(200).String(), "gpio.Kind(200)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
