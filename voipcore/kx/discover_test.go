package kx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// swarm is relays that all know each other by TRACE.
func swarm(t testing.TB, n int) (rs []*loopRelay, dht *mapDHT) {
	t.Helper()
	dht = &mapDHT{items: map[[32]byte]wire.Item{}}
	for range n {
		rs = append(rs, newLoopRelay(t, dht, Limits{}))
	}
	dht.mu.Lock()
	defer dht.mu.Unlock()
	for i, r := range rs {
		dht.hops = append(dht.hops, wire.TraceHop{ID: [32]byte{byte(i)}, Addr: r.Addrs[0]})
	}
	return rs, dht
}

func (d *mapDHT) add(a netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hops = append(d.hops, wire.TraceHop{ID: [32]byte{99}, Addr: a})
}

func newDirectory(t testing.TB) *Directory {
	t.Helper()
	d, err := OpenDirectory(filepath.Join(t.TempDir(), "relays"), true, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A first start knows one address, and learns of all relays from it: by its
// own TRACE, by that of a relay, and with one that fails or finds nothing.
func TestDiscover(t *testing.T) {
	rs, dht := swarm(t, 6)
	dht.add(stranger(t).Addrs[0]) // a node that has gone
	for name, trace := range map[string]func(context.Context, [32]byte) ([]wire.TraceHop, error){
		"own TRACE":            dht.Trace,
		"a relay's":            nil,
		"own one fails":        func(context.Context, [32]byte) ([]wire.TraceHop, error) { return nil, errors.New("UDP is blocked") },
		"own one finds nobody": func(context.Context, [32]byte) ([]wire.TraceHop, error) { return nil, nil },
	} {
		d := newDirectory(t)
		if err := newLoopClient(t).Discover(within(t), d, rs[0].Addrs, trace); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.Len() != len(rs) {
			t.Errorf("%s: %d relays were found, want %d", name, d.Len(), len(rs))
		}
		for _, r := range rs {
			if !d.Knows(r.Addrs[0], time.Now()) {
				t.Errorf("%s: %v is not known", name, r.Addrs[0])
			}
		}
	}
}

func TestDiscoverFails(t *testing.T) {
	n := newLoopClient(t)
	for _, bootstrap := range [][]netip.AddrPort{nil, stranger(t).Addrs, addrs("224.0.0.1:5")} {
		if err := n.Discover(within(t), newDirectory(t), bootstrap, nil); !errors.Is(err, ErrFewRelays) {
			t.Errorf("Discover from %v: %v, want ErrFewRelays", bootstrap, err)
		}
	}
	// It ends with its context.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rs, _ := swarm(t, 1)
	if err := n.Discover(ctx, newDirectory(t), rs[0].Addrs, nil); err == nil {
		t.Error("Discover works after its context has ended")
	}
}

// A relay that names an address where it does not answer, or another relay's
// key, is not taken.
func TestDiscoverTakesNoLies(t *testing.T) {
	rs, dht := swarm(t, 3)
	victim := newLoopRelay(t, dht, Limits{})
	liar, thief := newLoopRelay(t, dht, Limits{}), newLoopRelay(t, dht, Limits{})
	dht.add(liar.Addrs[0])
	dht.add(thief.Addrs[0])
	liar.cfg.Addrs = victim.Addrs
	thief.cfg.Key = pid.NewKey()
	d := newDirectory(t)
	if err := newLoopClient(t).Discover(within(t), d, rs[0].Addrs, nil); err != nil {
		t.Fatal(err)
	}
	if d.Len() != len(rs) {
		t.Errorf("%d relays were taken, want the %d honest ones", d.Len(), len(rs))
	}
	for _, a := range []netip.AddrPort{victim.Addrs[0], liar.Addrs[0], thief.Addrs[0]} {
		if d.Knows(a, time.Now()) {
			t.Errorf("%v counts as known", a)
		}
	}
}

// A relay was asked at one of its addresses; of the other one there is its word. So
// it must not be in the network of whoever asks, and it has no vote on the time.
func TestSecondAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		h := s.Host(hostAddrs("2600:1::1")...)
		l, err := h.Listen(simPort)
		if err != nil {
			t.Fatal(err)
		}
		clock := new(recordingClock)
		n := s.open(t, s.Host(hostAddrs("2600:9::1")...), Config{Clock: clock})
		r := s.relayWith(t, h, l, pid.NewKey(), nil, addrs("192.168.1.1:7000", "[2600:1::1]:7000"))
		d := newDirectory(t)
		if err := n.Discover(t.Context(), d, r.Addrs[1:], nil); !errors.Is(err, ErrFewRelays) || d.Len() != 0 {
			t.Errorf("a relay that says it is at %v, too: %d are known, %v", r.Addrs[0], d.Len(), err)
		}
		other := addrs("5.5.0.1:7000", "[2600:1::1]:7000")
		r.cfg.Addrs = other
		if err := n.Discover(t.Context(), d, other[1:], nil); err != nil {
			t.Fatal(err)
		}
		tun, err := n.Build(t.Context(), d.Relays()[:1])
		if err != nil {
			t.Fatal(err)
		}
		tun.Close()
		if clock.count(other[0]) != 0 || clock.count(other[1]) == 0 {
			t.Errorf("the time was told by %v", clock.told)
		}
		// Nor as a second hop, though it has a link to the first one, which it dialled
		// itself.
		first := s.relay(t, nil, "5.8.0.1", "2600:8::1")
		if _, err := s.client(t, "2600:7::1").Build(t.Context(), []Relay{{r.Key, other[1:]}, {first.Key, first.Addrs[1:]}}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Build(t.Context(), []Relay{{first.Key, first.Addrs[1:]}, {r.Key, other}}); !errors.Is(err, ErrUnreachable) || clock.count(other[0]) != 0 {
			t.Errorf("a tunnel to an address where nobody is: %v; the time was told by %v", err, clock.told)
		}
	})
}

