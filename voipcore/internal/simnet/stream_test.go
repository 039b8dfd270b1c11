package simnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect opens a stream between two hosts and returns both ends.
func connect(t *testing.T, from, to *Host) (client, server *Conn) {
	t.Helper()
	l, err := to.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := from.Dial(t.Context(), to.AddrPort(l.port))
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Conn), s.(*Conn)
}

func TestStream(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		n.SetDefault(Link{Delay: 10 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.05, Duplicate: 0.5, Reorder: 0.5})
		client, server := connect(t, a, b)
		sent := make([]byte, 1<<20)
		chance := rand.New(rand.NewPCG(n.Seed(), 0))
		for i := range sent {
			sent[i] = byte(chance.Uint32())
		}
		go func() {
			for rest := sent; len(rest) > 0; {
				part := min(len(rest), 1+chance.IntN(5000))
				if _, err := client.Write(rest[:part]); err != nil {
					t.Errorf("write: %v", err)
				}
				rest = rest[part:]
			}
			client.CloseWrite()
		}()
		got, err := io.ReadAll(server)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("read %d bytes, %v; sent %d", len(got), err, len(sent))
		}
		if _, err := server.Write([]byte("still open")); err != nil {
			t.Errorf("write towards the end that finished: %v", err)
		}
		server.Close()
		if got, err := io.ReadAll(client); string(got) != "still open" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after CloseWrite: %v, want EPIPE", err)
		}
		if client.Close() != nil || client.Close() == nil {
			t.Error("the first Close must work, the second say that it is closed")
		}
		if len(a.conns)+len(b.conns) != 0 {
			t.Errorf("%d and %d streams left", len(a.conns), len(b.conns))
		}
	})
}

func TestStreamTimes(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		n.SetDefault(Link{Delay: 20 * time.Millisecond})
		l, _ := b.Listen(7)
		start := time.Now()
		since := func(what string, want time.Duration) {
			t.Helper()
			if d := time.Since(start); d != want {
				t.Errorf("%s after %v, want %v", what, d, want)
			}
			start = time.Now()
		}
		c, err := a.Dial(t.Context(), b.AddrPort(7))
		if err != nil {
			t.Fatal(err)
		}
		since("connected", 40*time.Millisecond)
		s, _ := l.Accept()
		since("accepted", 20*time.Millisecond)
		c.Write([]byte("x"))
		s.Read(make([]byte, 9))
		since("read", 20*time.Millisecond)
		n.SetDefault(Link{Delay: 20 * time.Millisecond, Loss: 1})
		c.Write([]byte("x"))
		n.SetDefault(Link{})
		c.Write([]byte("y")) // does not overtake
		s.SetReadDeadline(start.Add(time.Minute))
		if got, err := io.ReadFull(s, make([]byte, 2)); got != 2 {
			t.Errorf("read %d bytes, %v", got, err)
		}
		since("a segment lost four times", 3020*time.Millisecond)
		if c.RemoteAddr().String() != l.Addr().String() || s.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("addresses %v > %v and %v > %v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}
	})
}

// TestWritesDoNotMix has two goroutines write more than the window holds.
func TestWritesDoNotMix(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		client, server := connect(t, n.Host(addrA), n.Host(addrB))
		const size = 3 * window
		for _, letter := range []byte("ab") {
			go func() {
				if _, err := client.Write(bytes.Repeat([]byte{letter}, size)); err != nil {
					t.Errorf("write: %v", err)
				}
			}()
		}
		got := make([]byte, 2*size)
		for i := 0; i < len(got); i += 1024 { // slowly, so that both wait for room
			if _, err := io.ReadFull(server, got[i:i+1024]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		changes := 0
		for i := range len(got) - 1 {
			if got[i] != got[i+1] {
				changes++
			}
		}
		if changes != 1 {
			t.Errorf("the two writes took turns %d times, want 1", changes)
		}
	})
}

