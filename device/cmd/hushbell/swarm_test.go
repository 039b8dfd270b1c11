package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/voipcore/pid"
)

// A swarm is relays as processes of their own.
type swarm struct {
	addrs  []string
	states []string
	relays []*process
}

// startSwarm starts relays on one address, in a network namespace or in ours.
func startSwarm(t testing.TB, netns, ip string, n int) *swarm {
	t.Helper()
	s := &swarm{}
	var ports []int
	if netns == "" {
		ports = freePorts(t, ip, n)
	}
	for i := range n {
		port := 4700 + i
		if netns == "" {
			port = ports[i]
		}
		s.addrs = append(s.addrs, net.JoinHostPort(ip, fmt.Sprint(port)))
		s.states = append(s.states, t.TempDir())
	}
	s.start(t, netns)
	return s
}

func (s *swarm) start(t testing.TB, netns string) {
	t.Helper()
	s.relays = nil
	for i, a := range s.addrs {
		args := []string{"relay", "--listen", a, "--state", s.states[i], "--test-network"}
		for _, b := range s.addrs[:min(i, 3)] {
			args = append(args, "--bootstrap", b)
		}
		p := start(t, netns, args...)
		p.expect("relay ready at")
		s.relays = append(s.relays, p)
	}
}

// stop stops a process as systemd does, and fails the test if it complains.
func (p *process) stop() {
	p.t.Helper()
	p.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			p.t.Errorf("%s: stopped with %v", strings.Join(p.Args, " "), err)
		}
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s: does not stop", strings.Join(p.Args, " "))
	}
}

func freePort(t testing.TB, ip string) int {
	t.Helper()
	return freePorts(t, ip, 1)[0]
}

// freePorts returns n ports that are free for TCP and for UDP. They are held
// until all are found: else the system may well give one twice.
func freePorts(t testing.TB, ip string, n int) (ports []int) {
	t.Helper()
	for range 20 * n {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		a := l.Addr().(*net.TCPAddr).AddrPort()
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			continue
		}
		defer u.Close()
		if ports = append(ports, int(a.Port())); len(ports) == n {
			return ports
		}
	}
	t.Fatal("too few ports are free for TCP and UDP")
	return nil
}

// A testBox is a box as a process of its own.
type testBox struct {
	*process
	*control.Client
	netns, state, file string
	key                *pid.Key
}

// newTestBox prepares a box that knows the relays; far is its only contact,
// whose calls it answers by itself.
func newTestBox(t testing.TB, netns, listen string, s *swarm) *testBox {
	t.Helper()
	b := &testBox{netns: netns, state: t.TempDir(), key: pid.NewKey()}
	socket := filepath.Join(b.state, "control.sock")
	b.Client, b.file = control.NewClient(socket), filepath.Join(b.state, "hushbell.toml")
	check(t, os.MkdirAll(filepath.Join(b.state, "pids"), 0o700))
	check(t, b.key.Save(filepath.Join(b.state, "pids", "box.key")))
	text := fmt.Sprintf("bootstrap = [%s]\nlisten = %q\ntest_network = true\ncomplexity = 0\n[button]\ncall = \"far\"\n[board]\nname = \"sim\"\n",
		quoted(s.addrs[:3]), net.JoinHostPort(listen, "0"))
	check(t, os.WriteFile(b.file, []byte(text), 0o600))
	return b
}

func (b *testBox) knows(t testing.TB, far *testBox) {
	t.Helper()
	check(t, config.WriteContacts(filepath.Join(b.state, "contacts.toml"), config.Contacts{{Name: "far", PID: far.key.ID(), Answer: true}}))
}

// run starts the box and waits until it can be called.
func (b *testBox) run(t testing.TB) {
	t.Helper()
	b.process = start(t, b.netns, "run", "--state", b.state, "--config", b.file, "--socket", filepath.Join(b.state, "control.sock"))
	b.until(t, "online", func(s *control.Status) bool { return s.Online })
}

