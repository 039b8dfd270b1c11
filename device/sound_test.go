package device

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/device/tone"
	"hushbell/voipcore"
	"hushbell/voipcore/call"
)

// hears returns how many frames of tones and of the far end's voice are heard
// within a time.
func (b *bench) hears(d time.Duration) (tones, voice int64) {
	tones, voice = b.card.tones.Load(), b.card.voice.Load()
	time.Sleep(d)
	synctest.Wait()
	return b.card.tones.Load() - tones, b.card.voice.Load() - voice
}

// What the speaker plays in the course of a call, and that there is silence, with
// the speaker asleep, where nothing is to be heard.
func TestTonesOfACall(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		silent := func(when string) {
			t.Helper()
			time.Sleep(700 * time.Millisecond) // a beep ends by itself
			written := b.card.written.Load()
			if tones, voice := b.hears(10 * time.Second); tones+voice > 0 || b.card.written.Load() != written {
				t.Errorf("%s: %d frames of tones, %d of voice, %d written", when, tones, voice, b.card.written.Load()-written)
			}
		}
		sounds := func(when string, d time.Duration, least, most, ofVoice int64) {
			t.Helper()
			if tones, voice := b.hears(d); tones < least || tones > most || voice < ofVoice {
				t.Errorf("%s: %d frames of tones, %d of voice in %v", when, tones, voice, d)
			}
		}
		silent("idle")
		b.press()
		sounds("pressed", 200*time.Millisecond, 2, 3, 0) // 60 ms, one frame of which was heard before
		silent("calling")
		b.tell(voipcore.RingingFar, 1)
		sounds("ringback", 10*time.Second, 90, 110, 0) // 1 s of each 5
		b.tell(voipcore.Answered, 1)
		sounds("answered", time.Second, 6, 10, 35) // 150 ms, then the call
		b.tell(voipcore.WaitingHere, 2)
		sounds("somebody waits", 5*time.Second, 18, 24, 200) // twice 200 ms
		b.tell(voipcore.Missed, 2)
		sounds("and goes", 3*time.Second, 0, 1, 140)
		b.tell(voipcore.Ended, 1)
		sounds("the far end hangs up", time.Second, 10, 15, 0)
		silent("after the call")

		b.tell(voipcore.RingingHere, 3)
		sounds("ring", 10*time.Second, 90, 110, 0)
		b.tell(voipcore.StopRinging, 3)
		silent("nobody has answered")
		b.tell(voipcore.Missed, 3)
		b.tell(voipcore.Answered, 4)
		sounds("answered by itself", time.Second, 13, 20, 25) // twice 150 ms
		b.press()
		if tones, voice := b.hears(100 * time.Millisecond); tones > 1 || voice > 0 {
			t.Errorf("within 100 ms of hanging up %d frames of tones and %d of voice are heard", tones, voice)
		}
		silent("after we have hung up")
		for kind, least := range map[voipcore.EventKind]int64{voipcore.Busy: 100, voipcore.Declined: 100, voipcore.Unreachable: 50, voipcore.NoAnswer: 10} {
			b.press()
			b.tell(kind, b.core.last)
			sounds(kind.String(), showFailure, least, 240, 0)
			silent("after " + kind.String())
		}
		b.want(Idle, "call", "hang up", "call", "call", "call", "call")
	})
}

// A beep is cut short when its call ends.
func TestHangUpCutsTheBeep(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.tell(voipcore.Answered, 1)
		b.hears(100 * time.Millisecond)
		b.press()
		if tones, voice := b.hears(time.Second); tones > 1 || voice > 0 {
			t.Errorf("after hanging up %d frames of tones and %d of voice are heard", tones, voice)
		}
	})
}

// A diary is what was done, in order, with the simulated time since the press.
type diary struct {
	mu    sync.Mutex
	began time.Time
	order []string
	late  time.Duration
}

func (d *diary) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.order = append(d.order, what)
	d.late = max(d.late, time.Since(d.began))
}

