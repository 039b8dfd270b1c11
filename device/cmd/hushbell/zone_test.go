package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// tzif is a zone of RFC 8536, version 1, without transitions: at any time it is
// so many hours later than UTC.
func tzif(hours int) []byte {
	b := make([]byte, 44, 60)
	copy(b, "TZif")
	b[39], b[43] = 1, 4 // one type of local time, and four characters of names
	seconds := hours * 3600
	b = append(b, byte(seconds>>24), byte(seconds>>16), byte(seconds>>8), byte(seconds), 0, 0)
	return append(b, "ABC\x00"...)
}

// The schedule of do-not-disturb goes by the zone that the machine has now: a
// link to another file, as timedatectl makes it, or a file written anew.
func TestZoneChanges(t *testing.T) {
	t.Setenv("TZ", "") // so that it is put back
	os.Unsetenv("TZ")
	dir := t.TempDir()
	file := filepath.Join(dir, "localtime")
	z := newZone(file)
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	want := func(hour int) {
		t.Helper()
		if got := noon.In(z.location()).Hour(); got != hour {
			t.Errorf("at noon in UTC it is %d o'clock, want %d", got, hour)
		}
	}
	want(noon.In(time.Local).Hour()) // there is no such file
	for i, name := range []string{"east", "west"} {
		check(t, os.WriteFile(filepath.Join(dir, name), tzif(2-4*i), 0o600))
		check(t, os.Chtimes(filepath.Join(dir, name), noon, noon)) // as in a package
		check(t, os.Symlink(name, file+".new"))
		check(t, os.Rename(file+".new", file))
		want(14 - 4*i)
		want(14 - 4*i)
	}
	check(t, os.WriteFile(file, []byte("TZ"), 0o600)) // is being written
	want(10)
	check(t, os.WriteFile(file, tzif(3), 0o600))
	want(15)
	check(t, os.Remove(file))
	want(15)

	t.Setenv("TZ", "")
	check(t, os.WriteFile(file, tzif(4), 0o600))
	want(15)
}
