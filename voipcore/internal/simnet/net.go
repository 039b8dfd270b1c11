package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Net is one network. All methods of it and of what it hands out may be
// called from any goroutine. It runs one goroutine of its own, until Close.
type Net struct {
	seed uint64

	wake  chan struct{} // size 1: "look at the agenda again", more than one says no more
	done  chan struct{} // closed by Close
	ended chan struct{} // closed by run

	// tapping keeps interceptors from running twice at a time. It is taken
	// before mu, never after.
	tapping sync.Mutex

	// mu guards all that follows and the state of every host, socket and
	// stream of this network.
	mu      sync.Mutex
	closed  bool
	agenda  agenda
	outside realm
	hosts   []*Host
	base    Link // of pairs that have none of their own
	paths   map[pair]*path
	stalled []*flow // streams that wait for their way to open
	pool    pool
	stats   Stats
	tap     func(from, to netip.AddrPort, b []byte) []byte
	strTap  func(from, to netip.AddrPort, b []byte) []byte
}

// Stats count what became of the datagrams of a network. Every datagram sent,
// and every duplicate, ends in exactly one of the counters below Duplicated.
type Stats struct {
	Sent       uint64 // by WriteTo and Inject
	Duplicated uint64 // copies made by a link

	Delivered uint64 // put into a socket's queue
	Lost      uint64 // by a link's Loss
	Dropped   uint64 // by an interceptor
	Vanished  uint64 // cut link, blocked UDP, nobody at that address or port, refused by a NAT
	Overflown uint64 // a socket's queue or the network's pool was full
}

// New makes a network without hosts and starts its goroutine.
func New(seed uint64) *Net {
	n := &Net{
		seed:  seed,
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		ended: make(chan struct{}),
		paths: make(map[pair]*path),
	}
	n.outside.net = n
	go n.run()
	return n
}

// Seed is what New was given. Tests print it when they fail.
func (n *Net) Seed() uint64 { return n.seed }

// Stats returns the counters as they are now.
func (n *Net) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Close closes every socket of every host, wakes who is blocked in one, and
// waits for the network's goroutine. The error is always nil. It is safe twice.
func (n *Net) Close() error {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		for _, h := range n.hosts {
			h.closeAllLocked()
		}
		close(n.done)
	}
	n.mu.Unlock()
	<-n.ended
	return nil
}

// Host adds a host with these addresses, of which the first of each family is
// what it sends from. It panics if an address is not valid or already taken.
func (n *Net) Host(addrs ...netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addHostLocked(&n.outside, addrs)
}

func (n *Net) addHostLocked(r *realm, addrs []netip.Addr) *Host {
	h := &Host{
		net:       n,
		realm:     r,
		number:    len(n.hosts),
		udp:       make(map[uint16]*UDPConn),
		listeners: make(map[uint16]*Listener),
		ephemeral: firstEphemeral,
		gone:      make(chan struct{}),
	}
	h.setAddrsLocked(addrs)
	n.hosts = append(n.hosts, h)
	return h
}

// A realm is a space of addresses: the outside, or what is behind one NAT.
type realm struct {
	net   *Net
	nat   *NAT // nil outside
	hosts map[netip.Addr]*Host
	nats  map[netip.Addr]*NAT // outside only
}

func (r *realm) takenLocked(a netip.Addr) bool {
	return r.hosts[a] != nil || r.nats[a] != nil
}

// checkLocked returns the addresses as they are kept, and panics if one cannot
// be given: that is a mistake in the test.
func (r *realm) checkLocked(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		panic("simnet: a host needs an address")
	}
	out := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		a = a.Unmap()
		if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.Zone() != "" {
			panic(fmt.Sprintf("simnet: %v cannot be a host's address", a))
		}
		if r.takenLocked(a) || slices.Contains(out, a) {
			panic(fmt.Sprintf("simnet: address %v is taken", a))
		}
		out = append(out, a)
	}
	return out
}

// Intercept has f see every datagram on its way, after the sender's NAT and
// before chance strikes. What f returns travels on in its place: b itself,
// altered or not, or other bytes (which are copied), or nil to drop it. f runs
// on the sender's goroutine, one call at a time; it may call Inject, but must not
// write to a socket of this network. It must not keep b. A nil f ends it.
func (n *Net) Intercept(f func(from, to netip.AddrPort, b []byte) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = f
}

