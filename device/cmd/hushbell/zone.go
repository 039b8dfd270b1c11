package main

import (
	"os"
	"time"
)

// localtime is the machine's time zone, as tzset(3) finds it.
const localtime = "/etc/localtime"

// A zone is a machine's time zone, also after its owner has changed it: package
// time reads it once, and a box runs for years. It is for one goroutine.
type zone struct {
	file string         // constant
	read os.FileInfo    // of what loc was read from; nil: of nothing so far
	loc  *time.Location // not nil
}

func newZone(file string) *zone { return &zone{file: file, loc: time.Local} }

// location returns the zone as it is now. What cannot be read changes nothing,
// and with TZ in the environment the zone is what that says.
func (z *zone) location() *time.Location {
	if _, set := os.LookupEnv("TZ"); set {
		return z.loc
	}
	info, err := os.Stat(z.file)
	if err != nil || z.read != nil && os.SameFile(info, z.read) && info.ModTime().Equal(z.read.ModTime()) {
		return z.loc
	}
	data, err := os.ReadFile(z.file)
	if err != nil {
		return z.loc
	}
	if loc, err := time.LoadLocationFromTZData("Local", data); err == nil {
		z.read, z.loc = info, loc
	}
	return z.loc
}
