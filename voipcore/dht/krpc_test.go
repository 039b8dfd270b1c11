package dht

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

const testID = "abcdefghij0123456789"

// messages are one of each kind that parse lets pass, and what it makes of it.
var messages = []struct {
	text string
	want kind
}{
	{string(ping("aa")), query},
	{"d1:ad2:id20:" + testID + "6:target20:" + testID + "4:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe", query},
	{"d1:ad2:id20:" + testID + "9:info_hash20:" + testID + "6:noseedi1ee1:q9:get_peers2:roi1e1:t2:aa1:v4:XX011:y1:qe", query},
	{"d1:ad2:id20:" + testID + "3:seqi4e6:target20:" + testID + "e1:q3:get1:t1:a1:y1:qe", query},
	{"d1:ad3:casi3e2:id20:" + testID + "1:k32:" + testID + "012345678901" + "4:salt2:ab3:seqi0e3:sig64:" +
		strings.Repeat("s", 64) + "5:token4:abcd1:v5:helloe1:q3:put1:t1:a1:y1:qe", query},
	{"d2:ip6:abcdef1:rd2:id20:" + testID + "5:nodes52:" + strings.Repeat("n", 52) + "6:nodes638:" + strings.Repeat("6", 38) +
		"5:token0:6:valuesl6:abcdef18:abcdefghijklmnopqree1:t1:a1:y1:re", response},
	{"d1:rd4:BFpe256:" + strings.Repeat("b", 256) + "2:id20:" + testID + "8:intervali-7e1:k32:" + testID + "0123456789013:numi9e7:samples40:" +
		strings.Repeat("s", 40) + "3:seqi9e1:v0:e1:t1:a1:y1:re", response},
	{"d1:eli201e5:errore1:t2:aa1:y1:ee", failure},
	{"d1:ad2:id20:" + testID + "1:xdee1:q4:ping1:t1:a1:xlli1ei-2ee3:abcd0:leee1:y1:qe", query},
}

