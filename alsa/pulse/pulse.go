// Package pulse plays and records through the sound server of the session,
// PulseAudio or PipeWire, with the face of package alsa: 48 kHz mono 16-bit
// samples, Write and Read that wait, Delay, Xruns, Stop, Close. The server
// converts for its cards.
//
// It speaks the native protocol by way of github.com/jfreymuth/pulse/proto. The
// streams of that library's upper half are not used: in v0.1.3 they close a
// channel twice when a server goes away during Close, wait for ever for a Started
// that does not come or comes twice (its issues 39 and 52), and call back with a
// buffer to be filled at once, which leaves no way to wait.
//
// A frame of 20 ms costs at most 1 allocation of 74 bytes to write and 2 of 183
// bytes to read (BenchmarkFrame, PulseAudio 16.1 and PipeWire 0.3.65): all are the
// library's reader's, a box for each message. In a call that is 3 to 5 a frame for
// both ways, with the messages that ask for more (TestFrameAllocs).
//
// PipeWire adds the channels of a stereo source at 0.71 each, so one voice in both
// comes out 3 dB louder.
//
// A lost server ends a stream with an error. Dialling again is the caller's
// (alsa.Speaker does it), since only the caller knows what to do meanwhile.
package pulse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jfreymuth/pulse/proto"
)

const (
	rate        = 48000
	sampleBytes = 2
	// chunk is what is handled at a time: 20 ms, the frame of a call.
	chunk = 960

	// answer is how long the server may take for a request, or to take the bytes
	// of one write. A healthy one takes a millisecond, on a machine with five times
	// its load PipeWire took more than one second.
	answer = 5 * time.Second
	// stall is how long it may give no room, or no samples, while a stream runs.
	stall = 5 * time.Second
	// timing is the time between two questions for the delay while a stream runs.
	// Sound cards drift by less than 5 samples in that time.
	timing = time.Second
)

// ErrClosed is what a stream answers after Close.
var ErrClosed = os.ErrClosed

// ErrNoServer says that no sound server is there to talk to.
var ErrNoServer = errors.New("no sound server")

// Options is how a stream is opened; the zero value is 10 ms and 40 ms.
type Options struct {
	Period time.Duration // how often the server asks for samples or sends them
	Buffer time.Duration // how much is queued for playing
	Name   string        // what volume controls show; "Hushbell" if empty
}

func (o Options) fill() Options {
	if o.Period <= 0 {
		o.Period = 10 * time.Millisecond
	}
	if o.Buffer < 2*o.Period {
		o.Buffer = 4 * o.Period
	}
	if o.Name == "" {
		o.Name = "Hushbell"
	}
	return o
}

// size is a duration in bytes of whole samples.
func size(d time.Duration) uint32 { return uint32(d*rate/time.Second) * sampleBytes }

// link is one connection to the server. Each stream has its own, so that one
// that is stuck does not stop the other.
type link struct {
	proto proto.Client
	conn  net.Conn
	ended chan struct{} // closed when the library's reader has had its last byte
	end   sync.Once     // it reads on for some fields even so
	// release ends the hold that the context of dial has on the connection.
	release func() bool

	mu   sync.Mutex // guards the rest
	err  error      // of the first failure
	lost func(error)
}

// dial connects and introduces us. handle gets the server's messages, on the
// reader's goroutine; it must not wait. lost is called when the server is gone. The
// connection is closed when ctx is done, so that no request waits longer, until
// release is called.
func dial(ctx context.Context, name string, handle func(msg any), lost func(error)) (*link, error) {
	var failed error = ErrNoServer
	for _, a := range servers(os.Getenv) {
		d := net.Dialer{Timeout: answer}
		conn, err := d.DialContext(ctx, a.network, a.address)
		if err != nil {
			failed = fmt.Errorf("%w: %w", ErrNoServer, err)
			continue
		}
		l := &link{conn: conn, ended: make(chan struct{})}
		l.proto.Callback = handle
		l.proto.SetTimeout(answer)
		l.proto.Open(l) // starts the reader
		l.release = context.AfterFunc(ctx, func() { conn.Close() })
		if failed = l.introduce(name); failed != nil {
			l.close()
			continue
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.lost = lost; l.err != nil { // gone already
			lost(l.err)
		}
		return l, nil
	}
	return nil, failed
}

// fail notes a failure of the connection and passes the first one on.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.err = gone(err); l.lost != nil {
		l.lost(l.err)
	}
}

