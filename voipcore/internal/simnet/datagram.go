package simnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// MaxDatagram is the longest datagram. Real ones can be longer; nothing in
	// the project sends such, since they would be fragmented.
	MaxDatagram = 2048

	// queueLength is how many datagrams wait in a socket: about what fits into
	// the default receive buffer of Linux (net.core.rmem_default, 212992 bytes,
	// of which a short datagram takes 768). A power of two.
	queueLength = 256

	// poolBlock is how many datagrams the pool makes at once, poolLimit how
	// many there are at most: 16 MB.
	poolBlock = 64
	poolLimit = 8192
)

// A datagram is one on its way, or in a socket's queue, or in the pool.
type datagram struct {
	net    *Net
	way    way
	length int
	buf    [MaxDatagram]byte
}

type pool struct {
	free []*datagram
	made int
}

// getLocked returns a datagram, or nil if too many are under way.
func (n *Net) getLocked() *datagram {
	p := &n.pool
	if len(p.free) == 0 {
		if p.made == poolLimit {
			return nil
		}
		block := make([]datagram, poolBlock)
		for i := range block {
			block[i].net = n
			p.free = append(p.free, &block[i])
		}
		p.made += poolBlock
	}
	d := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return d
}

// endLocked counts what became of d and takes it back.
func (d *datagram) endLocked(counter *uint64) {
	*counter++
	d.putLocked()
}

func (d *datagram) putLocked() {
	d.way = way{}
	d.net.pool.free = append(d.net.pool.free, d)
}

// Inject sends a datagram from any address, as an attacker on the network can:
// one seen before, or a forged one. It arrives at once, untouched by chance and
// by the interceptor, if anybody listens there and no NAT refuses it.
func (n *Net) Inject(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Sent++
	if len(b) > MaxDatagram {
		n.stats.Overflown++
		return
	}
	d := n.getLocked()
	if d == nil {
		n.stats.Overflown++
		return
	}
	d.way = way{nil, &n.outside, unmap(from), unmap(to)}
	d.length = copy(d.buf[:], b)
	d.fireLocked(time.Now())
}

// launchLocked lets chance have its say and sends d on its way.
func (d *datagram) launchLocked() {
	n := d.net
	to, _ := n.targetLocked(d.way, datagrams{})
	if to == nil || d.way.from.noUDP || to.noUDP || !n.openLocked(d.way.from, to) {
		d.endLocked(&n.stats.Vanished)
		return
	}
	p := n.pathLocked(d.way.from, to)
	l := n.linkLocked(d.way.from, to, p)
	if p.happens(l.Loss) {
		d.endLocked(&n.stats.Lost)
		return
	}
	delay := p.delay(l)
	if p.happens(l.Reorder) {
		if l.HoldBack == 0 {
			l.HoldBack = defaultHoldBack
		}
		delay += l.HoldBack
	}
	if p.happens(l.Duplicate) {
		n.stats.Duplicated++
		if twin := n.getLocked(); twin != nil {
			twin.way = d.way
			twin.length = copy(twin.buf[:], d.buf[:d.length])
			twin.afterLocked(p.delay(l))
		} else {
			n.stats.Overflown++
		}
	}
	d.afterLocked(delay)
}

func (d *datagram) afterLocked(delay time.Duration) {
	now := time.Now()
	if delay == 0 {
		d.fireLocked(now)
		return
	}
	d.net.atLocked(now.Add(delay), d)
}

// fireLocked is the arrival of d. Who has its address is asked again: much may
// have happened since it was sent.
func (d *datagram) fireLocked(time.Time) {
	n, from := d.net, d.way.from
	h, dst := n.targetLocked(d.way, datagrams{})
	if h == nil || h.noUDP || from != nil && (from.noUDP || !n.openLocked(from, h)) || from == nil && h.cut {
		d.endLocked(&n.stats.Vanished)
		return
	}
	c := h.udp[dst.Port()]
	if c == nil {
		d.endLocked(&n.stats.Vanished)
		return
	}
	if c.count == queueLength {
		d.endLocked(&n.stats.Overflown)
		return
	}
	c.queue[(c.first+c.count)%queueLength] = d
	c.count++
	n.stats.Delivered++
	c.cond.Signal()
}

