package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hushbell/board"
	"hushbell/device"
	"hushbell/systemd"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// manager is a service manager; told returns when it was told what begins with
// want, in whatever order.
func manager(t *testing.T) (told func(want string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	b := make([]byte, 4096)
	var all []string
	return func(want string) {
		t.Helper()
		for !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, want) }) {
			c.SetReadDeadline(time.Now().Add(40 * time.Second))
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("the manager waits for %q, after %q: %v", want, all, err)
			}
			all = append(all, string(b[:n]))
		}
	}
}

// A box that was killed again and again puts its board at rest before it waits.
func TestAtRestBeforeTheWait(t *testing.T) {
	h := newHousehold(t, nil)
	check(t, os.WriteFile(h.config, []byte("[board]\nname = \"pi-4\"\nchip = \"nowhere\"\nbutton_line = \"none\"\n[door]\nline = \"GPIO24\"\npin_file = \"pin\"\n"), 0o600))
	check(t, os.WriteFile(filepath.Join(h.dir, "pin"), []byte("4711"), 0o600))
	runtime := t.TempDir()
	check(t, os.WriteFile(filepath.Join(runtime, "starts"), []byte("9"), 0o600))
	told := manager(t)
	t.Setenv("RUNTIME_DIRECTORY", runtime)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r := &running{t: t, args: []string{"run", "--state", h.state, "--config", h.config, "--socket", h.socket}, stop: stop, status: make(chan int, 1)}
	go func() { r.status <- run(ctx, r.args, strings.NewReader(""), io.Discard, &r.log) }()
	told("STATUS=Ended 9 times in a row: waits 1m0s")
	waitLog(t, r, `part="output door"`) // was looked for
	if s := r.end(); s != 0 {
		t.Errorf("the box ends with %d", s)
	}
}

// A box tells the service manager that it is ready, what it does and that it
// turns, and that it stops.
func TestBoxAsService(t *testing.T) {
	boot := localSwarm(t, 5)
	h := newHousehold(t, boot[:3])
	told := manager(t)
	t.Setenv("WATCHDOG_USEC", "4000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	r := h.run(t)
	for _, want := range []string{"READY=1\nSTATUS=Cannot be called at present", "WATCHDOG=1", "STATUS=Can be called.", "STOPPING=1"} {
		if want == "STOPPING=1" {
			r.stop()
		}
		told(want)
	}
	if s := r.end(); s != 0 {
		t.Errorf("the box ends with %d", s)
	}
}

// A box knows when nobody would hear it.
func TestAudible(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, want := range map[string]bool{board.Sim: true, "generic": false} {
		bd, err := board.Open(name, board.Options{Speaker: filepath.Join(t.TempDir(), "none"), Log: log})
		check(t, err)
		if got := (&box{board: bd}).audible(); got != want {
			t.Errorf("board %s: audible is %t, want %t", name, got, want)
		}
		check(t, bd.Close())
	}
}

// The watchdog is fed only while both loops turn, that of the box and that of its calls.
func TestAlive(t *testing.T) {
	for _, hung := range []string{"nothing", "the box", "the calls"} {
		log := slog.New(slog.DiscardHandler)
		bd, err := board.Open(board.Sim, board.Options{Log: log})
		check(t, err)
		b := &box{log: log, board: bd, system: systemd.New(log)}
		b.device = device.New(device.Options{
			Own: pid.NewKey(), Microphone: bd.Microphone, Speaker: bd.Speaker, Lamp: bd.Lamp, Now: time.Now, Tell: func(device.News) {}, Log: log,
		})
		b.core, err = voipcore.Open(voipcore.Config{
			Keys: []*pid.Key{pid.NewKey()}, Hops: 3, Listen: netip.MustParseAddrPort("127.0.0.1:0"), TestNetwork: true,
			Welcome: b.device.Welcome, Notify: b.notify, NewEncoder: newEncoder(0), Log: log,
		})
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		if hung != "the box" {
			wg.Go(func() { b.device.Run(ctx, b.core) })
		}
		if hung == "the calls" {
			check(t, b.core.Close())
		}
		soon, cancelSoon := context.WithTimeout(ctx, 5*time.Second)
		if hung != "nothing" {
			soon, cancelSoon = context.WithTimeout(ctx, 50*time.Millisecond)
		}
		if err := b.alive(soon); (err == nil) != (hung == "nothing") {
			t.Errorf("when %s hangs: alive = %v", hung, err)
		}
		cancelSoon()
		cancel()
		wg.Wait()
		check(t, b.core.Close())
		check(t, bd.Close())
	}
}

func TestEveryStateHasASummary(t *testing.T) {
	for s := device.State(0); !strings.HasPrefix(s.String(), "state "); s++ {
		if summaries[s] == "" {
			t.Errorf("systemctl status has no words for the state %q", s)
		}
	}
}

// A box without any pid makes one at its first start and keeps it.
func TestFirstStart(t *testing.T) {
	h := newHousehold(t, nil)
	if err := os.RemoveAll(h.state); err != nil {
		t.Fatal(err)
	}
	r := h.run(t)
	if want := "hushbell pid show"; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log does not say %q:\n%s", want, r.log.String())
	}
	first := succeeds(t, "", "pid", "show", "--state", h.state)
	r.end()
	h.run(t)
	if second := succeeds(t, "", "pid", "show", "--state", h.state); second != first {
		t.Errorf("the pid was %q and is %q", first, second)
	}
}

