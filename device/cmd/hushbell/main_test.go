package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// In a process that a test starts, the test binary is the program itself.
const asProgram = "HUSHBELL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Setenv(asProgram, "1") // for what we start, and for what the demo starts
	os.Exit(m.Run())
}

// What belongs to another user has a hint, unless the error has advice of its own:
// words in the name of a file are none.
func TestOwnershipHint(t *testing.T) {
	needRoot(t)
	const hint = "It is another user's"
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	state := filepath.Join(dir, "of-sudo")
	check(t, os.MkdirAll(filepath.Join(state, "pids"), 0o755))
	check(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	check(t, os.WriteFile(filepath.Join(state, "contacts.toml"), nil, 0o600))
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{[]string{"contact", "list", "--state", state}, true},
		{[]string{"pid", "list", "--state", filepath.Join(dir, "closed")}, false},
		{[]string{"pid", "new", "--state", filepath.Join(dir, "closed", "box")}, false},
	} {
		out, err := asNobody(tt.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "permission denied") || strings.Contains(string(out), hint) != tt.want {
			t.Errorf("%q: %v, %s; want the hint: %v", tt.args, err, out, tt.want)
		}
	}
}

// lacks skips a test where something is not to be had, and fails it in CI.
func lacks(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// needRoot is for what only root can try: to be another user, or to make networks.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		lacks(t, "needs root")
	}
}

// A process is the program running beside the test.
type process struct {
	*exec.Cmd
	t testing.TB

	mu    sync.Mutex // guards lines
	lines []string   // of its standard output and error
	more  chan struct{}
}

// start runs the program. netns names the network namespace that it runs in,
// "" for our own. It is killed when the test ends.
func start(t testing.TB, netns string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if netns != "" {
		args = append([]string{"netns", "exec", netns, self}, args...)
		self = "ip"
	}
	return startProgram(t, self, args...)
}

// startProgram is start of any program.
func startProgram(t testing.TB, program string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(program, args...), t: t, more: make(chan struct{}, 1)}
	// Should the test be killed, its processes go with it.
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr = w, w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for sc := bufio.NewScanner(r); sc.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, sc.Text())
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
		<-read
		r.Close()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(args, " "), p.output())
		}
	})
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// expect waits for a line that contains text.
func (p *process) expect(text string) {
	p.t.Helper()
	limit := time.After(30 * time.Second)
	for !strings.Contains(p.output(), text) {
		select {
		case <-p.more:
		case <-limit:
			p.t.Fatalf("%s never said %q", strings.Join(p.Args, " "), text)
		}
	}
}
