package kx

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
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

// Cells that a relay must answer by closing the link.
func TestCellsOutOfTurnEndTheLink(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	var hello wire.Cell
	wire.Hello{LinkID: 9, Time: 1}.Put(&hello)
	badID := hello
	badID.Data[0] = wire.FirstByteKRPC
	create := func(id uint32) wire.Cell { return wire.Cell{Tunnel: id, Command: wire.CellCreate} }
	for _, c := range []struct {
		name  string
		cells []wire.Cell
	}{
		{"second hello", []wire.Cell{hello}},
		{"hello with an id that looks like KRPC", []wire.Cell{badID}},
		{"create with the acceptor's parity", []wire.Cell{create(2)}},
		{"create with an id used before", []wire.Cell{create(3), create(3)}},
		{"create with an id that was passed over", []wire.Cell{create(7), create(5)}},
	} {
		l := dialRaw(t, r.Relay)
		l.send(c.cells...)
		l.mustEnd(c.name)
	}
	r.alive(t)
}

func TestFirstCellIsHello(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	raw, err := net.Dial("tcp", r.Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	l := &rawLink{t: t, conn: tls.Client(raw, keytls.Client(alpnLink, &r.Key, nil))}
	l.conn.SetDeadline(time.Now().Add(patience))
	l.send(wire.Cell{Tunnel: 1, Command: wire.CellCreate})
	l.mustEnd("no hello")
	r.alive(t)
}

// What has no tunnel is dropped: it may be on its way when a tunnel ends.
func TestCellsOfUnknownTunnelsAreDropped(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	l := dialRaw(t, r.Relay)
	data := wire.Cell{Tunnel: 99, Command: wire.CellData, Length: 1}
	credit := wire.Cell{Tunnel: 98, Command: wire.CellCredit, Length: 2}
	credit.Data[1] = 3
	l.send(data, credit, wire.Cell{Tunnel: 97, Command: wire.CellDestroy, Length: 1},
		wire.Cell{Tunnel: 96, Command: wire.CellVoice, Length: wire.BodySize}, wire.Cell{Command: wire.CellPadding})
	// The link stands: a tunnel on it is still refused for what it says.
	l.send(wire.Cell{Tunnel: 101, Command: wire.CellCreate}, wire.Cell{Tunnel: 101, Command: wire.CellDestroy, Length: 1})
	l.send(wire.Cell{Tunnel: 103, Command: wire.CellCreate})
	for range wire.Credit + 1 {
		l.send(wire.Cell{Tunnel: 103, Command: wire.CellData, Length: 1})
	}
	for {
		c, err := l.receive()
		if err != nil {
			t.Fatalf("the link ended: %v", err)
		}
		if c.Tunnel == 103 && c.Command == wire.CellDestroy {
			break
		}
	}
	if d := r.Traffic.VoiceDropped.Load(); d != 1 {
		t.Errorf("%d voice cells were counted as dropped, want 1", d)
	}
}

func TestGarbageOnTheTCPPort(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	garbage := make([]byte, 3000)
	rand.Read(garbage)
	for _, b := range [][]byte{{}, {0}, garbage, append([]byte{22, 3, 1, 255, 255}, garbage...), []byte("GET / HTTP/1.1\r\n\r\n")} {
		c, err := net.Dial("tcp", r.Addrs[0].String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(b)
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the relay keeps a connection that speaks no TLS")
		}
		c.Close()
	}
	r.alive(t)
}

// Garbage inside the link's TLS, and TLS that speaks something else.
func TestGarbageInsideTLS(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	cell := make([]byte, wire.CellSize)
	rand.Read(cell)
	cell[4] = 200 // no command
	l := dialRaw(t, r.Relay)
	l.conn.Write(cell)
	l.mustEnd("garbage")

	for _, alpn := range []string{alpnHop, "h2", ""} {
		raw, err := net.Dial("tcp", r.Addrs[0].String())
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}[:min(1, len(alpn))]})
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("ALPN %q gets an answer", alpn)
		}
		raw.Close()
	}
	r.alive(t)
}

// The relay's key must be the one asked for, at the first hop too.
func TestLinkToWrongKeyFails(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	_, err := newLoopClient(t).Build(within(t), []Relay{{pid.NewKey().ID(), r.Addrs}})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v, want ErrUnreachable", err)
	}
}

