package dht

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// patience is the guard against hanging; nothing waits for it that goes well.
const patience = 20 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func listen(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open starts a node on a real socket of loopback.
func open(t testing.TB, cfg Config) *Node {
	t.Helper()
	if cfg.Conn == nil {
		cfg.Conn = listen(t, "127.0.0.1:0")
	}
	cfg.TestNetwork = true
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (n *Node) addr() netip.AddrPort {
	return n.cfg.Conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// swarm starts size nodes that know the first of them, and waits until they
// have found each other.
func swarm(t testing.TB, size int, at string, cfg Config) []*Node {
	t.Helper()
	var nodes []*Node
	for range size {
		cfg := cfg
		cfg.Conn = listen(t, at)
		if len(nodes) > 0 {
			cfg.Bootstrap = []netip.AddrPort{nodes[0].addr()}
		}
		nodes = append(nodes, open(t, cfg))
	}
	for _, n := range nodes {
		waitReady(t, n)
	}
	eventually(t, "all nodes know eight others or all", func() bool {
		for _, n := range nodes {
			if n.Stats().Good < min(size-1, replicas) {
				return false
			}
		}
		return true
	})
	return nodes
}

func waitReady(t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.Ready():
	case <-testContext(t).Done():
		t.Fatal("a node does not become ready")
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// key returns the nth test key.
func key(n int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0], seed[1], seed[2] = byte(n), byte(n>>8), 77
	return ed25519.NewKeyFromSeed(seed)
}

func sign(k ed25519.PrivateKey, seq int64, value string) Item {
	it := Item{Seq: seq, Value: []byte(value)}
	copy(it.Key[:], k.Public().(ed25519.PublicKey))
	copy(it.Sig[:], ed25519.Sign(k, SignedBytes(seq, it.Value)))
	return it
}

func mustPut(t testing.TB, n *Node, it Item) int {
	t.Helper()
	stored, err := n.Put(testContext(t), it)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return stored
}

func assertGet(t testing.TB, n *Node, want Item) {
	t.Helper()
	got, err := n.Get(testContext(t), want.Key)
	if err != nil || got.Seq != want.Seq || string(got.Value) != string(want.Value) || got.Sig != want.Sig || got.Key != want.Key {
		t.Errorf("Get = seq %d, value %.20q, %v, want seq %d, value %.20q", got.Seq, got.Value, err, want.Seq, want.Value)
	}
}

// The life of a swarm of 24: every record is found from everywhere, the newest
// wins, the copies are where they belong, and still so with a third killed.
func TestSwarm(t *testing.T) {
	t.Parallel()
	const size, items = 24, 24
	nodes := swarm(t, size, "127.0.0.1:0", Config{})
	var newest []Item
	for i := range items {
		old, new := sign(key(i), 1, fmt.Sprint("old ", i)), sign(key(i), 2, fmt.Sprint("new ", i))
		if stored := mustPut(t, nodes[i%size], old); stored != replicas {
			t.Errorf("item %d: %d copies, want %d", i, stored, replicas)
		}
		assertGet(t, nodes[(i+7)%size], old)
		mustPut(t, nodes[(i+11)%size], new)
		assertGet(t, nodes[(i+3)%size], new)
		newest = append(newest, new)
	}

	// Where the copies are: at the truly closest, the publisher aside.
	right, total := 0, 0
	for _, it := range newest {
		byDistance := slices.Clone(nodes)
		slices.SortFunc(byDistance, func(a, b *Node) int {
			if closer(Target(it.Key), a.overlays[0].id, b.overlays[0].id) {
				return -1
			}
			return 1
		})
		for _, n := range byDistance[:replicas] {
			total++
			if got, err := n.store.item(it.Key); err == nil && got.Seq == it.Seq {
				right++
			}
		}
	}
	t.Logf("%d of %d copies are at the closest nodes", right, total)
	if right < total*3/4 {
		t.Errorf("%d of %d copies are at the closest nodes", right, total)
	}

	for _, i := range rand.Perm(size)[:size/3] {
		nodes[i].Close()
	}
	alive := slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n.ctx.Err() != nil })
	var wg sync.WaitGroup
	for i, it := range newest {
		wg.Go(func() {
			assertGet(t, alive[i%len(alive)], it)
			mustPut(t, alive[(i+5)%len(alive)], sign(key(i), 3, "third"))
			assertGet(t, alive[(i+9)%len(alive)], sign(key(i), 3, "third"))
		})
	}
	wg.Wait()

	// TRACE names only nodes that are alive, nearest first.
	living := map[netip.AddrPort][20]byte{}
	for _, n := range alive {
		living[n.addr()] = n.overlays[0].id
	}
	for range 5 {
		wg.Go(func() {
			var target [20]byte
			for i := range target {
				target[i] = byte(rand.Uint32())
			}
			hops, err := alive[0].Trace(testContext(t), target)
			if err != nil || len(hops) < replicas {
				t.Errorf("Trace = %d hops, %v", len(hops), err)
			}
			for i, h := range hops {
				if id, ok := living[h.Addr]; !ok || id != h.ID || h.Addr == alive[0].addr() {
					t.Errorf("hop %d of Trace is no living other node: %v", i, h)
				}
				if i > 0 && closer(target, h.ID, hops[i-1].ID) {
					t.Errorf("hop %d of Trace is closer than the one before", i)
				}
			}
		})
	}
	wg.Wait()
}

// One of the first eight hops of a random target, as exchange points are drawn:
// no node may get very many of the picks.
func TestTraceIsNotSkewed(t *testing.T) {
	t.Parallel()
	const size, draws = 20, 200
	nodes := swarm(t, size, "127.0.0.1:0", Config{})
	picks := map[netip.AddrPort]int{}
	for range draws {
		var target [20]byte
		for i := range target {
			target[i] = byte(rand.Uint32())
		}
		hops, err := nodes[0].Trace(testContext(t), target)
		if err != nil {
			t.Fatal(err)
		}
		picks[hops[rand.IntN(min(replicas, len(hops)))].Addr]++
	}
	var counts []int
	for _, c := range picks {
		counts = append(counts, c)
	}
	slices.Sort(counts)
	t.Logf("picks of %d nodes: %v", size-1, counts)
	// Even would be 10.5 each. Ids are random, so some nodes have more room
	// around them; three times the even share would be another matter.
	if top := counts[len(counts)-1]; top > 3*draws/(size-1) {
		t.Errorf("one node has %d of %d picks", top, draws)
	}
	if len(counts) < (size-1)*3/4 {
		t.Errorf("only %d of %d nodes are ever picked", len(counts), size-1)
	}
}

func TestIPv6(t *testing.T) {
	nodes := swarm(t, 10, "[::1]:0", Config{})
	it := sign(key(1), 5, "over IPv6")
	if stored := mustPut(t, nodes[3], it); stored != replicas {
		t.Errorf("%d copies, want %d", stored, replicas)
	}
	assertGet(t, nodes[8], it)
	hops, err := nodes[4].Trace(testContext(t), Target(it.Key))
	if err != nil || len(hops) < replicas || !hops[0].Addr.Addr().Is6() || hops[0].Addr.Addr().Is4In6() {
		t.Errorf("Trace = %v, %v", hops, err)
	}
}

// A socket of both families is in both networks; those of one family find what
// it puts, and it finds what they put.
func TestBothFamilies(t *testing.T) {
	dual := open(t, Config{Conn: listen(t, "[::]:0")})
	port := dual.addr().Port()
	at4, at6 := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.AddrPortFrom(netip.IPv6Loopback(), port)
	waitReady(t, dual)
	var four, six []*Node
	for range 3 {
		four = append(four, open(t, Config{Bootstrap: []netip.AddrPort{at4}}))
		six = append(six, open(t, Config{Conn: listen(t, "[::1]:0"), Bootstrap: []netip.AddrPort{at6}}))
	}
	for _, n := range append(slices.Clone(four), six...) {
		waitReady(t, n)
	}
	eventually(t, "the dual node knows all six", func() bool { return dual.Stats().Good == 6 })
	for i, from := range []*Node{dual, four[0], six[0]} {
		it := sign(key(i), 1, "x")
		mustPut(t, from, it)
		assertGet(t, dual, it)
	}
	assertGet(t, four[2], sign(key(0), 1, "x"))
	assertGet(t, six[2], sign(key(0), 1, "x"))
	hops, err := dual.Trace(testContext(t), [20]byte{})
	if err != nil || len(hops) != 6 {
		t.Errorf("Trace of both = %d hops, %v, want 6", len(hops), err)
	}
}

func TestErrors(t *testing.T) {
	ctx := testContext(t)
	alone := open(t, Config{})
	waitReady(t, alone)
	it := sign(key(1), 10, "value")
	if _, err := alone.Get(ctx, it.Key); err != ErrNoNodes {
		t.Errorf("Get alone = %v, want ErrNoNodes", err)
	}
	if _, err := alone.Put(ctx, it); err != ErrNoNodes {
		t.Errorf("Put alone = %v, want ErrNoNodes", err)
	}
	if _, err := alone.Trace(ctx, [20]byte{}); err != ErrNoNodes {
		t.Errorf("Trace alone = %v, want ErrNoNodes", err)
	}
	nodes := swarm(t, 4, "127.0.0.1:0", Config{})
	if _, err := nodes[0].Get(ctx, it.Key); err != ErrNotFound {
		t.Errorf("Get of what is missing = %v, want ErrNotFound", err)
	}
	mustPut(t, nodes[0], it)
	for _, tt := range []struct {
		name string
		it   Item
	}{
		{"older", sign(key(1), 9, "older")},
		{"same seq, other value", sign(key(1), 10, "other")},
	} {
		_, err := nodes[1].Put(ctx, tt.it)
		if stale, ok := err.(*StaleError); !ok || stale.Seq != 10 {
			t.Errorf("Put of %s = %v, want StaleError of 10", tt.name, err)
		}
	}
	assertGet(t, nodes[2], it)
	mustPut(t, nodes[1], it) // the same again is a refresh
	mustPut(t, nodes[1], sign(key(1), 11, "newer"))
	assertGet(t, nodes[2], sign(key(1), 11, "newer"))

	bad := sign(key(2), 1, "forged")
	bad.Value = []byte("Forged")
	if _, err := nodes[0].Put(ctx, bad); err == nil {
		t.Error("Put of a wrongly signed item works")
	}
	big := sign(key(2), 1, string(make([]byte, MaxValue+1)))
	if _, err := nodes[0].Put(ctx, big); err == nil {
		t.Error("Put of too large an item works")
	}
	largest := sign(key(2), MaxSeq, string(make([]byte, MaxValue)))
	mustPut(t, nodes[0], largest)
	assertGet(t, nodes[3], largest)
	empty := sign(key(3), 0, "")
	mustPut(t, nodes[0], empty)
	assertGet(t, nodes[3], empty)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := nodes[0].Get(cancelled, key32(99)); err != context.Canceled {
		t.Errorf("Get with an ended context = %v", err)
	}
	for i := range 2 {
		if err := nodes[0].Close(); err != nil {
			t.Errorf("Close %d = %v", i, err)
		}
	}
	if _, err := nodes[0].Get(ctx, it.Key); err != ErrClosed {
		t.Errorf("Get after Close = %v, want ErrClosed", err)
	}
}

func key32(n int) (k [32]byte) {
	copy(k[:], key(n).Public().(ed25519.PublicKey))
	return k
}

// Items expire by the injected clock, two hours after they came last.
func TestExpiry(t *testing.T) {
	var mu sync.Mutex
	at := time.Unix(1e9, 0)
	advance := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(d)
	}
	nodes := swarm(t, 5, "127.0.0.1:0", Config{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}})
	it := sign(key(1), 3, "v")
	mustPut(t, nodes[0], it)
	advance(119 * time.Minute)
	assertGet(t, nodes[1], it)
	mustPut(t, nodes[0], it) // put again
	advance(119 * time.Minute)
	assertGet(t, nodes[1], it)
	advance(time.Minute)
	if _, err := nodes[1].Get(testContext(t), it.Key); err != ErrNotFound {
		t.Errorf("Get after two hours = %v, want ErrNotFound", err)
	}
	// What has expired does not stand in the way of a publisher who lost count.
	again := sign(key(1), 1, "again")
	mustPut(t, nodes[0], again)
	assertGet(t, nodes[1], again)
	advance(2 * time.Hour)
	for _, n := range nodes {
		if s := n.Stats(); s.Items != 0 {
			t.Errorf("%d items left after they expired", s.Items)
		}
	}
}

