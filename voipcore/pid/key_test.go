package pid

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestKeyIsNeverPrinted(t *testing.T) {
	k := NewKey()
	type box struct {
		K *Key
		V Key
		k *Key
		v Key
	}
	all := box{k, *k, k, *k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%08.3f", "%!"} {
		for _, v := range []any{k, *k, all, &all, []*Key{k}, map[string]Key{"k": *k}} {
			assertHidden(t, fmt.Sprintf(verb, v), k.private()[:])
		}
	}
	if k.String() != hidden || k.GoString() != hidden || fmt.Sprint(k) != hidden {
		t.Errorf("String() = %q, GoString() = %q, Sprint = %q", k.String(), k.GoString(), fmt.Sprint(k))
	}
	public := k.ID()
	assertHidden(t, fmt.Sprint(public), k.private()[:32])
}

func TestKeyHandsOutCopies(t *testing.T) {
	k := KeyFromSeed([32]byte{1})
	id, p := k.ID(), k.Private()
	if !ed25519.Verify(id.Public(), []byte("m"), ed25519.Sign(p, []byte("m"))) {
		t.Error("Private does not belong to ID")
	}
	clear(p)
	clear(id.Public())
	if k.ID() != id || k.Private().Equal(p) {
		t.Error("a caller changed the key")
	}
	if a, b := NewKey(), NewKey(); a.ID() == b.ID() {
		t.Error("two new keys are the same")
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pid.key")
	if _, err := LoadKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadKey of no file = %v, want fs.ErrNotExist", err)
	}
	k := NewKey()
	for range 2 { // the second time it is there already
		if err := k.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != 0o600 {
		t.Errorf("mode %v, want -rw-------", got)
	}
	loaded, err := LoadKey(path)
	if err != nil || *loaded.private() != *k.private() {
		t.Errorf("LoadKey = another key, %v", err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := NewKey().Save(path); !errors.Is(err, ErrOtherKey) {
		t.Errorf("Save over another key = %v, want ErrOtherKey", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("Save over another key changed the file")
	}
	if err := k.Save(filepath.Join(dir, "no", "pid.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Save into no folder = %v, want fs.ErrNotExist", err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	k := NewKey()
	good := filepath.Join(t.TempDir(), "good")
	if err := k.Save(good); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	line := keyLine(text)
	flipped := strings.Replace(text, line[20:21], string("qp"[strings.Count(line[20:21], "q")]), -1)

	load := func(text string, mode fs.FileMode) error {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKey(path)
		return err
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o660, 0o644, 0o777} {
		if err := load(text, mode); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v, want a hint to chmod 600", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if err := load(text, mode); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := load("\n # my own note\n"+line, 0o600); err != nil {
		t.Errorf("with other comments: %v", err)
	}
	for n := range strings.TrimRight(text, "\n") { // every half file
		if err := load(text[:n], 0o600); err == nil || !strings.Contains(err.Error(), "incomplete or damaged") {
			t.Fatalf("the first %d bytes of the file: %v", n, err)
		}
	}
	for name, text := range map[string]string{
		"a wrong character": flipped,
		"two keys":          text + line + "\n",
		"a pid":             k.ID().String(),
		"zeros":             strings.Repeat("\x00", len(text)),
		"far too long":      strings.Repeat("#\n", fileMax) + line,
	} {
		err := load(text, 0o600)
		if err == nil {
			t.Errorf("%s: taken as a key", name)
			continue
		}
		assertHidden(t, err.Error(), k.private()[:])
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{t.TempDir(), pipe} {
		if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "regular") {
			t.Errorf("%s: %v", path, err)
		}
	}
	// A damaged key is not overwritten either: its owner may have a backup.
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte(flipped), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(bad); err == nil || errors.Is(err, ErrOtherKey) {
		t.Errorf("Save over a damaged key = %v", err)
	}
	if after, _ := os.ReadFile(bad); string(after) != flipped {
		t.Error("Save over a damaged key changed the file")
	}
}
