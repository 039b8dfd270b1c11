package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hushbell/device/config"
	"hushbell/device/control"
)

// Places are where a box has its things. Empty ones are found by rules: what
// systemd gives to its service, else the folders of the system for root, and
// those of the user for others.
type places struct {
	state, config, socket string
}

// A pathValue is the value of a flag that names a file or folder. An empty one, as of a
// variable in a script that is not set, is none: it would be as if nothing was said.
type pathValue string

func (v *pathValue) String() string { return string(*v) }
func (v *pathValue) Type() string   { return "string" }

func (v *pathValue) Set(s string) error {
	if s == "" {
		return errors.New("the name is empty")
	}
	*v = pathValue(s)
	return nil
}

func (p *places) stateFlag(f *pflag.FlagSet) {
	f.Var((*pathValue)(&p.state), "state", "`folder` of keys, contacts and caches (default: "+stateRule+")")
}

func (p *places) configFlag(f *pflag.FlagSet) {
	f.Var((*pathValue)(&p.config), "config", "configuration `file` (default: ~/.config/hushbell/hushbell.toml of a user who has it, else /etc/hushbell/hushbell.toml)")
}

func (p *places) socketFlag(f *pflag.FlagSet) {
	f.Var((*pathValue)(&p.socket), "socket", "control socket of the box, a `file` (default: the user's own in $XDG_RUNTIME_DIR/hushbell or the state folder, else "+systemSocket+")")
}

const (
	stateRule    = systemState + " for root, else ~/.local/state/hushbell"
	systemState  = "/var/lib/hushbell"
	systemSocket = "/run/hushbell/control.sock"
)

// first returns the first of the values of an environment variable in which
// systemd names folders.
func first(env string) string {
	v, _, _ := strings.Cut(os.Getenv(env), ":")
	return v
}

// home returns a folder in the user's home, or in what the XDG variable says.
func home(env, below string) (string, error) {
	if dir := os.Getenv(env); filepath.IsAbs(dir) {
		return filepath.Join(dir, "hushbell"), nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, below, "hushbell"), nil
}

// statePath returns the path of the state folder, which need not be there.
func (p *places) statePath() (dir string, err error) {
	switch dir = first("STATE_DIRECTORY"); {
	case p.state != "":
		dir = p.state
	case dir != "":
	case os.Geteuid() == 0:
		dir = systemState
	default:
		if dir, err = home("XDG_STATE_HOME", ".local/state"); err != nil {
			return "", noState(err)
		}
	}
	return dir, nil
}

// readState is statePath for a command that only shows what is there. Who has no folder,
// on a machine whose box has one, is told that it is not theirs.
func (p *places) readState() (string, error) {
	dir, err := p.statePath()
	if err == nil && p.state == "" && askWithSudo(os.Geteuid(), dir, systemState, systemSocket) {
		return "", errors.New("you have no box of your own; that of this machine is asked with sudo")
	}
	return dir, err
}

// askWithSudo reports whether a user has no state folder, and the machine has a box, of
// which there are such files.
func askWithSudo(uid int, own string, machine ...string) bool {
	return uid != 0 && missing(own) && slices.ContainsFunc(machine, func(f string) bool { return !missing(f) })
}

// stateDir returns the state folder, and makes it if it is not there.
func (p *places) stateDir() (string, error) {
	dir, err := p.statePath()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", advisedError{noState(err)}
	}
	return dir, nil
}

// setUp is stateDir for a command that sets up a box. It tells when it made the
// folder of a user, who may have meant the box of the whole machine.
func (p *places) setUp(c *cobra.Command) (string, error) {
	dir, err := p.statePath()
	if err != nil {
		return "", err
	}
	fresh := p.state == "" && os.Geteuid() != 0 && missing(dir)
	if dir, err = p.stateDir(); err == nil && fresh {
		fmt.Fprintf(c.ErrOrStderr(), "made %s, for a box of your own; that of the whole machine is set up with sudo\n", dir)
	}
	return dir, err
}

func noState(err error) error { return fmt.Errorf("no state folder: %w: name one with --state", err) }

// systemConfig is the configuration of the whole machine.
const (
	systemConfigDir = "/etc/hushbell"
	configName      = "hushbell.toml"
	systemConfig    = systemConfigDir + "/" + configName
)

