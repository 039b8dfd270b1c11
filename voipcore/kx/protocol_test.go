package kx

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// Sentences of PROTOCOL.md that no other test comes by.

// Section 1: TLS 1.3 only, no tickets, and no certificate but of Ed25519.
func TestTLSOfLinks(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	dial := func(change func(*tls.Config)) error {
		raw, err := net.Dial("tcp", r.Addrs[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		cfg := keytls.Client(alpnLink, &r.Key, nil)
		change(cfg)
		c := tls.Client(raw, cfg)
		c.SetDeadline(time.Now().Add(patience))
		if err := c.Handshake(); err != nil {
			return err
		}
		l := &rawLink{t: t, conn: c}
		l.hello()
		_, err = l.receive() // in TLS 1.3 a refused certificate shows only now
		return err
	}
	if err := dial(func(*tls.Config) {}); err != nil {
		t.Fatalf("a plain link: %v", err)
	}
	if err := dial(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }); err == nil {
		t.Error("a link over TLS 1.2")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), crypto.Signer(key))
	if err != nil {
		t.Fatal(err)
	}
	foreign := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if err := dial(func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &foreign, nil }
	}); err == nil {
		t.Error("a link with a certificate of ECDSA")
	}
	tickets := &ticketCounter{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	if err := dial(func(c *tls.Config) { c.ClientSessionCache = tickets }); err != nil || tickets.put > 0 {
		t.Errorf("%d session tickets, %v", tickets.put, err)
	}
}

type ticketCounter struct {
	tls.ClientSessionCache
	put int
}

func (c *ticketCounter) Put(key string, s *tls.ClientSessionState) {
	if s != nil {
		c.put++
	}
}

// Section 2: PADDING goes both ways every 15 s, DESTROY is not answered, and
// with a CREDIT eight cells are given back.
func TestQuietLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r := s.relay(t, nil, "5.5.0.1")
		raw, err := s.Host(hostAddrs("9.9.0.1")...).Dial(t.Context(), r.Addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		l := &rawLink{t: t, conn: tls.Client(raw, keytls.Client(alpnLink, &r.Key, nil))}
		l.hello()
		cells := make(chan wire.Cell, 100) // room for all that a minute brings
		go func() {
			defer close(cells)
			for {
				var b [wire.CellSize]byte
				var c wire.Cell
				if _, err := io.ReadFull(l.conn, b[:]); err != nil || c.Decode(&b) != nil {
					return
				}
				cells <- c
			}
		}()
		// A tunnel that takes eight cells of garbage gives the credit back, and
		// one that is destroyed is.
		l.send(wire.Cell{Tunnel: 1, Command: wire.CellCreate}, wire.Cell{Tunnel: 1, Command: wire.CellDestroy, Length: 1})
		l.send(wire.Cell{Tunnel: 3, Command: wire.CellCreate})
		record := append([]byte{22, 3, 1, 0x10, 0}, 1, 0, 0x0f, 0xfc) // a ClientHello that goes on for 4 kB
		for i := range 8 {
			c := wire.Cell{Tunnel: 3, Command: wire.CellData, Length: wire.CellDataSize}
			if i == 0 {
				copy(c.Data[:], record)
			}
			l.send(c)
		}
		for i := 0; i < 4; i++ {
			time.Sleep(keepAliveEvery)
			l.send(wire.Cell{Command: wire.CellPadding}) // ours, or the link would be dead
		}
		raw.Close()
		count := map[wire.Command]int{}
		for c := range cells {
			count[c.Command]++
			switch {
			case c.Tunnel == 1:
				t.Errorf("a destroyed tunnel is answered by %v", c.Command)
			case c.Command == wire.CellCredit && (c.Tunnel != 3 || c.Data[0] != 0 || c.Data[1] != wire.Credit/2):
				t.Errorf("credit of %d for tunnel %d", c.Data[1], c.Tunnel)
			}
		}
		if count[wire.CellHello] != 1 || count[wire.CellCredit] != 1 || count[wire.CellPadding] < 3 || count[wire.CellPadding] > 4 {
			t.Errorf("in a minute came %v; want a hello, a credit of 8, and padding every 15 s", count)
		}
	})
}

// Section 3: REGISTER and JOIN are the last requests of a tunnel, and who is
// registered is silent.
func TestLastRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		x, n, ctx := s.relay(t, nil, "5.5.0.1"), s.client(t, "9.9.0.1"), t.Context()
		over := func(what string, tun *Tunnel) {
			t.Helper()
			if _, err := tun.Describe(ctx); !errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: DESCRIBE after it: %v, want the tunnel to be over", what, err)
			}
			tun.Close()
		}
		build := func() *Tunnel {
			tun, err := n.Build(ctx, path(x))
			if err != nil {
				t.Fatal(err)
			}
			return tun
		}
		tun := build()
		if err := tun.register(ctx, [16]byte{1}, NewSecret()); !errors.Is(err, ErrRefused) {
			t.Errorf("REGISTER of a foreign cookie: %v", err)
		}
		over("REGISTER in vain", tun)
		tun = build()
		if _, err := tun.request(ctx, &wire.HopMessage{Type: wire.KXJoin, Cookie: [16]byte{2}}, wire.KXReady); !errors.Is(err, ErrNobody) {
			t.Errorf("JOIN of nobody: %v", err)
		}
		over("JOIN in vain", tun)
		secret := NewSecret()
		tun, err := n.BuildIn(ctx, path(x), secret)
		if err != nil {
			t.Fatal(err)
		}
		over("REGISTER", tun)
		if r, _ := x.points.waitingAt(Cookie(&secret)); r != 0 {
			t.Errorf("%d tunnels wait that spoke before they were joined", r)
		}
	})
}

