package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	stale := filepath.Join(dir, ".state.123"+suffix)
	other := filepath.Join(dir, ".other.123"+suffix)
	for _, name := range []string{stale, other} {
		if err := os.WriteFile(name, []byte("left by a power cut"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"first", "", "third, which is longer"} {
		if err := WriteFile(path, []byte(want), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("ReadFile = %q, %v, want %q", got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o640 {
		t.Errorf("mode %04o, want 0640", got)
	}
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a power cut left is still there (Stat: %v)", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another file's temporary file is gone: %v", err)
	}
	assertNames(t, dir, "state", ".other.123"+suffix)
}

func TestCreateFileKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := CreateFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second CreateFile = %v, want fs.ErrExist", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "one" {
		t.Errorf("content %q, want %q", got, "one")
	}
	assertNames(t, dir, "key")
}

func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "no", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v, want fs.ErrNotExist", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "taken"), []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
	assertNames(t, dir, "taken")
}

func assertNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Fatalf("folder holds %q, want %q", got, want)
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("folder holds %q, want %q", got, want)
		}
	}
}

// machine is a disk as POSIX promises it, and no better: what was not synced
// may or may not be there after a power cut, and data and names are two things.
type machine struct {
	steps  int            // steps until the power goes
	inodes []*inode       // every file ever made
	now    map[string]int // names as the running system sees them
	onDisk map[string]int // names that are surely on the disk
	log    []string
}

type inode struct{ now, onDisk []byte }

var errPower = errors.New("power cut")

func (m *machine) step(format string, args ...any) error {
	if m.steps == 0 {
		return errPower
	}
	m.steps--
	m.log = append(m.log, fmt.Sprintf(format, args...))
	return nil
}

func (m *machine) create(dir, base string) (file, error) {
	if err := m.step("create"); err != nil {
		return nil, err
	}
	m.inodes = append(m.inodes, &inode{})
	h := &handle{m, "." + base + ".1" + suffix, len(m.inodes) - 1}
	m.now[h.name] = h.ino
	return h, nil
}

func (m *machine) rename(from, to string) error {
	if err := m.step("rename"); err != nil {
		return err
	}
	m.now[filepath.Base(to)] = m.now[from]
	delete(m.now, from)
	return nil
}

func (m *machine) link(from, to string) error {
	if err := m.step("link"); err != nil {
		return err
	}
	if _, ok := m.now[filepath.Base(to)]; ok {
		return fs.ErrExist
	}
	m.now[filepath.Base(to)] = m.now[from]
	if err := m.step("unlink"); err != nil {
		return err
	}
	delete(m.now, from)
	return nil
}

func (m *machine) remove(name string) {
	if m.step("remove") == nil {
		delete(m.now, name)
	}
}

func (m *machine) syncDir(string) error {
	if err := m.step("sync folder"); err != nil {
		return err
	}
	m.onDisk = maps.Clone(m.now)
	return nil
}

type handle struct {
	m    *machine
	name string
	ino  int
}

func (h *handle) Name() string            { return h.name }
func (h *handle) Chmod(fs.FileMode) error { return h.m.step("chmod") }
func (h *handle) Close() error            { return h.m.step("close") }

// Write takes two steps, so that the power can go between two halves.
func (h *handle) Write(b []byte) (int, error) {
	for _, part := range [][]byte{b[:len(b)/2], b[len(b)/2:]} {
		if err := h.m.step("write"); err != nil {
			return 0, err
		}
		h.m.inodes[h.ino].now = append(h.m.inodes[h.ino].now, part...)
	}
	return len(b), nil
}

func (h *handle) Sync() error {
	if err := h.m.step("sync"); err != nil {
		return err
	}
	h.m.inodes[h.ino].onDisk = bytes.Clone(h.m.inodes[h.ino].now)
	return nil
}

// after gives every content that path may have when the power comes back:
// with the names of before or after, and each with synced or unsynced data,
// of which any beginning may have reached the disk. nil means no file.
func (m *machine) after(path string) (all [][]byte) {
	for _, names := range []map[string]int{m.now, m.onDisk} {
		ino, ok := names[path]
		if !ok {
			all = append(all, nil)
			continue
		}
		data := m.inodes[ino]
		for n := len(data.onDisk); n <= len(data.now); n++ {
			all = append(all, data.now[:n:n])
		}
	}
	return all
}

func TestPowerCut(t *testing.T) {
	const path, before, after = "key", "old content", "the new content"
	for _, tt := range []struct {
		name  string
		place func(*machine, string, string) error
		old   []byte // nil: no file
	}{
		{"replace", (*machine).rename, []byte(before)},
		{"write the first time", (*machine).rename, nil},
		{"create", (*machine).link, nil},
		{"create over another", (*machine).link, []byte(before)},
	} {
		for cut := 0; ; cut++ {
			m := &machine{steps: cut, now: map[string]int{}, onDisk: map[string]int{}}
			if tt.old != nil {
				m.inodes = []*inode{{tt.old, tt.old}}
				m.now[path], m.onDisk[path] = 0, 0
			}
			err := write(m, path, []byte(after), 0o600, tt.place)
			for _, got := range m.after(path) {
				isOld := bytes.Equal(got, tt.old) && (got == nil) == (tt.old == nil)
				isNew := string(got) == after
				if !isOld && !isNew {
					t.Errorf("%s, power cut after %q: content %q", tt.name, m.log, got)
				}
				if err == nil && !isNew {
					t.Errorf("%s: reported as done, then a power cut after %q: content %q", tt.name, m.log, got)
				}
			}
			if m.steps > 0 { // it came to its end before the power went
				if wantFail := tt.name == "create over another"; wantFail != errors.Is(err, fs.ErrExist) || (err == nil) == wantFail {
					t.Errorf("%s: %v", tt.name, err)
				}
				if cut < 6 {
					t.Errorf("%s had only the steps %q", tt.name, m.log)
				}
				break
			}
			if !errors.Is(err, errPower) && err != nil && !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s: cut after %d steps: %v", tt.name, cut, err)
			}
		}
	}
}
