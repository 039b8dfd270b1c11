package missed

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func open(t *testing.T, path string) *Log {
	t.Helper()
	l, err := Open(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missed.json")
	at := func(n int) time.Time { return time.Unix(int64(n), 0).UTC() }
	l := open(t, path)
	l.Add(at(1), "door", "p1")
	l.Add(at(2), "", "p2")
	l.Add(at(3), "", "p2")
	l.Add(at(4), "door", "p1")
	want := []Call{{at(4), "door", "p1", 1}, {at(3), "", "p2", 2}, {at(1), "door", "p1", 1}}
	if got := l.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	l.Close()
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", fi, err)
	}
	l = open(t, path)
	if got := l.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("after a new start %+v, want %+v", got, want)
	}
	// It does not grow: the newest stay.
	for i := range 3 * Most {
		l.Add(at(100+i), "door", fmt.Sprint("p", i))
	}
	if got := l.List(); len(got) != Most || got[0].At != at(99+3*Most) || got[Most-1].At != at(100+2*Most) {
		t.Errorf("%d calls, from %v to %v", len(got), got[0].At, got[len(got)-1].At)
	}
	l.Clear()
	l.Close()
	if got := open(t, path).List(); len(got) != 0 {
		t.Errorf("after Clear: %+v", got)
	}
}

// Calls without a name, of pids that cost nothing, do not push out those of contacts.
// A file of before has too many of them.
func TestStrangersLeaveRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missed.json")
	all := []Call{{Name: "door", PID: "p", Count: 1}}
	for i := range Most - 1 {
		all = append(all, Call{PID: fmt.Sprint("old", i), Count: 1})
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	check := func(newest string, want int) {
		t.Helper()
		got := l.List()
		if len(got) != want || got[0].PID != newest || got[len(got)-1] != all[0] {
			t.Errorf("%d calls, of which %+v is the newest", len(got), got[0])
		}
	}
	check(fmt.Sprint("old", Most-2), 1+MostStrangers)
	for i := range 3 * Most {
		l.Add(time.Now(), "", fmt.Sprint("new", i))
	}
	check(fmt.Sprint("new", 3*Most-1), 1+MostStrangers)
	l.Add(time.Now(), "gate", "q")
	check("q", 2+MostStrangers)
}

// A file that is broken is told of, and does not keep new calls from being noted.
func TestBrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missed.json")
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, func(err error) { t.Error(err) })
	if err == nil {
		t.Error("a broken file is no error")
	}
	l.Add(time.Now(), "door", "p")
	l.Close()
	if got := open(t, path).List(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
