package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"rsc.io/qr"

	"hushbell/device/config"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// hushbell runs the program in this process.
func hushbell(t testing.TB, in string, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(context.Background(), args, strings.NewReader(in), &o, &e)
	return status, o.String(), e.String()
}

// succeeds runs the program and returns what it printed.
func succeeds(t testing.TB, in string, args ...string) string {
	t.Helper()
	status, out, errOut := hushbell(t, in, args...)
	if status != 0 || errOut != "" {
		t.Fatalf("hushbell %q = %d: %s", args, status, errOut)
	}
	return out
}

// fails runs the program and checks its status and that it says so.
func fails(t testing.TB, want int, say, in string, args ...string) {
	t.Helper()
	status, out, errOut := hushbell(t, in, args...)
	if status != want || !strings.Contains(errOut, say) || out != "" {
		t.Errorf("hushbell %q = %d, %q, %q; want %d and that it says %q", args, status, out, errOut, want, say)
	}
}

func TestPIDCommands(t *testing.T) {
	dir := t.TempDir()
	flag := "--state=" + dir
	if out := succeeds(t, "", "pid", "list", flag); out != "" {
		t.Errorf("without pids the list is %q", out)
	}
	fails(t, 1, "hushbell pid new box", "", "pid", "show", flag)
	first := succeeds(t, "", "pid", "new", flag)
	text, words, _ := strings.Cut(first, "\n")
	id, err := pid.Parse(text)
	if err != nil {
		t.Fatalf("the first line of %q is no pid: %v", first, err)
	}
	if w := id.Words(); words != "words: "+strings.Join(w[:], " ")+"\n" {
		t.Errorf("the words are %q, want %q", words, w)
	}
	if out := succeeds(t, "", "pid", "show", flag); out != first {
		t.Errorf("show prints %q, new printed %q", out, first)
	}
	fails(t, 1, `there is a pid "box" already`, "", "pid", "new", flag)
	fails(t, 2, "cannot be the name", "", "pid", "new", "../x", flag)
	fails(t, 2, "at most 1", "", "pid", "new", "a", "b", flag)
	fails(t, 2, "no command", "", "pid", "steal")
	succeeds(t, "", "pid", "new", "door", flag)
	out := succeeds(t, "", "pid", "list", flag)
	if lines := strings.Split(out, "\n"); len(lines) != 3 || lines[0] != "box\t"+text || !strings.HasPrefix(lines[1], "door\thush1") {
		t.Errorf("the list is %q", out)
	}
	if fi, err := os.Stat(keyFile(dir, "box")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %v, %v", fi.Mode(), err)
	}
}

