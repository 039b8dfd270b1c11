package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// A testTunnel is a spliced tunnel as a session sees it: a stream and datagrams
// of simnet. What it wrote to the stream is kept.
type testTunnel struct {
	net.Conn
	udp  *simnet.UDPConn
	to   netip.AddrPort
	take atomic.Pointer[func(*wire.Frame)]
	wg   sync.WaitGroup

	mu    sync.Mutex // guards wrote
	wrote bytes.Buffer
}

func (t *testTunnel) Write(b []byte) (int, error) {
	t.mu.Lock()
	t.wrote.Write(b)
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// written returns a copy of all that was written so far.
func (t *testTunnel) written() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.wrote.Bytes())
}

func (t *testTunnel) SendVoice(f *wire.Frame) error {
	_, err := t.udp.WriteToUDPAddrPort(f[:], t.to)
	return err
}

func (t *testTunnel) OnVoice(take func(*wire.Frame)) { t.take.Store(&take) }

func (t *testTunnel) readVoice() {
	var f wire.Frame
	for {
		n, _, err := t.udp.ReadFromUDPAddrPort(f[:])
		if err != nil {
			return
		}
		if take := t.take.Load(); take != nil && n == len(f) {
			(*take)(&f)
		}
	}
}

func (t *testTunnel) Close() error {
	t.Conn.Close()
	t.udp.Close() // safe twice, it only says so
	return nil
}

// A rig is a network with two hosts, and the keys of who sits there.
type rig struct {
	t    testing.TB
	net  *simnet.Net
	a, b *simnet.Host

	caller, callee, s *pid.Key
}

// inRig runs f in a synctest bubble, over a network with a little delay.
func inRig(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t)) })
}

func newRig(t testing.TB) *rig {
	n := simnet.New(1)
	t.Cleanup(func() { n.Close() })
	n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond})
	return &rig{
		t: t, net: n,
		a:      n.Host(netip.MustParseAddr("198.51.100.1")),
		b:      n.Host(netip.MustParseAddr("203.0.113.2")),
		caller: pid.NewKey(), callee: pid.NewKey(), s: pid.NewKey(),
	}
}

// tunnels returns the caller's and the callee's end of a tunnel, which the
// end of the test closes.
func (r *rig) tunnels() (near, far *testTunnel) {
	r.t.Helper()
	l, err := r.b.Listen(0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	c, err := r.a.Dial(r.t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	near, far = &testTunnel{Conn: c}, &testTunnel{Conn: s}
	for t, h := range map[*testTunnel]*simnet.Host{near: r.a, far: r.b} {
		if t.udp, err = h.ListenUDP(0); err != nil {
			r.t.Fatal(err)
		}
	}
	near.to = far.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	far.to = near.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, t := range []*testTunnel{near, far} {
		t.wg.Go(t.readVoice)
		r.t.Cleanup(func() { t.Close(); t.wg.Wait() })
	}
	return near, far
}

// accepted is what came of an Accept.
type accepted struct {
	s   *Session
	err error
}

func (r *rig) accept(t Tunnel, o Options) <-chan accepted {
	out := make(chan accepted, 1)
	go func() {
		ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
		defer cancel()
		s, err := Accept(ctx, t, r.s, r.callee.ID(), o)
		out <- accepted{s, err}
	}()
	return out
}

// sessions returns both ends of a session, which the end of the test closes.
func (r *rig) sessions(o Options) (caller, callee *Session) {
	r.t.Helper()
	near, far := r.tunnels()
	return r.sessionsOver(near, far, o)
}

func (r *rig) sessionsOver(near, far Tunnel, o Options) (caller, callee *Session) {
	r.t.Helper()
	waiting := r.accept(far, o)
	caller, err := Dial(r.t.Context(), near, r.caller, r.callee.ID(), r.s.ID(), o)
	got := <-waiting
	if err != nil || got.err != nil {
		r.t.Fatalf("dial: %v; accept: %v", err, got.err)
	}
	r.t.Cleanup(func() { caller.Close(); got.s.Close() })
	return caller, got.s
}

// stranger runs the handshake as a caller who holds own (nil: no certificate)
// without a session's rules, and returns the TLS connection.
func (r *rig) stranger(t net.Conn, own *pid.Key) *tls.Conn {
	r.t.Helper()
	s := r.s.ID()
	c := tls.Client(t, keytls.Client(alpn, &s, r.certificate(own)))
	if err := c.HandshakeContext(r.t.Context()); err != nil {
		r.t.Fatalf("handshake: %v", err)
	}
	return c
}

func (r *rig) certificate(k *pid.Key) *tls.Certificate {
	r.t.Helper()
	if k == nil {
		return nil
	}
	cert, err := keytls.Certificate(k)
	if err != nil {
		r.t.Fatal(err)
	}
	return &cert
}

// write sends messages past a session's rules.
func (r *rig) write(c *tls.Conn, ms ...wire.Message) {
	r.t.Helper()
	for _, m := range ms {
		b, err := m.Append(nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			r.t.Fatalf("write %v: %v", m.Type, err)
		}
	}
}

// receiving reads messages until the session ends, and tells why it did.
func receiving(s *Session) <-chan error {
	out := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Receive(); err != nil {
				out <- err
				return
			}
		}
	}()
	return out
}
