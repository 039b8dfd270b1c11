package kx

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// simnetwork is nodes on a network in memory. They are no test network: their
// addresses have to be routable ones.
type simnetwork struct {
	*simnet.Net
	nodes   []*Node
	dialled map[*Node]*atomic.Int32
}

// simPort is every node's port.
const simPort = 7000

func addrs(texts ...string) []netip.AddrPort {
	var as []netip.AddrPort
	for _, s := range texts {
		as = append(as, netip.MustParseAddrPort(s))
	}
	return as
}

func hostAddrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// open starts a node on a host.
func (s *simnetwork) open(t testing.TB, h *simnet.Host, cfg Config) *Node {
	t.Helper()
	u, err := h.ListenUDP(simPort)
	if err != nil {
		t.Fatal(err)
	}
	dials := new(atomic.Int32)
	cfg.Packets = u
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	cfg.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		dials.Add(1)
		return h.Dial(ctx, to)
	}
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.dialled == nil {
		s.dialled = map[*Node]*atomic.Int32{}
	}
	s.dialled[n] = dials
	s.nodes = append(s.nodes, n)
	return n
}

// dials returns how often a relay has dialled.
func (s *simnetwork) dials(r *loopRelay) int { return int(s.dialled[r.Node].Load()) }

// relay starts a relay on a host of its own with these addresses.
func (s *simnetwork) relay(t testing.TB, dht DHT, ips ...string) *loopRelay {
	t.Helper()
	return s.relayOn(t, s.Host(hostAddrs(ips...)...), dht, ips...)
}

func (s *simnetwork) relayOn(t testing.TB, h *simnet.Host, dht DHT, ips ...string) *loopRelay {
	t.Helper()
	l, err := h.Listen(simPort)
	if err != nil {
		t.Fatal(err)
	}
	var at []netip.AddrPort
	for _, ip := range hostAddrs(ips...) {
		at = append(at, netip.AddrPortFrom(ip, simPort))
	}
	return s.relayWith(t, h, l, pid.NewKey(), dht, at)
}

func (s *simnetwork) relayWith(t testing.TB, h *simnet.Host, l net.Listener, k *pid.Key, dht DHT, at []netip.AddrPort) *loopRelay {
	t.Helper()
	return &loopRelay{s.open(t, h, Config{Key: k, Listener: l, Addrs: at, DHT: dht}), Relay{k.ID(), at}}
}

func (s *simnetwork) client(t testing.TB, ips ...string) *Node {
	t.Helper()
	return s.open(t, s.Host(hostAddrs(ips...)...), Config{})
}

// close closes all nodes: a bubble ends only when all goroutines have.
func (s *simnetwork) close() {
	for _, n := range s.nodes {
		n.Close()
	}
	s.Net.Close()
}

// speak sends frames one way until so many have arrived, and returns how many
// it took.
func speak(t testing.TB, from, to *Tunnel, frames int) (sent int) {
	t.Helper()
	heard := make(chan wire.Frame, 1)
	to.OnVoice(func(f *wire.Frame) {
		select {
		case heard <- *f:
		default:
		}
	})
	defer to.OnVoice(func(*wire.Frame) {})
	got := 0
	f := wire.Frame{0: 1, wire.FrameSize - 1: 9}
	for got < frames {
		if sent++; sent > 100*frames {
			t.Fatalf("%d of %d frames arrived", got, sent)
		}
		if err := from.SendVoice(&f); err != nil {
			t.Fatal(err)
		}
		pause := newFrameTick()
		select {
		case h := <-heard:
			if h != f {
				t.Fatalf("a frame came out different")
			}
			got++
			<-pause
		case <-pause:
		}
	}
	return sent
}

// newFrameTick ticks when the next frame of a call would be due.
func newFrameTick() <-chan time.Time { return time.After(20 * time.Millisecond) }