// What is drawn is the code of the pid, with its quiet zone.
func TestQR(t *testing.T) {
	flag := "--state=" + t.TempDir()
	plain := succeeds(t, "", "pid", "new", flag)
	drawn, ok := strings.CutPrefix(succeeds(t, "", "pid", "show", "--qr", flag), plain)
	if !ok {
		t.Fatalf("a QR code in place of the pid: %q", drawn)
	}
	text, _, _ := strings.Cut(plain, "\n")
	code, err := qr.Encode(strings.ToUpper(text), qr.L)
	if err != nil {
		t.Fatal(err)
	}
	if code.Size > 29 { // version 3, the smallest for 63 letters
		t.Errorf("the code has %d modules a side", code.Size)
	}
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[30;107m"), "\x1b[0m")
		letters := []rune(line)
		if len(letters) != code.Size+2*quietZone {
			t.Fatalf("line %d has %d letters, want %d: %q", i, len(letters), code.Size+2*quietZone, line)
		}
		for x, r := range letters {
			for half, dark := range []bool{r == '█' || r == '▀', r == '█' || r == '▄'} {
				cx, cy := x-quietZone, 2*i+half-quietZone
				inside := cx >= 0 && cy >= 0 && cx < code.Size && cy < code.Size
				if want := inside && code.Black(cx, cy); dark != want {
					t.Fatalf("module %d, %d is dark: %v, want %v", cx, cy, dark, want)
				}
			}
		}
	}
	if want := (code.Size + 2*quietZone + 1) / 2; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
}

func TestContactCommands(t *testing.T) {
	dir := t.TempDir()
	flags := []string{"--state=" + dir, "--socket=" + filepath.Join(dir, "none.sock")}
	with := func(args ...string) []string { return append(args, flags...) }
	a, b := pid.NewKey().ID(), pid.NewKey().ID()
	words := a.Words()
	if out := succeeds(t, "", with("contact", "add", "workshop", a.String())...); out != "added workshop, words: "+strings.Join(words[:], " ")+"\n" {
		t.Errorf("add prints %q", out)
	}
	// As pid show prints it, and in capitals as a QR code holds it.
	succeeds(t, strings.ToUpper(b.String())+"\nwords: a b c d\n", with("contact", "add", "cellar", "--answer")...)
	succeeds(t, pid.NewKey().ID().String(), with("contact", "add", "roof", "-")...)
	fails(t, 1, `there is a contact "workshop"`, "", with("contact", "add", "Workshop", pid.NewKey().ID().String())...)
	fails(t, 2, "no pid", "", with("contact", "add", "attic")...)
	fails(t, 2, "is no pid", "", with("contact", "add", "attic", a.String()[:40])...)
	fails(t, 2, "at least 1", "", with("contact", "add")...)
	fails(t, 2, "cannot be a name", "", with("contact", "add", "", b.String())...)
	cs, err := config.ReadContacts(contactsFile(dir))
	if err != nil || len(cs) != 3 || cs[0].PID != a || cs[0].Answer || cs[1].PID != b || !cs[1].Answer {
		t.Errorf("the contacts are %v, %v", cs, err)
	}
	out := succeeds(t, "", "contact", "list", flags[0])
	if want := "cellar    answered  " + b.String() + "\n"; !strings.Contains(out, want) {
		t.Errorf("the list is %q, without %q", out, want)
	}
	if out := succeeds(t, "", with("contact", "remove", "workshop")...); out != "removed workshop\n" {
		t.Errorf("remove prints %q", out)
	}
	fails(t, 1, `no contact "workshop"`, "", with("contact", "remove", "workshop")...)
}

// Wrong use is status 2, whatever is missing is named with its remedy.
func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	state, socket := "--state="+filepath.Join(dir, "state"), "--socket="+filepath.Join(dir, "s")
	good := file("good.toml", "[board]\nname = \"sim\"\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o755), os.WriteFile(filepath.Join(open, "relay.key"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	otherPID := filepath.Join(dir, "other-pid")
	succeeds(t, "", "pid", "new", "attic", "--state", otherPID)
	for _, tt := range []struct {
		status int
		say    string
		args   []string
	}{
		{2, "no command", []string{"dance"}},
		{2, "unknown flag", []string{"run", "--fast"}},
		{2, "takes no arguments", []string{"run", "now"}},
		{78, "there is no configuration " + filepath.Join(dir, "none.toml"), []string{"run", state, socket, "--config", filepath.Join(dir, "none.toml")}},
		{78, "bad.toml:1: hops: 9 hops", []string{"run", state, socket, "--config", file("bad.toml", "hops = 9")}},
		{78, "hushbell pid new box", []string{"run", "--state", otherPID, socket, "--config", good}},
		{2, "--listen, or listen under [relay]", []string{"relay", state}},
		{2, "--listen 4710: want an address", []string{"relay", state, "--listen", "4710"}},
		{2, "--listen 4710: want an address", []string{"relay", state, "--listen", "4710", "--config", good}},
		{78, "--listen, or listen under [relay]", []string{"relay", state, "--config", good}},
		{2, "--bootstrap x: want an address", []string{"relay", state, "--listen", "127.0.0.1:4710", "--bootstrap", "x"}},
		{2, "one address is enough", []string{"relay", state, "--listen", "127.0.0.1:1,127.0.0.1:2"}},
		{2, "relay.advertise", []string{"relay", state, "--listen", "[::]:4710"}},
		{2, "relay.advertise", []string{"relay", state, "--listen", ":4710"}},
		{2, "relay.listen", []string{"relay", state, "--listen", "127.0.0.1:0"}},
		{2, "nobody in the Internet finds a relay at 192.168.1.7:4710: --advertise", []string{"relay", state, "--listen", "192.168.1.7:4710"}},
		{2, "nobody in the Internet finds a relay at 127.0.0.1:4710", []string{"relay", state, "--listen", ":4710", "--advertise", "127.0.0.1:4710"}},
		{1, "no address of this machine", []string{"relay", state, "--listen", "9.255.255.1:4710"}},
		{1, "take another port", []string{"relay", state, "--test-network", "--listen", taken.Addr().String()}},
		{1, "is open to other users", []string{"relay", "--state", open, "--test-network", "--listen", "127.0.0.1:4710"}},
		{78, "none.toml", []string{"relay", state, "--config", filepath.Join(dir, "none.toml")}},
		{1, "start one with hushbell run", []string{"status", socket}},
		{1, filepath.Join(dir, "s"), []string{"call", "workshop", socket}},
		{1, "no box is running", []string{"call", "workshop", "--wait", socket}},
		{2, "takes 1 argument,", []string{"call", socket}},
		{2, `"maybe": say on, off`, []string{"dnd", "maybe", socket}},
		{2, `no command "nothing"`, []string{"help", "nothing"}},
		{2, `no command "three"`, []string{"help", "pid", "three"}},
		{2, `no command "csh"`, []string{"completion", "csh"}},
		{2, `no model "toaster"`, []string{"test", "led", "--board", "toaster"}},
		{2, "the name is empty", []string{"pid", "list", "--state", ""}},
		{2, "the name is empty", []string{"relay", "--config="}},
		{2, "whom to call", []string{"call", "-", socket}},
		{1, "no box is running", []string{"answer", socket}},
		{1, "no box is running", []string{"hangup", socket}},
	} {
		fails(t, tt.status, tt.say, "", tt.args...)
	}
	succeeds(t, "", "pid", "new", state)
	fails(t, 78, `no model "toaster": there is`, "", "run", state, socket, "--config", file("toaster.toml", "[board]\nname = \"toaster\"\n"))
	fails(t, 78, "in.wav", "", "run", state, socket, "--config", file("mic.toml", "[board]\nname = \"sim\"\nmicrophone = \"in.wav\"\n"))
	if err := os.WriteFile(contactsFile(filepath.Join(dir, "state")), []byte("[[contact]]\nname = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, 78, "contacts.toml", "", "run", state, socket, "--config", good) // starting again does not heal it
}

// The example that relay --help shows is right, has every key of a relay, and
// the defaults that it says.
func TestExampleRelay(t *testing.T) {
	cfg, err := config.Parse("example", exampleRelay)
	if err != nil {
		t.Fatal(err)
	}
	for f, v := range reflect.ValueOf(cfg.Relay).Fields() {
		if v.IsZero() {
			t.Errorf("the example does not show %s", f.Name)
		}
	}
	for f, v := range reflect.ValueOf(cfg.Relay.Limits).Fields() {
		if v.IsZero() {
			t.Errorf("the example does not show %s", f.Name)
		}
	}
	l, want := cfg.Relay.Limits, (voipcore.Config{}).Limits.WithDefaults()
	if l.Links != want.Links || l.Tunnels != want.Tunnels || l.LinkTunnels != want.LinkTunnels || l.Registrations != want.Registrations {
		t.Errorf("the defaults are %+v, the example says %+v", want, l)
	}
}

// A user who has no box of his own is told when he begins one, and that the keys
// of another are not his to see; who only looks makes nothing.
func TestBoxOfOnesOwn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	home, others := filepath.Join(dir, "home"), filepath.Join(dir, "state")
	check(t, os.Mkdir(home, 0o755))
	check(t, os.Chown(home, nobody, nobody))
	succeeds(t, "", "pid", "new", "--state", others)
	as := func(args ...string) string {
		cmd := asNobody(args...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+home, "STATE_DIRECTORY=", "XDG_RUNTIME_DIR=")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	own := filepath.Join(home, "hushbell")
	list, show := "", "hushbell pid new box"
	if askWithSudo(nobody, own, systemState, systemSocket) { // this machine has a box
		list, show = "is asked with sudo", "is asked with sudo"
	}
	if out := as("contact", "list"); !strings.Contains(out, list) || list == "" && out != "" {
		t.Errorf("contact list prints %q", out)
	}
	if out := as("pid", "show"); !strings.Contains(out, show) {
		t.Errorf("pid show prints %q", out)
	}
	if !missing(own) {
		t.Error("who only looks has made a state folder")
	}
	if out := as("pid", "new"); !strings.Contains(out, "made "+own+", for a box of your own") || !strings.Contains(out, "\nhush1") {
		t.Errorf("the first pid new prints %q", out)
	}
	if out := as("pid", "new", "door"); strings.Contains(out, "made ") {
		t.Errorf("the second pid new prints %q", out)
	}
	for _, what := range []string{"show", "list", "new"} {
		if out := as("pid", what, "--state", others); !strings.Contains(out, "permission denied") {
			t.Errorf("pid %s of another's box prints %q", what, out)
		}
	}
}

// Every command explains itself, and its examples use flags that it has.
func TestHelp(t *testing.T) {
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		path = append(path, c.Name())
		out := succeeds(t, "", append(path, "--help")...)
		if c.Short == "" || !strings.Contains(out, "Usage:") {
			t.Errorf("%v --help prints %q", path, out)
		}
		for line := range strings.Lines(c.Example) {
			for _, word := range strings.Fields(line) {
				name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
				if strings.HasPrefix(word, "--") && !c.HasSubCommands() && c.Flags().Lookup(name) == nil {
					t.Errorf("%v: the example %q uses a flag that is not there", path, line)
				}
			}
		}
		for _, below := range c.Commands() {
			walk(path, below)
		}
	}
	for _, c := range commands() {
		walk(nil, c)
	}
	if out := succeeds(t, ""); !strings.Contains(out, "hushbell demo") {
		t.Errorf("without arguments it prints %q", out)
	}
}

// What systemd gives to a service counts more than the rules, and a flag more
// than both.
func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", dir+"/state:"+dir+"/other")
	t.Setenv("CONFIGURATION_DIRECTORY", dir+"/etc")
	t.Setenv("RUNTIME_DIRECTORY", dir+"/run")
	check := func(p places, state, config, socket string) {
		t.Helper()
		gotState, err1 := p.stateDir()
		gotConfig, err2 := p.configFile()
		gotSocket, err3 := p.socketFile()
		if gotState != state || gotConfig != config || gotSocket != socket || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("places are %s, %s, %s; want %s, %s, %s", gotState, gotConfig, gotSocket, state, config, socket)
		}
	}
	check(places{}, dir+"/state", dir+"/etc/hushbell.toml", dir+"/run/control.sock")
	check(places{dir + "/s", "c.toml", "k"}, dir+"/s", "c.toml", "k")
	if fi, err := os.Stat(dir + "/state"); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the state folder is %v, %v, want 0700", fi.Mode(), err)
	}
	if os.Geteuid() == 0 {
		return // for root the rules name folders of the system
	}
	for _, v := range []string{"STATE_DIRECTORY", "CONFIGURATION_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} {
		t.Setenv(v, "")
	}
	t.Setenv("XDG_STATE_HOME", dir+"/xs")
	t.Setenv("XDG_CONFIG_HOME", dir+"/xc")
	if err := errors.Join(os.MkdirAll(dir+"/xc/hushbell", 0o700), os.WriteFile(dir+"/xc/hushbell/"+configName, nil, 0o600)); err != nil {
		t.Fatal(err) // without it that of the machine would do, if there is one
	}
	check(places{}, dir+"/xs/hushbell", dir+"/xc/hushbell/hushbell.toml", dir+"/xs/hushbell/control.sock")
	t.Setenv("XDG_RUNTIME_DIR", dir+"/xr")
	check(places{}, dir+"/xs/hushbell", dir+"/xc/hushbell/hushbell.toml", dir+"/xr/hushbell/control.sock")
}

