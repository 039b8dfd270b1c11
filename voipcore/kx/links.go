package kx

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// A linkTable knows all links of a node.
type linkTable struct {
	mu       sync.RWMutex // guards what follows
	closed   bool
	all      map[*link]bool
	byUDP    map[uint32]*link
	byKey    map[linkKey]*link     // to share
	dials    map[dialKey]*linkDial // under way
	perHost  map[netip.Addr]int
	accepted int // links accepted or in their handshake
	dialed   int // links dialled for clients of ours, or on their way
}

// A linkKey names a link that can be shared. own links carry this node's own
// tunnels and are anonymous; the others are those of a relay for its clients. Anybody
// can have a relay dial another one where it is not, or where somebody sits between
// who passes all on, so a link serves those alone who want that host.
type linkKey struct {
	relay pid.ID
	host  netip.Addr // of the first address dialled, or where the relay dialled us from
	own   bool
}

// A dialKey names a dial that can be waited for.
type dialKey struct {
	linkKey
	port uint16
}

// A linkDial is the dial of a link: done is closed when l or err is set.
type linkDial struct {
	done   chan struct{}
	l      *link
	err    error
	gaveUp bool // err is only that the dialler's own context ended
}

func (t *linkTable) init() {
	t.all = map[*link]bool{}
	t.byUDP = map[uint32]*link{}
	t.byKey = map[linkKey]*link{}
	t.dials = map[dialKey]*linkDial{}
	t.perHost = map[netip.Addr]int{}
}

// admit counts a link of a host, unless it has max already.
func (t *linkTable) admit(host netip.Addr, max int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !host.IsValid() {
		return true
	}
	if t.perHost[host] >= max {
		return false
	}
	t.perHost[host]++
	return true
}

// leave undoes an admit.
func (t *linkTable) leave(host netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.perHost[host]--; t.perHost[host] <= 0 {
		delete(t.perHost, host)
	}
}

// reserve takes one of max places; count is accepted or dialed.
func (t *linkTable) reserve(count *int, max int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || *count >= max {
		return false
	}
	*count++
	return true
}

func (t *linkTable) release(count *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*count--
}

// has reports whether there is a link to share.
func (t *linkTable) has(k linkKey) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byKey[k] != nil
}

// add enters l under a fresh random UDP link id, and calls start unless the
// node is closed: so Close finds all of l's goroutines.
func (t *linkTable) add(l *link, start func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	for {
		var b [4]byte
		rand.Read(b[:])
		id := binary.BigEndian.Uint32(b[:])
		if id == 0 || b[0] == wire.FirstByteKRPC || t.byUDP[id] != nil { // 0 is "not told yet"
			continue
		}
		l.udp.rxID = id
		t.byUDP[id], t.all[l] = l, true
		start()
		return true
	}
}

func (t *linkTable) remove(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, l)
	if t.byUDP[l.udp.rxID] == l {
		delete(t.byUDP, l.udp.rxID)
	}
	t.unshareLocked(l)
}

// unshare has nobody find l any more; its tunnels stay.
func (t *linkTable) unshare(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unshareLocked(l)
}

func (t *linkTable) unshareLocked(l *link) {
	for k, shared := range t.byKey {
		if shared == l {
			delete(t.byKey, k)
		}
	}
}

func (t *linkTable) udp(id uint32) *link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byUDP[id]
}

// list returns all links.
func (t *linkTable) list() []*link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	ls := make([]*link, 0, len(t.all))
	for l := range t.all {
		ls = append(ls, l)
	}
	return ls
}

// offer lets EXTENDs towards the relay that dialled us use its link: the newest
// one, for a relay that starts again dials anew while the link from before is
// not known to be dead.
func (t *linkTable) offer(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byKey[linkKey{relay: l.peer, host: l.remote.Addr().Unmap()}] = l
}

// close refuses further links and returns those that are there.
func (t *linkTable) close() []*link {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	return t.list()
}

