// Package deb tries the package: what it is made of, and what it does on a
// Debian system that runs.
package deb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// need skips a test for which a tool is missing; in CI it fails.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool+" is not installed")
		}
	}
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// superuser is what a command for root begins with.
func superuser(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() == 0 {
		return []string{"env"}
	}
	if exec.Command("sudo", "-n", "true").Run() != nil {
		missing(t, "systems can be tried by root only")
	}
	return []string{"sudo", "-n"}
}

// stepLimit is far more than any command here takes; the slowest, the download of
// Debian, was seen to take 2 minutes.
const stepLimit = 10 * time.Minute

// output runs a command for a test, which fails if the command does.
func output(t *testing.T, command ...string) string {
	t.Helper()
	out, err := try(t, command...)
	if err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return out
}

func try(t *testing.T, command ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// A system is a folder with Debian in it, and the machine that it is while it
// is up.
type system struct {
	t    *testing.T
	root string
	sudo []string

	pid  string    // of its process 1; "" while it is off
	boot *exec.Cmd // ends with it
}

// newSystem unpacks Debian.
func newSystem(t *testing.T) *system {
	need(t, "mmdebstrap", "unshare", "nsenter", "ip")
	s := &system{t: t, sudo: superuser(t)}
	tar, err := filepath.Abs("../cache/debian-amd64.tar")
	if err != nil {
		t.Fatal(err)
	}
	output(t, append(s.sudo, "./root.sh", tar)...)
	// Not t.TempDir, which cannot take away what belongs to root.
	if s.root, err = os.MkdirTemp("", "hushbell-debian-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.unplug()
		output(t, append(s.sudo, "rm", "-rf", s.root)...)
	})
	output(t, append(s.sudo, "tar", "-C", s.root, "-xf", tar)...)
	output(t, append(s.sudo, "chmod", "755", s.root)...)
	return s
}

// up boots the system and waits until systemd has started all that it starts.
func (s *system) up(how ...string) {
	s.t.Helper()
	command := append(s.sudo, append([]string{"unshare", "--mount", "sh", "./boot.sh", s.root}, how...)...)
	s.boot = exec.Command(command[0], command[1:]...)
	var complaint bytes.Buffer
	s.boot.Stderr = &complaint
	told, err := s.boot.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.boot.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, _ := bufio.NewReader(told).ReadString('\n')
	pid, ok := strings.CutPrefix(strings.TrimSpace(line), "up ")
	if !ok {
		s.boot.Wait()
		s.t.Fatalf("the system does not boot: %q, %s", line, complaint.String())
	}
	s.pid = pid
	s.until("the system is up", "systemctl is-system-running", func(out string) bool {
		return out == "running" || out == "degraded"
	})
	if failed := s.run("systemctl --failed --no-legend --plain"); failed != "" {
		s.t.Errorf("units failed at boot: %s", failed)
	}
}

// unplug pulls the plug.
func (s *system) unplug() {
	s.t.Helper()
	if s.pid == "" {
		return
	}
	output(s.t, append(s.sudo, "kill", "-KILL", s.pid)...)
	s.boot.Wait()
	s.pid = ""
}

// command is what runs a line of shell in the system.
func (s *system) command(line string) []string {
	return append(s.sudo, "nsenter", "--target", s.pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
		"sh", "-ec", line)
}

// network switches the network of the system on and off: there is only loopback.
func (s *system) network(how string) {
	s.t.Helper()
	output(s.t, append(s.sudo, "nsenter", "--target", s.pid, "--net", "ip", "link", "set", "lo", how)...)
}

// run runs a line of shell in the system, which must succeed.
func (s *system) run(line string) string {
	s.t.Helper()
	out, err := try(s.t, s.command(line)...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s\n%s", line, err, out, s.journal())
	}
	return out
}

// fails runs a line of shell that must fail and say why.
func (s *system) fails(line, say string) {
	s.t.Helper()
	if out, err := try(s.t, s.command(line)...); err == nil || !strings.Contains(out, say) {
		s.t.Errorf("%s: %v, want it to fail and say %q:\n%s", line, err, say, out)
	}
}

// want runs a line of shell and checks what it prints.
func (s *system) want(line, want string) {
	s.t.Helper()
	if got := s.run(line); got != want {
		s.t.Errorf("%s prints %q, want %q", line, got, want)
	}
}

// until runs a line of shell until it prints what is wanted.
func (s *system) until(what, line string, ok func(string) bool) {
	s.t.Helper()
	var out string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if out, _ = try(s.t, s.command(line)...); ok(out) {
			return
		}
	}
	s.t.Fatalf("not in a minute: %s; %s prints %q\n%s", what, line, out[:min(len(out), 4000)], s.journal())
}

func (s *system) journal() string {
	out, _ := try(s.t, s.command("journalctl --no-pager -n 60 -o short-monotonic")...)
	return out
}

// write makes a file in the system, which may be off.
func (s *system) write(path, text string, mode os.FileMode) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	output(s.t, append(s.sudo, "install", "-D", "-o", "0", "-g", "0", "-m", fmt.Sprintf("%o", mode), file, filepath.Join(s.root, path))...)
}

// property returns what systemd knows of a unit.
func (s *system) property(unit, name string) string {
	s.t.Helper()
	return s.run("systemctl show -P " + name + " " + unit)
}

// has waits for a value of a unit's property.
func (s *system) has(unit, name, want string) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s of %s is %q", name, unit, want), "systemctl show -P "+name+" "+unit,
		func(out string) bool { return strings.HasPrefix(out, want) })
}

// stopLimit is what a unit may take to stop, in a call or not. systemd kills it after 5 s.
const stopLimit = 2 * time.Second

// stops has systemd stop a unit, which must end by itself and in time: a unit that is
// killed for being late has another result.
func (s *system) stops(systemctl, unit string) {
	s.t.Helper()
	s.run(systemctl + " stop " + unit)
	s.want(systemctl+" show -P Result "+unit, "success")
	var from, to int // in microseconds
	out := s.run(systemctl + " show -P ActiveExitTimestampMonotonic " + unit + "; " + systemctl + " show -P InactiveEnterTimestampMonotonic " + unit)
	if _, err := fmt.Sscan(out, &from, &to); err != nil || from == 0 || to < from {
		s.t.Errorf("%s was not stopped: %q, %v", unit, out, err)
	}
	took := time.Duration(to-from) * time.Microsecond
	if took > stopLimit {
		s.t.Errorf("%s took %v to stop, want %v at most", unit, took, stopLimit)
	}
	s.t.Logf("%s stopped in %v", unit, took.Round(time.Millisecond))
}
