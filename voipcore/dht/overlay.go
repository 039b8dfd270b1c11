package dht

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
	"golang.org/x/time/rate"
)

const (
	// resendDelay is how long a reply may take before the query is sent once
	// more, and after that before the node counts as silent.
	resendDelay = 500 * time.Millisecond

	// repliesPerSecond bounds what we answer to all together, 700 kB/s at the
	// most. Own queries are not counted.
	repliesPerSecond = 500

	// greetAgain is how soon a node that asks us is pinged again.
	greetAgain = 10 * time.Minute

	// rounds is the number of bootstraps at a cold start: the first finds
	// nodes, the later ones find those that came at the same time.
	rounds = 5

	// roundDelay is the pause after the first of them; each is twice the one
	// before.
	roundDelay = 250 * time.Millisecond

	// checkEvery is how often a node looks whether it is cut off. If it is, or
	// has met nobody yet, it tries again after retryFirst, and then after twice
	// the time before, up to retryLast.
	checkEvery = 10 * time.Second
	retryFirst = time.Second
	retryLast  = time.Minute

	// saveEvery is how often the table is written: a flash card lives long
	// enough for one small file in half an hour.
	saveEvery = 30 * time.Minute
)

// An overlay is our place in one of the two networks: the DHT of IPv4 and that
// of IPv6 share nothing (BEP 32).
type overlay struct {
	n      *Node
	v6     bool
	id     [20]byte
	inbox  *Inbox
	server *dht.Server
	store  *store
	known  []candidate         // bootstrap and file; constant
	asking chan netip.AddrPort // who asked us, for greet; 16 of them, more are forgotten
}

func (n *Node) newOverlay(v6 bool, old saved) (*overlay, error) {
	o := &overlay{n: n, v6: v6, asking: make(chan netip.AddrPort, 16)}
	o.id = old.self4
	if v6 {
		o.id = old.self6
	}
	if o.id == [20]byte{} {
		o.id = krpc.RandomNodeID()
	}
	for _, a := range n.cfg.Bootstrap {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if speaksTo(a.Addr(), v6, n.cfg.TestNetwork) {
			o.known = append(o.known, candidate{Hop: Hop{Addr: a}})
		}
	}
	for _, h := range old.nodes {
		if speaksTo(h.Addr.Addr(), v6, n.cfg.TestNetwork) {
			o.known = append(o.known, candidate{Hop: h, known: true})
		}
	}
	o.store = newStore(o.id, n.cfg.MaxItems, n.cfg.Expire, n.cfg.Now)
	if v6 && len(n.overlays) > 0 {
		o.store = n.overlays[0].store // one store for both; its id decides only what goes when it is full
	}
	o.inbox = NewInbox(n.cfg.Conn.LocalAddr(), n.write)
	var err error
	o.server, err = dht.NewServer(&dht.ServerConfig{
		NodeId:           o.id,
		Conn:             o.inbox,
		Passive:          n.cfg.ReadOnly,
		StartingNodes:    nobody,
		NoSecurity:       true, // BEP 42 would tie ids to addresses, for which nodes would have to know theirs
		IPBlocklist:      blocked{v6, n.cfg.TestNetwork},
		OnQuery:          o.onQuery,
		QueryResendDelay: func() time.Duration { return resendDelay },
		Store:            o.store,
		Exp:              100 * 365 * 24 * time.Hour, // the store has its own
		Logger:           log.Default.FilterLevel(log.Critical),
		DefaultWant:      o.want(),
		SendLimiter:      rate.NewLimiter(repliesPerSecond, repliesPerSecond),
	})
	if err != nil {
		o.inbox.Close()
		return nil, err
	}
	return o, nil
}

// close makes the library's goroutine end. The order matters: it would take a
// closed inbox for an error if it were not told first.
func (o *overlay) close() {
	o.server.Close()
	o.inbox.Close()
}

// nobody is what the library's own bootstraps ask when the table is empty: an
// address that its filter refuses. With none at all each would leak a goroutine.
func nobody() ([]dht.Addr, error) {
	return []dht.Addr{dht.NewAddr(&net.UDPAddr{IP: net.IPv4zero.To4(), Port: 1})}, nil
}

func (o *overlay) want() []krpc.Want {
	if o.v6 {
		return []krpc.Want{krpc.WantNodes6}
	}
	return []krpc.Want{krpc.WantNodes}
}

