// Package systemd tells the service manager how the program is: that it is
// ready, in words what it does, and that it still turns. Beside it are the units
// and what else systemd reads of a package.
//
// It knows states, not what they are states of. Started by hand, with no
// service manager, it does nothing.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A Service is this process as the service manager that started it sees it. Its
// methods are safe for concurrent use.
type Service struct {
	log      *slog.Logger
	watchdog time.Duration // it wants to be fed once in so long; 0: it does not
	starts   string        // the file that counts starts, set by Backoff; "": nobody does

	mu     sync.Mutex // guards what follows
	told   string     // the status of last
	failed bool       // the manager could not be told something, and that was logged

	lasting *time.Timer // until starts are counted from anew
}

// New finds the manager by the environment of this process.
func New(log *slog.Logger) *Service {
	s := &Service{log: log}
	var err error
	if s.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn("the service manager's watchdog is not fed", "err", err)
	}
	return s
}

// Ready tells that the program does what it is for, and its status.
func (s *Service) Ready(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = status
	if s.starts != "" {
		s.lasting = time.AfterFunc(steady, s.forget)
	}
	s.notifyLocked(daemon.SdNotifyReady + "\nSTATUS=" + oneLine(status))
}

// Status is what systemctl status shows. Repeating it costs nothing.
func (s *Service) Status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != s.told {
		s.told = text
		s.notifyLocked("STATUS=" + oneLine(text))
	}
}

// Stopping tells that the program has begun to end, as it was asked to.
func (s *Service) Stopping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lasting != nil && s.lasting.Stop() {
		s.forget()
	}
	s.notifyLocked(daemon.SdNotifyStopping)
}

// notifyLocked sends a state. That it cannot is logged once: a manager that
// hears nothing ends us anyway, and then the log says why.
func (s *Service) notifyLocked(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil && !s.failed {
		s.failed = true
		s.log.Warn("cannot tell the service manager how we are", "err", err)
	}
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// Watch feeds the manager's watchdog until ctx is done, each time after alive
// has returned nil: alive must find out that what the program is for still
// turns, and is given half the time of the watchdog for it. Without a watchdog
// Watch returns at once.
func (s *Service) Watch(ctx context.Context, alive func(context.Context) error) {
	if s.watchdog == 0 {
		return
	}
	tick := time.NewTicker(s.watchdog / 4)
	defer tick.Stop()
	for {
		if err := s.ask(ctx, alive); err == nil {
			s.feed()
		} else if ctx.Err() == nil {
			s.log.Error("the program hangs: if that does not pass the service manager starts it again", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask is alive with a limit.
func (s *Service) ask(ctx context.Context, alive func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.watchdog/2)
	defer cancel()
	if err := alive(ctx); err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	return nil
}

func (s *Service) feed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifyLocked(daemon.SdNotifyWatchdog)
}
