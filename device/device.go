// Package device is the intercom itself: it joins a button, a lamp and sound to
// calls. How it behaves is a table without I/O (behaviour.go); this file has
// what happens come to it one after the other, and carries out what it says.
//
//	button, commands, voipcore's events, timers -> Machine.Step -> calls, sound, lamp
//
// It knows contacts, but no files, sockets or hardware: those are handed to it.
package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore"
	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
)

// Calls is what a device needs of a *voipcore.Core.
type Calls interface {
	talker
	Call(own *pid.Key, far pid.ID) (call.ID, error)
	Answer(call.ID)
	HangUp(call.ID)
	Alive(call.ID) bool
}

// A Lamp shows the pattern of that name, as package gpio calls it, until the
// next Set.
type Lamp interface{ Set(pattern string) }

// A Contact is somebody whom the box knows.
type Contact struct {
	Name   string
	PID    pid.ID
	Answer bool // a call from them is answered by itself
}

// A Policy is what the owner may change while the box runs.
type Policy struct {
	Contacts []Contact
	Button   string           // the name of the contact that a press calls; "" for none
	Unknown  voipcore.Welcome // what becomes of strangers: Decline or Ring
}

// Options are what a Device is made of. All but Policy and Tell is needed.
type Options struct {
	Own        *pid.Key // calls are placed with it
	Policy     Policy
	Microphone Microphone
	Speaker    Speaker
	Lamp       Lamp
	Presses    <-chan struct{} // of the button
	Tell       func(News)      // told what happens, on the goroutine of Run; nil for nobody
	Log        *slog.Logger
}

// A Device is a box. Its methods are safe for concurrent use; those that ask
// for something are carried out while Run runs.
type Device struct {
	o      Options
	policy atomic.Pointer[Policy]
	queue  *queue

	// Owned by Run.
	calls Calls
	m     Machine
	sound *sound
	shown *time.Timer // the result that is shown
	audit *time.Timer // runs while there is a call

	mu     sync.Mutex // guards status
	status Status
}

// A Status is what the box does.
type Status struct {
	State State
	Since time.Time
	Call  *Call // the one that stands, or the last one; nil before the first
}

// A Call is what is known of a call. It does not change once handed out.
type Call struct {
	ID       call.ID // 0: it could not be placed
	Peer     Peer
	Outgoing bool
	Began    time.Time
	Answered time.Time // zero: not yet, or never
	Ended    time.Time // zero while it stands
	Reason   string    // how it ended, in voipcore's words
	Err      error     // why, if it could not be reached or broke
	Report   voipcore.Report
}

// A Peer is who is in a call with us. Name is "" for a stranger.
type Peer struct {
	Name string
	PID  pid.ID
}

// News are something that happened.
type News struct {
	Kind  string // a word of the list below
	At    time.Time
	State State // after it
	Call  *Call // which call it is about, if any
}

// What News tell, beside what voipcore calls its events until the answer.
const (
	NewsOnline  = "online"
	NewsOffline = "offline"
	NewsPress   = "press"
	NewsCalling = "calling"
	NewsEnded   = "ended" // Call.Reason says how
	NewsState   = "state" // it changed, and nothing else happened
)

// New returns a Device. Its Welcome and Notify are for voipcore.Open, and what
// comes before Run is kept for it.
func New(o Options) *Device {
	if o.Tell == nil {
		o.Tell = func(News) {}
	}
	d := &Device{o: o, sound: newSound(o.Microphone, o.Speaker, o.Log), queue: newQueue()}
	d.status.Since = time.Now()
	d.Configure(o.Policy)
	return d
}

// Configure changes the policy. A call that stands goes on.
func (d *Device) Configure(p Policy) {
	p.Contacts = slices.Clone(p.Contacts)
	d.policy.Store(&p)
}

