package kx

import (
	"crypto/rand"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/wire"
)

// A simSplice is two clients joined at an exchange point over 5 relays.
type simSplice struct {
	simnetwork
	relays         [5]*loopRelay
	hosts          [2]*simnet.Host // of caller and callee
	nodes          [2]*Node
	caller, callee *Tunnel
}

// newSimSplice makes it on relays of so many addresses each. hosts makes the
// machines of the two clients.
func newSimSplice(t testing.TB, ips [5][]string, hosts func(*simnet.Net) [2]*simnet.Host) *simSplice {
	t.Helper()
	s := &simSplice{simnetwork: simnetwork{Net: simnet.New(1)}}
	s.SetDefault(simnet.Link{Delay: 10 * time.Millisecond})
	for i := range s.relays {
		s.relays[i] = s.relay(t, nil, ips[i]...)
	}
	s.hosts = hosts(s.Net)
	for i, h := range s.hosts {
		s.nodes[i] = s.open(t, h, Config{})
	}
	r := s.relays
	s.caller, s.callee = join(t, s.nodes[0], s.nodes[1],
		[]Relay{r[0].Relay, r[1].Relay, r[2].Relay}, []Relay{r[4].Relay, r[3].Relay, r[2].Relay})
	return s
}

var (
	v4Relays = [5][]string{{"5.1.0.1"}, {"5.2.0.1"}, {"5.3.0.1"}, {"5.4.0.1"}, {"5.5.0.1"}}
	v6Relays = [5][]string{{"2a01::1"}, {"2a02::1"}, {"2a03::1"}, {"2a04::1"}, {"2a05::1"}}
	// Sockets for both families show IPv4 as v4-mapped.
	dualRelays = [5][]string{{"5.1.0.1", "2a01::1"}, {"5.2.0.1", "2a02::1"}, {"5.3.0.1", "2a03::1"}, {"5.4.0.1", "2a04::1"}, {"5.5.0.1", "2a05::1"}}
)

func plainHosts(a, b string) func(*simnet.Net) [2]*simnet.Host {
	return func(n *simnet.Net) [2]*simnet.Host {
		return [2]*simnet.Host{n.Host(netip.MustParseAddr(a)), n.Host(netip.MustParseAddr(b))}
	}
}

// natHosts are behind boxes of their own, with the same private address.
func natHosts(n *simnet.Net) [2]*simnet.Host {
	inside := netip.MustParseAddr("192.168.0.2")
	return [2]*simnet.Host{n.NAT(netip.MustParseAddr("9.9.0.1")).Host(inside), n.NAT(netip.MustParseAddr("9.8.0.1")).Host(inside)}
}

// overTCP is how many voice cells all nodes have put into TCP links.
func (s *simSplice) overTCP() (sum uint64) {
	for _, n := range s.simnetwork.nodes {
		sum += n.Traffic.VoiceOverTCP.Load()
	}
	return sum
}

// end closes all, and shows the seed if the test failed.
func (s *simSplice) end(t testing.TB) {
	if t.Failed() {
		t.Logf("seed %d", s.Seed())
	}
	s.caller.Close()
	s.callee.Close()
	s.close()
}

func TestStreamAndVoiceBothWays(t *testing.T) {
	for _, c := range []struct {
		name   string
		relays [5][]string
		hosts  func(*simnet.Net) [2]*simnet.Host
	}{
		{"IPv4", v4Relays, plainHosts("9.9.0.1", "9.8.0.1")},
		{"IPv6", v6Relays, plainHosts("2b01::1", "2b02::1")},
		{"both families", dualRelays, plainHosts("9.9.0.1", "9.8.0.1")},
		{"behind NAT", v4Relays, natHosts},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimSplice(t, c.relays, c.hosts)
				defer s.end(t)
				talk(t, s.caller, s.callee)
				time.Sleep(time.Second) // the links' UDP is up
				before := s.overTCP()
				for _, ends := range [][2]*Tunnel{{s.caller, s.callee}, {s.callee, s.caller}} {
					if sent := speak(t, ends[0], ends[1], 100); sent > 110 {
						t.Errorf("100 of %d frames arrived, on a network that loses none", sent)
					}
				}
				if got := s.overTCP() - before; got != 0 {
					t.Errorf("%d cells took TCP although UDP passes", got)
				}
				talk(t, s.caller, s.callee)
			})
		})
	}
}

