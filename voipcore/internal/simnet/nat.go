package simnet

import (
	"net/netip"
	"syscall"
	"time"
)

// MappingTimeout is how long a NAT remembers a datagram's mapping without
// traffic: what Linux does (nf_conntrack_udp_timeout, 30 s).
const MappingTimeout = 30 * time.Second

// A NAT is a box with addresses on the outside and hosts behind it. Datagrams
// from inside get one of its addresses and a port that stays the same for a
// socket whomever it writes to, until it has been silent for MappingTimeout.
// Only addresses and ports that the socket has written to within that time may
// answer. After a pause the port is another one, which is harsher than most
// boxes are. Streams can only be opened from inside; nobody answers from outside.
type NAT struct {
	net    *Net
	inside realm

	// Guarded by net.mu.
	addrs   []netip.Addr
	life    int // counts Flush
	port    uint16
	byInner map[netip.AddrPort]*mapping
	byOuter map[netip.AddrPort]*mapping
}

// A mapping is one socket inside, as it is seen outside.
type mapping struct {
	host         *Host
	inner, outer netip.AddrPort
	last         time.Time
	peers        map[netip.AddrPort]time.Time // whom it wrote to or heard from, and when
}

// NAT adds a box with these addresses outside. It panics like Host.
func (n *Net) NAT(addrs ...netip.Addr) *NAT {
	n.mu.Lock()
	defer n.mu.Unlock()
	nat := &NAT{
		net:     n,
		port:    firstEphemeral + uint16(n.seed%1000),
		byInner: make(map[netip.AddrPort]*mapping),
		byOuter: make(map[netip.AddrPort]*mapping),
	}
	nat.inside.net, nat.inside.nat = n, nat
	nat.setAddrsLocked(addrs)
	return nat
}

// Host adds a host behind the box. Hosts behind different boxes may have the
// same addresses.
func (nat *NAT) Host(addrs ...netip.Addr) *Host {
	nat.net.mu.Lock()
	defer nat.net.mu.Unlock()
	return nat.net.addHostLocked(&nat.inside, addrs)
}

// Addr is the box's first address outside.
func (nat *NAT) Addr() netip.Addr {
	nat.net.mu.Lock()
	defer nat.net.mu.Unlock()
	return nat.addrs[0]
}

// Flush has the box forget everything, as when its power was off: sockets inside
// appear under new ports when they next write, and streams stall for ever.
func (nat *NAT) Flush() {
	nat.net.mu.Lock()
	defer nat.net.mu.Unlock()
	nat.flushLocked()
}

// SetAddrs gives the box other addresses outside, and forgets all mappings. It
// panics like Net.Host.
func (nat *NAT) SetAddrs(addrs ...netip.Addr) {
	nat.net.mu.Lock()
	defer nat.net.mu.Unlock()
	nat.setAddrsLocked(addrs)
	nat.flushLocked()
}

func (nat *NAT) setAddrsLocked(addrs []netip.Addr) {
	out := &nat.net.outside
	for _, a := range nat.addrs {
		delete(out.nats, a)
	}
	nat.addrs = out.checkLocked(addrs)
	if out.nats == nil {
		out.nats = make(map[netip.Addr]*NAT)
	}
	for _, a := range nat.addrs {
		out.nats[a] = nat
	}
}

func (nat *NAT) flushLocked() {
	nat.life++
	clear(nat.byInner)
	clear(nat.byOuter)
}

// freshLocked returns an address of to's family and a port that no mapping has.
func (nat *NAT) freshLocked(to netip.Addr) (netip.AddrPort, error) {
	for _, a := range nat.addrs {
		if a.Is4() != to.Is4() {
			continue
		}
		for range 1 << 16 {
			if nat.port++; nat.port < firstEphemeral {
				nat.port = firstEphemeral
			}
			if p := netip.AddrPortFrom(a, nat.port); nat.byOuter[p] == nil {
				return p, nil
			}
		}
	}
	return netip.AddrPort{}, syscall.ENETUNREACH
}

// datagrams is how datagrams pass a NAT.
type datagrams struct{}

func (datagrams) outLocked(nat *NAT, h *Host, src, dst netip.AddrPort) (netip.AddrPort, error) {
	now := time.Now()
	m := nat.byInner[src]
	if m != nil && (now.Sub(m.last) >= MappingTimeout || m.outer.Addr().Is4() != dst.Addr().Is4() || m.host != h) {
		delete(nat.byInner, m.inner)
		delete(nat.byOuter, m.outer)
		m = nil
	}
	if m == nil {
		outer, err := nat.freshLocked(dst.Addr())
		if err != nil {
			return netip.AddrPort{}, err
		}
		m = &mapping{host: h, inner: src, outer: outer, peers: make(map[netip.AddrPort]time.Time)}
		nat.byInner[src], nat.byOuter[outer] = m, m
	}
	m.last = now
	m.peers[dst] = now
	return m.outer, nil
}

func (datagrams) inLocked(nat *NAT, src, dst netip.AddrPort) (netip.AddrPort, *Host) {
	m := nat.byOuter[dst]
	if m == nil {
		return netip.AddrPort{}, nil
	}
	now := time.Now()
	heard, ok := m.peers[src]
	if !ok || now.Sub(heard) >= MappingTimeout || !m.host.hasLocked(m.inner.Addr()) {
		return netip.AddrPort{}, nil
	}
	m.last = now
	m.peers[src] = now
	return m.inner, m.host
}

// streams is how streams pass a NAT.
type streams struct{}

func (streams) outLocked(nat *NAT, _ *Host, _, dst netip.AddrPort) (netip.AddrPort, error) {
	return nat.freshLocked(dst.Addr())
}

func (streams) inLocked(*NAT, netip.AddrPort, netip.AddrPort) (netip.AddrPort, *Host) {
	return netip.AddrPort{}, nil
}
