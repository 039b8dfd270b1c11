package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A hearer is the socket of a service manager.
type hearer struct {
	t *testing.T
	c *net.UnixConn
}

// listen makes this process a service of a manager, and returns the manager.
func listen(t *testing.T) *hearer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &hearer{t, c}
}

// next returns the next message, "" if there is none at present and wait is 0.
func (h *hearer) next(wait time.Duration) string {
	h.t.Helper()
	b := make([]byte, 4096)
	h.c.SetReadDeadline(time.Now().Add(max(wait, time.Millisecond)))
	n, err := h.c.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && wait == 0 {
		return ""
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b[:n])
}

func TestManager(t *testing.T) {
	h := listen(t)
	m := New(slog.New(slog.DiscardHandler))
	m.Ready("Can be called.\nREADY=0")
	m.Status("In a call.")
	m.Status("In a call.") // nothing new
	m.Stopping()
	for _, want := range []string{"READY=1\nSTATUS=Can be called. READY=0", "STATUS=In a call.", "STOPPING=1"} {
		if got := h.next(10 * time.Second); got != want {
			t.Errorf("the manager is told %q, want %q", got, want)
		}
	}
}

func TestWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	var log bytes.Buffer
	m := New(slog.New(slog.NewTextHandler(&log, nil)))
	m.Backoff(t.Context())
	m.Ready("ready")
	m.Watch(t.Context(), func(context.Context) error { t.Error("asked, though nobody wants to know"); return nil })
	m.Stopping()
	if log.Len() > 0 {
		t.Errorf("it complains: %s", log.String())
	}
}

// That the manager does not hear is said once.
func TestDeafManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	var log bytes.Buffer
	m := New(slog.New(slog.NewTextHandler(&log, nil)))
	m.Ready("ready")
	m.Stopping()
	if n := strings.Count(log.String(), "cannot tell the service manager"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}

// The watchdog is fed while the program turns, not while it hangs, and again
// when that has passed.
func TestWatch(t *testing.T) {
	h := listen(t)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	m := New(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	asked, ended := make(chan bool), make(chan struct{})
	go func() {
		defer close(ended)
		m.Watch(ctx, func(ctx context.Context) error {
			hangs := <-asked
			if !hangs {
				return nil
			}
			<-ctx.Done() // its limit
			return ctx.Err()
		})
	}()
	asked <- false
	if got := h.next(10 * time.Second); got != "WATCHDOG=1" {
		t.Errorf("the manager is told %q, want the watchdog fed", got)
	}
	for range 3 {
		asked <- true
	}
	if got := h.next(0); got != "" {
		t.Errorf("the manager is told %q while the program hangs", got)
	}
	asked <- false
	if got := h.next(10 * time.Second); got != "WATCHDOG=1" {
		t.Errorf("the manager is told %q, want the watchdog fed", got)
	}
	cancel()
	close(asked)
	<-ended
}

func TestBackoff(t *testing.T) {
	var waits []time.Duration
	for n := 1; n <= 10; n++ {
		waits = append(waits, wait(n)/time.Second)
	}
	if want := []time.Duration{0, 0, 0, 2, 4, 8, 16, 32, 60, 60}; !slices.Equal(waits, want) {
		t.Errorf("starts wait %d s, want %d", waits, want)
	}

	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir)
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "none"))
	start := func(lasts time.Duration, stopped bool) (waited time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			m, began := New(slog.New(slog.DiscardHandler)), time.Now()
			m.Backoff(t.Context())
			waited = time.Since(began)
			m.Ready("")
			time.Sleep(lasts)
			synctest.Wait()
			if stopped {
				m.Stopping()
			} else if m.lasting != nil {
				m.lasting.Stop() // with the process
			}
		})
		return waited
	}
	for i, tt := range []struct {
		lasts   time.Duration
		stopped bool
		waits   time.Duration
	}{
		{time.Second, false, 0}, {time.Second, false, 0}, {time.Second, false, 0},
		{time.Second, false, 2 * time.Second},
		{time.Second, false, 4 * time.Second},
		{2 * time.Minute, false, 8 * time.Second}, // this one was good
		{time.Second, false, 0}, {time.Second, false, 0}, {time.Second, false, 0},
		{time.Second, true, 2 * time.Second}, // ended because it was told to
		{time.Second, false, 0},
	} {
		if waited := start(tt.lasts, tt.stopped); waited != tt.waits {
			t.Errorf("start %d waits %v, want %v", i, waited, tt.waits)
		}
	}

	// Who stops the service while it waits does not wait along.
	if err := os.WriteFile(filepath.Join(dir, "starts"), []byte("20"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	New(slog.New(slog.DiscardHandler)).Backoff(ctx)
}
