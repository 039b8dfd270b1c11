package voipcore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hushbell/voipcore/dht"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

const (
	pointsEach    = 2                // exchange points in a record
	sparesEach    = 2                // tunnels that wait at each: BUSY needs one beside a call
	recordValid   = 2 * time.Hour    // as long as the DHT keeps it
	republish     = 30 * time.Minute // BEP 44 asks for an hour at most; nodes come and go
	lookEvery     = time.Minute      // at the time, whether it is due
	rotateAtLeast = 4 * time.Hour    // and up to twice that: new exchange points, make before break
	retryAtLeast  = time.Second      // after a failure, doubled up to retryAtMost, with jitter
	retryAtMost   = 15 * time.Second
	pointLost     = time.Minute      // an exchange point out of reach for so long is given up
	allLost       = 10 * time.Second // as long, if it is dead and no other one serves: nobody can call meanwhile
	brief         = 10 * time.Second // a tunnel that ends sooner has not waited at its point
	pointSettle   = 10 * time.Second // the first one waits so long for the other, to be published with it
)

// lostAfter failures in a row the relays that we know may all be gone.
const lostAfter = 5

// A presence keeps one pid of ours reachable: exchange points with tunnels
// that wait there, and the record that names them. It owns the goroutine run
// and those of its registrations; all end when ctx is done.
type presence struct {
	core *Core
	key  *pid.Key
	wg   sync.WaitGroup

	mu        sync.Mutex // guards what follows
	published bool       // the last record was put and found again
	waiting   int        // tunnels that wait at exchange points
	online    bool       // both, as the owner was told
}

// A registration is a set of exchange points with the record that names them.
// It is never changed: when a point is lost, or it has served its time, a new
// registration is made before the old one ends.
type registration struct {
	p      *presence
	s      *pid.Key // S: the one-time server key
	points []*point
	lost   chan struct{} // closed when a point was out of reach for too long
	once   sync.Once
	ctx    context.Context
	end    context.CancelFunc

	mu    sync.Mutex   // guards what follows
	paths [][]kx.Relay // of the tunnels that wait or are built
}

// A point is one exchange point of a registration.
type point struct {
	relay  kx.Relay
	secret [32]byte

	mu      sync.Mutex // guards what follows
	joins   float64    // that may still come at once
	joined  time.Time  // the last one
	waiting int        // tunnels registered there
	since   time.Time  // since when none has been waiting as it should; zero while one is
}

// run keeps the pid reachable until ctx is done.
func (p *presence) run(ctx context.Context) {
	defer p.wg.Wait()
	retry, failures := newBackoff(), 0
	var present, before *registration
	var expiry *time.Timer // of before; nil without one
	defer func() {
		if expiry != nil {
			expiry.Stop()
		}
	}()
	for ctx.Err() == nil {
		r, err := p.register(ctx)
		if err == nil {
			if err = p.publish(ctx, r); err != nil {
				r.end()
			}
		}
		if err != nil {
			p.core.log.Debug("cannot be called", "err", err)
			if failures++; failures%lostAfter == 0 {
				p.core.rediscover()
			}
			retry.wait(ctx)
			continue
		}
		retry.reset()
		failures = 0
		// The one that is replaced serves until its last record has expired,
		// and the one before it no longer.
		if before != nil {
			before.end()
		}
		if before = present; before != nil {
			expiry = time.AfterFunc(recordValid, before.end)
		}
		present = r
		p.keep(ctx, r)
	}
}

// keep republishes r until a point is lost or it has served its time.
func (p *presence) keep(ctx context.Context, r *registration) {
	rotate := time.NewTimer(rotateAtLeast + rand.N(rotateAtLeast))
	defer rotate.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		now, wait := p.core.clock.Now(), republish-rand.N(republish/10)
		if left := untilNextDay(now); left < wait {
			wait = left + rand.N(time.Minute) // a new day is a new key in the DHT
		}
		// Protocol time, for what is in the DHT ages while this machine is
		// suspended; and the timers', for protocol time can be set back.
		due, latest := now.Add(wait), time.Now().Add(wait)
		for {
			left := min(due.Sub(p.core.clock.Now()), time.Until(latest))
			if left <= 0 {
				break
			}
			look.Reset(min(left, lookEvery))
			select {
			case <-ctx.Done():
				return
			case <-rotate.C:
				return
			case <-r.lost:
				return
			case <-look.C:
			}
		}
		if err := p.publish(ctx, r); err != nil {
			return
		}
	}
}

func untilNextDay(now time.Time) time.Duration {
	return now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
}

