package simnet

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
)

// firstEphemeral is the first port that is given out when none is asked for
// (RFC 6335, section 6).
const firstEphemeral = 49152

// A Host is one machine.
type Host struct {
	net    *Net
	realm  *realm
	number int // in the order of their making

	// Guarded by net.mu.
	addrs     []netip.Addr
	dual      bool // it has IPv6, so its sockets show IPv4 mapped, as dual-stack sockets do
	link      Link
	cut       bool
	noUDP     bool
	gone      chan struct{} // closed by Kill, which puts a new one here
	udp       map[uint16]*UDPConn
	listeners map[uint16]*Listener
	conns     []*Conn
	ephemeral uint16
}

// Addr is the host's first address.
func (h *Host) Addr() netip.Addr {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.addrs[0]
}

// AddrPort is the host's first address with a port.
func (h *Host) AddrPort(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(h.Addr(), port)
}

// SetAddrs gives the host other addresses in place of those that it has.
// Datagram sockets go on and send from the new ones. Streams keep the address
// that they began with and stall while it is not the host's. It panics like
// Net.Host.
func (h *Host) SetAddrs(addrs ...netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.setAddrsLocked(addrs)
	h.net.resumeLocked()
}

func (h *Host) setAddrsLocked(addrs []netip.Addr) {
	old := h.addrs
	for _, a := range old {
		delete(h.realm.hosts, a)
	}
	addrs = h.realm.checkLocked(addrs)
	if h.realm.hosts == nil {
		h.realm.hosts = make(map[netip.Addr]*Host)
	}
	h.addrs, h.dual = addrs, false
	for _, a := range addrs {
		h.realm.hosts[a] = h
		h.dual = h.dual || a.Is6()
	}
}

// SetLink sets the host's own line to the network: it lies on every way to and
// from this host, on top of the link of the two.
func (h *Host) SetLink(l Link) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.link = l
}

// Cut pulls the host's cable (or its power: nothing is heard of it any more):
// datagrams vanish and streams stall until Heal.
func (h *Host) Cut() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.cut = true
}

// Heal undoes Cut.
func (h *Host) Heal() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.cut = false
	h.net.resumeLocked()
}

// BlockUDP has a firewall drop all datagrams to and from the host, or not.
func (h *Host) BlockUDP(on bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.noUDP = on
}

// Kill ends the host's program: all of its sockets are closed, and the far ends
// of its streams are reset. The host stays, and may open sockets anew.
func (h *Host) Kill() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.closeAllLocked()
}

func (h *Host) closeAllLocked() {
	close(h.gone)
	h.gone = make(chan struct{})
	for _, c := range h.udp {
		c.closeLocked()
	}
	for _, l := range h.listeners {
		l.closeLocked()
	}
	for _, c := range slices.Clone(h.conns) {
		c.resetLocked()
	}
}

// sourceLocked is the address that the host sends from to an address.
func (h *Host) sourceLocked(to netip.Addr) (netip.Addr, error) {
	if to.IsLoopback() || slices.Contains(h.addrs, to) {
		return to, nil
	}
	if to.IsValid() && !to.IsUnspecified() && !to.IsMulticast() {
		for _, a := range h.addrs {
			if a.Is4() == to.Is4() {
				return a, nil
			}
		}
	}
	return netip.Addr{}, syscall.ENETUNREACH
}

// hasLocked reports whether an address is this host's.
func (h *Host) hasLocked(a netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(h.addrs, a)
}

// portLocked returns port, or one that is free if port is 0.
func (h *Host) portLocked(port uint16, taken func(uint16) bool) (uint16, error) {
	if h.net.closed {
		return 0, net.ErrClosed
	}
	if port != 0 {
		if taken(port) {
			return 0, os.NewSyscallError("bind", syscall.EADDRINUSE)
		}
		return port, nil
	}
	for range 1<<16 - firstEphemeral {
		p := h.ephemeral
		if h.ephemeral++; h.ephemeral == 0 {
			h.ephemeral = firstEphemeral
		}
		if !taken(p) {
			return p, nil
		}
	}
	return 0, os.NewSyscallError("bind", syscall.EADDRINUSE)
}

// shownLocked is how a socket of this host shows the address of a far end.
func (h *Host) shownLocked(a netip.AddrPort) netip.AddrPort {
	if h.dual && a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

// A way is where a datagram or a stream goes, as the network sees it.
type way struct {
	from     *Host          // nil if it was injected
	realm    *realm         // whose addresses src and dst are
	src, dst netip.AddrPort // after the sender's NAT
}

// wayLocked says how what h sends from its port to an address travels. With a
// NAT between them that makes or refreshes a mapping.
func (n *Net) wayLocked(h *Host, port uint16, to netip.AddrPort, m mapper) (way, error) {
	src, err := h.sourceLocked(to.Addr())
	if err != nil {
		return way{}, err
	}
	w := way{h, h.realm, netip.AddrPortFrom(src, port), to}
	if nat := h.realm.nat; nat != nil && src != to.Addr() && h.realm.hosts[to.Addr()] == nil {
		if w.src, err = m.outLocked(nat, h, w.src, to); err != nil {
			return way{}, err
		}
		w.realm = &n.outside
	}
	return w, nil
}

// A mapper is one protocol's way through a NAT.
type mapper interface {
	outLocked(nat *NAT, h *Host, src, dst netip.AddrPort) (netip.AddrPort, error)
	inLocked(nat *NAT, src, dst netip.AddrPort) (netip.AddrPort, *Host)
}

// targetLocked finds who gets what travels w, and the address that they know
// themselves by. The host is nil if nobody does.
func (n *Net) targetLocked(w way, m mapper) (*Host, netip.AddrPort) {
	a := w.dst.Addr()
	if w.from != nil && w.from.hasLocked(a) {
		return w.from, w.dst
	}
	if h := w.realm.hosts[a]; h != nil {
		return h, w.dst
	}
	if nat := w.realm.nats[a]; nat != nil {
		dst, h := m.inLocked(nat, w.src, w.dst)
		return h, dst
	}
	return nil, netip.AddrPort{}
}
