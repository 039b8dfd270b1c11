package device

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// Whoever has pressed sees at once what that did.
func TestPressIsDone(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		for i := range 1000 {
			if err := b.Press(t.Context(), Gesture{Kind: DoublePress}); err != nil {
				t.Fatal(err)
			}
			if quiet := b.Status().Quiet; quiet != (i%2 == 0) {
				t.Fatalf("after press %d do-not-disturb is %v", i+1, quiet)
			}
		}
	})
}

// Who presses twice to be sure, or a moment after the call has ended, does not undo it.
func TestPressTwice(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		again := func(s State, after time.Duration) {
			t.Helper()
			time.Sleep(after)
			b.press()
			b.want(s)
		}
		b.press()
		b.want(Calling, "call")
		again(Calling, twice/2)
		b.tell(voipcore.Answered, b.core.last)
		again(InCall, twice/4)
		b.tell(voipcore.Ended, b.core.last)
		again(Ended, 200*time.Millisecond)
		b.gesture("", HoldStart) // nor to talk
		b.want(Ended)
		b.gesture("", HoldEnd)
		time.Sleep(showEnd)
		synctest.Wait()

		b.tell(voipcore.RingingHere, 50)
		b.press()
		b.want(Answering, "answer")
		again(Answering, twice/2)
		b.tell(voipcore.Answered, 50)
		again(InCall, twice/4)
		time.Sleep(twice)
		b.press() // not too soon any more
		b.want(HungUp, "hang up")
		again(HungUp, twice)
		time.Sleep(showEnd)
		b.press()
		b.want(Calling, "call")
		b.tell(voipcore.Unreachable, b.core.last)
		b.press() // a failure may be tried again at once
		b.want(Calling, "call")
		time.Sleep(twice / 2)
		if err := b.HangUp(t.Context()); err != nil { // a command is no finger
			t.Error(err)
		}
		synctest.Wait()
		b.want(HungUp, "hang up")
	})
}

// Several buttons, and several gestures at each.
func TestGestures(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		idle := func() {
			time.Sleep(showFailure)
			synctest.Wait()
			b.core.take()
		}
		b.gesture("", LongPress)
		b.want(Calling, "group of 2")
		if c := b.Status().Call; c.Peer.Name != "house" || c.Peer.PID != (pid.ID{}) || c.Page {
			t.Errorf("the call of a group: %+v", c)
		}
		b.tell(voipcore.Answered, b.core.last)
		if c := b.Status().Call; c.Peer.Name != "Workshop" || c.Peer.PID != b.friend {
			t.Errorf("the call of a group that was answered: %+v", c)
		}
		time.Sleep(twice)
		b.gesture("2", ShortPress) // hangs up, whatever it would call
		b.want(HungUp, "hang up")
		idle()

		b.gesture("2", ShortPress)
		b.want(Calling, "page of 2")
		b.tell(voipcore.Answered, b.core.last)
		if c := b.Status().Call; c.Peer.Name != "house" || !c.Page {
			t.Errorf("a page that was answered: %+v", c)
		}
		time.Sleep(twice)
		b.gesture("2", LongPress)
		b.want(HungUp, "hang up")
		idle()

		b.gesture("2", LongPress) // there is nothing to hang up
		b.want(Idle)
		b.tell(voipcore.RingingHere, 50)
		b.gesture("2", LongPress)
		b.want(Idle, "hang up")
		b.tell(voipcore.StopRinging, 50)

		b.tell(voipcore.RingingHere, 49)
		b.gesture("", DoublePress)
		b.want(Quiet, "silence")
		b.tell(voipcore.Missed, 49)
		b.gesture("", DoublePress)
		b.gesture("", DoublePress)
		b.want(Quiet)
		b.gesture("", DoublePress)
		b.want(Idle)

		b.gesture("2", DoublePress) // nothing is configured
		b.want(Unreachable)
		if c := b.Status().Call; c.Err == nil || !strings.Contains(c.Err.Error(), "[button]") {
			t.Errorf("a gesture that does nothing: %+v", c)
		}
		idle()
		if err := b.Device.Call(t.Context(), "HOUSE", true); err != nil {
			t.Error(err)
		}
		b.want(Calling, "page of 2")
	})
}

