package dht

import (
	"hash/maphash"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/torrent/iplist"
)

// special are ranges without hosts of the Internet, beside those that netip
// knows (IANA's registries of special-purpose addresses): an answer must not be
// able to send our packets into somebody's own network.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),   // reserved, and broadcast
	netip.MustParsePrefix("2001::/32"),     // Teredo
	netip.MustParsePrefix("2002::/16"),     // 6to4
}

var globalV6 = netip.MustParsePrefix("2000::/3")

// speaksTo reports whether a node at a is one to exchange packets with. In a
// test network that is every unicast address.
func speaksTo(a netip.Addr, v6, test bool) bool {
	if !a.IsValid() || a.Is4In6() || a.Is6() != v6 || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
		return false
	}
	if test {
		return true
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && (a.Is4() || globalV6.Contains(a))
}

// blocked is speaksTo for the library: a list of the addresses that it must
// neither ask nor believe nor answer.
type blocked struct{ v6, test bool }

// Lookup reports whether ip is to be avoided.
func (b blocked) Lookup(ip net.IP) (iplist.Range, bool) {
	a, _ := netip.AddrFromSlice(ip)
	return iplist.Range{}, !speaksTo(a, b.v6, b.test)
}

// NumRanges is not asked for by the library.
func (b blocked) NumRanges() int { return 1 }

const (
	// Queries of one source: a lookup sends a node two or three, and a node
	// of a swarm keeps up with us by a few a minute. A source may be forged,
	// and what we answer is up to ten times larger: this is what a victim
	// gets from us at the most.
	queriesPerSecond = 20
	queriesAtOnce    = 200
)

// A limiter bounds the queries of each source. It is a fixed table: sources
// share an entry by chance, and 1024 of them cannot be aimed at. Not safe for
// concurrent use.
type limiter struct {
	seed    maphash.Seed
	test    bool // count ports of one address apart
	started time.Time
	entries [1024]struct {
		left float32
		at   time.Duration // since started
	}
}

func newLimiter(test bool) *limiter {
	l := &limiter{seed: maphash.MakeSeed(), test: test, started: time.Now()}
	for i := range l.entries {
		l.entries[i].left = queriesAtOnce
	}
	return l
}

// allow reports whether a query from a is within the limits.
func (l *limiter) allow(a netip.AddrPort) bool {
	if !l.test {
		bits := 32
		if a.Addr().Is6() {
			bits = 64
		}
		network, _ := a.Addr().Prefix(bits)
		a = netip.AddrPortFrom(network.Addr(), 0)
	}
	e := &l.entries[maphash.Comparable(l.seed, a)%uint64(len(l.entries))]
	now := time.Since(l.started)
	e.left = min(queriesAtOnce, e.left+float32((now-e.at).Seconds()*queriesPerSecond))
	e.at = now
	if e.left < 1 {
		return false
	}
	e.left--
	return true
}
