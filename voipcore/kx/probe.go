package kx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"hushbell/voipcore/pid"
)

// A Probed is what the link to a relay has shown.
type Probed struct {
	Ahead time.Duration // how far the relay's time is ahead of the system clock
	UDP   bool          // cells pass by UDP, there and back
}

// ErrNotRoutable means that the address is none that others could be reached
// at, and this is no test network.
var ErrNotRoutable = errors.New("kx: the address is not a public one")

var errProbed = errors.New("the probe is over")

// Probe makes a link to whoever answers at a, as a tunnel would, sees what it
// tells and whether UDP passes, and closes it. It takes as long as the relay
// does, and up to udpSilence more if UDP does not pass. The error matches
// ErrUnreachable if there is no link, and ErrNotRoutable.
func (n *Node) Probe(ctx context.Context, a netip.AddrPort) (Probed, error) {
	if !n.allowed(a) {
		return Probed{}, ErrNotRoutable
	}
	l, err := n.dialOne(ctx, pid.ID{}, a, true)
	if err != nil {
		return Probed{}, err
	}
	defer l.close(errProbed)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	var end time.Time // of the wait for UDP; zero before the relay's hello
	for {
		now := time.Now()
		if end.IsZero() && l.udp.txID.Load() != 0 {
			end = now.Add(udpSilence)
		}
		if !end.IsZero() {
			l.udp.up(now) // asks again now and then: one packet may get lost
			if udp := l.udp.heard.Load(); udp || now.After(end) {
				return Probed{l.ahead, udp}, nil
			}
		}
		select {
		case <-look.C:
		case <-l.done:
			return Probed{}, fmt.Errorf("%w: it closes the link", ErrUnreachable)
		case <-ctx.Done():
			return Probed{}, fmt.Errorf("%w: %v", ErrUnreachable, ctx.Err())
		}
	}
}