// With UDP blocked voice takes the TCP link, and says so; when UDP comes back,
// it takes UDP again. Each client is blocked in turn, then a relay.
func TestBlockedUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimSplice(t, v4Relays, func(n *simnet.Net) [2]*simnet.Host {
			hosts := plainHosts("9.9.0.1", "9.8.0.1")(n)
			hosts[0].BlockUDP(true) // from the start
			return hosts
		})
		defer s.end(t)
		time.Sleep(time.Second)
		frames := func(from, to *Tunnel) (tcp uint64) {
			before := s.overTCP()
			if sent := speak(t, from, to, 100); sent > 105 {
				t.Errorf("100 of %d frames arrived", sent)
			}
			return s.overTCP() - before
		}
		if got := frames(s.caller, s.callee); got < 100 {
			t.Errorf("from the blocked caller %d cells took TCP, want all 100", got)
		}
		if got := s.nodes[0].Traffic.VoiceOverTCP.Load(); got < 100 {
			t.Errorf("the caller counts %d cells over TCP", got)
		}
		if got := frames(s.callee, s.caller); got < 100 {
			t.Errorf("to the blocked caller %d cells took TCP, want all 100", got)
		}
		s.hosts[0].BlockUDP(false)
		time.Sleep(pingEvery)
		frames(s.caller, s.callee) // in the course of these UDP is found to be up
		frames(s.callee, s.caller)
		if got := frames(s.caller, s.callee) + frames(s.callee, s.caller); got != 0 {
			t.Errorf("%d cells took TCP after UDP came back", got)
		}
	})
}

// UDP that stops in mid-call costs at most the silence that finds it out.
func TestUDPBlockedInMidCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimSplice(t, v4Relays, plainHosts("9.9.0.1", "9.8.0.1"))
		defer s.end(t)
		time.Sleep(time.Second)
		// A call: voice both ways, all the time.
		var heard [2]atomic.Int64 // when a frame was last heard
		for i, tun := range []*Tunnel{s.caller, s.callee} {
			tun.OnVoice(func(*wire.Frame) { heard[i].Store(time.Now().UnixNano()) })
		}
		call := func(d time.Duration) (worst time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				for _, tun := range []*Tunnel{s.caller, s.callee} {
					if err := tun.SendVoice(new(wire.Frame)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(20 * time.Millisecond)
				for i := range heard {
					worst = max(worst, time.Duration(time.Now().UnixNano()-heard[i].Load()))
				}
			}
			return worst
		}
		call(time.Second)
		if gap := call(5 * time.Second); gap > 50*time.Millisecond {
			t.Errorf("a gap of %v where nothing is wrong", gap)
		}
		for _, block := range []bool{true, false, true} {
			s.hosts[1].BlockUDP(block)
			if gap := call(10 * time.Second); gap > udpSilence+pingEvery+200*time.Millisecond {
				t.Errorf("UDP blocked %v: a gap of %v", block, gap)
			}
			before := s.overTCP()
			call(time.Second)
			if tcp := s.overTCP() != before; tcp != block {
				t.Errorf("UDP blocked %v, but cells over TCP %v", block, tcp)
			}
		}
	})
}

// A NAT that forgets gives the client another port and address: the relay
// follows the newest cell that it could open, with no handshake.
func TestChangedAddressHealsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nats [2]*simnet.NAT
		s := newSimSplice(t, v4Relays, func(n *simnet.Net) (hosts [2]*simnet.Host) {
			for i, a := range hostAddrs("9.9.0.1", "9.8.0.1") {
				nats[i] = n.NAT(a)
				hosts[i] = nats[i].Host(netip.MustParseAddr("192.168.0.2"))
			}
			return hosts
		})
		defer s.end(t)
		time.Sleep(time.Second)
		speak(t, s.callee, s.caller, 20)
		guard := s.relays[0]
		old := clientLink(guard).udp.to.Load()
		// Datagrams alone: the stream of a changed address stalls.
		s.Intercept(func(from, to netip.AddrPort, b []byte) []byte {
			if from == *old { // the box has moved it to another address and port
				s.Inject(netip.MustParseAddrPort("9.9.0.7:555"), to, b)
				return nil
			}
			return b
		})
		before := s.overTCP()
		speak(t, s.caller, s.callee, 20)
		if to := clientLink(guard).udp.to.Load(); *to != netip.MustParseAddrPort("9.9.0.7:555") {
			t.Errorf("the relay sends to %v, want the new address", to)
		}
		s.Intercept(nil) // and back
		speak(t, s.caller, s.callee, 20)
		if to := clientLink(guard).udp.to.Load(); *to != *old {
			t.Errorf("the relay sends to %v, want %v", to, old)
		}
		speak(t, s.callee, s.caller, 20)
		if got := s.overTCP() - before; got != 0 {
			t.Errorf("%d cells took TCP", got)
		}
	})
}

