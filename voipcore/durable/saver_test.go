package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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