func (l *link) introduce(name string) error {
	var auth proto.AuthReply
	if err := l.request("authenticate", &proto.Auth{Version: l.proto.Version(), Cookie: cookie()}, &auth); err != nil {
		return err
	}
	l.proto.SetVersion(auth.Version)
	props := proto.PropList{"application.name": proto.PropListString(name)}
	return l.request("introduce", &proto.SetClientName{Props: props}, &proto.SetClientNameReply{})
}

// request asks the server and waits for its answer.
func (l *link) request(what string, args proto.RequestArgs, reply proto.Reply) error {
	if err := l.proto.Request(args, reply); err != nil {
		return fmt.Errorf("pulse: %s: %w", what, errno(err))
	}
	return nil
}

// Read is the library's reader's. Every failure becomes EOF, the only one for
// which the library tidies up.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.conn.Read(b)
	if err != nil {
		l.fail(err)
		l.end.Do(func() { close(l.ended) })
		return n, io.EOF
	}
	return n, nil
}

// Write gives up on a server that does not read; the library does not look at
// the error of all its writes, so the loss is told here.
func (l *link) Write(b []byte) (int, error) {
	l.conn.SetWriteDeadline(time.Now().Add(answer))
	n, err := l.conn.Write(b)
	if err != nil {
		l.fail(err)
		l.conn.Close()
	}
	return n, err
}

// close ends the connection and waits for its reader.
func (l *link) close() error {
	l.release()
	err := l.conn.Close()
	<-l.ended
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// gone is the error of a lost connection, with an errno in it.
func gone(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return syscall.ECONNRESET
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", err, syscall.EIO)
	}
	return err
}

// errno adds to an answer of the server the errno that says the same.
func errno(err error) error {
	var e proto.Error
	switch {
	case errors.Is(err, io.EOF):
		return syscall.ECONNRESET
	case errors.Is(err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.As(err, &e):
		switch e {
		case proto.ErrAccessDenied, proto.ErrNoAuthenticationKey:
			return fmt.Errorf("%w: %w", err, syscall.EACCES)
		case proto.ErrNoSuchEntity, proto.ErrEntityKilled:
			return fmt.Errorf("%w: %w", err, syscall.ENODEV)
		case proto.ErrDeviceOrResourceBusy:
			return fmt.Errorf("%w: %w", err, syscall.EBUSY)
		}
	}
	return err
}

// address is where a server listens.
type address struct{ network, address string }

// servers lists the addresses of the session's server: $PULSE_SERVER, else the
// socket in the runtime directory.
func servers(env func(string) string) []address {
	if s := env("PULSE_SERVER"); s != "" {
		host, _ := os.Hostname()
		id, _ := os.ReadFile("/etc/machine-id")
		return parseServers(s, host, strings.TrimSpace(string(id)))
	}
	if dir := env("PULSE_RUNTIME_PATH"); dir != "" {
		return []address{{"unix", filepath.Join(dir, "native")}}
	}
	if dir := env("XDG_RUNTIME_DIR"); dir != "" {
		return []address{{"unix", filepath.Join(dir, "pulse", "native")}}
	}
	return nil
}

// parseServers reads a server string as libpulse does: addresses with blanks
// between, each after the {name} of the machine that it is for, if any.
func parseServers(s, host, machine string) []address {
	var list []address
	for f := range strings.FieldsSeq(s) {
		if rest, ok := strings.CutPrefix(f, "{"); ok {
			name, rest, ok := strings.Cut(rest, "}")
			if !ok || name != host && name != machine {
				continue
			}
			f = rest
		}
		a := address{network: "tcp", address: f}
		if strings.HasPrefix(f, "/") {
			a.network = "unix"
		} else if scheme, rest, ok := strings.Cut(f, ":"); ok {
			switch scheme {
			case "unix", "tcp", "tcp4", "tcp6":
				a = address{scheme, rest}
			}
		}
		if a.address == "" {
			continue
		}
		if a.network != "unix" {
			if _, _, err := net.SplitHostPort(a.address); err != nil {
				a.address = net.JoinHostPort(strings.Trim(a.address, "[]"), "4713")
			}
		}
		list = append(list, a)
	}
	return list
}

// cookie is the secret that servers on a network ask for. One on a local socket
// knows us by our user and takes any 256 bytes.
func cookie() []byte {
	home, _ := os.UserHomeDir()
	for _, f := range []string{os.Getenv("PULSE_COOKIE"), filepath.Join(home, ".config/pulse/cookie"), filepath.Join(home, ".pulse-cookie")} {
		if b, err := os.ReadFile(f); err == nil && len(b) == 256 {
			return b
		}
	}
	return make([]byte, 256)
}
