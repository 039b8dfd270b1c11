package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
	"time"

	"hushbell/board"
	"hushbell/device"
	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/device/tone"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// Status puts together how the box is.
func (b *box) Status() control.Status {
	d, core, moments := b.device.Status(), b.core.Status(), b.board.Moments()
	s := control.Status{
		Version: version,
		State:   d.State.String(),
		Since:   d.Since,
		Lamp:    b.board.Lamp.Shows(),
		Online:  core.Online,
		Relays:  core.Relays,
		Clock: control.Clock{
			Trusted: core.Clock.Trusted, Networks: core.Clock.Networks, OffsetMS: milliseconds(core.Clock.Offset),
		},
		Board: control.Board{
			Name: b.board.Name, SpokenAt: moments.Spoken, HeardAt: moments.Heard,
			MicrophoneXruns: b.board.Microphone.Xruns(), SpeakerXruns: b.board.Speaker.Xruns(),
		},
		Memory: memoryUsed(),
		DND:    control.DND{Active: d.Quiet, Switch: d.Switch.String()},
	}
	for _, m := range b.missed.List() {
		s.Missed += m.Count
	}
	for _, p := range b.board.Problems() {
		s.Board.Problems = append(s.Board.Problems, control.Problem{Part: string(p.Part), Error: p.Err.Error(), Remedy: p.Remedy})
	}
	if d.Call == nil {
		return s
	}
	call := *d.Call
	for _, c := range core.Calls {
		if c.ID == call.ID && call.Ended.IsZero() {
			call.Report = c.Report // as it is now
		}
	}
	s.Call, s.VoiceOverTCP = callOf(&call), call.Report.OverTCP
	return s
}

func callOf(c *device.Call) *control.Call {
	out := &control.Call{
		Peer: c.Peer.Name, Outgoing: c.Outgoing, Page: c.Page,
		Began: c.Began, Answered: c.Answered, Ended: c.Ended, Reason: c.Reason, Report: reportOf(&c.Report),
	}
	if c.Peer.PID != (pid.ID{}) {
		out.PID = c.Peer.PID.String()
	}
	if c.Err != nil {
		out.Error = forPeople(c.Err)
	}
	return out
}

// forPeople is what an error says, without the package that says it.
func forPeople(err error) string { return strings.TrimPrefix(err.Error(), "voipcore: ") }

func reportOf(r *voipcore.Report) control.Report {
	return control.Report{
		LookupMS: milliseconds(r.Lookup), TunnelMS: milliseconds(r.Tunnel), SetupMS: milliseconds(r.Setup),
		Hops: r.Hops, KeyExchange: r.KeyExchange, OverTCP: r.OverTCP, Sent: r.Sent, Voice: control.Voice(r.Voice),
	}
}

// tell passes on what the device tells, and keeps what must not be lost.
func (b *box) tell(n device.News) {
	switch {
	case n.Kind == device.NewsQuiet:
		b.dnd.Save([]byte(b.device.Status().Switch.String() + "\n"))
	case n.Kind == device.NewsEnded && n.Call != nil && n.Call.Reason == voipcore.Missed.String() && !n.Call.Outgoing:
		b.missed.Add(b.now(), n.Call.Peer.Name, n.Call.Peer.PID.String())
	}
	e := control.Event{At: n.At, Kind: n.Kind, State: n.State.String()}
	if n.Call != nil {
		c := callOf(n.Call)
		e.Peer, e.PID, e.Outgoing = c.Peer, c.PID, c.Outgoing
		e.Reason, e.Error = c.Reason, c.Error
		if !n.Call.Answered.IsZero() || c.Over() {
			e.Report = &c.Report
		}
	}
	b.server.Tell(e)
	b.system.Status(b.summary())
	b.collector.sound(n.State.Voice() || n.State.Tone() != tone.None)
}

// pressLimit is how long a press may wait for the box to take notice.
const pressLimit = 5 * time.Second

// gestureWords are gestures as the control socket has them.
var gestureWords = map[string]device.GestureKind{"": device.ShortPress, "long": device.LongPress, "double": device.DoublePress,
	"hold": device.HoldStart, "release": device.HoldEnd}

