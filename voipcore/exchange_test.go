package voipcore

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/wire"
)

// A recorder keeps what is read through it.
type recorder struct {
	net.Conn
	read bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.read.Write(b[:n])
	return n, err
}

// The exchange point knows the cookie, so it can join the callee's tunnel
// itself. It learns S, which it could also have had by asking, and nothing else:
// the callee's pid is neither in the certificate nor said afterwards.
func TestExchangePointJoinsItself(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	b, x := s.newBox(t, "b", nil), s.newBox(t, "x", nil)
	rec, _, err := x.lookup(t.Context(), b.key.ID())
	if err != nil {
		t.Fatal(err)
	}
	join := func() *kx.Tunnel {
		p := &rec.ExchangePoints[0]
		tunnel, err := x.build(t.Context(), x.pathTo(relayAt(p)), func(ctx context.Context, path []kx.Relay) (*kx.Tunnel, error) {
			return x.node.BuildOut(ctx, path, p.Cookie)
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tunnel.Close() })
		return tunnel
	}
	anybody, err := keytls.Certificate(pid.NewKey())
	if err != nil {
		t.Fatal(err)
	}

	t.Run("without a pid of its own", func(t *testing.T) {
		conn := tls.Client(join(), keytls.Client("hush-voip/1", nil, nil))
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells a client without certificate only now
		}
		if err == nil {
			t.Error("the callee talks to somebody without a pid")
		}
	})
	t.Run("with one, silent", func(t *testing.T) {
		seen := &recorder{Conn: join()}
		conn := tls.Client(seen, keytls.Client("hush-voip/1", nil, &anybody))
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		cs := conn.ConnectionState()
		if k, _ := keytls.PeerKey(&cs); k != rec.ServerKey || k == b.key.ID() {
			t.Error("the certificate is not that of S")
		}
		conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 100)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the callee speaks first: %d bytes, %v", n, err)
		}
		id := b.key.ID()
		if bytes.Contains(seen.read.Bytes(), id[:]) {
			t.Error("the pid is on the wire")
		}
	})
	t.Run("guessing a pid", func(t *testing.T) {
		conn := tls.Client(join(), keytls.Client("hush-voip/1", nil, &anybody))
		guess, err := wire.Message{Type: wire.HeartBeat, PID: pid.NewKey().ID()}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(guess); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("a wrong guess is answered: %x", b)
		}
	})
	t.Run("the far end is not the dialled pid", func(t *testing.T) {
		// Somebody publishes a record of their own that leads to b.
		_, err := session.Dial(t.Context(), join(), pid.NewKey(), pid.NewKey().ID(), rec.ServerKey, session.Options{})
		if err == nil {
			t.Error("a session with a pid that nobody has proved")
		}
	})
}

// BenchmarkLookup looks a pid up over two tunnels of three hops, on loopback.
func BenchmarkLookup(b *testing.B) {
	s := newSwarm(b, 8, "127.0.0.1")
	caller, callee := s.newBox(b, "a", nil), s.newBox(b, "b", nil)
	for b.Loop() {
		if _, _, err := caller.lookup(b.Context(), callee.key.ID()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSetup is a whole call without the talk: lookup, tunnel, session,
// answer, goodbye. After some calls it is another callee's turn, since one that is
// called by the second is called slowly: see joinBurst.
func BenchmarkSetup(b *testing.B) {
	s := newSwarm(b, 8, "127.0.0.1")
	caller, callee := s.newBox(b, "a", nil), s.newBox(b, "b", nil)
	var setup time.Duration
	for n := 1; b.Loop(); n++ {
		if n%(joinBurst/2) == 0 {
			b.StopTimer()
			callee.Close()
			callee = s.newBox(b, "b", nil)
			b.StartTimer()
		}
		caller.call(b, callee.key.ID())
		e := caller.wait(b, Answered)
		setup += e.Report.Setup
		callee.wait(b, Answered)
		caller.HangUp(e.Call)
		caller.wait(b, Ended)
		callee.wait(b, Ended)
	}
	b.ReportMetric(float64(setup.Microseconds())/1000/float64(b.N), "ms/setup")
}