// runKnowing is run until the box has found so many relays at a first start: they are
// looked for at random, and a slow machine misses one now and then.
func (b *testBox) runKnowing(t testing.TB, relays int) {
	t.Helper()
	for range 5 {
		b.run(t)
		s, err := b.Status(t.Context())
		if err == nil && s.Relays == relays {
			return
		}
		b.process.stop()
		if err := errors.Join(err, os.Remove(filepath.Join(b.state, "relays"))); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the box does not find all %d relays", relays)
}

func (b *testBox) until(t testing.TB, what string, ok func(*control.Status) bool) control.Status {
	t.Helper()
	var s control.Status
	var err error
	for limit := time.Now().Add(40 * time.Second); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if s, err = b.Status(t.Context()); err == nil && ok(&s) {
			return s
		}
	}
	t.Fatalf("the box is not %s: %+v, call %+v, %v", what, s, s.Call, err)
	return s
}

// callAndTalk has a call b, and both hear frames of the other for a while.
func callAndTalk(t *testing.T, a, b *testBox) (sa, sb control.Status) {
	t.Helper()
	// For a second after a call a press means nothing.
	a.until(t, "at rest", func(s *control.Status) bool { return s.State != "ended" && s.State != "hung up" })
	check(t, a.Press(t.Context()))
	talking := func(s *control.Status) bool {
		return s.Call != nil && s.Call.Ended.IsZero() && s.Call.Report.Voice.Received >= 100
	}
	sa, sb = a.until(t, "hearing the other", talking), b.until(t, "hearing the other", talking)
	for _, s := range []control.Status{sa, sb} {
		if r := s.Call.Report; r.Hops != 3 || r.Voice.Malformed > 0 || r.Voice.Lost > r.Voice.Received/20 {
			t.Errorf("report %+v", r)
		}
	}
	return sa, sb
}

func hangUp(t *testing.T, a, b *testBox) {
	t.Helper()
	check(t, a.Press(t.Context()))
	ended := func(s *control.Status) bool { return s.Call != nil && !s.Call.Ended.IsZero() }
	a.until(t, "out of the call", ended)
	b.until(t, "out of the call", ended)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eight relays and two boxes as processes: found, tunnels of three hops a
// side, stream and voice both ways.
func TestSwarmOfProcesses(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			s := startSwarm(t, "", ip, 8)
			a, b := newTestBox(t, "", ip, s), newTestBox(t, "", ip, s)
			a.knows(t, b)
			b.knows(t, a)
			a.run(t)
			b.run(t)
			callAndTalk(t, a, b)
			healthy(t, a)
			hangUp(t, a, b)
			for _, p := range append(s.relays, a.process, b.process) {
				p.stop()
			}
		})
	}
}

// healthy has the doctor look at a box, which is in a call and stays there.
func healthy(t *testing.T, b *testBox) {
	t.Helper()
	c := &clinic{t: t, state: b.state, file: b.file, socket: filepath.Join(b.state, "control.sock")}
	o := c.examine("")
	o.sound("configuration", "state folder", "pids", "contacts", "box", "board", "network", "relays", "UDP", "clock", "online")
	if s, err := b.Status(t.Context()); err != nil || s.Call == nil || s.Call.Over() || o.status != 0 {
		t.Errorf("the doctor's exit status is %d; then the box is in the call %+v, %v", o.status, s.Call, err)
	}
}

// needNamespaces skips the test where network namespaces cannot be made, and
// fails it in CI.
func needNamespaces(t *testing.T) {
	t.Helper()
	needRoot(t)
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacks(t, "needs ip and nft to make networks with NAT")
		}
	}
}

