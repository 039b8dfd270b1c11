package session

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

func TestSession(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		caller, callee := r.sessions(Options{})
		if caller.Own() != r.caller.ID() || caller.Far() != r.callee.ID() ||
			callee.Own() != r.callee.ID() || callee.Far() != r.caller.ID() {
			t.Error("the two ends are not who they are")
		}
		if caller.CallID() != callee.CallID() || caller.CallID() == [16]byte{} {
			t.Errorf("call ids %x and %x", caller.CallID(), callee.CallID())
		}
		if caller.KeyExchange() != "X25519MLKEM768" || callee.KeyExchange() != "X25519MLKEM768" {
			t.Errorf("key exchange %s and %s, want the hybrid", caller.KeyExchange(), callee.KeyExchange())
		}
		if cs := caller.conn.ConnectionState(); cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != "hush-voip/1" || cs.DidResume {
			t.Errorf("TLS version %x, ALPN %q, resumed %v", cs.Version, cs.NegotiatedProtocol, cs.DidResume)
		}
		other, _ := r.sessions(Options{})
		if other.CallID() == caller.CallID() {
			t.Error("two sessions of the same two pids have one call id")
		}

		tests := []struct {
			from, to *Session
			m        wire.Message
			want     pid.ID
		}{
			{caller, callee, wire.Message{Type: wire.CallInitiate, NoT: 2}, r.callee.ID()},
			{callee, caller, wire.Message{Type: wire.CallInitiateReply, OK: true}, r.caller.ID()},
			{callee, caller, wire.Message{Type: wire.CallTerminate}, r.callee.ID()},
			{caller, callee, wire.Message{Type: wire.CallTerminateReply}, r.caller.ID()},
			{callee, caller, wire.Message{Type: wire.CallParametersReply}, r.caller.ID()},
			{caller, callee, wire.Message{Type: wire.CallResume, CallID: [16]byte{7}}, r.callee.ID()},
		}
		for _, tt := range tests {
			if err := tt.from.Send(tt.m); err != nil {
				t.Errorf("send %v: %v", tt.m.Type, err)
			}
			got, err := tt.to.Receive()
			tt.m.PID = tt.want
			if got != tt.m || err != nil {
				t.Errorf("received %+v, %v; want %+v", got, err, tt.m)
			}
		}
		if err := caller.Send(wire.Message{Type: wire.CallBusy, TTW: 3}); !errors.Is(err, wire.ErrValue) {
			t.Errorf("a message without an encoding: %v, want wire.ErrValue", err)
		}
		if err := caller.Send(wire.Message{Type: wire.CallBusy}); err != nil {
			t.Errorf("it ended the session: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		caller, callee := r.sessions(Options{})
		there, here := receiving(callee), receiving(caller)
		if err := caller.Send(wire.Message{Type: wire.CallTerminate}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := caller.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		}
		wg.Wait()
		if err := <-here; !errors.Is(err, ErrClosed) {
			t.Errorf("Receive at the end that closed: %v, want ErrClosed", err)
		}
		if err := <-there; !errors.Is(err, ErrClosed) {
			t.Errorf("Receive at the far end: %v, want ErrClosed", err)
		}
		if err := caller.Send(wire.Message{Type: wire.CallBusy}); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: %v, want ErrClosed", err)
		}
		callee.Close()
		callee.Close()
	})
}

