package kx

import "net/netip"

// special are the ranges that are not globally routable, as far as netip's own
// methods do not name them (IANA's special-purpose address registries).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relay anycast
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("::/96"),           // unspecified, loopback, v4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: a way to private IPv4
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),      // discard
	netip.MustParsePrefix("2001::/23"),     // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4: a way to private IPv4
	netip.MustParsePrefix("3fff::/20"),     // documentation
	netip.MustParsePrefix("fec0::/10"),     // site-local, once
}

// Routable reports whether a is a globally routable unicast address: where
// EXTEND may go. A v4-mapped address is not, whatever it maps.
func Routable(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is4In6() || a.Zone() != "" {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// allowed reports whether this node may connect to a for somebody else.
func (n *Node) allowed(a netip.AddrPort) bool {
	if a.Port() == 0 || a.Addr().Is4In6() || a.Addr().IsMulticast() || a.Addr().IsUnspecified() {
		return false
	}
	return n.cfg.TestNetwork || Routable(a.Addr())
}

// network returns what two relays of one path must not share: the /16 of an
// IPv4 address, the /32 of an IPv6 one; in a test network address and port.
func network(a netip.AddrPort, test bool) netip.AddrPort {
	if test {
		return a
	}
	bits := 16
	if a.Addr().Is6() {
		bits = 32
	}
	p, err := a.Addr().Prefix(bits)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr(), 0)
}
