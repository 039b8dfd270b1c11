package voipcore

import (
	"testing"

	"hushbell/voipcore/call"
)

// What a status tells before, in and after a call.
func TestStatus(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b := s.newBox(t, "a", nil), s.newBox(t, "b", nil)
	if st := a.Status(); !st.Online || st.Relays < 3 || len(st.Calls) != 0 {
		t.Errorf("status before a call: %+v", st)
	}
	id := a.call(t, b.key.ID())
	a.wait(t, Answered)
	b.wait(t, Answered)
	talk20ms(10, a, b)
	st := a.Status()
	if len(st.Calls) != 1 || !a.Alive(id) {
		t.Fatalf("status in a call: %+v; alive %v", st, a.Alive(id))
	}
	if c := st.Calls[0]; c.ID != id || c.Peer != b.key.ID() || !c.Outgoing || c.Report.Sent < 10 || c.Report.Voice.Received == 0 || c.Report.Hops != 3 {
		t.Errorf("the call: %+v", c)
	}
	if a.Alive(id+1) || a.Alive(call.ID(0)) {
		t.Error("calls that never were are alive")
	}
	a.Close()
	if st := a.Status(); len(st.Calls) != 0 || a.Alive(id) {
		t.Errorf("status after Close: %+v", st)
	}
}
