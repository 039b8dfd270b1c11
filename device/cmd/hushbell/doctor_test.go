package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/device/doctor"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// A clinic is a box that nothing is wrong with until a test does it harm.
type clinic struct {
	t                   *testing.T
	dir, state, key     string
	file, board, socket string
	bootstrap           []string
}

func newClinic(t *testing.T, bootstrap ...string) *clinic {
	t.Helper()
	dir := t.TempDir()
	c := &clinic{t: t, dir: dir, state: filepath.Join(dir, "state"), file: filepath.Join(dir, "hushbell.toml"),
		board: "name = \"sim\"", socket: filepath.Join(dir, "control.sock"), bootstrap: bootstrap}
	c.key = keyFile(c.state, "box")
	check(t, os.MkdirAll(filepath.Dir(c.key), 0o700))
	check(t, pid.NewKey().Save(c.key))
	check(t, config.WriteContacts(contactsFile(c.state), config.Contacts{{Name: "far", PID: pid.NewKey().ID()}}))
	c.configure("")
	return c
}

// configure writes the configuration, with more of it.
func (c *clinic) configure(more string) {
	c.t.Helper()
	text := fmt.Sprintf("bootstrap = [%s]\ntest_network = true\n%s\n[button]\ncall = \"far\"\n[board]\n%s\n", quoted(c.bootstrap), more, c.board)
	check(c.t, os.WriteFile(c.file, []byte(text), 0o644))
}

func (c *clinic) args(more ...string) []string {
	return append([]string{"doctor", "--json", "--state", c.state, "--config", c.file, "--socket", c.socket}, more...)
}

// examine runs the doctor, in a network namespace if that is not "".
func (c *clinic) examine(netns string) opinion {
	c.t.Helper()
	if netns == "" {
		return c.read(hushbell(c.t, "", c.args()...))
	}
	self, err := os.Executable()
	check(c.t, err)
	return c.process(exec.Command("ip", append([]string{"netns", "exec", netns, self}, c.args()...)...))
}

// nobody is a user who has nothing.
const nobody = 65534

// asNobody is the program, to be run as nobody. Root can do that.
func asNobody(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...) // whose folder may be root's
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// asNobody runs the doctor as a user who has nothing.
func (c *clinic) asNobody() opinion {
	c.t.Helper()
	for _, d := range []string{filepath.Dir(c.dir), c.dir} { // the test's own folders
		check(c.t, os.Chmod(d, 0o755))
	}
	return c.process(asNobody(c.args()...))
}

// process runs a doctor that is a process of its own.
func (c *clinic) process(cmd *exec.Cmd) opinion {
	c.t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return c.read(cmd.ProcessState.ExitCode(), out.String(), errOut.String())
}

