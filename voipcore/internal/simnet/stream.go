package simnet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// window is how many bytes a stream holds in one direction, under way and
	// not yet read together. Linux starts with 64 kB and goes up to megabytes.
	window = 128 << 10

	// retransmit is how much later a lost segment comes at the least
	// (TCP_RTO_MIN of Linux).
	retransmit = 200 * time.Millisecond
)

// A flow is one direction of a stream.
type flow struct {
	net      *Net
	from, to *Conn

	// Guarded by net.mu.
	segments []segment // under way, the oldest first
	stalled  bool      // in net.stalled
	used     int       // bytes of the window

	// At the receiver.
	unread   bytes.Buffer
	fin, rst bool // nothing more comes; the stream is no more
}

// A segment is bytes, or the end of a stream.
type segment struct {
	due      time.Time
	b        []byte
	fin, rst bool
}

func (f *flow) openLocked() bool {
	return f.net.openLocked(f.from.host, f.to.host) && f.from.homeLocked() && f.to.homeLocked()
}

// delayLocked draws how long a segment travels.
func (f *flow) delayLocked() time.Duration {
	p := f.net.pathLocked(f.from.host, f.to.host)
	l := f.net.linkLocked(f.from.host, f.to.host, p)
	d := p.delay(l)
	for again := retransmit; again < 16*retransmit && p.happens(l.Loss); again *= 2 {
		d += again
	}
	return d
}

func (f *flow) sendLocked(s segment) {
	now := time.Now()
	s.due = now.Add(f.delayLocked())
	f.used += len(s.b)
	f.segments = append(f.segments, s)
	f.soonLocked(now, s.due)
}

func (f *flow) soonLocked(now, due time.Time) {
	if due.After(now) {
		f.net.atLocked(due, f)
	} else {
		f.fireLocked(now)
	}
}

// fireLocked delivers what is due, or stalls. A segment that would have
// overtaken an older one comes with it.
func (f *flow) fireLocked(now time.Time) {
	for len(f.segments) > 0 && !f.segments[0].due.After(now) {
		if !f.openLocked() {
			if !f.stalled {
				f.stalled = true
				f.net.stalled = append(f.net.stalled, f)
			}
			return
		}
		s := f.segments[0]
		f.segments = slices.Delete(f.segments, 0, 1)
		f.to.arriveLocked(s)
	}
}

// resumeLocked sends what is stalled once more.
func (f *flow) resumeLocked() {
	f.stalled = false
	if len(f.segments) == 0 {
		return
	}
	now := time.Now()
	due := now.Add(f.delayLocked())
	for i := range f.segments {
		if s := &f.segments[i]; s.due.Before(due) {
			s.due = due
		}
	}
	f.soonLocked(now, due)
}

// A Conn is one end of a stream: a net.Conn that fails with the errors that a
// TCP connection has, in a *net.OpError.
type Conn struct {
	net           *Net
	host          *Host
	local, remote netip.AddrPort
	out, in       *flow
	nat           *NAT // which its host is behind, if the stream passes it
	natLife       int

	// Guarded by net.mu.
	cond        *sync.Cond
	closed      bool
	finished    bool // no more writing: CloseWrite, Close or a reset
	writing     bool // a Write is under way: others wait, so that writes do not mix
	read, write deadline
}

var _ net.Conn = (*Conn)(nil)

// connectLocked makes both ends of a stream and returns them.
func connectLocked(w way, inner netip.AddrPort, to *Host, dst netip.AddrPort) (client, server *Conn) {
	n := to.net
	client = &Conn{net: n, host: w.from, local: inner, remote: w.dst, cond: sync.NewCond(&n.mu)}
	server = &Conn{net: n, host: to, local: dst, remote: w.src, cond: sync.NewCond(&n.mu)}
	if inner != w.src {
		client.nat = w.from.realm.nat
		client.natLife = client.nat.life
	}
	there, back := &flow{net: n, from: client, to: server}, &flow{net: n, from: server, to: client}
	client.out, client.in, server.out, server.in = there, back, back, there
	for _, c := range []*Conn{client, server} {
		c.read, c.write = deadline{net: n, cond: c.cond}, deadline{net: n, cond: c.cond}
		c.host.conns = append(c.host.conns, c)
	}
	return client, server
}

// homeLocked reports whether this end still has the address that it had.
func (c *Conn) homeLocked() bool {
	return c.host.hasLocked(c.local.Addr()) && (c.nat == nil || c.nat.life == c.natLife)
}

