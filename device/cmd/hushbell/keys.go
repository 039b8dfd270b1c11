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

	"hushbell/voipcore/pid"
)

// credentialsDir is where systemd puts what the service was given, "" if this
// is none. Root, who asks about the box of the system, sees what that was given.
func credentialsDir(state string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" && state == systemState && os.Geteuid() == 0 {
		dir = "/run/credentials/hushbell.service"
	}
	return dir
}

// credential returns the file of a credential, "" if there is none.
func credential(state, name string) string {
	dir := credentialsDir(state)
	if dir == "" || missing(filepath.Join(dir, name)) {
		return ""
	}
	return filepath.Join(dir, name)
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
	if dir := credentialsDir(state); dir != "" {
		given, err := filepath.Glob(filepath.Join(dir, "hushbell.pid*"))
		if err != nil {
			return nil, fmt.Errorf("pids: %w", err)
		}
		for _, f := range given {
			rest := strings.TrimPrefix(filepath.Base(f), "hushbell.pid")
			if name, ok := strings.CutPrefix(rest, "."); ok {
				files[name] = f
			} else if rest == "" {
				files[defaultPID] = f
			}
		}
	}
	own, err := filepath.Glob(filepath.Join(state, "pids", "*.key"))
	if err != nil {
		return nil, fmt.Errorf("pids: %w", err)
	}
	for _, f := range own {
		files[strings.TrimSuffix(filepath.Base(f), ".key")] = f
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
		if err != nil {
			return nil, err
		}
		log.Warn("the box had no pid, so it has made one: hushbell pid show", "name", name, "state", state)
		return []*pid.Key{k}, nil
	}
	if files[name] == "" {
		return nil, noPID(state, name)
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
	if given := credential(state, "hushbell.relay"); given != "" && missing(file) {
		file = given
	}
	k, err := pid.LoadKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		k = pid.NewKey()
		err = k.Save(file)
	}
	if err != nil {
		return nil, fmt.Errorf("relay key: %w", err)
	}
	return k, nil
}
