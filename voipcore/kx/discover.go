package kx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"hushbell/voipcore/wire"
)

const (
	discoverRounds = 8 // TRACEs at a first start
	describeAtOnce = 8
)

// Discover fills an empty directory at a first start: it asks the bootstrap
// addresses and the nodes on the way of some TRACEs directly for their
// descriptors. trace is this node's own TRACE; nil, or an empty answer of it
// (UDP is blocked), lets a relay trace for us.
//
// Who is asked learns that this address takes part, and nothing else. Later
// relays are learned through tunnels: see Refresh. Neither saves the directory.
func (n *Node) Discover(ctx context.Context, d *Directory, bootstrap []netip.AddrPort,
	trace func(ctx context.Context, target [32]byte) ([]wire.TraceHop, error)) error {
	asked := map[netip.AddrPort]bool{}
	err := n.describeAll(ctx, d, bootstrap, asked)
	if d.Len() == 0 {
		if err == nil {
			err = errors.New("no bootstrap address is configured")
		}
		return fmt.Errorf("%w: %w", ErrFewRelays, err)
	}
	for range discoverRounds {
		hops := n.traceAny(ctx, d, trace)
		var addrs []netip.AddrPort
		for _, h := range hops {
			addrs = append(addrs, h.Addr)
		}
		n.describeAll(ctx, d, addrs, asked)
		if ctx.Err() != nil || d.Len() >= directorySize {
			break
		}
	}
	return nil
}

// describeAll asks all of addrs that were not asked before, several at once.
// The error is the last one.
func (n *Node) describeAll(ctx context.Context, d *Directory, addrs []netip.AddrPort, asked map[netip.AddrPort]bool) error {
	var wg sync.WaitGroup
	var last atomic.Pointer[error]
	places := make(chan struct{}, describeAtOnce)
	for _, a := range addrs {
		if asked[a] || !n.allowed(a) {
			continue
		}
		asked[a] = true
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := n.describe(ctx, d, []Relay{{Addrs: []netip.AddrPort{a}}}); err != nil {
				last.Store(&err)
			}
		})
	}
	wg.Wait()
	if p := last.Load(); p != nil {
		return *p
	}
	return nil
}

// describe learns the descriptor of the last relay of path.
func (n *Node) describe(ctx context.Context, d *Directory, path []Relay) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	t, err := n.Build(ctx, path)
	if err != nil {
		return err
	}
	defer t.Close()
	desc, err := t.Describe(ctx)
	if err != nil {
		return err
	}
	// A relay may not speak for an address where it does not answer.
	at := path[len(path)-1].Addrs[0]
	if desc.Port != at.Port() || desc.V4 != at.Addr() && desc.V6 != at.Addr() {
		return fmt.Errorf("%w: descriptor of another address", ErrRefused)
	}
	// Of its second address nothing is known but that it must be no machine of ours.
	for _, a := range (&known{Descriptor: desc}).relay().Addrs {
		if !n.allowed(a) {
			return fmt.Errorf("%w: descriptor with an address that is none of the Internet", ErrRefused)
		}
	}
	d.Add(desc)
	return nil
}

// traceAny traces towards a random target, by our own DHT or through a relay.
func (n *Node) traceAny(ctx context.Context, d *Directory,
	trace func(ctx context.Context, target [32]byte) ([]wire.TraceHop, error)) []wire.TraceHop {
	var target [32]byte
	rand.Read(target[:])
	if trace != nil {
		if hops, err := trace(ctx, target); err == nil && len(hops) > 0 {
			return hops
		}
	}
	for _, r := range d.Relays() {
		if t, err := n.Build(ctx, []Relay{r}); err == nil {
			hops, err := t.Trace(ctx, target)
			t.Close()
			if err == nil {
				return hops
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil
}

// Refresh learns of relays through tunnels: it has a random relay trace
// towards a random target, and asks some of the nodes on the way, each through
// a tunnel of hops hops that ends there, for their descriptors. Call it at
// random times.
func (n *Node) Refresh(ctx context.Context, d *Directory, hops int) error {
	path, err := d.Path(hops, Relay{})
	if err != nil {
		return err
	}
	t, err := n.Build(ctx, path)
	if err != nil {
		return err
	}
	defer t.Close()
	var target [32]byte
	rand.Read(target[:])
	found, err := t.Trace(ctx, target)
	if err != nil {
		return err
	}
	now := n.cfg.Clock.Now()
	var errs []error
	for _, h := range found {
		if d.Knows(h.Addr, now) || !n.allowed(h.Addr) {
			continue
		}
		// The unknown relay takes the place of the path's end.
		to := append(path[:len(path)-1:len(path)-1], Relay{Addrs: []netip.AddrPort{h.Addr}})
		errs = append(errs, n.describe(ctx, d, to))
	}
	return errors.Join(errs...)
}
