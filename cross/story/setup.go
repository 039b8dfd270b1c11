package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hushbell/cross/board/rig"
)

// The lines of a Pi 4's profile.
const buttonLine, ledLine = 17, 22

// both does the same with A and B at once.
func (s *story) both(do func(b *rig.Board) error) error { return rig.All(do, s.a, s.b) }

// boot makes both boards and switches them on.
func (s *story) boot(ctx context.Context) (string, error) {
	err := s.both(func(b *rig.Board) error { return s.powerOn(ctx, b) })
	if err != nil {
		return "", err
	}
	up, err := s.a.Run(ctx, "systemd-analyze time | sed 's/^Startup finished in //;q'")
	return "A has started in " + up, err
}

// powerOn puts the package where the board sees it, and switches it on for
// longer than ctx.
func (s *story) powerOn(ctx context.Context, b *rig.Board) error {
	deb, err := os.ReadFile(s.o.debOf(b.Arch))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.Share(), "hushbell.deb"), deb, 0o644)
	}
	if err == nil {
		err = b.PowerOn(s.ctx)
	}
	if err == nil {
		err = b.Pull(ctx, buttonLine, false)
	}
	return err
}

// install has apt install the package on both.
func (s *story) install(ctx context.Context) (string, error) {
	began := time.Now()
	if err := s.both(func(b *rig.Board) error { return apt(ctx, b) }); err != nil {
		return "", err
	}
	took := time.Since(began)
	status, err := s.a.Run(ctx, "systemctl show -P StatusText hushbell && hushbell version")
	return fmt.Sprintf("apt took %.1f s; the service says: %s", took.Seconds(), strings.ReplaceAll(status, "\n", ", ")), err
}

// apt installs the package as its owner does, and finds the service running: it
// knows no relays yet, but it is there.
func apt(ctx context.Context, b *rig.Board) error {
	out, err := b.Run(ctx, "cp /board/hushbell.deb /tmp/ && DEBIAN_FRONTEND=noninteractive apt-get install -y /tmp/hushbell.deb")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "Setting up hushbell") {
		return fmt.Errorf("board %s: apt did not set it up: %s", b.Name, out)
	}
	return active(ctx, b)
}

// active wants systemd to have the service running, as its own user, and to be
// told by it how it is.
func active(ctx context.Context, b *rig.Board) error {
	out, err := b.Run(ctx, "systemctl is-active hushbell && ps -o user= -p $(systemctl show -P MainPID hushbell) && systemctl show -P StatusText hushbell")
	if err == nil && (!strings.HasPrefix(out, "active\nhushbell\n") || strings.Count(out, "\n") != 2) {
		err = fmt.Errorf("board %s: the service is not running as hushbell, or says nothing: %q", b.Name, out)
	}
	return err
}

// start sets both boxes up as their owners do, and waits until they can be
// called.
func (s *story) start(ctx context.Context) (string, error) {
	for _, b := range []*rig.Board{s.a, s.b} {
		var err error
		if s.pids[b], err = ownPID(ctx, b); err != nil {
			return "", err
		}
	}
	began := time.Now()
	err := s.both(func(b *rig.Board) error {
		if b == s.a {
			return s.setUp(ctx, b, "far "+s.pids[s.b])
		}
		return s.setUp(ctx, b, "--answer far "+s.pids[s.a])
	})
	return fmt.Sprintf("both can be called after %.1f s", time.Since(began).Seconds()), err
}

// setUp writes a box's configuration, adds a contact, and starts it again. The
// encoder does its least work, to be gentle to slow machines: its most takes 2 %
// of a processor more (see the package comment).
func (s *story) setUp(ctx context.Context, b *rig.Board, contact string) error {
	text := "bootstrap = [\"" + strings.Join(s.relays.bootstrap(), `", "`) + "\"]\n" + `
complexity = 0
unknown = "ring"
[button]
call = "far"
[board]
name = "pi-4"
speaker = "Loopback"
microphone = "Loopback"
`
	if err := b.Write(ctx, "/etc/hushbell/hushbell.toml", text); err != nil {
		return err
	}
	if _, err := b.Run(ctx, "hushbell contact add "+contact+" && systemctl restart hushbell"); err != nil {
		return err
	}
	if _, err := until(ctx, b, onlineLimit, "can be called", online); err != nil {
		return err
	}
	return active(ctx, b)
}

// ownPID asks a box for its pid, which it has made at its first start.
func ownPID(ctx context.Context, b *rig.Board) (string, error) {
	out, err := b.Run(ctx, "hushbell pid show")
	pid, _, _ := strings.Cut(out, "\n")
	return pid, err
}

// armv6 puts a board with the 32-bit program in the place of A, and calls B
// from there.
func (s *story) armv6(ctx context.Context) (string, error) {
	s.a.Cut()
	c, err := rig.New(ctx, s.tree, rig.ARMHF, "C", filepath.Join(s.dir, "C"))
	if err != nil {
		return "", err
	}
	s.a = c
	if err := s.powerOn(ctx, c); err != nil {
		return "", err
	}
	if err := apt(ctx, c); err != nil {
		return "", err
	}
	if s.pids[c], err = ownPID(ctx, c); err != nil {
		return "", err
	}
	if _, err := s.b.Run(ctx, "hushbell contact add --answer old "+s.pids[c]); err != nil {
		return "", err
	}
	if err := s.setUp(ctx, c, "far "+s.pids[s.b]); err != nil {
		return "", err
	}
	what, err := c.Run(ctx, "uname -m; dpkg --print-architecture")
	if err != nil {
		return "", err
	}
	call, err := s.call(ctx)
	return "C is " + strings.ReplaceAll(what, "\n", ", ") + "; " + call, err
}
