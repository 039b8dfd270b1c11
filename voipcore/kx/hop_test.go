package kx

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// notRoutable are addresses of every kind that a relay must not connect to for
// others.
var notRoutable = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
	"169.254.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.7", "192.88.99.1",
	"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.200", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd12::1",
	"ff02::1", "ff0e::1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1",
	"2001:db8::1", "2002:7f00:1::1", "3fff::1",
}

func TestRoutable(t *testing.T) {
	for _, s := range notRoutable {
		if Routable(netip.MustParseAddr(s)) {
			t.Errorf("%s counts as routable", s)
		}
	}
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1",
		"223.255.255.255", "2600::1", "2a00:1450::5", "2001:4860:4860::8888", "2003::1"} {
		if !Routable(netip.MustParseAddr(s)) {
			t.Errorf("%s does not count as routable", s)
		}
	}
	if Routable(netip.Addr{}) || Routable(netip.MustParseAddr("2600::1%eth0")) {
		t.Error("no address, or one with a zone, counts as routable")
	}
}

func TestAllowed(t *testing.T) {
	real, test := &Node{}, &Node{cfg: Config{TestNetwork: true}}
	for _, c := range []struct {
		addr           string
		inReal, inTest bool
	}{
		{"8.8.8.8:1", true, true}, {"8.8.8.8:0", false, false}, {"127.0.0.1:1", false, true}, {"[::1]:1", false, true},
		{"10.1.1.1:1", false, true}, {"[::ffff:8.8.8.8]:1", false, false}, {"224.0.0.1:1", false, false},
		{"0.0.0.0:1", false, false}, {"[::]:1", false, false}, {"[ff02::1]:1", false, false},
	} {
		a := netip.MustParseAddrPort(c.addr)
		if real.allowed(a) != c.inReal || test.allowed(a) != c.inTest {
			t.Errorf("%s: allowed %v, in a test network %v", c.addr, real.allowed(a), test.allowed(a))
		}
	}
}

// extendFails asks for an EXTEND that must fail, and returns how long that took
// and what was said.
func extendFails(t testing.TB, tun *Tunnel, to Relay) (time.Duration, string) {
	t.Helper()
	start := time.Now()
	_, err := tun.request(t.Context(), &wire.HopMessage{Type: wire.KXExtend, Relay: to.Key, Addr: to.Addrs[0], Layers: 1}, wire.KXExtendReply)
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("EXTEND to %v: %v, want ErrUnreachable", to.Addrs[0], err)
	}
	return time.Since(start), err.Error()
}

// Whatever the reason, a failed EXTEND takes the same time and says the same.
// No address that is not routable is ever dialled.
func TestExtendFailuresLookAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r := s.relay(t, nil, "5.5.0.1")
		other := s.relay(t, nil, "5.6.0.1")
		client := s.client(t, "9.9.0.1")
		silent := s.Host(netip.MustParseAddr("5.7.0.1"))
		l, err := silent.Listen(7000) // takes the connection and says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cut := s.Host(netip.MustParseAddr("5.8.0.1"))
		cut.Cut()
		key := pid.NewKey().ID()

		to := []Relay{
			{key, addrs("5.6.0.1:7000")}, // another key
			{key, addrs("5.7.0.1:7000")},
			{key, addrs("5.8.0.1:7000")},
			{key, addrs("5.6.0.1:7001")}, // nobody listens
			{key, addrs("5.99.0.1:7000")},
			{pid.ID{}, addrs("5.7.0.1:7000")},
			{r.Key, r.Addrs}, // itself
		}
		for _, a := range notRoutable {
			ip := netip.MustParseAddr(a)
			if !ip.IsUnspecified() && !ip.Is4In6() { // these two have no encoding
				to = append(to, Relay{key, []netip.AddrPort{netip.AddrPortFrom(ip, 7000)}}, Relay{other.Key, []netip.AddrPort{netip.AddrPortFrom(ip, 7000)}})
			}
		}
		dials := s.dials(r)
		var said string
		for i, f := range to {
			tun, err := client.Build(t.Context(), []Relay{r.Relay})
			if err != nil {
				t.Fatal(err)
			}
			took, text := extendFails(t, tun, f)
			if i == 0 {
				said = text
			}
			if took != extendTimeout || text != said {
				t.Errorf("EXTEND to %v took %v and said %q, the first one took %v and said %q", f.Addrs[0], took, text, extendTimeout, said)
			}
			tun.Close()
		}
		if got := s.dials(r) - dials; got != 6 {
			t.Errorf("the relay dialled %d addresses, want 6", got)
		}
		// The tunnel is still good after a failure.
		tun, err := client.Build(t.Context(), []Relay{r.Relay})
		if err != nil {
			t.Fatal(err)
		}
		extendFails(t, tun, to[0])
		if _, err := tun.Describe(t.Context()); err != nil {
			t.Errorf("after a failed EXTEND: %v", err)
		}
		tun.Close()
	})
}