// register chooses exchange points and registers at them. It returns when the
// first of them has a tunnel waiting.
func (p *presence) register(ctx context.Context) (*registration, error) {
	r := &registration{p: p, s: pid.NewKey(), lost: make(chan struct{})}
	r.ctx, r.end = context.WithCancel(ctx)
	var taken []pid.ID
	for range pointsEach {
		path, err := p.core.relays.Path(p.core.cfg.Hops, kx.Relay{}, taken...)
		if err != nil {
			r.end()
			return nil, err
		}
		x := path[len(path)-1]
		if len(taken) > 0 && x.Key == taken[0] {
			break // too few relays for two
		}
		taken = append(taken, x.Key)
		r.points = append(r.points, &point{relay: x, secret: kx.NewSecret(), since: time.Now()})
	}
	ready := make(chan *point, len(r.points)*sparesEach)
	r.paths = make([][]kx.Relay, len(r.points)*sparesEach)
	for i := range r.paths {
		p.wg.Go(func() { r.serve(i, ready) })
	}
	// All points before the record, since it names only what is there; but one
	// that is dead must not keep the other from being published, and when both
	// are, others may not be.
	settle := time.NewTimer(pointSettle)
	defer settle.Stop()
	settled := false
	for there := map[*point]bool{}; len(there) < len(r.points) && !(settled && len(there) > 0); {
		select {
		case pt := <-ready:
			there[pt] = true
		case <-ctx.Done():
			r.end()
			return nil, ctx.Err()
		case <-r.lost:
			r.end()
			return nil, errors.New("voipcore: exchange points are out of reach")
		case <-settle.C:
			if settled {
				r.end()
				return nil, errors.New("voipcore: exchange points do not answer")
			}
			settled = true
			settle.Reset(pointSettle)
		}
	}
	return r, nil
}

// apart draws a path for the ith tunnel. It shares no more than guard and point
// with those of the others, if it can be: when a relay dies, nobody is told for a
// while, and a caller must find a tunnel at one of the points that works.
func (r *registration) apart(i int) ([]kx.Relay, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	avoid := behindGuards(slices.Delete(slices.Clone(r.paths), i, i+1)...)
	for _, pt := range r.points {
		avoid = append(avoid, pt.relay.Key)
	}
	path, err := r.p.core.relays.Path(r.p.core.cfg.Hops, r.point(i).relay, avoid...)
	r.paths[i] = path
	return path, err
}

// point is that of the ith tunnel.
func (r *registration) point(i int) *point { return r.points[i/sparesEach] }

// serve keeps the ith tunnel waiting at its point, until the registration ends. One
// that a caller has joined is handed over and the next one built.
func (r *registration) serve(i int, ready chan<- *point) {
	c, pt, retry, first := r.p.core, r.point(i), newBackoff(), true
	for r.ctx.Err() == nil {
		t, err := c.build(r.ctx, func() ([]kx.Relay, error) { return r.apart(i) }, func(ctx context.Context, path []kx.Relay) (*kx.Tunnel, error) {
			return c.node.BuildIn(ctx, path, pt.secret)
		})
		if err != nil {
			c.log.Debug("cannot register at the exchange point", "err", err)
			r.checkLost(pt, err)
			retry.wait(r.ctx)
			continue
		}
		pt.add(1)
		r.p.note(func() { r.p.waiting++ })
		if first {
			first = false
			ready <- pt // it has room for all
		}
		began := time.Now()
		err = t.Ready(r.ctx)
		lasted := err == nil || time.Since(began) >= brief
		if lasted {
			retry.reset()
			pt.works()
		}
		pt.add(-1)
		r.p.note(func() { r.p.waiting-- })
		if err != nil {
			t.Close()
			if !lasted {
				r.checkLost(pt, err)
			}
			retry.wait(r.ctx)
			continue
		}
		c.welcome(func() { c.incoming(t, r.s, r.p.key) }, t)
		pt.pace(r.ctx)
	}
}

// joinBurst tunnels may be joined at a point one after the other, then one a
// second: each costs us a new one, and whoever runs the point or knows the pid
// can join as they like.
const joinBurst = 60