func TestBacklog(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a := n.Host(addrA)
		l, _ := a.Listen(7)
		var last net.Conn
		for range backlog + 1 {
			c, err := a.Dial(t.Context(), a.AddrPort(7))
			if err != nil {
				t.Fatal(err)
			}
			last = c
		}
		if _, err := last.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("one more than the backlog: %v, want ECONNRESET", err)
		}
		for range backlog {
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestDialFailures(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b, far := n.Host(addrA), n.Host(addrB), n.Host(addrC)
		nat := n.NAT(netip.MustParseAddr("192.0.2.100"))
		n.SetDefault(Link{Delay: 20 * time.Millisecond})
		n.Cut(a, far)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		tests := []struct {
			name string
			ctx  context.Context
			to   netip.AddrPort
			want error
			took time.Duration
		}{
			{"nobody listens", t.Context(), b.AddrPort(7), syscall.ECONNREFUSED, 40 * time.Millisecond},
			{"nobody there", t.Context(), netip.MustParseAddrPort("192.0.2.50:7"), syscall.EHOSTUNREACH, 40 * time.Millisecond},
			{"other family", t.Context(), netip.AddrPortFrom(addr6, 7), syscall.ENETUNREACH, 0},
			{"context", ctx, far.AddrPort(7), context.DeadlineExceeded, 3*time.Second - 80*time.Millisecond},
			{"cut", t.Context(), far.AddrPort(7), syscall.ETIMEDOUT, 127 * time.Second},
			{"NAT", t.Context(), netip.AddrPortFrom(nat.Addr(), 7), syscall.ETIMEDOUT, 127 * time.Second},
		}
		for _, tt := range tests {
			start := time.Now()
			c, err := a.Dial(tt.ctx, tt.to)
			var op *net.OpError
			if c != nil || !errors.Is(err, tt.want) || !errors.As(err, &op) {
				t.Errorf("%s: %v, %v; want %v", tt.name, c, err, tt.want)
			}
			if op != nil && op.Timeout() != (tt.want == syscall.ETIMEDOUT || tt.want == context.DeadlineExceeded) {
				t.Errorf("%s: timeout is %v", tt.name, op.Timeout())
			}
			if d := time.Since(start); d != tt.took {
				t.Errorf("%s took %v, want %v", tt.name, d, tt.took)
			}
		}
		// A link healed in time lets a later SYN through.
		l, _ := far.Listen(7)
		time.AfterFunc(10*time.Second, func() { n.Heal(a, far) })
		if _, err := a.Dial(t.Context(), far.AddrPort(7)); err != nil {
			t.Errorf("healed: %v", err)
		}
		if _, err := l.Accept(); err != nil {
			t.Errorf("healed: %v", err)
		}
		n.Cut(a, far)
		time.AfterFunc(time.Second, a.Kill)
		if _, err := a.Dial(t.Context(), far.AddrPort(7)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("killed while dialling: %v", err)
		}
	})
}

func TestStreamDeadlines(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		client, server := connect(t, a, b)
		start := time.Now()
		client.SetReadDeadline(start.Add(time.Hour)) // moved to earlier, then to later
		client.SetReadDeadline(start.Add(time.Second))
		time.AfterFunc(500*time.Millisecond, func() { client.SetReadDeadline(start.Add(2 * time.Second)) })
		var timeout net.Error
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("read ended after %v, want 2s", d)
		}
		start = time.Now()
		client.SetWriteDeadline(start.Add(time.Second))
		if sent, err := client.Write(make([]byte, 2*window)); sent != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write to a reader that does not read: %d, %v", sent, err)
		}
		client.SetDeadline(time.Time{})
		go io.Copy(io.Discard, server)
		if _, err := client.Write(make([]byte, 3*window)); err != nil {
			t.Errorf("write without a deadline: %v", err)
		}
		for range 10000 {
			client.SetReadDeadline(time.Now().Add(time.Minute))
			time.Sleep(time.Microsecond)
		}
		n.mu.Lock()
		if got := len(n.agenda.heap); got > 10 {
			t.Errorf("10000 deadlines left %d events", got)
		}
		n.mu.Unlock()
	})
}

func TestStreamStalls(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		nat := n.NAT(addrC)
		h := nat.Host(inner)
		n.SetDefault(Link{Delay: 20 * time.Millisecond})
		tests := []struct {
			name    string
			from    *Host
			do, not func()
			healed  bool
		}{
			{"link", a, func() { n.Cut(a, b) }, func() { n.Heal(a, b) }, true},
			{"host", a, b.Cut, b.Heal, true},
			{"client's address", a, func() { a.SetAddrs(addr6) }, func() { a.SetAddrs(addrA) }, true},
			{"server's address", a, func() { b.SetAddrs(addr6) }, func() { b.SetAddrs(addrB) }, true},
			{"inner address", h, func() { h.SetAddrs(addr6) }, func() { h.SetAddrs(inner) }, true},
			{"NAT flushed", h, nat.Flush, func() {}, false},
		}
		for _, tt := range tests {
			client, server := connect(t, tt.from, b)
			pass := func(from, to *Conn, want bool) {
				t.Helper()
				start := time.Now()
				to.SetReadDeadline(start.Add(time.Minute))
				_, err := io.ReadFull(to, make([]byte, 5))
				if (err == nil) != want {
					t.Errorf("%s: read: %v", tt.name, err)
				}
				if d := time.Since(start); want && d != 20*time.Millisecond {
					t.Errorf("%s: came after %v", tt.name, d)
				}
			}
			client.Write([]byte("12345"))
			pass(client, server, true)
			client.Write([]byte("12"))
			server.Write([]byte("12"))
			time.Sleep(10 * time.Millisecond)
			tt.do()
			client.Write([]byte("345"))
			server.Write([]byte("345"))
			pass(client, server, false)
			pass(server, client, false)
			tt.not()
			if tt.healed {
				pass(client, server, true)
				client.SetReadDeadline(time.Now().Add(time.Nanosecond))
				if got, err := io.ReadFull(client, make([]byte, 5)); err != nil {
					t.Errorf("%s: back: %d, %v", tt.name, got, err)
				}
			} else {
				pass(client, server, false)
			}
			client.Close()
			server.Close()
		}
	})
}

