package simnet

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

var (
	addrA = netip.MustParseAddr("198.51.100.1")
	addrB = netip.MustParseAddr("203.0.113.2")
	addrC = netip.MustParseAddr("192.0.2.3")
	addr6 = netip.MustParseAddr("2001:db8::6")
	inner = netip.MustParseAddr("10.0.0.2")
)

// inBubble runs a test on a network of its own in a synctest bubble, and says
// the seed if it failed.
func inBubble(t *testing.T, seed uint64, f func(t *testing.T, n *Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(seed)
		defer n.Close()
		f(t, n)
		if t.Failed() {
			t.Logf("seed %d", n.Seed())
		}
	})
}

func listenUDP(t *testing.T, h *Host, port uint16) *UDPConn {
	t.Helper()
	c, err := h.ListenUDP(port)
	if err != nil {
		t.Fatalf("listen on %v udp %d: %v", h.Addr(), port, err)
	}
	return c
}

func send(t *testing.T, c *UDPConn, to netip.AddrPort, b string) {
	t.Helper()
	if n, err := c.WriteToUDPAddrPort([]byte(b), to); n != len(b) || err != nil {
		t.Fatalf("send %q to %v: %d, %v", b, to, n, err)
	}
}

// drain reads all that is there now.
func drain(t *testing.T, c *UDPConn) (got []string, from []netip.AddrPort) {
	t.Helper()
	b := make([]byte, MaxDatagram)
	for {
		c.SetReadDeadline(time.Now().Add(time.Nanosecond))
		n, a, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			c.SetReadDeadline(time.Time{})
			return got, from
		}
		got, from = append(got, string(b[:n])), append(from, a)
	}
}

func TestDatagramDelay(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		n.SetDefault(Link{Delay: 20 * time.Millisecond})
		a.SetLink(Link{Delay: 5 * time.Millisecond})
		ca, cb := listenUDP(t, a, 7000), listenUDP(t, b, 0)
		start := time.Now()
		send(t, ca, cb.host.AddrPort(cb.port), "hello")
		buf := make([]byte, 100)
		got, from, err := cb.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:got]) != "hello" || from != netip.AddrPortFrom(addrA, 7000) {
			t.Fatalf("read %q from %v, %v", buf[:got], from, err)
		}
		if d := time.Since(start); d != 25*time.Millisecond {
			t.Errorf("took %v, want 25ms", d)
		}
		n.SetPath(b, a, Link{})
		start = time.Now()
		send(t, cb, from, "back")
		ca.ReadFromUDPAddrPort(buf)
		if d := time.Since(start); d != 5*time.Millisecond {
			t.Errorf("back took %v, want the 5ms of the host's own line", d)
		}
	})
}

// fates sends 2000 numbered datagrams and returns what arrived, in order.
func fates(t *testing.T, seed uint64, l Link) (out []string, stats Stats) {
	inBubble(t, seed, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		n.SetLink(a, b, l)
		ca, cb := listenUDP(t, a, 1), listenUDP(t, b, 1)
		for i := range 2000 {
			send(t, ca, b.AddrPort(1), fmt.Sprint(i))
			time.Sleep(time.Millisecond)
			got, _ := drain(t, cb)
			out = append(out, got...)
		}
		time.Sleep(time.Second)
		got, _ := drain(t, cb)
		out = append(out, got...)
		stats = n.Stats()
	})
	return out, stats
}

