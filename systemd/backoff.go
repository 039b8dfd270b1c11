package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What becomes of a program that ends again and again. systemd itself waits
// longer each time only from version 254 on.
const (
	freeStarts = 3               // that do not wait
	firstWait  = 2 * time.Second // doubled with each one after that
	longWait   = time.Minute
	steady     = time.Minute // a start that has lasted so long counts as good
)

// wait is how long the nth start in a row waits.
func wait(n int) time.Duration {
	if n <= freeStarts {
		return 0
	}
	w := firstWait
	for n -= freeStarts + 1; n > 0 && w < longWait; n-- {
		w *= 2
	}
	return min(w, longWait)
}

// Backoff waits if the starts before this one did not last, the longer the more
// there were. They are counted in the service's runtime folder, which the unit
// keeps over restarts (RuntimeDirectoryPreserve=restart); without one, or not
// started as a service, Backoff does nothing. It ends when ctx is done. It comes
// before all other methods.
func (s *Service) Backoff(ctx context.Context) {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if dir == "" || os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	file := filepath.Join(dir, "starts")
	text, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(string(text)) // what is missing or damaged counts as none
	n++
	if err := os.WriteFile(file, []byte(strconv.Itoa(n)), 0o600); err != nil {
		s.log.Warn("starts cannot be counted", "err", err)
		return
	}
	s.starts = file
	w := wait(n)
	if w == 0 {
		return
	}
	s.log.Warn("starts did not last: this one waits", "starts", n-1, "wait", w)
	s.Status(fmt.Sprintf("Ended %d times in a row: waits %v before it tries again.", n-1, w))
	t := time.NewTimer(w)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// forget counts starts from anew.
func (s *Service) forget() {
	if err := os.Remove(s.starts); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("starts cannot be counted", "err", err)
	}
}
