package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/voipcore/pid"
)

// Limits of the demo's steps.
const (
	readyLimit  = 30 * time.Second // a relay listens, a box is online
	answerLimit = 30 * time.Second
	endLimit    = 5 * time.Second
	stopLimit   = 5 * time.Second
	pollEvery   = 20 * time.Millisecond
	portTries   = 3                // others may take a port that was free
	tellEvery   = 10 * time.Second // how long is still to be spoken
	// afterSpeech is how long the boxes go on after the longer speech: what was
	// said last has to arrive.
	afterSpeech = 700 * time.Millisecond
	// steadyAfter is when talk counts as steady: buffers are made, and the
	// jitter buffer has found its depth.
	steadyAfter = time.Second
)

// An end is one of the two boxes.
type end struct {
	child
	*control.Client
	state string // its state folder
	key   *pid.Key
	says  *speech
	heard string // the file that its speaker writes
}

// call starts everything, makes the call, and stops everything.
func (d *demo) call(ctx context.Context) (err error) {
	work, err := os.MkdirTemp("", "hushbell-demo-work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if n := len(filepath.Join(work, "caller", "control.sock")); n > control.MaxPath {
		return fmt.Errorf("the name of the temporary folder is too long for sockets in it: set TMPDIR to one that is %d letters shorter, /tmp say", n-control.MaxPath)
	}
	caller, callee, err := d.prepare(work)
	if err != nil {
		return err
	}
	var all []*child
	defer func() { err = errors.Join(err, stopAll(all)) }()

	d.say("starting %d relays", d.relays)
	if d.relays <= fewDemoRelays {
		d.say("that few cannot keep lookups and calls apart: a swarm needs five or more")
	}
	var bootstrap []string
	for i := range d.relays {
		c, addr, err := d.startRelay(ctx, i, work, bootstrap[:min(len(bootstrap), 3)])
		if c != nil {
			all = append(all, c)
		}
		if err != nil {
			return err
		}
		bootstrap = append(bootstrap, addr)
	}

	d.say("starting two boxes")
	for _, e := range []*end{caller, callee} {
		if err := d.startBox(e, bootstrap[:min(len(bootstrap), 3)]); err != nil {
			return err
		}
		all = append(all, &e.child)
	}
	for _, e := range []*end{caller, callee} {
		if _, err := e.until(ctx, readyLimit, "can be called", func(s *control.Status) bool { return s.Online }); err != nil {
			return err
		}
		d.say("%s can be called: exchange points chosen, record in the DHT", e.name)
	}
	d.report.Relays, d.report.Version = d.relays, version
	d.report.BoxRSSKB, d.report.RelayRSSKB = rssKB(caller.cmd.Process.Pid), rssKB(all[0].cmd.Process.Pid)
	return d.talk(ctx, caller, callee)
}

// prepare writes what the two boxes need: keys, contacts, speech.
func (d *demo) prepare(work string) (caller, callee *end, err error) {
	caller = &end{child: child{name: "caller"}, says: d.there, heard: filepath.Join(d.out, heardByCaller), key: pid.NewKey()}
	callee = &end{child: child{name: "callee"}, says: d.back, heard: filepath.Join(d.out, heardByCallee), key: pid.NewKey()}
	for _, side := range []struct{ e, far *end }{{caller, callee}, {callee, caller}} {
		e := side.e
		e.state = filepath.Join(work, e.name)
		if e.says.file == "" {
			e.says.file = filepath.Join(work, "said-by-"+e.name+".wav")
			if err := writeWAV(e.says.file, e.says.samples); err != nil {
				return nil, nil, err
			}
		}
		e.Client = control.NewClient(filepath.Join(e.state, "control.sock"))
		if err := os.MkdirAll(filepath.Join(e.state, "pids"), 0o700); err != nil {
			return nil, nil, err
		}
		if err := e.key.Save(filepath.Join(e.state, "pids", "box.key")); err != nil {
			return nil, nil, err
		}
		contact := config.Contact{Name: side.far.name, PID: side.far.key.ID(), Answer: e == callee}
		if err := config.WriteContacts(filepath.Join(e.state, "contacts.toml"), config.Contacts{contact}); err != nil {
			return nil, nil, err
		}
	}
	return caller, callee, nil
}

// startBox writes the configuration of a box and starts it.
func (d *demo) startBox(e *end, bootstrap []string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "bootstrap = [%s]\n", quoted(bootstrap))
	fmt.Fprintf(&b, "listen = \"127.0.0.1:0\"\ntest_network = true\nhops = %d\n", d.hops)
	if e.name == "caller" {
		b.WriteString("[button]\ncall = \"callee\"\n")
	}
	fmt.Fprintf(&b, "[board]\nname = \"sim\"\nmicrophone = %q\nspeaker = %q\n", e.says.file, e.heard)
	file := filepath.Join(e.state, "hushbell.toml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		return err
	}
	c, err := d.start(e.name, "run", "--state", e.state, "--config", file, "--socket", filepath.Join(e.state, "control.sock"))
	if err == nil {
		e.child = *c
	}
	return err
}

func quoted(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, strconv.Quote(s))
	}
	return strings.Join(q, ", ")
}

