// Package device is the intercom itself: it joins a button, a lamp and sound to
// calls. How it behaves is a machine without I/O (behaviour.go) over a table of
// what each state shows and plays (states.go); this file has what happens come to
// it one after the other, and carries out what it says; news.go has what is known
// of calls.
//
//	buttons, commands, voipcore's events, timers -> Machine.Step -> calls, sound, lamp
//
// It knows contacts, but no files, sockets or hardware: those are handed to it.
package device

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/device/tone"
	"hushbell/voipcore"
	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
)

// Calls is what a device needs of a *voipcore.Core.
type Calls interface {
	talker
	Call(own *pid.Key, far pid.ID) (call.ID, error)
	CallGroup(own *pid.Key, far []pid.ID, page bool) (call.ID, error)
	Answer(call.ID)
	HangUp(call.ID)
	OpenDoor(call.ID, voipcore.PIN) error
	AnswerDoor(id call.ID, opened bool)
	Silence(call.ID)
	Alive(call.ID) bool
}

// A Lamp shows the pattern of that name, as package gpio calls it, until the
// next Set.
type Lamp interface{ Set(pattern string) }

// A Gesture is what was done with a button.
type Gesture struct {
	Button string // its name in Policy.Buttons
	Kind   GestureKind
}

// A GestureKind is what can be done with a button.
type GestureKind uint8

// The gestures. HoldStart and HoldEnd frame the time for which a button for push
// to talk is held.
const (
	ShortPress GestureKind = iota
	LongPress
	DoublePress
	HoldStart
	HoldEnd
)

// Options are what a Device is made of. Policy, Quiet, Audible, Now and Tell may be
// left out.
type Options struct {
	Own        *pid.Key // calls are placed with it
	Policy     Policy
	Quiet      Switch // how the switch of do-not-disturb stands at the start
	Microphone Microphone
	Speaker    Speaker
	Audible    func() bool // the speaker works; asked on many goroutines; nil: it does
	Lamp       Lamp
	Now        func() time.Time // what do-not-disturb goes by; nil is time.Now
	Tell       func(News)       // told what happens, on the goroutine of Run; nil for nobody
	Log        *slog.Logger
}

// A Device is a box. Its methods are safe for concurrent use; those that ask
// for something are carried out while Run runs.
type Device struct {
	o      Options
	policy atomic.Pointer[Policy]
	queue  *queue

	quiet atomic.Bool // do not disturb

	// Owned by Run.
	calls      Calls
	m          Machine
	sound      *sound
	pressed    time.Time   // when a press last did something
	shown      *time.Timer // the result that is shown
	audit      *time.Timer // runs while there is a call
	limit      *time.Timer // how long the call may last
	guard      doorGuard
	doorTold   time.Time    // when the log was last told that the door stays closed
	doorAnswer chan<- error // of size 1: who waits for the far end's door; nil for nobody
	doorHeard  <-chan error // where that of a button comes, for a sound; nil if none was pressed

	mu     sync.Mutex // guards status
	status Status
}

