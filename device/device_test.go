package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/device/tone"
	"hushbell/voipcore"
	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/voice"
)

// A fakeCore notes what it is asked for. What becomes of calls the test says.
type fakeCore struct {
	mu     sync.Mutex
	asked  []string
	called pid.ID
	last   call.ID
	dead   bool // nothing is alive
	err    error
	spoken atomic.Int64 // frames
	loud   atomic.Int64 // those of them that are not silence
	onCall func()       // told of each; nil for nobody
}

func (c *fakeCore) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, what)
}

func (c *fakeCore) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

func (c *fakeCore) Call(own *pid.Key, far pid.ID) (call.ID, error) {
	c.note("call")
	if c.onCall != nil {
		c.onCall()
	}
	c.called = far
	c.last++
	return c.last, c.err
}
func (c *fakeCore) CallGroup(own *pid.Key, far []pid.ID, page bool) (call.ID, error) {
	what := "group"
	if page {
		what = "page"
	}
	c.note(fmt.Sprintf("%s of %d", what, len(far)))
	c.last++
	return c.last, c.err
}
func (c *fakeCore) OpenDoor(call.ID, voipcore.PIN) error { c.note("door"); return c.err }
func (c *fakeCore) AnswerDoor(_ call.ID, opened bool)    { c.note(fmt.Sprint("door opened: ", opened)) }
func (c *fakeCore) Answer(call.ID)                       { c.note("answer") }
func (c *fakeCore) HangUp(call.ID)                       { c.note("hang up") }
func (c *fakeCore) Silence(call.ID)                      { c.note("silence") }
func (c *fakeCore) Alive(call.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.dead
}
func (c *fakeCore) Speak(pcm *[voice.FrameSamples]int16) bool {
	c.spoken.Add(1)
	if *pcm != [voice.FrameSamples]int16{} {
		c.loud.Add(1)
	}
	return true
}
func (c *fakeCore) Listen(pcm *[voice.FrameSamples]int16) bool {
	for i := range pcm {
		pcm[i] = 7
	}
	return true
}

// A fakeCard is microphone and speaker in simulated time.
type fakeCard struct {
	read, written, stopped atomic.Int64
	voice, tones           atomic.Int64 // frames of what was written
	onTone                 func()       // told of the first of them; nil for nobody
	err                    error
}

func (c *fakeCard) Read(pcm *[voice.FrameSamples]int16) error {
	pcm[0] = 1
	time.Sleep(20 * time.Millisecond)
	c.read.Add(1)
	return c.err
}

// Write counts what is heard: the far end is a steady 7 in all samples, and
// everything else is tones.
func (c *fakeCard) Write(pcm *[voice.FrameSamples]int16) error {
	switch {
	case pcm[0] == 7 && pcm[voice.FrameSamples-1] == 7:
		c.voice.Add(1)
	case *pcm != [voice.FrameSamples]int16{}:
		if c.tones.Add(1) == 1 && c.onTone != nil {
			c.onTone()
		}
	}
	c.written.Add(1)
	time.Sleep(20 * time.Millisecond)
	return nil
}
func (c *fakeCard) Stop() { c.stopped.Add(1) }

type fakeLamp struct{ pattern atomic.Value }

func (l *fakeLamp) Set(p string) { l.pattern.Store(p) }

// A bench is a device with fakes around it.
type bench struct {
	*Device
	t      *testing.T
	core   *fakeCore
	card   *fakeCard
	lamp   *fakeLamp
	door   *doorBolt
	mute   atomic.Bool // the speaker does not work
	friend pid.ID
	log    *bytes.Buffer

	mu   sync.Mutex
	news []News
}

// onBench runs a test with a device that runs, in simulated time.
func onBench(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, core: &fakeCore{}, card: &fakeCard{}, lamp: &fakeLamp{}, door: &doorBolt{},
			friend: pid.KeyFromSeed([32]byte{1}).ID(), log: new(bytes.Buffer)}
		b.Device = New(Options{
			Own: pid.KeyFromSeed([32]byte{2}), Policy: b.policy(),
			Microphone: b.card, Speaker: b.card, Lamp: b.lamp, Audible: func() bool { return !b.mute.Load() },
			Log: slog.New(slog.NewTextHandler(b.log, nil)),
			Tell: func(n News) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.news = append(b.news, n)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx, b.core) }()
		b.Notify(voipcore.Event{Kind: voipcore.Reachability, Online: true})
		synctest.Wait()
		f(t, b)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if p := b.lamp.pattern.Load(); p != "off" {
			t.Errorf("at the end the lamp shows %q", p)
		}
		if strings.Contains(b.log.String(), b.friend.String()[:12]) {
			t.Errorf("a pid is in the log:\n%s", b.log)
		}
	})
}

