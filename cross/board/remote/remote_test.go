package remote

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair returns a client of an agent at the other end of a pipe.
func pair(t *testing.T) (c *Client, agent net.Conn) {
	t.Helper()
	host, board := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- Serve(board) }()
	c, err := NewClient(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err == nil {
			t.Error("Serve has no error for a line that broke")
		}
	})
	return c, board
}

func TestRun(t *testing.T) {
	c, _ := pair(t)
	for _, tt := range []struct {
		name    string
		r       Request
		status  int
		out     string
		wantErr string
	}{
		{"output and error output", Request{Argv: []string{"sh", "-c", "echo a; echo b >&2; exit 3"}}, 3, "a\nb\n", ""},
		{"input", Request{Argv: []string{"cat"}, Stdin: []byte{0, 255, '\n'}}, 0, "\x00\xff\n", ""},
		{"limit", Request{Argv: []string{"sh", "-c", "sleep 600 & sleep 600"}, Limit: 50 * time.Millisecond}, -1, "", ""},
		{"no such program", Request{Argv: []string{"/no/such"}}, 0, "", "no such file"},
		{"nothing", Request{}, 0, "", "empty request"},
		{"no box", Request{Socket: filepath.Join(t.TempDir(), "s")}, 0, "", "no box is running"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := c.Do(t.Context(), tt.r)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("err = %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || a.Status != tt.status || string(a.Out) != tt.out {
				t.Errorf("Do = %d, %q, %v, want %d, %q", a.Status, a.Out, err, tt.status, tt.out)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	c, _ := pair(t)
	file := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"longer", "on"} {
		if _, err := c.Do(t.Context(), Request{Write: file, Data: []byte(text), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode() != 0o600 || fi.Size() != 2 {
		t.Errorf("Stat = %v, %v, want 2 bytes for their owner", fi, err)
	}
	a, err := c.Do(t.Context(), Request{Watch: file, Times: 3, Every: time.Millisecond})
	if want := []string{"on", "on", "on"}; err != nil || !slices.Equal(a.Values, want) {
		t.Errorf("Do = %v, %v, want %v", a.Values, err, want)
	}
}

// An answer overtakes another, and both come to who has asked.
func TestOvertaking(t *testing.T) {
	c, _ := pair(t)
	file := filepath.Join(t.TempDir(), "go")
	slow := make(chan string, 1)
	go func() {
		a, err := c.Do(t.Context(), Request{Argv: []string{"sh", "-c", "until [ -e '" + file + "' ]; do sleep 0.01; done; echo slow"}})
		if err != nil {
			t.Error(err)
		}
		slow <- string(a.Out)
	}()
	if _, err := c.Do(t.Context(), Request{Write: file}); err != nil {
		t.Fatal(err)
	}
	if got := <-slow; got != "slow\n" {
		t.Errorf("the slow one has printed %q", got)
	}
}

func TestGone(t *testing.T) {
	c, board := pair(t)
	time.AfterFunc(50*time.Millisecond, func() { board.Close() })
	if _, err := c.Do(t.Context(), Request{Argv: []string{"sleep", "2"}, Limit: time.Hour}); !errors.Is(err, ErrGone) {
		t.Errorf("Do = %v, want ErrGone", err)
	}
	if _, err := c.Do(t.Context(), Request{Argv: []string{"true"}}); !errors.Is(err, ErrGone) {
		t.Errorf("Do afterwards = %v, want ErrGone", err)
	}
}

// A board that never says hello is an error when the time is over.
func TestNoHello(t *testing.T) {
	host, board := net.Pipe()
	defer board.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewClient(ctx, host); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("NewClient = %v, want a deadline exceeded", err)
	}
}