func (c *Conn) arriveLocked(s segment) {
	switch {
	case s.rst:
		c.in.rst, c.finished = true, true
	case c.closed:
		if len(s.b) > 0 {
			c.out.sendLocked(segment{rst: true}) // nobody reads this any more
		}
	case s.fin:
		c.in.fin = true
	default:
		c.in.unread.Write(s.b)
	}
	c.cond.Broadcast()
}

// Read is the one of net.Conn. Bytes that came before a reset are still read.
func (c *Conn) Read(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		err := c.read.passedLocked()
		if c.closed {
			err = net.ErrClosed
		}
		if err != nil {
			return 0, c.fail("read", err)
		}
		switch in := c.in; {
		case len(b) == 0:
			return 0, nil
		case in.unread.Len() > 0:
			got, _ := in.unread.Read(b)
			in.used -= got
			in.from.cond.Broadcast()
			return got, nil
		case in.rst:
			return 0, c.fail("read", os.NewSyscallError("read", syscall.ECONNRESET))
		case in.fin:
			return 0, io.EOF
		}
		c.cond.Wait()
	}
}

// Write is the one of net.Conn. It waits while the far end has a window's worth
// of bytes that it does not read.
func (c *Conn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if err := c.readyLocked(func() bool { return !c.writing }); err != nil {
		return 0, err
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.cond.Broadcast()
	}()
	var sent int
	for sent < len(b) {
		if err := c.readyLocked(func() bool { return c.out.used < window }); err != nil {
			return sent, err
		}
		part := bytes.Clone(b[sent:min(len(b), sent+window-c.out.used)])
		sent += len(part)
		if tap := c.net.strTap; tap != nil {
			from, to := c.wireLocked()
			c.net.mu.Unlock()
			c.net.tapping.Lock()
			part = bytes.Clone(tap(from, to, part))
			c.net.tapping.Unlock()
			c.net.mu.Lock()
			if c.finished || len(part) == 0 {
				continue
			}
		}
		c.out.sendLocked(segment{b: part})
	}
	return sent, nil
}

// readyLocked waits until ok, or returns why that is not to be waited for.
func (c *Conn) readyLocked(ok func() bool) error {
	for {
		err := c.write.passedLocked()
		switch {
		case c.closed:
			err = net.ErrClosed
		case c.in.rst:
			err = os.NewSyscallError("write", syscall.ECONNRESET)
		case c.finished:
			err = os.NewSyscallError("write", syscall.EPIPE)
		}
		if err != nil {
			return c.fail("write", err)
		}
		if ok() {
			return nil
		}
		c.cond.Wait()
	}
}

// wireLocked is what the addresses of c's segments look like outside.
func (c *Conn) wireLocked() (from, to netip.AddrPort) {
	return c.out.to.remote, c.remote
}

// CloseWrite ends this direction: the far end reads all that was written, then
// io.EOF.
func (c *Conn) CloseWrite() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	if !c.finished {
		c.finished = true
		c.out.sendLocked(segment{fin: true})
		c.cond.Broadcast()
	}
	return nil
}

// Close ends the stream and wakes who is blocked in it. What was written still
// arrives; but if something was not read here the far end is reset, as TCP does.
// A second Close is an error, as with sockets.
func (c *Conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	if c.in.unread.Len() > 0 {
		c.resetLocked()
		return nil
	}
	if !c.finished {
		c.finished = true
		c.out.sendLocked(segment{fin: true})
	}
	c.closeLocked()
	return nil
}

// Reset ends the stream as Kill does: the far end's Read and Write fail with
// ECONNRESET.
func (c *Conn) Reset() {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if !c.closed {
		c.resetLocked()
	}
}

func (c *Conn) resetLocked() {
	if !c.in.rst {
		c.out.sendLocked(segment{rst: true})
	}
	c.finished = true
	c.closeLocked()
}

func (c *Conn) closeLocked() {
	c.closed = true
	c.in.used -= c.in.unread.Len()
	c.in.unread = bytes.Buffer{}
	c.in.from.cond.Broadcast()
	if i := slices.Index(c.host.conns, c); i >= 0 {
		c.host.conns = slices.Delete(c.host.conns, i, i+1)
	}
	c.cond.Broadcast()
}

// LocalAddr is this end's address, as a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr is the far end's, as a *net.TCPAddr: a NAT's, if it is behind one.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline is the one of net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline is the one of net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline is the one of net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *Conn) setDeadlines(t time.Time, ds ...*deadline) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.setLocked(t)
	}
	return nil
}

func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