func ip(t testing.TB, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func nft(t testing.TB, netns, rules string) {
	t.Helper()
	c := exec.Command("ip", "netns", "exec", netns, "nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

// A natWorld is a public network with two homes behind NAT:
//
//	box A (192.168.50.2) - home A - 203.0.113.21 \
//	                                              public 203.0.113.1: relays
//	box B (192.168.60.2) - home B - 203.0.113.22 /
type natWorld struct{ public, a, b, homeA, homeB string }

// homes are the homes' public addresses. It is no variable: the relays are this
// same program, and their memory is searched for them.
func homes() map[string]netip.Addr {
	return map[string]netip.Addr{"a": netip.MustParseAddr("203.0.113.21"), "b": netip.MustParseAddr("203.0.113.22")}
}

func newNATWorld(t *testing.T) *natWorld {
	needNamespaces(t)
	name := func(s string) string { return fmt.Sprintf("hb%d%s", os.Getpid()%100000, s) }
	w := &natWorld{name("p"), name("a"), name("b"), name("ha"), name("hb")}
	for _, n := range []string{w.public, w.a, w.b, w.homeA, w.homeB} {
		ip(t, "netns add "+n)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", n).Run() })
		ip(t, "-n "+n+" link set lo up")
	}
	ip(t, "-n "+w.public+" link add br0 type bridge")
	ip(t, "-n "+w.public+" addr add 203.0.113.1/24 dev br0")
	ip(t, "-n "+w.public+" link set br0 up")
	for i, h := range []struct{ box, home, lan, wan string }{
		{w.a, w.homeA, "192.168.50", homes()["a"].String()}, {w.b, w.homeB, "192.168.60", homes()["b"].String()},
	} {
		ip(t, fmt.Sprintf("link add lan netns %s type veth peer name lan netns %s", h.box, h.home))
		ip(t, fmt.Sprintf("link add wan netns %s type veth peer name home%d netns %s", h.home, i, w.public))
		ip(t, fmt.Sprintf("-n %s link set home%d master br0 up", w.public, i))
		ip(t, fmt.Sprintf("-n %s addr add %s.2/24 dev lan", h.box, h.lan))
		ip(t, fmt.Sprintf("-n %s addr add %s.1/24 dev lan", h.home, h.lan))
		ip(t, fmt.Sprintf("-n %s addr add %s/24 dev wan", h.home, h.wan))
		for _, l := range []string{h.box + " link set lan up", h.home + " link set lan up", h.home + " link set wan up"} {
			ip(t, "-n "+l)
		}
		ip(t, fmt.Sprintf("-n %s route add default via %s.1", h.box, h.lan))
		if out, err := exec.Command("ip", "netns", "exec", h.home, "sysctl", "-qw", "net.ipv4.ip_forward=1").CombinedOutput(); err != nil {
			t.Fatalf("sysctl: %v: %s", err, out)
		}
		nft(t, h.home, `table ip nat {
			chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
			chain forward { type filter hook forward priority 0; policy drop;
				iifname "lan" accept; ct state established,related accept; }
		}`)
	}
	return w
}

// Both boxes behind NAT; then one of them where UDP does not pass at all.
func TestSwarmBehindNAT(t *testing.T) {
	w := newNATWorld(t)
	s := startSwarm(t, w.public, "203.0.113.1", 8)
	a, b := newTestBox(t, w.a, "0.0.0.0", s), newTestBox(t, w.b, "0.0.0.0", s)
	a.knows(t, b)
	b.knows(t, a)
	a.run(t)
	b.run(t)
	sa, sb := callAndTalk(t, a, b)
	if sa.Call.Report.OverTCP || sb.Call.Report.OverTCP {
		t.Error("voice takes TCP though UDP passes")
	}
	hangUp(t, a, b)

	nft(t, w.homeA, `table ip block {
		chain forward { type filter hook forward priority -1; ip protocol udp drop; }
	}`)
	a.stop()
	a.run(t)
	sa, sb = callAndTalk(t, a, b)
	if !sa.Call.Report.OverTCP {
		t.Error("UDP is blocked, and the status does not say that voice takes TCP")
	}
	if sb.Call.Report.OverTCP {
		t.Error("voice takes TCP where UDP passes")
	}
	hangUp(t, a, b)
}

// No relay's memory holds a pid, and none the address of both boxes: with
// guards of their own, a guard knows its box, and the exchange point neither.
func TestRelaysKnowNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("eight processes and all their memory: make unit runs it, the race detector and 32 bits do without")
	}
	w := newNATWorld(t)
	s := startSwarm(t, w.public, "203.0.113.1", 8)
	a, b := newTestBox(t, w.a, "0.0.0.0", s), newTestBox(t, w.b, "0.0.0.0", s)
	a.knows(t, b)
	b.knows(t, a)
	a.runKnowing(t, len(s.relays))
	b.runKnowing(t, len(s.relays))
	// The first start has told every relay that these addresses take part.
	// From here on all begin with empty memories, and the boxes with a cache.
	for _, p := range append(s.relays, a.process, b.process) {
		p.stop()
	}
	s.start(t, w.public)
	setGuards(t, a, s.addrs[0:2])
	setGuards(t, b, s.addrs[2:4])
	a.run(t)
	b.run(t)
	callAndTalk(t, a, b)

	secrets := map[string][]byte{}
	for name, x := range map[string]*testBox{"A": a, "B": b} {
		id := x.key.ID()
		secrets["pid of "+name], secrets["pid of "+name+", as text"] = id[:], []byte(id.String())
	}
	met := map[string]int{}
	for i, p := range s.relays {
		mem := memory(t, p.Process.Pid)
		if !bytes.Contains(mem, []byte(s.addrs[i])) {
			t.Fatal("the search does not find what is surely there")
		}
		for name, secret := range secrets {
			if bytes.Contains(mem, secret) {
				t.Errorf("relay %d holds the %s", i, name)
			}
		}
		for name, addr := range homes() {
			if !holds(mem, addr) {
				continue
			}
			met[name]++
			if own := map[string][]int{"a": {0, 1}, "b": {2, 3}}[name]; !slices.Contains(own, i) {
				t.Errorf("relay %d, no guard of box %s, holds its address", i, name)
			}
		}
	}
	if met["a"] == 0 || met["b"] == 0 {
		t.Errorf("not even the guards hold the addresses of their boxes (%v): the search is blind", met)
	}
}

// holds reports whether an IPv4 address is in memory in one of the forms that
// Go has for it: netip.Addr (two words, little-endian on the machines that we
// test on), a v4-mapped slice, or text with a port behind it.
func holds(mem []byte, addr netip.Addr) bool {
	ip4, mapped := addr.As4(), addr.As16()
	word := binary.LittleEndian.AppendUint64(nil, 0xffff_0000_0000|uint64(binary.BigEndian.Uint32(ip4[:])))
	return bytes.Contains(mem, word) || bytes.Contains(mem, mapped[:]) || bytes.Contains(mem, []byte(addr.String()+":"))
}

// setGuards makes the relays at addrs the guards in a box's cache.
func setGuards(t *testing.T, b *testBox, addrs []string) {
	t.Helper()
	file := filepath.Join(b.state, "relays")
	text, err := os.ReadFile(file)
	check(t, err)
	var guards, relays []string
	for line := range strings.Lines(string(text)) {
		kind, enc, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind != "relay" {
			continue
		}
		relays = append(relays, line)
		d, err := base64.StdEncoding.DecodeString(enc)
		check(t, err)
		port := binary.BigEndian.Uint16(d[44:]) // wire.Descriptor
		for _, a := range addrs {
			if netip.MustParseAddrPort(a).Port() == port {
				guards = append(guards, "guard "+base64.StdEncoding.EncodeToString(d[12:44])+"\n")
			}
		}
	}
	if len(guards) != len(addrs) || len(relays) != 8 {
		t.Fatalf("the cache has %d of the guards and %d relays", len(guards), len(relays))
	}
	check(t, os.WriteFile(file, []byte(strings.Join(append(guards, relays...), "")), 0o600))
}

// memory returns all that a process can write to.
func memory(t *testing.T, process int) []byte {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", process))
	check(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", process))
	check(t, err)
	defer mem.Close()
	var all []byte
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perm string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perm); err != nil || !strings.HasPrefix(perm, "rw") {
			continue
		}
		b := make([]byte, to-from)
		n, err := mem.ReadAt(b, from)
		if err != nil && !errors.Is(err, io.EOF) && n == 0 {
			continue // a page that is not there
		}
		all = append(all, b[:n]...)
	}
	return all
}