// policy is that of the bench: a button that calls the workshop, and all of the
// house with a long press.
func (b *bench) policy() Policy {
	return Policy{
		Contacts: []Contact{{"Workshop", b.friend, false}, {"Kitchen", pid.KeyFromSeed([32]byte{9}).ID(), true}},
		Groups:   []Group{{"house", []string{"kitchen", "workshop", "cellar"}}},
		Buttons: map[string]Button{
			"":  {Press: Action{DoCall, "workshop"}, Long: Action{DoCall, "House"}, Double: Action{Do: DoQuiet}},
			"2": {Press: Action{DoPage, "house"}, Long: Action{Do: DoHangUp}},
		},
		Door: &Door{PIN: voipcore.PIN{'4', '7', '1', '1'}, Open: b.door.open},
	}
}

// A doorBolt counts how often it was opened.
type doorBolt struct {
	opened int
	err    error
}

func (d *doorBolt) open() error { d.opened++; return d.err }

func (b *bench) press() { b.gesture("", ShortPress) }

func (b *bench) gesture(button string, k GestureKind) {
	if err := b.Press(b.t.Context(), Gesture{button, k}); err != nil {
		b.t.Error(err)
	}
	synctest.Wait()
}

func (b *bench) tell(k voipcore.EventKind, id call.ID) {
	b.Notify(voipcore.Event{Kind: k, Call: id, Peer: b.friend, Outgoing: true, Err: nil})
	synctest.Wait()
}

// want checks the state, its lamp, and what voipcore was asked for since.
func (b *bench) want(s State, asked ...string) {
	b.t.Helper()
	if got := b.Status().State; got != s {
		b.t.Errorf("state %v, want %v", got, s)
	}
	if p := b.lamp.pattern.Load(); p != s.Lamp() {
		b.t.Errorf("in state %v the lamp shows %q", s, p)
	}
	if got := b.core.take(); !slices.Equal(got, asked) {
		b.t.Errorf("voipcore was asked for %q, want %q", got, asked)
	}
}

// told takes what was told, as words.
func (b *bench) told() (kinds []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.news {
		kinds = append(kinds, n.Kind)
	}
	b.news = nil
	return kinds
}

// A press calls, the far end answers, sound runs; a press hangs up, and there
// is silence at once; the result goes away by itself.
func TestCallByButton(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.press()
		b.want(Calling, "call")
		if b.core.called != b.friend {
			t.Error("somebody else is called")
		}
		b.tell(voipcore.RingingFar, 1)
		b.want(RingingFar)
		b.tell(voipcore.Answered, 1)
		b.want(InCall)
		time.Sleep(time.Second)
		if r, w, s := b.card.read.Load(), b.card.written.Load(), b.core.spoken.Load(); r < 48 || w < 48 || s < 48 {
			t.Errorf("in a second %d frames were read, %d written, %d spoken", r, w, s)
		}
		stopped := b.card.stopped.Load()
		b.press()
		b.want(HungUp, "hang up")
		b.tell(voipcore.Ended, 1)
		time.Sleep(100 * time.Millisecond)
		r, w := b.card.read.Load(), b.card.written.Load()
		time.Sleep(10 * time.Second)
		if b.card.read.Load() != r || b.card.written.Load() != w || b.card.stopped.Load() != stopped+2 {
			t.Error("sound goes on 100 ms after the call")
		}
		b.want(Idle)
		c := b.Status().Call
		if c.Peer.Name != "Workshop" || !c.Outgoing || c.Reason != "ended" || c.Answered.Before(c.Began) || c.Ended.Before(c.Answered) {
			t.Errorf("the last call is %+v", c)
		}
		want := []string{"online", "press", "calling", "ringing-far", "answered", "press", "ended", "state"}
		if got := b.told(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestAnswerAndReject(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.tell(voipcore.RingingHere, 1)
		b.want(RingingHere)
		b.press()
		b.want(Answering, "answer")
		b.tell(voipcore.StopRinging, 1)
		b.tell(voipcore.Answered, 1)
		b.want(InCall)
		b.tell(voipcore.WaitingHere, 2)
		b.want(CallWaiting)
		b.tell(voipcore.Missed, 2)
		b.want(InCall)
		if c := b.Status().Call; c.ID != 1 || !c.Ended.IsZero() {
			t.Errorf("the call of the status is %+v", c)
		}
		b.tell(voipcore.WaitingHere, 3)
		b.want(CallWaiting)
		b.tell(voipcore.Lost, 1)
		b.want(Ended)
		time.Sleep(showEnd)
		synctest.Wait()
		b.tell(voipcore.RingingHere, 3)
		if err := b.HangUp(t.Context()); err != nil {
			t.Error(err)
		}
		b.want(Idle, "hang up")
		b.tell(voipcore.RingingHere, 4)
		if err := b.Answer(t.Context()); err != nil {
			t.Error(err)
		}
		b.want(Answering, "answer")
	})
}

