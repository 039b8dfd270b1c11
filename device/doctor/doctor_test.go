package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hushbell/alsa"
	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// What systemctl show prints, and what becomes of it.
func TestService(t *testing.T) {
	const good = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nResult=success\nUser=hushbell\nNRestarts=0\nSupplementaryGroups=audio gpio\n"
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, tt := range []struct {
		show   string
		runs   bool
		level  Level
		remedy string
	}{
		{"", false, OK, ""},
		{good, true, OK, ""},
		{with("=enabled", "=enabled-runtime"), true, OK, ""},
		{with("=enabled", "=disabled"), true, Warning, "systemctl enable hushbell"},
		{with("ActiveState=active", "ActiveState=inactive"), false, Warning, "enable --now"},
		{with("ActiveState=active", "ActiveState=inactive"), true, Warning, "end that one"},
		{with("ActiveState=active", "ActiveState=failed"), false, Fault, "journalctl"},
		{strings.NewReplacer("=active", "=activating", "=running", "=auto-restart").Replace(good), false, Fault, "journalctl"},
		// The program waits by itself before it is ready (systemd.Backoff).
		{strings.NewReplacer("=active", "=activating", "=running", "=start", "NRestarts=0", "NRestarts=7").Replace(good), false, Fault, "journalctl"},
		{strings.NewReplacer("=active", "=activating", "=running", "=start").Replace(good), false, Warning, "look again"},
		{"LoadState=not-found\nActiveState=inactive\n", false, Warning, "install"},
	} {
		e := &exam{Patient: Patient{System: true}, unit: parseUnit([]byte(tt.show))}
		if !tt.runs {
			e.statusErr = control.ErrNotRunning
		}
		f := e.service(t.Context())
		if len(f) != 1 || f[0].Level != tt.level || !strings.Contains(f[0].Remedy, tt.remedy) {
			t.Errorf("%q, a box runs %v: %+v, want %v, %q", tt.show, tt.runs, f, tt.level, tt.remedy)
		}
	}
	if u := parseUnit([]byte(good)); u.User != "hushbell" || fmt.Sprint(u.Groups) != "[audio gpio]" {
		t.Errorf("the unit is %+v", u)
	}
}

// The permissions of a file, for its owner, its group and others.
func TestMay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	st := *fi.Sys().(*syscall.Stat_t)
	st.Uid, st.Gid = 1000, 29
	f := faked{fi, &st}
	for _, tt := range []struct {
		a                account
		read, write, use bool
	}{
		{account{uid: 0}, true, true, true},
		{account{uid: 1000}, true, false, true}, // it is no folder that could be looked into
		{account{uid: 7, groups: []uint32{7, 29}}, true, false, false},
		{account{uid: 7, groups: []uint32{7}}, false, false, false},
	} {
		if r, w, u := tt.a.may(f, canRead), tt.a.may(f, canWrite), tt.a.may(f, canUse); r != tt.read || w != tt.write || u != tt.use {
			t.Errorf("%+v may read %v, write into %v, use %v; want %+v", tt.a, r, w, u, tt)
		}
	}
}

type faked struct {
	os.FileInfo
	st *syscall.Stat_t
}

func (f faked) Sys() any { return f.st }