// Clients find and put, but are in no table and are sent no queries.
func TestReadOnly(t *testing.T) {
	nodes := swarm(t, 6, "127.0.0.1:0", Config{})
	client := open(t, Config{ReadOnly: true, Bootstrap: []netip.AddrPort{nodes[0].addr()}})
	waitReady(t, client)
	it := sign(key(1), 1, "of a client")
	mustPut(t, client, it)
	assertGet(t, nodes[5], it)
	assertGet(t, client, it)
	if hops, err := client.Trace(testContext(t), [20]byte{}); err != nil || len(hops) != 6 {
		t.Errorf("Trace of a client = %d hops, %v, want 6", len(hops), err)
	}
	for i, n := range nodes {
		for _, h := range n.Table() {
			if h.Addr == client.addr() {
				t.Errorf("the client is in the table of node %d", i)
			}
		}
	}
	if s := client.Stats(); s.Refused != 0 || s.Queries != 0 || s.Items != 0 {
		t.Errorf("the client was asked: %+v", s)
	}
	// A query to it is not answered, nor passed on.
	c := listen(t, "127.0.0.1:0")
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort(ping("aa"), client.addr()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client refuses a query", func() bool { return client.Stats().Refused == 1 })
}

// ping returns a query.
func ping(t string) []byte {
	return []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t" + fmt.Sprint(len(t)) + ":" + t + "1:y1:qe")
}