// Two boxes called each other, and our call gave way without a word.
func TestCallThatVanishes(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.press()
		b.want(Calling, "call")
		time.Sleep(3*auditEvery + time.Second) // between two audits
		b.want(Calling)
		b.core.mu.Lock()
		b.core.dead = true
		b.core.mu.Unlock()
		time.Sleep(auditEvery)
		synctest.Wait()
		b.want(Unreachable)
		if c := b.Status().Call; c.Reason != "lost" || c.Ended.IsZero() {
			t.Errorf("the call that vanished is %+v", c)
		}
		time.Sleep(showFailure)
		synctest.Wait()
		b.want(Idle)
	})
}

func TestCallThatCannotBePlaced(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want State
	}{{voipcore.ErrLineTaken, Busy}, {voipcore.ErrSelf, Unreachable}} {
		onBench(t, func(t *testing.T, b *bench) {
			b.core.err = tt.err
			b.press()
			b.want(tt.want, "call")
			if err := b.Device.Call(t.Context(), "workshop", false); !errors.Is(err, tt.err) {
				t.Errorf("Call = %v, want %v", err, tt.err)
			}
			b.want(tt.want, "call")
			time.Sleep(showFailure)
			synctest.Wait()
			b.want(Idle)
		})
	}
	onBench(t, func(t *testing.T, b *bench) {
		b.Configure(Policy{Buttons: map[string]Button{"": {Press: Action{DoCall, "cellar"}}}})
		synctest.Wait()
		b.press()
		b.want(Unreachable)
		if !strings.Contains(b.log.String(), `hushbell contact add`) {
			t.Errorf("the log does not say what to do:\n%s", b.log)
		}
	})
}

func TestCommands(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		if err := b.Answer(ctx); err == nil {
			t.Error("Answer of nobody is no error")
		}
		if err := b.HangUp(ctx); err == nil {
			t.Error("HangUp of nothing is no error")
		}
		if err := b.Device.Call(ctx, "cellar", false); err == nil {
			t.Error("Call of nobody is no error")
		}
		stranger := pid.KeyFromSeed([32]byte{3}).ID()
		if err := b.Device.Call(ctx, stranger.String(), false); err != nil || b.core.called != stranger {
			t.Errorf("Call of a pid = %v", err)
		}
		if err := b.Device.Call(ctx, "workshop", false); err == nil {
			t.Error("Call in a call is no error")
		}
		b.want(Calling, "call")
	})
}

func always(time.Time) bool { return true }

func TestWelcome(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		stranger := pid.KeyFromSeed([32]byte{3}).ID()
		for _, tt := range []struct {
			p                Policy
			friend, stranger voipcore.Welcome
		}{
			{Policy{Contacts: []Contact{{"a", b.friend, false}}}, voipcore.Ring, voipcore.Decline},
			{Policy{Contacts: []Contact{{"a", b.friend, true}}, Unknown: voipcore.Silent}, voipcore.Admit, voipcore.Silent},
			{Policy{Contacts: []Contact{{"a", b.friend, true}}, Unknown: voipcore.Ring, Quiet: always}, voipcore.Silent, voipcore.Silent},
			{Policy{Contacts: []Contact{{"a", b.friend, true}}, Unknown: voipcore.Decline, Quiet: always}, voipcore.Silent, voipcore.Decline},
			{Policy{Contacts: []Contact{{"a", b.friend, true}}, Unknown: voipcore.Ring}, voipcore.Admit, voipcore.Ring},
			{Policy{}, voipcore.Decline, voipcore.Decline},
		} {
			b.Configure(tt.p)
			synctest.Wait()
			if f, s := b.Welcome(b.friend), b.Welcome(stranger); f != tt.friend || s != tt.stranger {
				t.Errorf("%+v: welcome %v and %v, want %v and %v", tt.p, f, s, tt.friend, tt.stranger)
			}
		}
	})
}