func noGesture(word string) error {
	return fmt.Errorf("%q is nothing that can be done with a button: long, double, hold and release are", word)
}

func (b *box) Press(ctx context.Context, p control.Press) error {
	kind, ok := gestureWords[p.Gesture]
	if !ok {
		return noGesture(p.Gesture)
	}
	if p.Button == "1" {
		p.Button = ""
	}
	if kind != device.HoldEnd && !b.device.HasButton(p.Button) {
		return fmt.Errorf("there is no button %s in the configuration", p.Button)
	}
	ctx, cancel := context.WithTimeout(ctx, pressLimit)
	defer cancel()
	if b.device.Press(ctx, device.Gesture{Button: p.Button, Kind: kind}) != nil {
		return errors.New("the box takes no notice of its button")
	}
	return nil
}

func (b *box) Call(ctx context.Context, to string, page bool) error {
	if err := b.device.Call(ctx, to, page); err != nil {
		return errors.New(forPeople(err))
	}
	return nil
}
func (b *box) Answer(ctx context.Context) error { return b.device.Answer(ctx) }
func (b *box) HangUp(ctx context.Context) error { return b.device.HangUp(ctx) }

func (b *box) SetDND(ctx context.Context, word string) error {
	s, err := device.ParseSwitch(word)
	if err != nil {
		return err
	}
	return b.device.SetQuiet(ctx, s)
}

func (b *box) OpenDoor(ctx context.Context, text string) error {
	pin, err := parsePIN([]byte(text))
	if err != nil {
		return err
	}
	return b.device.OpenDoor(ctx, pin)
}

// Missed returns the calls that nobody answered.
func (b *box) Missed() []control.Missed {
	all := []control.Missed{}
	for _, m := range b.missed.List() {
		all = append(all, control.Missed{At: m.At, Peer: m.Name, PID: m.PID, Count: m.Count})
	}
	return all
}

func (b *box) ClearMissed(context.Context) error {
	b.missed.Clear()
	return nil
}

// openDoor opens the door for a time.
func (b *box) openDoor(d time.Duration) error {
	o := b.board.Output(doorOutput)
	if o == nil {
		return errors.New("the door's line is known after the next start of the box")
	}
	return o.Pulse(d)
}

// reloadOnHangUp reads contacts and configuration again on each SIGHUP, until ctx
// is done. What is wrong is logged, and nothing of it taken.
func (b *box) reloadOnHangUp(ctx context.Context) {
	hup := make(chan os.Signal, 1) // one that waits is as good as many
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			if err := b.Reload(ctx); err != nil {
				b.log.Error("nothing of the new configuration was taken", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Reload takes the contacts, and of the configuration what can change while
// the box runs, if all of it is right.
func (b *box) Reload(context.Context) error {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	cfg, err := b.readConfig()
	if err != nil {
		return err
	}
	policy, err := b.policy(&cfg)
	if err != nil {
		return err
	}
	b.device.Configure(policy)
	b.log.Info("contacts and configuration were read again", "contacts", len(policy.Contacts))
	for _, what := range policy.Missing() {
		b.log.Warn(what)
	}
	if !reflect.DeepEqual(fixed(cfg), fixed(b.cfg)) {
		b.log.Warn("start the box again for what else has changed in the configuration")
	}
	return nil
}

// fixed is what of a configuration cannot change while the box runs: of buttons,
// for example, where they are and which gestures they know.
func fixed(c config.Config) config.Config {
	var lines board.Options
	linesOf(&lines, &c)
	c.Unknown, c.MaxCall, c.Groups, c.DND, c.Sounds = "", 0, nil, config.DND{}, config.Sounds{}
	c.Button, c.More, c.Door = config.Button{}, [config.MaxButtons - 1]config.Button{}, config.Door{Line: c.Door.Line, ActiveLow: c.Door.ActiveLow}
	for i, b := range lines.Buttons {
		what := &c.Button
		if i > 0 {
			what = &c.More[i-1]
		}
		what.Call = fmt.Sprint(b.Name, b.Line, b.Timing)
	}
	return c
}

// sinceText says how long ago something was, for people.
func sinceText(t time.Time) string {
	return fmt.Sprint(time.Since(t).Round(time.Second))
}
