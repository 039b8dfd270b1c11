package voipcore

import (
	"sync/atomic"
	"testing"

	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
)

// A mood is how callers are welcome at a box, until the owner wants it otherwise.
type mood struct{ atomic.Int32 }

func (m *mood) set(w Welcome) { m.Store(int32(w)) }

func (m *mood) box(t *testing.T, s *swarm, name string) *box {
	m.set(Ring)
	return s.newBox(t, name, func(c *Config) {
		c.Welcome = func(pid.ID) Welcome { return Welcome(m.Load()) }
	})
}

// nothing fails the test if the owner of a box was told of any of these kinds.
func (b *box) nothing(t *testing.T, kinds ...EventKind) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		for _, k := range kinds {
			if e.Kind == k {
				t.Errorf("the owner is told %v", k)
			}
		}
	}
}

// Whoever does not want to be disturbed while it rings hears no more of that call than
// its end, and may call others meanwhile; the caller hears it ring as before.
func TestSilence(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	var m mood
	a, c := s.newBox(t, "a", slowRing), s.newBox(t, "c", nil)
	b := m.box(t, s, "b")
	id := a.call(t, b.key.ID())
	rings := b.wait(t, RingingHere)
	m.set(Silent)
	b.Silence(rings.Call)
	b.call(t, c.key.ID())
	e := b.wait(t, Answered)
	b.Silence(e.Call) // was answered
	talk20ms(10, b, c)
	b.HangUp(e.Call)
	b.wait(t, Ended)
	a.wait(t, RingingFar)
	a.nothing(t, Declined, NoAnswer, Lost)
	a.HangUp(id)
	if e := b.wait(t, Missed); e.Call != rings.Call {
		t.Errorf("missed %+v, not the call that rang", e)
	}
	b.nothing(t, StopRinging, RingingHere)
}

// A call that rang, and whose next try is to ring unheard, does not hold the line.
func TestSilentNextTry(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	var m mood
	a, c := s.newBox(t, "a", nil), s.newBox(t, "c", nil)
	b := m.box(t, s, "b")
	a.call(t, b.key.ID())
	b.wait(t, RingingHere)
	m.set(Silent)
	a.wait(t, RingingFar)
	a.wait(t, RingingFar)
	b.call(t, c.key.ID())
	b.wait(t, Answered)
	a.wait(t, NoAnswer)
	b.wait(t, Missed)
	b.nothing(t, RingingHere)
}

// A box that ends tells its owner of whoever was ringing, heard or not, or waiting, as
// missed; whom it turns away, and a call that stood, were not.
func TestCloseMisses(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	var m mood
	a := s.newBox(t, "a", slowRing)
	for _, how := range []string{"rings", "rings unheard", "waits", "is turned away"} {
		b := m.box(t, s, how)
		want := Missed
		switch how {
		case "waits":
			b.call(t, s.newBox(t, "c", nil).key.ID())
			b.wait(t, Answered)
		case "rings unheard":
			m.set(Silent)
		}
		a.call(t, b.key.ID())
		switch how {
		case "waits":
			b.wait(t, WaitingHere)
		case "rings", "is turned away":
			b.wait(t, RingingHere)
		}
		for rings := how == "waits"; !rings; {
			b.board.do(func() {
				for _, l := range b.board.legs {
					rings = rings || l.call.State == call.Ringing
				}
			})
		}
		if how == "is turned away" {
			b.board.do(func() {
				for _, l := range b.board.legs {
					l.feed(call.Event{Kind: call.HangUp})
				}
			})
			want = Ended
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		a.wait(t, Declined)
		b.mu.Lock()
		n := 0
		for _, e := range b.events {
			if e.Peer == a.key.ID() && e.Kind.Final() {
				if n++; e.Kind != want {
					t.Errorf("who %s is told as %v, want %v", how, e.Kind, want)
				}
			}
		}
		b.mu.Unlock()
		if n != 1 {
			t.Errorf("of who %s %d ends are told", how, n)
		}
	}
}

// Who waits for the line does not ring when it is free, if that is unwelcome by then.
func TestSilentAfterWaiting(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	var m mood
	a, c := s.newBox(t, "a", nil), s.newBox(t, "c", slowRing)
	b := m.box(t, s, "b")
	id := b.call(t, a.key.ID())
	b.wait(t, Answered)
	waits := c.call(t, b.key.ID())
	b.wait(t, WaitingHere)
	m.set(Silent)
	b.HangUp(id)
	c.wait(t, RingingFar)
	c.HangUp(waits)
	b.wait(t, Missed)
	b.nothing(t, RingingHere, StopRinging)
}
