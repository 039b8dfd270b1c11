package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hushbell/device"
	"hushbell/device/config"
	"hushbell/voipcore"
	"hushbell/voipcore/pid"
)

// oneLine puts an error of several lines in one.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// denied reports whether an error is only that we are somebody else than the box.
func (e *exam) denied(err error) bool { return errors.Is(err, fs.ErrPermission) && !e.self }

// forbidden is a file or folder that we may not read: the box may not either, or
// it is somebody else's.
func (e *exam) forbidden(check, path string, err error) []Finding {
	if e.denied(err) {
		return unseen(check, path+" may not be read by this user")
	}
	return e.unreadable(check, path)
}

// unreadable is a file or folder that the box may not read.
func (e *exam) unreadable(check, path string) []Finding {
	return found(Fault, check, fmt.Sprintf("%s may not be read by %s", path, e.user.name), "a box does not start without it",
		fmt.Sprintf("sudo chown -R %s: %s", e.user.name, path))
}

func (e *exam) configuration(context.Context) []Finding {
	const check = "configuration"
	_, statErr := os.Stat(e.Config)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return found(Fault, check, "there is no "+e.Config, "without it a box does not start",
			"write it: hushbell run --help shows one; or name another file with --config")
	case errors.Is(e.cfgErr, fs.ErrPermission):
		return e.forbidden(check, e.Config, e.cfgErr)
	case e.cfgErr != nil:
		return found(Fault, check, oneLine(e.cfgErr), "a box does not start with it, and a running one does not take it",
			"mend it; hushbell run --help shows all that can be said")
	}
	if fi, err := os.Stat(e.Config); err == nil && !e.user.may(fi, canRead) {
		return e.unreadable(check, e.Config)
	}
	if e.cfg.Hops < config.MaxHops {
		return found(Warning, check, fmt.Sprintf("%s: %d hops", e.Config, e.cfg.Hops), "fewer hops give up anonymity: relays can learn who calls whom",
			"take hops out, unless this is only to try it")
	}
	return ok(check, "%s", e.Config)
}

// littleSpace is room for what a box writes, many times.
const littleSpace = 4 << 20

func (e *exam) stateFolder(context.Context) []Finding {
	const check, why = "state folder", "keys, contacts and what is known of relays are kept there"
	fi, err := os.Stat(e.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return found(Warning, check, "there is no "+e.State, why, "start the box, or hushbell pid new: both make it; or name another folder with --state")
	case e.denied(err):
		return unseen(check, e.State+" may not be looked at by this user")
	case err != nil:
		return found(Fault, check, err.Error(), why, "mend the folder, or name another one with --state")
	case !fi.IsDir():
		return found(Fault, check, e.State+" is no folder", why, "move the file away, or name another folder with --state")
	case readOnly(e.State):
		return found(Warning, check, e.State+" is read only", "guards and other relays, missed calls, the switch of do-not-disturb and what a relay has carried are forgotten at each start",
			"if that is not meant, mount it writable, or keep the state elsewhere: --state, or StateDirectory= of the unit")
	case !e.user.may(fi, canWrite):
		return found(Fault, check, fmt.Sprintf("%s is not writable for %s", e.State, e.user.name), why+", and the box does not start",
			fmt.Sprintf("sudo chown -R %s: %s", e.user.name, e.State))
	case !e.self && os.Geteuid() != 0:
		return unseen(check, fmt.Sprintf("%s belongs to another user; whether it can be written was not tried", e.State))
	case fi.Mode().Perm()&0o002 != 0:
		return found(Fault, check, fmt.Sprintf("%s can be written by everybody (mode %04o)", e.State, fi.Mode().Perm()),
			"anybody here can put a key or a contact in place of yours", "chmod 700 "+e.State)
	}
	if err := tryWrite(e.State); err != nil {
		return found(Fault, check, err.Error(), why+", and a full disk loses them", writeRemedy(err, e.State, e.user.name))
	}
	if lost := e.lostFile(); lost != "" {
		return found(Fault, check, fmt.Sprintf("%s may not be read by %s", filepath.Join(e.State, lost), e.user.name), "the box does not start, most often since it was run once by root",
			fmt.Sprintf("sudo chown -R %s: %s", e.user.name, e.State))
	}
	var st syscall.Statfs_t
	if syscall.Statfs(e.State, &st) == nil && uint64(st.Bavail)*uint64(st.Bsize) < littleSpace {
		return found(Warning, check, fmt.Sprintf("%s has %d kB left", e.State, uint64(st.Bavail)*uint64(st.Bsize)>>10), why, "make room on that disk")
	}
	return ok(check, "%s can be written", e.State)
}

// lostFile returns the name of a file in the state folder that its user cannot read, ""
// if there is none. The folder of the keys is another check's.
func (e *exam) lostFile() string {
	all, _ := os.ReadDir(e.State)
	for _, f := range all {
		if fi, err := f.Info(); err == nil && fi.Mode().IsRegular() && !e.user.may(fi, canRead) {
			return f.Name()
		}
	}
	return ""
}