// New returns a Device. Its Welcome and Notify are for voipcore.Open, and what
// comes before Run is kept for it.
func New(o Options) *Device {
	if o.Tell == nil {
		o.Tell = func(News) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Policy.Tones == nil {
		var err error
		if o.Policy.Tones, err = tone.New(tone.Options{}); err != nil {
			panic(err) // the default is one that there is
		}
	}
	d := &Device{o: o, sound: newSound(o.Microphone, o.Speaker, o.Policy.Tones, o.Log), queue: newQueue()}
	d.policy.Store(&o.Policy)
	d.status.Since = time.Now()
	d.status.Quiet, _ = o.Quiet.at(d.scheduled())
	d.status.Switch = o.Quiet // if it goes back, Run tells
	d.quiet.Store(d.status.Quiet)
	return d
}

// Configure changes the policy. A call that stands goes on, for as long as the policy
// allowed when it was answered.
func (d *Device) Configure(p Policy) {
	p.Contacts = slices.Clone(p.Contacts)
	d.policy.Store(&p)
	d.queue.put(func() {
		if p.Tones != nil {
			d.sound.use(p.Tones)
		}
		d.sound.mute.Store(!d.m.Speaks(p.PushToTalk))
		d.checkQuiet()
	})
}

// Welcome says what becomes of a call. It does not block. Nobody is let in unheard: while
// the speaker does not work, what would be answered by itself rings.
func (d *Device) Welcome(from pid.ID) voipcore.Welcome {
	w := d.policy.Load().welcome(from, d.quiet.Load())
	if w == voipcore.Admit && d.o.Audible != nil && !d.o.Audible() {
		d.o.Log.Warn("not answered by itself: it rings, as without the speaker nobody would hear the beep")
		return voipcore.Ring
	}
	return w
}

// Diagnose tells what is wrong with the box: NoNetwork, NoRelays, NoSound or
// ClockWrong; 0 is nothing. It does not block.
func (d *Device) Diagnose(trouble State) {
	d.queue.put(func() {
		if trouble == d.m.Trouble {
			return
		}
		if trouble == 0 {
			d.o.Log.Info("trouble is over", "trouble", d.m.Trouble)
		} else {
			d.o.Log.Warn("trouble", "trouble", trouble, "led", trouble.Lamp())
		}
		d.happens(NewsState, Event{Kind: Diagnosed, Trouble: trouble}, nil, nil)
	})
}

// Notify takes what a Core tells. It does not block.
func (d *Device) Notify(e voipcore.Event) { d.queue.put(func() { d.told(e) }) }

// Status returns what the box does.
func (d *Device) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// auditEvery is how often the machine's call is compared with voipcore's: when
// both ends call each other, one of the calls ends without a word.
const auditEvery = 5 * time.Second

// quietEvery is how often the schedule of do-not-disturb is looked at.
const quietEvery = 20 * time.Second

// Run runs the box until ctx is done. Then the sound is off and the lamp dark;
// ending calls is left to the Core's Close. It can be run once.
func (d *Device) Run(ctx context.Context, calls Calls) error {
	d.calls = calls
	d.shown, d.audit, d.limit = stopped(), stopped(), stopped()
	defer d.shown.Stop()
	defer d.audit.Stop()
	defer d.limit.Stop()
	tick := time.NewTicker(quietEvery)
	defer tick.Stop()
	defer d.o.Lamp.Set("off")
	defer d.sound.wait()
	defer d.sound.off()
	defer d.sound.play(tone.None)
	defer d.queue.close()
	d.o.Lamp.Set(d.m.State.Lamp())
	d.checkQuiet()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.queue.more:
			d.catchUp()
		case <-d.shown.C:
			d.happens(NewsState, Event{Kind: TimeUp}, nil, nil)
		case <-d.audit.C:
			d.checkCall()
		case <-d.limit.C:
			d.o.Log.Info("the call has lasted as long as a call may")
			d.happens(NewsState, Event{Kind: TooLong}, nil, nil)
		case <-tick.C:
			d.checkQuiet()
		}
	}
}

// Ping returns nil when Run has done all that was asked of it before. While Run
// hangs, or has not begun, it waits until ctx is done and says so.
func (d *Device) Ping(ctx context.Context) error {
	turned := make(chan struct{})
	if !d.queue.put(func() { close(turned) }) {
		return errors.New("device: it has ended")
	}
	select {
	case <-turned:
		return nil
	case <-ctx.Done():
		return errors.New("device: its loop does not answer")
	}
}

