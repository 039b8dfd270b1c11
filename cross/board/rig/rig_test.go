package rig

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTree(t *testing.T) {
	tree, err := FindTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tree.Root, "cross", "board", "kernel.sh")); err != nil {
		t.Fatalf("FindTree = %s: %v", tree.Root, err)
	}
	if err := tree.Compile(t.Context(), ARM64, "./no/such", filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("a package that is not there was compiled")
	}
}

func TestNeed(t *testing.T) {
	if err := need("sh"); err != nil {
		t.Error(err)
	}
	if err := need("sh", "no-such-tool"); err == nil || !strings.Contains(err.Error(), "no-such-tool is missing") {
		t.Errorf("need = %v", err)
	}
}

// Command takes what it started along.
func TestCommandEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := Command(ctx, "sh", "-c", "sleep 20 & echo $!; wait")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var line [16]byte
	if _, err := out.Read(line[:]); err != nil {
		t.Fatal(err)
	}
	group := c.Process.Pid
	cancel()
	if err := c.Wait(); err == nil {
		t.Error("Wait has no error for what was killed")
	}
	for range 500 { // the init process may take a while to bury it
		if syscall.Kill(-group, 0) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a grandchild has survived")
}

func TestProcessorTime(t *testing.T) {
	for end := time.Now().Add(time.Minute); processorTime(os.Getpid()) < 20*time.Millisecond; {
		if time.Now().After(end) {
			t.Fatal("no processor time in a minute of work")
		}
	}
	if d := processorTime(1 << 30); d != 0 {
		t.Errorf("processorTime of nobody = %v", d)
	}
}

// The monitor passes over what it has not asked for, and tells of refusals.
func TestMonitor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan string, 3)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in, out := json.NewDecoder(conn), json.NewEncoder(conn)
		_ = out.Encode(map[string]any{"QMP": map[string]any{}})
		for _, answer := range []string{`{"return":{}}`, `{"return":{}}`, `{"error":{"class":"x","desc":"no such cable"}}`} {
			var q map[string]any
			if in.Decode(&q) != nil {
				return
			}
			text, _ := json.Marshal(q)
			asked <- string(text)
			_ = out.Encode(map[string]any{"event": "RTC_CHANGE"})
			_ = out.Encode(json.RawMessage(answer))
		}
	}()
	m, err := openMonitor(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.conn.Close()
	if err := m.do("set_link", map[string]any{"name": "cable", "up": false}); err != nil {
		t.Error(err)
	}
	if err := m.do("set_link", map[string]any{"name": "rope", "up": false}); err == nil || !strings.Contains(err.Error(), "no such cable") {
		t.Errorf("do = %v, want the emulator's complaint", err)
	}
	if got := <-asked; got != `{"execute":"qmp_capabilities"}` {
		t.Errorf("asked first: %s", got)
	}
	if got, want := <-asked, `{"arguments":{"name":"cable","up":false},"execute":"set_link"}`; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// An emulator that does not start is not waited for, and says why.
func TestNoEmulator(t *testing.T) {
	b := &Board{Name: "A", Arch: Arch{qemu: []string{"sh", "-c", "echo no such machine >&2; exit 1"}}, dir: t.TempDir()}
	began := time.Now()
	if err := b.PowerOn(t.Context()); err == nil || !strings.Contains(err.Error(), "no such machine") {
		t.Errorf("PowerOn = %v, want what the emulator says", err)
	}
	if d := time.Since(began); d > bootLimit/2 {
		t.Errorf("it took %v", d)
	}
	b.Cut()
}

// What a board that is off is asked for is an error.
func TestOff(t *testing.T) {
	b := &Board{Name: "A"}
	b.Cut()
	if _, err := b.Run(t.Context(), "true"); err == nil || !strings.Contains(err.Error(), "is off") {
		t.Errorf("Run = %v", err)
	}
	if err := b.Cable(true); err == nil {
		t.Error("a cable was put into a board that is off")
	}
	if d := b.CPU(); d != 0 {
		t.Errorf("CPU = %v", d)
	}
}

// Who is root in a namespace of its own has all ids there, and a network that
// nothing is connected to.
func TestOwnNetwork(t *testing.T) {
	if err := exec.Command("unshare", "--user", "true").Run(); err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no user namespaces here: %v", err)
	}
	c := Command(t.Context(), "sh", "-c", "id -u; cat /proc/self/uid_map; tail -n +3 /proc/net/dev")
	OwnNetwork(c)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var ids int
	for _, l := range lines[1 : len(lines)-1] {
		if f := strings.Fields(l); len(f) == 3 {
			n, _ := strconv.Atoi(f[2])
			ids += n
		}
	}
	if lines[0] != "0" || ids < 65536 || !strings.Contains(lines[len(lines)-1], "lo:") {
		t.Errorf("want root, 65536 ids and lo alone, got:\n%s", out)
	}
}
