package voipcore

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/wire"
)

// A rogue has joined a box as a caller does, and keeps to no rules.
type rogue struct {
	*tls.Conn
	t   *testing.T
	own pid.ID
	far pid.ID
}

// joinAs joins far through the tunnels of x, with a pid of its own.
func (x *box) joinAs(t *testing.T, own *pid.Key, far pid.ID) *rogue {
	t.Helper()
	rec, _, err := x.lookup(t.Context(), far)
	if err != nil {
		t.Fatal(err)
	}
	p := &rec.ExchangePoints[0]
	tunnel, err := x.build(t.Context(), x.pathTo(relayAt(p)), func(ctx context.Context, path []kx.Relay) (*kx.Tunnel, error) {
		return x.node.BuildOut(ctx, path, p.Cookie)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	cert, err := keytls.Certificate(own)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(tunnel, keytls.Client("hush-voip/1", &rec.ServerKey, &cert))
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &rogue{c, t, own.ID(), far}
}

// says sends a message, with the pid that belongs there unless it has another.
func (r *rogue) says(m wire.Message) {
	r.t.Helper()
	if m.PID == (pid.ID{}) {
		m.PID = r.far
		if m.Type.Reply() {
			m.PID = r.own
		}
	}
	b, err := m.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// hears wants a message next.
func (r *rogue) hears(want wire.Message) {
	r.t.Helper()
	want.PID = r.own
	b, err := want.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	got := make([]byte, len(b))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != string(b) {
		r.t.Fatalf("the box says %x, %v; want %v", got, err, want.Type)
	}
}

// ring takes the call to where it rings.
func (r *rogue) ring() {
	r.t.Helper()
	r.says(wire.Message{Type: wire.HeartBeat})
	r.hears(wire.Message{Type: wire.HeartBeatReply, OK: true})
	r.says(wire.Message{Type: wire.CallInitiate})
	r.hears(wire.Message{Type: wire.CallInitiateReply, OK: true})
	r.says(wire.Message{Type: wire.CallBusy})
	r.hears(wire.Message{Type: wire.CallBusyReply})
	r.says(wire.Message{Type: wire.CallParameters, Params: wireParams(call.DefaultParams)})
}

// A caller whose message is out of turn, or is none, is cut off at once and
// without a word, whatever the call has come to, and the box is there for others.
// Heartbeats are a minute apart, so that it is not they that end it.
func TestCallerBreaksTheProtocol(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	patient := func(c *Config) {
		c.Welcome, c.Rules.Ring, c.Session.HeartBeat = ring, time.Minute, time.Minute
	}
	x, b := s.newBox(t, "x", nil), s.newBox(t, "b", patient)
	send := func(m wire.Message) func(*rogue) { return func(r *rogue) { r.says(m) } }
	raw := func(b string) func(*rogue) { return func(r *rogue) { io.WriteString(r, b) } }
	for _, tt := range []struct {
		name string
		rung bool // it has come to ring
		say  func(*rogue)
	}{
		{"BUSY before INITIATE", false, send(wire.Message{Type: wire.CallBusy})},
		{"a try left out", false, send(wire.Message{Type: wire.CallInitiate, NoT: 1})},
		{"TERMINATE_REPLY to nothing", false, send(wire.Message{Type: wire.CallTerminateReply})},
		{"for another pid", false, send(wire.Message{Type: wire.CallInitiate, PID: pid.NewKey().ID()})},
		{"a reply to a heartbeat that was never sent", false, send(wire.Message{Type: wire.HeartBeatReply, OK: true})},
		{"a type that there is not", false, raw("\x00\x24\x03\x20")},
		{"HTTP", false, raw("GET / HTTP/1.1\r\n\r\n")},
		{"PARAMETERS twice", true, send(wire.Message{Type: wire.CallParameters, Params: wireParams(call.DefaultParams)})},
		{"WAITING where it rings", true, send(wire.Message{Type: wire.CallWaiting})},
		{"an answer of its own", true, send(wire.Message{Type: wire.CallParametersReply, Params: wireParams(call.DefaultParams)})},
		{"RESUME", true, send(wire.Message{Type: wire.CallResume})},
		{"a wrong size where it rings", true, raw("\x00\x25\x02\xbe" + string(make([]byte, 33)))},
	} {
		r := x.joinAs(t, pid.NewKey(), b.key.ID())
		if tt.rung {
			r.ring()
			b.wait(t, RingingHere)
		} else {
			r.says(wire.Message{Type: wire.HeartBeat})
			r.hears(wire.Message{Type: wire.HeartBeatReply, OK: true})
		}
		tt.say(r)
		if got, err := io.ReadAll(r); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the box says %x, %v; want nothing, and the tunnel cut", tt.name, got, err)
		}
		if tt.rung {
			b.wait(t, StopRinging)
			b.wait(t, Missed)
		}
	}
	if n := b.legs(); n != 0 {
		t.Errorf("%d calls are left", n)
	}
	x.call(t, b.key.ID())
	b.Answer(b.wait(t, RingingHere).Call)
	x.wait(t, Answered)
}

// In a call that stands, too, either end is cut off at once when it says what is
// not its turn, and both are told why.
func TestTalkerBreaksTheProtocol(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	patient := func(c *Config) { c.Session.HeartBeat = time.Minute }
	a, b := s.newBox(t, "a", patient), s.newBox(t, "b", patient)
	for _, tt := range []struct {
		name string
		by   *box
		say  wire.Message
	}{
		{"the callee initiates", b, wire.Message{Type: wire.CallInitiate}},
		{"the caller begins anew", a, wire.Message{Type: wire.CallInitiate}},
		{"answered twice", b, wire.Message{Type: wire.CallParametersReply, Params: wireParams(call.DefaultParams)}},
		{"told to wait", b, wire.Message{Type: wire.CallWaitingReply, OK: true, TTW: 5}},
		{"resumed", a, wire.Message{Type: wire.CallResume, CallID: [16]byte{1}}},
	} {
		a.call(t, b.key.ID())
		legs := map[*box]*leg{a: a.leg(a.wait(t, Answered).Call), b: b.leg(b.wait(t, Answered).Call)}
		talk20ms(5, a, b)
		if err := legs[tt.by].session.Send(tt.say); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		far := a
		if tt.by == a {
			far = b
		}
		if e := far.wait(t, Lost); e.Err != ErrBroken {
			t.Errorf("%s: the other end is told %v, want ErrBroken", tt.name, e.Err)
		}
		if e := tt.by.wait(t, Lost); e.Err != ErrCut {
			t.Errorf("%s: it is told %v itself, want ErrCut", tt.name, e.Err)
		}
	}
}

// A record leads to somebody who is not the dialled pid: to a box that has
// another one, or to somebody at the exchange point with a key of their own. The
// caller is told that it does not get through, and the box's owner nothing.
func TestFarEndIsNotTheDialledPID(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b := s.newBox(t, "a", nil), s.newBox(t, "b", nil)
	rec, _, err := a.lookup(t.Context(), b.key.ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*wire.Record)
		want error
	}{
		{"a box with another pid", func(*wire.Record) {}, ErrNoWay}, // and it does not say what it has
		{"another key than the record's", func(r *wire.Record) { r.ServerKey = pid.NewKey().ID() }, ErrImpostor},
	} {
		f := forgery{key: pid.NewKey(), seq: time.Now().Unix(), rec: *rec}
		tt.edit(&f.rec)
		if err := b.put(t, f.item(t, pid.DayOf(a.clock.Now()))); err != nil {
			t.Fatal(err)
		}
		a.call(t, f.key.ID())
		if e := a.wait(t, Unreachable); e.Err != tt.want {
			t.Errorf("%s: told %v, want %v", tt.name, e.Err, tt.want)
		}
	}
	if !errors.Is(reason(session.ErrWrongPID), ErrImpostor) {
		t.Error("an impostor is not called one")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Call != 0 {
			t.Errorf("the box that was reached tells its owner: %+v", e)
		}
	}
}
