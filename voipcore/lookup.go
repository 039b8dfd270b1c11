package voipcore

import (
	"context"
	"errors"
	"fmt"
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

// A found is a valid record, and who was asked for it.
type found struct {
	record *wire.Record
	seq    int64
	day    pid.Day
	err    error  // ErrNotFound or ErrOffline
	asked  pid.ID // zero if no relay could be asked
}

// lookup finds the record of a pid (the seed's DHT GET): it asks two relays in
// different networks, each through a tunnel of its own, and takes the newest
// record that they have. asked names them: they are not to be on the call's path.
func (c *Core) lookup(ctx context.Context, far pid.ID) (rec *wire.Record, asked []pid.ID, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan found, lookupRelays) // room for all: nobody waits for a late one
	avoid := make(chan []pid.ID, 1)
	avoid <- nil
	for range lookupRelays {
		c.wg.Go(func() { answers <- c.lookupAt(ctx, far, avoid) })
	}
	best := found{err: ErrOffline}
	missing := 0 // relays that found nothing: it takes all of them to say so
	var settle <-chan time.Time
	for range lookupRelays {
		select {
		case f := <-answers:
			if f.asked != (pid.ID{}) {
				asked = append(asked, f.asked)
			}
			switch {
			case f.record != nil && (best.record == nil || f.day > best.day || f.day == best.day && f.seq > best.seq):
				best = f
				settle = time.After(lookupSettle)
			case best.record == nil && errors.Is(f.err, ErrNotFound):
				if missing++; missing == lookupRelays {
					best = f
				}
			}
			continue
		case <-settle:
		case <-ctx.Done():
		}
		break
	}
	if best.record == nil {
		return nil, asked, best.err
	}
	return best.record, asked, nil
}

// lookupAt asks one relay. avoid passes on which relays are taken by now.
func (c *Core) lookupAt(ctx context.Context, far pid.ID, avoid chan []pid.ID) found {
	// The paths are drawn one after the other, the tunnels built side by side.
	apart := func() ([]kx.Relay, error) {
		taken := <-avoid
		path, err := c.relays.Path(c.cfg.Hops, kx.Relay{}, taken...)
		if err == nil {
			taken = append(taken, path[len(path)-1].Key)
		}
		avoid <- taken
		return path, err
	}
	t, err := c.build(ctx, apart, c.node.Build)
	if err != nil {
		return found{err: fmt.Errorf("%w: %v", ErrOffline, err)}
	}
	defer t.Close()
	f := found{asked: endOf(t), err: ErrNotFound}
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
