package missed

import (
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
		l.Add(at(100+i), "", fmt.Sprint("p", i))
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