// read reads what a doctor found.
func (c *clinic) read(status int, out, errOut string) opinion {
	c.t.Helper()
	o := opinion{t: c.t, status: status, text: out}
	// A Level is a word in JSON, which this package need not read elsewhere.
	var d struct {
		Findings []struct{ Check, Level, Found, Why, Remedy string }
		Faults   int
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || errOut != "" {
		c.t.Fatalf("hushbell doctor: %v, %s%s", err, out, errOut)
	}
	for _, f := range d.Findings {
		levels := []doctor.Level{doctor.OK, doctor.Unknown, doctor.Warning, doctor.Fault}
		i := slices.IndexFunc(levels, func(l doctor.Level) bool { return l.String() == f.Level })
		if i < 0 {
			c.t.Fatalf("there is no level %q", f.Level)
		}
		if levels[i] >= doctor.Warning && (f.Why == "" || f.Remedy == "") {
			c.t.Errorf("%s: %s: no word of why that matters (%q) or of the remedy (%q)", f.Check, f.Found, f.Why, f.Remedy)
		}
		o.findings = append(o.findings, doctor.Finding{Check: f.Check, Level: levels[i], Found: f.Found, Why: f.Why, Remedy: f.Remedy})
	}
	if want := min(d.Faults, 1); o.status != want {
		c.t.Errorf("%d faults, and the exit status is %d", d.Faults, o.status)
	}
	return o
}

// An opinion is what a doctor found.
type opinion struct {
	t        *testing.T
	status   int
	text     string
	findings []doctor.Finding
}

// says checks what was found of one thing, and that the remedy says so.
func (o opinion) says(check string, l doctor.Level, found, remedy string) {
	o.t.Helper()
	said := "nothing"
	for _, f := range o.findings {
		if f.Check != check {
			continue
		}
		if f.Level == l && strings.Contains(f.Found, found) && strings.Contains(f.Remedy, remedy) {
			return
		}
		said = fmt.Sprintf("%v, %s (%s)", f.Level, f.Found, f.Remedy)
	}
	o.t.Errorf("%s: %s; want %v, %q, with the remedy %q", check, said, l, found, remedy)
}

// sound checks that nothing is wrong with these.
func (o opinion) sound(checks ...string) {
	o.t.Helper()
	for _, c := range checks {
		o.says(c, doctor.OK, "", "")
	}
}

// What is wrong with files, each by itself.
func TestDoctorFiles(t *testing.T) {
	private := func(t *testing.T, c *clinic) string {
		b, err := os.ReadFile(c.key)
		check(t, err)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		return lines[len(lines)-1]
	}
	for _, tt := range []struct {
		name          string
		harm          func(c *clinic) error
		check         string
		level         doctor.Level
		found, remedy string
	}{
		{"nothing", func(*clinic) error { return nil }, "pids", doctor.OK, "box", ""},
		{"key file readable by others", func(c *clinic) error { return os.Chmod(c.key, 0o644) }, "pids", doctor.Fault, "mode 0644", "chmod 600"},
		{"key damaged", func(c *clinic) error { return os.Truncate(c.key, 90) }, "pids", doctor.Fault, "damaged", "from a copy"},
		{"no such pid", func(c *clinic) error { return os.Rename(c.key, keyFile(c.state, "other")) }, "pids", doctor.Fault, `no pid "box"`, "hushbell pid new box"},
		{"no state folder", func(c *clinic) error { return os.RemoveAll(c.state) }, "state folder", doctor.Warning, "there is no ", "hushbell pid new"},
		{"no pid yet", func(c *clinic) error { return os.Remove(c.key) }, "pids", doctor.Warning, "there is none", "start the box"},
		{"state folder open", func(c *clinic) error { return os.Chmod(c.state, 0o777) }, "state folder", doctor.Fault, "by everybody", "chmod 700"},
		{"no configuration", func(c *clinic) error { return os.Remove(c.file) }, "configuration", doctor.Fault, "there is no ", "hushbell run --help"},
		{"wrong configuration", func(c *clinic) error { c.configure("hops = 9\nhop = 3"); return nil }, "configuration", doctor.Fault, "hops", "mend it"},
		{"few hops", func(c *clinic) error { c.configure("hops = 1"); return nil }, "configuration", doctor.Warning, "1 hops", "take hops out"},
		{"no relays named", func(c *clinic) error { c.bootstrap = nil; c.configure(""); return nil }, "relays", doctor.Fault, "none to begin with", "bootstrap"},
		{"contacts damaged", func(c *clinic) error {
			return os.WriteFile(contactsFile(c.state), []byte("[[contact]]\nname = 7\n"), 0o600)
		},
			"contacts", doctor.Fault, "contacts.toml", "mend the file"},
		{"button calls a stranger", func(c *clinic) error { return os.Remove(contactsFile(c.state)) }, "contacts", doctor.Fault, `"far"`, "add the contact"},
		{"button calls nobody", func(c *clinic) error {
			return os.WriteFile(c.file, []byte("[board]\nname = \"pi-4\"\n"), 0o600)
		}, "contacts", doctor.Warning, "no button calls any", "[button]"},
		{"no such sound", func(c *clinic) error { c.configure("[sounds]\nring = \"bell.wav\""); return nil }, "configuration", doctor.Fault, "bell.wav", "take it out"},
		{"no such board", func(c *clinic) error { c.board = `name = "toaster"`; c.configure(""); return nil }, "board", doctor.Fault, "toaster", "[board]"},
		{"no box", func(*clinic) error { return nil }, "box", doctor.Warning, "none runs", "hushbell run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClinic(t, "127.0.0.1:1")
			secret := private(t, c)
			check(t, tt.harm(c))
			o := c.examine("")
			o.says(tt.check, tt.level, tt.found, tt.remedy)
			if strings.Contains(o.text, "hush1") || strings.Contains(o.text, secret) {
				t.Errorf("it tells a pid, or a key: %s", o.text)
			}
			if _, err := os.Stat(c.state); os.IsNotExist(err) != (tt.name == "no state folder") {
				t.Errorf("the state folder: %v", err)
			}
		})
	}
}

// The user that runs the box may not write its folder: of root one learns that
// only by looking as somebody else.
func TestDoctorStateNotWritable(t *testing.T) {
	c := newClinic(t, "127.0.0.1:1")
	if os.Getuid() != 0 {
		check(t, os.Chmod(c.state, 0o500))
		t.Cleanup(func() { os.Chmod(c.state, 0o700) }) // else the test could not be cleaned up
		c.examine("").says("state folder", doctor.Fault, "is not writable", "chown")
		return
	}
	check(t, os.Chmod(c.state, 0o755))
	o := c.asNobody()
	o.says("state folder", doctor.Fault, "is not writable", "chown")
	o.says("pids", doctor.Fault, "may not be read by nobody", "chown -R nobody")
}

