package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// synTries, and the wait that doubles from synWait on, are what Linux does
	// when nobody answers (tcp_syn_retries 6): it gives up after 127 s.
	synTries = 7
	synWait  = time.Second

	// backlog is how many streams wait to be accepted. More are reset.
	backlog = 128
)

// Dial opens a stream to an address, as net.Dialer does. It takes a round trip.
// Nobody has the address: EHOSTUNREACH, after a round trip over the default
// link. Nobody listens: ECONNREFUSED, after a round trip. Nobody answers (a cut
// link, a NAT): ETIMEDOUT after 127 s. The host has no address of that family:
// ENETUNREACH, at once. The host is killed meanwhile: net.ErrClosed. The context
// ends first: its error. All of them in a *net.OpError.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	h.net.mu.Lock()
	gone := h.gone
	h.net.mu.Unlock()
	wait := synWait
	for range synTries {
		c, err := h.try(ctx, gone, unmap(to))
		if err == nil {
			return c, nil
		}
		if errors.Is(err, errSilence) {
			err = h.wait(ctx, gone, wait)
			wait *= 2
		}
		if err != nil {
			return nil, dialError(to, err)
		}
	}
	return nil, dialError(to, os.NewSyscallError("connect", syscall.ETIMEDOUT))
}

func dialError(to netip.AddrPort, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

// errSilence says that a try got no answer, so that another is worth it.
var errSilence = errors.New("no answer")

// try sends one SYN and waits for what comes back.
func (h *Host) try(ctx context.Context, gone chan struct{}, to netip.AddrPort) (*Conn, error) {
	there, err := h.syn(to)
	if errors.Is(err, syscall.EHOSTUNREACH) { // says a router that is as far away as the host would be
		if ended := h.wait(ctx, gone, 2*there); ended != nil {
			return nil, ended
		}
	}
	if err != nil {
		return nil, err
	}
	if err := h.wait(ctx, gone, there); err != nil {
		return nil, err
	}
	back, err := h.synReceived(to)
	if back < 0 {
		return nil, err
	}
	if ended := h.wait(ctx, gone, back); ended != nil {
		return nil, ended
	}
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	select {
	case <-gone:
		return nil, net.ErrClosed
	default:
	}
	return h.establishLocked(to)
}

// syn says how long a SYN travels.
func (h *Host) syn(to netip.AddrPort) (time.Duration, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return 0, net.ErrClosed
	}
	target, _, err := h.aimLocked(to)
	if err != nil {
		return n.base.Delay + h.link.Delay, err
	}
	p := n.pathLocked(h, target)
	l := n.linkLocked(h, target, p)
	if !n.openLocked(h, target) || p.happens(l.Loss) {
		return 0, errSilence
	}
	return p.delay(l), nil
}

// synReceived says how long the answer travels, and what it says. A negative
// time is no answer.
func (h *Host) synReceived(to netip.AddrPort) (time.Duration, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	target, w, err := h.aimLocked(to)
	if err != nil || !n.openLocked(target, h) {
		return -1, errSilence
	}
	p := n.pathLocked(target, h)
	l := n.linkLocked(target, h, p)
	if p.happens(l.Loss) {
		return -1, errSilence
	}
	if target.listeners[w.dst.Port()] == nil {
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	return p.delay(l), err
}

// establishLocked makes the stream. The far end accepts it when the last of the
// three segments of a handshake has arrived.
func (h *Host) establishLocked(to netip.AddrPort) (*Conn, error) {
	n := h.net
	target, w, err := h.aimLocked(to)
	if err != nil || !n.openLocked(h, target) {
		return nil, errSilence
	}
	l := target.listeners[to.Port()]
	if l == nil {
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	port, err := h.portLocked(0, func(p uint16) bool {
		return h.listeners[p] != nil || slices.ContainsFunc(h.conns, func(c *Conn) bool { return c.local.Port() == p })
	})
	if err != nil {
		return nil, err
	}
	src, err := h.sourceLocked(to.Addr())
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	inner := netip.AddrPortFrom(src, port)
	if w.realm == h.realm {
		w.src = inner
	}
	client, server := connectLocked(w, inner, target, to)
	now := time.Now()
	due := now.Add(client.out.delayLocked())
	a := &arrival{l, server}
	if due.After(now) {
		n.atLocked(due, a)
	} else {
		a.fireLocked(now)
	}
	return client, nil
}

// aimLocked finds the host that a stream to an address goes to. A NAT box
// answers nobody.
func (h *Host) aimLocked(to netip.AddrPort) (*Host, way, error) {
	w, err := h.net.wayLocked(h, 0, to, streams{})
	if err != nil {
		return nil, way{}, os.NewSyscallError("connect", err)
	}
	target, _ := h.net.targetLocked(w, streams{})
	if target != nil {
		return target, w, nil
	}
	if w.realm.nats[to.Addr()] != nil {
		return nil, way{}, errSilence
	}
	return nil, way{}, os.NewSyscallError("connect", syscall.EHOSTUNREACH)
}

// wait returns nil after d.
func (h *Host) wait(ctx context.Context, gone chan struct{}, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-gone:
		return net.ErrClosed
	}
}

// A Listener accepts streams to one port of a host.
type Listener struct {
	host *Host
	port uint16

	// Guarded by net.mu.
	cond   *sync.Cond
	closed bool
	queue  []*Conn // at most backlog
}

var _ net.Listener = (*Listener)(nil)

// Listen accepts streams on all addresses of the host. Port 0 is any free one.
func (h *Host) Listen(port uint16) (*Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port, err := h.portLocked(port, func(p uint16) bool { return h.listeners[p] != nil })
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l := &Listener{host: h, port: port, cond: sync.NewCond(&h.net.mu)}
	h.listeners[port] = l
	return l, nil
}

// An arrival is the end of a handshake at the side that listens.
type arrival struct {
	l *Listener
	c *Conn
}

func (a *arrival) fireLocked(time.Time) {
	if a.c.closed {
		return
	}
	if a.l.closed || len(a.l.queue) == backlog {
		a.c.resetLocked()
		return
	}
	a.l.queue = append(a.l.queue, a.c)
	a.l.cond.Signal()
}

// Accept waits for a stream; the net.Conn is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}
	}
	c := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	return c, nil
}

// Addr is the host's first address, as a *net.TCPAddr, and the port.
func (l *Listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(l.host.AddrPort(l.port))
}

// Close wakes who waits in Accept and resets the streams that nobody accepted.
// A second Close is an error, as with sockets.
func (l *Listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Err: net.ErrClosed}
	}
	l.closeLocked()
	return nil
}

func (l *Listener) closeLocked() {
	l.closed = true
	delete(l.host.listeners, l.port)
	for _, c := range l.queue {
		c.resetLocked()
	}
	l.queue = nil
	l.cond.Broadcast()
}