// readOnly reports whether a folder is on a disk that is mounted so.
func readOnly(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// tryWrite writes a file as the box would, to the disk, and removes it.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close())
}

func writeRemedy(err error, dir, user string) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on that disk"
	case errors.Is(err, fs.ErrPermission):
		return "sudo chown -R " + user + ": " + dir
	}
	return "look at the disk: dmesg tells whether it fails"
}

func (e *exam) keys(context.Context) []Finding {
	const check = "pids"
	if _, err := os.ReadDir(e.Pids); errors.Is(err, fs.ErrPermission) {
		return e.forbidden(check, e.Pids, err)
	}
	if fi, err := os.Stat(e.Pids); err == nil && !e.user.may(fi, canList) {
		return e.unreadable(check, e.Pids)
	}
	files, err := e.KeyFiles()
	switch {
	case err != nil:
		return found(Fault, check, err.Error(), "without its keys a box does not start", "look at the disk: dmesg tells whether it fails")
	case len(files) == 0 && e.runs(): // it has credentials that we do not see
		return ok(check, "those that the running box was given")
	case len(files) == 0:
		return found(Warning, check, "there is none", "nobody can call", "start the box, which makes one; or hushbell pid new "+e.cfg.PID)
	}
	names := slices.Sorted(maps.Keys(files))
	var all []Finding
	for _, name := range names {
		all = append(all, e.key(check, files[name])...)
	}
	if files[e.cfg.PID] == "" {
		all = append(all, found(Fault, check, fmt.Sprintf("there is no pid %q in %s", e.cfg.PID, e.State),
			"the configuration calls with it, and a box does not start without it",
			fmt.Sprintf("hushbell pid new %s, or name another one as pid: there is %s", e.cfg.PID, strings.Join(names, ", ")))...)
	}
	if len(all) == 0 {
		return ok(check, "%s", strings.Join(names, ", "))
	}
	return all
}

// key looks at one key's file; nil if it is sound.
func (e *exam) key(check, file string) []Finding {
	fi, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return e.forbidden(check, file, err)
	case err != nil:
		return found(Fault, check, err.Error(), "a box does not start with it", "remove what is no file")
	}
	if mode := fi.Mode().Perm(); mode&0o077 != 0 {
		return found(Fault, check, fmt.Sprintf("%s can be read or written by others (mode %04o)", file, mode),
			"who has the key can be called in your place, and call in your name; a box does not start with it",
			fmt.Sprintf("if nobody else can have read it: chmod 600 %s; else make a new pid", file))
	}
	// Credentials are lent to the service in ways that modes do not tell.
	if filepath.Dir(file) == filepath.Clean(e.Pids) && !e.user.may(fi, canRead) {
		return e.unreadable(check, file)
	}
	switch _, err := pid.LoadKey(file); {
	case errors.Is(err, fs.ErrPermission):
		return e.forbidden(check, file, err)
	case err != nil:
		return found(Fault, check, err.Error(), "a box does not start with it", "restore the file from a copy, or move it away and make a new pid")
	}
	return nil
}

// contacts looks at who is known, and at what else the configuration names.
func (e *exam) contacts(context.Context) []Finding {
	const check = "contacts"
	if fi, err := os.Stat(e.Contacts); err == nil && !e.user.may(fi, canRead) {
		return e.unreadable(check, e.Contacts)
	}
	const why = "a box does not start with it, and a running one does not take it"
	switch _, err := e.Known(); {
	case errors.Is(err, fs.ErrPermission):
		return e.forbidden(check, e.Contacts, err)
	case err != nil:
		return found(Fault, check, oneLine(err), why, "mend the file, or remove it and add the contacts anew: hushbell contact add")
	}
	p, err := e.Policy(&e.cfg)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return e.forbidden("configuration", pathOf(err, e.Config), err)
	case err != nil:
		return found(Fault, "configuration", oneLine(err), why, "mend what it names, or take it out of the configuration")
	}
	if missing := p.Missing(); len(missing) > 0 {
		return found(Fault, check, strings.Join(missing, "; "), "a press calls nobody, or not whom it is meant for", "add the contact with the pid of that box, or change the name in the configuration")
	}
	answered := 0
	for _, c := range p.Contacts {
		if c.Answer {
			answered++
		}
	}
	if len(p.Contacts) == 0 && p.Unknown == voipcore.Decline {
		return found(Warning, check, "there are none", "nobody can be called by name, and the calls of all are refused",
			`hushbell contact add NAME, or unknown = "ring" in the configuration`)
	}
	if e.cfgErr == nil && e.hasButton() && idle(&p) {
		return found(Warning, check, fmt.Sprintf("%d, but no button calls any", len(p.Contacts)), "a press does nothing unless somebody rings",
			"name one as call under [button] in the configuration")
	}
	return ok(check, "%d, of whom %d are answered by themselves", len(p.Contacts), answered)
}

// idle reports whether no button does anything by itself.
func idle(p *device.Policy) bool {
	for _, b := range p.Buttons {
		if b != (device.Button{}) {
			return false
		}
	}
	return true
}

// pathOf is which file an error is about.
func pathOf(err error, otherwise string) string {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Path
	}
	return otherwise
}