// Keys and contacts come from credentials where the state folder has none, and
// are not written there.
func TestCredentials(t *testing.T) {
	h, given := newHousehold(t, nil), t.TempDir()
	succeeds(t, "", "pid", "new", "attic", "--state", h.state)
	attic := succeeds(t, "", "pid", "show", "attic", "--state", h.state)
	succeeds(t, "", "contact", "add", "far", h.pid, "--state", h.state, "--socket", h.socket)
	for from, to := range map[string]string{
		keyFile(h.state, "box"): "hushbell.pid", keyFile(h.state, "attic"): "hushbell.pid.attic", contactsFile(h.state): "hushbell.contacts",
	} {
		if err := os.Rename(from, filepath.Join(given, to)); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, 1, "there is no pid", "", "pid", "show", "--state", h.state)
	t.Setenv("CREDENTIALS_DIRECTORY", given)
	h.run(t)
	if got := succeeds(t, "", "pid", "show", "--state", h.state); !strings.HasPrefix(got, h.pid) {
		t.Errorf("the pid is %q, want %s", got, h.pid)
	}
	if got := succeeds(t, "", "pid", "list", "--state", h.state); strings.Count(got, "\n") != 2 || !strings.Contains(got, strings.SplitN(attic, "\n", 2)[0]) {
		t.Errorf("the pids are %q", got)
	}
	if got := succeeds(t, "", "contact", "list", "--state", h.state); !strings.Contains(got, "far") {
		t.Errorf("the contacts are %q", got)
	}
	if files, err := filepath.Glob(filepath.Join(h.state, "pids", "*")); err != nil || len(files) > 0 {
		t.Errorf("the state folder has %q, %v", files, err)
	}

	// A change begins with what was given, and counts from then on.
	near, _, _ := strings.Cut(attic, "\n")
	succeeds(t, "", "contact", "add", "near", near, "--state", h.state, "--socket", h.socket)
	if got := succeeds(t, "", "contact", "list", "--state", h.state); !strings.Contains(got, "far") || !strings.Contains(got, "near") {
		t.Errorf("the contacts are %q", got)
	}
}

// A relay has its key from the credential, too.
func TestRelayCredential(t *testing.T) {
	given, state := t.TempDir(), t.TempDir()
	k, err := relayKey(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(state, "relay.key"), filepath.Join(given, "hushbell.relay")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", given)
	got, err := relayKey(state)
	if err != nil || got.ID() != k.ID() {
		t.Errorf("relay key: %v", err)
	}
	if !missing(filepath.Join(state, "relay.key")) {
		t.Error("the key was written to the state folder")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if got, err = relayKey(state); err != nil || got.ID() == k.ID() {
		t.Errorf("without a credential it has the same key, or %v", err)
	}
}

// The journal learns how grave a line is, and other logs are as they were.
func TestJournal(t *testing.T) {
	lines := func() string {
		var b bytes.Buffer
		l := newLog(&b, true)
		l.Debug("d")
		l.Info("i")
		l.Warn("w", "err", "x")
		l.Error("e")
		return b.String()
	}
	t.Setenv("JOURNAL_STREAM", "9:1")
	if got, want := lines(), "<7>level=DEBUG msg=d\n<6>level=INFO msg=i\n<4>level=WARN msg=w err=x\n<3>level=ERROR msg=e\n"; got != want {
		t.Errorf("the journal is written %q, want %q", got, want)
	}
	t.Setenv("JOURNAL_STREAM", "")
	if got := lines(); strings.Contains(got, "<") || strings.Count(got, "time=") != 4 {
		t.Errorf("another log is written %q", got)
	}
}