// Root leaves the state folder of a service's user alone: it would not start any more.
func TestNotForRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	check(t, os.Mkdir(dir, 0o700))
	uid := os.Geteuid()
	if uid == 0 {
		if err := notForRoot(dir, 0); err != nil {
			t.Errorf("root's own folder: %v", err)
		}
		uid = 65534
		check(t, os.Chown(dir, uid, uid))
		config := filepath.Join(t.TempDir(), "hushbell.toml")
		check(t, os.WriteFile(config, nil, 0o600))
		fails(t, 1, "who could not read what root writes there", "", "run", "--state", dir, "--config", config)
		fails(t, 1, "who could not read what root writes there", "", "relay", "--state", dir, "--listen", "127.0.0.1:4710", "--test-network")
		if all, err := os.ReadDir(dir); err != nil || len(all) != 0 {
			t.Errorf("root has made %v there, %v", all, err)
		}
	}
	if err := notForRoot(dir, uid); err != nil {
		t.Errorf("who owns it: %v", err)
	}
	owner, err := user.LookupId(fmt.Sprint(uid))
	check(t, err)
	if err := notForRoot(dir, 0); err == nil || !strings.Contains(err.Error(), "sudo -u "+owner.Username) {
		t.Errorf("root: %v", err)
	}
}

