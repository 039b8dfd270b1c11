package dht

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Config says what a node is made of. Conn must be set.
type Config struct {
	// Conn is the socket, owned by the node from Open on: a *net.UDPConn, an
	// *Inbox, or anything whose addresses are *net.UDPAddr. Its local address
	// decides the network: IPv4, IPv6, or for "::" both of them side by side.
	Conn net.PacketConn

	// ReadOnly makes a client: it asks others, is in nobody's table, stores
	// nothing and answers nothing.
	ReadOnly bool

	// Bootstrap are nodes to ask first. The first node of a swarm has none.
	Bootstrap []netip.AddrPort

	// StateFile keeps the table of nodes for the next start; empty for none.
	StateFile string

	// MaxItems bounds what is stored for others, 1.5 kB each at the most; 0
	// means 2000. Expire is how long an item is kept; 0 means two hours.
	MaxItems int
	Expire   time.Duration

	// TestNetwork allows addresses that are not globally routable, and counts
	// every address with its port for a source of its own.
	TestNetwork bool

	// Now is the clock by which items expire. Only differences of its times
	// count, and it should not jump; nil means time.Now.
	Now func() time.Time

	// Log hears of trouble with the socket or the file; nil for silence. It
	// is never told an address.
	Log *slog.Logger
}

// A Node is our place in the network. Its methods are safe for concurrent use.
//
// It owns these goroutines, which end before Close returns: one that reads the
// socket, one that keeps store and file, and for each network (IPv4, IPv6) one
// that greets, one that keeps us connected and the library's maintainer. The
// library has one more, which ends when Close has closed what it reads from.
type Node struct {
	cfg      Config
	log      *slog.Logger
	overlays []*overlay // one or two; constant
	store    *store
	limit    *limiter // owned by read
	places   chan struct{}
	ready    chan struct{}

	readyOnce sync.Once // closes ready

	ctx     context.Context // ended by Close
	cancel  context.CancelFunc
	opening sync.Mutex // orders begin's wg.Add before Close's wg.Wait
	wg      sync.WaitGroup

	counts    counts
	readErr   error // why read ended; ours to read after wg.Wait
	closeOnce sync.Once
	closeErr  error
}

type counts struct{ queries, replies, garbage, refused, readErrors atomic.Uint64 }

// Open starts a node. It returns at once; Ready tells when the node has found
// its way into the network. A state file that cannot be read is reported to the
// log and not used: it is only a list of addresses.
func Open(cfg Config) (*Node, error) {
	if cfg.Conn == nil {
		return nil, errors.New("dht: open: no socket")
	}
	if cfg.MaxItems <= 0 {
		cfg.MaxItems = 2000
	}
	if cfg.Expire <= 0 {
		cfg.Expire = 2 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	families, err := familiesOf(cfg.Conn.LocalAddr())
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg:    cfg,
		log:    cfg.Log,
		limit:  newLimiter(cfg.TestNetwork),
		places: make(chan struct{}, maxOperations), // one element for each under way
		ready:  make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	var old saved
	if cfg.StateFile != "" {
		if old, err = loadNodes(cfg.StateFile); err != nil {
			n.log.Warn("the DHT's list of nodes cannot be used; going on without", "err", err)
		}
	}
	if cfg.ReadOnly { // nobody has us in a table: a fresh id tells less
		old.self4, old.self6 = [20]byte{}, [20]byte{}
	}
	for _, v6 := range families {
		o, err := n.newOverlay(v6, old)
		if err != nil {
			n.cancel()
			for _, o := range n.overlays {
				o.close()
			}
			return nil, fmt.Errorf("dht: open: %w", err)
		}
		n.overlays = append(n.overlays, o)
	}
	n.store = n.overlays[0].store
	for _, o := range n.overlays {
		n.wg.Go(o.greet)
		n.wg.Go(o.maintain)
	}
	n.wg.Go(n.read)
	n.wg.Go(n.maintain)
	return n, nil
}

// familiesOf returns the networks of a socket: v6 or not.
func familiesOf(local net.Addr) ([]bool, error) {
	udp, ok := local.(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("dht: open: not a UDP socket but %T", local)
	}
	switch a := udp.AddrPort().Addr(); {
	case a.Unmap().Is4():
		return []bool{false}, nil
	case a.IsUnspecified(), !a.IsValid():
		return []bool{false, true}, nil
	}
	return []bool{true}, nil
}

// Ready is closed when the node has talked to the network, or has nobody to ask.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Close saves the table and stops the node, and waits until it has stopped; what
// is under way fails with ErrClosed. It returns what went wrong in saving and
// reading. A second Close returns the same.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		n.opening.Lock()
		saveErr := n.save()
		n.cancel()
		n.opening.Unlock()
		for _, o := range n.overlays {
			o.close()
		}
		err := n.cfg.Conn.Close() // wakes read
		n.wg.Wait()
		n.closeErr = errors.Join(saveErr, n.readErr, err)
	})
	return n.closeErr
}

