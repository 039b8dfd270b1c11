package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/voipcore/pid"
)

// Places are where a box has its things. Empty ones are found by rules: what
// systemd gives to its service, else the folders of the system for root, and
// those of the user for others.
type places struct {
	state, config, socket string
}

func (p *places) stateFlag(f *pflag.FlagSet) {
	f.StringVar(&p.state, "state", "", "`folder` of keys, contacts and caches (default: "+stateRule+")")
}

func (p *places) configFlag(f *pflag.FlagSet) {
	f.StringVar(&p.config, "config", "", "configuration `file` (default: /etc/hushbell/hushbell.toml for root, else ~/.config/hushbell/hushbell.toml)")
}

func (p *places) socketFlag(f *pflag.FlagSet) {
	f.StringVar(&p.socket, "socket", "", "control socket of the box, a `file` (default: /run/hushbell/control.sock for root, else in $XDG_RUNTIME_DIR/hushbell or the state folder)")
}

const stateRule = "/var/lib/hushbell for root, else ~/.local/state/hushbell"

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

// stateDir returns the state folder, and makes it if it is not there.
func (p *places) stateDir() (dir string, err error) {
	switch dir = first("STATE_DIRECTORY"); {
	case p.state != "":
		dir = p.state
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/var/lib/hushbell"
	default:
		dir, err = home("XDG_STATE_HOME", ".local/state")
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("no state folder: %w: name one with --state", err)
	}
	return dir, nil
}

// configFile returns the path of the configuration.
func (p *places) configFile() (string, error) {
	dir := first("CONFIGURATION_DIRECTORY")
	switch {
	case p.config != "":
		return p.config, nil
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/etc/hushbell"
	default:
		var err error
		if dir, err = home("XDG_CONFIG_HOME", ".config"); err != nil {
			return "", fmt.Errorf("no configuration: %w: name one with --config", err)
		}
	}
	return filepath.Join(dir, "hushbell.toml"), nil
}

// socketFile returns the path of the control socket.
func (p *places) socketFile() (string, error) {
	dir := first("RUNTIME_DIRECTORY")
	switch {
	case p.socket != "":
		return p.socket, nil
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/run/hushbell"
	case os.Getenv("XDG_RUNTIME_DIR") != "":
		dir = filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "hushbell")
	default:
		var err error
		if dir, err = p.stateDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "control.sock"), nil
}

// client returns a client of the box that runs here.
func (p *places) client() (*control.Client, error) {
	socket, err := p.socketFile()
	if err != nil {
		return nil, err
	}
	return control.NewClient(socket), nil
}

func contactsFile(state string) string { return filepath.Join(state, "contacts.toml") }

func keyFile(state, name string) string { return filepath.Join(state, "pids", name+".key") }

// lock takes the lock of that name in a folder, for as long as the file is open.
func lock(dir, name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
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

// lockState makes sure that we are the only box or relay in a state folder.
func lockState(dir string) (*os.File, error) {
	f, err := lock(dir, "lock", syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("another hushbell uses the state folder %s: stop it, or name another folder with --state", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	return f, nil
}

// editContacts changes the contacts of a box, one process at a time.
func editContacts(state string, edit func(config.Contacts) (config.Contacts, error)) error {
	l, err := lock(state, "contacts.lock", 0)
	if err != nil {
		return fmt.Errorf("contacts: %w", err)
	}
	defer l.Close()
	file := contactsFile(state)
	cs, err := config.ReadContacts(file)
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

// keyNames returns the names of the pids in a state folder.
func keyNames(state string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(state, "pids", "*.key"))
	if err != nil {
		return nil, fmt.Errorf("pids: %w", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".key"))
	}
	return names, nil
}

// firstKeys is loadKeys, and makes the pid of the name if the box has none at
// all: a box that was just installed can be called.
func firstKeys(state, name string, log *slog.Logger) ([]*pid.Key, error) {
	names, err := keyNames(state)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if _, err := newKey(state, name); err != nil {
			return nil, err
		}
		log.Warn("this box had no pid and made one: hushbell pid show", "name", name)
	}
	return loadKeys(state, name)
}

// loadKeys returns all keys of a box, that of the name first: calls are placed
// with it, and all of them can be called.
func loadKeys(state, name string) ([]*pid.Key, error) {
	names, err := keyNames(state)
	if err != nil {
		return nil, err
	}
	keys := make([]*pid.Key, 1, 1+len(names))
	for _, n := range names {
		k, err := pid.LoadKey(keyFile(state, n))
		if err != nil {
			return nil, err
		}
		if n == name {
			keys[0] = k
		} else {
			keys = append(keys, k)
		}
	}
	if keys[0] == nil {
		return nil, fmt.Errorf("there is no pid %q in %s: make one with hushbell pid new %s", name, state, name)
	}
	return keys, nil
}