// clientLink returns a guard's link with its only client.
func clientLink(r *loopRelay) *link {
	for _, l := range r.links.list() {
		if !l.dialed && l.peer == (Relay{}).Key {
			return l
		}
	}
	return nil
}

// On a bad network each frame arrives at most once, and most do.
func TestVoiceOverBadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimSplice(t, v4Relays, plainHosts("9.9.0.1", "9.8.0.1"))
		defer s.end(t)
		time.Sleep(time.Second)
		for _, h := range s.hosts {
			h.SetLink(simnet.Link{Jitter: 40 * time.Millisecond, Loss: 0.1, Duplicate: 0.2, Reorder: 0.2})
		}
		const frames = 1000
		var mu sync.Mutex
		seen := map[byte]map[byte]int{}
		s.callee.OnVoice(func(f *wire.Frame) {
			mu.Lock()
			defer mu.Unlock()
			if seen[f[0]] == nil {
				seen[f[0]] = map[byte]int{}
			}
			seen[f[0]][f[1]]++
		})
		for i := range frames {
			if err := s.caller.SendVoice(&wire.Frame{byte(i >> 8), byte(i)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		got := 0
		for hi, m := range seen {
			for lo, n := range m {
				if got++; n != 1 {
					t.Errorf("frame %d arrived %d times", int(hi)<<8|int(lo), n)
				}
			}
		}
		// Two bad lines with 10 % each: 81 % come through.
		if got < frames*70/100 {
			t.Errorf("%d of %d frames arrived", got, frames)
		}
	})
}

// A machine that vanishes without a word is noticed by all: no goroutine and
// no slot waits for it for ever.
func TestVanishedClientIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimSplice(t, v4Relays, plainHosts("9.9.0.1", "9.8.0.1"))
		defer s.end(t)
		start := time.Now()
		s.hosts[0].Cut()
		if _, err := s.callee.Read(make([]byte, 1)); err == nil {
			t.Error("the callee reads on")
		}
		if took := time.Since(start); took > linkSilence+2*keepAliveEvery {
			t.Errorf("it took %v", took)
		}
		s.callee.Close()
		synctest.Wait()
		for i, r := range s.relays {
			if got := r.slots(); got != 0 {
				t.Errorf("relay %d keeps %d slots", i, got)
			}
		}
	})
}

