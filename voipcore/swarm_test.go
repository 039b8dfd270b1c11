package voipcore

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/pid"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/celt"
)

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
	for range n {
		at := freePort(t, ip)
		c, err := Open(Config{Listen: at, RelayKey: pid.NewKey(), Bootstrap: s.boot, TestNetwork: true, Log: testLog("relay")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s.relays = append(s.relays, c)
		if len(s.boot) < 3 {
			s.boot = append(s.boot, at)
		}
	}
	return s
}

// A box is a Core with one pid and what it was told.
type box struct {
	*Core
	key *pid.Key

	mu      sync.Mutex
	events  []Event
	changed chan struct{} // closed and made anew with each event
}

func (s *swarm) newBox(t testing.TB, name, ip string, welcome func(pid.ID) Welcome) *box {
	t.Helper()
	b := &box{key: pid.NewKey(), changed: make(chan struct{})}
	var err error
	b.Core, err = Open(Config{
		Keys: []*pid.Key{b.key}, Bootstrap: s.boot, TestNetwork: true, Log: testLog(name),
		Listen:  netip.AddrPortFrom(netip.MustParseAddr(ip), 0),
		Welcome: welcome, Notify: b.note,
		NewEncoder: func(n int) (voice.Encoder, error) {
			return celt.NewEncoder(celt.Config{FrameSamples: voice.FrameSamples, PacketBytes: n})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
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

func TestCallOverLoopback(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b := s.newBox(t, "a", "127.0.0.1", nil), s.newBox(t, "b", "127.0.0.1", admit)
	start := time.Now()
	a.wait(t, Reachability)
	b.wait(t, Reachability)
	t.Log("online after", time.Since(start))
	if _, err := a.Call(a.key, b.key.ID()); err != nil {
		t.Fatal(err)
	}
	ea := a.wait(t, Answered)
	b.wait(t, Answered)
	t.Logf("%+v", ea.Report)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var in, out [voice.FrameSamples]int16
	for i := range in {
		in[i] = int16(i * 10)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	for range 50 {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		a.Speak(&in)
		b.Speak(&in)
		a.Listen(&out)
		b.Listen(&out)
	}
	a.HangUp(ea.Call)
	e := a.wait(t, Ended)
	t.Logf("%+v", e.Report)
	e = b.wait(t, Ended)
	t.Logf("%+v", e.Report)
}
