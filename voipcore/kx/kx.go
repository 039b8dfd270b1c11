// Package kx builds onion tunnels and carries them: links between nodes, the
// client's and the hops' side of a tunnel, exchange points that splice two
// tunnels, and the cache of relays that paths are drawn from. It is the seed's
// KX module; its operations keep the course's names BuildIn, BuildOut, Ready
// and Destroy. voipcore/PROTOCOL.md draws the bytes.
//
// It does not know pids that call each other, records or calls, and it opens no
// socket: the node is handed a listener, a packet socket and a dialler.
//
// How voice and stream go:
//
//	stream  link TLS( cells( hop 1 TLS( hop 2 TLS( hop 3 TLS( ... )))))
//	voice   UDP( link key( layer 1( layer 2( layer 3( end-to-end frame )))))
package kx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// Versions of the protocols of links and hops, as ALPN.
const (
	alpnLink = "hush-link/1"
	alpnHop  = "hush-hop/1"
)

// Errors that callers branch on.
var (
	ErrClosed      = errors.New("kx: node is closed")
	ErrUnreachable = errors.New("kx: relay cannot be reached")
	ErrNotFound    = errors.New("kx: the DHT has no such record")
	ErrStale       = errors.New("kx: the DHT has a newer record")
	ErrNobody      = errors.New("kx: nobody is registered at the exchange point")
	ErrFull        = errors.New("kx: a limit of the relay is reached")
	ErrRefused     = errors.New("kx: refused by the relay")
	ErrFewRelays   = errors.New("kx: too few relays are known")
)

// A PacketConn is what a node uses of *net.UDPConn.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// A DHT is what a relay's node asks of its DHT for the clients of its tunnels.
// Its errors are ErrNotFound and ErrStale, or a failure. Safe for concurrent use.
type DHT interface {
	Put(ctx context.Context, item wire.Item) (stored int, err error)
	Get(ctx context.Context, key [32]byte) (wire.Item, error)
	Trace(ctx context.Context, target [32]byte) ([]wire.TraceHop, error)
}

// A Clock is the protocol's time (voipcore/clock): the node tells it what relays
// tell, and reads it for what it signs. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	Told(by netip.AddrPort, t time.Time)
	Trusted() bool         // enough relays in different networks have told the time
	Asleep() time.Duration // for how long the machine was suspended until now
}

// A Config is what a node is made of. Dial, Packets and Clock must be set.
type Config struct {
	Dial    func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	Packets PacketConn // owned by the node from Open on
	Clock   Clock

	// The rest is for relays. Key is the relay's identity: the certificate of
	// its links and hops. Listener is owned by the node from Open on; Addrs
	// are the addresses that the descriptor names, at most one per family.
	Key      *pid.Key
	Listener net.Listener
	Addrs    []netip.AddrPort
	DHT      DHT
	Limits   Limits

	// TrafficFile keeps what was carried for others this month, if Limits
	// bounds it; "" keeps it in memory.
	TrafficFile string

	// KRPC is called with every UDP packet that starts with 'd', on the
	// reading goroutine: it must not block or keep the packet. Nil drops them.
	KRPC func(packet []byte, from netip.AddrPort)

	// TestNetwork allows addresses that are not globally routable, and takes
	// every address with its port for a network of its own.
	TestNetwork bool

	// Log gets state changes, never keys or addresses above level debug. Nil
	// discards them.
	Log *slog.Logger
}

