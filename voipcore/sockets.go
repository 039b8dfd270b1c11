package voipcore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"hushbell/voipcore/dht"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/wire"
)

// Routable reports whether an address is one of the Internet: outside of test
// networks relays at other ones are not talked to.
func Routable(a netip.Addr) bool { return kx.Routable(a) }

// sockets is the machine's own network.
type sockets struct{}

func (sockets) Listen(at netip.AddrPort) (l net.Listener, err error) {
	err = listen(at, func(at netip.AddrPort) error {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	return l, err
}

// listen has open listen at an address. Where all addresses are meant and the
// kernel has no IPv6, these are all of IPv4. What went wrong is said with what
// can be done about it.
func listen(at netip.AddrPort, open func(netip.AddrPort) error) error {
	err := open(at)
	if errors.Is(err, syscall.EAFNOSUPPORT) && at.Addr() == netip.IPv6Unspecified() {
		err = open(netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()))
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: stop who listens there, or take another port", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: it is no address of this machine; behind a router listen at [::] and advertise the router's address", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: take a port above 1023", err)
	}
	return err
}

// udpBuffer holds what arrives while the reader is busy: a second of 50 calls.
const udpBuffer = 1 << 20

func (sockets) ListenUDP(at netip.AddrPort) (kx.PacketConn, error) {
	var c *net.UDPConn
	err := listen(at, func(at netip.AddrPort) (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, err
	}
	c.SetReadBuffer(udpBuffer) // the kernel may give less: then bursts are shorter
	return plainConn{c}, nil
}

func (sockets) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", to.String())
}

// A plainConn shows IPv4 sources of a socket for both families as IPv4.
type plainConn struct{ *net.UDPConn }

func (c plainConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.UDPConn.ReadFromUDPAddrPort(b)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// lookupService is the DHT as relays offer it to the clients of their tunnels.
type lookupService dht.Node

func (s *lookupService) Put(ctx context.Context, it wire.Item) (int, error) {
	n, err := (*dht.Node)(s).Put(ctx, dht.Item{Key: it.Key, Seq: it.Seq, Sig: it.Sig, Value: it.Value})
	return n, dhtError(err)
}

func (s *lookupService) Get(ctx context.Context, key [32]byte) (wire.Item, error) {
	it, err := (*dht.Node)(s).Get(ctx, key)
	return wire.Item{Key: it.Key, Seq: it.Seq, Sig: it.Sig, Value: it.Value}, dhtError(err)
}

func (s *lookupService) Trace(ctx context.Context, target [32]byte) ([]wire.TraceHop, error) {
	hops, err := (*dht.Node)(s).Trace(ctx, [20]byte(target[:20]))
	out := make([]wire.TraceHop, len(hops))
	for i, h := range hops {
		copy(out[i].ID[:], h.ID[:])
		out[i].Addr = h.Addr
	}
	return out, err
}

// dhtError names the DHT's errors as KX does.
func dhtError(err error) error {
	var stale *dht.StaleError
	switch {
	case errors.Is(err, dht.ErrNotFound):
		return kx.ErrNotFound
	case errors.As(err, &stale):
		return kx.ErrStale
	}
	return err
}
