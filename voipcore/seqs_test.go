package voipcore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hushbell/voipcore/pid"
)

func TestSeqs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "published")
	a, b := pid.NewKey().ID(), pid.NewKey().ID()
	s, err := openSeqs(file)
	if err != nil {
		t.Fatal(err)
	}
	next := func(id pid.ID, day pid.Day, least, want int64) {
		t.Helper()
		if got, err := s.next(id, day, least); err != nil || got != want {
			t.Errorf("next of day %d, at least %d = %d, %v, want %d", day, least, got, err, want)
		}
	}
	next(a, 5, 100, 100)
	next(a, 5, 100, 101) // the same second
	next(a, 5, 7, 102)   // the clock went back
	next(a, 6, 50, 50)   // another day counts for itself
	next(b, 5, 1, 1)     // another pid, too

	if s, err = openSeqs(file); err != nil { // a restart
		t.Fatal(err)
	}
	next(a, 5, 1, 103)
	next(a, 8, 9, 9)
	next(a, 5, 1, 1) // over for more than a day: forgotten
	next(b, 5, 1, 2)

	if err := os.WriteFile(file, []byte("garbage\nhush1 5 9\n"+strings.Repeat("x", 100_000)+"\n"+b.String()+" 5 40\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = openSeqs(file); err != nil {
		t.Fatal(err)
	}
	next(b, 5, 1, 41)
}