// Section 3: JOIN takes the newest tunnel of those that wait.
func TestJoinTakesTheNewest(t *testing.T) {
	x, n, ctx, secret := newLoopRelay(t, nil, Limits{}), newLoopClient(t), within(t), NewSecret()
	var ins []*Tunnel
	for i := range 3 {
		in, err := n.BuildIn(ctx, path(x), secret)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		ins = append(ins, in)
		eventually(t, "the tunnel waits", func() bool { r, _ := x.points.waitingAt(Cookie(&secret)); return r == i+1 })
	}
	for i := len(ins) - 1; i >= 0; i-- {
		out, err := n.BuildOut(ctx, path(x), Cookie(&secret))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := ins[i].Ready(ctx); err != nil {
			t.Fatal(err)
		}
		talk(t, out, ins[i])
	}
}

// Section 4: a descriptor ends at a whole hour, a week from when it is signed.
func TestDescriptorEndsAtAWholeHour(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	now := time.Unix(1_800_000_123, 0)
	d := r.descriptor(now)
	end := time.Unix(d.ValidUntil, 0)
	if d.ValidUntil%3600 != 0 || end.Sub(now) > descriptorValid || end.Sub(now) < descriptorValid-time.Hour {
		t.Errorf("valid until %v, signed at %v", end.UTC(), now.UTC())
	}
	if again := r.descriptor(now.Add(time.Minute)); again != d {
		t.Error("a minute later it is another one")
	}
}

// Section 5: the side that was dialled sends nothing over UDP before a cell of
// that link has opened, whatever voice there is for it.
func TestNoUDPBeforeTheOtherSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r, h := s.relay(t, nil, "5.5.0.1"), s.Host(hostAddrs("9.9.0.1")...)
		var heard atomic.Bool // what the client sends arrives
		var sent atomic.Int64
		s.Intercept(func(from, to netip.AddrPort, b []byte) []byte {
			switch {
			case from.Addr() == h.Addr() && !heard.Load():
				return nil
			case to.Addr() == h.Addr():
				sent.Add(1)
			}
			return b
		})
		callee, caller := s.open(t, h, Config{}), s.client(t, "9.8.0.1")
		from, to := join(t, caller, callee, path(r), path(r))
		if n := speak(t, from, to, 100); n > 110 {
			t.Errorf("100 of %d frames arrived", n)
		}
		time.Sleep(time.Minute)
		if n := sent.Load(); n != 0 {
			t.Errorf("%d packets to who has sent none", n)
		}
		heard.Store(true)
		time.Sleep(keepAliveEvery + time.Second)
		before := r.Traffic.VoiceOverTCP.Load()
		speak(t, from, to, 100)
		if tcp := r.Traffic.VoiceOverTCP.Load() - before; sent.Load() < 100 || tcp != 0 {
			t.Errorf("after a cell of the other side %d packets went by UDP, and %d cells by TCP", sent.Load(), tcp)
		}
		from.Close()
		to.Close()
	})
}

// Section 5: 16 bodies wait for the TCP link, then the oldest goes.
func TestOldestVoiceGoes(t *testing.T) {
	n := newLoopClient(t)
	l := &link{node: n, streams: map[uint32]*stream{}}
	l.toWrite.L = &l.mu
	for i := range tcpVoiceLen + 5 {
		var c wire.VoiceCell
		c.SetTunnelID(7)
		c.Body()[0] = byte(i)
		l.queueVoice(&c)
	}
	var got []byte
	for c := (wire.Cell{}); l.nextLocked(&c); {
		if c.Command != wire.CellVoice || c.Tunnel != 7 || c.Length != wire.BodySize {
			t.Errorf("cell %+v", c)
		}
		got = append(got, c.Data[0])
	}
	if len(got) != 16 || got[0] != 5 || got[15] != 20 {
		t.Errorf("what waited is %v, want the 16 newest of 21, in their order", got)
	}
	if d := n.Traffic.VoiceDropped.Load(); d != 5 {
		t.Errorf("%d were counted as dropped, want 5", d)
	}
}

// A relay without a key of its own would be one that nobody can name.
func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"nothing":           {},
		"no clock":          {Dial: dialTCP, Packets: newQuietConn()},
		"a key alone":       {Dial: dialTCP, Packets: newQuietConn(), Clock: systemClock{}, Key: pid.NewKey()},
		"a relay, nowhere":  {Dial: dialTCP, Packets: newQuietConn(), Clock: systemClock{}, Key: pid.NewKey(), Listener: closedListener{}},
		"traffic in a file": {Dial: dialTCP, Packets: newQuietConn(), Clock: systemClock{}, Key: pid.NewKey(), Listener: closedListener{}, Addrs: addrs("5.5.0.1:1"), Limits: Limits{Monthly: 1}, TrafficFile: t.TempDir()},
	} {
		if n, err := Open(cfg); err == nil {
			n.Close()
			t.Errorf("%s: Open works", name)
		}
	}
}

// A closedListener has nobody.
type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return &net.TCPAddr{} }
