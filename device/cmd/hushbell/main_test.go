package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"os/signal"
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
