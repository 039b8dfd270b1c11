package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"hushbell/device/control"
)

// A running is the program at work in this process.
type running struct {
	t      *testing.T
	args   []string
	stop   context.CancelFunc
	status chan int // its exit status, when it has ended
	lines  chan string
	log    lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A lineWriter passes on what is written to it, as lines.
type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// background starts the program and waits for the one line that it prints.
func background(t *testing.T, args ...string) (r *running, line string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r = &running{t: t, args: args, stop: cancel, status: make(chan int, 1), lines: make(chan string, 10)}
	go func() { r.status <- run(ctx, args, strings.NewReader(""), lineWriter(r.lines), &r.log) }()
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			t.Logf("%q said:\n%s", args, r.log.String())
		}
	})
	select {
	case line = <-r.lines:
	case s := <-r.status:
		r.status <- s
		t.Fatalf("%q ended with %d: %s", args, s, r.log.String())
	case <-time.After(30 * time.Second):
		t.Fatalf("%q is not ready", args)
	}
	return r, line
}

// end stops the program and returns its status.
func (r *running) end() int {
	r.stop()
	select {
	case s := <-r.status:
		r.status <- s
		return s
	case <-time.After(30 * time.Second):
		r.t.Errorf("%q does not end", r.args)
		return -1
	}
}