// talk presses the button, lets both speak, hangs up and judges.
func (d *demo) talk(ctx context.Context, caller, callee *end) error {
	d.say("caller presses the button")
	pressed := time.Now()
	if err := caller.Press(ctx); err != nil {
		return err
	}
	answered := func(s *control.Status) bool {
		return s.Call != nil && (!s.Call.Answered.IsZero() || !s.Call.Ended.IsZero())
	}
	s, err := caller.until(ctx, answerLimit, "is answered", answered)
	if err == nil && s.Call.Answered.IsZero() {
		err = fmt.Errorf("the call was not answered: %s %s", s.Call.Reason, s.Call.Error)
	}
	if err != nil {
		return err
	}
	if _, err := callee.until(ctx, answerLimit, "answers", answered); err != nil {
		return err
	}
	r := &d.report
	r.SetupMS = milliseconds(s.Call.Answered.Sub(pressed))
	r.LookupMS, r.TunnelMS, r.KeyExchange = s.Call.Report.LookupMS, s.Call.Report.TunnelMS, s.Call.Report.KeyExchange
	d.say("callee has answered by itself, %.0f ms after the press", r.SetupMS)

	length := max(caller.says.length(), callee.says.length())
	d.say("both speak, for %.1f s", length.Seconds())
	if r.AllocsPerFrame, err = d.listen(ctx, caller, callee, s.Call.Answered, length); err != nil {
		return err
	}
	d.say("caller presses the button again: hang up")
	if err := caller.Press(ctx); err != nil {
		return err
	}
	ended := func(s *control.Status) bool { return s.Call != nil && !s.Call.Ended.IsZero() }
	from, err := caller.until(ctx, endLimit, "has hung up", ended)
	if err != nil {
		return err
	}
	to, err := callee.until(ctx, endLimit, "hears that the call has ended", ended)
	if err != nil {
		return err
	}
	return d.judge(caller, callee, &from, &to)
}

// judge fills in what both ends counted, and compares spoken with heard.
func (d *demo) judge(caller, callee *end, from, to *control.Status) error {
	r, a, b := &d.report, &from.Call.Report, &to.Call.Report
	r.HopsCaller, r.HopsCallee = a.Hops, b.Hops
	r.VoiceSent = perSide{a.Sent, b.Sent}
	r.VoiceReceived = perSide{a.Voice.Received, b.Voice.Received}
	r.VoiceLost = perSide{a.Voice.Lost, b.Voice.Lost}
	r.VoiceLate = perSide{a.Voice.Late, b.Voice.Late}
	stalls := func(s *control.Status) uint64 { return uint64(s.Board.MicrophoneXruns + s.Board.SpeakerXruns) }
	r.Stalls = perSide{stalls(from), stalls(to)}
	there, err := compare(caller.says, callee.heard)
	if err != nil {
		return err
	}
	back, err := compare(callee.says, caller.heard)
	if err != nil {
		return err
	}
	r.HeardByCallee, r.HeardByCaller = heardOf(there), heardOf(back)
	// The lag in the file counts from its first sample, the speech from its own.
	if there.Heard {
		r.MouthToEarMS = milliseconds(to.Board.HeardAt.Add(there.Delay).Sub(from.Board.SpokenAt))
	}
	if back.Heard {
		r.MouthToEarBackMS = milliseconds(from.Board.HeardAt.Add(back.Delay).Sub(to.Board.SpokenAt))
	}
	d.say("compared what was heard with what was spoken")
	return nil
}

// listen waits until both have spoken for that long and all of it has arrived,
// or until the call ends before. It returns what the whole process of the caller
// allocates for each frame that it sends, from when talk is steady.
func (d *demo) listen(ctx context.Context, caller, callee *end, answered time.Time, length time.Duration) (allocsPerFrame float64, err error) {
	if err := sleep(ctx, steadyAfter); err != nil {
		return 0, err
	}
	from, err := caller.standing(ctx)
	if err != nil {
		return 0, err
	}
	over, tell := answered.Add(length+afterSpeech), time.Now().Add(tellEvery)
	for time.Until(over) > 0 {
		if err := sleep(ctx, min(time.Until(over), time.Second)); err != nil {
			return 0, err
		}
		// Not the caller: to answer that takes allocations.
		if _, err := callee.standing(ctx); err != nil {
			return 0, err
		}
		if left := time.Until(over); time.Until(tell) < 0 && left > time.Second {
			d.say("both speak, for %.0f s more", left.Seconds())
			tell = tell.Add(tellEvery)
		}
	}
	to, err := caller.standing(ctx)
	if err != nil {
		return 0, err
	}
	frames := to.Call.Report.Sent - from.Call.Report.Sent
	if frames == 0 {
		return 0, errors.New("caller does not send any voice")
	}
	return float64(to.Memory.Mallocs-from.Memory.Mallocs) / float64(frames), nil
}

// standing returns the status of a box whose call stands; else it says how the
// call has ended.
func (e *end) standing(ctx context.Context) (control.Status, error) {
	s, err := e.Status(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		err = fmt.Errorf("%s ended while both spoke", e.name)
	case err != nil:
	case s.Call == nil:
		err = fmt.Errorf("%s knows of no call any more", e.name)
	case s.Call.Over():
		err = fmt.Errorf("%s: the call has ended while both spoke: %s", e.name, why(s.Call.Reason, s.Call.Error))
	}
	return s, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until asks a box for its status until it is as wanted.
func (e *end) until(ctx context.Context, limit time.Duration, what string, ok func(*control.Status) bool) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		s, err := e.Status(ctx)
		if err == nil && ok(&s) {
			return s, nil
		}
		select {
		case <-e.done:
			return s, fmt.Errorf("%s ended before it %s", e.name, what)
		case <-ctx.Done():
			return s, fmt.Errorf("%s: not so that it %s, within %v (state %q)", e.name, what, limit, s.State)
		case <-time.After(pollEvery):
		}
	}
}
