package voipcore

import (
	"errors"
	"testing"
	"time"

	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
)

// A whole call: found, answered by itself, speech both ways, hung up.
func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name, ip   string
		byCaller   bool
		wantFrames uint64
	}{
		{"over IPv4, the caller hangs up", "127.0.0.1", true, 40},
		{"over IPv6, the callee hangs up", "::1", false, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSwarm(t, 8, tt.ip)
			a, b := s.newBox(t, "a", nil), s.newBox(t, "b", nil)
			a.call(t, b.key.ID())
			ea, eb := a.wait(t, Answered), b.wait(t, Answered)
			if ea.Peer != b.key.ID() || eb.Peer != a.key.ID() || !ea.Outgoing || eb.Outgoing {
				t.Errorf("told the wrong ends: %+v, %+v", ea, eb)
			}
			if r := ea.Report; r.Hops != 3 || eb.Report.Hops != 3 || r.KeyExchange != "X25519MLKEM768" || r.Lookup <= 0 || r.Tunnel <= 0 || r.Setup < r.Lookup+r.Tunnel {
				t.Errorf("report %+v", ea.Report)
			}
			talk20ms(int(tt.wantFrames)+5, a, b)
			if tt.byCaller {
				a.HangUp(ea.Call)
			} else {
				b.HangUp(eb.Call)
			}
			for _, e := range []Event{a.wait(t, Ended), b.wait(t, Ended)} {
				if v := e.Report.Voice; v.Received < tt.wantFrames || v.Lost+v.Malformed > 0 {
					t.Errorf("voice of %v: %+v", e.Outgoing, v)
				}
			}
			var pcm [960]int16
			if a.Listen(&pcm) || b.Speak(&pcm) {
				t.Error("there is sound after the call")
			}
		})
	}
}

// The ways in which a call does not come about. One swarm serves them all.
func TestCallsThatFail(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a := s.newBox(t, "a", nil)

	t.Run("callee unknown", func(t *testing.T) {
		a.call(t, pid.NewKey().ID())
		if e := a.wait(t, Unreachable); !errors.Is(e.Err, ErrNotFound) {
			t.Errorf("unreachable because of %v, want ErrNotFound", e.Err)
		}
	})
	t.Run("itself", func(t *testing.T) {
		if _, err := a.Call(a.key, a.key.ID()); !errors.Is(err, ErrSelf) {
			t.Errorf("Call = %v, want ErrSelf", err)
		}
	})
	t.Run("callee refuses, the caller is not on its list", func(t *testing.T) {
		friend := pid.NewKey().ID()
		b := s.newBox(t, "b", func(c *Config) {
			c.Welcome = func(from pid.ID) Welcome {
				if from == friend {
					return Admit
				}
				return Decline
			}
		})
		a.call(t, b.key.ID())
		a.wait(t, Declined)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.events) > 0 {
			t.Errorf("the owner is told of a stranger: %+v", b.events)
		}
	})
	t.Run("no answer after three tries", func(t *testing.T) {
		b := s.newBox(t, "b", func(c *Config) { c.Welcome = ring })
		start := time.Now()
		a.call(t, b.key.ID())
		for range 3 {
			a.wait(t, RingingFar)
			b.wait(t, RingingHere)
		}
		a.wait(t, NoAnswer)
		b.wait(t, Missed)
		if d := time.Since(start); d < 3*300*time.Millisecond {
			t.Errorf("gave up after %v, before the third ring was over", d)
		}
	})
	t.Run("rejected while it rings", func(t *testing.T) {
		b := s.newBox(t, "b", func(c *Config) { c.Welcome = ring; c.Rules.Ring = 20 * time.Second })
		a.call(t, b.key.ID())
		b.HangUp(b.wait(t, RingingHere).Call)
		a.wait(t, Declined)
		b.wait(t, StopRinging)
	})
	t.Run("given up while it rings", func(t *testing.T) {
		b := s.newBox(t, "b", func(c *Config) { c.Welcome = ring; c.Rules.Ring = 20 * time.Second })
		id := a.call(t, b.key.ID())
		b.wait(t, RingingHere)
		a.HangUp(id)
		a.wait(t, Ended)
		b.wait(t, StopRinging)
		b.wait(t, Missed)
	})
	t.Run("line taken here", func(t *testing.T) {
		b := s.newBox(t, "b", nil)
		a.call(t, b.key.ID())
		e := a.wait(t, Answered)
		if _, err := a.Call(a.key, pid.NewKey().ID()); !errors.Is(err, ErrLineTaken) {
			t.Errorf("Call in a call = %v, want ErrLineTaken", err)
		}
		a.HangUp(e.Call)
		a.wait(t, Ended)
	})
}