// Cells that were tampered with, and cells of others, are dropped and counted
// where they arrive, and move nothing.
func TestForgedCellsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimSplice(t, v4Relays, plainHosts("9.9.0.1", "9.8.0.1"))
		defer s.end(t)
		time.Sleep(time.Second)
		guard := s.relays[0]
		relay := guard.Addrs[0]
		client := *clientLink(guard).udp.to.Load()
		attacker := netip.MustParseAddrPort("6.6.6.6:666")
		var heard atomic.Int32

		// A real cell, caught on its way. The frames before it see to it that
		// it is no keep-alive.
		speak(t, s.caller, s.callee, 5)
		time.Sleep(time.Second / 5)
		s.callee.OnVoice(func(*wire.Frame) { heard.Add(1) })
		var cell []byte
		s.Intercept(func(from, to netip.AddrPort, b []byte) []byte {
			if from == client && to == relay && len(b) == wire.VoiceCellSize && cell == nil {
				cell = append(cell, b...)
				return nil
			}
			return b
		})
		if err := s.caller.SendVoice(new(wire.Frame)); err != nil || cell == nil {
			t.Fatalf("no cell was caught, %v", err)
		}
		s.Intercept(nil)

		dropped := func(what string, want uint64, do func()) {
			t.Helper()
			before := guard.Traffic.VoiceDropped.Load()
			do()
			time.Sleep(time.Second)
			if got := guard.Traffic.VoiceDropped.Load() - before; got != want || heard.Load() != 0 {
				t.Errorf("%s: %d cells were counted as dropped, want %d; %d frames were heard", what, got, want, heard.Load())
			}
		}
		dropped("altered", wire.VoiceCellSize, func() {
			for i := range cell {
				bad := append([]byte(nil), cell...)
				bad[i] ^= 1 << (i % 8)
				if bad[0] == wire.FirstByteKRPC {
					bad[0] ^= 0x80
				}
				s.Inject(attacker, relay, bad)
				if i%50 == 0 {
					time.Sleep(time.Millisecond) // a socket's queue is short
				}
			}
		})
		dropped("of other sizes", 5, func() {
			for _, n := range []int{1, 12, wire.VoiceCellSize - 1, wire.BodySize} {
				s.Inject(attacker, relay, cell[:n])
			}
			s.Inject(attacker, relay, append(cell[:len(cell):len(cell)], 0))
		})
		dropped("empty", 1, func() { s.Inject(attacker, relay, nil) })
		dropped("garbage", 100, func() {
			for range 100 {
				b := make([]byte, wire.VoiceCellSize)
				rand.Read(b[1:])
				s.Inject(attacker, relay, b)
			}
		})
		dropped("KRPC where nobody takes it", 0, func() { s.Inject(attacker, relay, []byte("d1:q4:pinge")) })
		if to := clientLink(guard).udp.to.Load(); *to != client {
			t.Fatalf("a forged cell moved the client to %v", to)
		}

		// The real one is taken once.
		s.Inject(client, relay, cell)
		time.Sleep(time.Second)
		if heard.Load() != 1 {
			t.Fatalf("the real cell was heard %d times", heard.Load())
		}
		heard.Store(0)
		dropped("repeated", 3, func() {
			for range 3 {
				s.Inject(attacker, relay, cell)
			}
		})
		if to := clientLink(guard).udp.to.Load(); *to != client {
			t.Errorf("a repeated cell moved the client to %v", to)
		}

		// Another client of the guard: its link's key does not open our link's
		// cells, and its tunnel's layers are not ours.
		other := s.client(t, "9.7.0.1")
		theirs, err := other.Build(t.Context(), []Relay{guard.Relay, s.relays[1].Relay})
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		time.Sleep(time.Second)
		dropped("sent by another neighbour", 1, func() {
			var c wire.VoiceCell
			c.SetTunnelID(s.caller.first.id)
			if err := theirs.first.l.udp.tx.Seal(&c, s.caller.first.l.udp.txID.Load()); err != nil {
				t.Fatal(err)
			}
			s.Inject(attacker, relay, c[:])
		})
		second, err := s.nodes[0].Build(t.Context(), []Relay{guard.Relay, s.relays[1].Relay})
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		if second.first.l != s.caller.first.l {
			t.Fatal("the two tunnels have no link in common")
		}
		dropped("sent to another tunnel", 1, func() {
			c := s.sealed(t, s.caller)
			second.first.sendVoice(&c)
		})
		dropped("of a tunnel that is not there", 1, func() {
			c := s.sealed(t, s.caller)
			c.SetTunnelID(12345)
			s.caller.first.l.sendVoice(&c)
		})
		dropped("with an altered layer", 1, func() {
			c := s.sealed(t, s.caller)
			c.Body()[100] ^= 1
			s.caller.first.sendVoice(&c)
		})
		if sent := speak(t, s.caller, s.callee, 50); sent > 55 { // some are on the way
			t.Errorf("after all that 50 of %d frames arrive", sent)
		}
	})
}

// sealed returns a cell with all layers of a tunnel, not sent.
func (s *simSplice) sealed(t testing.TB, tun *Tunnel) (c wire.VoiceCell) {
	t.Helper()
	for i := range tun.hops {
		if err := tun.layers[tun.hops-1-i].sealer.Seal(c.Body(), i); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