// TestBrokenTunnel checks that what somebody on the way does is not taken for
// what the far end says.
func TestBrokenTunnel(t *testing.T) {
	tests := []struct {
		name   string
		happen func(r *rig, far *testTunnel)
	}{
		{"tunnel ended plainly", func(_ *rig, far *testTunnel) { far.Conn.Close() }},
		{"far host killed", func(r *rig, _ *testTunnel) { r.b.Kill() }},
		{"bytes added", func(_ *rig, far *testTunnel) {
			far.Conn.Write([]byte("\x17\x03\x03\x00\x20 with love from the exchange point"))
		}},
		{"message altered", func(r *rig, far *testTunnel) {
			r.net.InterceptStreams(func(_, _ netip.AddrPort, b []byte) []byte {
				b[len(b)-1] ^= 1
				return b
			})
		}},
		{"message taken out", func(r *rig, far *testTunnel) {
			first := true
			r.net.InterceptStreams(func(_, _ netip.AddrPort, b []byte) []byte {
				if first {
					first = false
					return nil
				}
				return b
			})
		}},
		{"message repeated", func(r *rig, far *testTunnel) {
			r.net.InterceptStreams(func(_, _ netip.AddrPort, b []byte) []byte { return append(bytes.Clone(b), b...) })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig) {
				near, far := r.tunnels()
				caller, callee := r.sessionsOver(near, far, Options{})
				here, there := receiving(caller), receiving(callee)
				tt.happen(r, far)
				callee.Send(wire.Message{Type: wire.CallBusy})
				callee.Send(wire.Message{Type: wire.CallWaiting})
				if err := <-here; !errors.Is(err, ErrBroken) {
					t.Errorf("the session ended with %v, want ErrBroken", err)
				}
				<-there
			})
		})
	}
}

// TestNothingBeforeTheRightHeartBeat looks at all that a callee says to
// somebody who knows S and the way to it, as the exchange point does.
func TestNothingBeforeTheRightHeartBeat(t *testing.T) {
	tests := []struct {
		name string
		want error
		say  func(r *rig, c *tls.Conn)
	}{
		{"silence", context.DeadlineExceeded, func(*rig, *tls.Conn) {}},
		{"own pid", ErrWrongPID, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.HeartBeat, PID: r.caller.ID()})
		}},
		{"S as pid", ErrWrongPID, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.HeartBeat, PID: r.s.ID()})
		}},
		{"wrong pid, then the right one", ErrWrongPID, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.HeartBeat}, wire.Message{Type: wire.HeartBeat, PID: r.callee.ID()})
		}},
		{"call first", ErrProtocol, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.CallInitiate, PID: r.callee.ID()})
		}},
		{"answer first", ErrProtocol, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.HeartBeatReply, PID: r.caller.ID(), OK: true})
		}},
		{"half a heartbeat", context.DeadlineExceeded, func(_ *rig, c *tls.Conn) { c.Write([]byte{0, 36, 2}) }},
		{"garbage", ErrProtocol, func(_ *rig, c *tls.Conn) { c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }},
		{"goodbye", ErrClosed, func(_ *rig, c *tls.Conn) { c.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig) {
				near, far := r.tunnels()
				waiting := r.accept(far, Options{})
				c := r.stranger(near, r.caller)
				synctest.Wait()
				time.Sleep(time.Second)
				handshake := far.written()
				tt.say(r, c)
				got, err := io.ReadAll(c)
				if len(got) > 0 {
					t.Errorf("the callee said %x", got)
				}
				_ = err // an end of the stream, of whichever kind
				if a := <-waiting; a.s != nil || !errors.Is(a.err, tt.want) {
					t.Errorf("Accept: %v, %v; want %v", a.s, a.err, tt.want)
				}
				if more := far.written()[len(handshake):]; len(more) > 0 {
					t.Errorf("the callee wrote %d bytes behind the handshake: %x", len(more), more)
				}
				// In the clear and, in what TLS told us, below it.
				own := r.callee.ID()
				said := far.written()
				for _, cert := range c.ConnectionState().PeerCertificates {
					said = append(said, cert.Raw...)
					if key, ok := keytls.PeerKey(&tls.ConnectionState{PeerCertificates: c.ConnectionState().PeerCertificates}); !ok || key != r.s.ID() {
						t.Error("the callee's certificate holds another key than S")
					}
				}
				if n := len(c.ConnectionState().PeerCertificates); n != 1 {
					t.Errorf("%d certificates, want the one of S", n)
				}
				if bytes.Contains(said, own[:]) || bytes.Contains(said, []byte(own.String())) {
					t.Error("the callee's pid is in what it said")
				}
			})
		})
	}
}

func TestNoCertificate(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		waiting := r.accept(far, Options{})
		c := r.stranger(near, nil)
		r.write(c, wire.Message{Type: wire.HeartBeat, PID: r.callee.ID()})
		if got, err := io.ReadAll(c); len(got) > 0 || err == nil {
			t.Errorf("read %x, %v; want a refusal", got, err)
		}
		if a := <-waiting; a.s != nil || a.err == nil {
			t.Errorf("Accept without a certificate: %v, %v", a.s, a.err)
		}
	})
}