// Later relays are learned through tunnels: the one that is asked sees a relay,
// and neither the client's address nor a link of its own.
func TestRefreshLearnsThroughTunnels(t *testing.T) {
	rs, dht := swarm(t, 3)
	d := newDirectory(t)
	n := newLoopClient(t)
	if err := n.Discover(within(t), d, rs[0].Addrs, nil); err != nil {
		t.Fatal(err)
	}
	for hops := 1; hops <= 3; hops++ {
		fresh := newLoopRelay(t, dht, Limits{})
		dht.add(fresh.Addrs[0])
		if err := n.Refresh(within(t), d, hops); err != nil {
			t.Fatalf("%d hops: %v", hops, err)
		}
		if !d.Knows(fresh.Addrs[0], time.Now()) {
			t.Errorf("%d hops: the fresh relay was not learned", hops)
		}
		if hops == 1 {
			continue // that gives up anonymity, and says so
		}
		for _, l := range fresh.links.list() {
			if l.peer == (pid.ID{}) {
				t.Errorf("%d hops: the fresh relay was asked by somebody who is no relay", hops)
			}
		}
	}
	dht.add(stranger(t).Addrs[0])
	if err := n.Refresh(within(t), d, 3); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a node that has gone: %v", err)
	}
}

// What a relay says of itself is checked: signature, time and key.
func TestDescribeChecks(t *testing.T) {
	k := pid.NewKey()
	now := time.Now()
	descriptor := func(until time.Time, k *pid.Key) wire.Descriptor {
		d := wire.Descriptor{Port: 1, V4: netip.MustParseAddr("5.1.0.1"), ValidUntil: until.Unix()}
		d.Sign(k)
		return d
	}
	good := descriptor(now.Add(time.Hour), k)
	forged := good
	forged.Port = 2
	for _, c := range []struct {
		name  string
		reply wire.HopMessage
		err   error
	}{
		{"good", wire.HopMessage{Type: wire.KXDescriptor, Descriptor: good, Time: now.Unix()}, nil},
		{"wrong signature", wire.HopMessage{Type: wire.KXDescriptor, Descriptor: forged, Time: now.Unix()}, wire.ErrSignature},
		{"out of date", wire.HopMessage{Type: wire.KXDescriptor, Descriptor: descriptor(now.Add(-time.Hour), k), Time: now.Unix()}, wire.ErrValue},
		{"of another relay", wire.HopMessage{Type: wire.KXDescriptor, Descriptor: descriptor(now.Add(time.Hour), pid.NewKey()), Time: now.Unix()}, ErrRefused},
		{"refused", wire.HopMessage{Type: wire.KXError, Request: wire.KXDescribe, Reason: wire.ReasonFull}, ErrFull},
	} {
		ours, theirs := net.Pipe()
		go func() {
			var buf [wire.MaxHopMessageSize]byte
			readHopMessage(theirs, &buf)
			writeHopMessage(theirs, &c.reply)
		}()
		tun := &Tunnel{node: newLoopClient(t), conn: ours, hops: 1, path: []Relay{{k.ID(), addrs("5.1.0.1:1")}}}
		d, err := tun.Describe(t.Context())
		if !errors.Is(err, c.err) || c.err == nil && d != good {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		theirs.Close()
	}
}