func TestMissing(t *testing.T) {
	p := Policy{
		Contacts: []Contact{{Name: "door"}},
		Groups:   []Group{{"house", []string{"kitchen", "door"}}, {"empty", []string{"kitchen"}}, {"Door", []string{"house", "door"}}},
		Buttons:  map[string]Button{"": {Press: Action{DoCall, "door"}, Long: Action{DoPage, "empty"}}, "2": {Press: Action{DoCall, "roof"}, Double: Action{Do: DoQuiet}}},
	}
	got := strings.Join(p.Missing(), "\n")
	for _, want := range []string{`nobody of the group "empty"`, `the button calls "roof"`, `the group "house" has "kitchen"`, `"house", which is a group`, `contact "door" and a group`} {
		if !strings.Contains(got, want) {
			t.Errorf("not told %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, `"door",`) || len(p.Missing()) != 6 {
		t.Errorf("told\n%s", got)
	}
}

// Do-not-disturb begins and ends with its schedule, and with its switch.
func TestQuiet(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		p := b.policy()
		var night atomic.Bool
		p.Quiet = func(time.Time) bool { return night.Load() }
		b.Configure(p)
		synctest.Wait()
		check := func(what string, s State, w Switch) {
			t.Helper()
			time.Sleep(quietEvery + time.Second)
			synctest.Wait()
			b.want(s)
			st := b.Status()
			if st.Switch != w || st.Quiet != (s == Quiet) {
				t.Errorf("%s: quiet %v, switch %v", what, st.Quiet, st.Switch)
			}
			want := voipcore.Ring
			if s == Quiet {
				want = voipcore.Silent
			}
			if got := b.Welcome(b.friend); got != want {
				t.Errorf("%s: welcome %v", what, got)
			}
		}
		set := func(s Switch) {
			t.Helper()
			if err := b.SetQuiet(ctx, s); err != nil {
				t.Error(err)
			}
		}
		check("by day", Idle, Scheduled)
		night.Store(true)
		check("by night", Quiet, Scheduled)
		set(Off)
		check("by night, switched off", Idle, Off)
		night.Store(false)
		check("the next day", Idle, Scheduled)
		night.Store(true)
		check("the next night", Quiet, Scheduled)
		night.Store(false)
		set(On)
		check("switched on", Quiet, On)
		night.Store(true)
		check("still", Quiet, On)
		set(Scheduled)
		check("by night again", Quiet, Scheduled)

		// It calls nevertheless, and a call that was missed is told of.
		b.press()
		b.want(Calling, "call")
		b.tell(voipcore.Ended, b.core.last)
		b.told()
		b.Notify(voipcore.Event{Kind: voipcore.Missed, Call: 77, Peer: b.friend})
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.news) != 1 || b.news[0].Kind != NewsEnded || b.news[0].Call.Reason != "missed" || b.news[0].Call.Peer.Name != "Workshop" {
			t.Errorf("told %+v", b.news)
		}
	})
}

// Do-not-disturb that is switched on while it rings ends tone and LED at once, and so
// it does with a call that is on its way. It is missed, and once quiet is over its
// next try rings.
func TestQuietWhileItRings(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		set := func(s Switch) {
			t.Helper()
			if err := b.SetQuiet(t.Context(), s); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		silent := func() {
			t.Helper()
			b.want(Quiet, "silence")
			b.hears(100 * time.Millisecond)
			if tones, _ := b.hears(10 * time.Second); tones > 0 {
				t.Errorf("%d frames of tones are heard", tones)
			}
		}
		b.tell(voipcore.RingingHere, 1)
		b.hears(time.Second)
		set(On)
		silent()
		b.tell(voipcore.RingingHere, 1)
		silent()
		set(Scheduled)
		b.want(Idle)
		b.tell(voipcore.RingingHere, 1)
		b.want(RingingHere)
		set(On)
		silent()
		b.told()
		b.tell(voipcore.Missed, 1)
		if c := b.Status().Call; c.ID != 1 || c.Ended.IsZero() || !slices.Equal(b.told(), []string{NewsEnded}) {
			t.Errorf("it is not told that it was missed: %+v", c)
		}
		b.want(Quiet)
		b.tell(voipcore.RingingHere, 2)
		b.want(Quiet, "silence")
		b.press()
		b.want(Calling, "call")
		set(Scheduled)
		set(On)
		b.want(Calling)
	})
}

