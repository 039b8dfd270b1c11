package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeBox notes what it is asked for.
type fakeBox struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (b *fakeBox) note(what string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, what)
	return b.err
}

func (b *fakeBox) Status() Status {
	b.note("status")
	return Status{Version: "v1", State: "in call", Call: &Call{Peer: "workshop", Began: time.Unix(1, 7), Report: Report{SetupMS: 1.5, Voice: Voice{Lost: 3}}}}
}
func (b *fakeBox) Press(_ context.Context, p Press) error {
	return b.note(strings.TrimSpace("press " + p.Button + p.Gesture))
}
func (b *fakeBox) Call(_ context.Context, to string, page bool) error {
	if page {
		to += ", page"
	}
	return b.note("call " + to)
}
func (b *fakeBox) SetDND(_ context.Context, word string) error  { return b.note("dnd " + word) }
func (b *fakeBox) OpenDoor(_ context.Context, pin string) error { return b.note("door " + pin) }
func (b *fakeBox) Missed() []Missed {
	b.note("missed")
	return []Missed{{At: time.Unix(3, 0).UTC(), Peer: "door", PID: "p", Count: 2}}
}
func (b *fakeBox) ClearMissed(context.Context) error { return b.note("clear") }
func (b *fakeBox) Answer(context.Context) error      { return b.note("answer") }
func (b *fakeBox) HangUp(context.Context) error      { return b.note("hangup") }
func (b *fakeBox) Reload(context.Context) error      { return b.note("reload") }

// A served is a Server at work.
type served struct {
	*Server
	path string
	box  *fakeBox
	stop func() error
}

func serve(t *testing.T) *served {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	box, done := &fakeBox{}, make(chan error, 1)
	go func() { done <- s.Serve(ctx, box) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return &served{s, path, box, stop}
}

func TestRequests(t *testing.T) {
	s := serve(t)
	c := NewClient(s.path)
	ctx := t.Context()
	for _, f := range []func(context.Context) error{c.Press, c.Answer, c.HangUp, c.Reload} {
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := c.Call(ctx, "workshop", false); err != nil {
		t.Error(err)
	}
	got, err := c.Status(ctx)
	if err != nil || got.Version != "v1" || got.Call.Report.Voice.Lost != 3 || !got.Call.Began.Equal(time.Unix(1, 7)) || !got.Call.Ended.IsZero() {
		t.Errorf("Status = %+v, %v", got, err)
	}
	for _, err := range []error{c.Call(ctx, "house", true), c.SetDND(ctx, "on"), c.OpenDoor(ctx, "4711"), c.ClearMissed(ctx), c.Do(ctx, Press{"2", "long"})} {
		if err != nil {
			t.Error(err)
		}
	}
	missed, err := c.Missed(ctx)
	if err != nil || len(missed) != 1 || missed[0] != (Missed{time.Unix(3, 0).UTC(), "door", "p", 2}) {
		t.Errorf("Missed = %+v, %v", missed, err)
	}
	want := []string{"press", "answer", "hangup", "reload", "call workshop", "status", "call house, page", "dnd on", "door 4711", "clear", "press 2long", "missed"}
	if !slices.Equal(s.box.asked, want) {
		t.Errorf("the box was asked for %q, want %q", s.box.asked, want)
	}
	s.box.err = errors.New("the line is taken")
	var refused *RefusedError
	if err := c.Call(ctx, "workshop", false); !errors.As(err, &refused) || refused.Status != http.StatusConflict || err.Error() != "the line is taken" {
		t.Errorf("a refused call is %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	s := serve(t)
	c := NewClient(s.path)
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/nothing", "", 404},
		{"GET", "/press", "", 405},
		{"POST", "/call", "", 400},
		{"POST", "/call", "{}", 400},
		{"POST", "/call", `{"to": 7}`, 400},
		{"POST", "/call", `{"whom": "workshop"}`, 400},
		{"POST", "/press", `{"finger": 1}`, 400},
		{"POST", "/dnd", "{}", 400},
		{"POST", "/door", `{"pin": 4711}`, 400},
		{"POST", "/call", `{"to": "` + strings.Repeat("x", maxBody) + `"}`, 400},
		{"GET", "/status?" + strings.Repeat("x", 2*maxHeader), "", 431},
	} {
		q, err := http.NewRequest(tt.method, "http://box"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.http.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != tt.want {
			t.Errorf("%s %.30s %.30s: status %d, want %d", tt.method, tt.path, tt.body, r.StatusCode, tt.want)
		}
	}
	if len(s.box.asked) > 0 {
		t.Errorf("the box was asked for %q", s.box.asked)
	}
}

// What was told before is replayed, then events come as they happen; who asks
// for none of the old ones gets none; and a stream ends with the box.
func TestEvents(t *testing.T) {
	s := serve(t)
	c := NewClient(s.path)
	for range history + 10 {
		s.Tell(Event{Kind: "old"})
	}
	all, err := c.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	fresh, err := c.Events(t.Context(), history+10)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	// Before the next one is told: it takes the place of the oldest.
	for want := uint64(11); want <= history+10; want++ {
		e, err := all.Next()
		if err != nil || e.Seq != want || e.Kind != "old" || e.At.IsZero() {
			t.Fatalf("event %d of the past is %+v, %v", want, e, err)
		}
	}
	at := time.Now()
	sent := Event{Kind: "ended", State: "ended", At: at, Peer: "workshop", Report: &Report{Hops: 3}}
	s.Tell(sent)
	sent.Seq, sent.At = history+11, at.Round(0)
	for _, st := range []*Stream{all, fresh} {
		e, err := st.Next()
		if err != nil || !e.At.Equal(sent.At) {
			t.Fatalf("got %+v, %v", e, err)
		}
		e.At = sent.At
		if !reflect.DeepEqual(e, sent) {
			t.Errorf("got %+v, want %+v", e, sent)
		}
	}
	go func() { s.stop() }()
	if _, err := fresh.Next(); err != io.EOF {
		t.Errorf("after the box ended the stream says %v, want io.EOF", err)
	}
}

func TestTooManyStreams(t *testing.T) {
	s := serve(t)
	c := NewClient(s.path)
	for range maxStreams {
		st, err := c.Events(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
	}
	if _, err := c.Events(t.Context(), 0); err == nil {
		t.Error("one more stream is taken")
	}
	if err := c.Press(t.Context()); err != nil {
		t.Errorf("streams are in the way of requests: %v", err)
	}
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	c := NewClient(path)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("without a box Status = %v", err)
	}

	// A process that was killed leaves its socket behind.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if err := c.Press(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with a dead box Press = %v", err)
	}
	s, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("the socket is %v, %v, want 0660", fi.Mode(), err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrTaken) {
		t.Errorf("a second Listen = %v, want ErrTaken", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocketOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrTaken) {
		t.Errorf("Listen on a socket that answers = %v, want ErrTaken", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("Listen replaces a file")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file holds %q now", b)
	}
	if _, err := Listen("/" + strings.Repeat("x", 200)); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a long name gives %v", err)
	}
}

// Who connects and says nothing, or follows events and reads none, holds up
// neither others nor the end.
func TestSlowClients(t *testing.T) {
	s := serve(t)
	mute, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	lazy, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer lazy.Close()
	io.WriteString(lazy, "GET /events?after=0 HTTP/1.1\r\nHost: box\r\n\r\n")
	if _, err := bufio.NewReaderSize(lazy, 16).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for range 10 * history {
		s.Tell(Event{Kind: "press", Peer: strings.Repeat("x", 1000)})
	}
	if err := NewClient(s.path).Press(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
