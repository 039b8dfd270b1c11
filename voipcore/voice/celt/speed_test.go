package celt

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// table is for make bench: the comparison takes its time and a quiet machine.
var table = flag.Bool("table", false, "print the time against libopus and the instructions on ARM")

// speedVoice is some seconds of recorded speech, or of vowels where there is none.
func speedVoice() []int16 {
	var pcm []int16
	for _, name := range []string{"Front_Center", "Front_Left", "Rear_Right"} {
		v, _, err := readWAV("/usr/share/sounds/alsa/" + name + ".wav")
		if err != nil {
			v = vowels(newRand(1), 2*sampleRate)
		}
		pcm = append(pcm, v...)
	}
	return pcm[:len(pcm)/960*960]
}

// maxRatio is how many times the time of libopus, written in C, a frame may take.
const maxRatio = 2.0

// TestSpeedTable prints the time per frame of 20 ms beside that of libopus, both on the
// same sound in turns, with the fastest time of each. It is for a machine that is
// otherwise quiet, and so no part of the tests.
func TestSpeedTable(t *testing.T) {
	if !*table {
		t.Skip("part of make bench: run with -table")
	}
	pcm := speedVoice()
	var raw bytes.Buffer
	_ = binary.Write(&raw, binary.LittleEndian, pcm)
	prog, reason := tryBuildC(t, "encode")
	fmt.Printf("Opus encoder, 20 ms frames, time per frame\n%10s %10s %10s %10s %7s\n", "bit/s", "complexity", "this", "libopus", "ratio")
	for _, bitrate := range []int{16000, 32000, 48000} {
		for _, complexity := range []int{0, MaxComplexity} {
			ours, theirs := math.Inf(1), math.Inf(1)
			for range 5 {
				e, err := NewEncoder(Config{960, PacketBytes(bitrate, 960), complexity})
				if err != nil {
					t.Fatal(err)
				}
				packet := make([]byte, e.cfg.PacketBytes)
				start := cpuTime(t)
				for at := 0; at < len(pcm); at += 960 {
					if _, err := e.Encode(pcm[at:], packet); err != nil {
						t.Fatal(err)
					}
				}
				ours = min(ours, float64(cpuTime(t)-start)/float64(len(pcm)/960))
				if prog == "" {
					continue
				}
				cmd := exec.Command(prog, fmt.Sprint(bitrate), "960", fmt.Sprint(complexity), "3")
				cmd.Stdin = bytes.NewReader(raw.Bytes())
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("libopus: %v", err)
				}
				var ns float64
				if _, err := fmt.Sscan(string(out), &ns); err != nil {
					t.Fatalf("libopus printed %q: %v", out, err)
				}
				theirs = min(theirs, ns)
			}
			if prog == "" {
				fmt.Printf("%10d %10d %7.1f us %10s %7s\n", bitrate, complexity, ours/1000, "-", "-")
			} else {
				fmt.Printf("%10d %10d %7.1f us %7.1f us %7.2f\n", bitrate, complexity, ours/1000, theirs/1000, ours/theirs)
				if ours > maxRatio*theirs {
					t.Errorf("%d bit/s, complexity %d: %.2f times the time of libopus, want at most %v", bitrate, complexity, ours/theirs, maxRatio)
				}
			}
		}
	}
	if prog == "" {
		fmt.Printf("no ratio: %s\n", reason)
	}
}

// TestTableSaysWhatIsMissing: without gcc or libopus the table has no ratio, but a reason.
func TestTableSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if prog, reason := tryBuildC(t, "encode"); prog != "" || !strings.Contains(reason, "libopus-dev") {
		t.Errorf("without a compiler: program %q, reason %q", prog, reason)
	}
}

// cpuTime is the nanoseconds that this process has run, the clock of encode.c: what
// others do on the machine counts less.
func cpuTime(t testing.TB) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// tryBuildC is buildC for who can do without: it returns the reason.
func tryBuildC(t testing.TB, name string) (prog, reason string) {
	out := filepath.Join(t.TempDir(), name)
	msg, err := exec.Command("gcc", "-O2", "-o", out, filepath.Join("testdata", name+".c"), "-lopus").CombinedOutput()
	if err != nil {
		return "", fmt.Sprintf("C libopus (libopus-dev, gcc) is not installed: %v %.200s", err, msg)
	}
	return out, ""
}

// TestInstructions counts what a frame of 20 ms at 32 kbit/s costs on emulated ARM
// boards: a Pi Zero W (ARMv6) and a 64-bit one.
func TestInstructions(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("builds for two other machines and emulates them: not in a short run")
	}
	need(t, "gcc", "go", "qemu-arm", "qemu-aarch64")
	dir := t.TempDir()
	plugin := filepath.Join(dir, "insn.so")
	if msg, err := exec.Command("gcc", "-O2", "-shared", "-fPIC", "-o", plugin, "testdata/insn.c").CombinedOutput(); err != nil {
		t.Fatalf("insn.c: %v %s", err, msg)
	}
	for _, m := range []struct {
		env  []string
		qemu []string
	}{
		{[]string{"GOARCH=arm", "GOARM=6"}, []string{"qemu-arm", "-cpu", "arm1176"}},
		{[]string{"GOARCH=arm64"}, []string{"qemu-aarch64"}},
	} {
		prog := filepath.Join(dir, m.qemu[0]+".test")
		build := exec.Command("go", "test", "-c", "-o", prog, ".")
		build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), m.env...)
		if msg, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", m.env, err, msg)
		}
		for _, c := range []struct{ complexity, limit int }{{0, 600_000}, {MaxComplexity, 1_200_000}} {
			// The difference of two runs leaves out what the start costs.
			const few, many = 50, 250
			count := func(frames int) int {
				args := append(m.qemu[1:len(m.qemu):len(m.qemu)], "-plugin", plugin, prog, "-test.run=^TestLoop$")
				cmd := exec.Command(m.qemu[0], args...)
				cmd.Env = append(os.Environ(), fmt.Sprintf("CELT_LOOP=%d %d", frames, c.complexity), "GOGC=off", "GOMAXPROCS=1")
				out, err := cmd.CombinedOutput()
				found := regexp.MustCompile(`INSNS (\d+)`).FindSubmatch(out)
				if err != nil || found == nil {
					missing(t, "%s does not count instructions, is it built with plugins? %v %s", m.qemu[0], err, out)
				}
				var n int
				_, _ = fmt.Sscan(string(found[1]), &n)
				return n
			}
			per := (count(many) - count(few)) / (many - few)
			line := fmt.Sprintf("%-22s complexity %d: %7d instructions a frame (limit %d)", strings.Join(m.env, " "), c.complexity, per, c.limit)
			if *table {
				fmt.Println(line)
			}
			t.Log(line)
			if per <= 10_000 || per > c.limit {
				t.Errorf("%s", line)
			}
			if said := readmeCount(t, c.complexity, m.qemu[0] == "qemu-aarch64"); per > said+said/10 || per < said-said/10 {
				t.Errorf("%s: README.md says %d", line, said)
			}
		}
	}
}

// readmeCount returns what README.md says: the last or the last but one column of
// the complexity's row, in thousands.
func readmeCount(t *testing.T, complexity int, last bool) int {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \|.*\| (\d+) k \| (\d+) k \|$`, complexity)).FindSubmatch(text)
	if row == nil {
		t.Fatalf("README.md has no row for complexity %d", complexity)
	}
	column := row[1]
	if last {
		column = row[2]
	}
	var n int
	_, _ = fmt.Sscan(string(column), &n)
	return 1000 * n
}