func TestChance(t *testing.T) {
	l := Link{Delay: 10 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.1, Duplicate: 0.05, Reorder: 0.05}
	one, stats := fates(t, 7, l)
	again, _ := fates(t, 7, l)
	other, _ := fates(t, 8, l)
	if !slices.Equal(one, again) {
		t.Error("the same seed gave two results")
	}
	if slices.Equal(one, other) {
		t.Error("two seeds gave the same result")
	}
	// Five standard deviations of 2000 draws are 67 and 49.
	if stats.Lost < 133 || stats.Lost > 267 {
		t.Errorf("lost %d of 2000 at 10 %%", stats.Lost)
	}
	if stats.Duplicated < 51 || stats.Duplicated > 149 {
		t.Errorf("duplicated %d of 2000 at 5 %%", stats.Duplicated)
	}
	if sum := stats.Delivered + stats.Lost + stats.Dropped + stats.Vanished + stats.Overflown; sum != stats.Sent+stats.Duplicated {
		t.Errorf("counters do not add up: %+v", stats)
	}
	if uint64(len(one)) != stats.Delivered {
		t.Errorf("read %d, delivered %d", len(one), stats.Delivered)
	}
}

// TestReorder checks that a datagram held back is overtaken by those of the
// time that it is held back for, and that nothing else is.
func TestReorder(t *testing.T) {
	for _, hold := range []time.Duration{0, 10*time.Millisecond + time.Microsecond} {
		got, _ := fates(t, 7, Link{Reorder: 0.01, HoldBack: hold})
		want := 10 // datagrams leave every millisecond
		if hold == 0 {
			want = 30
		}
		highest, late := -1, 0
		for _, s := range got {
			i, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			if i < highest {
				late++
				if highest-i > want || highest-i < want-2 {
					t.Errorf("hold back %v: %d came behind %d, want about %d between them", hold, i, highest, want)
				}
			}
			highest = max(highest, i)
		}
		// Five standard deviations of 2000 draws are 22.
		if late < 1 || late > 42 || len(got) != 2000 {
			t.Errorf("hold back %v: %d of %d came late, want about 20 of 2000", hold, late, len(got))
		}
	}
}

// TestChanceOfPairs checks that the traffic of others does not change what
// happens between two hosts.
func TestChanceOfPairs(t *testing.T) {
	run := func(noise bool) (out []string) {
		inBubble(t, 3, func(t *testing.T, n *Net) {
			a, b, c := n.Host(addrA), n.Host(addrB), n.Host(addrC)
			n.SetDefault(Link{Loss: 0.5})
			ca, cb, cc := listenUDP(t, a, 1), listenUDP(t, b, 1), listenUDP(t, c, 1)
			for i := range 100 {
				if noise {
					send(t, cc, b.AddrPort(2), "x")
					send(t, ca, c.AddrPort(1), "x")
				}
				send(t, ca, b.AddrPort(1), fmt.Sprint(i))
			}
			out, _ = drain(t, cb)
		})
		return out
	}
	if quiet, loud := run(false), run(true); !slices.Equal(quiet, loud) {
		t.Errorf("without others %d arrived, with others %d", len(quiet), len(loud))
	}
}

func TestCutDatagrams(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		n.SetDefault(Link{Delay: 10 * time.Millisecond})
		ca, cb := listenUDP(t, a, 1), listenUDP(t, b, 1)
		tests := []struct {
			name    string
			do, not func()
		}{
			{"link", func() { n.Cut(a, b) }, func() { n.Heal(a, b) }},
			{"sender", a.Cut, a.Heal},
			{"receiver", b.Cut, b.Heal},
			{"no UDP at the sender", func() { a.BlockUDP(true) }, func() { a.BlockUDP(false) }},
			{"no UDP at the receiver", func() { b.BlockUDP(true) }, func() { b.BlockUDP(false) }},
			{"address gone", func() { b.SetAddrs(addrC) }, func() { b.SetAddrs(addrB) }},
		}
		to := b.AddrPort(1)
		for _, tt := range tests {
			send(t, ca, to, "under way")
			time.Sleep(5 * time.Millisecond)
			tt.do()
			send(t, ca, to, "while cut")
			time.Sleep(time.Second)
			if got, _ := drain(t, cb); len(got) > 0 {
				t.Errorf("%s: %q arrived", tt.name, got)
			}
			tt.not()
			send(t, ca, to, "healed")
			time.Sleep(time.Second)
			if got, _ := drain(t, cb); !slices.Equal(got, []string{"healed"}) {
				t.Errorf("%s: after healing got %q", tt.name, got)
			}
		}
	})
}

