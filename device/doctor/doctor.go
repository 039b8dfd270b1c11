// Package doctor looks at a box from outside and explains what is wrong with it:
// its files, the system that runs it, its sound cards and lines, the network and
// the clock. It asks the real things, each the way the box does, and asks a
// running box for what only that knows.
//
// It repairs nothing, changes nothing but for a file that it makes and removes in
// the state folder, and takes nothing from a running box. It reads keys to see
// whether they are whole, and tells nothing of them; it tells no pid either.
package doctor

import (
	"context"
	"fmt"
	"time"

	"hushbell/alsa"
	"hushbell/board"
	"hushbell/device"
	"hushbell/device/config"
	"hushbell/device/control"
)

// A Level says how bad a finding is.
type Level uint8

// The levels. Unknown is what could not be looked at, for lack of rights or
// because something else is in the way.
const (
	OK Level = iota
	Unknown
	Warning
	Fault
)

var levelNames = [...]string{OK: "ok", Unknown: "unknown", Warning: "warning", Fault: "fault"}

func (l Level) String() string { return levelNames[l] }

// MarshalText makes it a word in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Finding is what one check has found. Why it matters and what can be done are
// "" where all is well.
type Finding struct {
	Check  string `json:"check"` // what was looked at: "speaker", "state folder"
	Level  Level  `json:"level"`
	Found  string `json:"found"`
	Why    string `json:"why,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// A Patient is the box that is looked at. All of it must be set; what the paths
// name need not be there, and is not made.
type Patient struct {
	Config   string // the configuration file
	State    string // the state folder
	Pids     string // the folder of keys in it
	Contacts string // the file in it
	Socket   string // the control socket
	System   bool   // it is the box of the whole machine, which systemd runs

	// How the program finds these: Read reads Config, KeyFiles finds the keys by
	// the names of their pids, Known reads the contacts, Policy those and all
	// else that a configuration names, and Wire is which parts its board has.
	Read     func() (config.Config, error)
	KeyFiles func() (map[string]string, error)
	Known    func() (config.Contacts, error)
	Policy   func(*config.Config) (device.Policy, error)
	Wire     func(*config.Config) (board.Wiring, error)

	Version string    // of this program
	Build   time.Time // when it was built: the time is later than this
}

// Examine makes all checks, and tells each finding as soon as it is there. It
// takes some seconds; ctx ends it before its time.
func Examine(ctx context.Context, p Patient, tell func(Finding)) {
	e := &exam{Patient: p}
	e.begin(ctx)
	for _, check := range checks {
		for _, f := range check(e, ctx) {
			if ctx.Err() != nil {
				return // what is found now may only be that
			}
			tell(f)
		}
	}
}

// checks are in the order in which things rest on each other.
var checks = []func(*exam, context.Context) []Finding{
	(*exam).configuration, (*exam).stateFolder, (*exam).keys, (*exam).contacts,
	(*exam).running, (*exam).service, (*exam).rights, (*exam).priority,
	(*exam).board, (*exam).cards, (*exam).servers, (*exam).microphone, (*exam).speaker, (*exam).lines,
	(*exam).network, (*exam).relays, (*exam).udp, (*exam).clock, (*exam).online,
}

// An exam is what is known while the checks go on.
type exam struct {
	Patient
	cfg    config.Config
	cfgErr error

	status    control.Status // of the running box
	statusErr error          // why there is none; matches control.ErrNotRunning
	user      account        // who runs the box, or would
	unit      unit           // what systemd tells of it
	self      bool           // that is us

	wiring    board.Wiring
	wiringErr error
	sound     []alsa.Device
	connected bool    // there is a way to the relays
	probed    *probes // nil before the relays were asked
}

// begin finds out what several checks rest on.
func (e *exam) begin(ctx context.Context) {
	if e.cfg, e.cfgErr = e.Read(); e.cfgErr != nil {
		e.cfg = config.Default()
	}
	e.status, e.statusErr = control.NewClient(e.Socket).Status(ctx)
	e.unit = e.askSystemd(ctx)
	e.user, e.self = e.whose()
	if e.cfg.Board.Name != board.Sim {
		e.wiring, e.wiringErr = e.Wire(&e.cfg)
	}
}

// runs reports whether a box runs and answers.
func (e *exam) runs() bool { return e.statusErr == nil }

func ok(check, format string, a ...any) []Finding {
	return []Finding{{Check: check, Found: fmt.Sprintf(format, a...)}}
}

func found(l Level, check, what, why, remedy string) []Finding {
	return []Finding{{check, l, what, why, remedy}}
}

// asRoot is what to do about what we may not look at.
const asRoot = "look again with sudo hushbell doctor, or as the user that runs the box"

// unseen is something that this user may not look at.
func unseen(check, what string) []Finding {
	return found(Unknown, check, what, "", asRoot)
}
