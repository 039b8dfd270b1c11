package dht

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var here = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7000}

func peer(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 7000)
}

func TestInbox(t *testing.T) {
	var sent []byte
	var sentTo netip.AddrPort
	b := NewInbox(here, func(p []byte, to netip.AddrPort) (int, error) {
		sent, sentTo = append([]byte(nil), p...), to
		return len(p), nil
	})
	packet := []byte("d0")
	for i := range inboxSize + 5 { // five do not fit
		packet[1] = byte(i)
		b.Deliver(packet, peer(i))
	}
	b.Deliver(make([]byte, maxPacket+1), peer(0)) // too large
	if got := b.Dropped(); got != 6 {
		t.Errorf("%d packets dropped, want 6", got)
	}
	clear(packet) // the inbox has copies
	buf := make([]byte, maxPacket)
	for i := range inboxSize {
		n, from, err := b.ReadFrom(buf)
		if err != nil || n != 2 || buf[1] != byte(i) || from.String() != peer(i).String() {
			t.Errorf("packet %d = %q from %v, %v", i, buf[:n], from, err)
		}
	}
	b.Deliver(make([]byte, maxPacket), peer(1))
	if n, _, err := b.ReadFromUDPAddrPort(buf); n != maxPacket || err != nil {
		t.Errorf("the largest packet: %d bytes, %v", n, err)
	}
	mapped := &net.UDPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 9} // sixteen bytes inside
	if n, err := b.WriteTo([]byte("out"), mapped); n != 3 || err != nil || string(sent) != "out" || sentTo.String() != "10.1.2.3:9" {
		t.Errorf("WriteTo = %d, %v: %q to %v", n, err, sent, sentTo)
	}
	if _, err := b.WriteTo(nil, &net.TCPAddr{}); err == nil {
		t.Error("WriteTo takes a TCP address")
	}
	if b.LocalAddr() != here {
		t.Errorf("LocalAddr = %v", b.LocalAddr())
	}
}

func TestInboxCloseWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewInbox(here, nil)
		done := make(chan error)
		go func() {
			_, _, err := b.ReadFrom(make([]byte, maxPacket))
			done <- err
		}()
		synctest.Wait() // it blocks
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrom = %v, want net.ErrClosed", err)
		}
		b.Deliver([]byte("d"), peer(1))
		if b.Dropped() != 1 {
			t.Error("a closed inbox takes packets")
		}
	})
}

