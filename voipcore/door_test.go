package voipcore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hushbell/voipcore/wire"
)

// The callee opens the caller's door, is refused with another PIN, and nobody can
// ask before the answer or after the end.
func TestDoor(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	slow := func(c *Config) { c.Welcome = ring }
	a, b := s.newBox(t, "a", slow), s.newBox(t, "b", slow)
	pin := PIN{'4', '7', '1', '1'}
	id := a.call(t, b.key.ID())
	there := b.wait(t, RingingHere).Call
	if err := b.OpenDoor(there, pin); !errors.Is(err, ErrNoCall) {
		t.Errorf("OpenDoor while it rings = %v", err)
	}
	b.Answer(there)
	a.wait(t, Answered)
	b.wait(t, Answered)
	for _, opened := range []bool{true, false} {
		if err := b.OpenDoor(there, pin); err != nil {
			t.Fatal(err)
		}
		if err := b.OpenDoor(there, pin); !errors.Is(err, ErrDoorBusy) {
			t.Errorf("a second OpenDoor = %v", err)
		}
		e := a.wait(t, DoorAsked)
		if e.PIN != pin || e.Call != id || e.Peer != b.key.ID() {
			t.Errorf("asked: %+v", e)
		}
		if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, "4711") || strings.Contains(text, "52, 55") || strings.Contains(text, "52 55") {
			t.Errorf("the PIN is printed: %s", text)
		}
		a.AnswerDoor(id, opened)
		a.AnswerDoor(id, true) // there is nothing more to be answered
		if e := b.wait(t, DoorAnswered); e.Opened != opened || e.Call != there {
			t.Errorf("answered: %+v", e)
		}
	}
	talk20ms(5, a, b)
	a.HangUp(id)
	b.wait(t, Ended)
	if err := b.OpenDoor(there, pin); !errors.Is(err, ErrNoCall) {
		t.Errorf("OpenDoor after the end = %v", err)
	}
}

// Who says what is out of turn loses the call: an answer that nobody asked for, a
// second PIN before the answer to the first.
func TestDoorOutOfTurn(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b := s.newBox(t, "a", nil), s.newBox(t, "b", nil)
	for _, messages := range [][]wire.Message{
		{{Type: wire.DoorReply, OK: true}},
		{{Type: wire.Door}, {Type: wire.Door}},
	} {
		id := a.call(t, b.key.ID())
		a.wait(t, Answered)
		b.wait(t, Answered)
		a.board.do(func() {
			for _, m := range messages {
				a.board.legs[id].send(m)
			}
		})
		if e := b.wait(t, Lost); !errors.Is(e.Err, ErrBroken) {
			t.Errorf("lost because of %v", e.Err)
		}
		a.wait(t, Lost)
	}
}