// Who has no box is not shown an empty one of their own in the place of the machine's.
func TestAskWithSudo(t *testing.T) {
	dir := t.TempDir()
	own, none := dir+"/own", dir+"/none"
	check(t, os.Mkdir(own, 0o700))
	for _, tt := range []struct {
		uid  int
		own  string
		box  string
		want bool
	}{{1000, none, dir, true}, {1000, none, none, false}, {1000, own, dir, false}, {0, none, dir, false}} {
		if got := askWithSudo(tt.uid, tt.own, none, tt.box); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}

// A shell offers contacts where one is wanted, and files nowhere but after flags that
// name one.
func TestCompletion(t *testing.T) {
	state := t.TempDir()
	succeeds(t, "", "contact", "add", "attic", pid.NewKey().ID().String(), "--state", state, "--socket", state+"/none")
	t.Setenv("STATE_DIRECTORY", state)
	t.Setenv("CONFIGURATION_DIRECTORY", state)
	check(t, os.WriteFile(state+"/hushbell.toml", []byte("[groups]\nhouse = [\"attic\"]\n"), 0o600))
	for line, want := range map[string]string{
		"call ":           "attic\nhouse\n:4\n",
		"contact remove ": "attic\n:4\n",
		"contact add ":    ":4\n",
		"hangup ":         ":4\n",
		"dnd ":            "on\noff\nscheduled\nstatus\n:4\n",
		"run --config ":   ":0\n",
		"pid list --st":   "--state\tfolder of keys, contacts and caches (default: " + stateRule + ")\n:4\n",
	} {
		if status, out, _ := hushbell(t, "", append([]string{"__complete"}, strings.Split(line, " ")...)...); status != 0 || out != want {
			t.Errorf("after hushbell %s a shell is offered %q, want %q (status %d)", line, out, want, status)
		}
	}
}

// Ctrl-C ends a command that waits for what is to be typed, the first time.
func TestInterruptedAtPrompt(t *testing.T) {
	for _, args := range [][]string{{"contact", "add", "attic"}, {"call", "-"}, {"door"}} {
		in, typed := io.Pipe() // nothing ever comes
		ctx, interrupt := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() { ended <- run(ctx, args, in, io.Discard, io.Discard) }()
		interrupt()
		select {
		case status := <-ended:
			if status != 1 {
				t.Errorf("hushbell %q ends with %d", args, status)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("hushbell %q does not end", args)
		}
		typed.Close()
	}
}

// A PIN that is typed at a terminal is not shown, and the terminal is as before then.
func TestPINIsNotShown(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	check(t, err)
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(t, err)
	check(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	defer terminal.Close()
	shows := func() bool {
		s, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		check(t, err)
		return s.Lflag&unix.ECHO != 0
	}
	if !shows() {
		t.Fatal("the terminal shows nothing from the start")
	}
	said, saidHere, err := os.Pipe()
	check(t, err)
	ended := make(chan int, 1)
	go func() {
		ended <- run(t.Context(), []string{"door", "--socket", "/nowhere"}, terminal, io.Discard, saidHere)
	}()
	_, err = said.Read(make([]byte, 100))
	check(t, err)
	if shows() {
		t.Error("what is typed is shown")
	}
	_, err = master.WriteString("4711\n")
	check(t, err)
	if status := <-ended; status != 1 || !shows() {
		t.Errorf("it ends with %d; the terminal shows what is typed: %v", status, shows())
	}
}

// What cannot be printed is a failure, whatever the command.
func TestOutputToAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	check(t, err)
	defer full.Close()
	dir := t.TempDir()
	succeeds(t, "", "pid", "new", "--state", dir)
	for _, args := range [][]string{
		{"pid", "list", "--state", dir}, {"version"}, {"help"},
		{"contact", "add", "attic", pid.NewKey().ID().String(), "--state", dir, "--socket", dir + "/none"},
		{"contact", "list", "--state", dir}, {"contact", "remove", "attic", "--state", dir, "--socket", dir + "/none"},
	} {
		var errOut bytes.Buffer
		if status := run(t.Context(), args, strings.NewReader(""), full, &errOut); status != 1 || !strings.Contains(errOut.String(), "no space left") {
			t.Errorf("hushbell %q to a full disk = %d, %q", args, status, errOut.String())
		}
	}
}