func TestKill(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		n.SetDefault(Link{Delay: 20 * time.Millisecond})
		client, server := connect(t, a, b)
		l, _ := b.Listen(9)
		udp := listenUDP(t, b, 9)
		errs := make(chan error, 4) // one for each goroutine below
		go func() { _, err := server.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := l.Accept(); errs <- err }()
		go func() { _, _, err := udp.ReadFromUDPAddrPort(make([]byte, 1)); errs <- err }()
		server.Write([]byte("last words"))
		synctest.Wait()
		b.Kill()
		for range 3 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("blocked in the killed host: %v", err)
			}
		}
		got, err := io.ReadAll(client)
		if string(got) != "last words" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("far end read %q, %v", got, err)
		}
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("far end wrote: %v", err)
		}
		if _, err := b.Listen(9); err != nil {
			t.Errorf("listen anew: %v", err)
		}
		if _, err := b.ListenUDP(9); err != nil {
			t.Errorf("listen anew: %v", err)
		}
	})
}

func TestResets(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		a, b := n.Host(addrA), n.Host(addrB)
		client, server := connect(t, a, b)
		client.Write([]byte("never read"))
		server.Close()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("closed with bytes unread: %v, want ECONNRESET", err)
		}
		client, server = connect(t, a, b)
		server.Close()
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("closed: %v, want EOF", err)
		}
		client.Write([]byte("to nobody"))
		if _, err := client.Write([]byte("again")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to a closed end: %v, want ECONNRESET", err)
		}
		client, server = connect(t, a, b)
		client.Reset()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reset: %v, want ECONNRESET", err)
		}
		l, _ := b.Listen(7)
		c, err := a.Dial(t.Context(), b.AddrPort(7))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("never accepted: %v, want ECONNRESET", err)
		}
	})
}

func TestStreamThroughNAT(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, n *Net) {
		nat := n.NAT(addrA)
		in, b := nat.Host(inner), n.Host(addrB)
		seen := make(chan string, 2)
		n.InterceptStreams(func(from, to netip.AddrPort, p []byte) []byte {
			seen <- fmt.Sprintf("%v>%v", from.Addr(), to.Addr())
			return bytes.ReplaceAll(p, []byte("good"), []byte("very evil"))
		})
		client, server := connect(t, in, b)
		if got := server.remote.Addr(); got != addrA {
			t.Errorf("the server sees %v, want the NAT's %v", got, addrA)
		}
		if got := client.local.Addr(); got != inner {
			t.Errorf("the client's own address is %v, want %v", got, inner)
		}
		buf := make([]byte, 100)
		client.Write([]byte("a good one"))
		if got, err := server.Read(buf); string(buf[:got]) != "a very evil one" {
			t.Errorf("read %q, %v", buf[:got], err)
		}
		server.Write([]byte("back"))
		if got, err := client.Read(buf); string(buf[:got]) != "back" {
			t.Errorf("read %q, %v", buf[:got], err)
		}
		if there, back := <-seen, <-seen; there != "198.51.100.1>203.0.113.2" || back != "203.0.113.2>198.51.100.1" {
			t.Errorf("the interceptor saw %s and %s", there, back)
		}
	})
}

// TestOutsideBubble runs streams and datagrams in real time, from many
// goroutines, and closes the network under them.
func TestOutsideBubble(t *testing.T) {
	n := New(1)
	defer n.Close()
	n.SetDefault(Link{Delay: 100 * time.Microsecond, Jitter: 100 * time.Microsecond})
	server := n.Host(addrB)
	l, err := server.Listen(7)
	if err != nil {
		t.Fatal(err)
	}
	udp := listenUDP(t, server, 7)
	var all, clients sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { io.Copy(c, c); c.Close() })
		}
	})
	all.Go(func() {
		buf := make([]byte, MaxDatagram)
		for {
			got, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			udp.WriteToUDPAddrPort(buf[:got], from)
		}
	})
	for i := range 8 {
		h := n.Host(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}))
		c, err := h.ListenUDP(0)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { c.ReadFromUDPAddrPort(make([]byte, 1)); io.Copy(io.Discard, reader{c}) })
		clients.Go(func() {
			s, err := h.Dial(t.Context(), server.AddrPort(7))
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			for j := range 50 {
				want := []byte(fmt.Sprint(i, j))
				s.Write(want)
				c.WriteToUDPAddrPort(want, server.AddrPort(7))
				got := make([]byte, len(want))
				if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("host %d read %q, %v; want %q", i, got, err, want)
				}
			}
			all.Go(func() { s.Read(make([]byte, 1)) }) // until the network is closed
		})
	}
	clients.Wait()
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if _, err := server.Listen(8); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen on a closed network: %v", err)
	}
	if _, err := server.Dial(t.Context(), server.AddrPort(7)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial on a closed network: %v", err)
	}
	n.Inject(server.AddrPort(1), server.AddrPort(2), nil)
}

// reader makes an io.Reader of a datagram socket.
type reader struct{ c *UDPConn }

func (r reader) Read(b []byte) (int, error) {
	n, _, err := r.c.ReadFrom(b)
	return n, err
}
