package voipcore

import (
	"context"
	"slices"
	"time"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/wire"
)

const (
	// reachTries is how often a record is looked up anew when none of its exchange
	// points leads to the callee: it may just have published another one.
	reachTries = 2
	// sessionTimeout bounds the end-to-end handshake over two tunnels.
	sessionTimeout = 10 * time.Second
	// headStart is what an exchange point has of the next one, and a lookup of a
	// further one: that is what a relay costs that has lost its power, not the whole
	// time limit of a hop or of a handshake. It takes 0.9 s to join and to shake
	// hands when each relay on the way is 15 ms from the next, and a second way
	// that is begun in vain does no harm.
	headStart = 3 * time.Second
)

// A reached is what it comes to when a callee is to be reached.
type reached struct {
	tunnel  *kx.Tunnel
	session *session.Session
	report  Report
	err     error
}

func (r reached) drop() {
	if r.session != nil {
		r.session.Close()
	}
	if r.tunnel != nil {
		r.tunnel.Close()
	}
}

// reach finds a callee and opens a session to it.
func (c *Core) reach(ctx context.Context, own *pid.Key, far pid.ID) (r reached) {
	for range reachTries {
		began := time.Now()
		rec, asked, err := c.lookup(ctx, far)
		if err != nil {
			return reached{err: err}
		}
		looked := time.Since(began)
		// A relay that was asked must not be on the call's path: it could tell
		// that the two belong together. Where there is no other, it has to be.
		last := func(x wire.ExchangePoint) int {
			switch {
			case c.relays.Down(x.Relay):
				return 2
			case slices.Contains(asked, x.Relay):
				return 1
			}
			return 0
		}
		slices.SortStableFunc(rec.ExchangePoints, func(a, b wire.ExchangePoint) int { return last(a) - last(b) })
		r = c.reachAny(ctx, own, far, rec, asked)
		r.report.Lookup = looked
		if r.err == nil || ctx.Err() != nil {
			break
		}
	}
	return r
}

// reachAny tries the exchange points of a record in their order, and then each of
// them once more, since more than one tunnel waits there and one may be dead: the
// next try begins when one has failed, or has had its head start. The first
// session is taken. A point that could not be joined is not tried again.
func (c *Core) reachAny(ctx context.Context, own *pid.Key, far pid.ID, rec *wire.Record, asked []pid.ID) (r reached) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		reached
		at     *wire.ExchangePoint
		joined bool
	}
	var todo []*wire.ExchangePoint
	for i := range 2 * len(rec.ExchangePoints) {
		todo = append(todo, &rec.ExchangePoints[i%len(rec.ExchangePoints)])
	}
	results := make(chan result)
	next := time.NewTimer(0)
	defer next.Stop()
	for running := 0; len(todo)+running > 0; {
		select {
		case <-next.C:
			if len(todo) == 0 {
				continue
			}
			at := todo[0]
			todo = todo[1:]
			running++
			c.wg.Go(func() {
				r, joined := c.reachAt(ctx, own, far, rec, at, asked)
				select {
				case results <- result{r, at, joined}:
				case <-ctx.Done(): // another one was first, or the caller has hung up
					r.drop()
				}
			})
			next.Reset(headStart)
		case res := <-results:
			running--
			if r = res.reached; r.err == nil {
				return r
			}
			c.log.Debug("exchange point does not lead to the callee", "err", r.err)
			if !res.joined {
				todo = slices.DeleteFunc(todo, func(x *wire.ExchangePoint) bool { return x == res.at })
			}
			next.Reset(0)
		case <-ctx.Done():
			return reached{err: ctx.Err()}
		}
	}
	return r
}

// reachAt joins at one exchange point and runs the end-to-end handshake. joined
// says that it came to that.
func (c *Core) reachAt(ctx context.Context, own *pid.Key, far pid.ID, rec *wire.Record,
	x *wire.ExchangePoint, asked []pid.ID) (r reached, joined bool) {
	began := time.Now()
	t, err := c.build(ctx, c.pathTo(relayAt(x), asked...), func(ctx context.Context, path []kx.Relay) (*kx.Tunnel, error) {
		return c.node.BuildOut(ctx, path, x.Cookie)
	})
	if err != nil {
		return reached{err: err}, false
	}
	r.report.Tunnel = time.Since(began)
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	s, err := session.Dial(ctx, t, own, far, rec.ServerKey, c.cfg.Session)
	if err != nil {
		t.Close()
		return reached{err: err}, true
	}
	r.tunnel, r.session = t, s
	r.report.Hops, r.report.KeyExchange = len(t.Path()), s.KeyExchange()
	return r, true
}