type notedLamp struct{ d *diary }

func (l notedLamp) Set(string) { l.d.note("LED") }

// From the edge of the button, settled, to the LED, the beep and the start of the
// lookup: in that order, in no time but that which a frame of sound takes.
func TestPressIsSeenAndHeardAtOnce(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		d := &diary{}
		b.o.Lamp = notedLamp{d}
		b.core.onCall = func() { d.note("lookup") }
		b.card.onTone = func() { d.note("beep") }
		synctest.Wait()
		d.began = time.Now()
		b.press()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		d.mu.Lock()
		order, late := slices.Clone(d.order), d.late
		d.mu.Unlock()
		slices.Sort(order[1:]) // beep and lookup begin on two goroutines
		if !slices.Equal(order, []string{"LED", "beep", "lookup"}) || late >= 10*time.Millisecond {
			t.Errorf("%q, after %v at most", order, late)
		}
		b.o.Lamp = b.lamp
		b.lamp.Set(b.Status().State.Lamp())
	})
}

// Push to talk: the far end hears us only while the button is held, and frames of
// silence else; a hold also calls and answers.
func TestPushToTalk(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		p := b.policy()
		p.PushToTalk = true
		b.Configure(p)
		synctest.Wait()
		said := func(d time.Duration) (loud, silent int64) {
			loud, silent = b.core.loud.Load(), b.core.spoken.Load()
			time.Sleep(d)
			synctest.Wait()
			loud = b.core.loud.Load() - loud
			return loud, b.core.spoken.Load() - silent - loud
		}
		b.gesture("", HoldStart)
		b.want(Calling, "call")
		b.gesture("", HoldEnd)
		b.tell(voipcore.Answered, 1)
		said(40 * time.Millisecond)
		if loud, silent := said(time.Second); loud > 0 || silent < 48 {
			t.Errorf("not held: %d frames are spoken, %d are silence", loud, silent)
		}
		b.gesture("", HoldStart)
		said(40 * time.Millisecond)
		if loud, silent := said(time.Second); loud < 48 || silent > 0 {
			t.Errorf("held: %d frames are spoken, %d are silence", loud, silent)
		}
		b.gesture("", HoldEnd)
		b.want(InCall)
		b.gesture("", ShortPress)
		b.want(HungUp, "hang up")
		b.tell(voipcore.RingingHere, 2)
		b.gesture("", HoldStart)
		b.want(Answering, "answer")
	})
}

// Other tones are taken while one plays, and the state's tone goes on.
func TestOtherTones(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.tell(voipcore.RingingHere, 1)
		b.hears(time.Second)
		p := b.policy()
		var err error
		if p.Tones, err = tone.New(tone.Options{Country: "us"}); err != nil {
			t.Fatal(err)
		}
		b.Configure(p)
		synctest.Wait()
		if tones, _ := b.hears(1900 * time.Millisecond); tones < 90 {
			t.Errorf("a bell that rings for 2 s is heard for %d frames", tones)
		}
		p.Tones.SetVolume(0, tone.Full)
		b.hears(time.Second)
		if tones, _ := b.hears(10 * time.Second); tones > 0 {
			t.Errorf("with no volume the bell is heard for %d frames", tones)
		}
		b.tell(voipcore.Missed, 1)
	})
}

