package dht

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// inboxSize is how many packets wait in an Inbox: more than a node gets while
// it works on one, and 48 kB of memory.
const inboxSize = 32

// An Inbox is a packet socket into which somebody else puts the packets: a
// relay's one UDP socket carries voice as well, and whoever reads it hands on
// what is not voice. All methods are safe for concurrent use.
type Inbox struct {
	local net.Addr
	send  func(packet []byte, to netip.AddrPort) (int, error)

	dropped atomic.Uint64
	arrived chan struct{} // has one element if there may be packets
	closed  chan struct{}

	mu          sync.Mutex
	first, last uint // wrapping; last - first packets wait in ring
	ring        [inboxSize]letter
	isClosed    bool
}

type letter struct {
	from netip.AddrPort
	size int
	data [maxPacket]byte
}

// NewInbox returns an Inbox that claims to listen at local and sends by send,
// which must not keep the packet.
func NewInbox(local net.Addr, send func(packet []byte, to netip.AddrPort) (int, error)) *Inbox {
	return &Inbox{local: local, send: send, arrived: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Deliver puts a copy of packet into the inbox. It never blocks and allocates
// nothing: a packet that is too large, or one for which there is no room, is
// dropped and counted; what waits stays.
func (b *Inbox) Deliver(packet []byte, from netip.AddrPort) {
	b.mu.Lock()
	if b.last-b.first == inboxSize || len(packet) > maxPacket || b.isClosed {
		b.mu.Unlock()
		b.dropped.Add(1)
		return
	}
	l := &b.ring[b.last%inboxSize]
	l.from, l.size = from, copy(l.data[:], packet)
	b.last++
	b.mu.Unlock()
	select {
	case b.arrived <- struct{}{}:
	default: // the reader has not seen the last one yet, and will see this one too
	}
}

// Dropped returns how many packets Deliver has dropped.
func (b *Inbox) Dropped() uint64 { return b.dropped.Load() }

// ReadFromUDPAddrPort waits for a packet and copies it to p. Its only error is
// net.ErrClosed. It allocates nothing.
func (b *Inbox) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	for {
		b.mu.Lock()
		if b.isClosed {
			b.mu.Unlock()
			return 0, netip.AddrPort{}, net.ErrClosed
		}
		if b.last != b.first {
			l := &b.ring[b.first%inboxSize]
			n, from := copy(p, l.data[:l.size]), l.from
			b.first++
			b.mu.Unlock()
			return n, from, nil
		}
		b.mu.Unlock()
		select {
		case <-b.arrived:
		case <-b.closed:
		}
	}
}

// ReadFrom is ReadFromUDPAddrPort for those who want a net.Addr, a *net.UDPAddr.
func (b *Inbox) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := b.ReadFromUDPAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteToUDPAddrPort sends a packet.
func (b *Inbox) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return b.send(p, to)
}

// WriteTo sends a packet to a *net.UDPAddr.
func (b *Inbox) WriteTo(p []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	ap := udp.AddrPort()
	return b.send(p, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}

// LocalAddr returns the address given to NewInbox.
func (b *Inbox) LocalAddr() net.Addr { return b.local }

// Close wakes readers and lets later packets be dropped. It is safe twice.
func (b *Inbox) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.isClosed {
		b.isClosed = true
		close(b.closed)
	}
	return nil
}

// SetDeadline fails: an Inbox has no deadlines.
func (b *Inbox) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline fails.
func (b *Inbox) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline fails.
func (b *Inbox) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
