package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hushbell/voipcore/pid"
)

// credentials returns the files that systemd gave to the service, by their
// names. Root, who asks about the box of the system, sees what that was given.
func credentials(state string) map[string]string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" && state == systemState && os.Geteuid() == 0 {
		dir = "/run/credentials/hushbell.service"
	}
	if dir == "" {
		return nil
	}
	files := map[string]string{}
	entries, _ := os.ReadDir(dir) // a service that was given nothing may not look there (systemd 252)
	for _, e := range entries {
		files[e.Name()] = filepath.Join(dir, e.Name())
	}
	return files
}

func missing(file string) bool {
	_, err := os.Lstat(file)
	return errors.Is(err, fs.ErrNotExist)
}

func keyFile(state, name string) string { return filepath.Join(state, "pids", name+".key") }

// keyFiles returns the files of the pids of a box by their names: those in the
// state folder, and of names that it has not those that the service was given
// as credentials: hushbell.pid for the pid "box", hushbell.pid.NAME for others.
func keyFiles(state string) (map[string]string, error) {
	files := map[string]string{}
	for given, f := range credentials(state) {
		if given == "hushbell.pid" {
			files[defaultPID] = f
		} else if name, ok := strings.CutPrefix(given, "hushbell.pid."); ok {
			files[name] = f
		}
	}
	own, err := os.ReadDir(filepath.Dir(keyFile(state, "")))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, advisedError{fmt.Errorf("pids: %w: they are another user's, so use sudo, or name a folder of yours with --state", err)}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("pids: %w", err)
	}
	for _, f := range own {
		if name, ok := strings.CutSuffix(f.Name(), ".key"); ok {
			files[name] = keyFile(state, name)
		}
	}
	return files, nil
}

func noPID(state, name string) error {
	return fmt.Errorf("there is no pid %q in %s: make one with hushbell pid new %s", name, state, name)
}

// loadKeys returns all keys of a box, that of the name first: calls are placed
// with it, and all of them can be called. A box that has none at all makes that
// of the name, so that it can be called when it was just installed.
func loadKeys(state, name string, log *slog.Logger) ([]*pid.Key, error) {
	files, err := keyFiles(state)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		k, err := newKey(state, name)
		if errors.Is(err, syscall.EROFS) {
			return nil, fmt.Errorf("there is no pid, and none can be made in %s, which is read only: give the box one as a credential, hushbell.pid", state)
		}
		if err != nil {
			return nil, err
		}
		log.Warn("the box had no pid, so it has made one: hushbell pid show", "name", name, "state", state)
		return []*pid.Key{k}, nil
	}
	if files[name] == "" {
		return nil, configError{noPID(state, name)}
	}
	keys := make([]*pid.Key, 1, len(files))
	for _, n := range slices.Sorted(maps.Keys(files)) {
		k, err := pid.LoadKey(files[n])
		if err != nil {
			return nil, err
		}
		if n == name {
			keys[0] = k
		} else {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// relayKey returns the key of a relay: that in the state folder, or that which
// the service was given as the credential hushbell.relay, or a new one.
func relayKey(state string) (*pid.Key, error) {
	file := filepath.Join(state, "relay.key")
	if given := credentials(state)["hushbell.relay"]; given != "" && missing(file) {
		file = given
	}
	k, err := pid.LoadKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		k = pid.NewKey()
		err = k.Save(file)
	}
	if errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("there is no relay key, and none can be made in %s, which is read only: give the relay one as a credential, hushbell.relay", state)
	}
	if err != nil {
		return nil, fmt.Errorf("relay key: %w", err)
	}
	return k, nil
}
