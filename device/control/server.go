package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	maxBody    = 4 << 10          // a call's {"to": ...} is the longest request
	maxHeader  = 8 << 10          //
	patience   = 10 * time.Second // for a request to come in, an answer or an event to be taken
	maxStreams = 16               // who follow events at a time
	history    = 256              // events that are kept for who asks for them later
)

// A Server is the box's end of the socket. Listen makes one; it answers from
// Serve on, and keeps what Tell says from the beginning.
type Server struct {
	socket *socket

	mu      sync.Mutex // guards what follows
	seq     uint64     // of the last event
	recent  [history]Event
	changed chan struct{} // closed, and made anew, with each event
	streams int
}

// Listen opens the socket, and replaces one that a dead process has left. The
// error is ErrTaken if another process serves it.
func Listen(path string) (*Server, error) {
	s, err := listen(path)
	if err != nil {
		return nil, err
	}
	return &Server{socket: s, changed: make(chan struct{})}, nil
}

// Close takes the socket away. It is only needed where Serve is not called.
func (s *Server) Close() error { return s.socket.Close() }

// Serve answers until ctx is done, and takes the socket away. It waits for what
// is under way, but not long for who does not take the answer.
func (s *Server) Serve(ctx context.Context, box Box) error {
	streaming, endStreams := context.WithCancel(ctx)
	defer endStreams()
	h := &http.Server{
		Handler:           s.routes(streaming, box),
		ReadHeaderTimeout: patience,
		ReadTimeout:       patience,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(s.socket) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		// What is under way answers in no time; who does not take the answer
		// is not waited for.
		grace, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		if h.Shutdown(grace) != nil {
			h.Close()
		}
		cancel()
		err = <-served
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("control: serve: %w", err)
}

// Tell tells an event to all who follow. It does not block. Of what nobody has
// taken the last 256 are kept.
func (s *Server) Tell(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	e.Seq = s.seq
	s.recent[e.Seq%history] = e
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) routes(streaming context.Context, box Box) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, box.Status()) })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { s.stream(streaming, w, r) })
	for path, do := range map[string]func(context.Context) error{
		"POST /answer": box.Answer, "POST /hangup": box.HangUp, "POST /reload": box.Reload,
		"POST /missed/clear": box.ClearMissed,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { done(w, do(r.Context())) })
	}
	mux.HandleFunc("GET /missed", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, box.Missed()) })
	type call struct {
		To   string
		Page bool
	}
	type dnd struct{ Switch string }
	type door struct{ PIN string }
	mux.HandleFunc("POST /press", func(w http.ResponseWriter, r *http.Request) {
		var p Press
		body := json.NewDecoder(r.Body)
		body.DisallowUnknownFields()
		if err := body.Decode(&p); err != nil && !errors.Is(err, io.EOF) { // nothing is a press, too
			refuse(w, http.StatusBadRequest, `say {"button": "2", "gesture": "long"}, or nothing`)
			return
		}
		done(w, box.Press(r.Context(), p))
	})
	post(mux, "/call", `say whom to call: {"to": "a contact's name, or a pid"}`,
		func(c *call) bool { return c.To != "" },
		func(ctx context.Context, c *call) error { return box.Call(ctx, c.To, c.Page) })
	post(mux, "/dnd", `say {"switch": "on"}, "off" or "scheduled"`,
		func(d *dnd) bool { return d.Switch != "" },
		func(ctx context.Context, d *dnd) error { return box.SetDND(ctx, d.Switch) })
	post(mux, "/door", `show a PIN: {"pin": "..."}`,
		func(d *door) bool { return d.PIN != "" },
		func(ctx context.Context, d *door) error { return box.OpenDoor(ctx, d.PIN) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

// post serves requests with a body: good says whether it is one, hint what it has
// to be.
func post[T any](mux *http.ServeMux, path, hint string, good func(*T) bool, do func(context.Context, *T) error) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var v T
		body := json.NewDecoder(r.Body)
		body.DisallowUnknownFields()
		if err := body.Decode(&v); err != nil || !good(&v) {
			refuse(w, http.StatusBadRequest, hint)
			return
		}
		done(w, do(r.Context(), &v))
	})
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		refuse(w, http.StatusConflict, err.Error())
		return
	}
	answer(w, http.StatusOK, struct{}{})
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, struct {
		Error string `json:"error"`
	}{why})
}

func answer(w http.ResponseWriter, status int, v any) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error is the client's, who has gone
}

// stream sends events, those first that came after the one asked for.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	next, ok := s.follow(r.FormValue("after"))
	if !ok {
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d follow the events already", maxStreams))
		return
	}
	defer s.unfollow()
	c := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	c.Flush() // so that the client knows that it misses nothing from now on
	lines := json.NewEncoder(w)
	for {
		e, changed := s.event(&next)
		if changed == nil {
			c.SetWriteDeadline(time.Now().Add(patience))
			if lines.Encode(e) != nil || c.Flush() != nil {
				return
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-r.Context().Done():
			return
		}
	}
}

// follow takes one of the places for streams. next is the first event to be
// sent: after the one asked for, or else the next to come.
func (s *Server) follow(after string) (next uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= maxStreams {
		return 0, false
	}
	s.streams++
	if n, err := strconv.ParseUint(after, 10, 64); err == nil && n < s.seq {
		return n + 1, true
	}
	return s.seq + 1, true
}

func (s *Server) unfollow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
}

// event returns the event of number next, or the oldest after it that is kept,
// and moves next past it; or a channel that is closed when there is one.
func (s *Server) event(next *uint64) (Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *next > s.seq {
		return Event{}, s.changed
	}
	if s.seq >= history {
		*next = max(*next, s.seq-history+1)
	}
	e := s.recent[*next%history]
	*next++
	return e, nil
}
