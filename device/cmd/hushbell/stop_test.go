package main

import (
	"os"
	"path/filepath"
	"testing"

	"hushbell/device/missed"
)

// Who rings while the box is stopped was missed, and is there after the next start.
func TestStoppedWhileItRings(t *testing.T) {
	boot := localSwarm(t, 6)
	a, b := newHousehold(t, boot[:3]), newHousehold(t, boot[:3])
	succeeds(t, "", "contact", "add", "far", b.pid, "--state", a.state, "--socket", a.socket)
	succeeds(t, "", "contact", "add", "near", a.pid, "--state", b.state, "--socket", b.socket)
	a.run(t)
	rb := b.run(t)
	a.until(t, "online", kind("online"))
	b.until(t, "online", kind("online"))
	succeeds(t, "", "call", "far", "--socket", a.socket)
	b.until(t, "ringing", kind("ringing-here"))
	if st := rb.end(); st != 0 {
		t.Errorf("stopped while it rings it ends with %d", st)
	}
	if e := a.until(t, "the end", kind("ended")); e.Reason != "declined" {
		t.Errorf("the caller is told %+v", e)
	}
	l, err := missed.Open(filepath.Join(b.state, "missed.json"), func(err error) { t.Error(err) })
	check(t, err)
	defer l.Close()
	if all := l.List(); len(all) != 1 || all[0].Name != "near" || all[0].PID != a.pid {
		text, _ := os.ReadFile(filepath.Join(b.state, "missed.json"))
		t.Errorf("missed are %+v, the file has %q", all, text)
	}
}
