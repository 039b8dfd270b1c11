package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An Action is what a gesture at a button does: "call NAME", "page NAME" with the
// name of a contact or a group, "dnd", "hang up" or "door". "" is nothing.
type Action string

// What an Action does.
const (
	CallAction   = "call"    // whoever answers first
	PageAction   = "page"    // all hear us
	DNDAction    = "dnd"     // turns do-not-disturb on and off
	HangUpAction = "hang up" // rejects or ends the call
	DoorAction   = "door"    // in a call, opens the far end's door
)

// Split returns what the action does, and with whom.
func (a Action) Split() (what, who string) {
	s := strings.TrimSpace(string(a))
	for _, what := range []string{CallAction, PageAction} {
		if rest, ok := strings.CutPrefix(s, what+" "); ok {
			return what, strings.TrimSpace(rest)
		}
	}
	return s, ""
}

func (a Action) check() error {
	switch what, who := a.Split(); {
	case who != "":
		return CheckName(who)
	case what == "", what == DNDAction, what == HangUpAction, what == DoorAction:
		return nil
	}
	return fmt.Errorf(`%q: say "call NAME", "page NAME", "dnd", "hang up" or "door"`, string(a))
}

// A Button says what is done at a button, and where it is.
type Button struct {
	Call   string // the name of a contact or a group that a press calls
	Press  Action // what else a press does
	Long   Action // held for a second
	Double Action // pressed twice
	Talk   bool   // push to talk: the microphone is on while it is held
	Line   Line   // of all but the first, which has board.button_line
}

// Pressed is what a press does.
func (b *Button) Pressed() Action {
	if b.Call != "" {
		return Action(CallAction + " " + b.Call)
	}
	return b.Press
}

// MaxButtons is how many buttons a box can have.
const MaxButtons = 8

// A NamedButton is a button with its name: "" the first, "2" and so on the others.
type NamedButton struct {
	Name string
	Button
}

// Buttons are the first button and all others that are configured.
func (c *Config) Buttons() []NamedButton {
	all := []NamedButton{{"", c.Button}}
	for i, b := range c.More {
		if b != (Button{}) {
			all = append(all, NamedButton{fmt.Sprint(i + 2), b})
		}
	}
	return all
}

// buttonSettings are the keys of a button's table.
func buttonSettings(table string, at func(*Config) *Button) []setting {
	return []setting{
		{table + ".call", func(c *Config) any { return &at(c).Call }},
		{table + ".press", func(c *Config) any { return &at(c).Press }},
		{table + ".long", func(c *Config) any { return &at(c).Long }},
		{table + ".double", func(c *Config) any { return &at(c).Double }},
		{table + ".talk", func(c *Config) any { return &at(c).Talk }},
		{table + ".line", func(c *Config) any { return &at(c).Line }},
	}
}

func (c *Config) checkButtons(wrong func(key, format string, a ...any)) {
	lines := map[Line]string{c.Board.ButtonLine: "board.button_line", c.Board.LEDLine: "board.led_line", c.Door.Line: "door.line"}
	check := func(table string, b *Button) {
		if b.Call != "" {
			if err := CheckName(b.Call); err != nil {
				wrong(table+".call", "%v", err)
			}
			if b.Press != "" {
				wrong(table+".press", "a press has call already: leave one of them out")
			}
		}
		for key, a := range map[string]Action{".press": b.Press, ".long": b.Long, ".double": b.Double} {
			if err := a.check(); err != nil {
				wrong(table+key, "%v", err)
			}
			if what, _ := a.Split(); what == DoorAction && c.Door.FarPINFile == "" {
				wrong("door.far_pin_file", "%s%s needs it: the file with the PIN of the far end's door", table, key)
			}
		}
		if b.Talk && b.Long != "" {
			wrong(table+".long", "a button for push to talk has no long press")
		}
	}
	check("button", &c.Button)
	if c.Button.Line != "" {
		wrong("button.line", "that of the first button is board.button_line")
	}
	for i := range c.More {
		table, b := fmt.Sprintf("button%d", i+2), &c.More[i]
		check(table, b)
		switch other := lines[b.Line]; {
		case *b == Button{}:
		case c.Board.Name == "sim" && b.Line != "":
			wrong(table+".line", "the simulated board has no such thing: leave it out, or name another board")
		case c.Board.Name == "sim":
		case b.Line == "" || b.Line == "none":
			wrong(table+".line", "say where the button is, such as %q", "GPIO27")
		case !b.Line.ok():
			wrong(table+".line", "%q is no name of a line, nor a line's number: hushbell devices lists what there is", string(b.Line))
		case other != "":
			wrong(table+".line", "%s is that of %s", string(b.Line), other)
		}
		lines[b.Line] = table + ".line"
	}
}

func (l Line) ok() bool { return len(l) <= MaxLineName && !strings.HasPrefix(string(l), "-") }

// checkGroups looks at groups: names as those of contacts, and few enough to be
// called at once.
func (c *Config) checkGroups(wrong func(key, format string, a ...any)) {
	names := slices.Sorted(maps.Keys(c.Groups))
	for i, name := range names {
		members := c.Groups[name]
		if other := slices.IndexFunc(names[:i], func(n string) bool { return strings.EqualFold(n, name) }); other >= 0 {
			wrong("groups", "%q and %q are the same name: case makes no difference", names[other], name)
		}
		if err := CheckName(name); err != nil {
			wrong("groups", "%v", err)
		}
		if len(members) == 0 || len(members) > MaxGroup {
			wrong("groups", "%q has %d members: 1 to %d are possible", name, len(members), MaxGroup)
		}
		for _, m := range members {
			if err := CheckName(m); err != nil {
				wrong("groups", "%s: %v", name, err)
			}
		}
	}
}

// MaxGroup is how many members a group can have.
const MaxGroup = 8
