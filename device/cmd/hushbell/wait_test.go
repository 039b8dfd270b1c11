package main

import (
	"context"
	"strings"
	"testing"

	"hushbell/device"
	"hushbell/device/control"
)

// A lineBox is a box of which only Call is used; it tells what happens then.
type lineBox struct {
	control.Box
	happens func()
}

func (b lineBox) Call(context.Context, string, bool) error { b.happens(); return nil }

// Somebody who calls us and gives up, while we wait for an answer, is not the end of our
// call.
func TestWaitBesideAnotherCall(t *testing.T) {
	for last, want := range map[string]string{"answered": "", "ended": "not answered: busy"} {
		socket := t.TempDir() + "/control.sock"
		s, err := control.Listen(socket)
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Serve(ctx, lineBox{happens: func() {
				s.Tell(control.Event{Kind: "ringing-far", State: device.RingingFar.String(), Peer: "far", Outgoing: true})
				s.Tell(control.Event{Kind: "ended", State: device.RingingFar.String(), PID: "somebody", Reason: "missed"})
				s.Tell(control.Event{Kind: last, State: device.Busy.String(), Peer: "far", Outgoing: true, Reason: "busy"})
			}})
		}()
		err = callAndWait(ctx, control.NewClient(socket), "far", false, new(strings.Builder))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("our call was %s: %v", last, err)
		}
		cancel()
		check(t, <-done)
	}
}