// Without a speaker nobody hears that a call was answered: it rings.
func TestWelcomeWithoutSpeaker(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.Configure(Policy{Contacts: []Contact{{"a", b.friend, true}}})
		synctest.Wait()
		for _, want := range []voipcore.Welcome{voipcore.Admit, voipcore.Ring, voipcore.Admit} {
			b.mute.Store(want == voipcore.Ring)
			if w := b.Welcome(b.friend); w != want {
				t.Errorf("with a broken speaker (%t): welcome %v, want %v", b.mute.Load(), w, want)
			}
		}
		if n := strings.Count(b.log.String(), "without the speaker"); n != 1 {
			t.Errorf("told %d times, want once:\n%s", n, b.log)
		}
	})
}

// A microphone that fails is told of, and the far end is still heard.
func TestSoundFails(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.card.err = errors.New("unplugged")
		b.tell(voipcore.Answered, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if b.card.read.Load() != 1 || b.card.written.Load() < 48 {
			t.Errorf("%d frames read, %d written", b.card.read.Load(), b.card.written.Load())
		}
		if !strings.Contains(b.log.String(), "unplugged") {
			t.Errorf("not told:\n%s", b.log)
		}
	})
}

// Commands after the end are refused, not waited for.
func TestAfterRun(t *testing.T) {
	d := New(Options{Microphone: &fakeCard{}, Speaker: &fakeCard{}, Lamp: &fakeLamp{}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Run(ctx, &fakeCore{}); err != nil {
		t.Fatal(err)
	}
	if err := d.HangUp(t.Context()); !errors.Is(err, errNotRunning) {
		t.Errorf("HangUp = %v", err)
	}
	d.Notify(voipcore.Event{Kind: voipcore.Ended, Call: 1})
}

// A counter is a sound card that ends the loops after so many frames.
type counter struct {
	left int
	stop *atomic.Bool
}

func (c *counter) Read(*[voice.FrameSamples]int16) error {
	if c.left--; c.left == 0 {
		c.stop.Store(true)
	}
	return nil
}
func (c *counter) Write(pcm *[voice.FrameSamples]int16) error {
	if c.Read(pcm); c.left <= 0 {
		return errCounted
	}
	return nil
}
func (c *counter) Stop() {}

var errCounted = errors.New("enough")

func TestLoopsDoNotAllocate(t *testing.T) {
	stop := new(atomic.Bool)
	card := &counter{stop: stop}
	tones, err := tone.New(tone.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSound(card, card, tones, slog.New(slog.DiscardHandler))
	core := &fakeCore{}
	for name, loop := range map[string]func() error{
		"capture": func() error { return s.capture(core, stop) },
		"a call, with a tone in it": func() error {
			s.talk = core
			s.tones.Load().Play(tone.Waiting)
			return s.run()
		},
		"a tone": func() error {
			s.talk = nil
			s.tones.Load().Play(tone.Ring)
			return s.run()
		},
	} {
		n := testing.AllocsPerRun(5, func() {
			card.left = 1000
			stop.Store(false)
			if err := loop(); err != nil && err != errCounted {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations in 1000 frames", name, n)
		}
	}
}

// An hour of whatever may happen to a device with its loops: when all calls are
// over and nobody does anything any more, it rests, dark, and sound is asleep.
func TestRandomHour(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	onBench(t, func(t *testing.T, b *bench) {
		p := b.policy()
		p.MaxCall = time.Minute
		b.Configure(p)
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(time.Duration(r.ExpFloat64() * float64(time.Second))) {
			switch r.IntN(5) {
			case 0:
				b.gesture([]string{"", "2"}[r.IntN(2)], GestureKind(r.IntN(5)))
			case 1:
				b.Notify(voipcore.Event{Kind: voipcore.Reachability, Online: r.IntN(3) > 0})
			case 2:
				b.Diagnose([]State{0, 0, 0, NoSound, NoNetwork}[r.IntN(5)])
			default:
				b.tell(voipcore.RingingFar+voipcore.EventKind(r.IntN(int(voipcore.Lost))), b.core.last+call.ID(r.IntN(2)))
			}
		}
		b.core.mu.Lock()
		b.core.dead = true // no call is left, and of some nothing was said
		b.core.mu.Unlock()
		b.gesture("", HoldEnd)
		b.Diagnose(0)
		b.Notify(voipcore.Event{Kind: voipcore.Reachability, Online: true})
		if err := b.SetQuiet(t.Context(), Off); err != nil {
			t.Error(err)
		}
		time.Sleep(2*auditEvery + showFailure + time.Second)
		synctest.Wait()
		read, written := b.card.read.Load(), b.card.written.Load()
		time.Sleep(time.Minute)
		b.core.take()
		b.want(Idle)
		if b.card.read.Load() != read || b.card.written.Load() != written {
			t.Error("sound goes on")
		}
		if t.Failed() {
			t.Logf("seed %d: %+v", seed, b.m)
		}
	})
}
