package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// An account is a user with the groups that count for a process of it.
type account struct {
	name    string
	uid     uint32
	groups  []uint32 // gid among them
	process int      // of the running box; 0 if it is not known
}

// What one may want to do with a file: the bits of a mode.
const (
	canRead  = 4
	canList  = 5 // and look into: of a folder
	canWrite = 3 // and look into: of a folder
	canUse   = 6 // a device
)

// may reports whether the permissions of a file let a do that. Of access lists
// it knows nothing.
func (a *account) may(fi fs.FileInfo, what fs.FileMode) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || a.uid == 0 {
		return true
	}
	bits := fi.Mode().Perm()
	switch {
	case st.Uid == a.uid:
		bits >>= 6
	case slices.Contains(a.groups, st.Gid):
		bits >>= 3
	}
	return bits&what == what
}

// whose finds out who runs the box: the one that runs, else whom the service is
// for, else we ourselves.
func (e *exam) whose() (a account, self bool) {
	me := uint32(os.Geteuid())
	if cred, err := peer(e.Socket); err == nil {
		a = byUID(cred.Uid)
		a.process = int(cred.Pid)
		if groups := groupsOf(a.process); groups != nil {
			a.groups = append(groups, cred.Gid)
		}
		return a, a.uid == me
	}
	// It may run although we may not ask it.
	if fi, err := os.Stat(e.Socket); err == nil && errors.Is(e.statusErr, fs.ErrPermission) {
		a = byUID(uidOf(fi))
		return a, a.uid == me
	}
	if u, err := user.Lookup(e.unit.User); err == nil && e.System && e.unit.there() {
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		a = byUID(uint32(uid))
		for _, name := range e.unit.Groups {
			if g, err := user.LookupGroup(name); err == nil {
				a.addGroup(g.Gid)
			}
		}
		return a, a.uid == me
	}
	a = byUID(me)
	a.groups = a.groups[:0]
	gids, _ := os.Getgroups()
	for _, g := range append(gids, os.Getegid()) {
		a.groups = append(a.groups, uint32(g))
	}
	return a, true
}

func (a *account) addGroup(gid string) {
	if n, err := strconv.ParseUint(gid, 10, 32); err == nil {
		a.groups = append(a.groups, uint32(n))
	}
}

// byUID is a user with the groups that a login would have.
func byUID(uid uint32) account {
	a := account{uid: uid, name: fmt.Sprintf("the user %d", uid)}
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return a
	}
	a.name = u.Username
	a.addGroup(u.Gid)
	ids, _ := u.GroupIds()
	for _, id := range ids {
		a.addGroup(id)
	}
	return a
}

// groupName names a group for people.
func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// peer tells who listens at a unix socket.
func peer(socket string) (*unix.Ucred, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var got error
	err = raw.Control(func(fd uintptr) { cred, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = got
	}
	return cred, err
}

// groupsOf reads the groups that a process has, nil if the kernel does not tell.
func groupsOf(process int) []uint32 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		if list, ok := bytes.CutPrefix(line, []byte("Groups:")); ok {
			a := account{groups: []uint32{}}
			for _, gid := range strings.Fields(string(list)) {
				a.addGroup(gid)
			}
			return a.groups
		}
	}
	return nil
}

// uidOf and gidOf return whose a file is.
func uidOf(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

func gidOf(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Gid
	}
	return 0
}