func TestTunnelsShareOneLink(t *testing.T) {
	r, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			tun, err := n.Build(within(t), path(r))
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { tun.Close() })
		})
	}
	wg.Wait()
	if got := len(n.links.list()); got != 1 {
		t.Errorf("%d links for 8 tunnels to one relay", got)
	}
}

// A relay that dialled us with its key is reached over its own link.
func TestRelaysShareLinksBothWays(t *testing.T) {
	rs := relays(t, 2)
	n := newLoopClient(t)
	for _, p := range [][]Relay{path(rs[0], rs[1]), path(rs[1], rs[0])} {
		tun, err := n.Build(within(t), p)
		if err != nil {
			t.Fatal(err)
		}
		defer tun.Close()
	}
	// Each: the client's own link, and the one between the two.
	for i, r := range rs {
		if got := len(r.links.list()); got != 2 {
			t.Errorf("relay %d has %d links, want 2", i, got)
		}
	}
}

// A relay that lost its power and started again is reached over the link that
// it dials, although the one from before is not known to be dead yet.
func TestRestartedRelayIsReachedOverItsNewLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		h := s.Host(hostAddrs("5.6.0.1")...)
		a, b := s.relay(t, nil, "5.5.0.1"), s.relayOn(t, h, nil, "5.6.0.1")
		n := s.client(t, "9.9.0.1")
		if _, err := n.Build(t.Context(), []Relay{a.Relay, b.Relay}); err != nil {
			t.Fatal(err)
		}
		h.Cut() // the machine that was; nothing is heard of it any more
		h.SetAddrs(hostAddrs("5.6.0.99")...)
		h = s.Host(hostAddrs("5.6.0.1")...)
		l, err := h.Listen(simPort)
		if err != nil {
			t.Fatal(err)
		}
		again := s.relayWith(t, h, l, b.cfg.Key, nil, b.Addrs)
		if _, err := s.client(t, "9.8.0.1").Build(t.Context(), []Relay{again.Relay, a.Relay}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := s.client(t, "9.7.0.1").Build(t.Context(), []Relay{a.Relay, again.Relay}); err != nil {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// A client's own tunnels never take the link that it has as a relay: that one
// says who it is.
func TestRelaysOwnTunnelsAreAnonymous(t *testing.T) {
	rs := relays(t, 2)
	tun, err := newLoopClient(t).Build(within(t), path(rs[0], rs[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	own, err := rs[0].Build(within(t), path(rs[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	var known, anonymous int
	for _, l := range rs[1].links.list() {
		switch l.peer {
		case rs[0].Key:
			known++
		case pid.ID{}:
			anonymous++
		}
	}
	if known != 1 || anonymous != 1 {
		t.Errorf("%d links with the relay's key and %d anonymous ones, want one of each", known, anonymous)
	}
}

// dialOnly makes a client whose links are never more than a dial.
func dialOnly(t *testing.T, dial func(ctx context.Context) error) *Node {
	n, err := Open(Config{Packets: newQuietConn(), Clock: systemClock{}, TestNetwork: true,
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) { return nil, dial(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Who waits for a dial that another has begun does not share its deadline.
func TestSharedDialOutlivesTheFirstDialler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		var dials atomic.Int32
		n := dialOnly(t, func(ctx context.Context) error {
			if dials.Add(1) == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return refused
		})
		defer n.Close()
		to := Relay{pid.NewKey().ID(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}
		ctx, cancel := context.WithCancel(t.Context())
		go n.Build(ctx, []Relay{to})
		synctest.Wait()
		second := make(chan error, 1)
		go func() {
			_, err := n.Build(t.Context(), []Relay{to})
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-second; dials.Load() != 2 || !errors.Is(err, ErrUnreachable) {
			t.Errorf("after %d dials the second gets %v, want that of its own dial", dials.Load(), err)
		}
		if len(n.links.dials) != 0 || len(n.links.byKey) != 0 {
			t.Error("the failed dial is remembered")
		}
	})
}

func TestCloseEndsADialUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := dialOnly(t, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		built := make(chan error, 1)
		go func() {
			_, err := n.Build(context.Background(), []Relay{{pid.NewKey().ID(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}})
			built <- err
		}()
		synctest.Wait()
		start := time.Now()
		n.Close()
		if err := <-built; err == nil || time.Since(start) != 0 {
			t.Errorf("Build ends %v after Close, with %v", time.Since(start), err)
		}
		if _, err := n.Build(context.Background(), []Relay{{pid.NewKey().ID(), nil}}); err == nil {
			t.Error("Build works on a closed node")
		}
	})
}

func TestLinksLimit(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{Links: 2})
	ctx := within(t)
	first := newLoopClient(t)
	for _, n := range []*Node{first, newLoopClient(t)} {
		if _, err := n.Build(ctx, path(r)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newLoopClient(t).Build(ctx, path(r)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a third link: %v, want ErrUnreachable", err)
	}
	if got := r.Traffic.LinksRefused.Load(); got != 1 {
		t.Errorf("%d refused links were counted, want 1", got)
	}
	first.Close()
	eventually(t, "the place is free again", func() bool {
		tun, err := newLoopClient(t).Build(ctx, path(r))
		if err == nil {
			tun.Close()
		}
		return err == nil
	})
}

// One host takes a quarter of a relay's links and no more; others have room.
func TestLinksOfOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r := s.bounded(t, "5.5.0.1", nil, Limits{Links: 8}, "")
		six := s.bounded(t, "2a01::1", nil, Limits{Links: 8}, "")
		nat := s.NAT(netip.MustParseAddr("9.9.0.1")) // clients of one address
		link := func(h *simnet.Host, to *loopRelay) (*Node, error) {
			n := s.open(t, h, Config{})
			_, err := n.Build(t.Context(), path(to))
			return n, err
		}
		home := func(i int) *simnet.Host { return nat.Host(netip.AddrFrom4([4]byte{192, 168, 0, byte(i)})) }
		first, err := link(home(1), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := link(home(2), r); err != nil {
			t.Fatal(err)
		}
		if _, err := link(home(3), r); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a third link of one address: %v, want ErrUnreachable", err)
		}
		if _, err := link(s.Host(hostAddrs("9.9.0.2")...), r); err != nil {
			t.Errorf("a link of another address: %v", err)
		}
		if got := r.Traffic.LinksRefused.Load(); got != 1 {
			t.Errorf("%d refused links were counted, want 1", got)
		}
		first.Close()
		time.Sleep(time.Second)
		if _, err := link(home(4), r); err != nil {
			t.Errorf("when a link of the address has ended: %v", err)
		}
		for i, ip := range []string{"2b01::1", "2b01::2:3"} { // of one /64
			if _, err := link(s.Host(hostAddrs(ip)...), six); err != nil {
				t.Errorf("link %d: %v", i, err)
			}
		}
		if _, err := link(s.Host(hostAddrs("2b01::4")...), six); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a third link of one /64: %v, want ErrUnreachable", err)
		}
		if _, err := link(s.Host(hostAddrs("2b01:0:0:1::1")...), six); err != nil {
			t.Errorf("a link of another /64: %v", err)
		}
	})
}

func TestTunnelLimits(t *testing.T) {
	for _, limits := range []Limits{{Tunnels: 3}, {LinkTunnels: 3}} {
		r, n := newLoopRelay(t, nil, limits), newLoopClient(t)
		var ts []*Tunnel
		for range 3 {
			tun, err := n.Build(within(t), path(r))
			if err != nil {
				t.Fatal(err)
			}
			ts = append(ts, tun)
		}
		if _, err := n.Build(within(t), path(r)); !errors.Is(err, ErrFull) {
			t.Errorf("%+v: a fourth tunnel: %v, want ErrFull", limits, err)
		}
		if got := r.Traffic.TunnelsRefused.Load(); got != 1 {
			t.Errorf("%+v: %d refused tunnels were counted, want 1", limits, got)
		}
		if _, err := ts[0].Describe(within(t)); err != nil {
			t.Errorf("%+v: a refusal broke another tunnel of the link: %v", limits, err)
		}
		ts[0].Close()
		eventually(t, "the slot is free again", func() bool {
			tun, err := n.Build(within(t), path(r))
			if err == nil {
				tun.Close()
			}
			return err == nil
		})
	}
}

// A limit at a later hop comes out as what it is, too.
func TestTunnelLimitOfSecondHop(t *testing.T) {
	first, second := newLoopRelay(t, nil, Limits{}), newLoopRelay(t, nil, Limits{Tunnels: 1})
	n := newLoopClient(t)
	if _, err := n.Build(within(t), path(first, second)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Build(within(t), path(first, second)); !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
}

// Others' tunnels leave a box that relays its own.
func TestOwnTunnelsBesideOthers(t *testing.T) {
	next, box := newLoopRelay(t, nil, Limits{}), newLoopRelay(t, nil, Limits{Tunnels: 8})
	for range 4 { // each takes two
		if _, err := newLoopClient(t).Build(within(t), path(box, next)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it is full", func() bool { return box.slots() == 8 })
	if _, err := newLoopClient(t).Build(within(t), path(box)); !errors.Is(err, ErrFull) {
		t.Errorf("one more of somebody: %v, want ErrFull", err)
	}
	if _, err := box.Build(within(t), path(next)); err != nil {
		t.Errorf("its own: %v", err)
	}
}

// Clients serve nobody.
func TestClientRefusesTunnels(t *testing.T) {
	r, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	if _, err := n.Build(within(t), path(r)); err != nil {
		t.Fatal(err)
	}
	s, err := r.links.list()[0].open(false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
}

// Nothing is left of many tunnels, whichever way they ended.
func TestNothingLeaks(t *testing.T) {
	rs := relays(t, 3)
	n := newLoopClient(t)
	ctx := within(t)
	for i := range 60 {
		var err error
		var tun *Tunnel
		switch i % 5 {
		case 0:
			tun, err = n.Build(ctx, path(rs...))
		case 1:
			tun, err = n.BuildIn(ctx, path(rs[0], rs[1]), NewSecret())
		case 2: // the exchange point refuses
			if tun, err = n.Build(ctx, path(rs[0], rs[1])); err == nil && tun.register(ctx, [16]byte{}, NewSecret()) == nil {
				t.Error("a foreign REGISTER was taken")
			}
		case 3: // the client leaves while TLS with the second hop is under way
			short, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
			if tun, err = n.Build(short, path(rs[0], rs[1])); errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
				err = nil
			}
			cancel()
		case 4: // a splice
			from, to := join(t, n, n, path(rs[0], rs[2]), path(rs[1], rs[2]))
			talk(t, from, to)
			to.Close()
			io.Copy(io.Discard, from) // ends because the far end did
			tun = from
		}
		if err != nil {
			t.Fatal(err)
		}
		if tun != nil {
			tun.Close()
		}
	}
	for _, node := range []*Node{n, rs[0].Node, rs[1].Node, rs[2].Node} {
		eventually(t, "all slots are given back", func() bool { return node.slots() == 0 })
	}
	for _, node := range []*Node{n, rs[0].Node, rs[1].Node, rs[2].Node} {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}
	noGoroutines(t)
}

// Close ends tunnels in every state: in TLS, waiting in the pool, in a JOIN
// that waits, in an EXTEND that waits, spliced.
func TestCloseEndsAll(t *testing.T) {
	ctx := within(t)
	x, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	if _, err := n.BuildIn(ctx, path(x), NewSecret()); err != nil {
		t.Fatal(err)
	}
	join(t, n, n, path(x), path(x))
	var wg sync.WaitGroup
	for _, m := range []*wire.HopMessage{
		{Type: wire.KXJoin, Cookie: [16]byte{1}},
		{Type: wire.KXExtend, Relay: pid.ID{1}, Addr: stranger(t).Addrs[0], Layers: 1},
	} {
		tun, err := n.Build(ctx, path(x))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := tun.request(ctx, m, wire.KXReady); err == nil {
				t.Errorf("%v worked", m.Type)
			}
		})
	}
	dialRaw(t, x.Relay).send(wire.Cell{Tunnel: 1, Command: wire.CellCreate})
	eventually(t, "all tunnels stand", func() bool { _, j := x.points.waitingAt([16]byte{1}); return j == 1 && x.slots() == 6 })
	x.Close()
	wg.Wait()
	n.Close()
	noGoroutines(t)
	if got := x.slots(); got != 0 {
		t.Errorf("%d slots are still in use", got)
	}
}

// FuzzLink feeds a relay's link with whatever its peer could send after the
// hello: nothing may panic or hang, and the node must stay whole.
func FuzzLink(f *testing.F) {
	var seed []byte
	for _, c := range []wire.Cell{
		{Tunnel: 1, Command: wire.CellCreate},
		{Tunnel: 1, Command: wire.CellData, Length: 5},
		{Tunnel: 1, Command: wire.CellCredit, Length: 2, Data: [wire.CellDataSize]byte{0, 16}},
		{Tunnel: 1, Command: wire.CellVoice, Length: wire.BodySize},
		{Tunnel: 1, Command: wire.CellDestroy, Length: 1},
		{Command: wire.CellPadding},
	} {
		seed = append(seed, byte(c.Command), byte(c.Tunnel), byte(c.Length), c.Data[1])
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, script []byte) {
		n, err := Open(Config{Dial: dialTCP, Packets: newQuietConn(), Clock: systemClock{}, TestNetwork: true})
		if err != nil {
			t.Fatal(err)
		}
		if n.cert, err = keytls.Certificate(fuzzKey); err != nil {
			t.Fatal(err)
		}
		n.cfg.Key = fuzzKey // so that it serves tunnels
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { n.links.reserve(&n.links.accepted, 1); n.serveLink(ours) })
		c := tls.Client(theirs, keytls.Client(alpnLink, nil, nil))
		wg.Go(func() { io.Copy(io.Discard, c) })
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		var cell wire.Cell
		wire.Hello{LinkID: 1}.Put(&cell)
		for {
			var b [wire.CellSize]byte
			cell.Encode(&b)
			if _, err := c.Write(b[:]); err != nil || len(script) < 4 {
				break
			}
			// Four bytes of the script make a cell that mostly decodes.
			cell = wire.Cell{Command: wire.Command(script[0] % 8), Tunnel: uint32(script[1])}
			lo, hi := map[wire.Command][2]int{wire.CellData: {1, wire.CellDataSize}, wire.CellCredit: {2, 2},
				wire.CellDestroy: {1, 1}, wire.CellVoice: {wire.BodySize, wire.BodySize}, wire.CellHello: {12, 12}}[cell.Command], 0
			hi = lo[1]
			cell.Length = uint16(min(hi, max(lo[0], int(script[2])*2)))
			if hi > 0 {
				cell.Data[min(hi-1, 1)] = script[3]
			}
			script = script[4:]
		}
		theirs.Close()
		n.Close()
		wg.Wait()
		if got := n.slots(); got != 0 {
			t.Errorf("%d slots are still in use", got)
		}
	})
}

var fuzzKey = pid.NewKey()

// Links over an address that is gone end at once, with their tunnels; others stay.
func TestLeave(t *testing.T) {
	x := newLoopRelay(t, nil, Limits{})
	ctx, client := within(t), newLoopClient(t)
	tunnel, err := client.Build(ctx, path(x))
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	ends := make(chan error, 1)
	go func() {
		_, err := tunnel.Read(make([]byte, 1))
		ends <- err
	}()
	var asked []netip.Addr
	client.Leave(func(a netip.Addr) bool { asked = append(asked, a); return false })
	if want := []netip.Addr{netip.MustParseAddr("127.0.0.1")}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
	again, err := client.Build(ctx, path(x))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	client.Leave(func(netip.Addr) bool { return true })
	select {
	case err := <-ends:
		if err == nil {
			t.Error("the tunnel had something to read")
		}
	case <-ctx.Done():
		t.Error("the tunnel has not ended")
	}
}

// Tunnel ids are not used twice on a link. When they are used up the next tunnel
// gets a new link, and those that are there stay.
func TestTunnelIDsUsedUp(t *testing.T) {
	r, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	last, err := n.Build(within(t), []Relay{r.Relay})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	full := last.first.l
	full.mu.Lock()
	full.nextID = 1<<32 - 1
	full.mu.Unlock()
	next, err := n.Build(within(t), []Relay{r.Relay})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if next.first.l == full {
		t.Error("the next tunnel is on the same link")
	}
	if _, err := last.Describe(within(t)); err != nil {
		t.Errorf("the link's last tunnel: %v", err)
	}
}