// A reload makes its tones anew each time. Where they sound as before, a ring goes on
// as it was, and the beep of a box that answers by itself is heard; where they do not,
// it begins again.
func TestSameTones(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		reload := func(o tone.Options) {
			t.Helper()
			p := b.policy()
			var err error
			if p.Tones, err = tone.New(o); err != nil {
				t.Fatal(err)
			}
			b.Configure(p)
			synctest.Wait()
		}
		b.tell(voipcore.RingingHere, 1)
		b.hears(2 * time.Second) // it rings for 1 s of each 5
		reload(tone.Options{})
		if tones, _ := b.hears(2 * time.Second); tones > 0 {
			t.Errorf("in the pause of a ring %d frames of tones are heard", tones)
		}
		b.tell(voipcore.Missed, 1)
		b.hears(showEnd + time.Second)
		for _, tt := range []struct {
			country     string
			least, most int64
		}{{"", 13, 18}, {"us", 16, 25}} {
			b.tell(voipcore.Answered, 2) // beeps for 300 ms
			before, _ := b.hears(100 * time.Millisecond)
			reload(tone.Options{Country: tt.country})
			after, _ := b.hears(time.Second)
			if n := before + after; n < tt.least || n > tt.most {
				t.Errorf("of a beep with new tones %q in it %d frames are heard", tt.country, n)
			}
			b.tell(voipcore.Ended, 2)
			b.hears(showEnd + time.Second)
		}
	})
}

// spoken returns how many frames that are not silent go to the far end in a second,
// once those on their way are there.
func (b *bench) spoken() int64 {
	time.Sleep(40 * time.Millisecond)
	loud := b.core.loud.Load()
	time.Sleep(time.Second)
	synctest.Wait()
	return b.core.loud.Load() - loud
}

// Who holds a button for push to talk in a call talks, whatever else its press does.
func TestHeldButtonTalks(t *testing.T) {
	for name, action := range map[string]Action{"door": {Do: DoDoor}, "dnd": {Do: DoQuiet}, "hang up": {Do: DoHangUp}, "call": {DoCall, "workshop"}} {
		onBench(t, func(t *testing.T, b *bench) {
			p := b.policy()
			p.PushToTalk = true
			p.Buttons["2"] = Button{Press: action}
			b.Configure(p)
			b.press()
			b.tell(voipcore.Answered, 1)
			b.want(InCall, "call")
			b.gesture("2", HoldStart)
			if n := b.spoken(); n < 48 {
				t.Errorf("%s: held for a second, %d frames are spoken", name, n)
			}
			if asked := b.core.take(); len(asked) > 0 || b.Status().Quiet || b.Status().State != InCall {
				t.Errorf("%s: held, it asks for %q, do-not-disturb is %v, state %v", name, asked, b.Status().Quiet, b.Status().State)
			}
			b.gesture("2", HoldEnd)
		})
	}
}

// A button that a reload has taken away while it was held is still let go, and can be
// held: the line is there until the next start.
func TestHeldButtonThatGoes(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		p := b.policy()
		p.PushToTalk = true
		b.tell(voipcore.Answered, 1)
		p.Buttons["7"] = Button{Press: Action{Do: DoDoor}}
		b.Configure(p)
		b.gesture("7", HoldStart)
		p = b.policy()
		p.PushToTalk = true
		b.Configure(p)
		b.gesture("7", HoldEnd)
		if n := b.spoken(); n > 0 {
			t.Errorf("it was let go, and %d frames are spoken in a second", n)
		}
		b.gesture("7", ShortPress)
		b.want(InCall)
		b.gesture("7", HoldStart)
		if n := b.spoken(); n < 48 {
			t.Errorf("it is held, and %d frames are spoken in a second", n)
		}
	})
}

// Who never lets go, as a command that said hold and was killed, does not leave the
// microphone open in the calls after this one.
func TestHoldEndsWithTheCall(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		p := b.policy()
		p.PushToTalk = true
		b.Configure(p)
		b.gesture("", HoldStart)
		b.tell(voipcore.Answered, 1)
		if n := b.spoken(); n < 48 {
			t.Errorf("held for a second, %d frames are spoken", n)
		}
		b.tell(voipcore.Ended, 1)
		time.Sleep(time.Hour)
		for _, id := range []call.ID{2, 3} { // by itself: nobody is there; 3 takes the line from 2
			b.tell(voipcore.Answered, id)
			if n := b.spoken(); n > 0 {
				t.Errorf("call %d: nobody holds the button, and %d frames are spoken in a second", id, n)
			}
			b.gesture("", HoldStart)
		}
	})
}
