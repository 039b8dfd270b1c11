package device

import (
	"time"

	"hushbell/device/tone"
)

// gestures maps gestures to what they are to the machine.
var gestures = map[GestureKind]Kind{ShortPress: Press, LongPress: Press, DoublePress: Press, HoldStart: TalkStart, HoldEnd: TalkEnd}

// gesture does what a gesture at a button means.
func (d *Device) gesture(g Gesture) {
	button := d.policy.Load().Buttons[g.Button]
	action := button.Press
	switch g.Kind {
	case LongPress:
		action = button.Long
	case DoublePress:
		action = button.Double
	case HoldEnd:
		d.happens(NewsState, Event{Kind: TalkEnd}, nil, nil)
		return
	}
	talks := g.Kind == HoldStart && d.m.State.Voice()
	if !talks && !d.HasButton(g.Button) {
		return
	}
	d.o.Log.Info("button pressed", "state", d.m.State)
	if talks {
		action = Action{} // held in a call it talks, whatever a press does
	}
	switch action.Do {
	case DoQuiet:
		d.setQuiet(d.status.Switch.toggle(d.scheduled()))
		d.signal(tone.Click)
	case DoDoor:
		d.doorByButton()
	case DoHangUp:
		d.happens(NewsPress, Event{Kind: HangUpCommand}, nil, nil)
	default:
		kind := gestures[g.Kind]
		if d.tooSoon(kind) {
			d.o.Log.Info("that press does nothing: it came too soon after what it would undo")
			return
		}
		d.happens(NewsPress, Event{Kind: kind}, nil, func() (*target, error) { return d.policy.Load().aim(action) })
	}
}

// A press is taken for the second of two, of somebody who wants to be sure, so long.
const twice = 700 * time.Millisecond

// tooSoon reports whether a press is one too many: it would hang up what a press has just
// begun, or call again while it is still shown that a call has ended, which whoever
// pressed to end it, or to talk, may not have seen.
func (d *Device) tooSoon(kind Kind) bool {
	switch {
	case d.m.State == Ended || d.m.State == HungUp:
		return true
	case kind == Press && d.m.Alive() && states[d.m.State].group != ringing && time.Since(d.pressed) < twice:
		return true
	}
	d.pressed = time.Now()
	return false
}
