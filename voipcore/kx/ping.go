package kx

import (
	"context"
	"errors"
	"time"
)

// Ping returns nil when what all calls go through turns: the table of links can
// be had, and the loop that reads UDP waits for a packet, or is at another one
// than when Ping began. Otherwise Ping waits until ctx is done and says what hangs.
func (n *Node) Ping(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := n.turns.Load()
	for {
		free := n.links.mu.TryRLock()
		if free {
			n.links.mu.RUnlock()
		}
		turns := n.turns.Load()
		reads := turns%2 == 0 || turns != began
		if free && reads {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !free {
				return errors.New("kx: the table of links is held")
			}
			return errors.New("kx: a packet is not done with")
		}
	}
}