// linkTo returns a link to the relay, dialling one of addrs, of which there is one at
// least, unless there is a link to share. A zero key is whoever answers there.
func (n *Node) linkTo(ctx context.Context, relay pid.ID, addrs []netip.AddrPort, own bool) (*link, error) {
	if relay == (pid.ID{}) {
		return n.dialLink(ctx, relay, addrs, own)
	}
	k := dialKey{linkKey{relay, addrs[0].Addr(), own}, addrs[0].Port()}
	var d *linkDial
	for {
		n.links.mu.Lock()
		if l := n.links.byKey[k.linkKey]; l != nil {
			n.links.mu.Unlock()
			return l, nil
		}
		there := n.links.dials[k]
		if there == nil {
			d = &linkDial{done: make(chan struct{})}
			n.links.dials[k] = d
			n.links.mu.Unlock()
			break
		}
		n.links.mu.Unlock()
		select {
		case <-there.done:
			if !there.gaveUp {
				return there.l, there.err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %v", ErrUnreachable, ctx.Err())
		}
	}
	l, err := n.dialLink(ctx, relay, addrs, own)
	n.links.mu.Lock()
	d.l, d.err, d.gaveUp = l, err, err != nil && ctx.Err() != nil
	delete(n.links.dials, k)
	if err == nil && n.links.all[l] { // not closed already
		n.links.byKey[k.linkKey] = l
	}
	n.links.mu.Unlock()
	close(d.done)
	return l, err
}

// dialLink dials one address after the other.
func (n *Node) dialLink(ctx context.Context, relay pid.ID, addrs []netip.AddrPort, own bool) (*link, error) {
	err := fmt.Errorf("%w: no address", ErrUnreachable)
	for _, a := range addrs {
		var l *link
		if l, err = n.dialOne(ctx, relay, a, own); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func (n *Node) dialOne(ctx context.Context, relay pid.ID, a netip.AddrPort, own bool) (_ *link, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)() // Close does not wait for a dial
	lent := !own && n.relay()
	if lent {
		if !n.placeForDial() {
			return nil, ErrFull
		}
		defer func() {
			if err != nil {
				n.links.release(&n.links.dialed)
			}
		}()
	}
	raw, err := n.cfg.Dial(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	far := &relay
	if relay == (pid.ID{}) {
		far = nil
	}
	var show *tls.Certificate
	if lent {
		show = &n.cert // so that the other side can use the link too
	}
	conn := tls.Client(raw, keytls.Client(alpnLink, far, show))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	l := n.newLink(conn, true, a)
	l.lent, l.single = lent, relay == (pid.ID{})
	if !n.startLink(l) {
		raw.Close()
		return nil, ErrClosed
	}
	return l, nil
}

// Leave closes the links whose own address, without a zone, is gone, and with them
// their tunnels. It does not wait. Safe for concurrent use.
func (n *Node) Leave(gone func(netip.Addr) bool) {
	for _, l := range n.links.list() {
		a, err := netip.ParseAddrPort(l.conn.LocalAddr().String())
		if err == nil && gone(a.Addr().Unmap().WithZone("")) {
			l.close(errors.New("our address is gone"))
		}
	}
}

// placeForDial takes a place for a link that is dialled for a client, if need
// be that of a link that nobody uses.
func (n *Node) placeForDial() bool {
	if n.links.reserve(&n.links.dialed, n.limits.Links) {
		return true
	}
	for _, l := range n.links.list() {
		l.mu.Lock()
		unused := l.lent && len(l.streams) == 0 && l.nextID > 1
		l.mu.Unlock()
		if unused {
			l.close(errors.New("its place is needed"))
			return n.links.reserve(&n.links.dialed, n.limits.Links)
		}
	}
	return false
}

// handshakeBytes is what a link's handshake may take: ours take 3 kB. crypto/tls would
// keep 256 kB of a certificate that never ends, for anybody who connects.
const handshakeBytes = 16 << 10

// A firstBytes is a connection that has only so many bytes to be read; less than 0 is
// without bound. It is changed by who reads.
type firstBytes struct {
	net.Conn
	left int
}

func (c *firstBytes) Read(p []byte) (int, error) {
	switch {
	case c.left < 0:
		return c.Conn.Read(p)
	case c.left == 0:
		return 0, errors.New("kx: a handshake without end")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// serveLink answers a link and returns when it is closed.
func (n *Node) serveLink(raw net.Conn) {
	defer n.links.release(&n.links.accepted)
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
	defer cancel()
	first := &firstBytes{raw, handshakeBytes}
	conn := tls.Server(first, keytls.Server(alpnLink, n.cert, tls.RequestClientCert))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return
	}
	first.left = -1
	remote, _ := netip.ParseAddrPort(raw.RemoteAddr().String())
	l := n.newLink(conn, false, remote)
	if l.peer != (pid.ID{}) {
		n.links.offer(l)
	}
	if !n.startLink(l) {
		raw.Close()
		return
	}
	<-l.done
}

// openTunnel opens a tunnel on a link to the relay.
func (n *Node) openTunnel(ctx context.Context, relay pid.ID, addrs []netip.AddrPort, own bool) (*stream, error) {
	for {
		l, err := n.linkTo(ctx, relay, addrs, own)
		if err != nil {
			return nil, err
		}
		s, err := l.open(own)
		if !errors.Is(err, errLinkClosed) {
			return s, err
		}
		// It closed between the two calls, or all its tunnel ids are used up:
		// dial anew.
		n.links.unshare(l)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %v", ErrUnreachable, ctx.Err())
		}
	}
}
