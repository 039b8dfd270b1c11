package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

const tenLines = `bootstrap = ["192.0.2.7:4710", "[2001:db8::7]:4710"]

[button]
call = "workshop"

[board]
name = "sim"
microphone = "in.wav"
speaker = "out.wav"
`

func addrs(all ...string) (out []netip.AddrPort) {
	for _, a := range all {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestParse(t *testing.T) {
	want := Default()
	want.Bootstrap = addrs("192.0.2.7:4710", "[2001:db8::7]:4710")
	want.Button.Call = "workshop"
	want.Board = Board{Name: "sim", Microphone: "in.wav", Speaker: "out.wav"}
	full := want
	full.Listen, full.TestNetwork, full.Hops, full.Complexity = addrs("127.0.0.1:4710")[0], true, 2, 0
	full.PID, full.Unknown = "door", Ring
	full.Relay = Relay{addrs("127.0.0.1:4710")[0], addrs("192.0.2.9:4710"), Limits{1, 2, 3, 4, 5000, 6}}
	real := Default()
	no, yes := false, true
	real.Board = Board{Name: "pi-4", Microphone: "Device", Speaker: "pulse", MicrophoneVolume: 80, SpeakerVolume: 100,
		Chip: "pinctrl-bcm2711", ButtonLine: "GPIO17", ActiveLow: &no, Bias: PullDown, Settle: 5 * time.Millisecond,
		LEDLine: "25", LEDActiveLow: &yes}
	for _, tt := range []struct {
		name, text string
		want       Config
	}{
		{"empty", "", Default()},
		{"ten lines", tenLines, want},
		{"everything", `listen = "127.0.0.1:4710"
test_network = true
hops = 2
complexity = 0
pid = "door"
unknown = "ring"
` + tenLines + `
[relay]
listen = "127.0.0.1:4710"
advertise = ["192.0.2.9:4710"]
links = 1
tunnels = 2
link_tunnels = 3
registrations = 4
bandwidth_kbit = 5000
monthly_gb = 6
`, full},
		{"dotted keys", `button.call = "workshop"
bootstrap = ["192.0.2.7:4710", "[2001:db8::7]:4710"]
board = {name = "sim", microphone = "in.wav", speaker = "out.wav"}
`, want},
		{"a real board", `[board]
name = "pi-4"
microphone = "Device"
speaker = "pulse"
microphone_volume = 80
speaker_volume = 100
chip = "pinctrl-bcm2711"
button_line = "GPIO17"
active_low = false
bias = "pull-down"
settle = "5ms"
led_line = 25
led_active_low = true
`, real},
	} {
		got, err := Parse("hushbell.toml", tt.text)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: Parse = %+v, %v\nwant %+v", tt.name, got, err, tt.want)
		}
	}
}

// Everything that is wrong is told at once, in the order of the file.
func TestParseWrong(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // all lines of the error
	}{
		{"all kinds", `bootstrap = ["192.0.2.7:4710", "192.0.2.8", 7, "0.0.0.0:1"]
hops = 4
complexty = 2
test_network = "yes"
unknown = "greet"
pid = "../box"

[buton]
call = "workshop"

[button]
call = " x"
speaker = "out.wav"

[relay]
links = -1
frobnicate = 1
`, []string{
			`config: f:1: bootstrap: "192.0.2.8" is no address with port, such as "192.0.2.7:4710" or "[2001:db8::7]:4710"`,
			`f:1: bootstrap: want an address in quotes, such as "192.0.2.7:4710"`,
			`f:2: hops: 4 hops: 1 to 3 are possible, and fewer than 3 give up anonymity`,
			`f:3: there is no complexty: do you mean complexity?`,
			`f:4: test_network: want true or false`,
			`f:5: unknown: "greet": say "ring", "refuse" or "silent"`,
			`f:6: pid: "../box" cannot be the name of a pid: take 1 to 32 of a-z, 0-9, - and _`,
			`f:8: there is no buton: do you mean button?`,
			`f:12: button.call: " x" cannot be a name: it begins or ends with a blank, or begins with -`,
			`f:13: there is no button.speaker: do you mean board.speaker?`,
			`f:15: relay.listen: a relay needs it: the address and port at which it listens`,
			`f:16: relay.links: -1: a limit is a number from 1, or 0 for the default`,
			`f:17: there is no relay.frobnicate`,
		}},
		{"an address of nobody", "bootstrap = [\n\"0.0.0.0:1\", \"192.0.2.7:0\"]", []string{
			`config: f:1: bootstrap: nobody can be reached at 0.0.0.0:1`, `f:1: bootstrap: nobody can be reached at 192.0.2.7:0`}},
		{"types", "hops = \"3\"\nlisten = 4710\nbootstrap = \"192.0.2.7:4710\"\nunknown = true\ncomplexity = 99999999999\n", []string{
			`config: f:1: hops: want a whole number`,
			`f:2: listen: want an address in quotes, such as "192.0.2.7:4710"`,
			`f:3: bootstrap: want a list of addresses, such as ["192.0.2.7:4710", "[2001:db8::7]:4710"]`,
			`f:4: unknown: want a text in quotes`,
			`f:5: complexity: want a whole number`}},
		{"tables", "board = \"sim\"\n[[relay]]\nlisten = 3\n[hops]\nx = 1\n", []string{
			`config: f:1: board is a table: write [board] on a line of its own, and its keys below`,
			`f:2: relay is a table: write [relay] on a line of its own, and its keys below`,
			`f:4: hops: want a whole number`}},
		{"a relay of all addresses", "listen = \"127.0.0.1:1\"\n[relay]\nlisten = \"0.0.0.0:0\"\n", []string{
			`config: f:1: listen: a box that relays has one socket for both: leave this one out, relay.listen counts`,
			`f:2: relay.advertise: a relay that listens on all addresses must be told which one others reach it by`,
			`f:3: relay.listen: others must find it again: a relay needs a port that stays`}},
		{"a relay on a thin line", "[relay]\nlisten = \":7\"\nadvertise = [\"192.0.2.7:7\"]\nbandwidth_kbit = 300\nmonthly_gb = -1", []string{
			`config: f:4: relay.bandwidth_kbit: 300: one call takes 280, so 560 is the least`,
			`f:5: relay.monthly_gb: -1: a limit is a number from 1, or 0 for the default`}},
		{"an advertised address of nobody", "[relay]\nlisten = \"0.0.0.0:7\"\nadvertise = [\"[::]:7\"]", []string{
			`config: f:3: relay.advertise: nobody can reach a relay at [::]:7`}},
		{"no board", "[board]\nname = \"\"", []string{`config: f:2: board.name: say which board this is, "sim" for the simulated one`}},
		{"a board", `[board]
name = "auto"
microphone_volume = 101
speaker_volume = -1
chip = "` + strings.Repeat("x", 32) + `"
button_line = 17
led_line = "17"
active_low = "yes"
bias = "up"
settle = 20
led_active_low = 1
`, []string{
			`config: f:3: board.microphone_volume: 101: it goes from 1 to 100 percent, and 0 leaves the card as it is`,
			`f:4: board.speaker_volume: -1: it goes from 1 to 100 percent, and 0 leaves the card as it is`,
			`f:5: board.chip: "` + strings.Repeat("x", 32) + `" is no name of a chip or line, nor a line's number: hushbell devices lists what there is`,
			`f:7: board.led_line: 17 is the button's line`,
			`f:8: board.active_low: want true or false`,
			`f:9: board.bias: "up": say "pull-up", "pull-down", "off" or "as-is"`,
			`f:10: board.settle: want a time in quotes, such as "20ms"`,
			`f:11: board.led_active_low: want true or false`}},
		{"lines of a board", "[board]\nname = \"auto\"\nbutton_line = -1\nled_line = [3]\nsettle = \"2s\"\n", []string{
			`config: f:3: board.button_line: "-1" is no name of a chip or line, nor a line's number: hushbell devices lists what there is`,
			`f:4: board.led_line: want the name of a line in quotes, such as "GPIO17", or its number`,
			`f:5: board.settle: 2s: it goes up to 1s`}},
		{"a simulated board with lines", "[board]\nname = \"sim\"\nbutton_line = \"GPIO17\"\nspeaker_volume = 3\n", []string{
			`config: f:3: board.button_line: the simulated board has no such thing: leave it out, or name another board`,
			`f:4: board.speaker_volume: the simulated board has no such thing: leave it out, or name another board`}},
		{"not TOML", "hops = 3\nbootstrap = [", []string{`config: f:2: unexpected EOF; expected value`}},
		{"twice", "hops = 3\nhops = 2", []string{`config: f:2: Key 'hops' has already been defined.`}},
	} {
		_, err := Parse("f", tt.text)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if got, want := err.Error(), strings.Join(tt.want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, want)
		}
	}
}