// Busy, then waiting, then through; and a third one finds the queue full.
func TestBusyThenWaitingThenThrough(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b := s.newBox(t, "a", nil), s.newBox(t, "b", nil)
	c, d := s.newBox(t, "c", nil), s.newBox(t, "d", nil)
	a.call(t, b.key.ID())
	first := a.wait(t, Answered)
	b.wait(t, Answered)
	c.call(t, b.key.ID())
	c.wait(t, Waiting)
	b.wait(t, WaitingHere)
	d.call(t, b.key.ID())
	d.wait(t, Busy)
	a.HangUp(first.Call)
	a.wait(t, Ended)
	c.wait(t, Answered)
	if e := b.wait(t, Answered); e.Peer != c.key.ID() {
		t.Error("the one that waited is not the one that is through")
	}
	talk20ms(10, b, c)
}

// Both press at once: one call stands, and the other ends silently.
func TestBothCallAtOnce(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	slow := func(c *Config) { c.Welcome = ring; c.Rules.Ring = 20 * time.Second }
	for range 3 {
		a, b := s.newBox(t, "a", slow), s.newBox(t, "b", slow)
		go a.Call(a.key, b.key.ID())
		go b.Call(b.key, a.key.ID())
		ea, eb := a.wait(t, Answered), b.wait(t, Answered)
		if ea.Outgoing == eb.Outgoing {
			t.Errorf("both ends say outgoing = %v", ea.Outgoing)
		}
		talk20ms(10, a, b)
		a.HangUp(ea.Call)
		a.wait(t, Ended)
		b.wait(t, Ended)
		for _, x := range []*box{a, b} {
			x.mu.Lock()
			for _, e := range x.events {
				if e.Kind.Final() {
					t.Errorf("also told %v of the call that gave way", e.Kind)
				}
			}
			x.mu.Unlock()
		}
	}
}

// Something on the way, or the far box, goes away in mid-call: both ends are
// told within seconds. Heartbeats of 200 ms stand for those of 5 s.
func TestCallLosesItsWay(t *testing.T) {
	kill := map[string]func(s *swarm, a, b *box){
		"the far box": func(s *swarm, a, b *box) { b.abort() },
		"the exchange point": func(s *swarm, a, b *box) {
			s.relay(a.legTunnel().Path()[2].Key).abort()
		},
		"a hop": func(s *swarm, a, b *box) {
			s.relay(a.legTunnel().Path()[1].Key).abort()
		},
	}
	for name, kill := range kill {
		t.Run(name, func(t *testing.T) {
			s := newSwarm(t, 8, "127.0.0.1")
			fast := func(c *Config) { c.Session.HeartBeat = 200 * time.Millisecond }
			a, b := s.newBox(t, "a", fast), s.newBox(t, "b", fast)
			a.call(t, b.key.ID())
			a.wait(t, Answered)
			b.wait(t, Answered)
			talk20ms(10, a, b)
			kill(s, a, b)
			if e := a.wait(t, Lost); e.Err == nil {
				t.Error("not told why")
			}
			if name != "the far box" {
				b.wait(t, Lost)
			}
		})
	}
}

// legTunnel returns the tunnel of the one call of a box.
func (b *box) legTunnel() (t *kx.Tunnel) {
	b.board.do(func() {
		for _, l := range b.board.legs {
			t = l.tunnel
		}
	})
	return t
}

// relay returns the relay with a key.
func (s *swarm) relay(k pid.ID) *Core {
	for _, r := range s.relays {
		if r.cfg.RelayKey.ID() == k {
			return r
		}
	}
	return nil
}

// abort ends a Core without a goodbye, as a power cut does: what it would
// still send is not sent.
func (c *Core) abort() {
	c.cfg.Network.(*mortal).die()
	c.Close()
}
