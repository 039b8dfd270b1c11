package voipcore

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/celt"
)

// A mortal is the machine's network until it dies: then nothing goes out or
// comes in any more, and nobody is told.
type mortal struct {
	sockets
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for _, c := range m.conns {
		c.(*mortalConn).dead.Store(true)
	}
}

func (m *mortal) wrap(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mc := &mortalConn{Conn: c}
	mc.dead.Store(m.dead)
	m.conns = append(m.conns, mc)
	return mc, nil
}

func (m *mortal) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return m.wrap(m.sockets.Dial(ctx, to))
}

func (m *mortal) Listen(at netip.AddrPort) (net.Listener, error) {
	l, err := m.sockets.Listen(at)
	return mortalListener{l, m}, err
}

type mortalListener struct {
	net.Listener
	m *mortal
}

func (l mortalListener) Accept() (net.Conn, error) { return l.m.wrap(l.Listener.Accept()) }

// A mortalConn of a dead machine swallows what is written and says nothing,
// and closing it does not reach the other side before the kernel is told.
type mortalConn struct {
	net.Conn
	dead atomic.Bool
}

func (c *mortalConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// A swarm is some relays of one process on loopback.
type swarm struct {
	relays []*Core
	boot   []netip.AddrPort
}

// freePort returns a port of ip that is free for both TCP and UDP.
func freePort(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		a := l.Addr().(*net.TCPAddr).AddrPort()
		l.Close()
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err == nil {
			u.Close()
			return a
		}
	}
	t.Fatal("no port is free for TCP and UDP")
	return netip.AddrPort{}
}

func testLog(name string) *slog.Logger {
	if os.Getenv("HUSHBELL_TEST_LOG") == "" {
		return nil
	}
	h := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(h).With("who", name)
}

func newSwarm(t testing.TB, n int, ip string) *swarm {
	t.Helper()
	s := &swarm{}
	s.grow(t, n, ip, nil)
	return s
}

// grow adds relays. lookups may take the place of their DHT in what they do
// for others.
func (s *swarm) grow(t testing.TB, n int, ip string, lookups func(*Core) kx.DHT) {
	t.Helper()
	for range n {
		at := freePort(t, ip)
		c, err := open(Config{Listen: at, RelayKey: pid.NewKey(), Bootstrap: s.boot, TestNetwork: true, Log: testLog("relay"), Network: &mortal{}}, lookups)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s.relays = append(s.relays, c)
		if len(s.boot) < 3 {
			s.boot = append(s.boot, at)
		}
	}
}

// A box is a Core with one pid and what it was told.
type box struct {
	*Core
	key *pid.Key

	mu      sync.Mutex
	events  []Event
	changed chan struct{} // closed and made anew with each event
}

// newBox opens a box and waits until it can be called. change may change its
// configuration before.
func (s *swarm) newBox(t testing.TB, name string, change func(*Config)) *box {
	t.Helper()
	b := &box{key: pid.NewKey(), changed: make(chan struct{})}
	cfg := Config{
		Keys: []*pid.Key{b.key}, Bootstrap: s.boot, TestNetwork: true, Log: testLog(name),
		Listen:  netip.AddrPortFrom(s.boot[0].Addr(), 0),
		Welcome: admit, Notify: b.note, Network: &mortal{},
		NewEncoder: func(n int) (voice.Encoder, error) {
			return celt.NewEncoder(celt.Config{FrameSamples: voice.FrameSamples, PacketBytes: n})
		},
		// Times of people, a hundred times faster. Those of heartbeats stay: a
		// machine that stalls must not end a call.
		Rules: call.Rules{Ring: 300 * time.Millisecond, TTW: 1},
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if b.Core, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if e := b.wait(t, Reachability); !e.Online {
		t.Fatalf("%s is told %+v", name, e)
	}
	return b
}

func (b *box) note(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait returns the first event of a kind, waiting for it.
func (b *box) wait(t testing.TB, k EventKind) Event {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		for i, e := range b.events {
			if e.Kind == k {
				b.events = append(b.events[:i:i], b.events[i+1:]...)
				b.mu.Unlock()
				return e
			}
		}
		changed, told := b.changed, b.events
		b.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("no event %v; told %+v", k, told)
		}
	}
}

func admit(pid.ID) Welcome { return Admit }

func ring(pid.ID) Welcome { return Ring }

// learn has a box find as many relays: at its first start it may have missed
// some, which it finds within hours otherwise.
func (b *box) learn(t *testing.T, relays int) {
	t.Helper()
	for range 100 {
		if b.relays.Len() >= relays {
			return
		}
		if err := b.node.Refresh(t.Context(), b.relays, b.cfg.Hops); err != nil {
			t.Log(err)
		}
	}
	t.Fatalf("of %d relays it has found %d", relays, b.relays.Len())
}

// call calls a pid and fails the test if that is refused.
func (b *box) call(t testing.TB, far pid.ID) call.ID {
	t.Helper()
	id, err := b.Call(b.key, far)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// talk has both boxes speak and listen for so many frames of 20 ms.
func talk20ms(frames int, boxes ...*box) {
	var in, out [voice.FrameSamples]int16
	for i := range in {
		in[i] = int16(i * 10)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range frames {
		<-tick.C
		for _, b := range boxes {
			b.Speak(&in)
			b.Listen(&out)
		}
	}
}