func TestParse(t *testing.T) {
	for _, m := range messages {
		if got := parse([]byte(m.text)); got != m.want {
			t.Errorf("parse(%q) = %d, want %d", m.text, got, m.want)
		}
		// Whatever is cut off or hung on makes it garbage.
		for n := range m.text {
			if got := parse([]byte(m.text[:n])); got != garbage {
				t.Errorf("parse of the first %d bytes of %q = %d", n, m.text, got)
			}
		}
		if got := parse([]byte(m.text + "e")); got != garbage {
			t.Errorf("parse(%q and an e) = %d", m.text, got)
		}
	}
	long := "d1:ad2:id20:" + testID + "1:x1500:" + strings.Repeat("x", 1500) + "e1:q4:ping1:t1:a1:y1:qe"
	for _, bad := range append(crashers[:len(crashers):len(crashers)],
		"", "d", "de", "i1e", "le", "0:", long,
		"d1:q4:ping1:t1:a1:y1:qe",                                        // no arguments
		"d1:ade1:q4:ping1:t1:a1:y1:qe",                                   // no id
		"d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t1:a1:y1:qe",         // short id
		"d1:ad2:id20:"+testID+"e1:q4:ping1:y1:qe",                        // no transaction
		"d1:ad2:id20:"+testID+"e1:q4:ping1:t0:1:y1:qe",                   // empty transaction
		"d1:ad2:id20:"+testID+"e1:q4:pong1:t1:a1:y1:qe",                  // unknown method
		"d1:ad2:id20:"+testID+"e1:q13:announce_peer1:t1:a1:y1:qe",        // a method that we have no use for
		"d1:ad2:id20:"+testID+"e1:q4:ping1:t1:a1:y1:re",                  // a response without results
		"d1:ad2:id20:"+testID+"e1:q4:ping1:t1:a1:y1:xe",                  // neither
		"d1:ad2:id20:"+testID+"e1:t1:a1:q4:ping1:y1:qe",                  // keys out of order
		"d1:ad2:id20:"+testID+"2:id20:"+testID+"e1:q4:ping1:t1:a1:y1:qe", // a key twice
		"d0:0:0:0:1:ad2:id20:"+testID+"e1:q4:ping1:t1:a1:y1:qe",          // the empty key twice
		"d1:ad2:id20:"+testID+"3:seqi-0ee1:q3:get1:t1:a1:y1:qe",          // what has two encodings
		"d1:ad2:id20:"+testID+"3:seqi01ee1:q3:get1:t1:a1:y1:qe",
		"d1:ad2:id20:"+testID+"3:seqi1234567890123456789ee1:q3:get1:t1:a1:y1:qe",
		"d1:ad2:id20:"+testID+"1:vi5ee1:q3:put1:t1:a1:y1:qe",
		"d1:ad2:id20:"+testID+"1:x"+strings.Repeat("l", 20)+strings.Repeat("e", 20)+"e1:q4:ping1:t1:a1:y1:qe",
		"d1:rd2:id20:"+testID+"5:nodes27:"+strings.Repeat("n", 27)+"e1:t1:a1:y1:re",
		"d1:rd2:id20:"+testID+"5:nodes442:"+strings.Repeat("n", 26*17)+"e1:t1:a1:y1:re",
	) {
		if got := parse([]byte(bad)); got != garbage {
			t.Errorf("parse(%q) = %d, want garbage", bad, got)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			for i := range messages {
				parse(messageBytes[i])
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for 1000 rounds of messages", n)
	}
}

var messageBytes = func() (all [][]byte) {
	for _, m := range messages {
		all = append(all, []byte(m.text))
	}
	return all
}()

// crashers are packets that crash the library without the filter (v2.23.0), or,
// the last two, make it print them.
var crashers = []string{
	"d1:q13:announce_peer1:y1:qe",
	"d1:q3:put1:y1:qe",
	"d1:q3:put1:t1:a1:y1:qe",
	"d2:ip1:x1:y1:re",
	"d2:ip0:1:t1:a1:y1:re",
	"d1:rd6:valuesl1:xee1:y1:re",
	"d1:rd6:valuesl0:ee1:t1:a1:y1:re",
	"d1:eli-0eee1:y1:ee",
	"d1:t1:a1:xi-0e1:y1:re",
}

// What passes the filter the library decodes without an error: else it would
// print the packet, and who knows what more.
func assertHarmless(t *testing.T, packet []byte) {
	t.Helper()
	if parse(packet) == garbage {
		return
	}
	var m krpc.Msg
	if err := bencode.Unmarshal(packet, &m); err != nil {
		t.Fatalf("parse takes %q, and the library says: %v", packet, err)
	}
	if m.Y == "q" && m.A == nil || m.Y == "r" && m.R == nil || m.Y == "e" && m.E == nil {
		t.Fatalf("parse takes %q, and the library finds no body", packet)
	}
	if m.SenderID() == nil && m.Y != "e" || m.T == "" {
		t.Fatalf("parse takes %q, and the library finds no id or transaction", packet)
	}
	if m.A != nil && m.A.V != nil {
		if _, ok := m.A.V.(string); !ok {
			t.Fatalf("parse takes %q with a value that is a %T", packet, m.A.V)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range messages {
		f.Add([]byte(m.text))
	}
	for _, c := range crashers {
		f.Add([]byte(c))
	}
	f.Fuzz(assertHarmless)
}

// FuzzItem decodes replies to a get: whatever a node says, what is taken for the
// item of a key is one that its owner signed.
func FuzzItem(f *testing.F) {
	good := sign(key(1), 7, "value")
	reply := func(it Item) string {
		return string(bencode.MustMarshal(krpc.Msg{T: "a", Y: "r", R: &krpc.Return{ID: krpc.ID{1},
			Bep44Return: krpc.Bep44Return{V: bencode.MustMarshal(string(it.Value)), K: it.Key, Sig: it.Sig, Seq: &it.Seq}}}))
	}
	f.Add(reply(good))
	f.Add(strings.Replace(reply(good), "5:value", "5:Value", 1))
	f.Add(strings.Replace(reply(good), "1:v5:value", "1:vi5e", 1))
	f.Add(strings.Replace(reply(good), "3:seqi7e", "", 1))
	f.Add(reply(sign(key(2), 7, "of another key")))
	f.Add(reply(sign(key(1), MaxSeq, strings.Repeat("v", MaxValue))))
	f.Fuzz(func(t *testing.T, packet string) {
		var m krpc.Msg
		var it Item
		ok := false
		if parse([]byte(packet)) == response && bencode.Unmarshal([]byte(packet), &m) == nil {
			it, ok = itemOf(good.Key, m.R)
		}
		if ok && (it.Key != good.Key || it.Verify() != nil || len(it.Value) > MaxValue) {
			t.Fatalf("%q is taken for %+v", packet, it)
		}
		if packet == reply(good) && !ok {
			t.Error("a good reply is not taken")
		}
	})
}

// mutate changes a message as a fuzzer would, in ways that bencoding feels.
func mutate(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(4) {
		i, j := r.IntN(len(b)), r.IntN(len(b))
		switch r.IntN(6) {
		case 0:
			b[i] = byte(r.Uint32())
		case 1:
			b = append(b[:min(i, j)], b[max(i, j):]...)
		case 2:
			b = append(b[:i:i], append([]byte{"ilde0123456789:-"[r.IntN(16)]}, b[i:]...)...)
		case 3:
			b[i], b[j] = b[j], b[i]
		case 4:
			b = append(b, b[i:]...)
		case 5:
			b = bytes.Replace(b, []byte{"0123456789"[r.IntN(10)]}, []byte{"0123456789"[r.IntN(10)]}, 1)
		}
		if len(b) < 2 {
			return []byte("de")
		}
	}
	return b
}

func TestParsedIsHarmless(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range 100_000 {
		b := mutate(r, messageBytes[r.IntN(len(messageBytes))])
		if parse(b) != garbage {
			passed++
		}
		assertHarmless(t, b)
	}
	if passed < 1000 {
		t.Errorf("only %d mutated messages passed: the test tests nothing", passed)
	}
}

// A node under fire: crash packets, mutated messages with a valid token, and
// noise, from many sockets; it stays alive, answers, and keeps what it has.
func TestGarbageOnThePort(t *testing.T) {
	nodes := swarm(t, 3, "127.0.0.1:0", Config{})
	it := sign(key(1), 1, "still here")
	mustPut(t, nodes[0], it)
	victim := nodes[1]
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(victim.addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	token := askToken(t, c)
	attack := append([][]byte{}, messageBytes...)
	attack = append(attack, []byte(fmt.Sprintf("d1:ad2:id20:%s1:k32:%s3:seqi4e3:sig64:%s5:token%d:%s1:v5:helloe1:q3:put1:t2:aa1:y1:qe",
		testID, testID+"012345678901", strings.Repeat("s", 64), len(token), token)))
	r := rand.New(rand.NewPCG(3, 4))
	send := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range crashers {
		send([]byte(b))
	}
	noise := make([]byte, 2000)
	for i := range 6000 {
		switch i % 3 {
		case 0:
			n := r.IntN(len(noise))
			for j := range noise[:n] {
				noise[j] = byte(r.Uint32())
			}
			if n > 0 {
				noise[0] = 'd'
			}
			send(noise[:n])
		default:
			send(mutate(r, attack[r.IntN(len(attack))]))
		}
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // let some of it arrive
		}
	}
	assertGet(t, nodes[2], it)
	if s := victim.Stats(); s.Garbage < 100 || s.Items != 1 {
		t.Errorf("after the attack: %+v, want much garbage and one item", s)
	}
	mustPut(t, nodes[0], sign(key(1), 2, "and going on"))
	if got, err := victim.store.item(it.Key); err != nil || got.Seq != 2 {
		t.Errorf("the victim stores seq %d, %v, want 2", got.Seq, err)
	}
}

// askToken gets a token to put with, as any node can.
func askToken(t *testing.T, c *net.UDPConn) string {
	t.Helper()
	if _, err := c.Write([]byte("d1:ad2:id20:" + testID + "6:target20:" + testID + "e1:q3:get1:t1:b1:y1:qe")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, maxPacket)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var m krpc.Msg
		if bencode.Unmarshal(b[:n], &m) == nil && m.R != nil && m.R.Token != nil {
			return *m.R.Token
		}
	}
}

// A method that nobody knows must leave nothing behind: the library would keep
// its name for ever. Nor may it be answered.
func TestUnknownMethodsAreDropped(t *testing.T) {
	n := open(t, Config{})
	c := listen(t, "127.0.0.1:0")
	defer c.Close()
	for i := range 50 {
		m := fmt.Sprintf("d1:ad2:id20:%se1:q6:spam%02d1:t1:a1:y1:qe", testID, i)
		if _, err := c.WriteToUDPAddrPort([]byte(m), n.addr()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "50 packets are dropped", func() bool { return n.Stats().Garbage == 50 })
	if s := n.Stats(); s.Queries != 0 {
		t.Errorf("%+v, want no queries", s)
	}
}

// liar is a node that answers every query with what reply makes of it.
func liar(t *testing.T, reply func(m *krpc.Msg) krpc.Return) netip.AddrPort {
	t.Helper()
	c := listen(t, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); c.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, maxPacket)
		for ctx.Err() == nil {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var m krpc.Msg
			if bencode.Unmarshal(b[:n], &m) != nil || m.Y != "q" || m.A == nil {
				continue
			}
			r := reply(&m)
			c.WriteToUDPAddrPort(bencode.MustMarshal(krpc.Msg{T: m.T, Y: "r", R: &r}), from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Nodes that answer with forged items, with another key's, without a seq, with
// old ones: Get takes the newest that is genuine, from whoever has it.
func TestLyingNodes(t *testing.T) {
	genuine, old := sign(key(1), 7, "genuine"), sign(key(1), 3, "old")
	forged := genuine
	forged.Seq, forged.Value = 9, []byte("forged")
	foreign := sign(key(2), 12, "of another key")
	token := "token"
	serve := func(id byte, it *Item, noSeq bool) netip.AddrPort {
		return liar(t, func(m *krpc.Msg) krpc.Return {
			r := krpc.Return{ID: krpc.ID{id}, Token: &token}
			if it != nil && m.Q == "get" {
				r.V, r.K, r.Sig, r.Seq = bencode.MustMarshal(string(it.Value)), it.Key, it.Sig, &it.Seq
				if noSeq {
					r.Seq = nil
				}
			}
			return r
		})
	}
	liars := []netip.AddrPort{
		serve(1, &forged, false), serve(2, &foreign, false), serve(3, &genuine, true), serve(4, nil, false),
	}
	n := open(t, Config{ReadOnly: true, Bootstrap: liars})
	waitReady(t, n)
	if got, err := n.Get(testContext(t), genuine.Key); err != ErrNotFound {
		t.Errorf("Get among liars = %q, %v, want ErrNotFound", got.Value, err)
	}
	// They also cannot keep a publisher from putting.
	if stored, err := n.Put(testContext(t), genuine); err != nil || stored != len(liars) {
		t.Errorf("Put at liars = %d, %v", stored, err)
	}
	n = open(t, Config{ReadOnly: true, Bootstrap: append(liars, serve(5, &old, false), serve(6, &genuine, false), serve(7, &old, false))})
	waitReady(t, n)
	assertGet(t, n, genuine)
	if _, err := n.Put(testContext(t), sign(key(1), 5, "late")); err == nil {
		t.Error("Put of an older item works")
	}
}

// Nodes that always name nodes that are nearer cannot keep a search going.
func TestEndlessNodes(t *testing.T) {
	const liars = maxQueries + 30
	var asked atomic.Int64
	var addrs []netip.AddrPort
	var complete sync.WaitGroup // orders the writes to addrs before the reads
	complete.Add(1)
	for i := range liars {
		addrs = append(addrs, liar(t, func(m *krpc.Msg) krpc.Return {
			complete.Wait()
			asked.Add(1)
			r := krpc.Return{ID: distant(m.A.Target, i)}
			for j := i + 1; j < min(i+4, liars); j++ {
				to := addrs[j]
				r.Nodes = append(r.Nodes, krpc.NodeInfo{ID: distant(m.A.Target, j),
					Addr: krpc.NodeAddr{IP: to.Addr().AsSlice(), Port: int(to.Port())}})
			}
			return r
		}))
	}
	complete.Done()
	n := open(t, Config{ReadOnly: true})
	waitReady(t, n) // it knows nobody yet, and does not ask by itself
	target := [20]byte{1}
	got := n.overlays[0].search(testContext(t), target, "find_node", replicas, []candidate{{Hop: Hop{Addr: addrs[0]}}}, nil)
	// A query may be sent twice, or a packet get lost, on a busy machine.
	if asked.Load() < maxQueries/2 || asked.Load() > 2*maxQueries || len(got) > maxQueries || len(got) < maxQueries/2 {
		t.Errorf("%d queries and %d answers, want %d", asked.Load(), len(got), maxQueries)
	}
}

// distant returns an id that is nearer to target the higher n is.
func distant(target krpc.ID, n int) krpc.ID {
	target[0] ^= byte(255 - n)
	return target
}