// InterceptStreams is the same for streams: f sees the bytes of one Write, or a
// part of them, and what it returns is what the other end reads; nil takes those
// bytes out of the stream.
func (n *Net) InterceptStreams(f func(from, to netip.AddrPort, b []byte) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.strTap = f
}

// A Link is what happens between two hosts, in one direction. The zero value is
// perfect: what is sent is there.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // up to so much more, evenly spread; datagrams overtake each other then

	// Loss, Duplicate and Reorder are shares of the datagrams, from 0 to 1. A
	// duplicate has a delay of its own. A reordered one is held back by HoldBack
	// (0 is 30 ms). Of these only Loss means anything to a stream: the segment
	// comes a retransmission later, and what follows waits for it.
	Loss, Duplicate, Reorder float64
	HoldBack                 time.Duration
}

// defaultHoldBack lets one frame of 20 ms overtake the one that is held back.
const defaultHoldBack = 30 * time.Millisecond

// and returns what two links are one behind the other.
func (l Link) and(m Link) Link {
	return Link{
		Delay:     l.Delay + m.Delay,
		Jitter:    l.Jitter + m.Jitter,
		Loss:      1 - (1-l.Loss)*(1-m.Loss),
		Duplicate: 1 - (1-l.Duplicate)*(1-m.Duplicate),
		Reorder:   1 - (1-l.Reorder)*(1-m.Reorder),
		HoldBack:  max(l.HoldBack, m.HoldBack),
	}
}

// SetDefault sets the link of every pair of hosts that has none of its own.
func (n *Net) SetDefault(l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.base = l
}

// SetLink sets the link between two hosts, in both directions.
func (n *Net) SetLink(a, b *Host, l Link) {
	n.SetPath(a, b, l)
	n.SetPath(b, a, l)
}

// SetPath sets the link from one host to another, in that direction only.
func (n *Net) SetPath(from, to *Host, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pathLocked(from, to)
	p.link, p.own = l, true
}

// Cut cuts the link between two hosts: datagrams vanish, also those that are
// under way, and streams stall.
func (n *Net) Cut(a, b *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pathLocked(a, b).cut = true
	n.pathLocked(b, a).cut = true
}

// Heal undoes Cut. What streams had under way comes now, a delay later.
func (n *Net) Heal(a, b *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pathLocked(a, b).cut = false
	n.pathLocked(b, a).cut = false
	n.resumeLocked()
}

// resumeLocked gives every stalled stream another try.
func (n *Net) resumeLocked() {
	flows := n.stalled
	n.stalled = nil
	for _, f := range flows {
		f.resumeLocked()
	}
}

type pair struct{ from, to *Host }

// A path is one direction between two hosts.
type path struct {
	link   Link
	own    bool // link was set for this pair
	cut    bool
	chance *rand.Rand
}

func (n *Net) pathLocked(from, to *Host) *path {
	k := pair{from, to}
	p := n.paths[k]
	if p == nil {
		p = &path{chance: rand.New(rand.NewPCG(n.seed, uint64(from.number)<<32|uint64(to.number)))}
		n.paths[k] = p
	}
	return p
}

// openLocked reports whether anything passes from one host to the other.
func (n *Net) openLocked(from, to *Host) bool {
	return from == to || !from.cut && !to.cut && !n.pathLocked(from, to).cut
}

// linkLocked is the whole way between two hosts: their own links at both ends
// of the one between them.
func (n *Net) linkLocked(from, to *Host, p *path) Link {
	if from == to {
		return Link{}
	}
	l := n.base
	if p.own {
		l = p.link
	}
	return l.and(from.link).and(to.link)
}

func (p *path) happens(share float64) bool {
	return share > 0 && p.chance.Float64() < share
}

func (p *path) delay(l Link) time.Duration {
	d := l.Delay
	if l.Jitter > 0 {
		d += time.Duration(p.chance.Int64N(int64(l.Jitter)))
	}
	return d
}
