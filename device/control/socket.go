package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// MaxPath is how long the name of a socket may be: the room for it in
// sockaddr_un, less the final zero and the suffix of the name that it is made
// under.
const MaxPath = 108 - 1 - len(newSuffix)

const newSuffix = ".new"

// A socket is the listening end with its lock. Who has the lock may replace a
// socket that a killed process left behind.
type socket struct {
	*net.UnixListener
	path string
	lock *os.File
}

// ErrTaken means that another process serves this socket.
var ErrTaken = errors.New("another hushbell serves this socket: stop it, or choose another one with --socket")

func listen(path string) (_ *socket, err error) {
	if len(path) > MaxPath {
		return nil, fmt.Errorf("control: %s: the name of a socket may have %d bytes: choose a shorter one with --socket", path, MaxPath)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	switch err := flock(lock); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("control: %s: %w", path, ErrTaken)
	case err != nil:
		return nil, fmt.Errorf("control: lock %s: %w", path, err)
	}
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("control: %w", err)
	case fi.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("control: %s is there and is no socket: remove it, or choose another one with --socket", path)
	default:
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("control: %s: %w", path, ErrTaken)
		}
	}
	// Made under another name, it gets its permissions before anybody can
	// find it; and the rename puts it in the place of one that was left.
	os.Remove(path + newSuffix)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + newSuffix, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(path+newSuffix, 0o660); err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		l.Close()
		os.Remove(path + newSuffix)
		return nil, fmt.Errorf("control: %w", err)
	}
	return &socket{l, path, lock}, nil
}

func flock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	err = conn.Control(func(fd uintptr) {
		for {
			if locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB); locked != syscall.EINTR {
				return
			}
		}
	})
	return errors.Join(err, locked)
}

// Close takes the socket away and gives the lock back.
func (s *socket) Close() error {
	os.Remove(s.path)
	err := s.UnixListener.Close()
	s.lock.Close()
	return err
}
