// Package soundserver starts real sound servers for tests: PulseAudio, and
// PipeWire with its PulseAudio face, each with a null sink called "hush" whose
// monitor records what is played. It needs the servers' packages (Debian:
// pulseaudio; pipewire pipewire-pulse wireplumber dbus-daemon pulseaudio-utils).
package soundserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Sink is the name of the null sink, Monitor of the source that hears it.
const (
	Sink    = "hush"
	Monitor = "hush.monitor"
)

// Kinds are the servers there are.
var Kinds = []string{"PulseAudio", "PipeWire"}

// A Server is one running server. It is stopped when the test ends.
type Server struct {
	t    testing.TB
	kind string
	dir  string
	cmds []*exec.Cmd // started, in order
}

// Start starts a server of a kind in a runtime directory of its own, which the
// environment points to until the test ends. It skips the test if the server is
// not installed, and fails it if CI is true.
func Start(t testing.TB, kind string) *Server {
	t.Helper()
	for _, name := range needs(kind) {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing, which CI must have", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
	// Not t.TempDir: the path of a socket is at most 107 bytes long.
	dir, err := os.MkdirTemp("", "hb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{t: t, kind: kind, dir: dir}
	for name, value := range map[string]string{
		"XDG_RUNTIME_DIR": dir, "HOME": dir, "XDG_CONFIG_HOME": dir, "XDG_STATE_HOME": dir,
		"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + filepath.Join(dir, "bus"),
	} {
		t.Setenv(name, value)
	}
	for _, name := range []string{"PULSE_SERVER", "PULSE_RUNTIME_PATH", "PULSE_COOKIE"} {
		t.Setenv(name, "") // puts it back at the end
		os.Unsetenv(name)
	}
	s.Up()
	t.Cleanup(s.Kill)
	return s
}

func needs(kind string) []string {
	if kind == "PipeWire" {
		return []string{"dbus-daemon", "pipewire", "wireplumber", "pipewire-pulse", "pactl"}
	}
	return []string{"pulseaudio"}
}

// Up starts the server, again after Kill, and waits until it answers.
func (s *Server) Up() {
	s.t.Helper()
	native := filepath.Join(s.dir, "pulse", "native")
	if s.kind == "PipeWire" {
		s.run("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address="+os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
		s.await("bus", filepath.Join(s.dir, "bus"))
		s.run("pipewire")
		s.await("pipewire", filepath.Join(s.dir, "pipewire-0"))
		s.run("wireplumber")
		s.run("pipewire-pulse")
		s.await("pipewire-pulse", native)
		s.try("pactl", "load-module", "module-null-sink", "sink_name="+Sink, "rate=48000", "channels=1", "channel_map=mono")
		s.try("pactl", "set-default-sink", Sink)
		s.try("pactl", "set-default-source", Monitor)
		return
	}
	if err := os.MkdirAll(filepath.Dir(native), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.run("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes",
		"-L", "module-native-protocol-unix auth-anonymous=1 socket="+native,
		"-L", "module-null-sink sink_name="+Sink+" rate=48000 channels=1")
	s.await("pulseaudio", native)
}

func (s *Server) run(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	// A test that dies takes its servers along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", name, err)
	}
	s.cmds = append(s.cmds, cmd)
}

// await waits for a socket to be there.
func (s *Server) await(name, path string) {
	s.t.Helper()
	for range 600 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("%s is not ready after 30 s", name)
}

// try runs a command until it succeeds: the server needs time to know its parts.
func (s *Server) try(name string, args ...string) {
	s.t.Helper()
	var out []byte
	var err error
	for range 100 {
		if out, err = exec.Command(name, args...).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("%s %v: %v: %s", name, args, err, out)
}

// Kill ends the server as a crash would, and waits for its end.
func (s *Server) Kill() {
	for i := len(s.cmds) - 1; i >= 0; i-- {
		s.cmds[i].Process.Kill()
		s.cmds[i].Wait()
	}
	s.cmds = nil
	for _, name := range []string{"bus", "pipewire-0", "pipewire-0.lock", "pulse/native"} {
		os.Remove(filepath.Join(s.dir, name))
	}
}
