package kx

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// systemClock is the clock of a machine that has the right time.
type systemClock struct{}

func (systemClock) Now() time.Time                 { return time.Now() }
func (systemClock) Told(netip.AddrPort, time.Time) {}
func (systemClock) Trusted() bool                  { return true }
func (systemClock) Asleep() time.Duration          { return 0 }

// mapDHT is a DHT of one node.
type mapDHT struct {
	mu    sync.Mutex
	items map[[32]byte]wire.Item
	hops  []wire.TraceHop
}

func (d *mapDHT) Put(_ context.Context, it wire.Item) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.items[it.Key]; ok && old.Seq > it.Seq {
		return 0, ErrStale
	}
	d.items[it.Key] = it
	return 1, nil
}

func (d *mapDHT) Get(_ context.Context, key [32]byte) (wire.Item, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	it, ok := d.items[key]
	if !ok {
		return it, ErrNotFound
	}
	return it, nil
}

func (d *mapDHT) Trace(context.Context, [32]byte) ([]wire.TraceHop, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hops, nil
}

func dialTCP(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", a.String())
}

// A loopRelay is a relay on loopback.
type loopRelay struct {
	*Node
	Relay
}

// listenBoth opens a port that is free for TCP and for UDP: of the two one may
// be taken by somebody who asked for any.
func listenBoth() (net.Listener, *net.UDPConn, error) {
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(l.Addr().(*net.TCPAddr).AddrPort()))
		if err == nil {
			return l, u, nil
		}
		l.Close()
		if try == 100 {
			return nil, nil, err
		}
	}
}

func newLoopRelay(t testing.TB, dht DHT, limits Limits) *loopRelay {
	t.Helper()
	l, u, err := listenBoth()
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	u.SetReadBuffer(1 << 20)
	k := pid.NewKey()
	n, err := Open(Config{Dial: dialTCP, Packets: u, Clock: systemClock{}, Key: k, Listener: l,
		Addrs: []netip.AddrPort{addr}, DHT: dht, Limits: limits, TestNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return &loopRelay{n, Relay{k.ID(), []netip.AddrPort{addr}}}
}

func newLoopClient(t testing.TB) *Node {
	t.Helper()
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(Config{Dial: dialTCP, Packets: u, Clock: systemClock{}, TestNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// A splice is two clients joined at an exchange point over 5 relays.
type splice struct {
	relays         [5]*loopRelay
	caller, callee *Tunnel
	nodes          [2]*Node
}

func newSplice(t testing.TB) *splice {
	t.Helper()
	s := &splice{}
	for i := range s.relays {
		l := Limits{}
		if i == 1 || i == 2 { // a hop and the exchange point count, and have enough
			l.Bandwidth, l.Monthly = 1e9, 1e12
		}
		s.relays[i] = newLoopRelay(t, nil, l)
	}
	s.nodes = [2]*Node{newLoopClient(t), newLoopClient(t)}
	r, ctx := s.relays, t.Context()
	secret := NewSecret()
	in, err := s.nodes[1].BuildIn(ctx, []Relay{r[4].Relay, r[3].Relay, r[2].Relay}, secret)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.nodes[0].BuildOut(ctx, []Relay{r[0].Relay, r[1].Relay, r[2].Relay}, Cookie(&secret))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	s.caller, s.callee = out, in
	return s
}

func TestSpliceOverLoopback(t *testing.T) {
	s := newSplice(t)
	for _, ends := range [][2]*Tunnel{{s.caller, s.callee}, {s.callee, s.caller}} {
		// More than all credit on the way, so that credit has to come back.
		sent := make([]byte, 200_000)
		for i := range sent {
			sent[i] = byte(i * 7 >> 3)
		}
		go ends[0].Write(sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(ends[1], got); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(sent) {
			t.Error("the stream came out different")
		}
	}

	heard := make(chan wire.Frame, 100)
	s.callee.OnVoice(func(f *wire.Frame) { heard <- *f })
	s.caller.OnVoice(func(f *wire.Frame) { heard <- *f })
	for _, from := range []*Tunnel{s.caller, s.callee} {
		for i := range 20 {
			f := wire.Frame{0: byte(i), wire.FrameSize - 1: 9}
			if err := from.SendVoice(&f); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-heard:
				if got != f {
					t.Errorf("frame %d came out different", i)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("frame %d did not arrive", i)
			}
		}
	}
	s.caller.Close()
	if _, err := s.callee.Read(make([]byte, 1)); err == nil {
		t.Error("the callee reads on after the caller closed")
	}
}
