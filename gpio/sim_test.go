package gpio

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is below needs the kernel's gpio-sim module and root: the emulated board
// (make board-test), where it must be there.
func needBoard(t *testing.T) {
	t.Helper()
	if os.Getenv("HUSHBELL_BOARD") != "1" {
		t.Skip("runs inside the emulated board only: make board-test")
	}
}

// A sim is a simulated chip, made through configfs
// (the kernel's Documentation/admin-guide/gpio/gpio-sim.rst).
type sim struct {
	t     *testing.T
	dir   string // in configfs
	label string
	lines []string // names
	chip  string   // the kernel's name while it is plugged in
	sysfs string   // where lines are pulled and seen from outside
}

// newSim plugs in a chip whose lines have the names, and pulls it at the end.
func newSim(t *testing.T, label string, lines ...string) *sim {
	t.Helper()
	needBoard(t)
	s := &sim{t: t, label: label, lines: lines,
		dir: filepath.Join("/sys/kernel/config/gpio-sim", strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()+"-"+label))}
	s.must(os.Mkdir(s.dir, 0o755))
	s.must(os.Mkdir(s.dir+"/bank0", 0o755))
	s.write(s.dir+"/bank0/label", label)
	s.write(s.dir+"/bank0/num_lines", fmt.Sprint(len(lines)))
	for i, name := range lines {
		s.must(os.Mkdir(fmt.Sprintf("%s/bank0/line%d", s.dir, i), 0o755))
		if name != "" {
			s.write(fmt.Sprintf("%s/bank0/line%d/name", s.dir, i), name)
		}
	}
	s.plug()
	t.Cleanup(func() {
		s.write(s.dir+"/live", "0")
		for i := range lines {
			s.must(os.Remove(fmt.Sprintf("%s/bank0/line%d", s.dir, i)))
		}
		s.must(os.Remove(s.dir + "/bank0"))
		s.must(os.Remove(s.dir))
	})
	return s
}

func (s *sim) plug() {
	s.t.Helper()
	s.write(s.dir+"/live", "1")
	s.chip = s.read(s.dir + "/bank0/chip_name")
	s.sysfs = "/sys/devices/platform/" + s.read(s.dir+"/dev_name") + "/" + s.chip
}

func (s *sim) unplug() {
	s.t.Helper()
	s.write(s.dir+"/live", "0")
}

// pull drives a line from outside, if the chip does not drive it.
func (s *sim) pull(line int, high bool) {
	s.t.Helper()
	s.write(fmt.Sprintf("%s/sim_gpio%d/pull", s.sysfs, line), map[bool]string{true: "pull-up", false: "pull-down"}[high])
}

// level is what a meter on the line would show.
func (s *sim) level(line int) bool {
	s.t.Helper()
	return s.read(fmt.Sprintf("%s/sim_gpio%d/value", s.sysfs, line)) == "1"
}

func (s *sim) line(name string) Line { return Line{Chip: s.label, Name: name} }

func (s *sim) write(path, text string) {
	s.t.Helper()
	// Not os.WriteFile: sysfs files need not be made or cut.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	s.must(err)
	_, err = f.WriteString(text)
	s.must(errors.Join(err, f.Close()))
}

func (s *sim) read(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(path)
	s.must(err)
	return string(bytes.TrimSpace(b))
}

func (s *sim) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// eventually waits for what another goroutine or the kernel does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after 30 s still not: %s", what)
}
