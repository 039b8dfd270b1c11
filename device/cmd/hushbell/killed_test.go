package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hushbell/device/control"
)

// smallBox is what an idle box may have resident, in bytes.
const smallBox = 25e6

// Processes are killed in mid-call, as by a power cut: the far box, then relays
// one after the other until it is one of the call's path. Whoever is left is told
// within seconds and says so in words; a box that comes back is there at once.
func TestKilledInCall(t *testing.T) {
	s := startSwarm(t, "", "127.0.0.1", 8)
	a, b := newTestBox(t, "", "127.0.0.1", s), newTestBox(t, "", "127.0.0.1", s)
	a.knows(t, b)
	b.knows(t, a)
	a.run(t)
	b.run(t)
	for _, x := range []*testBox{a, b} {
		x.until(t, "small", func(s *control.Status) bool {
			return s.Memory.RSS > 0 && (s.Memory.RSS < smallBox || testing.Short()) // the race detector needs more
		})
	}
	ended := func(s *control.Status) bool { return s.Call != nil && s.Call.Over() }
	lost := func(x *testBox) {
		t.Helper()
		c := x.until(t, "out of the call", ended).Call
		if c.Reason != "lost" || c.Error == "" || c.Answered.IsZero() {
			t.Errorf("the call ended as %+v", c)
		}
		out := succeeds(t, "", "status", "--socket", filepath.Join(x.state, "control.sock"))
		if want := "far, lost: " + c.Error; !strings.Contains(out, want) {
			t.Errorf("status prints\n%s\nwithout %q", out, want)
		}
	}

	callAndTalk(t, a, b)
	check(t, b.Process.Kill())
	lost(a)

	b.run(t) // with the state that it had: its socket and its locks are no obstacle
	callAndTalk(t, a, b)
	killed := 0
	for _, p := range s.relays {
		check(t, p.Process.Kill())
		killed++
		over := func() bool {
			st, err := a.Status(t.Context())
			check(t, err)
			return ended(&st)
		}
		for limit := time.Now().Add(time.Second); time.Now().Before(limit) && !over(); {
			time.Sleep(20 * time.Millisecond)
		}
		if over() {
			break
		}
	}
	lost(a)
	lost(b)
	t.Logf("%d relays were killed", killed)
}
