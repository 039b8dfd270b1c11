package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	// afterSpeech is how long the boxes go on after the longer speech: what was
	// said last has to arrive.
	afterSpeech = 700 * time.Millisecond
	// steadyAfter is when talk counts as steady: buffers are made, and the
	// jitter buffer has found its depth.
	steadyAfter = time.Second
)

// A child is a process that the demo has started.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

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
	caller, callee, err := d.prepare(work)
	if err != nil {
		return err
	}
	var all []*child
	defer func() { err = errors.Join(err, stopAll(all)) }()

	d.say("starting %d relays", d.relays)
	var bootstrap []string
	for i := range d.relays {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		args := []string{"relay", "--listen", addr, "--state", filepath.Join(work, "relay"+strconv.Itoa(i)), "--test-network"}
		for _, b := range bootstrap[:min(len(bootstrap), 3)] {
			args = append(args, "--bootstrap", b)
		}
		c, err := d.start(fmt.Sprintf("relay-%d", i), args...)
		if err != nil {
			return err
		}
		all = append(all, c)
		if err := listening(ctx, c, addr); err != nil {
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
	caller = &end{child: child{name: "caller"}, heard: filepath.Join(d.out, "heard-by-caller.wav"), key: pid.NewKey()}
	callee = &end{child: child{name: "callee"}, heard: filepath.Join(d.out, "heard-by-callee.wav"), key: pid.NewKey()}
	if caller.says, err = loadSpeech("--speech", d.speech, "speech", work); err != nil {
		return nil, nil, err
	}
	if callee.says, err = loadSpeech("--speech-back", d.speechBack, "speech-back", work); err != nil {
		return nil, nil, err
	}
	for _, side := range []struct{ e, far *end }{{caller, callee}, {callee, caller}} {
		e := side.e
		e.state = filepath.Join(work, e.name)
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
	if r.AllocsPerFrame, err = caller.steady(ctx, length); err != nil {
		return err
	}
	if err := sleep(ctx, time.Until(s.Call.Answered.Add(length+afterSpeech))); err != nil {
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
	r.MouthToEarMS = milliseconds(to.Board.HeardAt.Add(there.Delay).Sub(from.Board.SpokenAt))
	r.MouthToEarBackMS = milliseconds(from.Board.HeardAt.Add(back.Delay).Sub(to.Board.SpokenAt))
	d.say("compared what was heard with what was spoken")
	return nil
}

// steady returns what the whole process allocates for each frame that it
// sends, over the middle of a talk.
func (e *end) steady(ctx context.Context, talk time.Duration) (float64, error) {
	if err := sleep(ctx, steadyAfter); err != nil {
		return 0, err
	}
	from, err := e.Status(ctx)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, talk-2*steadyAfter); err != nil {
		return 0, err
	}
	to, err := e.Status(ctx)
	if err != nil || to.Call == nil || to.Call.Report.Sent == from.Call.Report.Sent {
		return 0, err
	}
	return float64(to.Memory.Mallocs-from.Memory.Mallocs) / float64(to.Call.Report.Sent-from.Call.Report.Sent), nil
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

// start starts this program with other arguments. What it says goes to a file.
func (d *demo) start(name string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(d.out, "logs", name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	c := &child{name: name, cmd: exec.Command(self, args...), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	// A demo that is killed takes its processes along.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { c.cmd.Wait(); close(c.done) }()
	return c, nil
}

// stopAll asks the processes to stop, all at once, and kills those that do not.
func stopAll(all []*child) error {
	var errs []error
	for _, c := range all {
		c.cmd.Process.Signal(syscall.SIGTERM)
	}
	limit := time.After(stopLimit)
	for _, c := range all {
		select {
		case <-c.done:
			if !c.cmd.ProcessState.Success() {
				errs = append(errs, fmt.Errorf("%s: %v", c.name, c.cmd.ProcessState))
			}
		case <-limit:
			c.cmd.Process.Kill()
			<-c.done
			errs = append(errs, fmt.Errorf("%s did not stop within %v", c.name, stopLimit))
			limit = time.After(0)
		}
	}
	return errors.Join(errs...)
}

// freeAddress returns an address on loopback whose port is free for TCP and UDP.
func freeAddress() (string, error) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		l.Close()
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err == nil {
			u.Close()
			return addr.String(), nil
		}
	}
	return "", errors.New("no port of loopback is free for TCP and UDP")
}

// listening waits until something listens at addr.
func listening(ctx context.Context, c *child, addr string) error {
	to := netip.MustParseAddrPort(addr)
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-c.done:
			return fmt.Errorf("%s ended at once", c.name)
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen after %v", c.name, readyLimit)
		case <-time.After(pollEvery):
		}
	}
}

// rssKB returns the resident memory of a process, 0 if the kernel does not tell.
func rssKB(process int) (kb uint64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb
}