// onQuery sees each query before the library answers it; it runs with the
// library's lock held. False drops the query.
func (o *overlay) onQuery(m *krpc.Msg, source net.Addr) bool {
	if m.A == nil {
		return false
	}
	switch m.Q {
	case "find_node", "get":
		m.A.InfoHash = m.A.Target
	case "put":
		m.A.Cas = 0 // once stored it would refuse every later put without
	}
	if udp, ok := source.(*net.UDPAddr); ok && !m.ReadOnly {
		select {
		case o.asking <- udp.AddrPort():
		default:
		}
	}
	return true
}

// greet pings nodes that ask us. The library takes them into its table, but
// names them to others only after they have answered: without this a new node
// would have to wait for the maintainer's round. It ends with the node.
func (o *overlay) greet() {
	last := map[netip.AddrPort]time.Time{}
	for {
		select {
		case <-o.n.ctx.Done():
			return
		case a := <-o.asking:
			if at, ok := last[a]; ok && time.Since(at) < greetAgain {
				continue
			}
			if len(last) == 1000 { // forgetting costs a ping each
				clear(last)
			}
			last[a] = time.Now()
			o.query(o.n.ctx, a, "ping", krpc.MsgArgs{})
		}
	}
}

// table returns the nodes of the table that are not known to be dead.
func (o *overlay) table() []Hop {
	var hops []Hop
	for _, ni := range o.server.Nodes() {
		if ip, ok := netip.AddrFromSlice(ni.Addr.IP); ok {
			hops = append(hops, Hop{ni.ID, netip.AddrPortFrom(ip.Unmap(), uint16(ni.Addr.Port))})
		}
	}
	return hops
}

// start returns where a search starts: at the table, or while nobody in it
// answers also at the nodes known beforehand.
func (o *overlay) start() []candidate {
	var all []candidate
	for _, h := range o.table() {
		all = append(all, candidate{Hop: h, known: true})
	}
	if o.good() == 0 {
		all = append(all, o.known...)
	}
	return all
}

// bootstrap looks for our own place, which fills the table, and reports
// whether anybody answered.
func (o *overlay) bootstrap(ctx context.Context) bool {
	start := o.start()
	start = append(start, o.known...)
	return len(o.search(ctx, o.id, "find_node", 2*replicas, start, nil)) > 0
}

// maintain finds the way into the network, and finds it again when nobody is
// left. It ends with the node.
func (o *overlay) maintain() {
	met := o.join()
	if o.n.ctx.Err() != nil {
		return
	}
	o.n.wg.Go(o.server.TableMaintainer) // pings and refreshes every minute; ends with the server
	wait := retryFirst
	for {
		if met && o.good() > 0 {
			wait = retryFirst
			if !o.n.pause(checkEvery) {
				return
			}
			continue
		}
		if !o.n.pause(wait) {
			return
		}
		wait = min(2*wait, retryLast)
		met = o.join()
	}
}

// join is a few bootstraps in a row, or one if nobody answers. It reports
// whether somebody did.
func (o *overlay) join() (met bool) {
	delay := roundDelay
	for round := range rounds {
		met = o.bootstrap(o.n.ctx)
		if met || o.n.alone() {
			o.n.readyOnce.Do(func() { close(o.n.ready) })
		}
		if !met || round == rounds-1 || !o.n.pause(delay) {
			break
		}
		delay *= 2
	}
	return met
}

// good returns the number of nodes that answered lately.
func (o *overlay) good() int { return o.server.Stats().GoodNodes }

// maintain keeps the store and the file. It ends with the node.
func (n *Node) maintain() {
	told := false // that it cannot be saved
	for n.pause(saveEvery) {
		n.store.sweep()
		err := n.save()
		if err != nil && !told {
			n.log.Warn("the DHT's list of nodes cannot be saved", "err", err)
		}
		told = err != nil
	}
}

// alone reports whether there is nobody to ask.
func (n *Node) alone() bool {
	for _, o := range n.overlays {
		if len(o.known) > 0 {
			return false
		}
	}
	return true
}

// pause waits, and reports false if the node is closed meanwhile.
func (n *Node) pause(d time.Duration) bool {
	select {
	case <-n.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// save writes the table. It keeps the old file while there is nothing better.
func (n *Node) save() error {
	v := saved{nodes: n.Table()}
	if n.cfg.StateFile == "" || len(v.nodes) == 0 {
		return nil
	}
	for _, o := range n.overlays {
		if o.v6 {
			v.self6 = o.id
		} else {
			v.self4 = o.id
		}
	}
	return saveNodes(n.cfg.StateFile, v)
}