// Every setting has a place of its own, and a type that set knows.
func TestSettings(t *testing.T) {
	var c Config
	places := map[any]string{}
	for _, s := range settings {
		at := s.at(&c)
		if other := places[at]; other != "" {
			t.Errorf("%s and %s go to the same place", s.key, other)
		}
		places[at] = s.key
		if wrong := set(at, struct{}{}); len(wrong) == 0 {
			t.Errorf("%s takes anything", s.key)
		}
	}
	if n := leaves(reflect.TypeFor[Config]()); n != len(settings) {
		t.Errorf("%d settings for %d fields", len(settings), n)
	}
}

// leaves counts the fields of our own structs that are no such structs.
func leaves(t reflect.Type) (n int) {
	for f := range t.Fields() {
		switch {
		case f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == t.PkgPath():
			n += leaves(f.Type)
		case f.Type.Kind() == reflect.Array:
			n += f.Type.Len() * leaves(f.Type.Elem())
		default:
			n++
		}
	}
	return n
}

func TestRead(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), "hushbell.toml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of no file = %v, want fs.ErrNotExist", err)
	}
	// A pipe is read as a shell's <(command) is, and not waited for if there is no command.
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(pipe); err == nil || !strings.Contains(err.Error(), "nobody writes to the pipe "+pipe) {
		t.Errorf("Read of a pipe without a writer = %v", err)
	}
	w, err := os.OpenFile(pipe, os.O_RDWR, 0) // does not wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() {
		fmt.Fprintln(w, `pid = "slow"`)
		w.Close()
	})
	if c, err := Read(pipe); err != nil || c.PID != "slow" {
		t.Errorf("Read of a pipe: pid = %q, %v", c.PID, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(tenLines)
	f.Add("[[relay]]\nlisten = 3\n[hops]\nx.\"y z\" = 1\n")
	f.Add("bootstrap = [{a = 1}, [2]]\na.b.c = 1979-05-27")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("f", text)
		if err == nil && c.Err() != nil {
			t.Errorf("Parse took what Check refuses: %v", c.Err())
		}
		if err != nil && !strings.HasPrefix(err.Error(), "config: f:") {
			t.Errorf("an error without the file: %v", err)
		}
	})
}
