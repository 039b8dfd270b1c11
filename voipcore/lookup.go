package voipcore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hushbell/voipcore/dht"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

const (
	// lookupRelays is how many relays are asked for a record at once: one
	// alone could hide it, or show an old one.
	lookupRelays = 2
	// mostAsked bounds how many are asked in all, when some fail at once or are slow.
	mostAsked = 5
	// lookupSettle is how long the other one may take once a record is there.
	lookupSettle = time.Second
)

// Errors of a lookup.
var (
	// ErrNotFound means that no relay that was asked found a valid record:
	// the pid does not exist, or its box is off.
	ErrNotFound = errors.New("voipcore: no record of this pid in the DHT")
	// ErrOffline means that no relay could be asked.
	ErrOffline = errors.New("voipcore: no relay can be reached")
)

// A found is what one relay answered.
type found struct {
	from   pid.ID
	record *wire.Record // valid; nil: err says why
	seq    int64
	day    pid.Day
	err    error // ErrNotFound or ErrOffline
}

// lookup finds the record of a pid (the seed's DHT GET): it asks two relays in
// different networks, each through a tunnel of its own, and takes the newest
// record that they have. It asks one more in place of each that fails at once, and
// when it takes long. asked names those that may have been asked: they are not to be
// on the call's path.
func (c *Core) lookup(ctx context.Context, far pid.ID) (rec *wire.Record, asked []pid.ID, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan found, mostAsked) // room for all: nobody waits for a late one
	drawn := make(chan [][]kx.Relay, 1)    // paths
	drawn <- nil
	began, left, pending := time.Now(), mostAsked, 0
	ask := func() {
		if left > 0 {
			left--
			pending++
			c.wg.Go(func() { answers <- c.lookupAt(ctx, far, drawn) })
		}
	}
	for range lookupRelays {
		ask()
	}
	var best found
	missing := map[pid.ID]bool{} // who says that there is none: it takes two, and nobody who says otherwise
	var settle <-chan time.Time
	slow := time.NewTimer(headStart)
	defer slow.Stop()
wait:
	for pending > 0 {
		select {
		case f := <-answers:
			pending--
			switch {
			case f.record != nil && (best.record == nil || f.day > best.day || f.day == best.day && f.seq > best.seq):
				best = f
				settle = time.After(lookupSettle)
			case errors.Is(f.err, ErrNotFound):
				if missing[f.from] = true; len(missing) == lookupRelays && best.record == nil {
					settle = time.After(2 * headStart) // for one that is slow
				}
			case f.record == nil && best.record == nil && time.Since(began) < headStart:
				ask()
			}
		case <-slow.C:
			if best.record == nil {
				ask()
			}
		case <-settle:
			break wait
		case <-ctx.Done():
			break wait
		}
	}
	paths := <-drawn
	drawn <- paths
	asked = endsOf(paths)
	switch {
	case best.record != nil:
		return best.record, asked, nil
	case len(missing) >= lookupRelays:
		return nil, asked, ErrNotFound
	}
	return nil, asked, ErrOffline
}

// lookupAt asks one relay. drawn passes on the paths that were drawn so far: the
// next one shares no more than the guard with them, if it can be, so that one dead
// relay does not hold all of them up; else at least its end is another one.
func (c *Core) lookupAt(ctx context.Context, far pid.ID, drawn chan [][]kx.Relay) found {
	// The paths are drawn one after the other, the tunnels built side by side.
	apart := func() ([]kx.Relay, error) {
		paths := <-drawn
		path, err := c.relays.Path(c.cfg.Hops, kx.Relay{}, behindGuards(paths...)...)
		if ends := endsOf(paths); err == nil && slices.Contains(ends, path[len(path)-1].Key) {
			path, err = c.relays.Path(c.cfg.Hops, kx.Relay{}, ends...)
		}
		if err == nil {
			paths = append(slices.Clip(paths), path)
		}
		drawn <- paths
		return path, err
	}
	t, err := c.build(ctx, apart, c.node.Build)
	if err != nil {
		return found{err: fmt.Errorf("%w: %v", ErrOffline, err)}
	}
	defer t.Close()
	f := found{from: endOf(t), err: ErrNotFound}
	// Today's first: the other days only matter when one of the two clocks is
	// off, or at midnight.
	today := pid.DayOf(c.clock.Now())
	for _, day := range []pid.Day{today, today + 1, today - 1} {
		rec, seq, err := c.getRecord(ctx, t, far, day)
		switch {
		case err == nil:
			f.record, f.seq, f.day, f.err = rec, seq, day, nil
			return f
		case !errors.Is(err, kx.ErrNotFound):
			c.log.Debug("lookup failed", "err", err)
			if ctx.Err() != nil || !errors.Is(err, errBadRecord) {
				f.err = fmt.Errorf("%w: %v", ErrOffline, err)
				return f
			}
		}
	}
	return f
}

// endsOf returns the ends of paths.
func endsOf(paths [][]kx.Relay) (keys []pid.ID) {
	for _, p := range paths {
		keys = append(keys, p[len(p)-1].Key)
	}
	return keys
}

// errBadRecord means that a relay answered with something that is no valid
// record: it lies, or the record is out of date.
var errBadRecord = errors.New("voipcore: not a valid record")

// errOutOfDate is an errBadRecord of a record that was valid once.
var errOutOfDate = fmt.Errorf("%w: out of date", errBadRecord)

// getRecord gets and checks the record of a day: its signature by the blinded
// key, that it opens, and that it is not out of date: of such a one only seq is
// returned, with errOutOfDate.
func (c *Core) getRecord(ctx context.Context, t *kx.Tunnel, far pid.ID, day pid.Day) (*wire.Record, int64, error) {
	blinded, err := far.Blind(day)
	if err != nil {
		return nil, 0, err
	}
	it, err := t.Get(ctx, blinded)
	if err != nil {
		return nil, 0, err
	}
	if err := (dht.Item{Key: it.Key, Seq: it.Seq, Sig: it.Sig, Value: it.Value}).Verify(); err != nil {
		return nil, 0, fmt.Errorf("%w: %v", errBadRecord, err)
	}
	rec, err := wire.OpenRecord(it.Value, far, day)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %v", errBadRecord, err)
	}
	if rec.ValidUntil < c.clock.Now().Unix() {
		return nil, it.Seq, errOutOfDate
	}
	return rec, it.Seq, nil
}
