package alsa

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// lay makes a tree of files; a name that ends in / is a folder.
func lay(t *testing.T, files map[string]string) roots {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		folder := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			folder = path
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if folder != path {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return roots{sys: filepath.Join(dir, "sys"), proc: filepath.Join(dir, "proc"), dev: filepath.Join(dir, "dev")}
}

// A Pi with headphones, HDMI, a USB headset, and two cards of one name.
func pi(t *testing.T) roots {
	return lay(t, map[string]string{
		"sys/card0/id": "Headphones\n", "sys/pcmC0D0p/": "", "sys/controlC0/": "", "sys/timer/": "",
		"sys/card1/id": "vc4hdmi\n", "sys/pcmC1D0p/": "",
		"sys/card3/id": "Device\n", "sys/pcmC3D0p/": "", "sys/pcmC3D0c/": "", "sys/pcmC3D1c/": "",
		"sys/card10/id": "Device_1\n", "sys/pcmC10D0c/": "",
		"sys/pcmC11D0c/":                      "", // leaving: its card has no id any more
		"proc/asound/card3/pcm0p/sub0/status": "closed\n",
		"proc/asound/card3/pcm0c/sub0/status": "state: RUNNING\nowner_pid   : 4242\ntrigger_time: 1.2\n",
		"proc/4242/status":                    "Name:\tarecord\nTgid:\t4240\nPid:\t4242\n",
	})
}

func TestNodes(t *testing.T) {
	got, err := pi(t).nodes()
	if err != nil {
		t.Fatal(err)
	}
	want := []node{
		{0, "Headphones", 0, true, false}, {1, "vc4hdmi", 0, true, false},
		{3, "Device", 0, true, true}, {3, "Device", 1, false, true}, {10, "Device_1", 0, false, true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("nodes %+v, want %+v", got, want)
	}
	if none, err := (roots{sys: filepath.Join(t.TempDir(), "none")}).nodes(); none != nil || err != nil {
		t.Errorf("without sound: %v, %v", none, err)
	}
}

func TestPreferred(t *testing.T) {
	list, err := pi(t).nodes()
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[direction]string{
		plays:   "Device Headphones vc4hdmi",
		records: "Device Device,1 Device_1",
	} {
		var names []string
		for _, n := range preferred(list, d) {
			names = append(names, n.name())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%c: %s, want %s", d, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	r := pi(t)
	tests := []struct {
		name string
		d    direction
		path string
		err  error // nil and no path: any error
		says string
	}{
		{name: "Device", d: plays, path: "pcmC3D0p"},
		{name: "hw:Device,1", d: records, path: "pcmC3D1c"},
		{name: "Device_1", d: records, path: "pcmC10D0c"},
		{name: "Device,1", d: plays, err: ErrNoCard, says: "only records"},
		{name: "vc4hdmi", d: records, err: ErrNoCard, says: "only plays"},
		{name: "Other", d: plays, err: syscall.ENODEV, says: "among Headphones vc4hdmi"},
		{name: "Device,7", d: plays, err: ErrNoCard},
		{name: "3", d: plays, says: "by id, not by number"},
		{name: "hw:0,0", d: plays, says: "by id, not by number"},
		{name: "a/../b", d: plays, says: "no card is called"},
		{name: "Device,x", d: plays, says: "no PCM"},
		{name: ",1", d: plays, says: "without a card"},
	}
	for _, tt := range tests {
		n, err := r.find(tt.name, tt.d)
		switch {
		case tt.path != "":
			if err != nil || filepath.Base(n.path(r, tt.d)) != tt.path {
				t.Errorf("%s: %s, %v, want %s", tt.name, n.path(r, tt.d), err, tt.path)
			}
		case err == nil:
			t.Errorf("%s: found %+v", tt.name, n)
		case tt.err != nil && !errors.Is(err, tt.err), !strings.Contains(err.Error(), tt.says):
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.err, tt.says)
		}
	}
}

func TestHolder(t *testing.T) {
	r := pi(t)
	list, err := r.nodes()
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[direction]string{plays: "", records: "arecord (process 4240)"} {
		if got := r.holder(list[2], d); got != want {
			t.Errorf("%c: held by %q, want %q", d, got, want)
		}
	}
	if got := (roots{proc: "/proc"}).process(strconv.Itoa(os.Getpid())); got != "this process" {
		t.Errorf("we are %q", got)
	}
	if got := r.process("77"); got != "process 77" { // ended meanwhile
		t.Errorf("a process without status is %q", got)
	}
	e := &Error{Op: "open", Device: "Device", Holder: "arecord (process 4240)", Err: syscall.EBUSY}
	if got, want := e.Error(), "alsa: open Device: device or resource busy, held by arecord (process 4240)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A name that is taken names a card, and says the same when put together again.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"Device", "hw:Device,1", "0", "", ",", "a,b", "x,-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, device, err := parseName(s)
		if err != nil {
			return
		}
		n := node{id: id, device: device}
		id2, device2, err := parseName(n.name())
		if id == "" || err != nil || id2 != id || device2 != device {
			t.Errorf("%q: %q %d, again %q %d %v", s, id, device, id2, device2, err)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Period: -1}, {Buffer: -1}, {Rate: -1}, {Period: 1 << 40}, {Period: 1e7, Buffer: 1e7}, {Listen: 3}, {Listen: -1}, {Format: 77},
	} {
		if _, err := OpenPlayback("Device", o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("OpenPlayback with %+v = %v, want EINVAL", o, err)
		}
	}
}
