package voipcore

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/celt"
)

// simPort is the port of all relays.
const simPort = 4433

// A simHost is a machine of a simnet as the Network of a Core.
type simHost struct{ *simnet.Host }

func (h simHost) Listen(at netip.AddrPort) (net.Listener, error) { return h.Host.Listen(at.Port()) }

func (h simHost) ListenUDP(at netip.AddrPort) (kx.PacketConn, error) {
	c, err := h.Host.ListenUDP(at.Port())
	return simPackets{c, at.Addr()}, err
}

// simPackets is a packet socket that behaves as our own sockets do: its local
// address is the one that was asked for, and IPv4 is shown as IPv4.
type simPackets struct {
	*simnet.UDPConn
	local netip.Addr
}

func (c simPackets) LocalAddr() net.Addr {
	port := c.UDPConn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.local, port))
}

func (c simPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.UDPConn.ReadFromUDPAddrPort(b)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// A world is a network in memory with a swarm of relays in it, each in a
// network of its own with a routable address: it is no test network. Time in
// it is that of a bubble, so that hours pass in seconds, and it is the
// protocol's own times that pass, not shortened ones.
type world struct {
	*simnet.Net
	swarm
	hosts []*simnet.Host // of the relays, in their order
}

// inWorld runs f in a bubble with n relays on a network like l. A goroutine
// that outlives all Cores fails the test: the bubble does not end with it.
func inWorld(t *testing.T, n int, l simnet.Link, f func(t *testing.T, w *world)) {
	t.Helper()
	defer oneProcessor()()
	synctest.Test(t, func(t *testing.T) {
		w := &world{Net: simnet.New(uint64(len(t.Name())))}
		w.SetDefault(l)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("seed %d", w.Seed())
			}
			w.Net.Close()
		})
		for i := range n {
			w.addRelay(t, w.host(fmt.Sprintf("23.%d.0.1", i+1)), nil)
		}
		f(t, w)
	})
}

func (w *world) host(ip string) *simnet.Host { return w.Host(netip.MustParseAddr(ip)) }

// addRelay starts a relay on a host.
func (w *world) addRelay(t testing.TB, h *simnet.Host, change func(*Config)) *Core {
	t.Helper()
	return w.addRelayWith(t, h, change, nil)
}

// addRelayWith starts a relay that has another one in place of its DHT.
func (w *world) addRelayWith(t testing.TB, h *simnet.Host, change func(*Config), lookups func(*Core) kx.DHT) *Core {
	t.Helper()
	cfg := Config{Listen: h.AddrPort(simPort), RelayKey: pid.NewKey(), Bootstrap: w.boot, Log: testLog("relay"), Network: simHost{h}}
	if change != nil {
		change(&cfg)
	}
	c, err := open(cfg, lookups)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w.relays, w.hosts = append(w.relays, c), append(w.hosts, h)
	if len(w.boot) < 3 {
		w.boot = append(w.boot, h.AddrPort(simPort))
	}
	return c
}

// hostOf returns the machine of the relay with a key.
func (w *world) hostOf(k pid.ID) *simnet.Host {
	for i, r := range w.relays {
		if r.cfg.RelayKey.ID() == k {
			return w.hosts[i]
		}
	}
	panic("no relay has this key")
}

// kill ends the relay with a key as a power cut does, and for good.
func (w *world) kill(k pid.ID) {
	w.hostOf(k).Cut()
	w.relay(k).Close()
}

// box opens a box on a host, with the protocol's own times, and waits until it
// can be called.
func (w *world) box(t testing.TB, name string, h *simnet.Host, change func(*Config)) *box {
	t.Helper()
	b := w.offline(t, name, h, change)
	if e := b.told(t, Reachability, time.Minute); !e.Online {
		t.Fatalf("%s is told %+v", name, e)
	}
	return b
}