// pace notes that a tunnel was joined, and waits if there were too many.
func (pt *point) pace(ctx context.Context) {
	pt.mu.Lock()
	now := time.Now()
	if pt.joined.IsZero() {
		pt.joins = joinBurst
	}
	pt.joins = min(joinBurst, pt.joins+now.Sub(pt.joined).Seconds()) - 1
	pt.joined = now
	over := -pt.joins
	pt.mu.Unlock()
	if over > 0 {
		t := time.NewTimer(time.Duration(over * float64(time.Second)))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

func (pt *point) add(n int) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if pt.waiting += n; pt.waiting == 0 && pt.since.IsZero() {
		pt.since = time.Now()
	}
}

// works notes that a tunnel has been waiting at the point as it should.
func (pt *point) works() {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	pt.since = time.Time{}
}

// there reports whether a tunnel waits at the point.
func (pt *point) there() bool {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return pt.waiting > 0
}

// silent returns for how long no tunnel has been waiting at the point, but for a moment
// now and then.
func (pt *point) silent() time.Duration {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if pt.waiting > 0 || pt.since.IsZero() {
		return 0
	}
	return time.Since(pt.since)
}

// checkLost gives the registration up when a point is out of reach for long. err
// is why. If it is the point itself that did not answer, and not the way to it,
// our own network works: then others are chosen soon, unless one still serves.
func (r *registration) checkLost(pt *point, err error) {
	lost := pt.silent() > pointLost
	if errors.Is(err, errDeadEnd) {
		lost = lost || !slices.ContainsFunc(r.points, func(pt *point) bool { return pt.silent() <= allLost })
	}
	if lost {
		r.once.Do(func() { close(r.lost) })
	}
}

// record is what callers need to know of the registration: the points that
// have a tunnel waiting, or all if none has, which may be over when it is read.
func (r *registration) record(now time.Time) *wire.Record {
	points := slices.DeleteFunc(slices.Clone(r.points), func(pt *point) bool { return !pt.there() })
	if len(points) == 0 {
		points = r.points
	}
	rec := &wire.Record{ServerKey: r.s.ID(), ValidUntil: now.Add(recordValid).Unix()}
	for _, pt := range points {
		rec.ExchangePoints = append(rec.ExchangePoints, wire.ExchangePoint{
			Relay: pt.relay.Key, Cookie: kx.Cookie(&pt.secret), Addr: pt.relay.Addrs[0],
		})
	}
	return rec
}

// publish puts the record into the DHT through a tunnel and gets it back
// through another, so that a relay that only says so is found out.
func (p *presence) publish(ctx context.Context, r *registration) error {
	var errs []error
	refused := int64(0)
	for range buildTries {
		err := p.publishOnce(ctx, r, &refused)
		if err == nil {
			p.note(func() { p.published = true })
			p.core.published()
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() == nil {
		p.core.log.Debug("cannot publish the record", "err", errors.Join(errs...))
		p.note(func() { p.published = false })
	}
	return errors.Join(errs...)
}

// note changes what is known of the presence, and tells the owner when that
// makes the pid reachable, or no longer so.
func (p *presence) note(change func()) {
	p.mu.Lock()
	change()
	online := p.published && p.waiting > 0
	changed := online != p.online
	p.online = online
	p.mu.Unlock()
	if changed {
		p.core.reachable(p.key.ID(), online)
	}
}

func (p *presence) publishOnce(ctx context.Context, r *registration, refused *int64) error {
	c := p.core
	now := c.clock.Now()
	day := pid.DayOf(now)
	value, err := r.record(now).Seal(p.key.ID(), day)
	if err != nil {
		return err
	}
	blinded, err := p.key.ID().Blind(day)
	if err != nil {
		return err
	}
	// Should a number that was not kept be used again after a start, the record that
	// is there says how far to go on.
	seq, err := c.seqs.next(p.key.ID(), day, max(now.Unix(), *refused+1))
	c.notKept("numbers of records", err)
	item := wire.Item{Key: blinded, Seq: seq, Value: value}
	item.Sig = p.key.SignBlinded(day, dht.SignedBytes(seq, value))

	putter, err := c.build(ctx, c.pathTo(kx.Relay{}), c.node.Build)
	if err != nil {
		return err
	}
	defer putter.Close()
	switch _, err := putter.Put(ctx, item); {
	case errors.Is(err, kx.ErrStale):
		// Our state was lost, or our clock was ahead once: go past what is
		// there. Only we can have signed it; a relay that lies gets nowhere.
		if _, there, err := c.getRecord(ctx, putter, p.key.ID(), day); err == nil || errors.Is(err, errOutOfDate) {
			*refused = there
		}
		return err
	case err != nil:
		return err
	}
	checker, err := c.build(ctx, c.pathTo(kx.Relay{}, endOf(putter)), c.node.Build)
	if err != nil {
		return err
	}
	defer checker.Close()
	_, got, err := c.getRecord(ctx, checker, p.key.ID(), day)
	if err != nil {
		return fmt.Errorf("voipcore: the record put cannot be found: %w", err)
	}
	if got < seq {
		return fmt.Errorf("voipcore: an older record is found in place of the one put")
	}
	return nil
}

// A backoff is the pause after failures.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{retryAtLeast} }

func (b *backoff) reset() { b.next = retryAtLeast }

// wait waits for a random time around the present pause, and doubles it.
func (b *backoff) wait(ctx context.Context) {
	t := time.NewTimer(b.next/2 + rand.N(b.next))
	defer t.Stop()
	b.next = min(2*b.next, retryAtMost)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
