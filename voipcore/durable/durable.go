// Package durable writes files so that a power cut leaves the old content or
// the new one, never half of either.
//
// A box loses power when somebody pulls its plug, in the middle of anything.
// So a file is written beside its place, brought to the disk, renamed into
// place, and then the folder is brought to the disk too: without the last step
// the rename itself may be lost, although the caller was told that it is safe.
//
// It does not lock: one writer per path at a time is the caller's business.
// Two at once may make one of them fail; they never mix their bytes.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// suffix ends the names of files that are not in their place yet. One that is
// found later was left by a power cut.
const suffix = ".new"

// WriteFile makes data the content of path, with the permissions perm,
// whatever the umask is. When it returns nil the content survives a power cut.
// When it fails, path still has its old content, or does not exist as before;
// only a failure of the last step (bringing the folder to the disk) may leave
// the new content in place.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return write(disk{}, path, data, perm, disk.rename)
}

// CreateFile is WriteFile for a file that must not exist yet. If path exists
// it is left as it is, and the error matches fs.ErrExist.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	return write(disk{}, path, data, perm, disk.link)
}

// A system is the steps of which write is made. The tests have one that loses
// power between any two of them.
type system interface {
	// create makes an empty file of a new name in dir, after it has
	// removed what earlier calls for the same base have left there.
	create(dir, base string) (file, error)
	remove(name string)
	syncDir(dir string) error
}

// A file is a file that is being written; see *os.File.
type file interface {
	Name() string
	Chmod(fs.FileMode) error
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

// write is generic only so that WriteFile and CreateFile can name their last
// step as a method of the system.
func write[S system](s S, path string, data []byte, perm fs.FileMode, place func(s S, from, to string) error) error {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := s.create(dir, base)
	if err != nil {
		return fmt.Errorf("durable: write %s: %w", path, err)
	}
	err = fill(f, data, perm)
	if err == nil {
		err = place(s, f.Name(), path)
	}
	if err != nil {
		s.remove(f.Name())
		return fmt.Errorf("durable: write %s: %w", path, err)
	}
	if err := s.syncDir(dir); err != nil {
		return fmt.Errorf("durable: write %s: sync folder: %w", path, err)
	}
	return nil
}

// fill brings data to the disk and closes f.
func fill(f file, data []byte, perm fs.FileMode) error {
	err := f.Chmod(perm)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// disk is the real system.
type disk struct{}

func (disk) create(dir, base string) (file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if left := e.Name(); strings.HasPrefix(left, "."+base+".") && strings.HasSuffix(left, suffix) {
			os.Remove(filepath.Join(dir, left)) // if it cannot go it does no harm
		}
	}
	f, err := os.CreateTemp(dir, "."+base+".*"+suffix) // mode 0600
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }

// link, unlike rename, fails when to exists. A power cut before from is removed
// leaves two names of one file, and the next write removes the first.
func (disk) link(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

func (disk) remove(name string) { os.Remove(name) }

func (disk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
