package conformance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/wire"
)

type systemClock struct{}

func (systemClock) Now() time.Time                 { return time.Now() }
func (systemClock) Told(netip.AddrPort, time.Time) {}
func (systemClock) Trusted() bool                  { return true }
func (systemClock) Asleep() time.Duration          { return 0 }

func dial(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", a.String())
}

// node opens a relay of the first implementation on loopback, or a client.
func node(t *testing.T, relay bool) (*kx.Node, kx.Relay) {
	t.Helper()
	cfg := kx.Config{Dial: dial, Clock: systemClock{}, TestNetwork: true}
	at := netip.MustParseAddrPort("127.0.0.1:0")
	if relay {
		l, err := net.Listen("tcp", at.String())
		check(t, err)
		at = l.Addr().(*net.TCPAddr).AddrPort()
		cfg.Key, cfg.Listener, cfg.Addrs = pid.NewKey(), l, []netip.AddrPort{at}
	}
	packets, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	check(t, err)
	cfg.Packets = packets
	n, err := kx.Open(cfg)
	check(t, err)
	t.Cleanup(func() { n.Close() })
	if !relay {
		return n, kx.Relay{}
	}
	return n, kx.Relay{Key: cfg.Key.ID(), Addrs: cfg.Addrs}
}

// A callee of the first implementation waits at an exchange point, answers
// heartbeats and sends each frame back that it gets.
type callee struct {
	key, server *pid.Key
	cookie      []byte
}

func newCallee(t *testing.T, path ...kx.Relay) callee {
	t.Helper()
	c := callee{key: pid.NewKey(), server: pid.NewKey()}
	secret := kx.NewSecret()
	sum := sha256.Sum256(secret[:])
	c.cookie = sum[:16]
	n, _ := node(t, false)
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	tunnel, err := n.BuildIn(ctx, path, secret)
	check(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		if err := tunnel.Ready(ctx); err != nil {
			t.Errorf("callee: %v", err)
			return
		}
		s, err := session.Accept(ctx, tunnel, c.server, c.key.ID(), session.Options{})
		if err != nil {
			t.Errorf("callee: %v", err)
			return
		}
		defer s.Close()
		defer context.AfterFunc(ctx, func() { s.Close() })()
		s.OnVoice(func(timestamp uint32, payload []byte) { s.SendVoice(timestamp+960, payload) })
		for {
			m, err := s.Receive()
			if err != nil {
				return
			}
			if m.Type == wire.CallInitiate {
				s.Send(wire.Message{Type: wire.CallInitiateReply, OK: m.NoT == 3})
			}
		}
	})
	return c
}

