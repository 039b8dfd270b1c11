package board

import (
	"context"
	"time"

	"hushbell/gpio"
)

// A Gesture is what was done with a button.
type Gesture struct {
	Button string    // its name in the Options
	Kind   gpio.Kind // Press, LongPress, DoublePress, TalkStart or TalkEnd
	At     time.Time // when it was known, a settle time after the finger moved
}

// A press that nobody takes for so long is not meant any more: it must not
// place a call when the box gets ready later.
const pressMeant = time.Second

// A handover is what of one button's gestures waits to be taken. They do not
// queue up: the newest is what is meant. But who was told that somebody talks is
// told that he has ended, however late.
type handover struct {
	once    Gesture // what is dropped when it was not taken in time; Kind 0 if there is none
	end     Gesture // of the talking that was taken; comes first
	talking bool    // a TalkStart was taken, and its TalkEnd was not done yet
}

// put takes a gesture, and reports whether it has to be taken in time.
func (h *handover) put(g Gesture) bool {
	if g.Kind != gpio.TalkEnd {
		h.once = g
		return true
	}
	if h.once.Kind == gpio.TalkStart {
		h.once = Gesture{} // nobody knew
	}
	if h.talking {
		h.end, h.talking = g, false
	}
	return false
}

// next is what is to be taken; its Kind is 0 if there is nothing.
func (h *handover) next() Gesture {
	if h.end.Kind != 0 {
		return h.end
	}
	return h.once
}

// taken tells that next was taken.
func (h *handover) taken() {
	if h.end.Kind != 0 {
		h.end = Gesture{}
		return
	}
	h.talking = h.talking || h.once.Kind == gpio.TalkStart
	h.once = Gesture{}
}

// expire drops what was not taken in time, and reports whether there was
// something.
func (h *handover) expire() bool {
	was := h.once.Kind != 0
	h.once = Gesture{}
	return was
}

// A button is a line, and who is told what is done with it.
type button struct {
	Line
	gestures chan<- Gesture
	heard    func(Line, gpio.Event) // deals with all that is no gesture
	lost     func(Line)             // a gesture was not taken
}

// serve makes gestures of what happens at the line until ctx is done.
func (b *button) serve(ctx context.Context, events <-chan gpio.Event) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var h handover
	for {
		var gestures chan<- Gesture
		next := h.next()
		if next.Kind != 0 {
			gestures = b.gestures
		}
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			b.heard(b.Line, e)
			switch e.Kind {
			case gpio.Press, gpio.LongPress, gpio.DoublePress, gpio.TalkStart, gpio.TalkEnd:
				if h.put(Gesture{b.Label, e.Kind, e.At}) {
					timer.Reset(pressMeant)
				}
			}
		case gestures <- next:
			h.taken()
		case <-timer.C:
			if h.expire() {
				b.lost(b.Line)
			}
		}
	}
}