// A client that tries addresses in vain is stopped; who comes over another
// link, and who goes where a link stands, is not.
func TestExtendIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r, next := s.relay(t, nil, "5.5.0.1"), s.relay(t, nil, "5.6.0.1")
		other := s.relay(t, nil, "5.9.0.1")
		bad, good := s.client(t, "9.9.0.1"), s.client(t, "9.8.0.1")
		start, before := time.Now(), s.dials(r)
		for range 30 {
			go func() {
				if tun, err := bad.Build(t.Context(), []Relay{r.Relay}); err == nil {
					extendFails(t, tun, Relay{pid.NewKey().ID(), addrs("5.99.0.1:7000")})
					tun.Close()
				}
			}()
		}
		time.Sleep(extendTimeout + time.Second)
		if got := s.dials(r) - before; got != linkTryBurst {
			t.Errorf("%d addresses were dialled for one client, want %d", got, linkTryBurst)
		}
		if _, err := good.Build(t.Context(), []Relay{r.Relay, next.Relay}); err != nil {
			t.Errorf("another client: %v", err)
		}
		// The bad one's EXTENDs where a link stands work, too.
		if _, err := bad.Build(t.Context(), []Relay{r.Relay, next.Relay}); err != nil {
			t.Errorf("over a link that stands: %v", err)
		}
		time.Sleep(time.Until(start.Add(time.Minute)))
		if _, err := bad.Build(t.Context(), []Relay{r.Relay, other.Relay}); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestNextHopHoldsAnotherKey(t *testing.T) {
	rs := relays(t, 2)
	p := path(rs...)
	p[1].Key = pid.NewKey().ID()
	_, err := newLoopClient(t).Build(within(t), p)
	var he *HopError
	if !errors.Is(err, ErrUnreachable) || !errors.As(err, &he) || he.Hop != 2 {
		t.Errorf("%v, want ErrUnreachable at hop 2", err)
	}
}