func TestFamilies(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		dual, four, six := n.Host(addrA, addr6), n.Host(addrB), n.Host(netip.MustParseAddr("2001:db8::7"))
		cd, c4, c6 := listenUDP(t, dual, 1), listenUDP(t, four, 1), listenUDP(t, six, 1)
		send(t, c4, netip.AddrPortFrom(addrA, 1), "four")
		send(t, c6, netip.AddrPortFrom(addr6, 1), "six")
		got, from := drain(t, cd)
		if len(got) != 2 || !from[0].Addr().Is4In6() || from[0].Addr().Unmap() != addrB || from[1].Addr() != six.Addr() {
			t.Fatalf("got %q from %v", got, from)
		}
		send(t, cd, from[0], "answer") // a mapped address is taken as one to send to
		if got, from := drain(t, c4); len(got) != 1 || from[0].Addr() != addrA {
			t.Errorf("got %q from %v, want the answer from %v", got, from, addrA)
		}
		if _, err := c4.WriteToUDPAddrPort([]byte("x"), six.AddrPort(1)); err == nil {
			t.Error("a host without IPv6 sent to an IPv6 address")
		}
	})
}

func TestSocketLimits(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a := n.Host(addrA)
		c := listenUDP(t, a, 5)
		if _, err := a.ListenUDP(5); err == nil {
			t.Error("a port was given twice")
		}
		for range queueLength + 10 {
			send(t, c, a.AddrPort(5), "x")
		}
		if got, _ := drain(t, c); len(got) != queueLength {
			t.Errorf("queue held %d, want %d", len(got), queueLength)
		}
		if s := n.Stats(); s.Overflown != 10 {
			t.Errorf("overflown %d, want 10", s.Overflown)
		}
		if _, err := c.WriteToUDPAddrPort(make([]byte, MaxDatagram+1), a.AddrPort(5)); err == nil {
			t.Error("a datagram that is too long was sent")
		}
		send(t, c, netip.MustParseAddrPort("127.0.0.1:5"), "loop")
		if got, from := drain(t, c); len(got) != 1 || from[0].String() != "127.0.0.1:5" {
			t.Errorf("over loopback got %q from %v", got, from)
		}
		if c.Close() != nil || c.Close() == nil {
			t.Error("the first Close must work, the second say that it is closed")
		}
		if _, err := a.ListenUDP(5); err != nil {
			t.Errorf("the port of a closed socket: %v", err)
		}
	})
}

func TestIntercept(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		ca, cb := listenUDP(t, a, 1), listenUDP(t, b, 1)
		n.Intercept(func(from, to netip.AddrPort, p []byte) []byte {
			if from != a.AddrPort(1) || to != b.AddrPort(1) {
				t.Errorf("saw %v to %v", from, to)
			}
			switch string(p) {
			case "drop":
				return nil
			case "alter":
				p[0] = 'A'
			case "replay":
				n.Inject(from, to, p)
			case "longer":
				return append(bytes.Clone(p), '!')
			}
			return p
		})
		for _, s := range []string{"drop", "alter", "replay", "longer", "plain"} {
			send(t, ca, b.AddrPort(1), s)
		}
		want := []string{"Alter", "replay", "replay", "longer!", "plain"}
		if got, _ := drain(t, cb); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		n.Intercept(nil)
		send(t, ca, b.AddrPort(1), "drop")
		n.Inject(netip.MustParseAddrPort("192.0.2.99:9"), b.AddrPort(1), []byte("forged"))
		got, from := drain(t, cb)
		if !slices.Equal(got, []string{"drop", "forged"}) || from[1].String() != "192.0.2.99:9" {
			t.Errorf("got %q from %v", got, from)
		}
	})
}