// A sound server of somebody else is told of, one's own is not, and a file that
// one left behind neither.
func TestServers(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	me := uint32(os.Geteuid())
	box := &exam{user: account{uid: me + 1, name: "hushbell"}}
	if err := os.MkdirAll(filepath.Join(dir, "7"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "7", "pipewire-0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := box.serversIn(dir); f != nil {
		t.Errorf("no server: %+v", f)
	}
	listen("8/pulse/native")
	listen("8/pipewire-0")
	if f := box.serversIn(dir); len(f) != 1 || f[0].Level != Warning || !strings.Contains(f[0].Remedy, "enable-linger "+byUID(me).name) {
		t.Errorf("a server of another user: %+v", f)
	}
	if f := (&exam{user: account{uid: me}}).serversIn(dir); f != nil {
		t.Errorf("our own server: %+v", f)
	}
}

// Who misspelt a card is told the nearest name.
func TestOpenRemedy(t *testing.T) {
	gone := fmt.Errorf("%w: %w", syscall.ENODEV, alsa.ErrNoCard)
	names := []string{"Headphones", "sndrpihifiberry", "Device", "Device_1"}
	for _, tt := range []struct{ device, want string }{
		{"device", `speaker = "Device"`},
		{"Hedphone", `speaker = "Headphones"`},
		{"sndrpihifibery", `speaker = "sndrpihifiberry"`},
		{"Device_2", `speaker = "Device_1"`},
		{"", "plug a sound card in"},
	} {
		if got := openRemedy(gone, "speaker", tt.device, names); !strings.Contains(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.device, got, tt.want)
		}
	}
	if got := openRemedy(gone, "speaker", "Device", nil); !strings.Contains(got, "plug a sound card in") {
		t.Errorf("without any card: %q", got)
	}
	if got := openRemedy(&alsa.Error{Err: syscall.EBUSY}, "speaker", "Device", names); !strings.Contains(got, "end the program") {
		t.Errorf("of a busy one: %q", got)
	}
}

// One relay that lies does not make the clock wrong, nor right.
func TestClockGoesByTheMiddle(t *testing.T) {
	told := func(ahead ...time.Duration) []Finding {
		e := &exam{connected: true, probed: new(probes), statusErr: control.ErrNotRunning}
		e.cfg = config.Default()
		for _, d := range ahead {
			e.cfg.Bootstrap = append(e.cfg.Bootstrap, e.cfg.Listen)
			e.probed.answers = append(e.probed.answers, voipcore.Probed{Ahead: d})
		}
		e.probed.answers = append(e.probed.answers, voipcore.Probed{Err: errors.New("dead"), Ahead: time.Hour})
		return e.clock(t.Context())
	}
	if f := told(0, time.Second, 1000*time.Hour); f[0].Level != OK {
		t.Errorf("one of three lies: %+v", f)
	}
	if f := told(-time.Hour, -time.Hour, 0); f[0].Level != Fault || !strings.Contains(f[0].Found, "1h0m0s ahead of what 3 relays tell") {
		t.Errorf("one of three agrees: %+v", f)
	}
	e := &exam{Patient: Patient{Build: time.Now().Add(time.Hour)}}
	if f := e.clock(t.Context()); f[0].Level != Fault || !strings.Contains(f[0].Found, "made later") {
		t.Errorf("before the program was built: %+v", f)
	}
}

// The folder of keys came back from a copy, and is another user's: the box cannot
// look into it, whoever has the files in it.
func TestFolderOfKeysOfAnotherUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pids")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "box.key")
	if err := pid.NewKey().Save(file); err != nil {
		t.Fatal(err)
	}
	other := uint32(os.Geteuid()) + 1
	e := &exam{Patient: Patient{Pids: dir}, cfg: config.Default(), user: account{name: "hushbell", uid: other, groups: []uint32{other}}}
	e.KeyFiles = func() (map[string]string, error) { return map[string]string{"box": file}, nil }
	f := e.keys(t.Context())
	if len(f) != 1 || f[0].Level != Fault || !strings.Contains(f[0].Remedy, "chown -R hushbell: "+dir) {
		t.Errorf("of a folder that is another user's: %+v", f)
	}
}

// A file of another user in the state folder, as root's after a start by hand, keeps the
// box from starting.
func TestFileOfAnotherUser(t *testing.T) {
	dir, other := t.TempDir(), uint32(os.Geteuid())+1
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "relays")
	e := &exam{Patient: Patient{State: dir}, user: account{name: "hushbell", uid: other, groups: []uint32{uint32(os.Getegid())}}, self: true}
	for mode, want := range map[fs.FileMode]Level{0o640: OK, 0o600: Fault} {
		if err := os.WriteFile(file, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		f := e.stateFolder(t.Context())
		if len(f) != 1 || f[0].Level != want || want == Fault && (!strings.Contains(f[0].Found, file) || !strings.Contains(f[0].Remedy, "chown -R hushbell: "+dir)) {
			t.Errorf("a file of mode %v: %+v, want %v", mode, f, want)
		}
	}
}