// offline opens a box and does not wait.
func (w *world) offline(t testing.TB, name string, h *simnet.Host, change func(*Config)) *box {
	t.Helper()
	b := &box{key: pid.NewKey(), changed: make(chan struct{})}
	cfg := Config{
		Keys: []*pid.Key{b.key}, Bootstrap: w.boot, Log: testLog(name), Network: simHost{h}, Welcome: admit, Notify: b.note,
		NewEncoder: func(n int) (voice.Encoder, error) {
			return celt.NewEncoder(celt.Config{FrameSamples: voice.FrameSamples, PacketBytes: n})
		},
	}
	if change != nil {
		change(&cfg)
	}
	b.key = cfg.Keys[0]
	var err error
	if b.Core, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// pair opens two boxes on hosts of their own.
func (w *world) pair(t testing.TB) (a, b *box) {
	t.Helper()
	return w.box(t, "a", w.host("45.1.0.1"), nil), w.box(t, "b", w.host("45.2.0.1"), nil)
}

// told returns the first event of a kind that b is told within a time, and
// fails the test if there is none.
func (b *box) told(t testing.TB, k EventKind, within time.Duration) Event {
	t.Helper()
	limit := time.After(within)
	for {
		b.mu.Lock()
		for i, e := range b.events {
			if e.Kind == k {
				b.events = append(b.events[:i:i], b.events[i+1:]...)
				b.mu.Unlock()
				return e
			}
		}
		changed, told := b.changed, b.events
		b.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("no event %v within %v; told %+v", k, within, told)
		}
	}
}

// forget drops the events told so far.
func (b *box) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = nil
}

// connect has a call b, which answers by itself.
func connect(t testing.TB, a, b *box) (ida, idb call.ID) {
	t.Helper()
	a.forget()
	b.forget()
	a.call(t, b.key.ID())
	return a.told(t, Answered, time.Minute).Call, b.told(t, Answered, time.Minute).Call
}

// hangUp has a hang up, and returns what both have counted.
func hangUp(t testing.TB, a, b *box, id call.ID) (ra, rb Report) {
	t.Helper()
	a.HangUp(id)
	return a.told(t, Ended, 5*time.Second).Report, b.told(t, Ended, 5*time.Second).Report
}

// mustReach fails the test unless a call from a to b comes about, with sound
// both ways, and ends as it should.
func mustReach(t testing.TB, a, b *box) {
	t.Helper()
	id, _ := connect(t, a, b)
	talk20ms(25, a, b)
	ra, rb := hangUp(t, a, b, id)
	if ra.Voice.Received < 10 || rb.Voice.Received < 10 {
		t.Fatalf("25 frames were spoken; heard: %+v, %+v", ra.Voice, rb.Voice)
	}
}

// heard returns how many frames the present call of a box has received.
func (b *box) heard() uint64 {
	if t := b.talk.Load(); t != nil {
		return (*t.ends.Load())[0].receiver.Counters().Received
	}
	return 0
}

// gap has two boxes talk for a time, and returns the longest time in which one
// of them heard nothing.
func gap(d time.Duration, boxes ...*box) (worst time.Duration) {
	var pcm [voice.FrameSamples]int16
	last, heard := make([]time.Time, len(boxes)), make([]uint64, len(boxes))
	for i, b := range boxes {
		last[i], heard[i] = time.Now(), b.heard()
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		for i, b := range boxes {
			b.Speak(&pcm)
			b.Listen(&pcm)
			clear(pcm[:])
			if n := b.heard(); n != heard[i] {
				last[i], heard[i] = time.Now(), n
			}
			worst = max(worst, time.Since(last[i]))
		}
	}
	return worst
}

// legs returns how many calls a box has, those that say goodbye included.
func (b *box) legs() (n int) {
	b.board.do(func() { n = len(b.board.legs) })
	return n
}

// link returns the two machines that a hop of a tunnel lies between: hop 0 is
// from the box to its first relay.
func (w *world) link(own *simnet.Host, tun *kx.Tunnel, hop int) (from, to *simnet.Host) {
	p := tun.Path()
	if hop == 0 {
		return own, w.hostOf(p[0].Key)
	}
	return w.hostOf(p[hop-1].Key), w.hostOf(p[hop].Key)
}
