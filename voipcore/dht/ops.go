package dht

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
)

const (
	// settle is how much longer Get asks once it has a value, for a newer one:
	// the time in which a node that is alive answers, mostly.
	settle = 400 * time.Millisecond

	// maxTime ends an operation that the caller does not end. Twenty rounds
	// of queries to dead nodes, each a second.
	maxTime = 20 * time.Second

	// maxOperations is how many may be under way; others wait for them. A
	// relay does them for whoever has a tunnel to it.
	maxOperations = 64
)

// begin takes a place among the operations under way, and bounds their time.
func (n *Node) begin(ctx context.Context) (context.Context, func(), error) {
	n.opening.Lock()
	if n.ctx.Err() != nil {
		n.opening.Unlock()
		return nil, nil, ErrClosed
	}
	n.wg.Add(1)
	n.opening.Unlock()
	select {
	case n.places <- struct{}{}:
	case <-ctx.Done():
		n.wg.Done()
		return nil, nil, ctx.Err()
	case <-n.ctx.Done():
		n.wg.Done()
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		<-n.places
		n.wg.Done()
	}, nil
}

// each runs f for every overlay at once and waits for all.
func (n *Node) each(f func(o *overlay)) {
	var wg sync.WaitGroup
	for _, o := range n.overlays {
		wg.Go(func() { f(o) })
	}
	wg.Wait()
}

// Get returns the newest valid item of key that the responsible nodes have. Its
// errors are ErrNotFound, ErrNoNodes, ErrClosed and those of ctx.
func (n *Node) Get(ctx context.Context, key [32]byte) (Item, error) {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return Item{}, err
	}
	defer end()
	searching, stop := context.WithCancel(ctx)
	defer stop()

	var mu sync.Mutex
	best, err := n.store.item(key)
	have, answers := err == nil, 0
	if have {
		time.AfterFunc(settle, stop)
	}
	see := func(a answer) {
		it, ok := itemOf(key, a.ret)
		mu.Lock()
		defer mu.Unlock()
		answers++
		if !ok {
			return
		}
		if !have {
			time.AfterFunc(settle, stop) // harmless after the end
		}
		if !have || it.Seq > best.Seq {
			best, have = it, true
		}
	}
	target := Target(key)
	n.each(func(o *overlay) { o.search(searching, target, "get", replicas, o.start(), see) })
	switch {
	case have:
		return best, nil
	case n.ended(ctx) != nil:
		return Item{}, n.ended(ctx)
	case answers == 0:
		return Item{}, ErrNoNodes
	}
	return Item{}, ErrNotFound
}

// itemOf returns the item in a reply, if it has one of this key that is valid.
func itemOf(key [32]byte, r *krpc.Return) (Item, bool) {
	if r.Seq == nil || r.K != key {
		return Item{}, false
	}
	length, value, ok := bytes.Cut(r.V, []byte{':'})
	if n, err := strconv.Atoi(string(length)); !ok || err != nil || n != len(value) {
		return Item{}, false
	}
	it := Item{Key: key, Seq: *r.Seq, Sig: r.Sig, Value: value}
	return it, it.Verify() == nil
}

// Put stores an item at the nodes that are responsible for its key, and returns
// how many took it: eight, or all if there are fewer. If they have a newer item
// nothing is put and the error is a *StaleError. Others are ErrNotStored,
// ErrNoNodes, ErrClosed, what is wrong with the item, and those of ctx.
//
// Over IPv4 and IPv6 it counts the better of the two networks.
func (n *Node) Put(ctx context.Context, it Item) (stored int, err error) {
	if err := it.Verify(); err != nil {
		return 0, err
	}
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()

	var mu sync.Mutex
	var stale *StaleError
	answers := 0
	see := func(a answer) {
		theirs, ok := itemOf(it.Key, a.ret)
		mu.Lock()
		defer mu.Unlock()
		answers++
		if ok && theirs.supersedes(it) && (stale == nil || theirs.Seq > stale.Seq) {
			stale = &StaleError{theirs.Seq}
		}
	}
	target := Target(it.Key)
	closest := make(map[*overlay][]answer)
	n.each(func(o *overlay) {
		found := o.search(ctx, target, "get", replicas, o.start(), see)
		mu.Lock()
		defer mu.Unlock()
		closest[o] = found
	})
	switch {
	case stale != nil:
		return 0, stale
	case n.ended(ctx) != nil:
		return 0, n.ended(ctx)
	case answers == 0:
		return 0, ErrNoNodes
	}
	n.each(func(o *overlay) {
		took := o.put(ctx, it, closest[o])
		mu.Lock()
		defer mu.Unlock()
		stored = max(stored, took)
	})
	switch {
	case stored > 0:
		return stored, nil
	case n.ended(ctx) != nil:
		return 0, n.ended(ctx)
	}
	return 0, ErrNotStored
}

// put hands the item to the closest that gave a token.
func (o *overlay) put(ctx context.Context, it Item, nodes []answer) (stored int) {
	nodes = slices.DeleteFunc(nodes, func(a answer) bool { return a.token == "" })
	nodes = nodes[:min(len(nodes), replicas)]
	took := make(chan bool, len(nodes))
	for _, a := range nodes {
		go func() {
			r := o.query(ctx, a.Addr, "put", krpc.MsgArgs{
				Token: a.token, V: string(it.Value), K: it.Key, Seq: &it.Seq, Sig: it.Sig,
			})
			took <- r.ToError() == nil && r.Reply.R != nil
		}()
	}
	for range nodes {
		if <-took {
			stored++
		}
	}
	return stored
}

// Trace looks for the nodes around target and returns those that answered on
// the way, the closest first. To pick a node at random take one of the first
// eight of a random target: the very first favours nodes that have much room to
// their neighbours. Its errors are ErrNoNodes, ErrClosed and those of ctx.
func (n *Node) Trace(ctx context.Context, target [20]byte) ([]Hop, error) {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var mu sync.Mutex
	var all []answer
	n.each(func(o *overlay) {
		found := o.search(ctx, target, "find_node", replicas, o.start(), nil)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, found...)
	})
	if err := n.ended(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNoNodes
	}
	hops := make([]Hop, len(all))
	for i, a := range sortAnswers(all, target) {
		hops[i] = a.Hop
	}
	return hops, nil
}
