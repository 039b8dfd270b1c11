package kx

import (
	"math"
	"sync"
	"time"

	"hushbell/voipcore/wire"
)

// Limits bound what a relay spends on others. The zero value of a field is its
// default.
//
// The defaults come from BenchmarkTunnelMemory, which has a relay in a process
// of its own (amd64): a link takes 40 kB of heap, a tunnel that passes through
// 48 kB, or 64 kB once much has gone through it, a registered one 39 kB; the
// resident set is 13 % more. So the defaults (512 links accepted and as many
// dialled, 512 tunnels passing) are 75 MB at the very worst, and 30 MB for 100
// links and 400 tunnels: a Pi Zero, which has 512 MB, can be a relay.
type Limits struct {
	Links         int // accepted at a time; as many again may be dialled for others
	Tunnels       int // ends of others' tunnels on links; one that passes through has two
	LinkTunnels   int // tunnels that one accepted link may open
	Registrations int // tunnels waiting at this exchange point

	// What may be carried for others; 0 is without bound. See quota.
	Bandwidth int64 // bytes a second
	Monthly   int64 // bytes in a calendar month (UTC)
}

// WithDefaults returns l with its zero fields filled in.
func (l Limits) WithDefaults() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Links, 512)
	set(&l.Tunnels, 1024)
	set(&l.LinkTunnels, 256)
	set(&l.Registrations, 256)
	return l
}

// hostShare is the part of Links that one host may take: many homes may be
// behind one address, but one host does not fill a relay.
const hostShare = 4

// ownTunnels is how many tunnels of its own a node can have, however many of others it
// carries: who fills a relay must not see a pid go offline by that.
const ownTunnels = 256

// tunnelCells is what one end of a tunnel on a link needs: a full window of
// received cells, and a few that wait to be sent.
const (
	inCells  = wire.Credit
	outCells = 4
)

// A slot is the cells of one end of a tunnel.
type slot struct {
	in  [inCells]wire.Cell
	out [outCells]wire.Cell
}

// A cellPool is a fixed number of slots. Unlike a sync.Pool it cannot grow
// under load: when it is used up, new tunnels are refused.
type cellPool struct {
	mu    sync.Mutex // guards what follows
	free  []*slot
	unmet int // slots that may still be made
}

// newCellPool allows n slots. Their memory is taken as it is first used and
// then kept, so an idle node stays small and a busy one cannot grow past n.
func newCellPool(n int) *cellPool { return &cellPool{unmet: n} }

// get returns a slot, or nil when only so many are left that are for others.
func (p *cellPool) get(others int) *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free)+p.unmet <= others {
		return nil
	}
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	p.unmet--
	return new(slot)
}

// put takes back a slot and wipes it: what was in a tunnel does not outlive it.
func (p *cellPool) put(s *slot) {
	*s = slot{}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, s)
}

// A budget is a number of tries, or of bytes, that comes back with time.
type budget struct {
	rate  float64 // that come back in a second
	burst float64 // at most

	mu    sync.Mutex // guards what follows
	spent float64
	at    time.Time // when spent was right
}

// A relay tries addresses for others, but is nobody's port scanner: an EXTEND
// that needs a new link costs a try, which comes back when it succeeds. Each
// link has a budget of its own, so that who uses his up stops only his own
// EXTENDs; the node's is for many that do so together.
const (
	linkTries, linkTryBurst = 1, 20
	nodeTries, nodeTryBurst = 10, 200
)

// A lookup makes a relay send some 60 packets to others, for one that came to
// it. A tunnel's client who asks faster waits, a relay that is asked by many
// refuses. Finding a callee takes 6 lookups on two tunnels.
const (
	tunnelLookups, tunnelLookupBurst = 1, 16
	nodeLookups, nodeLookupBurst     = 20, 100
)

// take takes n. When they are not there it takes nothing, and returns how long
// it takes until they are.
func (b *budget) take(now time.Time, n float64) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backLocked(now)
	if over := b.spent + n - b.burst; over > 0 {
		return time.Duration(math.Ceil(over / b.rate * float64(time.Second))), false
	}
	b.spent += n
	return 0, true
}

// borrow takes n whether they are there or not, and returns how long it takes
// until they are paid back.
func (b *budget) borrow(now time.Time, n float64) (debt time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backLocked(now)
	b.spent += n
	return time.Duration(max(0, b.spent-b.burst) / b.rate * float64(time.Second))
}

// left returns how much can be taken at once; it is negative in debt.
func (b *budget) left(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backLocked(now)
	return b.burst - b.spent
}

func (b *budget) backLocked(now time.Time) {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.spent = max(0, b.spent-d*b.rate)
		b.at = now
	}
}

// giveBack undoes a take, or borrow, of n.
func (b *budget) giveBack(n float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-n)
}