func TestSwitchWords(t *testing.T) {
	for s := range numSwitches {
		if got, err := ParseSwitch(s.String()); got != s || err != nil {
			t.Errorf("ParseSwitch(%q) = %v, %v", s, got, err)
		}
	}
	if _, err := ParseSwitch("maybe"); err == nil {
		t.Error("ParseSwitch takes anything")
	}
	for _, scheduled := range []bool{false, true} {
		for s := range numSwitches {
			before, _ := s.at(scheduled)
			if after, _ := s.toggle(scheduled).at(scheduled); after == before {
				t.Errorf("toggle of %v, scheduled %v, leaves it at %v", s, scheduled, before)
			}
		}
	}
}

// A call ends when it has lasted as long as one may. What is changed while it stands
// is for the next one.
func TestLongestCall(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		p := b.policy()
		p.MaxCall = 2 * time.Minute
		b.Configure(p)
		b.tell(voipcore.Answered, 1)
		time.Sleep(119 * time.Second)
		synctest.Wait()
		b.want(InCall)
		time.Sleep(time.Second)
		synctest.Wait()
		b.want(Ended, "hang up")
		time.Sleep(2 * showEnd)
		b.tell(voipcore.Answered, 2)
		time.Sleep(time.Minute)
		p.MaxCall = 30 * time.Second
		b.Configure(p)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		b.want(InCall)
		p.MaxCall = 0
		b.Configure(p)
		time.Sleep(time.Second)
		synctest.Wait()
		b.want(Ended, "hang up")
		time.Sleep(2 * showEnd)
		b.tell(voipcore.Answered, 3)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		b.want(InCall)
	})
}

// The door opens for a contact with the right PIN, and for nobody else.
func TestDoor(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		right, wrong := voipcore.PIN{'4', '7', '1', '1'}, voipcore.PIN{'4', '7', '1', '2'}
		b.tell(voipcore.Answered, 1)
		ask := func(what string, from pid.ID, pin voipcore.PIN, opens bool) {
			t.Helper()
			before := b.door.opened
			b.Notify(voipcore.Event{Kind: voipcore.DoorAsked, Call: 1, Peer: from, PIN: pin})
			synctest.Wait()
			answer := "door opened: false"
			if opens {
				answer = "door opened: true"
			}
			b.want(InCall, answer)
			if (b.door.opened > before) != opens {
				t.Errorf("%s: opened %d times", what, b.door.opened-before)
			}
		}
		stranger := pid.KeyFromSeed([32]byte{3}).ID()
		ask("right", b.friend, right, true)
		ask("a stranger", stranger, right, false)
		time.Sleep(doorTell)
		ask("wrong", b.friend, wrong, false)
		ask("right, but too soon", b.friend, right, false)
		time.Sleep(2 * time.Second)
		ask("right, after the pause", b.friend, right, true)
		b.door.err = errors.New("line busy")
		b.Notify(voipcore.Event{Kind: voipcore.DoorAsked, Call: 1, Peer: b.friend, PIN: right})
		synctest.Wait()
		b.want(InCall, "door opened: false")
		p := b.policy()
		p.Door = nil
		b.Configure(p)
		b.door.err = nil
		synctest.Wait()
		ask("no door", b.friend, right, false)
		time.Sleep(time.Hour)
		lines := strings.Count(b.log.String(), "stays closed")
		for range 100 {
			ask("no door, again and again", b.friend, right, false)
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(b.log.String(), "stays closed") - lines; n < 4 || n > 6 {
			t.Errorf("%d lines of the log in 10 s", n)
		}
		if log := b.log.String(); strings.Contains(log, "4711") || strings.Contains(log, "4712") || !strings.Contains(log, "wrong PIN") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

// After wrong PINs the pauses grow, up to 15 minutes, and a right one ends them.
func TestDoorGuard(t *testing.T) {
	right := voipcore.PIN{'1', '2', '3', '4'}
	var g doorGuard
	now := time.Unix(0, 0)
	var ok bool
	for n := 1; n <= 12; n++ {
		if g, ok = g.try(voipcore.PIN{'0'}, right, now); ok {
			t.Fatal("a wrong PIN opens")
		}
		want := min(maxPause, time.Second<<n)
		if got := g.until.Sub(now); got != want {
			t.Errorf("after %d wrong ones a pause of %v, want %v", n, got, want)
		}
		if g, ok = g.try(right, right, g.until.Add(-1)); ok {
			t.Errorf("after %d wrong ones the right one opens in the pause", n)
		}
		now = g.until
	}
	if g, ok = g.try(right, right, now); !ok || g != (doorGuard{}) {
		t.Errorf("the right one: %v, %+v", ok, g)
	}
	if _, ok = g.try(voipcore.PIN{}, voipcore.PIN{}, now); ok {
		t.Error("no PIN opens where none is set")
	}
}

// Who asks to have the far end's door opened is told what came of it.
func TestOpenDoor(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		pin := voipcore.PIN{'4'}
		if err := b.OpenDoor(t.Context(), pin); err == nil {
			t.Error("OpenDoor without a call is no error")
		}
		b.tell(voipcore.Answered, 1)
		opens := func(then func()) error {
			done := make(chan error, 1)
			go func() { done <- b.OpenDoor(context.Background(), pin) }()
			synctest.Wait()
			then()
			return <-done
		}
		answer := func(opened bool) func() {
			return func() { b.Notify(voipcore.Event{Kind: voipcore.DoorAnswered, Call: 1, Opened: opened}) }
		}
		if err := opens(answer(true)); err != nil {
			t.Error(err)
		}
		if err := opens(answer(false)); !errors.Is(err, ErrDoorClosed) {
			t.Errorf("a door that stays closed: %v", err)
		}
		// By a button it is heard: upwards or downwards, not the same.
		p := b.policy()
		p.Buttons["2"] = Button{Double: Action{Do: DoDoor}}
		b.Configure(p)
		b.core.take()
		for _, opened := range []bool{true, false} {
			b.gesture("2", DoublePress)
			b.want(InCall, "door")
			b.hears(time.Second)
			answer(opened)()
			if tones, _ := b.hears(time.Second); opened && (tones < 6 || tones > 9) || !opened && (tones < 11 || tones > 13) {
				t.Errorf("opened %v: %d frames of tones", opened, tones)
			}
		}
		if err := opens(func() { b.tell(voipcore.Ended, 1) }); !errors.Is(err, errNoDoorCall) {
			t.Errorf("a call that ends before the answer: %v", err)
		}
		b.core.take()
		b.gesture("2", DoublePress) // without a call nobody is asked
		b.want(Ended)
	})
}

