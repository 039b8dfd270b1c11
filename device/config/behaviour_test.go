package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseBehaviour(t *testing.T) {
	c, err := Parse("f", `unknown = "silent"
max_call = "10m"
[groups]
house = ["kitchen", "work shop"]
"all of us" = ["a"]
[button]
call = "house"
long = "page all of us"
double = "dnd"
[button8]
line = 27
press = "hang up"
talk = true
[dnd]
schedule = ["22:00-07:00"]
[sounds]
country = "de"
ring_volume = 0
tone_volume = 70
ring = "a.wav"
ringback = "b.wav"
busy = "c.wav"
unreachable = "d.wav"
call_waiting = "e.wav"
beep = "f.wav"
hang_up = "g.wav"
[door]
line = "GPIO24"
active_low = true
open = "5s"
pin_file = "pin"
far_pin_file = "far"
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Unknown, want.MaxCall = Silent, 10*time.Minute
	want.Groups = map[string][]string{"house": {"kitchen", "work shop"}, "all of us": {"a"}}
	want.Button = Button{Call: "house", Long: "page all of us", Double: "dnd"}
	want.More[6] = Button{Line: "27", Press: "hang up", Talk: true}
	w, _ := ParseWindow("22:00-07:00")
	want.DND.Schedule = Schedule{w}
	want.Sounds = Sounds{"de", 0, 70, "a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "f.wav", "g.wav"}
	want.Door = Door{"GPIO24", true, 5 * time.Second, "pin", "far"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwant %+v", c, want)
	}
	buttons := c.Buttons()
	if len(buttons) != 2 || buttons[0].Name != "" || buttons[1].Name != "8" || buttons[0].Pressed() != "call house" || buttons[1].Pressed() != "hang up" {
		t.Errorf("buttons %+v", buttons)
	}
	what, who := c.Button.Long.Split()
	if what != PageAction || who != "all of us" {
		t.Errorf("Split = %q, %q", what, who)
	}
}

func TestParseBehaviourWrong(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[button]\ncall = \"a\"\npress = \"dnd\"", "f:3: button.press: a press has call already"},
		{"[button]\nlong = \"dance\"", `f:2: button.long: "dance": say "call NAME"`},
		{"[button]\nlong = \"dnd\"\ntalk = true", "f:2: button.long: a button for push to talk has no long press"},
		{"[button]\nline = 4", "f:2: button.line: that of the first button is board.button_line"},
		{"[button]\ndouble = \"call -x\"", `f:2: button.double: "-x" cannot be a name`},
		{"[button3]\ncall = \"a\"", "f:1: button3.line: say where the button is"},
		{"[button3]\nline = 7\n[board]\nled_line = 7", "f:2: button3.line: 7 is that of board.led_line"},
		{"[button2]\nline = 7\n[button3]\nline = 7", "f:4: button3.line: 7 is that of button2.line"},
		{"[button2]\nline = 7\n[board]\nname = \"sim\"", "f:2: button2.line: the simulated board has no such thing"},
		{"[button2]\nlin = 7", "f:2: there is no button2.lin: do you mean button2.line?"},
		{"[button9]\nline = 7", "f:1: there is no button9: there are button, and button2 to button"},
		{"[button]\nlong = \"door\"", "door.far_pin_file: button.long needs it"},
		{"[groups]\nhouse = \"a\"", "groups: house: want a list of contacts"},
		{"[groups]\nhouse = []", `groups: "house" has 0 members`},
		{"[groups]\nhouse = [\"a\", 3]", "groups: house: want a list of contacts"},
		{"groups = 3", "f:1: groups: want names of groups"},
		{"[dnd]\nschedule = \"22:00-07:00\"", "f:2: dnd.schedule: want a list of times"},
		{"[dnd]\nschedule = [\"22-07\", \"xx 1:00-2:00\"]", `f:2: dnd.schedule: "xx 1:00-2:00" is no time`},
		{"max_call = \"25h\"", "f:1: max_call: 25h0m0s: it goes up to"},
		{"[sounds]\ntone_volume = 5", "f:2: sounds.tone_volume: 5: it goes from 60"},
		{"[sounds]\nring_volume = 101", "f:2: sounds.ring_volume: 101"},
		{"[door]\nline = 3", "f:1: door.pin_file: a door needs it"},
		{"[door]\npin_file = \"x\"", "f:1: door.line: a door needs it"},
		{"[door]\npin_file = \"x\"\nline = 3\nopen = \"2h\"", "f:4: door.open: 2h0m0s: it goes up to"},
		{"[door]\npin_file = \"x\"\nline = 3\n[board]\nbutton_line = 3", "f:3: door.line: 3 is the line of the button or the LED"},
	} {
		_, err := Parse("f", tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

func TestSchedule(t *testing.T) {
	at := func(text string) time.Time {
		u, err := time.Parse("Mon 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		days := map[string]int{"Mon": 2, "Tue": 3, "Wed": 4, "Thu": 5, "Fri": 6, "Sat": 7, "Sun": 8}
		return time.Date(2026, 3, days[text[:3]], u.Hour(), u.Minute(), 0, 0, time.UTC)
	}
	for _, tt := range []struct {
		windows string
		in, out []string
	}{
		{"22:00-07:00", []string{"Mon 22:00", "Tue 06:59", "Sun 23:30", "Mon 00:00"}, []string{"Mon 21:59", "Mon 07:00", "Sat 12:00"}},
		{"13:00-15:00", []string{"Mon 13:00", "Sun 14:59"}, []string{"Mon 12:59", "Mon 15:00"}},
		{"fri-sun 23:00-06:00", []string{"Fri 23:00", "Sat 05:00", "Mon 05:59"}, []string{"Fri 05:00", "Mon 23:00", "Mon 06:00"}},
		{"sat,mon 09:00-24:00", []string{"Sat 23:59", "Mon 09:00"}, []string{"Sun 00:00", "Sun 12:00", "Tue 00:00"}},
		{"SUN 0:00-0:00", []string{"Sun 00:00", "Sun 23:59"}, []string{"Sat 23:59", "Mon 00:00"}},
		{"13:00-14:00;20:00-21:00", []string{"Mon 13:30", "Mon 20:30"}, []string{"Mon 14:30"}},
		{"", nil, []string{"Mon 00:00"}},
	} {
		var s Schedule
		for text := range strings.SplitSeq(tt.windows, ";") {
			if w, err := ParseWindow(text); err == nil {
				s = append(s, w)
			} else if text != "" {
				t.Error(err)
			}
		}
		for _, text := range tt.in {
			if !s.Active(at(text)) {
				t.Errorf("%s is not in %s", text, tt.windows)
			}
		}
		for _, text := range tt.out {
			if s.Active(at(text)) {
				t.Errorf("%s is in %s", text, tt.windows)
			}
		}
	}
	for _, text := range []string{"", "22:00", "22:00-25:00", "22:00-07:60", "mon", "mon 22:00", "mon- 1:00-2:00", "mon tue 1:00-2:00", "montag 1:00-2:00"} {
		if w, err := ParseWindow(text); err == nil {
			t.Errorf("ParseWindow(%q) = %+v", text, w)
		}
	}
}

// A name is called in whatever case: of two groups that differ in it only, which one
// is called would be left to chance.
func TestGroupsThatDifferInCase(t *testing.T) {
	_, err := Parse("f", "[groups]\nhouse = [\"kitchen\"]\nHouse = [\"lab\"]\n")
	if err == nil || !strings.Contains(err.Error(), "same name") {
		t.Errorf("two groups of a name: %v", err)
	}
}