// A udpConn is what *net.UDPConn and *Inbox can do without allocating.
type udpConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// read hands packets to the overlays. It ends when the socket is closed.
func (n *Node) read() {
	var buf [maxPacket + 1]byte
	for {
		size, from, err := n.readPacket(buf[:])
		switch {
		case n.ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			n.readErr = errors.New("dht: the socket was closed by somebody else")
			n.log.Error("the DHT's socket was closed")
			return
		case err != nil:
			if n.counts.readErrors.Add(1) == 1 {
				n.log.Warn("the DHT cannot read its socket; trying on", "err", err)
			}
			select {
			case <-n.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		n.handle(buf[:size], from)
	}
}

func (n *Node) readPacket(b []byte) (int, netip.AddrPort, error) {
	if c, ok := n.cfg.Conn.(udpConn); ok {
		size, from, err := c.ReadFromUDPAddrPort(b)
		return size, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
	}
	size, addr, err := n.cfg.Conn.ReadFrom(b)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, netip.AddrPort{}, fmt.Errorf("dht: a packet from a %T", addr)
	}
	from := udp.AddrPort()
	return size, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
}

// handle passes a packet on if the library may see it. It must not keep packet.
func (n *Node) handle(packet []byte, from netip.AddrPort) {
	switch parse(packet) {
	case garbage:
		n.counts.garbage.Add(1)
		return
	case query:
		if n.cfg.ReadOnly || !n.limit.allow(from) {
			n.counts.refused.Add(1)
			return
		}
		n.counts.queries.Add(1)
	default:
		n.counts.replies.Add(1)
	}
	for _, o := range n.overlays {
		if speaksTo(from.Addr(), o.v6, n.cfg.TestNetwork) && from.Port() != 0 {
			o.inbox.Deliver(packet, from)
			return
		}
	}
	n.counts.refused.Add(1)
}

// write sends for the overlays.
func (n *Node) write(packet []byte, to netip.AddrPort) (int, error) {
	if c, ok := n.cfg.Conn.(udpConn); ok {
		return c.WriteToUDPAddrPort(packet, to)
	}
	return n.cfg.Conn.WriteTo(packet, net.UDPAddrFromAddrPort(to))
}

// Stats are figures for a person to look at.
type Stats struct {
	Ready bool
	Good  int // nodes that answered within the last quarter of an hour
	Nodes int // nodes in the table
	Items int // kept for others

	Queries, Replies uint64 // packets taken
	Garbage          uint64 // packets that are no message for us
	Refused          uint64 // queries over the limit, to a client, or from where none may come
	Dropped          uint64 // packets for which there was no room
	ReadErrors       uint64
}

// Stats returns the present figures.
func (n *Node) Stats() Stats {
	s := Stats{
		Items:      n.store.sweep(),
		Queries:    n.counts.queries.Load(),
		Replies:    n.counts.replies.Load(),
		Garbage:    n.counts.garbage.Load(),
		Refused:    n.counts.refused.Load(),
		ReadErrors: n.counts.readErrors.Load(),
	}
	select {
	case <-n.ready:
		s.Ready = true
	default:
	}
	for _, o := range n.overlays {
		of := o.server.Stats()
		s.Good += of.GoodNodes
		s.Nodes += of.Nodes
		s.Dropped += o.inbox.Dropped()
	}
	return s
}

// Table returns the nodes in the table, without those known to be dead.
func (n *Node) Table() []Hop {
	var all []Hop
	for _, o := range n.overlays {
		all = append(all, o.table()...)
	}
	return all
}
