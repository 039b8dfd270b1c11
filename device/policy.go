package device

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hushbell/device/tone"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// A Contact is somebody whom the box knows.
type Contact struct {
	Name   string
	PID    pid.ID
	Answer bool // a call from them is answered by itself
}

// A Group is contacts that are called together.
type Group struct {
	Name    string
	Members []string // names of contacts
}

// An Action is what a gesture at a button does while there is no call. While
// there is one, Call and Page answer it or hang up, as a press does.
type Action struct {
	Do  ActionKind
	Who string // Call, Page: the name of a contact or a group
}

// An ActionKind says what an Action does.
type ActionKind uint8

// The actions.
const (
	DoNothing ActionKind = iota
	DoCall               // whoever of the group answers first gets the call
	DoPage               // all of the group hear us
	DoQuiet              // turns do-not-disturb on and off
	DoHangUp             // rejects or ends the call there is
	DoDoor               // in a call, opens the far end's door with FarPIN
)

// A Button is what the gestures at a button do. One that knows push to talk has
// no long press, and Press is done by TalkStart, too.
type Button struct {
	Press, Long, Double Action
}

// A Policy is what the owner may change while the box runs.
type Policy struct {
	Contacts   []Contact
	Groups     []Group
	Buttons    map[string]Button    // by name, as Gesture has it
	PushToTalk bool                 // the microphone is open only while a button is held
	Unknown    voipcore.Welcome     // what becomes of strangers: Decline, Ring or Silent
	MaxCall    time.Duration        // how long a call may last that is answered from now on; 0: for ever
	Quiet      func(time.Time) bool // the schedule of do-not-disturb, asked on one goroutine; nil is never
	Door       *Door                // nil: there is none
	FarPIN     voipcore.PIN         // of the door that DoDoor opens
	Tones      *tone.Player         // nil, or the Same: those that were there before, or the default
}

// welcome says what becomes of a call.
func (p *Policy) welcome(from pid.ID, quiet bool) voipcore.Welcome {
	w := p.Unknown
	if i := slices.IndexFunc(p.Contacts, func(c Contact) bool { return c.PID == from }); i >= 0 {
		if w = voipcore.Ring; p.Contacts[i].Answer {
			w = voipcore.Admit
		}
	}
	if quiet && w != voipcore.Decline {
		return voipcore.Silent
	}
	return w
}

func (p *Policy) byName(name string) (Contact, bool) {
	i := slices.IndexFunc(p.Contacts, func(c Contact) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return Contact{}, false
	}
	return p.Contacts[i], true
}

func (p *Policy) peer(id pid.ID) Peer {
	i := slices.IndexFunc(p.Contacts, func(c Contact) bool { return c.PID == id })
	if i < 0 {
		return Peer{PID: id}
	}
	return Peer{p.Contacts[i].Name, id}
}

// A target is whom a call is to.
type target struct {
	name    string // of contact or group; "" of a pid that is no contact
	members []pid.ID
	page    bool
}

// peer is who is in the call before somebody has answered it.
func (t *target) peer() Peer {
	if len(t.members) == 1 {
		return Peer{t.name, t.members[0]}
	}
	return Peer{Name: t.name}
}

// target finds who is called by a name, or nil: a contact, or those of a group
// that are contacts.
func (p *Policy) target(name string) (*target, error) {
	if c, ok := p.byName(name); ok {
		return &target{name: c.Name, members: []pid.ID{c.PID}}, nil
	}
	i := slices.IndexFunc(p.Groups, func(g Group) bool { return strings.EqualFold(g.Name, name) })
	if i < 0 {
		return nil, nil
	}
	t := &target{name: p.Groups[i].Name}
	var missing []string
	for _, member := range p.Groups[i].Members {
		c, ok := p.byName(member)
		switch {
		case !ok:
			missing = append(missing, fmt.Sprintf("%q", member))
		case !slices.Contains(t.members, c.PID):
			t.members = append(t.members, c.PID)
		}
	}
	if len(t.members) == 0 {
		return nil, fmt.Errorf("nobody of the group %q is a contact (%s): hushbell contact add NAME, for each of them", name, strings.Join(missing, ", "))
	}
	return t, nil
}

// Missing returns what cannot be done as things are, for a warning at the start.
func (p *Policy) Missing() (all []string) {
	for _, name := range slices.Sorted(maps.Keys(p.Buttons)) {
		b := p.Buttons[name]
		for _, a := range []Action{b.Press, b.Long, b.Double} {
			if _, err := p.aim(a); a.Do != DoNothing && err != nil {
				all = append(all, err.Error())
			}
		}
	}
	for _, g := range p.Groups {
		if c, ok := p.byName(g.Name); ok {
			all = append(all, fmt.Sprintf("there is a contact %q and a group of that name: the contact is called; give one of them another name", c.Name))
		}
		for _, member := range g.Members {
			switch _, ok := p.byName(member); {
			case ok:
			case slices.ContainsFunc(p.Groups, func(g Group) bool { return strings.EqualFold(g.Name, member) }):
				all = append(all, fmt.Sprintf("the group %q has %q, which is a group: name the contacts themselves", g.Name, member))
			default:
				all = append(all, fmt.Sprintf("the group %q has %q, but there is no such contact: hushbell contact add %q", g.Name, member, member))
			}
		}
	}
	return all
}

// aim returns whom an action calls; nil if it calls nobody by its nature.
func (p *Policy) aim(a Action) (*target, error) {
	switch a.Do {
	case DoNothing:
		return nil, errors.New("the button calls nobody: name a contact under [button] in the configuration")
	case DoCall, DoPage:
	default:
		return nil, nil
	}
	t, err := p.target(a.Who)
	if t == nil && err == nil {
		err = fmt.Errorf("the button calls %q, but there is no such contact: hushbell contact add %q", a.Who, a.Who)
	}
	if t != nil {
		t.page = a.Do == DoPage
	}
	return t, err
}
