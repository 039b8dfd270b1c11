package dht

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

const (
	replicas   = 8   // Kademlia's k in BEP 5
	alpha      = 6   // queries under way at once; more than usual, as half may be to dead nodes
	maxQueries = 120 // of one search: a liar can always name a node that is nearer
	perAddress = 3   // queries to one IP address, which may claim to be many nodes
)

// An answer is what a node replied in a search.
type answer struct {
	Hop
	token string // to put with; empty if it gave none
	ret   *krpc.Return
}

// A candidate is a node to be asked, or that was asked.
type candidate struct {
	Hop
	known bool // the ID is known; it is not for an address from the configuration
	state candidateState
}

type candidateState byte

const (
	unasked candidateState = iota
	asked
	answered
)

// search asks nodes ever closer to target, until the k closest ones of all that
// it has heard of have answered, and returns who answered, closest first. If ctx
// ends it returns those so far. each, if not nil, sees every answer as it comes.
//
// It leaves no goroutine behind.
func (o *overlay) search(ctx context.Context, target [20]byte, method string, k int, start []candidate, each func(answer)) []answer {
	s := searcher{o: o, target: target, seen: map[netip.AddrPort]bool{}, perIP: map[netip.Addr]int{}}
	for _, c := range start {
		s.add(c)
	}
	ctx, cancel := context.WithCancel(ctx)
	type reply struct {
		to  candidate
		ret *krpc.Return
	}
	replies := make(chan reply, alpha) // room for all that are under way
	under := 0
	defer func() {
		cancel()
		for ; under > 0; under-- {
			<-replies
		}
	}()
	args := krpc.MsgArgs{Target: target, Want: o.want()}
	var got []answer
	for {
		for under < alpha {
			c, ok := s.next(k)
			if !ok {
				break
			}
			under++
			go func() {
				res := o.query(ctx, c.Addr, method, args)
				ret := res.Reply.R
				if res.Err != nil {
					ret = nil
				}
				replies <- reply{c, ret}
			}()
		}
		if under == 0 {
			break
		}
		var r reply
		select {
		case r = <-replies:
		case <-ctx.Done():
			return sortAnswers(got, target)
		}
		under--
		s.done(r.to, r.ret)
		if r.ret == nil || r.ret.ID == o.id {
			continue // no answer, or our own
		}
		a := answer{Hop: Hop{r.ret.ID, r.to.Addr}, ret: r.ret}
		if r.ret.Token != nil {
			a.token = *r.ret.Token
		}
		got = append(got, a)
		if each != nil {
			each(a)
		}
	}
	return sortAnswers(got, target)
}

func sortAnswers(got []answer, target [20]byte) []answer {
	slices.SortStableFunc(got, func(a, b answer) int {
		switch {
		case closer(target, a.ID, b.ID):
			return -1
		case closer(target, b.ID, a.ID):
			return 1
		}
		return 0
	})
	return got
}

// A searcher is the state of one search. It is owned by the search's goroutine.
type searcher struct {
	o       *overlay
	target  [20]byte
	list    []candidate // closest first; those without an ID before them
	seen    map[netip.AddrPort]bool
	perIP   map[netip.Addr]int
	queries int
}

// before reports whether a is to be asked before b.
func (s *searcher) before(a, b *candidate) bool {
	if a.known != b.known {
		return !a.known
	}
	return a.known && closer(s.target, a.ID, b.ID)
}

// add takes up a candidate, once for each address.
func (s *searcher) add(c candidate) {
	if s.seen[c.Addr] || c.known && c.ID == s.o.id || c.Addr.Port() == 0 ||
		!speaksTo(c.Addr.Addr(), s.o.v6, s.o.n.cfg.TestNetwork) {
		return
	}
	s.seen[c.Addr] = true
	s.insert(c)
}

func (s *searcher) insert(c candidate) {
	i := slices.IndexFunc(s.list, func(other candidate) bool { return s.before(&c, &other) })
	if i < 0 {
		i = len(s.list)
	}
	s.list = slices.Insert(s.list, i, c)
}

// next returns the closest candidate that has not been asked, unless k closer
// ones have answered.
func (s *searcher) next(k int) (candidate, bool) {
	closerOnes := 0
	for i := range s.list {
		c := &s.list[i]
		switch c.state {
		case answered:
			if closerOnes++; closerOnes == k {
				return candidate{}, false
			}
		case unasked:
			ip := c.Addr.Addr()
			if s.queries == maxQueries || !s.o.n.cfg.TestNetwork && s.perIP[ip] == perAddress {
				continue
			}
			s.queries++
			s.perIP[ip]++
			c.state = asked
			return *c, true
		}
	}
	return candidate{}, false
}

// done takes note of a reply (nil: none came) and of the nodes that it names.
func (s *searcher) done(c candidate, ret *krpc.Return) {
	s.list = slices.DeleteFunc(s.list, func(other candidate) bool { return other.Addr == c.Addr })
	if ret == nil {
		return
	}
	if ret.ID != s.o.id {
		s.insert(candidate{Hop{ret.ID, c.Addr}, true, answered})
	}
	nodes := ret.Nodes
	if s.o.v6 {
		nodes = krpc.CompactIPv4NodeInfo(ret.Nodes6)
	}
	for i, n := range nodes {
		if i == maxNodes {
			break
		}
		if ip, ok := netip.AddrFromSlice(n.Addr.IP); ok {
			s.add(candidate{Hop{n.ID, netip.AddrPortFrom(ip, uint16(n.Addr.Port))}, true, unasked})
		}
	}
}

// query sends one query, twice if need be, and waits for its reply.
func (o *overlay) query(ctx context.Context, to netip.AddrPort, method string, args krpc.MsgArgs) dht.QueryResult {
	return o.server.Query(ctx, dht.NewAddr(net.UDPAddrFromAddrPort(to)), method, dht.QueryInput{
		MsgArgs:  args,
		NumTries: 2,
		// The limit on what we send is for replies: else a flood of queries
		// would keep us from asking.
		RateLimiting: dht.QueryRateLimiting{NotAny: true},
	})
}
