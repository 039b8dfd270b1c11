package device

import (
	"time"

	"hushbell/voipcore"
	"hushbell/voipcore/call"
	"hushbell/voipcore/pid"
)

// A Status is what the box does.
type Status struct {
	State  State
	Since  time.Time
	Call   *Call  // the one that stands, or the last one; nil before the first
	Quiet  bool   // do not disturb
	Switch Switch // why
}

// A Call is what is known of a call. It does not change once handed out.
type Call struct {
	ID       call.ID // 0: it could not be placed
	Peer     Peer
	Outgoing bool
	Page     bool // all of a group hear us
	Began    time.Time
	Answered time.Time // zero: not yet, or never
	Ended    time.Time // zero while it stands
	Reason   string    // how it ended, in voipcore's words
	Err      error     // why, if it could not be reached or broke
	Report   voipcore.Report
}

// A Peer is who is in a call with us. Name is "" for a stranger. Of a group that
// is being called PID is zero.
type Peer struct {
	Name string
	PID  pid.ID
}

// News are something that happened.
type News struct {
	Kind  string // a word of the list below
	At    time.Time
	State State // after it
	Call  *Call // which call it is about, if any
}

// What News tell, beside what voipcore calls its events until the answer.
const (
	NewsOnline  = "online"
	NewsOffline = "offline"
	NewsPress   = "press"
	NewsCalling = "calling"
	NewsEnded   = "ended" // Call.Reason says how
	NewsState   = "state" // it changed, and nothing else happened
	NewsQuiet   = "quiet" // do-not-disturb was switched
	NewsDoor    = "door"  // our door was opened
)

// shown is the peer as logs show it: never a pid.
func (p Peer) shown() string {
	if p.Name == "" {
		return "(no contact)"
	}
	return p.Name
}

// told takes what voipcore tells.
func (d *Device) told(e voipcore.Event) {
	switch e.Kind {
	case voipcore.DoorAsked:
		d.doorAsked(e)
		return
	case voipcore.DoorAnswered:
		err := ErrDoorClosed
		if e.Opened {
			err = nil
		}
		d.doorAnswered(err)
		return
	case voipcore.Reachability:
		if e.Online {
			d.happens(NewsOnline, Event{Kind: WentOnline}, nil, nil)
		} else {
			d.happens(NewsOffline, Event{Kind: WentOffline}, nil, nil)
		}
		return
	}
	c := d.call(e)
	kind := e.Kind.String()
	switch {
	case e.Kind == voipcore.Answered:
		c.Answered, c.Report = time.Now(), e.Report
		if c.Peer.PID == (pid.ID{}) && !c.Page { // of a group, it is known now
			c.Peer = d.policy.Load().peer(e.Peer)
		}
	case e.Kind.Final():
		kind = NewsEnded
		c.Ended, c.Reason, c.Err, c.Report = time.Now(), e.Kind.String(), e.Err, e.Report
	}
	log := []any{"contact", c.Peer.shown(), "outgoing", c.Outgoing}
	if c.Err != nil {
		log = append(log, "err", c.Err)
	}
	d.o.Log.Info("call "+e.Kind.String(), log...)
	p := &c
	ours := e.Call == d.m.Call || e.Kind == voipcore.RingingHere || e.Kind == voipcore.Answered
	if last := d.Status().Call; ours || last != nil && last.ID == e.Call {
		p = d.record(c)
	}
	d.happens(kind, Event{Kind: kinds[e.Kind], Call: e.Call}, p, nil)
}

// call is what is known of the call of an event.
func (d *Device) call(e voipcore.Event) Call {
	if last := d.Status().Call; last != nil && last.ID == e.Call {
		return *last
	}
	return Call{ID: e.Call, Peer: d.policy.Load().peer(e.Peer), Outgoing: e.Outgoing, Began: time.Now()}
}

// record makes c the call of the status.
func (d *Device) record(c Call) *Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Call = &c
	return &c
}

// checkCall finds out whether the calls that the machine is about still are.
func (d *Device) checkCall() {
	if w := d.m.Waits; w != 0 && !d.calls.Alive(w) {
		d.queue.put(func() { d.happens(NewsState, Event{Kind: Vanished, Call: w}, nil, nil) })
	}
	id := d.m.Call
	if id == 0 || d.calls.Alive(id) {
		d.audit.Reset(auditEvery)
		return
	}
	// All that was to be told of it is in the queue by now: that comes first.
	d.queue.put(func() {
		last := d.Status().Call
		if d.m.Call != id || last == nil {
			return
		}
		c := *last
		c.Ended, c.Reason = time.Now(), voipcore.Lost.String()
		d.o.Log.Warn("call vanished", "contact", c.Peer.shown())
		d.happens(NewsEnded, Event{Kind: Vanished, Call: id}, d.record(c), nil)
	})
}
