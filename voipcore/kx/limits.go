package kx

import (
	"sync"
	"time"

	"hushbell/voipcore/wire"
)

// Limits bound what a relay spends on others. The zero value of a field is its
// default.
//
// The defaults come from the memory that a tunnel costs, see
// BenchmarkTunnelMemory: a tunnel through a relay costs about 100 kB, most of
// it the two buffers of its tls.Conn, and a Pi Zero has 512 MB in all.
type Limits struct {
	Links         int // accepted at a time
	Tunnels       int // ends of tunnels on links; a tunnel passing through has two
	LinkTunnels   int // tunnels that one accepted link may open
	Registrations int // tunnels waiting at this exchange point
}

func (l Limits) withDefaults() Limits {
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

// get returns a slot, or nil when all are in use.
func (p *cellPool) get() *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free = p.free[:n-1]
		return s
	}
	if p.unmet == 0 {
		return nil
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

// A failureBudget limits how often a relay tries hosts in vain for others: it
// is nobody's port scanner.
type failureBudget struct {
	mu   sync.Mutex
	left float64
	at   time.Time
}

const (
	failuresPerSecond = 1.0
	failureBurst      = 20.0
)

// ok reports whether another try may be made.
func (f *failureBudget) ok(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at.IsZero() {
		f.left = failureBurst
	} else {
		f.left = min(failureBurst, f.left+now.Sub(f.at).Seconds()*failuresPerSecond)
	}
	f.at = now
	return f.left >= 1
}

// failed counts one try in vain.
func (f *failureBudget) failed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
}
