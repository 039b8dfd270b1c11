package call

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const second = time.Second

// Stories: the cases that people know, over a network that delays every
// message by its own time, with many seeds.
func TestStories(t *testing.T) {
	const (
		rings    = "RingingHere StopRinging"
		talk     = "RingingFar Answered Ended"
		answered = "RingingHere StopRinging Answered Ended"
	)
	tests := []struct {
		name string
		play func(w *world, a, b, c *box)
		a, b string // what the owners are told
		c    string
	}{
		{"the caller hangs up", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { b.press(a) }) // while it rings, that answers
			w.at(40*second, func() { a.each(HangUp) })
		}, talk, answered, ""},

		{"the callee hangs up", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { b.each(Answer) })
			w.at(40*second, func() { b.each(HangUp) })
		}, talk, answered, ""},

		{"both hang up at once", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { b.each(Answer) })
			w.at(40*second, func() { a.each(HangUp); b.each(HangUp) })
		}, talk, answered, ""},

		{"answered by itself", func(w *world, a, b, c *box) {
			b.auto = true
			a.press(b)
			w.at(40*second, func() { a.each(HangUp) })
		}, talk, "Answered Ended", ""},

		{"refused", func(w *world, a, b, c *box) {
			b.refuse["a"] = true
			a.press(b)
		}, "Declined", "", ""},

		{"rejected while it rings", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { b.each(HangUp) })
		}, "RingingFar Declined", rings + " Ended", ""},

		{"not to be had", func(w *world, a, b, c *box) {
			b.off = true
			a.press(b)
		}, "Unreachable", "", ""},

		{"no answer in three tries", func(w *world, a, b, c *box) {
			a.press(b)
		}, "RingingFar RingingFar RingingFar NoAnswer", rings + " " + rings + " " + rings + " Missed", ""},

		{"answered at the third try", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(80*second, func() { b.each(Answer) })
			w.at(99*second, func() { b.each(HangUp) })
		}, "RingingFar RingingFar RingingFar Answered Ended", rings + " " + rings + " " + answered, ""},

		{"the caller gives up", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { a.each(HangUp) })
		}, "RingingFar Ended", rings + " Missed", ""},

		{"busy, then waiting, then through", func(w *world, a, b, c *box) {
			b.auto = true
			c.press(b)
			w.at(10*second, func() { a.press(b) })
			w.at(13*second, func() { c.each(HangUp) }) // a has been queued by then, and asks again within 5 s
			w.at(60*second, func() { a.each(HangUp) })
		}, "Waiting RingingFar Answered Ended", "Answered WaitingHere Ended Answered Ended", talk},

		{"nobody who waits is overtaken", func(w *world, a, b, c *box) {
			b.auto, b.rules.TTW = true, 60
			d := w.box("d")
			c.press(b)
			w.at(10*second, func() { a.press(b) })
			w.at(20*second, func() { c.each(HangUp) }) // the line is free, but a has the place
			w.at(30*second, func() { d.press(b) })     // busy, and no place either
			w.at(90*second, func() { a.each(HangUp) })
		}, "Waiting RingingFar Answered Ended", "Answered WaitingHere Ended Answered Ended", talk},

		{"who waits is called back", func(w *world, a, b, c *box) {
			b.rules.TTW = 60
			c.press(b)
			w.at(10*second, func() { b.each(Answer) })
			w.at(20*second, func() { a.press(b) })
			w.at(40*second, func() { c.each(HangUp) })
			w.at(50*second, func() { b.press(a) }) // a's own call is answered when it asks again
			w.at(120*second, func() { a.each(HangUp) })
		}, "Waiting RingingFar Answered Ended", "RingingHere StopRinging Answered WaitingHere Ended Answered Ended", talk},

		{"waits until it gives up", func(w *world, a, b, c *box) {
			a.rules.Waits = 3
			b.auto = true
			c.press(b)
			w.at(10*second, func() { a.press(b) })
			w.at(60*second, func() { c.each(HangUp) })
		}, "Waiting Waiting Waiting Busy", "Answered WaitingHere WaitingHere WaitingHere Missed Ended", talk},

		{"the session breaks in the call", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { b.each(Answer) })
			w.at(30*second, func() { a.each(Lost); b.each(Lost) })
		}, "RingingFar Answered Lost", "RingingHere StopRinging Answered Lost", ""},

		{"the session breaks while it rings", func(w *world, a, b, c *box) {
			a.press(b)
			w.at(20*second, func() { a.each(Lost) })
		}, "RingingFar Lost", rings + " Missed", ""},

		{"a message out of turn", func(w *world, a, b, c *box) {
			b.auto = true
			a.press(b)
			w.at(20*second, func() { a.legs[1].send(Event{Kind: GotBusy}) })
		}, "RingingFar Answered Lost", "Answered Lost", ""},

		{"our own line is taken", func(w *world, a, b, c *box) {
			b.auto = true
			a.press(b)
			w.at(20*second, func() { a.press(c) })
			w.at(40*second, func() { a.each(HangUp) })
		}, "RingingFar Answered line taken Ended", "Answered Ended", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(50) {
				w := newWorld(t, seed)
				a, b, c := w.box("a"), w.box("b"), w.box("c")
				tt.play(w, a, b, c)
				w.run()
				w.check(map[*box]string{a: tt.a, b: tt.b, c: tt.c})
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// The messages of a call that is answered at once, as the protocol has them.
func TestMessages(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.box("a"), w.box("b")
	b.auto = true
	a.press(b)
	w.at(20*second, func() { b.each(HangUp) })
	w.run()
	want := []Do{SendHeartBeat, SendInitiate, SendBusy, SendParameters, SendTerminateReply}
	if got := a.legs[1].messages; !slices.Equal(got, want) {
		t.Errorf("the caller sent %v, want %v", got, want)
	}
	want = []Do{SendHeartBeatReply, SendInitiateOK, SendBusyNo, SendParametersReply, SendTerminate}
	if got := b.legs[1].messages; !slices.Equal(got, want) {
		t.Errorf("the callee sent %v, want %v", got, want)
	}
}

// Two boxes call each other within a second of each other, with all the ways
// in which their messages can cross. However it falls, both end up in one and
// the same call, nobody hears of the other one, and all is quiet afterwards.
func TestGlare(t *testing.T) {
	held, yielded := 0, 0
	for seed := range uint64(1000) {
		w := newWorld(t, seed)
		a, b := w.box("a"), w.box("b")
		w.at(time.Duration(w.rng.IntN(1000))*time.Millisecond, func() { a.press(b) })
		w.at(time.Duration(w.rng.IntN(1000))*time.Millisecond, func() { b.press(a) })
		talked := 0
		w.at(20*second, func() {
			for _, x := range a.legs {
				for _, y := range b.legs {
					if x.far == y && x.call.State == Talking && (y.call.State == Talking || y.call.State == Answered) {
						talked++ // a's call
					}
					if x.far == y && y.call.State == Talking && x.call.State == Answered {
						talked++ // b's call, which came before a's press
					}
				}
			}
			a.each(HangUp)
		})
		w.run()
		both := strings.Join(a.told, " ") + " / " + strings.Join(b.told, " ")
		for _, s := range w.trail {
			if strings.Contains(s, "-> Held") {
				held++
			}
			if strings.Contains(s, "+ Yield") {
				yielded++
			}
		}
		if n := strings.Count(both, "Answered"); n != 2 || talked != 1 {
			t.Errorf("seed %d: %d calls stand, answered %d times: %s", seed, talked, n, both)
		}
		if n := strings.Count(both, "Ended"); n != 2 || strings.Contains(both, "Lost") || strings.Contains(both, "Missed") || strings.Contains(both, "Declined") {
			t.Errorf("seed %d: told %s", seed, both)
		}
		w.check(map[*box]string{a: strings.Join(a.told, " "), b: strings.Join(b.told, " ")})
		if t.Failed() {
			t.FailNow()
		}
	}
	if held < 50 || yielded < 50 {
		t.Errorf("1000 pairs of calls led to %d holds and %d yields: hardly tried", held, yielded)
	}
}

// Our own call stands against theirs but cannot be completed: then theirs is
// let through.
func TestGlareOursFails(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed)
		a, b := w.box("a"), w.box("b")
		b.off = true // a's call to b finds nothing; b's call to a gets through
		w.at(0, func() { a.press(b) })
		w.at(100*time.Millisecond, func() { b.press(a) })
		w.at(20*second, func() { a.each(Answer) })
		w.at(30*second, func() { b.each(HangUp) })
		w.run()
		w.check(map[*box]string{
			a: "Unreachable RingingHere StopRinging Answered Ended",
			b: "RingingFar Answered Ended",
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// An answer and the end of the ring cross at every possible moment: either
// both ends talk, or both know that they do not.
func TestAnswerAtTheLastMoment(t *testing.T) {
	ends := make(map[string]int)
	for seed := range uint64(4000) {
		w := newWorld(t, seed)
		a, b := w.box("a"), w.box("b")
		a.rules.Tries = uint8(1 + seed%2)
		a.press(b)
		w.at(29*second+time.Duration(w.rng.IntN(6000))*time.Millisecond, func() { b.each(Answer) })
		w.at(100*second, func() { a.each(HangUp) })
		w.run()
		talkedA, talkedB := slices.Contains(a.told, "Answered"), slices.Contains(b.told, "Answered")
		switch {
		case talkedA && talkedB:
			ends["talked"]++
			if slices.Contains(a.told, "Lost") || slices.Contains(b.told, "Lost") {
				t.Fatalf("seed %d: the call broke\n%s", seed, strings.Join(w.trail, "\n"))
			}
		case talkedA:
			t.Fatalf("seed %d: the caller talked alone\n%s", seed, strings.Join(w.trail, "\n"))
		case talkedB: // it answered as the last try ended, and hears at once that it is over
			ends["too late"]++
			if a.rules.Tries > 1 || b.told[len(b.told)-1] != "Ended" {
				t.Fatalf("seed %d: the callee talked alone\n%s", seed, strings.Join(w.trail, "\n"))
			}
		default:
			ends["missed"]++
		}
		w.check(map[*box]string{a: strings.Join(a.told, " "), b: strings.Join(b.told, " ")})
	}
	for _, s := range []string{"talked", "too late", "missed"} {
		if ends[s] == 0 {
			t.Errorf("4000 calls never came to %q: %v", s, fmt.Sprint(ends))
		}
	}
}