// A box that answers nobody else is asked by root; a stranger is told that he
// cannot see what is the box's.
func TestDoctorAsStranger(t *testing.T) {
	needRoot(t)
	c := newClinic(t, "127.0.0.1:1")
	s, err := control.Listen(c.socket)
	check(t, err)
	defer s.Close()
	o := c.asNobody()
	o.says("box", doctor.Unknown, "belongs to another user", "sudo hushbell doctor")
	o.says("state folder", doctor.Unknown, "", "sudo hushbell doctor")
	o.says("pids", doctor.Unknown, "", "sudo hushbell doctor")
	o.says("contacts", doctor.Unknown, "", "sudo hushbell doctor")
	o.sound("configuration")
}

// The faults of the network, made with a real one: two machines and a cable.
func TestDoctorNetwork(t *testing.T) {
	needNamespaces(t)
	home, far := fmt.Sprintf("hbd%dh", os.Getpid()%100000), fmt.Sprintf("hbd%df", os.Getpid()%100000)
	for _, n := range []string{home, far} {
		ip(t, "netns add "+n)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", n).Run() })
	}
	c := newClinic(t, "203.0.113.1:4700")
	o := c.examine(home)
	o.says("network", doctor.Fault, "no way to the relays", "plug the cable in")
	o.says("relays", doctor.Unknown, "there is no network", "")

	ip(t, fmt.Sprintf("link add eth0 netns %s type veth peer name eth0 netns %s", home, far))
	ip(t, "-n "+home+" addr add 203.0.113.2/24 dev eth0")
	ip(t, "-n "+far+" addr add 203.0.113.1/24 dev eth0")
	for _, n := range []string{home, far} {
		ip(t, "-n "+n+" link set eth0 up")
	}
	o = c.examine(home)
	o.says("network", doctor.OK, "eth0", "")
	o.says("relays", doctor.Fault, "1 of 1 do not answer: 203.0.113.1:4700: connection refused", "firewall")
	o.says("UDP", doctor.Unknown, "", "")

	startSwarm(t, far, "203.0.113.1", 1)
	c.examine(home).sound("network", "relays", "UDP", "clock")
	c.bootstrap = append(c.bootstrap, "203.0.113.1:1")
	c.configure("")
	c.examine(home).says("relays", doctor.Warning, "1 of 2 do not answer", "firewall")
	c.configure("")
	check(t, os.WriteFile(c.file, bytes.Replace(must(os.ReadFile(c.file)), []byte("test_network = true"), nil, 1), 0o644))
	c.examine(home).says("relays", doctor.Fault, "not a public one", "test_network = true")
	c.bootstrap = c.bootstrap[:1]
	c.configure("")

	nft(t, home, "table inet block { chain out { type filter hook output priority 0; meta l4proto udp drop; }\n}")
	o = c.examine(home)
	o.sound("network", "relays", "clock")
	o.says("UDP", doctor.Fault, "does not pass", "firewall")
	nft(t, home, "delete table inet block")
	nft(t, far, "table inet block { chain in { type filter hook input priority 0; meta l4proto udp drop; }\n}")
	c.examine(home).says("UDP", doctor.Fault, "does not pass", "firewall")
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// Relays that tell another time than ours, as they do when our clock is wrong.
func TestDoctorClock(t *testing.T) {
	for _, tt := range []struct {
		ahead time.Duration
		level doctor.Level
		found string
	}{
		{0, doctor.OK, "right within a minute, by 3 relays"},
		{3 * time.Hour, doctor.Fault, "behind what 3 relays tell"},
		{-48 * time.Hour, doctor.Fault, "ahead of what 3 relays tell"},
	} {
		c := newClinic(t)
		for range 3 {
			at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freePort(t, "127.0.0.1")))
			r, err := voipcore.Open(voipcore.Config{RelayKey: pid.NewKey(), Listen: at, TestNetwork: true,
				Wall: func() time.Time { return time.Now().Add(tt.ahead) }})
			check(t, err)
			defer r.Close()
			c.bootstrap = append(c.bootstrap, at.String())
		}
		c.configure("")
		remedy := ""
		if tt.level == doctor.Fault {
			remedy = "timedatectl"
		}
		c.examine("").says("clock", tt.level, tt.found, remedy)
	}
}

// What a person reads, and the exit statuses.
func TestDoctorText(t *testing.T) {
	c := newClinic(t, "127.0.0.1:1")
	check(t, os.Chmod(c.key, 0o640))
	flags := slices.DeleteFunc(c.args(), func(a string) bool { return a == "--json" })
	status, out, errOut := hushbell(t, "", flags...)
	for _, want := range []string{"ok       configuration", "fault    pids", "why: who has the key", "do:  if nobody else", " faults\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q in:\n%s", want, out)
		}
	}
	if status != 1 || errOut != "" {
		t.Errorf("status %d, %s", status, errOut)
	}
	fails(t, 2, "takes no arguments", "", "doctor", "now")
	fails(t, 2, "unknown flag", "", "doctor", "--fast")
}