func u16(v ...uint16) (b []byte) {
	for _, v := range v {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// address is port u16, reserved u16, IPv4, IPv6.
func address(a netip.AddrPort) []byte {
	v4 := a.Addr().As4()
	return join(u16(a.Port(), 0), v4[:], make([]byte, 16))
}

// TestSecondImplementationCalls: a caller written after PROTOCOL.md reaches a
// callee of ours over two hops, is spliced, and they exchange messages, and
// voice over TCP and UDP.
func TestSecondImplementationCalls(t *testing.T) {
	_, first := node(t, true)
	_, exchange := node(t, true)
	far := newCallee(t, first, exchange)

	// The link: TLS, then a hello each way.
	raw, err := dial(t.Context(), first.Addrs[0])
	check(t, err)
	raw.SetDeadline(time.Now().Add(guard))
	l := newLink(t, handshake(t, raw, "hush-link/1", nil, first.Key))
	defer l.Close()
	linkThere, linkBack := export(t, l.tls, "hushbell link")
	const ownID = 0x65646665 // near to KRPC's 'd', but not it
	l.send(0, 1, join(binary.BigEndian.AppendUint32(nil, ownID), binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix()))))
	tunnel, command, hello, err := l.receive()
	check(t, err)
	if tunnel != 0 || command != 1 || len(hello) != 12 || hello[0] == 'd' {
		t.Fatalf("the first cell is of tunnel %d, command %d: %x", tunnel, command, hello)
	}
	linkID := hello[:4]
	if told := time.Unix(int64(binary.BigEndian.Uint64(hello[4:])), 0); time.Since(told).Abs() > time.Hour {
		t.Errorf("the relay's clock says %v", told)
	}
	go l.run()

	// The first hop: CREATE, TLS in the tunnel, DESCRIBE.
	l.send(tunnelID, 2, nil)
	hop1 := handshake(t, l, "hush-hop/1", nil, first.Key)
	layer1There, layer1Back := export(t, hop1, "hushbell layer")
	write(t, hop1, u16(4, 615))
	d := read(t, hop1, 144)
	if !bytes.Equal(d[:4], u16(144, 616)) || !bytes.Equal(d[24:56], first.Key[:]) || !bytes.Equal(d[56:80], address(first.Addrs[0])) {
		t.Errorf("descriptor %x of relay %x at %v", d, first.Key[:], first.Addrs)
	}
	if !ed25519.Verify(first.Key[:], join([]byte("hushbell descriptor\x00"), d[12:80]), d[80:]) {
		t.Errorf("descriptor %x is not signed by its key", d)
	}

	// The second hop: EXTEND, and TLS in the TLS.
	write(t, hop1, u16(64, 610), exchange.Key[:], []byte{1, 0, 0, 0}, address(exchange.Addrs[0]))
	if b := read(t, hop1, 4); !bytes.Equal(b, u16(4, 611)) {
		t.Fatalf("EXTEND answered by %x", b)
	}
	hop2 := handshake(t, hop1, "hush-hop/1", nil, exchange.Key)
	layer2There, layer2Back := export(t, hop2, "hushbell layer")

	// JOIN: the last request of a tunnel. From READY on the stream is the far end's.
	write(t, hop2, u16(20, 614), far.cookie)
	if b := read(t, hop2, 4); !bytes.Equal(b, u16(4, 602)) {
		t.Fatalf("JOIN answered by %x", b)
	}

	// The session: TLS with the key S of the record, our pid as certificate.
	own := pid.NewKey()
	ownPID := own.ID()
	farPID := far.key.ID()
	end := handshake(t, hop2, "hush-voip/1", own.Private(), far.server.ID())
	voiceThere, voiceBack := export(t, end, "hushbell voice")
	write(t, end, u16(36, 708), farPID[:])
	if b := read(t, end, 40); !bytes.Equal(b, join(u16(40, 709), ownPID[:], []byte{0x80, 0, 0, 0})) {
		t.Fatalf("HEART_BEAT answered by %x", b)
	}
	write(t, end, u16(40, 700), farPID[:], []byte{3, 0, 0, 0})
	if b := read(t, end, 40); !bytes.Equal(b, join(u16(40, 701), ownPID[:], []byte{0x80, 0, 0, 0})) {
		t.Fatalf("INITIATE answered by %x", b)
	}

	// Voice: end to end, exchange point's layer, first hop's layer.
	ad := join(u16(252, 710), farPID[:])
	wrap := func(timestamp uint32, payload []byte) []byte {
		plain := make([]byte, 208)
		copy(plain, join([]byte{1, 0}, u16(uint16(len(payload))), binary.BigEndian.AppendUint32(nil, timestamp), payload))
		b := layer1There.seal(layer2There.seal(voiceThere.seal(plain, ad), nil), nil)
		return append(b, make([]byte, 288-len(b))...)
	}
	unwrap := func(body []byte) (timestamp uint32, payload []byte) {
		b, err := layer1Back.open(body[:228+2*20], nil)
		check(t, err)
		b, err = layer2Back.open(b, nil)
		check(t, err)
		b, err = voiceBack.open(b, ad)
		check(t, err)
		return binary.BigEndian.Uint32(b[4:]), b[8 : 8+binary.BigEndian.Uint16(b[2:])]
	}

	// Before UDP has worked it goes over TCP.
	l.send(tunnelID, 6, wrap(100, []byte("over TCP")))
	if at, payload := unwrap(l.awaitVoice()); at != 100+960 || string(payload) != "over TCP" {
		t.Errorf("voice over TCP came back as %q at %d", payload, at)
	}

	// UDP: our first cell tells where we are. A ping is answered by a pong, and
	// asks for nothing else; the relay's own ping wants a pong of ours.
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(t, err)
	defer packets.Close()
	send := func(tunnel uint32, body []byte) {
		head := binary.BigEndian.AppendUint64(bytes.Clone(linkID), linkThere.next)
		plain := append(binary.BigEndian.AppendUint32(nil, tunnel), body...)
		cell := linkThere.aead().Seal(head, nonce(linkThere.next), plain, head)
		linkThere.next++
		if len(cell) != 320 {
			t.Fatalf("cell of %d bytes", len(cell))
		}
		_, err := packets.WriteToUDPAddrPort(cell, first.Addrs[0])
		check(t, err)
	}
	keepAlive := func(kind byte) []byte { return append([]byte{kind}, make([]byte, 287)...) }
	say := func() { send(tunnelID, wrap(200, []byte("over UDP"))) }
	send(0, keepAlive(1))
	pongs, pinged := 0, false
	for end := time.Now().Add(guard); time.Now().Before(end); {
		var cell [1500]byte
		packets.SetReadDeadline(time.Now().Add(time.Second))
		n, from, err := packets.ReadFromUDPAddrPort(cell[:])
		if errors.Is(err, os.ErrDeadlineExceeded) { // a machine that stalls: something was late
			send(0, keepAlive(1))
			if pinged {
				say()
			}
			continue
		}
		check(t, err)
		if from != first.Addrs[0] || n != 320 || binary.BigEndian.Uint32(cell[:]) != ownID {
			t.Fatalf("packet of %d bytes from %v: %x", n, from, cell[:n])
		}
		plain, err := linkBack.aead().Open(nil, nonce(binary.BigEndian.Uint64(cell[4:])), cell[12:n], cell[:12])
		check(t, err)
		tunnel, body := binary.BigEndian.Uint32(plain), plain[4:]
		switch {
		case tunnel == tunnelID:
			if at, payload := unwrap(body); at != 200+960 || string(payload) != "over UDP" {
				t.Errorf("voice over UDP came back as %q at %d", payload, at)
			}
			if pongs == 0 {
				t.Error("voice came over UDP, but no pong")
			}
			return
		case tunnel != 0 || !bytes.Equal(body, keepAlive(body[0])) || body[0] != 1 && body[0] != 2:
			t.Fatalf("cell of tunnel %d: %x", tunnel, body)
		case body[0] == 1:
			send(0, keepAlive(2))
			if !pinged { // the pong arrives before it, so that voice may come back by UDP
				pinged = true
				say()
			}
		default:
			pongs++
		}
	}
	t.Error("no voice came back over UDP")
}
