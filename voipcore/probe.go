package voipcore

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"hushbell/voipcore/clock"
	"hushbell/voipcore/kx"
)

// A Probed is what a relay has shown: see Probe.
type Probed struct {
	Addr  netip.AddrPort
	Err   error         // why there is no link; it matches kx.ErrUnreachable or ErrPrivate
	Ahead time.Duration // how far the relay's time is ahead of the system clock, to about a second
	UDP   bool          // cells pass by UDP, there and back
}

// ErrPrivate means that relays may not have such an address, unless the
// configuration says that this is a test network.
var ErrPrivate = kx.ErrNotRoutable

// Probe asks relays directly, as a box does at its first start, so that a person
// can be told what is wrong with the network: each learns that this address
// takes part, and nothing else. Of cfg it uses TestNetwork and Network. The
// answers are in the order of the addresses. It takes a few seconds, at most
// what kx allows for a handshake; the error is that there is no UDP socket.
func Probe(ctx context.Context, cfg Config, relays []netip.AddrPort) ([]Probed, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	packets, err := cfg.Network.ListenUDP(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("voipcore: %w", err)
	}
	node, err := kx.Open(kx.Config{
		Dial: cfg.Network.Dial, Packets: packets, Clock: clock.New(clock.Config{Wall: cfg.Wall}),
		TestNetwork: cfg.TestNetwork, Log: cfg.Log,
	})
	if err != nil {
		packets.Close()
		return nil, err
	}
	all := make([]Probed, len(relays))
	var wg sync.WaitGroup
	for i, a := range relays {
		wg.Go(func() {
			p, err := node.Probe(ctx, a)
			all[i] = Probed{Addr: a, Err: err, Ahead: p.Ahead, UDP: p.UDP}
		})
	}
	wg.Wait()
	return all, node.Close()
}
