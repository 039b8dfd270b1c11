package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// A Client talks to a running box. Its methods are safe for concurrent use.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a Client of the box at a socket. It does not connect yet.
func NewClient(socket string) *Client {
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true, // a connection is cheap, and nothing has to be closed
	}}}
}

// ErrNotRunning means that no box serves the socket.
var ErrNotRunning = errors.New("no box is running")

// A RefusedError is what the box said to a request that it did not carry out.
type RefusedError struct {
	Status int // of HTTP
	Why    string
}

func (e *RefusedError) Error() string { return e.Why }

// maxAnswer is more than a status can have.
const maxAnswer = 1 << 20

// Status returns how the box is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.do(ctx, http.MethodGet, "/status", nil, &s)
}

// Press presses the first button.
func (c *Client) Press(ctx context.Context) error { return c.post(ctx, "/press", nil) }

// Do does with a button whatever can be done with one.
func (c *Client) Do(ctx context.Context, p Press) error { return c.post(ctx, "/press", p) }

// Call calls a contact or a group by name, or a pid. With page all who answer take
// part. It returns as soon as the box tries.
func (c *Client) Call(ctx context.Context, to string, page bool) error {
	return c.post(ctx, "/call", map[string]any{"to": to, "page": page})
}

// SetDND switches do-not-disturb: "on", "off" or "scheduled".
func (c *Client) SetDND(ctx context.Context, word string) error {
	return c.post(ctx, "/dnd", map[string]string{"switch": word})
}

// OpenDoor shows a PIN to the far end of the call that stands, and returns nil when
// its door is open.
func (c *Client) OpenDoor(ctx context.Context, pin string) error {
	return c.post(ctx, "/door", map[string]string{"pin": pin})
}

// Missed returns the calls that nobody answered, the newest first.
func (c *Client) Missed(ctx context.Context) (calls []Missed, err error) {
	return calls, c.do(ctx, http.MethodGet, "/missed", nil, &calls)
}

// ClearMissed has the box forget them.
func (c *Client) ClearMissed(ctx context.Context) error { return c.post(ctx, "/missed/clear", nil) }

// Answer answers the call that rings, HangUp ends or rejects the one there is.
func (c *Client) Answer(ctx context.Context) error { return c.post(ctx, "/answer", nil) }

// HangUp ends or rejects the call there is.
func (c *Client) HangUp(ctx context.Context) error { return c.post(ctx, "/hangup", nil) }

// Reload has the box read its contacts and configuration again.
func (c *Client) Reload(ctx context.Context) error { return c.post(ctx, "/reload", nil) }

func (c *Client) post(ctx context.Context, path string, body any) error {
	return c.do(ctx, http.MethodPost, path, body, nil)
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("control: %s of %s: %w", path, c.socket, err)
	}
	return nil
}

// request returns the answer to a request if it is a good one.
func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("control: %s: %w", path, err)
		}
		sent = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, "http://box"+path, sent)
	if err != nil {
		return nil, fmt.Errorf("control: %s: %w", path, err)
	}
	r, err := c.http.Do(q)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nobody listens at %s: start one with hushbell run, or name its socket with --socket", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another user: become one of its group, or use sudo: %w", c.socket, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("control: %s of %s: %w", path, c.socket, err)
	}
	if r.StatusCode == http.StatusOK {
		return r, nil
	}
	defer r.Body.Close()
	var refused struct{ Error string }
	if json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(&refused) != nil || refused.Error == "" {
		refused.Error = fmt.Sprintf("%s answers %q", c.socket, r.Status)
	}
	return nil, &RefusedError{r.StatusCode, refused.Error}
}

// A Stream is the events of a box as they come. It belongs to one goroutine.
type Stream struct {
	body  io.ReadCloser
	lines *json.Decoder
}

// Events follows what happens, from the event after the one of that number on,
// as far as the box has kept them. When it returns, nothing is missed any more.
// The Stream ends with ctx, with the box, or with Close.
func (c *Client) Events(ctx context.Context, after uint64) (*Stream, error) {
	r, err := c.request(ctx, http.MethodGet, "/events?after="+strconv.FormatUint(after, 10), nil)
	if err != nil {
		return nil, err
	}
	return &Stream{r.Body, json.NewDecoder(r.Body)}, nil
}

// Next waits for an event. The error is io.EOF when the box has ended.
func (s *Stream) Next() (Event, error) {
	var e Event
	if err := s.lines.Decode(&e); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return e, io.EOF
		}
		return e, fmt.Errorf("control: events: %w", err)
	}
	return e, nil
}

// Close ends the stream.
func (s *Stream) Close() error { return s.body.Close() }
