package kx

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// patience is how long a test waits for what must come before it gives up.
const patience = 30 * time.Second

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// within is a context for one test's requests.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// slots returns how many cell slots of a node are in use.
func (n *Node) slots() int {
	n.cells.mu.Lock()
	defer n.cells.mu.Unlock()
	return n.limits.Tunnels + ownTunnels - n.cells.unmet - len(n.cells.free)
}

// kxGoroutines returns the stacks of goroutines that run code of this package
// other than tests.
func kxGoroutines() []string {
	b := make([]byte, 4<<20)
	b = b[:runtime.Stack(b, true)]
	var found []string
	for s := range bytes.SplitSeq(b, []byte("\n\n")) {
		for line := range strings.Lines(string(s)) {
			if strings.Contains(line, "voipcore/kx/") && !strings.Contains(line, "_test.go") {
				found = append(found, string(s))
				break
			}
		}
	}
	return found
}

// noGoroutines waits until no goroutine of the package is left.
func noGoroutines(t testing.TB) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		left := kxGoroutines()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
		}
		time.Sleep(time.Millisecond)
	}
}

// A quietConn is a packet socket that hears nothing.
type quietConn struct{ closed chan struct{} }

func newQuietConn() *quietConn { return &quietConn{make(chan struct{})} }

func (c *quietConn) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	<-c.closed
	return 0, netip.AddrPort{}, net.ErrClosed
}
func (c *quietConn) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }
func (c *quietConn) LocalAddr() net.Addr                                        { return &net.UDPAddr{} }
func (c *quietConn) Close() error                                               { close(c.closed); return nil }

// A rawLink is the dialling side of a link in the hands of a test.
type rawLink struct {
	t    testing.TB
	conn *tls.Conn
	peer wire.Hello // what the other side said first
}

// dialRaw dials a relay, says a proper hello and hears the relay's.
func dialRaw(t testing.TB, r Relay) *rawLink {
	t.Helper()
	raw, err := net.Dial("tcp", r.Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	l := &rawLink{t: t, conn: tls.Client(raw, keytls.Client(alpnLink, &r.Key, nil))}
	l.conn.SetDeadline(time.Now().Add(patience))
	l.hello()
	c, err := l.receive()
	if err != nil {
		t.Fatal(err)
	}
	if l.peer, err = wire.DecodeHello(&c); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *rawLink) hello() {
	var c wire.Cell
	wire.Hello{LinkID: 7, Time: 1}.Put(&c)
	l.send(c)
}

func (l *rawLink) send(cells ...wire.Cell) {
	l.t.Helper()
	for _, c := range cells {
		var b [wire.CellSize]byte
		c.Encode(&b)
		if _, err := l.conn.Write(b[:]); err != nil {
			l.t.Logf("link is closed: %v", err)
			return
		}
	}
}

// receive returns the next cell that is no padding.
func (l *rawLink) receive() (wire.Cell, error) {
	for {
		var b [wire.CellSize]byte
		var c wire.Cell
		if _, err := io.ReadFull(l.conn, b[:]); err != nil {
			return c, err
		}
		if err := c.Decode(&b); err != nil {
			return c, err
		}
		if c.Command != wire.CellPadding {
			return c, nil
		}
	}
}

// mustEnd fails the test unless the other side closes the link.
func (l *rawLink) mustEnd(why string) {
	l.t.Helper()
	for {
		if _, err := l.receive(); err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				l.t.Errorf("%s: the link stays", why)
			}
			return
		}
	}
}

// mustRefuse fails the test unless the other side destroys a tunnel with r.
func (l *rawLink) mustRefuse(tunnel uint32, r wire.Reason) {
	l.t.Helper()
	for {
		c, err := l.receive()
		if err != nil {
			l.t.Fatalf("tunnel %d: %v", tunnel, err)
		}
		if c.Tunnel == tunnel && c.Command == wire.CellDestroy {
			if got := wire.Reason(c.Data[0]); got != r {
				l.t.Errorf("tunnel %d was destroyed with %q, want %q", tunnel, got, r)
			}
			return
		}
	}
}

// alive fails the test unless a relay still serves strangers.
func (r *loopRelay) alive(t testing.TB) {
	t.Helper()
	tun, err := newLoopClient(t).Build(within(t), []Relay{r.Relay})
	if err != nil {
		t.Fatalf("the relay does not serve any more: %v", err)
	}
	defer tun.Close()
	if _, err := tun.Describe(within(t)); err != nil {
		t.Fatalf("the relay does not answer any more: %v", err)
	}
}

// relays returns n relays on loopback.
func relays(t testing.TB, n int) []*loopRelay {
	rs := make([]*loopRelay, n)
	for i := range rs {
		rs[i] = newLoopRelay(t, nil, Limits{})
	}
	return rs
}

func path(rs ...*loopRelay) []Relay {
	var p []Relay
	for _, r := range rs {
		p = append(p, r.Relay)
	}
	return p
}

// stranger is a relay that nobody runs, at an address that answers nothing.
func stranger(t testing.TB) Relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return Relay{pid.NewKey().ID(), []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}}
}

// join registers callee at the end of in and joins it there over out.
func join(t testing.TB, caller, callee *Node, out, in []Relay) (from, to *Tunnel) {
	t.Helper()
	ctx, secret := within(t), NewSecret()
	to, err := callee.BuildIn(ctx, in, secret)
	if err != nil {
		t.Fatal(err)
	}
	if from, err = caller.BuildOut(ctx, out, Cookie(&secret)); err != nil {
		t.Fatal(err)
	}
	if err := to.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return from, to
}

// talk checks that bytes go both ways.
func talk(t testing.TB, a, b *Tunnel) {
	t.Helper()
	for _, ends := range [][2]*Tunnel{{a, b}, {b, a}} {
		if _, err := ends[0].Write([]byte("hush")); err != nil {
			t.Fatal(err)
		}
		var got [4]byte
		ends[1].SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(ends[1], got[:]); err != nil || string(got[:]) != "hush" {
			t.Fatalf("%q arrived, %v", got, err)
		}
		ends[1].SetReadDeadline(time.Time{})
	}
}

// A recordingClock notes who told the time, and trusts nobody.
type recordingClock struct {
	mu   sync.Mutex
	told map[netip.AddrPort]int
}

func (c *recordingClock) Now() time.Time        { return time.Now() }
func (c *recordingClock) Trusted() bool         { return false }
func (c *recordingClock) Asleep() time.Duration { return 0 }

func (c *recordingClock) Told(by netip.AddrPort, _ time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil {
		c.told = map[netip.AddrPort]int{}
	}
	c.told[by]++
}

func (c *recordingClock) count(by netip.AddrPort) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told[by]
}