func TestNAT(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		nat := n.NAT(addrA)
		in, in2 := nat.Host(inner), nat.Host(netip.MustParseAddr("10.0.0.3"))
		b, c := n.Host(addrB), n.Host(addrC)
		n.NAT(netip.MustParseAddr("192.0.2.200")).Host(inner) // the same address behind another box
		ci, ci2, cb, cc := listenUDP(t, in, 1), listenUDP(t, in2, 1), listenUDP(t, b, 1), listenUDP(t, c, 1)

		if _, err := in.ListenUDP(1); err == nil {
			t.Error("port given twice")
		}
		outer := func() netip.AddrPort {
			t.Helper()
			send(t, ci, b.AddrPort(1), "out")
			got, from := drain(t, cb)
			if len(got) != 1 || from[0].Addr() != nat.Addr() {
				t.Fatalf("got %q from %v, want one from %v", got, from, nat.Addr())
			}
			return from[0]
		}
		reaches := func(from *UDPConn, to netip.AddrPort, want bool) {
			t.Helper()
			send(t, from, to, "in")
			if got, _ := drain(t, ci); (len(got) == 1) != want {
				t.Errorf("from %v to %v: got %q, want it to arrive: %v", from.LocalAddr(), to, got, want)
			}
		}
		first := outer()
		reaches(cb, first, true)
		reaches(cc, first, false) // never written to
		send(t, ci, c.AddrPort(1), "hi")
		if _, from := drain(t, cc); len(from) != 1 || from[0] != first {
			t.Errorf("another peer sees %v, want the same %v", from, first)
		}
		reaches(cc, first, true)
		reaches(ci2, in.AddrPort(1), true) // inside, without the box

		time.Sleep(MappingTimeout - time.Second)
		reaches(cb, first, true) // refreshes
		time.Sleep(MappingTimeout - time.Second)
		reaches(cb, first, true)
		reaches(cc, first, false) // that one was silent for too long
		time.Sleep(MappingTimeout)
		reaches(cb, first, false)
		second := outer()
		if second == first {
			t.Error("the same port after the mapping was forgotten")
		}
		nat.Flush()
		reaches(cb, second, false)
		third := outer()
		nat.SetAddrs(netip.MustParseAddr("198.51.100.77"))
		reaches(cb, third, false)
		outer()
	})
}

func TestNoAllocations(t *testing.T) {
	n := New(1)
	defer n.Close()
	nat := n.NAT(addrA)
	a, b := nat.Host(inner), n.Host(addrB)
	ca, cb := listenUDP(t, a, 1), listenUDP(t, b, 1)
	buf, to := make([]byte, 320), b.AddrPort(1)
	for _, l := range []Link{{}, {Delay: time.Microsecond, Jitter: 2 * time.Microsecond}} {
		n.SetDefault(l)
		round := func() {
			if _, err := ca.WriteToUDPAddrPort(buf, to); err != nil {
				t.Fatal(err)
			}
			_, from, err := cb.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cb.WriteToUDPAddrPort(buf, from); err != nil {
				t.Fatal(err)
			}
			if _, _, err := ca.ReadFromUDPAddrPort(buf); err != nil {
				t.Fatal(err)
			}
		}
		if got := testing.AllocsPerRun(1000, round); got != 0 {
			t.Errorf("link %+v: %v allocations per round trip", l, got)
		}
	}
}

func BenchmarkDatagram(b *testing.B) {
	n := New(1)
	defer n.Close()
	h := n.Host(addrA)
	c, err := h.ListenUDP(1)
	if err != nil {
		b.Fatal(err)
	}
	buf, to := make([]byte, 320), h.AddrPort(1)
	b.ReportAllocs()
	for b.Loop() {
		c.WriteToUDPAddrPort(buf, to)
		c.ReadFromUDPAddrPort(buf)
	}
}