// TestWrongS has somebody else answer the tunnel: they learn nothing of the
// caller's pid.
func TestWrongS(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		server := tls.Server(far, keytls.Server(alpn, *r.certificate(pid.NewKey()), tls.RequireAnyClientCert))
		refused := make(chan error, 1)
		go func() { refused <- server.HandshakeContext(r.t.Context()) }()
		s, err := Dial(r.t.Context(), near, r.caller, r.callee.ID(), r.s.ID(), Options{})
		if s != nil || !errors.Is(err, ErrWrongPID) {
			t.Errorf("Dial: %v, %v; want ErrWrongPID", s, err)
		}
		if err := <-refused; err == nil {
			t.Error("the impostor's handshake succeeded")
		}
		if n := len(server.ConnectionState().PeerCertificates); n != 0 {
			t.Errorf("the impostor was shown %d certificates", n)
		}
		own := r.caller.ID()
		if bytes.Contains(near.written(), own[:]) {
			t.Error("the caller's pid is in what it said")
		}
	})
}

// TestImpostorWithS is somebody who holds S but is not the voice module of the
// pid, or does not keep to the protocol.
func TestImpostorWithS(t *testing.T) {
	tests := []struct {
		name   string
		answer func(r *rig) wire.Message
		want   error
	}{
		{"not that pid", func(r *rig) wire.Message {
			return wire.Message{Type: wire.HeartBeatReply, PID: r.caller.ID()}
		}, ErrWrongPID},
		{"for another caller", func(r *rig) wire.Message {
			return wire.Message{Type: wire.HeartBeatReply, PID: r.callee.ID(), OK: true}
		}, ErrProtocol},
		{"another message", func(r *rig) wire.Message {
			return wire.Message{Type: wire.CallInitiateReply, PID: r.caller.ID(), OK: true}
		}, ErrProtocol},
		{"a request", func(r *rig) wire.Message {
			return wire.Message{Type: wire.HeartBeat, PID: r.callee.ID()}
		}, ErrProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig) {
				near, far := r.tunnels()
				server := tls.Server(far, keytls.Server(alpn, *r.certificate(r.s), tls.RequireAnyClientCert))
				go func() {
					if server.HandshakeContext(t.Context()) == nil {
						readMessage(server)
						r.write(server, tt.answer(r))
					}
				}()
				s, err := Dial(t.Context(), near, r.caller, r.callee.ID(), r.s.ID(), Options{})
				if s != nil || !errors.Is(err, tt.want) {
					t.Errorf("Dial: %v, %v; want %v", s, err, tt.want)
				}
			})
		})
	}
}

func TestContextEnds(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		s, err := Dial(ctx, near, r.caller, r.callee.ID(), r.s.ID(), Options{}) // nobody accepts
		if s != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("Dial: %v, %v after %v", s, err, time.Since(start))
		}
		if a := <-r.accept(far, Options{}); a.s != nil || a.err == nil {
			t.Errorf("Accept on a tunnel that was given up: %v, %v", a.s, a.err)
		}
		if _, err := near.Conn.Write([]byte("x")); err == nil {
			t.Error("the tunnel is still open")
		}
	})
}

