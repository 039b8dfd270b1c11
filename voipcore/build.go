package voipcore

import (
	"context"
	"errors"
	"net/netip"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// buildTries is how many paths are tried for one tunnel: a path fails as a
// whole when any relay in it does.
const buildTries = 3

// errDeadEnd is among the reasons of a failed build when the last relay of a path
// did not answer those before it.
var errDeadEnd = errors.New("voipcore: the end of the path does not answer")

// build draws a path from the cache of relays and has finish build a tunnel
// over it. When a relay of the path fails, that is noted, so that the next
// path is another one. A relay that does not answer as the end of a path is not
// tried again over another one: whoever is bound to it has to decide.
func (c *Core) build(ctx context.Context, draw func() ([]kx.Relay, error),
	finish func(context.Context, []kx.Relay) (*kx.Tunnel, error)) (*kx.Tunnel, error) {
	var errs []error
	var dead pid.ID // the end of the last path, if it was that which failed
	for range buildTries {
		path, err := draw()
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		end := path[len(path)-1].Key
		if end == dead {
			break
		}
		t, err := finish(ctx, path)
		if err == nil {
			for _, r := range path {
				c.relays.Worked(r.Key)
			}
			return t, nil
		}
		errs = append(errs, err)
		var hop *kx.HopError
		if !errors.As(err, &hop) || ctx.Err() != nil {
			break // not a relay on the way, but what its end said
		}
		c.relays.Failed(path[hop.Hop-1]) // of path, since finish adds no hop
		if hop.Key == end {
			dead = end
			errs = append(errs, errDeadEnd)
		}
	}
	return nil, errors.Join(errs...)
}

// pathTo draws paths that end at last, or at a random relay if its key is zero.
func (c *Core) pathTo(last kx.Relay, avoid ...pid.ID) func() ([]kx.Relay, error) {
	return func() ([]kx.Relay, error) { return c.relays.Path(c.cfg.Hops, last, avoid...) }
}

// endOf returns the key of a tunnel's last relay.
func endOf(t *kx.Tunnel) pid.ID {
	p := t.Path()
	return p[len(p)-1].Key
}

// behindGuards returns the relays of paths, but for the first of each, which all
// paths of a box have in common. Of a path of one hop it is that.
func behindGuards(paths ...[]kx.Relay) (keys []pid.ID) {
	for _, p := range paths {
		if len(p) > 1 {
			p = p[1:]
		}
		for _, r := range p {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

// relayAt is an exchange point as the end of a path.
func relayAt(x *wire.ExchangePoint) kx.Relay {
	return kx.Relay{Key: x.Relay, Addrs: []netip.AddrPort{x.Addr}}
}