// A zero key is whoever answers there, to learn its descriptor; the link that
// it took ends with the tunnel.
func TestZeroKeyLearnsDescriptor(t *testing.T) {
	rs := relays(t, 3)
	n := newLoopClient(t)
	tun, err := n.Build(within(t), append(path(rs[0], rs[1]), Relay{Addrs: rs[2].Addrs}))
	if err != nil {
		t.Fatal(err)
	}
	d, err := tun.Describe(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if d.Key != rs[2].Key || d.Addr(false) != rs[2].Addrs[0] || tun.Path()[2].Key != rs[2].Key {
		t.Errorf("learned %v at %v", d.Key, d.Addr(false))
	}
	tun.Close()
	eventually(t, "the link to the unknown relay ends", func() bool {
		return len(rs[2].links.list()) == 0 && len(rs[1].links.list()) == 1
	})
	if rs[1].links.dialed != 0 {
		t.Errorf("%d dialled links are counted", rs[1].links.dialed)
	}
}

func TestPlacesForDialledLinks(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{Links: 2})
	next := relays(t, 3)
	n := newLoopClient(t)
	first, err := n.Build(within(t), path(r, next[0]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Build(within(t), path(r, next[1])); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Build(within(t), path(r, next[2])); !errors.Is(err, ErrFull) {
		t.Errorf("a third link: %v, want ErrFull", err)
	}
	first.Close()
	eventually(t, "the unused link makes place", func() bool {
		_, err := n.Build(within(t), path(r, next[2]))
		return err == nil
	})
	eventually(t, "the relay that made place has no link", func() bool { return len(next[0].links.list()) == 0 })
}

func TestKilledHopIsNoticedByBothEnds(t *testing.T) {
	for hop := range 5 {
		s := newSplice(t)
		talk(t, s.caller, s.callee)
		s.relays[hop].Close()
		for _, end := range []*Tunnel{s.caller, s.callee} {
			end.SetReadDeadline(time.Now().Add(patience))
			if _, err := end.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("hop %d killed: %v", hop, err)
			}
		}
	}
}

// A client that takes no answer does not hold its hop for ever.
func TestClientThatStallsLosesItsHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r := s.relay(t, nil, "5.5.0.1")
		n := s.client(t, "9.9.0.1")
		tun, err := n.Build(t.Context(), []Relay{r.Relay})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		// Far more answers than credit: nobody reads them.
		for {
			if writeHopMessage(tun.conn, &wire.HopMessage{Type: wire.KXDescribe}) != nil {
				break
			}
		}
		if took := time.Since(start); took < sayTimeout || took > sayTimeout+time.Second {
			t.Errorf("the hop gave up after %v, want %v", took, sayTimeout)
		}
		if got := r.slots(); got != 0 {
			t.Errorf("the relay keeps %d slots", got)
		}
		tun.Close()
	})
}

// A client that asks for nothing loses its last hop in the end.
func TestClientWithoutRequestsLosesItsHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		a, b := s.relay(t, nil, "5.5.0.1"), s.relay(t, nil, "5.6.0.1")
		n := s.client(t, "9.9.0.1")
		start := time.Now()
		tun, err := n.Build(t.Context(), []Relay{a.Relay, b.Relay})
		if err != nil {
			t.Fatal(err)
		}
		tun.Read(make([]byte, 1))
		if took := time.Since(start); took != requestSilence {
			t.Errorf("it was given up after %v, want %v", took, requestSilence)
		}
		tun.Close()
		// Links that nobody uses are closed in the end, also the relays'.
		time.Sleep(linkIdle + 3*keepAliveEvery)
		for _, n := range []*Node{a.Node, b.Node, n} {
			if got := len(n.links.list()); got != 0 {
				t.Errorf("%d links are left", got)
			}
		}
	})
}

// A registered tunnel stays as long as its client does, however long nothing
// happens on it.
func TestRegisteredTunnelStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		a, b := s.relay(t, nil, "5.5.0.1"), s.relay(t, nil, "5.6.0.1")
		callee, caller := s.client(t, "9.9.0.1"), s.client(t, "9.8.0.1")
		secret := NewSecret()
		in, err := callee.BuildIn(t.Context(), []Relay{a.Relay, b.Relay}, secret)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		out, err := caller.BuildOut(t.Context(), []Relay{b.Relay}, Cookie(&secret))
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		talk(t, out, in)
		out.Close()
		in.Close()
	})
}

// What a client must not say to a hop costs it the tunnel.
func TestMessagesThatNoClientSends(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	n := newLoopClient(t)
	for _, m := range []wire.HopMessage{
		{Type: wire.KXReady}, {Type: wire.KXExtendReply}, {Type: wire.KXRegisterReply}, {Type: wire.DHTPutReply},
		{Type: wire.KXError, Request: wire.KXJoin},
	} {
		tun, err := n.Build(within(t), path(r))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tun.request(within(t), &m, wire.KXDescriptor); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v: %v, want the tunnel to end", m.Type, err)
		}
		tun.Close()
	}
	tun, err := n.Build(within(t), path(r))
	if err != nil {
		t.Fatal(err)
	}
	tun.Write([]byte("this is no message of ours at all"))
	if _, err := tun.Read(make([]byte, 1)); err == nil {
		t.Error("garbage gets an answer")
	}
	r.alive(t)
}