// TestBreaksProtocol has a caller who was let in say something wrong: that
// ends the callee's session at once.
func TestBreaksProtocol(t *testing.T) {
	tests := []struct {
		name string
		want error
		say  func(r *rig, c *tls.Conn)
	}{
		{"answer that nobody asked for", ErrProtocol, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.HeartBeatReply, PID: r.caller.ID(), OK: true})
		}},
		{"request with another pid", ErrProtocol, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.CallInitiate, PID: r.caller.ID()})
		}},
		{"heartbeat for another pid", ErrProtocol, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.HeartBeat, PID: r.s.ID()})
		}},
		{"reply with another pid", ErrProtocol, func(r *rig, c *tls.Conn) {
			r.write(c, wire.Message{Type: wire.CallTerminateReply, PID: r.callee.ID()})
		}},
		{"reserved bits", ErrProtocol, func(r *rig, c *tls.Conn) {
			b, _ := wire.Message{Type: wire.CallInitiate, PID: r.callee.ID()}.Append(nil)
			b[len(b)-1] = 1
			c.Write(b)
		}},
		{"wrong size", ErrProtocol, func(r *rig, c *tls.Conn) {
			b, _ := wire.Message{Type: wire.CallBusy, PID: r.callee.ID()}.Append(nil)
			b[1]++
			c.Write(append(b, 0))
		}},
		{"unknown type", ErrProtocol, func(_ *rig, c *tls.Conn) { c.Write([]byte{0, 36, 9, 9}) }},
		{"data in the stream", ErrProtocol, func(_ *rig, c *tls.Conn) { c.Write([]byte{0, 252, 2, 0xc6}) }},
		{"half a message", ErrBroken, func(_ *rig, c *tls.Conn) { c.Write([]byte{0, 36, 2}); c.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig) {
				near, far := r.tunnels()
				waiting := r.accept(far, Options{})
				c := r.stranger(near, r.caller)
				r.write(c, wire.Message{Type: wire.HeartBeat, PID: r.callee.ID()})
				if m, err := readMessage(c); err != nil || m.Type != wire.HeartBeatReply || !m.OK || m.PID != r.caller.ID() {
					t.Fatalf("answer to the heartbeat: %+v, %v", m, err)
				}
				a := <-waiting
				if a.err != nil {
					t.Fatal(a.err)
				}
				defer a.s.Close()
				start := time.Now()
				tt.say(r, c)
				m, err := a.s.Receive()
				if !errors.Is(err, tt.want) {
					t.Errorf("Receive: %+v, %v; want %v", m, err, tt.want)
				}
				if d := time.Since(start); d != 20*time.Millisecond {
					t.Errorf("the session ended after %v, want the link's 20ms", d)
				}
				if _, again := a.s.Receive(); again != err {
					t.Errorf("Receive again: %v, want %v", again, err)
				}
				if _, err := far.Conn.Write([]byte("x")); err == nil {
					t.Error("the tunnel is still open")
				}
			})
		})
	}
}

func TestHeartbeats(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		caller, callee := r.sessionsOver(near, far, Options{})
		here, there := receiving(caller), receiving(callee)
		before := len(near.written())
		time.Sleep(time.Hour)
		select {
		case err := <-here:
			t.Fatalf("the session ended: %v", err)
		case err := <-there:
			t.Fatalf("the session ended: %v", err)
		default:
		}
		// In an hour 720 requests of 36 bytes and as many answers of 40, each
		// in a TLS record of 22 more.
		if got, want := len(near.written())-before, 720*(36+22+40+22); got < want-300 || got > want+300 {
			t.Errorf("an hour of heartbeats took %d bytes, want about %d", got, want)
		}

		time.Sleep(2 * time.Second) // between two heartbeats
		r.net.Cut(r.a, r.b)
		start := time.Now()
		for end, silent := range map[string]<-chan error{"caller": here, "callee": there} {
			if err := <-silent; !errors.Is(err, ErrSilent) {
				t.Errorf("%s: the session ended with %v, want ErrSilent", end, err)
			}
		}
		// The first unanswered heartbeat leaves after 3 s, two more follow, and
		// the fourth tick finds three without an answer.
		if d := time.Since(start); d < 17*time.Second || d > 18*time.Second {
			t.Errorf("ended %v after the cut, want a little under 18s", d)
		}
	})
}

// TestOneMissedHeartbeat checks that fewer than three missed ones do no harm.
func TestOneMissedHeartbeat(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		caller, callee := r.sessions(Options{HeartBeat: 2 * time.Second, Misses: 3})
		here, there := receiving(caller), receiving(callee)
		for range 10 {
			r.net.Cut(r.a, r.b)
			time.Sleep(5 * time.Second)
			r.net.Heal(r.a, r.b)
			time.Sleep(5 * time.Second)
		}
		select {
		case err := <-here:
			t.Errorf("the session ended: %v", err)
		case err := <-there:
			t.Errorf("the session ended: %v", err)
		default:
		}
	})
}

