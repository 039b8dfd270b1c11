package device

import (
	"context"
	"errors"
	"fmt"

	"hushbell/voipcore/pid"
)

// Call calls a contact or a group by name, or a pid. With page all who answer
// take part, else the first one. It returns when the call is under way.
func (d *Device) Call(ctx context.Context, to string, page bool) error {
	p := d.policy.Load()
	t, err := p.target(to)
	if err != nil {
		return err
	}
	if t == nil {
		id, err := pid.Parse(to)
		if err != nil {
			return fmt.Errorf("there is no contact of that name, and it is no pid: %v", err)
		}
		t = &target{name: p.peer(id).Name, members: []pid.ID{id}}
	}
	t.page = page
	return d.do(ctx, func() error {
		if d.m.Alive() {
			return fmt.Errorf("the line is taken (%v): hang up first", d.m.State)
		}
		d.happens(NewsState, Event{Kind: CallCommand}, nil, func() (*target, error) { return t, nil })
		if last := d.Status().Call; !d.m.Alive() && last != nil {
			return last.Err
		}
		return nil
	})
}

// HasButton reports whether a button is configured. The first, "", always is.
func (d *Device) HasButton(name string) bool {
	_, ok := d.policy.Load().Buttons[name]
	return ok || name == ""
}

// Press does what a gesture at a button means, and returns when it is done. A button
// that is not configured, any more perhaps, means nothing, but can be held in a call to
// talk, and be let go.
func (d *Device) Press(ctx context.Context, g Gesture) error {
	return d.do(ctx, func() error {
		d.gesture(g)
		return nil
	})
}

// SetQuiet switches do-not-disturb.
func (d *Device) SetQuiet(ctx context.Context, s Switch) error {
	return d.do(ctx, func() error {
		d.setQuiet(s)
		return nil
	})
}

// Answer answers the call that rings here.
func (d *Device) Answer(ctx context.Context) error {
	return d.do(ctx, func() error {
		if d.m.State != RingingHere {
			return fmt.Errorf("nobody is calling (%v)", d.m.State)
		}
		d.happens(NewsState, Event{Kind: AnswerCommand}, nil, nil)
		return nil
	})
}

// HangUp ends or rejects the call there is.
func (d *Device) HangUp(ctx context.Context) error {
	return d.do(ctx, func() error {
		if !d.m.Alive() {
			return fmt.Errorf("there is no call (%v)", d.m.State)
		}
		d.happens(NewsState, Event{Kind: HangUpCommand}, nil, nil)
		return nil
	})
}

// errNotRunning is the answer to commands when Run has ended.
var errNotRunning = errors.New("device: the box is going down")

// do has Run do f after all that came before, and returns what it returned. When
// ctx is done before Run gets to it, f is not done: a door must not open long
// after whoever asked was told that it would not.
func (d *Device) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1) // so that Run does not wait for who has gone
	ask := func() {
		if ctx.Err() == nil {
			done <- f()
		}
	}
	if !d.queue.put(ask) {
		return errNotRunning
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-d.queue.over:
		return errNotRunning
	}
}