// configFile returns the path of the configuration: of a user's box without one of its
// own it is that of the machine.
func (p *places) configFile() (string, error) {
	dir := first("CONFIGURATION_DIRECTORY")
	switch {
	case p.config != "":
		return p.config, nil
	case dir != "":
	case os.Geteuid() == 0:
		dir = systemConfigDir
	default:
		var err error
		if dir, err = home("XDG_CONFIG_HOME", ".config"); err != nil {
			return "", fmt.Errorf("no configuration: %w: name one with --config", err)
		}
	}
	file := filepath.Join(dir, configName)
	if os.Geteuid() != 0 && missing(file) && !missing(systemConfig) {
		file = systemConfig // a user's box on a desktop, in place of that of the machine
	}
	return file, nil
}

// socketFile returns the path of the control socket.
func (p *places) socketFile() (string, error) {
	dir := first("RUNTIME_DIRECTORY")
	switch {
	case p.socket != "":
		return p.socket, nil
	case dir != "":
	case os.Geteuid() == 0:
		return systemSocket, nil
	case os.Getenv("XDG_RUNTIME_DIR") != "":
		dir = filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "hushbell")
	default:
		var err error
		if dir, err = p.statePath(); err != nil {
			return "", fmt.Errorf("no control socket: %w: name one with --socket", errors.Unwrap(err))
		}
	}
	return filepath.Join(dir, "control.sock"), nil
}

// client returns a client of the box that runs here: the user's own, or if
// there is none that of the system, for who is in its group.
func (p *places) client() (*control.Client, error) {
	socket, err := p.socketFile()
	if err != nil {
		return nil, err
	}
	if p.socket == "" && missing(socket) && !missing(systemSocket) {
		socket = systemSocket
	}
	return control.NewClient(socket), nil
}

func contactsFile(state string) string { return filepath.Join(state, "contacts.toml") }

// readContacts returns the contacts in the state folder, or while nothing was
// ever written there those that the service was given as a credential.
func readContacts(state string) (config.Contacts, error) {
	file := contactsFile(state)
	if given := credentials(state)["hushbell.contacts"]; given != "" && missing(file) {
		file = given
	}
	return config.ReadContacts(file)
}

// lock opens a file or folder with some mode and takes its lock, for as long as it is
// open.
func lock(path string, mode, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, mode, 0o600)
	if err != nil {
		return nil, err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	var locked error
	err = conn.Control(func(fd uintptr) {
		for {
			if locked = syscall.Flock(int(fd), syscall.LOCK_EX|flags); locked != syscall.EINTR {
				return
			}
		}
	})
	if err = errors.Join(err, locked); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// notForRoot refuses a state folder of another user to root: what root writes there that
// user could not read any more, and the service would not start again.
func notForRoot(dir string, uid int) error {
	var s syscall.Stat_t
	if uid != 0 || syscall.Stat(dir, &s) != nil || s.Uid == 0 {
		return nil
	}
	name := fmt.Sprint(s.Uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("the state folder %s belongs to %s, who could not read what root writes there: start its service, or run this as that user: sudo -u %s", dir, name, name)
}

// lockState makes sure that we are the only box or relay in a state folder, and tells
// of one that is on a disk that is read only.
func lockState(dir string, log *slog.Logger) (l *os.File, readOnly bool, err error) {
	if err := notForRoot(dir, os.Geteuid()); err != nil {
		return nil, false, err
	}
	l, err = lock(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, syscall.LOCK_NB)
	if readOnly = errors.Is(err, syscall.EROFS); readOnly {
		log.Warn("the state folder is read only, and stays as it is: guards and other relays, missed calls, what a relay has carried are forgotten at the end", "folder", dir)
		l, err = lock(dir, os.O_RDONLY, syscall.LOCK_NB)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, fmt.Errorf("another hushbell uses the state folder %s: stop it, or name another folder with --state", dir)
	}
	if err != nil {
		return nil, false, fmt.Errorf("state folder: %w", err)
	}
	return l, readOnly, nil
}

// editContacts changes the contacts of a box, one process at a time.
func editContacts(state string, edit func(config.Contacts) (config.Contacts, error)) error {
	l, err := lock(filepath.Join(state, "contacts.lock"), os.O_CREATE|os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("contacts: %w", err)
	}
	defer l.Close()
	file := contactsFile(state)
	cs, err := readContacts(state)
	if err != nil {
		return err
	}
	if cs, err = edit(cs); err != nil {
		return err
	}
	if err := config.WriteContacts(file, cs); err != nil {
		return err
	}
	return errors.Join(handOver(file), handOver(l.Name()))
}

// handOver gives a file to the owner of its folder: root sets up a box that
// runs as another user.
func handOver(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	fi, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}