// TestStalledPeer has the far end read nothing until the tunnel takes no more:
// Send, and whoever waits behind it, give up.
func TestStalledPeer(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		caller, _ := r.sessionsOver(near, far, Options{HeartBeat: time.Hour, Stall: 4 * time.Second})
		var wg sync.WaitGroup
		start := time.Now()
		for range 3 {
			wg.Go(func() {
				for {
					if err := caller.Send(wire.Message{Type: wire.CallBusy}); err != nil {
						if !errors.Is(err, ErrBroken) {
							t.Errorf("Send: %v, want ErrBroken", err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d < 4*time.Second || d > 5*time.Second {
			t.Errorf("Send gave up after %v, want 4s and the little that filling took", d)
		}
	})
}

// TestCloseWhileStalled checks that Close needs no help from the far end.
func TestCloseWhileStalled(t *testing.T) {
	t.Run("link cut", func(t *testing.T) {
		inRig(t, func(t *testing.T, r *rig) {
			caller, _ := r.sessions(Options{})
			r.net.Cut(r.a, r.b)
			closesSoon(t, caller)
		})
	})
	t.Run("Send stuck", func(t *testing.T) {
		inRig(t, func(t *testing.T, r *rig) {
			caller, _ := r.sessions(Options{HeartBeat: time.Hour, Stall: time.Hour})
			sent := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					err = caller.Send(wire.Message{Type: wire.CallBusy})
				}
				sent <- err
			}()
			synctest.Wait()
			closesSoon(t, caller)
			if err := <-sent; !errors.Is(err, ErrClosed) {
				t.Errorf("Send: %v, want ErrClosed", err)
			}
		})
	})
	t.Run("no room for the goodbye", func(t *testing.T) {
		inRig(t, func(t *testing.T, r *rig) {
			near, far := r.tunnels()
			caller, _ := r.sessionsOver(near, far, Options{HeartBeat: time.Hour})
			r.net.Cut(r.a, r.b)
			near.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := near.Conn.Write(make([]byte, 1<<20)); err == nil {
				t.Fatal("a cut link took a megabyte")
			}
			closesSoon(t, caller)
		})
	})
}

func closesSoon(t *testing.T, s *Session) {
	t.Helper()
	start := time.Now()
	s.Close()
	if d := time.Since(start); d > closeTimeout {
		t.Errorf("Close took %v", d)
	}
}

// A weakSigner is a key of small order, for which one signature fits every
// message: R is the neutral element, s is 0.
type weakSigner struct{}

func (weakSigner) Public() crypto.PublicKey {
	return append(ed25519.PublicKey{1}, make([]byte, 31)...)
}

func (weakSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return append([]byte{1}, make([]byte, 63)...), nil
}

// TestWeakCaller checks that a key that anybody can sign for proves nothing.
func TestWeakCaller(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		waiting := r.accept(far, Options{})
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
		der, err := x509.CreateCertificate(nil, template, template, weakSigner{}.Public(), weakSigner{})
		if err != nil {
			t.Fatal(err)
		}
		s := r.s.ID()
		c := tls.Client(near, keytls.Client(alpn, &s, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: weakSigner{}}))
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, _ := wire.Message{Type: wire.HeartBeat, PID: r.callee.ID()}.Append(nil)
		c.Write(b)
		if a := <-waiting; a.s != nil || !errors.Is(a.err, ErrProtocol) {
			t.Errorf("Accept: %v, %v; want ErrProtocol", a.s, a.err)
		}
	})
}

// FuzzReadMessage reads a stream of whatever bytes: it gives messages whose
// encodings are those bytes, or an error.
func FuzzReadMessage(f *testing.F) {
	for t := wire.CallInitiate; t <= wire.CallResumeReply; t++ {
		if b, err := (wire.Message{Type: t, PID: pid.ID{1}}).Append(nil); err == nil {
			f.Add(b)
			f.Add(append(b, b...))
			f.Add(b[:len(b)-1])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		var back []byte
		for {
			m, err := readMessage(r)
			if err != nil {
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("error %v is none that a session knows", err)
				}
				break
			}
			if back, err = m.Append(back); err != nil {
				t.Fatalf("%+v was read but cannot be written: %v", m, err)
			}
		}
		if !bytes.HasPrefix(b, back) {
			t.Errorf("read %x, which encodes to %x", b, back)
		}
	})
}