// A Node is our place in the network: a client of tunnels, and if it has a
// key and a listener also a relay and an exchange point. Its methods are safe
// for concurrent use.
//
// A node owns the goroutines accept, readPackets and keepAlive, two for each
// link and one or two for each tunnel that it serves as a hop. All end before
// Close returns.
type Node struct {
	cfg     Config
	log     *slog.Logger
	limits  Limits
	cells   *cellPool
	links   linkTable
	cert    tls.Certificate // of a relay
	points  points
	tries   budget // EXTENDs that need a new link
	lookups budget // requests to the DHT
	quota   *quota // of what is carried for others; nil if there is none
	Traffic Traffic
	turns   atomic.Uint64 // of readPackets: odd while it is at a packet

	opened time.Time       // its monotonic reading is where the node's own times count from
	ctx    context.Context // done when the node closes
	cancel context.CancelFunc
	wg     sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// Traffic counts what a node carried and dropped. Read it at any time.
type Traffic struct {
	VoiceForwarded atomic.Uint64 // cells passed on as a hop
	VoiceReceived  atomic.Uint64 // cells that ended in a tunnel of ours
	VoiceDropped   atomic.Uint64 // forged, repeated, for unknown tunnels, or over a full queue
	VoiceOverTCP   atomic.Uint64 // cells that took the TCP link because UDP does not pass
	TunnelsRefused atomic.Uint64 // for a limit
	LinksRefused   atomic.Uint64 // for a limit: accepted and closed at once
}

// Open starts a node. On error the sockets are still the caller's.
func Open(cfg Config) (*Node, error) {
	if cfg.Dial == nil || cfg.Packets == nil || cfg.Clock == nil {
		return nil, errors.New("kx: Config needs Dial, Packets and Clock")
	}
	if (cfg.Key == nil) != (cfg.Listener == nil) || cfg.Key != nil && len(cfg.Addrs) == 0 {
		return nil, errors.New("kx: a relay needs Key, Listener and Addrs, a client none of them")
	}
	n := &Node{cfg: cfg, log: cfg.Log, limits: cfg.Limits.WithDefaults(), opened: time.Now()}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.cells = newCellPool(n.limits.Tunnels + ownTunnels)
	n.tries, n.lookups = budget{rate: nodeTries, burst: nodeTryBurst}, budget{rate: nodeLookups, burst: nodeLookupBurst}
	n.links.init()
	n.points.init(n.limits.Registrations)
	if cfg.Key != nil {
		var err error
		if n.quota, err = openQuota(n.limits, cfg.TrafficFile, cfg.Clock.Now(), n.log); err != nil {
			return nil, err
		}
		if n.cert, err = keytls.Certificate(cfg.Key); err != nil {
			return nil, fmt.Errorf("kx: %w", err)
		}
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if cfg.Listener != nil {
		n.wg.Go(n.accept)
	}
	n.wg.Go(n.readPackets)
	asleep := cfg.Clock.Asleep()
	n.wg.Go(func() { n.keepAlive(asleep) })
	return n, nil
}

// Close ends all tunnels and links and waits for the node's goroutines. A
// second Close returns the same.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		n.cancel()
		var errs []error
		if n.cfg.Listener != nil {
			errs = append(errs, n.cfg.Listener.Close())
		}
		errs = append(errs, n.cfg.Packets.Close())
		for _, l := range n.links.close() {
			l.close(ErrClosed)
		}
		n.wg.Wait()
		n.closeErr = errors.Join(append(errs, n.quota.save())...)
	})
	return n.closeErr
}

// since returns the time since the node was opened. Setting the system clock,
// as boards without one do soon after their start, does not change it.
func (n *Node) since() time.Duration { return time.Since(n.opened) }

// relay reports whether n serves tunnels of others.
func (n *Node) relay() bool { return n.cfg.Key != nil }

// handshakeTimeout bounds every TLS handshake that we answer, of links and of hops.
const handshakeTimeout = 10 * time.Second

// dialTimeout bounds the making of a link: three SYNs of TCP, at 0, 1 and 3 s, and
// the handshake. Whoever has lost its power costs a call that much.
const dialTimeout = 5 * time.Second

// accept ends when the listener is closed.
func (n *Node) accept() {
	for {
		c, err := n.cfg.Listener.Accept()
		if errors.Is(err, net.ErrClosed) || n.ctx.Err() != nil {
			return
		}
		if err != nil { // out of descriptors, most likely: others may close soon
			if op := new(net.OpError); errors.As(err, &op) {
				err = op.Err // without our address
			}
			n.log.Warn("cannot accept a link", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-n.ctx.Done():
			}
			continue
		}
		from := n.hostOf(c)
		if !n.links.admit(from, max(1, n.limits.Links/hostShare)) {
			n.Traffic.LinksRefused.Add(1)
			c.Close()
			continue
		}
		if !n.links.reserve(&n.links.accepted, n.limits.Links) {
			n.links.leave(from)
			n.Traffic.LinksRefused.Add(1)
			c.Close()
			continue
		}
		n.wg.Go(func() {
			defer n.links.leave(from)
			n.serveLink(c)
		})
	}
}

// hostOf names who has dialled us, as far as links are counted: an IPv4
// address, or a /64 of IPv6. It is zero, and not counted, in a test network.
func (n *Node) hostOf(c net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil || n.cfg.TestNetwork {
		return netip.Addr{}
	}
	host := a.Addr().Unmap()
	if host.Is6() {
		p, _ := host.WithZone("").Prefix(64)
		return p.Addr()
	}
	return host
}