// What is wrong with the box is shown while it does nothing else.
func TestDiagnose(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.Diagnose(NoSound)
		synctest.Wait()
		b.want(NoSound)
		b.press()
		b.want(Calling, "call")
		b.Diagnose(NoNetwork)
		b.tell(voipcore.Unreachable, b.core.last)
		b.want(Unreachable)
		time.Sleep(showFailure)
		synctest.Wait()
		b.want(Idle) // it is online, so there is a network
		b.Notify(voipcore.Event{Kind: voipcore.Reachability})
		synctest.Wait()
		b.want(NoNetwork)
		b.Notify(voipcore.Event{Kind: voipcore.Reachability, Online: true})
		b.Diagnose(0)
		synctest.Wait()
		b.want(Idle)
	})
}

// Off is for the night that it was said in. Who keeps the switch over a start is told
// when it goes back, or the next start takes it for the night that is then.
func TestOffIsOverForWhoKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var night atomic.Bool
		saved := On // as a box does: with each NewsQuiet
		var d *Device
		start := func(s Switch) (end func()) {
			d = New(Options{
				Own: pid.KeyFromSeed([32]byte{2}), Policy: Policy{Quiet: func(time.Time) bool { return night.Load() }}, Quiet: s,
				Microphone: &fakeCard{}, Speaker: &fakeCard{}, Lamp: &fakeLamp{}, Log: slog.New(slog.DiscardHandler),
				Tell: func(n News) {
					if n.Kind == NewsQuiet {
						saved = d.Status().Switch
					}
				},
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- d.Run(ctx, &fakeCore{}) }()
			synctest.Wait()
			return func() { cancel(); <-done }
		}
		night.Store(true)
		end := start(Scheduled)
		if err := d.SetQuiet(t.Context(), Off); err != nil {
			t.Fatal(err)
		}
		night.Store(false)
		time.Sleep(quietEvery + time.Second)
		synctest.Wait()
		if now := d.Status().Switch; now != Scheduled || saved != Scheduled {
			t.Errorf("in the morning the switch is %v, saved is %v", now, saved)
		}
		end()

		saved = Off // the box was off when the night ended
		start(saved)()
		if saved != Scheduled {
			t.Errorf("started by day, saved stays %v", saved)
		}
		night.Store(true)
		end = start(saved) // such as an upgrade in the next night
		if !d.Status().Quiet {
			t.Error("in the next night it rings")
		}
		end()
	})
}
