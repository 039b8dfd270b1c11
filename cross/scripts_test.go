package cross

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stubs is a folder with programs that stand in for those of the machine.
func stubs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		write(t, filepath.Join(dir, name), "#!/bin/sh\n"+script+"\n")
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// script runs one with stubs first in its path.
func script(stubs, file string, args ...string) (string, error) {
	c := exec.Command(file, args...)
	c.Env = append(os.Environ(), "PATH="+stubs+":"+os.Getenv("PATH"), "STUBS="+stubs)
	out, err := c.CombinedOutput()
	return string(out), err
}

// ciTree is a tree with .ci/run, and with nothing to make: what it says it would do
// must not be done to this one.
func ciTree(t *testing.T) (tree, run string) {
	t.Helper()
	tree = t.TempDir()
	run = filepath.Join(tree, ".ci", "run")
	write(t, run, read(t, "../.ci/run"))
	write(t, filepath.Join(tree, ".ci", "packages"), "gcc\n")
	write(t, filepath.Join(tree, "cross", "board", "packages"), "make\n")
	return tree, run
}

// When the tests fail, what is built beside them ends with them, and what it said
// is kept.
func TestCIEnds(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	tree, run := ciTree(t)
	stubs := stubs(t, map[string]string{
		"id":      "echo 0",
		"apt-get": "exit 0",
		"sleep":   "exit 0",
		"nice":    `shift 2; exec "$@"`,
		// The tests fail while the boards are being built.
		"make": `case $1 in
boards) echo "building"; echo $$ >"$STUBS/part"; mv "$STUBS/part" "$STUBS/pid"; exec tail -f /dev/null ;;
test) until [ -e "$STUBS/pid" ]; do :; done; exit 3 ;;
esac`,
	})
	out, err := script(stubs, run)
	pid, _ := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(stubs, "pid"))))
	defer syscall.Kill(pid, syscall.SIGKILL)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() == 0 {
		t.Errorf("it ends with %v, though tests failed: %s", err, out)
	}
	if log := read(t, filepath.Join(tree, "cross", "cache", "log", "boards.log")); log != "building\n" {
		t.Errorf("the log has %q", log)
	}
	for range 500 { // the init process may take a while to bury it
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("what builds the boards has survived")
}

// Who is not root is told so before anything is installed.
func TestCINeedsRoot(t *testing.T) {
	_, run := ciTree(t)
	stubs := stubs(t, map[string]string{"id": "echo 1000", "apt-get": "echo installing", "sudo": "echo installing", "make": "echo installing"})
	if out, err := script(stubs, run); err == nil || !strings.Contains(out, "must run as root") || strings.Contains(out, "installing") {
		t.Errorf("it says %q, %v", out, err)
	}
}

// A Debian is made once, and again when its script has changed.
func TestRootIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	root, tar := filepath.Join(dir, "root.sh"), filepath.Join(dir, "cache", "debian.tar")
	write(t, root, read(t, "deb/root.sh"))
	stubs := stubs(t, map[string]string{
		"apt-get":    "echo http://deb.debian.example/debian/",
		"mmdebstrap": `echo made >>"$STUBS/made"; for f; do case $f in *.part) echo tar >"$f" ;; esac; done`,
	})
	made := 0
	for i, change := range []string{"", "", "# another mmdebstrap line\n", ""} {
		write(t, root, read(t, root)+change)
		if out, err := script(stubs, root, tar); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if i%2 == 0 {
			made++
		}
		if got := strings.Count(read(t, filepath.Join(stubs, "made")), "made"); got != made {
			t.Errorf("after run %d it was made %d times, want %d", i, got, made)
		}
	}
}

// A kernel's stamp counts only beside what it is of.
func TestKernelIsMadeAnew(t *testing.T) {
	const log = "apt has no Debian archive set up"
	cache := t.TempDir()
	t.Setenv("CACHE", cache)
	stubs := stubs(t, map[string]string{"apt-get": "exit 0"})
	key := sha256.Sum256([]byte(read(t, "board/kernel.sh") + read(t, "board/init") + read(t, "board/Kbuild")))
	write(t, filepath.Join(cache, "arm64", ".stamp"), fmt.Sprintf("%x\n", key))
	for _, file := range []string{"", "Image", "initrd.gz"} {
		if file != "" {
			if out, err := script(stubs, "board/kernel.sh", "arm64"); err == nil || !strings.Contains(out, log) {
				t.Errorf("without %s: %v, %s", file, err, out)
			}
			write(t, filepath.Join(cache, "arm64", file), "bytes")
		}
	}
	if out, err := script(stubs, "board/kernel.sh", "arm64"); err != nil {
		t.Errorf("with all files it is built again: %v, %s", err, out)
	}
}
