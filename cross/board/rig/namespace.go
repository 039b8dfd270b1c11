package rig

import (
	"os"
	"os/exec"
	"syscall"
)

// asRoot changes c so that it runs as root of a user namespace of its own, in
// the new namespaces of more too (syscall.CLONE_NEW...). Root has all of its ids
// there. Others get a range of theirs by unshare, which needs the Debian
// package uidmap and an entry in /etc/subuid, as useradd makes it.
func asRoot(c *exec.Cmd, more uintptr) {
	if os.Getuid() == 0 {
		all := []syscall.SysProcIDMap{{Size: 65536}}
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER | more
		c.SysProcAttr.UidMappings, c.SysProcAttr.GidMappings = all, all
		c.SysProcAttr.GidMappingsEnableSetgroups = true
		return
	}
	args := []string{"unshare", "--user", "--map-root-user", "--map-auto"}
	for _, n := range []struct {
		flag uintptr
		arg  string
	}{{syscall.CLONE_NEWNS, "--mount"}, {syscall.CLONE_NEWNET, "--net"}} {
		if more&n.flag != 0 {
			args = append(args, n.arg)
		}
	}
	c.Args = append(append(args, c.Path), c.Args[1:]...)
	c.Path = "/usr/bin/unshare"
}

// OwnNetwork changes c so that it runs as root of a user namespace of its own,
// with a network of its own that is connected to nothing.
func OwnNetwork(c *exec.Cmd) { asRoot(c, syscall.CLONE_NEWNET) }
