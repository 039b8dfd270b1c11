package kx

import (
	"bufio"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// layersOf returns the two sides of n layers.
func layersOf(n int) (seal []*wire.LayerSealer, open []*wire.LayerOpener) {
	for i := range n {
		key := [wire.KeySize]byte{byte(i)}
		seal, open = append(seal, wire.NewLayerSealer(&key)), append(open, wire.NewLayerOpener(&key))
	}
	return seal, open
}

// BenchmarkSeal3 is what a sender's layers cost.
func BenchmarkSeal3(b *testing.B) {
	seal, _ := layersOf(3)
	var body [wire.BodySize]byte
	b.ReportAllocs()
	for b.Loop() {
		for i, s := range seal {
			if err := s.Seal(&body, i); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPeel3 is what three hops' layers cost together.
func BenchmarkPeel3(b *testing.B) {
	seal, open := layersOf(3)
	bodies := make([][wire.BodySize]byte, 512)
	left := 0
	b.ReportAllocs()
	for b.Loop() {
		if left == 0 {
			b.StopTimer()
			for k := range bodies {
				for i, s := range seal {
					s.Seal(&bodies[k], i)
				}
			}
			left = len(bodies)
			b.StartTimer()
		}
		left--
		for i := range open {
			if err := open[len(open)-1-i].Open(&bodies[len(bodies)-1-left], len(open)-i); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A heldConn is a socket that a benchmark can take out of its node's hands.
type heldConn struct {
	*net.UDPConn
	held   atomic.Bool
	closed chan struct{}
}

func (c *heldConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for !c.held.Load() {
		n, from, err := c.UDPConn.ReadFromUDPAddrPort(b)
		if err == nil || !c.held.Load() {
			return n, from, err
		}
	}
	<-c.closed
	return 0, netip.AddrPort{}, net.ErrClosed
}

func (c *heldConn) Close() error { close(c.closed); return c.UDPConn.Close() }

// hold stops the node's reading.
func (c *heldConn) hold() {
	c.held.Store(true)
	c.SetReadDeadline(time.Now())
	time.Sleep(10 * time.Millisecond)
	c.SetReadDeadline(time.Time{})
}

// drain reads want packets, or fewer if no more come in a while.
func (c *heldConn) drain(b []byte, want int, while time.Duration) (n int) {
	c.SetReadDeadline(time.Now().Add(while))
	for {
		if n == want {
			c.SetReadDeadline(time.Time{})
			return n
		}
		if _, _, err := c.UDPConn.ReadFromUDPAddrPort(b); err != nil {
			c.SetReadDeadline(time.Time{})
			return n
		}
		n++
	}
}

// held has a node read its packets from a heldConn.
func held(t testing.TB, n *Node) *heldConn { return n.cfg.Packets.(*heldConn) }

// batch is how many cells wait in a socket at a time; they fit the smallest
// receive buffer that Linux has by default.
const batch = 64

// BenchmarkRelayCell is one cell through a relay, from its socket to its
// socket, and beside it the floor: the same two socket calls and the same
// operations of the AEAD, with nothing around them. Both run in turn in the
// same loop, and the median of what neighbouring batches give counts, so that
// it matters little who else has the machine. The bar is 1.5.
func BenchmarkRelayCell(b *testing.B) {
	b.Run("pass", func(b *testing.B) { benchmarkRelayCell(b, false) })
	b.Run("splice", func(b *testing.B) { benchmarkRelayCell(b, true) })
}

func benchmarkRelayCell(b *testing.B, splice bool) {
	open := func(relay bool) *loopRelay {
		l, u, err := listenBoth()
		if err != nil {
			b.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		cfg := Config{Dial: dialTCP, Packets: &heldConn{UDPConn: u, closed: make(chan struct{})}, Clock: systemClock{}, TestNetwork: true}
		if relay {
			cfg.Key, cfg.Listener, cfg.Addrs = pid.NewKey(), l, []netip.AddrPort{addr}
		} else {
			l.Close()
		}
		n, err := Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { n.Close() })
		r := &loopRelay{Node: n, Relay: Relay{Addrs: []netip.AddrPort{addr}}}
		if relay {
			r.Key = cfg.Key.ID()
		}
		return r
	}
	// What is measured is relay; its cells go to next.
	client, relay, next := open(false), open(true), open(true)
	var tun *Tunnel
	if splice {
		next = open(false)
		var to *Tunnel
		tun, to = join(b, client.Node, next.Node, path(relay), path(relay))
		speak(b, to, tun, 5)
		speak(b, tun, to, 5)
	} else {
		end := open(true)
		to := newLoopClient(b)
		var callee *Tunnel
		tun, callee = join(b, client.Node, to, path(relay, next, end), path(end))
		speak(b, tun, callee, 5)
		speak(b, callee, tun, 5)
	}
	eventually(b, "voice takes UDP", func() bool { return client.allUDP() && relay.allUDP() })
	in, out := held(b, relay.Node), held(b, next.Node)
	in.hold()
	out.hold()
	client.noPings() // nobody answers from now on
	relay.noPings()
	buf := make([]byte, maxKRPC+1)
	in.drain(buf, 1000, 20*time.Millisecond)
	out.drain(buf, 1000, 20*time.Millisecond)

	floor := newFloor(b, splice)
	var spent, least []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		for range batch {
			if err := tun.SendVoice(new(wire.Frame)); err != nil {
				b.Fatal(err)
			}
		}
		n := 0
		start := time.Now()
		for range batch {
			size, from, err := in.UDPConn.ReadFromUDPAddrPort(buf)
			if err != nil || size != wire.VoiceCellSize {
				b.Fatal(size, err)
			}
			relay.takeCell((*wire.VoiceCell)(buf), from)
			n++
		}
		spent = append(spent, time.Since(start))
		if got := out.drain(buf, n, patience); got != n {
			b.Fatalf("%d of %d cells came out", got, n)
		}
		floor.fill(b)
		least = append(least, floor.run(b))
	}
	var ratios []float64
	for i := range spent {
		ratios = append(ratios, float64(spent[i])/float64(least[i]))
	}
	slices.Sort(spent)
	slices.Sort(least)
	slices.Sort(ratios)
	b.ReportMetric(float64(spent[len(spent)/2])/batch, "relay-ns/cell")
	b.ReportMetric(float64(least[len(least)/2])/batch, "floor-ns/cell")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(0, "ns/op")
}

// allUDP reports whether UDP was seen to pass on all links.
func (n *Node) allUDP() bool {
	for _, l := range n.links.list() {
		if !l.udp.heard.Load() {
			return false
		}
	}
	return true
}

// noPings has a node take all its links' UDP for good and ask for no sign of it.
func (n *Node) noPings() {
	for _, l := range n.links.list() {
		l.udp.mu.Lock()
		l.udp.asked, l.udp.waiting = time.Now().Add(time.Hour), time.Time{}
		l.udp.mu.Unlock()
	}
}

// A floor is what no relay can do without.
type floor struct {
	in, out *heldConn
	sender  *net.UDPConn
	aead    cipher.AEAD
	cell    [wire.VoiceCellSize]byte
	layer   int // length of what the layer's AEAD opens
	splice  bool
	nonce   [12]byte
	buf     [maxKRPC + 1]byte
}

func newFloor(b *testing.B, splice bool) *floor {
	listen := func() *heldConn {
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		c := &heldConn{UDPConn: u, closed: make(chan struct{})}
		b.Cleanup(func() { c.Close() })
		return c
	}
	f := &floor{in: listen(), out: listen(), splice: splice, layer: wire.BodySize - 4}
	if splice {
		f.layer = wire.FrameSize + 20 - 4
	}
	f.sender = listen().UDPConn
	var err error
	if f.aead, err = chacha20poly1305.New(make([]byte, 32)); err != nil {
		b.Fatal(err)
	}
	body := f.cell[16+4:]
	f.aead.Seal(body[:0], f.nonce[:], body[:f.layer-16], nil)
	f.aead.Seal(f.cell[12:12], f.nonce[:], f.cell[12:304], f.cell[:12])
	return f
}

func (f *floor) fill(b *testing.B) {
	to := f.in.LocalAddr().(*net.UDPAddr).AddrPort()
	for range batch {
		if _, err := f.sender.WriteToUDPAddrPort(f.cell[:], to); err != nil {
			b.Fatal(err)
		}
	}
}

func (f *floor) run(b *testing.B) time.Duration {
	to := f.out.LocalAddr().(*net.UDPAddr).AddrPort()
	start := time.Now()
	for range batch {
		if _, _, err := f.in.UDPConn.ReadFromUDPAddrPort(f.buf[:]); err != nil {
			b.Fatal(err)
		}
		c := f.buf[:wire.VoiceCellSize]
		body := c[20:]
		if _, err := f.aead.Open(c[12:12], f.nonce[:], c[12:], c[:12]); err != nil {
			b.Fatal(err)
		}
		if _, err := f.aead.Open(body[:0], f.nonce[:], body[:f.layer], nil); err != nil {
			b.Fatal(err)
		}
		if f.splice {
			f.aead.Seal(body[:0], f.nonce[:], body[:f.layer-16], nil)
		}
		f.aead.Seal(c[12:12], f.nonce[:], c[12:304], c[:12])
		if _, err := f.out.WriteToUDPAddrPort(c, to); err != nil {
			b.Fatal(err)
		}
	}
	d := time.Since(start)
	f.out.drain(f.buf[:], batch, patience)
	return d
}

// BenchmarkTunnelBuild builds tunnels over links that stand.
func BenchmarkTunnelBuild(b *testing.B) {
	for hops := 1; hops <= 3; hops++ {
		b.Run(fmt.Sprintf("%d hops", hops), func(b *testing.B) {
			p := path(relays(b, hops)...)
			n := newLoopClient(b)
			warm, err := n.Build(b.Context(), p)
			if err != nil {
				b.Fatal(err)
			}
			defer warm.Close()
			b.ReportAllocs()
			for b.Loop() {
				t, err := n.Build(b.Context(), p)
				if err != nil {
					b.Fatal(err)
				}
				t.Close()
			}
		})
	}
}

// BenchmarkStream is the throughput of a spliced stream, in one direction.
func BenchmarkStream(b *testing.B) {
	s := newSplice(b)
	buf := make([]byte, 16<<10)
	go func() {
		for {
			if _, err := s.caller.Write(buf); err != nil {
				return
			}
		}
	}()
	got := make([]byte, len(buf))
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(s.callee, got); err != nil {
			b.Fatal(err)
		}
	}
	s.caller.Close()
}

// fifty calls for so long: 250 frames each way.
const (
	fiftyCalls = 50
	callTime   = 5 * time.Second
)

// BenchmarkFiftyCalls has fifty calls of 50 frames a second, both ways, over 5
// relays, all on this machine, and reports what the network adds to the delay
// of speech: from SendVoice to the receiver's callback, over 6 links. The bar
// is a p99 of 3 ms. It takes its time once, whatever -benchtime says.
func BenchmarkFiftyCalls(b *testing.B) {
	rs := relays(b, 5)
	out, in := path(rs[0], rs[1], rs[2]), path(rs[4], rs[3], rs[2])
	var ends [2 * fiftyCalls]*Tunnel
	for i := range fiftyCalls {
		ends[2*i], ends[2*i+1] = join(b, newLoopClient(b), newLoopClient(b), out, in)
	}
	start := time.Now()
	var mu sync.Mutex
	var delays []time.Duration
	const perEnd = int(callTime / (20 * time.Millisecond))
	delays = make([]time.Duration, 0, len(ends)*perEnd)
	listen := func() {
		for _, t := range ends {
			t.OnVoice(func(f *wire.Frame) {
				d := time.Since(start) - time.Duration(binary.BigEndian.Uint64(f[:]))
				mu.Lock()
				delays = append(delays, d)
				mu.Unlock()
			})
		}
	}
	var sent atomic.Int64
	call := func(frames int) {
		var wg sync.WaitGroup
		for i, t := range ends {
			wg.Go(func() {
				var f wire.Frame
				time.Sleep(time.Duration(i) * 20 * time.Millisecond / time.Duration(len(ends)))
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for range frames {
					<-tick.C
					binary.BigEndian.PutUint64(f[:], uint64(time.Since(start)))
					t.SendVoice(&f)
					sent.Add(1)
				}
			})
		}
		wg.Wait()
	}
	call(50) // UDP comes up
	time.Sleep(200 * time.Millisecond)
	listen()
	sent.Store(0)
	var tcpBefore uint64
	for _, r := range rs {
		tcpBefore += r.Traffic.VoiceOverTCP.Load()
	}
	runtime.GC()
	call(perEnd)
	time.Sleep(200 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	if len(delays) == 0 {
		b.Fatal("nothing was heard")
	}
	at := func(q float64) float64 { return float64(delays[int(q*float64(len(delays)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(sent.Load()-int64(len(delays))), "lost")
	var tcp uint64
	for _, r := range rs {
		tcp += r.Traffic.VoiceOverTCP.Load()
	}
	b.ReportMetric(float64(tcp-tcpBefore), "tcp-cells")
	b.ReportMetric(0, "ns/op")
}

// relayProcess is the environment variable that makes the test binary a relay.
const relayProcess = "HUSHBELL_KX_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(relayProcess) != "" {
		runRelayProcess()
		return
	}
	os.Exit(m.Run())
}

// runRelayProcess is a relay alone in a process. For every line that it reads
// it says how much memory it takes: live heap and stacks, and resident set.
func runRelayProcess() {
	l, u, err := listenBoth()
	if err != nil {
		panic(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	k := pid.NewKey()
	n, err := Open(Config{Dial: dialTCP, Packets: u, Clock: systemClock{}, Key: k, Listener: l, Addrs: []netip.AddrPort{addr},
		Limits: Limits{Tunnels: 5000, LinkTunnels: 5000, Registrations: 5000}, TestNetwork: true})
	if err != nil {
		panic(err)
	}
	id := k.ID()
	fmt.Printf("%x %s\n", id[:], addr)
	for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(m.HeapAlloc+m.StackInuse, residentSet())
	}
	n.Close()
}

// residentSet is this process's VmRSS in bytes.
func residentSet() (kb int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb << 10
}

// A relayChild is a relay in a process of its own.
type relayChild struct {
	Relay
	in  io.WriteCloser
	out *bufio.Reader
	pid int
}

func newRelayChild(b testing.TB) *relayChild {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), relayProcess+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	c := &relayChild{in: in, out: bufio.NewReader(out), pid: cmd.Process.Pid}
	var key []byte
	var addr string
	if _, err := fmt.Fscanf(c.out, "%x %s\n", &key, &addr); err != nil {
		b.Fatal(err)
	}
	c.Relay = Relay{pid.ID(key), []netip.AddrPort{netip.MustParseAddrPort(addr)}}
	return c
}

// memory asks the relay what it takes.
func (c *relayChild) memory(b *testing.B) (heap, rss int64) {
	fmt.Fprintln(c.in)
	if _, err := fmt.Fscanf(c.out, "%d %d\n", &heap, &rss); err != nil {
		b.Fatal(err)
	}
	return heap, rss
}

// BenchmarkTunnelMemory is what a relay's process takes for each tunnel that
// passes through it, idle or after 64 kB went through it, for each that is
// registered, and for each registered one on a link of its own. The default
// Limits come from it.
func BenchmarkTunnelMemory(b *testing.B) {
	const tunnels = 200
	big := make([]byte, 64<<10)
	for _, c := range []struct {
		name  string
		build func(n *Node, child, next Relay) (*Tunnel, error)
	}{
		{"passing", func(n *Node, child, next Relay) (*Tunnel, error) {
			return n.Build(b.Context(), []Relay{child, next})
		}},
		{"passing-used", func(n *Node, child, next Relay) (*Tunnel, error) {
			from, to := join(b, n, n, []Relay{child, next}, []Relay{next})
			go from.Write(big)
			if _, err := io.ReadFull(to, make([]byte, len(big))); err != nil {
				return nil, err
			}
			return from, nil
		}},
		{"linked", func(_ *Node, child, _ Relay) (*Tunnel, error) {
			return newLoopClient(b).BuildIn(b.Context(), []Relay{child}, NewSecret())
		}},
		{"registered", func(n *Node, child, _ Relay) (*Tunnel, error) {
			return n.BuildIn(b.Context(), []Relay{child}, NewSecret())
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			child := newRelayChild(b)
			next := newLoopRelay(b, nil, Limits{Tunnels: 5000, LinkTunnels: 5000})
			n := newLoopClient(b)
			n.cells = newCellPool(5000)
			for range 20 { // what the first tunnels need once
				t, err := c.build(n, child.Relay, next.Relay)
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
			}
			heap, rss := child.memory(b)
			for range tunnels {
				t, err := c.build(n, child.Relay, next.Relay)
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
			}
			heap2, rss2 := child.memory(b)
			b.ReportMetric(float64(heap2-heap)/tunnels/1000, "heap-kB/tunnel")
			b.ReportMetric(float64(rss2-rss)/tunnels/1000, "rss-kB/tunnel")
			b.ReportMetric(float64(rss)/1e6, "idle-rss-MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}