// FuzzHopMessages feeds what reads a client's requests: it must not panic, and
// what it takes must be exactly what was sent.
func FuzzHopMessages(f *testing.F) {
	for _, m := range []wire.HopMessage{
		{Type: wire.KXDescribe},
		{Type: wire.KXJoin, Cookie: [16]byte{1}},
		{Type: wire.KXExtend, Addr: netip.MustParseAddrPort("8.8.8.8:9"), Layers: 2},
		{Type: wire.DHTPut, TTL: 1, Replication: 1, Item: wire.Item{Value: []byte("x")}},
	} {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(b, b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		var buf [wire.MaxHopMessageSize]byte
		for {
			before := len(b) - r.Len()
			m, err := readHopMessage(r, &buf)
			if err != nil {
				if !errors.Is(err, errProtocol) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("error of another kind: %v", err)
				}
				return
			}
			again, err := m.Append(nil)
			if read := b[before : len(b)-r.Len()]; err != nil || !bytes.Equal(again, read) {
				t.Fatalf("%x was taken for %x, %v", read, again, err)
			}
		}
	})
}

// Who has a relay dial another one where it is not spoils his own EXTEND, and not
// that of others to the same relay meanwhile.
func TestExtendToAWrongAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r, good := s.relay(t, nil, "5.5.0.1"), s.relay(t, nil, "5.6.0.1")
		evil, honest := s.client(t, "9.9.0.1"), s.client(t, "9.8.0.1")
		mute, err := s.Host(hostAddrs("5.7.0.1")...).Listen(simPort) // takes connections and says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()

		bad, err := evil.Build(t.Context(), path(r))
		if err != nil {
			t.Fatal(err)
		}
		defer bad.Close()
		var wg sync.WaitGroup
		wg.Go(func() { extendFails(t, bad, Relay{good.Key, addrs("5.7.0.1:7000")}) })
		time.Sleep(time.Second)
		for range 2 {
			start := time.Now()
			tun, err := honest.Build(t.Context(), path(r, good))
			if err != nil {
				t.Fatalf("a tunnel to a relay that is where its descriptor says: %v", err)
			}
			tun.Close()
			if d := time.Since(start); d > time.Second {
				t.Errorf("a tunnel took %v", d)
			}
		}
		wg.Wait()
		if n := s.dials(r); n != 2 {
			t.Errorf("the relay has dialled %d times, want once for each address", n)
		}
	})
}

// Who has a relay dial another one at an address of his own, and passes all on, has
// his own tunnel there and nobody else's.
func TestExtendThroughAProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r, good := s.relay(t, nil, "5.5.0.1"), s.relay(t, nil, "5.6.0.1")
		evil, honest := s.client(t, "9.9.0.1"), s.client(t, "9.8.0.1")
		h := s.Host(hostAddrs("5.7.0.1")...)
		proxy, err := h.Listen(simPort)
		if err != nil {
			t.Fatal(err)
		}
		defer proxy.Close()
		var stalls atomic.Bool
		pass := func(to, from net.Conn) {
			defer to.Close()
			b := make([]byte, 4096)
			for {
				n, err := from.Read(b)
				if err != nil {
					return
				}
				if !stalls.Load() {
					to.Write(b[:n])
				}
			}
		}
		go func() {
			for {
				in, err := proxy.Accept()
				if err != nil {
					return
				}
				out, err := h.Dial(t.Context(), good.Addrs[0])
				if err != nil {
					return
				}
				go pass(in, out)
				go pass(out, in)
			}
		}()
		bad, err := evil.Build(t.Context(), []Relay{r.Relay, {good.Key, addrs("5.7.0.1:7000")}})
		if err != nil {
			t.Fatalf("through the proxy: %v", err)
		}
		defer bad.Close()
		stalls.Store(true)
		tun, err := honest.Build(t.Context(), path(r, good))
		if err != nil {
			t.Fatalf("a tunnel to the relay where it is: %v", err)
		}
		tun.Close()
	})
}