// localSwarm starts relays on loopback and returns their addresses.
func localSwarm(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		addr := fmt.Sprintf("127.0.0.1:%d", freePort(t, "127.0.0.1"))
		args := []string{"relay", "--listen", addr, "--state", t.TempDir(), "--test-network"}
		for _, b := range addrs[:min(len(addrs), 3)] {
			args = append(args, "--bootstrap", b)
		}
		if _, line := background(t, args...); line != "relay ready at "+addr+"\n" {
			t.Errorf("the relay prints %q", line)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// A household is what a box of these tests has on its disk.
type household struct {
	dir, state, socket, config string
	pid                        string
	client                     *control.Client
}

func newHousehold(t *testing.T, bootstrap []string) *household {
	t.Helper()
	dir := t.TempDir()
	h := &household{dir: dir, state: filepath.Join(dir, "state"), socket: filepath.Join(dir, "control.sock"), config: filepath.Join(dir, "hushbell.toml")}
	h.client = control.NewClient(h.socket)
	text := fmt.Sprintf("bootstrap = [%s]\nlisten = \"127.0.0.1:0\"\ntest_network = true\ncomplexity = 0\n[button]\ncall = \"far\"\n[board]\nname = \"sim\"\nspeaker = \"out.wav\"\n",
		quoted(bootstrap))
	if err := os.WriteFile(h.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.pid, _, _ = strings.Cut(succeeds(t, "", "pid", "new", "--state", h.state), "\n")
	return h
}

func (h *household) run(t *testing.T) *running {
	t.Helper()
	r, line := background(t, "run", "--state", h.state, "--config", h.config, "--socket", h.socket)
	if line != "box ready at "+h.socket+"\n" {
		t.Errorf("the box prints %q", line)
	}
	return r
}

// until follows the events until one is as wanted.
func (h *household) until(t *testing.T, what string, ok func(control.Event) bool) control.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	events, err := h.client.Events(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var seen []string
	for {
		e, err := events.Next()
		if err != nil {
			t.Fatalf("no event %s, only %q: %v", what, seen, err)
		}
		if ok(e) {
			return e
		}
		seen = append(seen, e.Kind)
	}
}

func kind(k string) func(control.Event) bool {
	return func(e control.Event) bool { return e.Kind == k }
}

// Two boxes get to know each other while they run, ring, are answered, talk,
// tell how they are, and hang up; all by the commands that their owners have.
func TestBoxesByCommands(t *testing.T) {
	boot := localSwarm(t, 6)
	a, b := newHousehold(t, boot[:3]), newHousehold(t, boot[:3])
	ra, rb := a.run(t), b.run(t)
	a.until(t, "online", kind("online"))
	b.until(t, "online", kind("online"))
	if out := succeeds(t, "", "status", "--socket", a.socket); !strings.Contains(out, "yes: can be called") || !strings.Contains(out, "idle") {
		t.Errorf("status prints\n%s", out)
	}

	// Strangers are refused.
	fails(t, 1, "no contact of that name", "", "call", "far", "--socket", a.socket)
	succeeds(t, "", "contact", "add", "far", b.pid, "--state", a.state, "--socket", a.socket)
	status, _, errOut := hushbell(t, "", "call", "far", "--wait", "--socket", a.socket)
	if status != 1 || !strings.Contains(errOut, "declined") {
		t.Errorf("a stranger's call ends with %d: %s", status, errOut)
	}

	// Contacts ring until somebody answers.
	succeeds(t, a.pid, "contact", "add", "near", "--state", b.state, "--socket", b.socket)
	ctx, giveUp := context.WithCancel(t.Context())
	var waiting bytes.Buffer
	waited, told := make(chan int, 1), make(lineWriter, 10)
	go func() {
		waited <- run(ctx, []string{"call", b.pid, "--wait", "--socket", a.socket}, nil, told, &waiting)
	}()
	b.until(t, "ringing", kind("ringing-here"))
	<-told
	giveUp() // waiting for the answer, as with Ctrl-C: the call goes on
	if st := <-waited; st != 1 || !strings.Contains(waiting.String(), "the call goes on: hushbell hangup ends it") {
		t.Errorf("no longer waiting is status %d: %s", st, waiting.String())
	}
	fails(t, 1, "the line is taken", "", "call", "far", "--socket", a.socket)
	fails(t, 1, "nobody is calling", "", "answer", "--socket", a.socket)
	succeeds(t, "", "answer", "--socket", b.socket)
	answered := a.until(t, "answered", kind("answered"))
	if answered.Peer != "far" || !answered.Outgoing || answered.Report.Hops != 3 || answered.Report.SetupMS <= 0 {
		t.Errorf("answered: %+v, %+v", answered, answered.Report)
	}
	collects(t, "in a call", never)
	var s control.Status
	for s.Call == nil || s.Call.Report.Voice.Received < 20 {
		if err := json.Unmarshal([]byte(succeeds(t, "", "status", "--json", "--socket", b.socket)), &s); err != nil {
			t.Fatal(err)
		}
	}
	if s.State != "in call" || s.Lamp != "on" || s.Call.Peer != "near" || s.Call.PID != a.pid || s.Call.Over() ||
		s.Relays < 3 || s.Memory.Mallocs == 0 || s.Memory.RSS == 0 || s.Board.HeardAt.IsZero() || s.Board.SpokenAt.IsZero() || s.VoiceOverTCP {
		t.Errorf("status in a call: %+v, %+v", s, s.Call)
	}
	if out := succeeds(t, "", "status", "--socket", a.socket); !strings.Contains(out, "to far, for") || !strings.Contains(out, "X25519MLKEM768") {
		t.Errorf("status in a call prints\n%s", out)
	}
	succeeds(t, "", "hangup", "--socket", a.socket)
	ended := b.until(t, "ended", kind("ended"))
	if ended.Reason != "ended" || ended.Peer != "near" || ended.Report.Voice.Received < 20 {
		t.Errorf("ended: %+v, %+v", ended, ended.Report)
	}
	collects(t, "after a call", gcPercent)
	fails(t, 1, "there is no call", "", "hangup", "--socket", a.socket)

	// With --answer they need nobody, and a box that is stopped hangs up.
	succeeds(t, "", "contact", "remove", "near", "--state", b.state, "--socket", b.socket)
	succeeds(t, "", "contact", "add", "near", a.pid, "--answer", "--state", b.state, "--socket", b.socket)
	for s.State != "idle" { // for a second after a call a press means nothing
		var err error
		if s, err = a.client.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.client.Press(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.until(t, "answered by itself", func(e control.Event) bool { return e.Seq > ended.Seq && e.Kind == "answered" })
	a.until(t, "answered", func(e control.Event) bool { return e.Seq > answered.Seq && e.Kind == "answered" })
	if st := ra.end(); st != 0 {
		t.Errorf("stopped in a call it ends with %d", st)
	}
	last := b.until(t, "the end", func(e control.Event) bool { return e.Seq > ended.Seq && e.Kind == "ended" })
	if last.Reason != "ended" {
		t.Errorf("a box that is stopped does not hang up: %+v", last)
	}
	if st := rb.end(); st != 0 {
		t.Errorf("it ends with %d", st)
	}
	for _, r := range []*running{ra, rb} {
		for _, secret := range []string{a.pid[5:20], b.pid[5:20], "127.0.0.1"} {
			if log := r.log.String(); strings.Contains(log, secret) {
				t.Errorf("%s is in the log:\n%s", secret, log)
			}
		}
	}
	if fi, err := os.Stat(filepath.Join(a.dir, "out.wav")); err != nil || fi.Size() < 1000 {
		t.Errorf("the speaker's file, beside the configuration: %v", err)
	}
}

// One box for a state folder and for a socket; and a reload takes what is
// right, and nothing of what is wrong.
func TestSecondBoxAndReload(t *testing.T) {
	h := newHousehold(t, nil)
	r := h.run(t)
	fails(t, 1, "another hushbell uses the state folder "+h.state, "", "run", "--state", h.state, "--config", h.config, "--socket", h.socket+"2")
	other := newHousehold(t, nil)
	fails(t, 1, h.socket+": another hushbell serves this socket", "", "run", "--state", other.state, "--config", other.config, "--socket", h.socket)

	succeeds(t, "", "contact", "add", "far", other.pid, "--state", h.state, "--socket", h.socket)
	if err := os.WriteFile(h.config, []byte("hops = 9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "9 hops") {
		t.Errorf("Reload of a wrong configuration = %v", err)
	}
	// That it does not take it is said, but the contact is gone. Such a box would not
	// start again.
	status, out, errOut := hushbell(t, "", "contact", "remove", "far", "--state", h.state, "--socket", h.socket)
	if status != 0 || out != "removed far\n" || !strings.Contains(errOut, "9 hops") || strings.Contains(errOut, "start it again") {
		t.Errorf("remove = %d, %q, %q", status, out, errOut)
	}
	if err := os.WriteFile(h.config, []byte("hops = 2\n[button]\ncall = \"roof\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.client.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.log.String(), "start the box again") {
		t.Errorf("not told that hops take a new start:\n%s", r.log.String())
	}
	if err := h.client.Press(t.Context()); err != nil {
		t.Error(err)
	}
	h.until(t, "end of a call to nobody", func(e control.Event) bool { return e.Kind == "ended" && strings.Contains(e.Error, `"roof"`) })
}

// A relay keeps its key, prints one line, and gives its port back.
func TestRelay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "relay.toml")
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t, "127.0.0.1"))
	if err := os.WriteFile(file, []byte(fmt.Sprintf("test_network = true\n[relay]\nlisten = %q\ntunnels = 10\n", addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	var key []byte
	for range 2 {
		r, line := background(t, "relay", "--config", file, "--state", dir)
		if line != "relay ready at "+addr+"\n" {
			t.Errorf("it prints %q", line)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got := debug.SetMemoryLimit(-1); got != relayMemory && os.Getenv("GOMEMLIMIT") == "" {
			t.Errorf("its memory limit is %d, want %d", got, relayMemory)
		}
		fails(t, 1, "another hushbell uses the state folder", "", "relay", "--config", file, "--state", dir)
		if s := r.end(); s != 0 || len(r.lines) > 0 {
			t.Errorf("it ends with %d and %d more lines", s, len(r.lines))
		}
		now, err := os.ReadFile(filepath.Join(dir, "relay.key"))
		if err != nil || key != nil && !bytes.Equal(key, now) {
			t.Errorf("another key at the second start: %v", err)
		}
		key = now
	}
}

// What a box cannot work with is said at its start: addresses of relays that only
// a test network takes.
func TestWarnsOfPrivateRelays(t *testing.T) {
	const say = "write test_network = true"
	h := newHousehold(t, []string{"192.168.0.9:4710", "[fd00::1]:4710"})
	if r := h.run(t); strings.Contains(r.log.String(), say) {
		t.Errorf("it is set, and yet:\n%s", r.log.String())
	} else {
		r.end()
	}
	text, err := os.ReadFile(h.config)
	check(t, err)
	check(t, os.WriteFile(h.config, bytes.Replace(text, []byte("test_network = true"), nil, 1), 0o600))
	if r := h.run(t); !strings.Contains(r.log.String(), say) {
		t.Errorf("nothing is said of private addresses:\n%s", r.log.String())
	}
}

// Voice takes TCP until UDP is found to pass: that means nothing yet.
func TestStatusOfUDP(t *testing.T) {
	for _, tt := range []struct {
		talked time.Duration
		over   bool
		want   bool
	}{{0, false, false}, {time.Second, false, false}, {10 * time.Second, false, true}, {time.Second, true, false}, {10 * time.Second, true, true}} {
		c := &control.Call{Peer: "far", Began: time.Now().Add(-time.Hour)}
		if tt.talked > 0 {
			c.Answered = time.Now().Add(-tt.talked)
		}
		if tt.over {
			c.Answered = c.Began
			c.Ended = c.Answered.Add(tt.talked)
		}
		var out bytes.Buffer
		check(t, showStatus(&out, &control.Status{Call: c, VoiceOverTCP: true}))
		if got := strings.Contains(out.String(), "voice takes TCP"); got != tt.want {
			t.Errorf("talked for %v, over %v: says so is %v, want %v\n%s", tt.talked, tt.over, got, tt.want, out.String())
		}
	}
}

// Who cannot be told that the box is ready is no reason to go on unseen.
func TestOutputFails(t *testing.T) {
	h := newHousehold(t, nil)
	r, w := io.Pipe()
	r.Close()
	var errOut bytes.Buffer
	if s := run(t.Context(), []string{"run", "--state", h.state, "--config", h.config, "--socket", h.socket}, strings.NewReader(""), w, &errOut); s != 1 {
		t.Errorf("it ends with %d: %s", s, errOut.String())
	}
}

// A contact with the name of a group is refused where it is added. Where it is there
// all the same, the box runs.
func TestContactNamedAsAGroup(t *testing.T) {
	h, other := newHousehold(t, nil), newHousehold(t, nil)
	text, err := os.ReadFile(h.config)
	check(t, err)
	check(t, os.WriteFile(h.config, append([]byte("groups = {house = [\"far\"]}\n"), text...), 0o600))
	r := h.run(t)
	succeeds(t, "", "contact", "add", "House", other.pid, "--state", h.state, "--socket", h.socket)
	waitLog(t, r, "a group of that name")
	r.end()
	h.run(t).end() // as after a power cut

	t.Setenv("STATE_DIRECTORY", h.state)
	t.Setenv("CONFIGURATION_DIRECTORY", filepath.Dir(h.config))
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	check(t, os.Rename(h.config, filepath.Join(filepath.Dir(h.config), configName)))
	succeeds(t, "", "contact", "remove", "House")
	fails(t, 1, "another name", "", "contact", "add", "House", other.pid)
}
