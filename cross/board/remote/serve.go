package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"hushbell/device/control"
)

// Serve says hello and does what the other end asks, each request in a
// goroutine of its own, until the line breaks. It does not wait for what still
// runs then.
func Serve(line io.ReadWriter) error {
	var mu sync.Mutex // guards out
	in, out := json.NewDecoder(line), json.NewEncoder(line)
	send := func(a Answer) error {
		mu.Lock()
		defer mu.Unlock()
		return out.Encode(a)
	}
	if err := send(Answer{}); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	for {
		var r Request
		if err := in.Decode(&r); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		// An answer that cannot be sent shows in the next read.
		go func() { _ = send(do(r)) }()
	}
}

// do does one request.
func do(r Request) Answer {
	ctx := context.Background()
	if r.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Limit)
		defer cancel()
	}
	a := Answer{ID: r.ID}
	var err error
	switch {
	case len(r.Argv) > 0:
		a.Out, a.Status, err = runCommand(ctx, r)
	case r.Write != "":
		err = write(r)
	case r.Watch != "":
		a.Values, err = watch(ctx, r)
	case r.Socket != "":
		var s control.Status
		if s, err = control.NewClient(r.Socket).Status(ctx); err == nil {
			a.Out, err = json.Marshal(s)
		}
	default:
		err = errors.New("an empty request")
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

func runCommand(ctx context.Context, r Request) (out []byte, status int, err error) {
	c := exec.CommandContext(ctx, r.Argv[0], r.Argv[1:]...)
	c.Stdin = bytes.NewReader(r.Stdin)
	// With all that it started: what holds its output keeps us waiting.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	out, err = c.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, exit.ExitCode(), nil
	}
	return out, 0, err
}

// write does not truncate what the kernel makes: there it is one write.
func write(r Request) error {
	mode := os.FileMode(r.Mode)
	if mode == 0 {
		mode = 0o644
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if strings.HasPrefix(r.Write, "/sys/") {
		flags = os.O_WRONLY
	}
	f, err := os.OpenFile(r.Write, flags, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(r.Data)
	return errors.Join(err, f.Close())
}

func watch(ctx context.Context, r Request) (values []string, err error) {
	for range r.Times {
		b, err := os.ReadFile(r.Watch)
		if err != nil {
			return values, err
		}
		values = append(values, strings.TrimSpace(string(b)))
		select {
		case <-ctx.Done():
			return values, ctx.Err()
		case <-time.After(r.Every):
		}
	}
	return values, nil
}