// Welcome says what becomes of a call. It does not block.
func (d *Device) Welcome(from pid.ID) voipcore.Welcome {
	p := d.policy.Load()
	for _, c := range p.Contacts {
		if c.PID == from && c.Answer {
			return voipcore.Admit
		}
		if c.PID == from {
			return voipcore.Ring
		}
	}
	return p.Unknown
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

// Run runs the box until ctx is done. Then the sound is off and the lamp dark;
// ending calls is left to the Core's Close. It can be run once.
func (d *Device) Run(ctx context.Context, calls Calls) error {
	d.calls = calls
	d.shown, d.audit = stopped(), stopped()
	defer d.shown.Stop()
	defer d.audit.Stop()
	defer d.o.Lamp.Set("off")
	defer d.sound.wait()
	defer d.sound.off()
	defer d.queue.close()
	d.o.Lamp.Set(d.m.State.Lamp())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.queue.more:
			d.catchUp()
		case <-d.o.Presses:
			d.catchUp() // a press is about what is now
			d.pressed()
		case <-d.shown.C:
			d.happens(NewsState, Event{Kind: TimeUp}, nil)
		case <-d.audit.C:
			d.checkCall()
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

func (d *Device) pressed() {
	d.o.Log.Info("button pressed", "state", d.m.State)
	d.happens(NewsPress, Event{Kind: Press}, nil)
}

// happens lets the machine make a step and carries out what it says. kind and
// c are what is reported; a NewsState is only if the state changed. target
// is whom a command calls.
func (d *Device) happens(kind string, e Event, c *Call, target ...Contact) {
	was := d.m.State
	var do []Do
	before := d.m.Call
	d.m, do = d.m.Step(e)
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
		d.carryOut(do, before, target)
	}
	if d.m.Alive() {
		d.audit.Reset(auditEvery)
	} else {
		d.audit.Stop()
	}
}

func (d *Device) carryOut(do Do, before call.ID, target []Contact) {
	switch do {
	case PlaceCall:
		d.place(target)
	case PickUp:
		d.calls.Answer(d.m.Call)
	case PutDown:
		d.calls.HangUp(before)
	case SoundOn:
		d.sound.on(d.calls)
	case SoundOff:
		d.sound.off()
	case ShowResult:
		d.shown.Reset(states[d.m.State].shown)
	case StopShowing:
		d.shown.Stop()
	}
}

// place calls the target, or whom the button calls.
func (d *Device) place(target []Contact) {
	c := Call{Outgoing: true, Began: time.Now()}
	end := EndUnreachable
	to, err := d.buttonContact()
	if len(target) > 0 {
		to, err = target[0], nil
	}
	if err == nil {
		c.Peer = Peer{to.Name, to.PID}
		c.ID, err = d.calls.Call(d.o.Own, to.PID)
	}
	if errors.Is(err, voipcore.ErrLineTaken) {
		end = EndBusy
	}
	if err == nil {
		d.o.Log.Info("calling", "contact", c.Peer.shown())
		d.happens(NewsCalling, Event{Kind: Placed, Call: c.ID}, d.record(c))
		return
	}
	c.Ended, c.Err, c.Reason = c.Began, err, reasons[end]
	d.o.Log.Warn("cannot call", "contact", c.Peer.shown(), "err", err)
	d.happens(NewsEnded, Event{Kind: end}, d.record(c))
}

// reasons are the ends that place comes to by itself, in voipcore's words.
var reasons = map[Kind]string{EndBusy: voipcore.Busy.String(), EndUnreachable: voipcore.Unreachable.String()}

func (d *Device) buttonContact() (Contact, error) {
	p := d.policy.Load()
	if p.Button == "" {
		return Contact{}, errors.New("the button calls nobody: name a contact under [button] in the configuration")
	}
	if c, ok := p.byName(p.Button); ok {
		return c, nil
	}
	return Contact{}, fmt.Errorf("the button calls %q, but there is no such contact: hushbell contact add %q", p.Button, p.Button)
}

func (p *Policy) byName(name string) (Contact, bool) {
	i := slices.IndexFunc(p.Contacts, func(c Contact) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return Contact{}, false
	}
	return p.Contacts[i], true
}

func (p *Policy) peer(id pid.ID) Peer {
	i := slices.IndexFunc(p.Contacts, func(c Contact) bool { return c.PID == id })
	if i < 0 {
		return Peer{PID: id}
	}
	return Peer{p.Contacts[i].Name, id}
}

// shown is the peer as logs show it: never a pid.
func (p Peer) shown() string {
	if p.Name == "" {
		return "(no contact)"
	}
	return p.Name
}

// told takes what voipcore tells.
func (d *Device) told(e voipcore.Event) {
	if e.Kind == voipcore.Reachability {
		if e.Online {
			d.happens(NewsOnline, Event{Kind: WentOnline}, nil)
		} else {
			d.happens(NewsOffline, Event{Kind: WentOffline}, nil)
		}
		return
	}
	c := d.call(e)
	kind := e.Kind.String()
	switch {
	case e.Kind == voipcore.Answered:
		c.Answered, c.Report = time.Now(), e.Report
	case e.Kind.Final():
		kind = NewsEnded
		c.Ended, c.Reason, c.Err, c.Report = time.Now(), e.Kind.String(), e.Err, e.Report
	}
	log := []any{"contact", c.Peer.shown(), "outgoing", c.Outgoing}
	if c.Err != nil {
		log = append(log, "err", c.Err)
	}
	d.o.Log.Info("call "+e.Kind.String(), log...)
	p := &c
	ours := e.Call == d.m.Call || e.Kind == voipcore.RingingHere || e.Kind == voipcore.Answered
	if last := d.Status().Call; ours || last != nil && last.ID == e.Call {
		p = d.record(c)
	}
	d.happens(kind, Event{kinds[e.Kind], e.Call}, p)
}

// call is what is known of the call of an event.
func (d *Device) call(e voipcore.Event) Call {
	if last := d.Status().Call; last != nil && last.ID == e.Call {
		return *last
	}
	return Call{ID: e.Call, Peer: d.policy.Load().peer(e.Peer), Outgoing: e.Outgoing, Began: time.Now()}
}

// record makes c the call of the status.
func (d *Device) record(c Call) *Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Call = &c
	return &c
}

// checkCall finds out whether the call that the machine is about still is.
func (d *Device) checkCall() {
	id := d.m.Call
	if id == 0 || d.calls.Alive(id) {
		d.audit.Reset(auditEvery)
		return
	}
	// All that was to be told of it is in the queue by now: that comes first.
	d.queue.put(func() {
		last := d.Status().Call
		if d.m.Call != id || last == nil {
			return
		}
		c := *last
		c.Ended, c.Reason = time.Now(), voipcore.Lost.String()
		d.o.Log.Warn("call vanished", "contact", c.Peer.shown())
		d.happens(NewsEnded, Event{Vanished, id}, d.record(c))
	})
}
