package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"time"

	"hushbell/device"
	"hushbell/device/control"
	"hushbell/voipcore"
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
		Peer: c.Peer.Name, PID: c.Peer.PID.String(), Outgoing: c.Outgoing,
		Began: c.Began, Answered: c.Answered, Ended: c.Ended, Reason: c.Reason, Report: reportOf(&c.Report),
	}
	if c.Err != nil {
		out.Error = c.Err.Error()
	}
	return out
}

func reportOf(r *voipcore.Report) control.Report {
	return control.Report{
		LookupMS: milliseconds(r.Lookup), TunnelMS: milliseconds(r.Tunnel), SetupMS: milliseconds(r.Setup),
		Hops: r.Hops, KeyExchange: r.KeyExchange, OverTCP: r.OverTCP, Sent: r.Sent, Voice: control.Voice(r.Voice),
	}
}

func memoryUsed() control.Memory {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return control.Memory{Mallocs: m.Mallocs, RSS: rssKB(os.Getpid()) << 10}
}

// tell passes on what the device tells.
func (b *box) tell(n device.News) {
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
}

// pressLimit is how long a press may wait for the box to take notice.
const pressLimit = 5 * time.Second

func (b *box) Press(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pressLimit)
	defer cancel()
	b.board.Press(ctx.Done())
	if ctx.Err() != nil {
		return errors.New("the box takes no notice of its button")
	}
	return nil
}

func (b *box) Call(ctx context.Context, to string) error { return b.device.Call(ctx, to) }
func (b *box) Answer(ctx context.Context) error          { return b.device.Answer(ctx) }
func (b *box) HangUp(ctx context.Context) error          { return b.device.HangUp(ctx) }

// Reload takes the contacts, and of the configuration what can change while
// the box runs, if all of it is right.
func (b *box) Reload(context.Context) error {
	cfg, err := b.readConfig()
	if err != nil {
		return err
	}
	policy, err := policyOf(&cfg, b.dir)
	if err != nil {
		return err
	}
	b.device.Configure(policy)
	b.log.Info("contacts and configuration were read again", "contacts", len(policy.Contacts))
	cfg.Button, cfg.Unknown = b.cfg.Button, b.cfg.Unknown
	if !reflect.DeepEqual(cfg, b.cfg) {
		b.log.Warn("start the box again for what else has changed in the configuration")
	}
	return nil
}

// sinceText says how long ago something was, for people.
func sinceText(t time.Time) string {
	return fmt.Sprint(time.Since(t).Round(time.Second))
}