// Delivering and reading is on the way of every packet of a relay's socket that
// is not voice.
func TestInboxAllocatesNothing(t *testing.T) {
	b := NewInbox(here, nil)
	packet, buf := make([]byte, 300), make([]byte, maxPacket)
	if n := testing.AllocsPerRun(10, func() {
		for i := range 1000 {
			b.Deliver(packet, peer(i))
			if _, _, err := b.ReadFromUDPAddrPort(buf); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 1000 { // and when it is full
			b.Deliver(packet, peer(i))
		}
		for range inboxSize {
			b.ReadFromUDPAddrPort(buf)
		}
	}); n != 0 {
		t.Errorf("%v allocations for 2000 packets", n)
	}
}

func BenchmarkInbox(b *testing.B) {
	in := NewInbox(here, nil)
	packet, buf := make([]byte, 300), make([]byte, maxPacket)
	b.ReportAllocs()
	for b.Loop() {
		in.Deliver(packet, peer(1))
		in.ReadFromUDPAddrPort(buf)
	}
}

// A node on inboxes that one reader feeds, as a relay's is.
func TestNodeOnInbox(t *testing.T) {
	nodes := swarm(t, 3, "127.0.0.1:0", Config{})
	socket := listen(t, "127.0.0.1:0")
	inbox := NewInbox(socket.LocalAddr(), socket.WriteToUDPAddrPort)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if n > 0 && buf[0] == 'd' {
				inbox.Deliver(buf[:n], from)
			}
		}
	}()
	defer func() { socket.Close(); <-done }()
	n := open(t, Config{Conn: inbox, Bootstrap: []netip.AddrPort{nodes[0].addr()}})
	waitReady(t, n)
	it := sign(key(1), 1, "through an inbox")
	mustPut(t, n, it)
	assertGet(t, nodes[2], it)
	eventually(t, "the others know it", func() bool { return nodes[2].Stats().Good == 3 })
	mustPut(t, nodes[1], sign(key(2), 1, "to an inbox"))
	if s := n.Stats(); s.Items != 1 {
		t.Errorf("%+v, want one item", s)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(false)
		burst := func(a netip.AddrPort) (passed int) {
			for range 3 * queriesAtOnce {
				if l.allow(a) {
					passed++
				}
			}
			return passed
		}
		if got := burst(peer(1)); got != queriesAtOnce {
			t.Errorf("%d of one source at once, want %d", got, queriesAtOnce)
		}
		if got := burst(netip.AddrPortFrom(peer(1).Addr(), 9)); got != 0 {
			t.Errorf("%d more from another port", got)
		}
		time.Sleep(time.Second)
		if got := burst(peer(1)); got != queriesPerSecond {
			t.Errorf("%d after a second, want %d", got, queriesPerSecond)
		}
		time.Sleep(time.Hour)
		if got := burst(peer(1)); got != queriesAtOnce {
			t.Errorf("%d after an hour, want %d", got, queriesAtOnce)
		}
		refused := 0
		for i := range 100 { // some may share the entry of a source above, few do
			if !l.allow(peer(1000 + i)) {
				refused++
			}
		}
		if refused > 10 {
			t.Errorf("%d of 100 other sources are refused", refused)
		}
		if n := testing.AllocsPerRun(10, func() {
			for i := range 1000 {
				l.allow(peer(i))
			}
		}); n != 0 {
			t.Errorf("%v allocations for 1000 packets", n)
		}
		l = newLimiter(false) // in the old one they may share the entry of another source
		if got := burst(netip.MustParseAddrPort("[2001:db8::1]:1")) + burst(netip.MustParseAddrPort("[2001:db8::2:3]:1")); got != queriesAtOnce {
			t.Errorf("%d of one /64, want %d", got, queriesAtOnce)
		}
	})
}

func TestSpeaksTo(t *testing.T) {
	for _, tt := range []struct {
		addr       string
		real, test bool
	}{
		{"8.8.8.8", true, true},
		{"127.0.0.1", false, true},
		{"10.1.2.3", false, true},
		{"172.16.0.1", false, true},
		{"192.168.1.1", false, true},
		{"169.254.1.1", false, true},
		{"100.64.0.1", false, true},
		{"198.18.0.1", false, true},
		{"0.0.0.0", false, false},
		{"0.1.2.3", false, true},
		{"224.0.0.1", false, false},
		{"255.255.255.255", false, true},
		{"2a00:1450::1", true, true},
		{"::1", false, true},
		{"::", false, false},
		{"fe80::1", false, true},
		{"fe80::1%eth0", false, false},
		{"fc00::1", false, true},
		{"ff02::1", false, false},
		{"2002:a00::1", false, true},
		{"2001:0:1::1", false, true},
		{"64:ff9b::a00:1", false, true},
		{"::ffff:8.8.8.8", false, false},
		{"::ffff:127.0.0.1", false, false},
	} {
		a := netip.MustParseAddr(tt.addr)
		if got := speaksTo(a, a.Is6(), false); got != tt.real {
			t.Errorf("speaksTo(%v) = %v, want %v", a, got, tt.real)
		}
		if got := speaksTo(a, a.Is6(), true); got != tt.test {
			t.Errorf("speaksTo(%v) in a test network = %v, want %v", a, got, tt.test)
		}
		if speaksTo(a, !a.Is6(), true) {
			t.Errorf("speaksTo(%v) in the other network", a)
		}
		// The library hands over slices.
		if _, avoid := (blocked{a.Is6(), false}).Lookup(a.AsSlice()); avoid == tt.real && a.Zone() == "" {
			t.Errorf("blocked %v = %v, want %v", a, avoid, !tt.real)
		}
	}
	if _, avoid := (blocked{}).Lookup(nil); !avoid {
		t.Error("no address at all is not blocked")
	}
}
