package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The last of many is in the file after Close, whatever was in between, and what
// cannot be written is told.
func TestSaver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	s := NewSaver(path, 0o600, func(err error) { t.Error(err) })
	for i := range 1000 {
		s.Save(fmt.Append(nil, i))
	}
	s.Close()
	s.Save([]byte("too late"))
	s.Close()
	if b, err := os.ReadFile(path); err != nil || string(b) != "999" {
		t.Errorf("the file has %q, %v", b, err)
	}

	var failed error
	s = NewSaver(filepath.Join(path, "no folder"), 0o600, func(err error) { failed = err })
	s.Save(nil)
	s.Close()
	var e *fs.PathError
	if !errors.As(failed, &e) {
		t.Errorf("told %v", failed)
	}
}

// What a full disk has not taken is written when there is room, and told of once.
func TestSaverTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, told := filepath.Join(t.TempDir(), "later"), 0
		path := filepath.Join(dir, "file")
		s := NewSaver(path, 0o600, func(error) { told++ })
		room := func() {
			t.Helper()
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		wrote := func(want string) {
			t.Helper()
			if b, err := os.ReadFile(path); err != nil || string(b) != want {
				t.Errorf("the file has %q, %v, want %q", b, err, want)
			}
		}
		s.Save([]byte("kept"))
		time.Sleep(10 * again)
		synctest.Wait()
		if told != 1 {
			t.Errorf("told %d times, want once", told)
		}
		room()
		time.Sleep(again + pause)
		synctest.Wait()
		wrote("kept")

		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s.Save([]byte("the last"))
		time.Sleep(again / 2)
		room()
		s.Close()
		wrote("the last")
		if told != 2 {
			t.Errorf("told %d times, want twice", told)
		}
	})
}

// Whoever saves all the time has it written at once, and then every 5 s.
func TestSaverSparesTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes int // of the goroutine of the Saver; each fails
		s := NewSaver(filepath.Join(t.TempDir(), "no folder", "file"), 0o600, func(error) { writes++ })
		s.Save([]byte("x"))
		synctest.Wait()
		if writes != 1 {
			t.Errorf("%d writes at once", writes)
		}
		for range 600 { // a minute
			s.Save([]byte("x"))
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if writes < 12 || writes > 13 {
			t.Errorf("%d writes in a minute", writes)
		}
		s.Save([]byte("x"))
		before := writes
		s.Close()
		if writes != before+1 {
			t.Errorf("%d writes by Close", writes-before)
		}
	})
}