// A UDPConn has the methods of *net.UDPConn that are used of it, and those of
// net.PacketConn. On a host with an IPv6 address it shows IPv4 addresses mapped
// into IPv6, as a dual-stack socket does.
type UDPConn struct {
	host *Host
	port uint16

	// Guarded by net.mu.
	closed       bool
	cond         *sync.Cond
	read         deadline
	queue        [queueLength]*datagram
	first, count uint32
}

var _ net.PacketConn = (*UDPConn)(nil)

// ListenUDP opens a datagram socket on all addresses of the host, those that it
// will get later included. Port 0 is any free one.
func (h *Host) ListenUDP(port uint16) (*UDPConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.portLocked(port, func(p uint16) bool { return h.udp[p] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	c := &UDPConn{host: h, port: port, cond: sync.NewCond(&h.net.mu)}
	c.read = deadline{net: h.net, cond: c.cond}
	h.udp[port] = c
	return c, nil
}

// ReadFromUDPAddrPort waits for a datagram and copies what fits of it into b.
func (c *UDPConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		err := c.read.passedLocked()
		if c.closed {
			err = net.ErrClosed
		}
		if err != nil {
			return 0, netip.AddrPort{}, c.fail("read", err)
		}
		if c.count > 0 {
			d := c.queue[c.first]
			c.queue[c.first] = nil
			c.first = (c.first + 1) % queueLength
			c.count--
			got, from := copy(b, d.buf[:d.length]), c.host.shownLocked(d.way.src)
			d.putLocked()
			return got, from, nil
		}
		c.cond.Wait()
	}
}

// WriteToUDPAddrPort sends b. It never waits. That it returns no error says
// that b left the host, not that it arrives.
func (c *UDPConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n := c.host.net
	n.mu.Lock()
	if c.closed {
		n.mu.Unlock()
		return 0, c.fail("write", net.ErrClosed)
	}
	if len(b) > MaxDatagram {
		n.mu.Unlock()
		return 0, c.fail("write", os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	w, err := n.wayLocked(c.host, c.port, unmap(to), datagrams{})
	if err != nil {
		n.mu.Unlock()
		return 0, c.fail("write", os.NewSyscallError("sendto", err))
	}
	n.stats.Sent++
	d := n.getLocked()
	if d == nil {
		n.stats.Overflown++
		n.mu.Unlock()
		return len(b), nil
	}
	d.way = w
	d.length = copy(d.buf[:], b)
	if tap := n.tap; tap != nil {
		n.mu.Unlock()
		n.tapping.Lock()
		out := tap(w.src, w.dst, d.buf[:d.length])
		keep := out != nil && len(out) <= MaxDatagram
		if keep {
			d.length = copy(d.buf[:], out)
		}
		n.tapping.Unlock()
		n.mu.Lock()
		if !keep {
			d.endLocked(&n.stats.Dropped)
			n.mu.Unlock()
			return len(b), nil
		}
	}
	d.launchLocked()
	n.mu.Unlock()
	return len(b), nil
}

// ReadFrom is ReadFromUDPAddrPort for net.PacketConn. It allocates the address.
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	got, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return got, nil, err
	}
	return got, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo is WriteToUDPAddrPort for net.PacketConn. The address is a *net.UDPAddr.
func (c *UDPConn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.fail("write", syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, a.AddrPort())
}

// LocalAddr is the host's first address, as a *net.UDPAddr, and the port.
func (c *UDPConn) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(c.host.AddrPort(c.port))
}

// SetDeadline sets the deadline of reading. Writing needs none.
func (c *UDPConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline is the one of net.PacketConn.
func (c *UDPConn) SetReadDeadline(t time.Time) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	c.read.setLocked(t)
	return nil
}

// SetWriteDeadline does nothing: no write waits.
func (c *UDPConn) SetWriteDeadline(time.Time) error { return nil }

// Close closes the socket and wakes its readers. A second Close is an error, as
// with sockets.
func (c *UDPConn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closeLocked()
	return nil
}

func (c *UDPConn) closeLocked() {
	c.closed = true
	delete(c.host.udp, c.port)
	for ; c.count > 0; c.count-- {
		c.queue[c.first].putLocked()
		c.queue[c.first] = nil
		c.first = (c.first + 1) % queueLength
	}
	c.cond.Broadcast()
}

func (c *UDPConn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Err: err}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