// catchUp does what is in the queue.
func (d *Device) catchUp() {
	for _, f := range d.queue.take() {
		f()
	}
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// happens lets the machine make a step and carries out what it says. kind and
// c are what is reported; a NewsState is only if the state changed. aim says whom
// a call is to, if the event leads to one.
func (d *Device) happens(kind string, e Event, c *Call, aim func() (*target, error)) {
	was := d.m.State
	var do []Do
	about := e.Call
	if about == 0 {
		about = d.m.Call
	}
	d.m, do = d.m.Step(e)
	d.sound.mute.Store(!d.m.Speaks(d.policy.Load().PushToTalk))
	if d.m.State != was {
		d.o.Lamp.Set(d.m.State.Lamp())
		d.mu.Lock()
		d.status.State, d.status.Since = d.m.State, time.Now()
		d.mu.Unlock()
	}
	if kind != NewsState || d.m.State != was {
		d.o.Tell(News{Kind: kind, At: time.Now(), State: d.m.State, Call: c})
	}
	for _, do := range do {
		d.carryOut(do, about, aim)
	}
	if d.m.Alive() {
		d.audit.Reset(auditEvery)
	} else {
		d.audit.Stop()
	}
	if !d.m.State.Voice() {
		d.doorAnswered(errNoDoorCall)
	}
}

// carryOut does what follows from an event. about is the call that this was about.
func (d *Device) carryOut(do Do, about call.ID, aim func() (*target, error)) {
	switch do {
	case PlaceCall:
		d.place(aim)
	case PickUp:
		d.calls.Answer(d.m.Call)
	case PutDown:
		d.calls.HangUp(about)
	case Silence:
		d.calls.Silence(about)
	case VoiceOn:
		d.sound.on(d.calls)
		if most := d.policy.Load().MaxCall; most > 0 {
			d.limit.Reset(most)
		}
	case VoiceOff:
		d.sound.off()
		d.limit.Stop()
	case ChangeTone:
		d.sound.play(d.m.State.Tone())
	case Click:
		d.signal(tone.Click)
	case AnswerBeep:
		d.signal(tone.Beep)
	case ConnectTone:
		d.signal(tone.Connected)
	case ShowResult:
		d.shown.Reset(states[d.m.State].shown)
	case StopShowing:
		d.shown.Stop()
	}
}

// signal plays a short sound, unless the state has a tone of its own, which would
// not come back.
func (d *Device) signal(t tone.Sound) {
	if d.m.State.Tone() == tone.None {
		d.sound.play(t)
	}
}

// place calls whom aim says.
func (d *Device) place(aim func() (*target, error)) {
	c := Call{Outgoing: true, Began: time.Now()}
	end := EndUnreachable
	to, err := aim()
	if err == nil {
		c.Peer, c.Page = to.peer(), to.page
		c.ID, err = d.dial(to)
	}
	if errors.Is(err, voipcore.ErrLineTaken) {
		end = EndBusy
	}
	if err == nil {
		d.o.Log.Info("calling", "contact", c.Peer.shown())
		d.happens(NewsCalling, Event{Kind: Placed, Call: c.ID}, d.record(c), nil)
		return
	}
	c.Ended, c.Err, c.Reason = c.Began, err, reasons[end]
	d.o.Log.Warn("cannot call", "contact", c.Peer.shown(), "err", err)
	d.happens(NewsEnded, Event{Kind: end}, d.record(c), nil)
}

func (d *Device) dial(to *target) (call.ID, error) {
	if len(to.members) == 1 && !to.page {
		return d.calls.Call(d.o.Own, to.members[0])
	}
	return d.calls.CallGroup(d.o.Own, to.members, to.page)
}

// scheduled reports whether the schedule of do-not-disturb says so now.
func (d *Device) scheduled() bool {
	q := d.policy.Load().Quiet
	return q != nil && q(d.o.Now())
}

// setQuiet switches do-not-disturb.
func (d *Device) setQuiet(s Switch) {
	_, s = s.at(d.scheduled())
	d.mu.Lock()
	d.status.Switch = s
	d.mu.Unlock()
	d.checkQuiet()
	d.o.Tell(News{Kind: NewsQuiet, At: time.Now(), State: d.m.State})
}

// checkQuiet has do-not-disturb begin or end if it is time.
func (d *Device) checkQuiet() {
	was := d.status.Switch
	quiet, now := was.at(d.scheduled())
	d.mu.Lock()
	d.status.Quiet, d.status.Switch = quiet, now
	d.mu.Unlock()
	d.quiet.Store(quiet)
	if now != was { // it has gone back by itself: who keeps it over a start must know
		d.o.Tell(News{Kind: NewsQuiet, At: time.Now(), State: d.m.State})
	}
	if quiet == d.m.Quiet {
		return
	}
	d.o.Log.Info("do not disturb", "on", quiet, "switch", now)
	e := Event{Kind: QuietEnded}
	if quiet {
		e.Kind = QuietBegan
	}
	d.happens(NewsState, e, nil, nil)
}

// reasons are the ends that place comes to by itself, in voipcore's words.
var reasons = map[Kind]string{EndBusy: voipcore.Busy.String(), EndUnreachable: voipcore.Unreachable.String()}
