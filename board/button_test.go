package board

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/gpio"
)

// gestures takes what there is to be taken now.
func gestures(from <-chan Gesture) (kinds []gpio.Kind) {
	for {
		synctest.Wait()
		select {
		case g := <-from:
			kinds = append(kinds, g.Kind)
		default:
			return kinds
		}
	}
}

// Whatever comes while nobody takes it, who takes it hears of the newest only;
// and of the end of each talk of which the start was heard.
func TestGesturesHandedOver(t *testing.T) {
	const (
		press, long, double = gpio.Press, gpio.LongPress, gpio.DoublePress
		start, end          = gpio.TalkStart, gpio.TalkEnd
		take, pass          = gpio.Kind(200), gpio.Kind(201) // the test's: take all, let pressMeant pass
	)
	for _, tt := range []struct{ do, want []gpio.Kind }{
		{[]gpio.Kind{press, take, long, take, double, take}, []gpio.Kind{press, long, double}},
		{[]gpio.Kind{gpio.Down, gpio.Up, gpio.Found, gpio.TooFast, gpio.Stuck, gpio.Freed, take}, nil},
		{[]gpio.Kind{press, long, take}, []gpio.Kind{long}},
		{[]gpio.Kind{press, pass, take, press, take}, []gpio.Kind{press}},
		{[]gpio.Kind{start, take, end, take}, []gpio.Kind{start, end}},
		{[]gpio.Kind{start, end, take}, nil},                                 // talked to nobody
		{[]gpio.Kind{start, pass, end, take}, nil},                           // likewise
		{[]gpio.Kind{start, take, end, pass, take}, []gpio.Kind{start, end}}, // the end is late, not lost
		{[]gpio.Kind{start, take, end, press, take}, []gpio.Kind{start, end, press}},
		{[]gpio.Kind{start, take, end, press, pass, take}, []gpio.Kind{start, end}},
		{[]gpio.Kind{start, take, end, start, take, end, take}, []gpio.Kind{start, end, start, end}},
		{[]gpio.Kind{start, take, end, start, end, take}, []gpio.Kind{start, end}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var f fakeBoard
			f.start(t, wired, nil)
			var got []gpio.Kind
			for _, k := range tt.do {
				switch k {
				case take:
					got = append(got, gestures(f.gestures)...)
				case pass:
					time.Sleep(pressMeant + time.Millisecond)
				default:
					f.events <- gpio.Event{Kind: k, At: time.Now()}
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v gave %v, want %v", tt.do, got, tt.want)
			}
		})
	}
}

// Two buttons are told apart, also in problems and in the log.
func TestTwoButtons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fakeBoard
		var log bytes.Buffer // written by goroutines of the board, read when they wait
		h := f.start(t, Wiring{
			Buttons: []Line{{Label: "gate", Part: "button gate", Line: gpio.Line{Name: "A"}}, {Label: "attic", Part: "button attic", Line: gpio.Line{Name: "B"}}},
			LEDs:    wired.LEDs,
		}, slog.New(slog.NewTextHandler(&log, nil)))
		seen := map[string]gpio.Kind{}
		// Both wait for the same channel of the fake: each has its turn.
		for len(seen) < 2 {
			f.events <- gpio.Event{Kind: gpio.Press, At: time.Now()}
			synctest.Wait()
			g := <-f.gestures
			if seen[g.Button] = g.Kind; !g.At.Equal(time.Now()) {
				t.Errorf("%+v came at %v", g, time.Now())
			}
		}
		if seen["gate"] != gpio.Press || seen["attic"] != gpio.Press {
			t.Errorf("gestures of %v", seen)
		}
		f.events <- gpio.Event{Kind: gpio.Stuck}
		synctest.Wait()
		p := h.problems()
		if len(p) != 1 || p[0].Part != "button gate" && p[0].Part != "button attic" {
			t.Errorf("problems %q", text(p))
		}
		if !strings.Contains(log.String(), `part="button `) {
			t.Errorf("the log does not say which button it is:\n%s", log.String())
		}
	})
}
