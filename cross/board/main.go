// Command board runs the tests of packages inside an emulated ARM board: a real
// kernel with a simulated GPIO chip and sound cards (see init), booted by QEMU
// without root or KVM.
//
//	go run ./cross/board [flags] PACKAGE... [-- TEST FLAGS...]
//	go run ./cross/board ./gpio ./alsa
//	go run ./cross/board -goarch arm ./alsa
//	go run ./cross/board -timeout 20m ./alsa -- -test.run=Loop -test.count=3
//
// Each package's test binary runs as root in a folder that holds a copy of its
// testdata, with HUSHBELL_BOARD=1 in the environment: tests that need the board
// skip themselves without it. The exit status is 0 when every package passed at
// least one test and failed none, 1 when tests failed, 2 when the board could
// not be built or did not come up; "go run" makes 1 of both.
//
// With -goarch arm the same kernel runs programs of 32 bit, as Raspberry Pi OS for
// 32 bit does on all boards since the Pi 3: structs and requests are other ones.
//
// The board's clock counts instructions, at 8 ns each, not the host's time: a
// busy host makes the board slow but not late, and waiting costs nothing. So
// tests of settle times and sound periods mean the same on every machine, that
// of a board with a slow processor (125 MIPS) and nothing else to do. Its
// processors take turns; what two of them do to each other at the same moment,
// and to a board that is late, is for -wallclock.
//
// The kernel comes from Debian packages (kernel.sh) and is built once into
// cross/cache. Host packages are listed in the file "packages". It is no system
// with systemd, network or several boards: that is package rig, and its story is
// told in cross/story.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"hushbell/cross/board/rig"
)

// Limits of the steps before the tests; measured: 10 s and 5 s.
const (
	compileLimit = 5 * time.Minute
	bootLimit    = 90 * time.Second
)

type options struct {
	timeout time.Duration // of one package's tests
	cpus    int
	memMiB  int
	verbose bool
	wall    bool     // the clock follows the host's
	arch    string   // of the test binaries
	flags   []string // for the test binaries
}

func main() {
	var o options
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "limit of each package's tests, in the board's time")
	flag.IntVar(&o.cpus, "cpus", 2, "processors of the board")
	flag.IntVar(&o.memMiB, "mem", 512, "memory of the board in MiB")
	flag.BoolVar(&o.wall, "wallclock", false, "let the board's clock follow the host's")
	flag.StringVar(&o.arch, "goarch", "arm64", "processor that the tests are built for: arm64, or arm (ARMv6), which the same board runs")
	flag.BoolVar(&o.verbose, "v", false, "show the start of every test too")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./cross/board [flags] PACKAGE... [-- TEST FLAGS...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	packages := flag.Args()
	if i := slices.Index(packages, "--"); i >= 0 {
		packages, o.flags = packages[:i], packages[i+1:]
	}
	if len(packages) == 0 || o.arch != "arm64" && o.arch != "arm" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := run(ctx, packages, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "board:", err)
	}
	for _, r := range results {
		fmt.Println(r)
	}
	switch {
	case err != nil:
		os.Exit(2)
	case slices.ContainsFunc(results, func(r result) bool { return !r.ok() }):
		os.Exit(1)
	}
}

// run builds, boots and waits. The results are in the order of packages.
func run(ctx context.Context, packages []string, o options) ([]result, error) {
	tree, err := rig.FindTree(ctx)
	if err != nil {
		return nil, err
	}
	if err := tree.BuildKernel(ctx, rig.ARM64); err != nil {
		return nil, err
	}
	share, err := os.MkdirTemp("", "board")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(share)
	// Tests that run as somebody else must get in.
	if err := os.Chmod(share, 0o755); err != nil {
		return nil, err
	}
	start := time.Now()
	names, err := stage(ctx, share, packages, o)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "board: tests compiled in %v\n", time.Since(start).Round(100*time.Millisecond))
	return boot(ctx, machine{
		kernel: tree.Kernel(rig.ARM64),
		initrd: tree.Initrd(rig.ARM64),
		log:    tree.Cache("log", "console-arm64.log"),
		share:  share,
		limit:  bootLimit + time.Duration(len(names))*(o.timeout+10*time.Second),
	}, names, o)
}

// stage puts each package's test binary and testdata into its own folder of
// share, and the script that runs them. It returns the folders' names.
func stage(ctx context.Context, share string, packages []string, o options) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, compileLimit)
	defer cancel()
	listed, err := output(ctx, "go", append([]string{"list", "-f", "{{.ImportPath}} {{.Dir}}"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var names []string
	script := "#!/bin/sh\nexport HUSHBELL_BOARD=1\n"
	flags := append([]string{"-test.v", "-test.timeout=" + o.timeout.String()}, o.flags...)
	for line := range strings.Lines(listed + "\n") {
		path, source, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, name, _ := strings.Cut(path, "/") // without the module
		dir := filepath.Join(share, filepath.FromSlash(name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		c := rig.Command(ctx, "go", "test", "-c", "-o", filepath.Join(dir, "run.test"), path)
		c.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+o.arch, "GOARM=6", "CGO_ENABLED=0")
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		if err := c.Run(); err != nil {
			return nil, fmt.Errorf("compile the tests of %s: %w", path, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "run.test")); err != nil {
			return nil, fmt.Errorf("%s has no tests", path)
		}
		data := filepath.Join(source, "testdata")
		if _, err := os.Stat(data); err == nil {
			if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS(data)); err != nil {
				return nil, err
			}
		}
		names = append(names, name)
		script += fmt.Sprintf("echo; echo %[1]s\ncd /board/%[2]s\n./run.test %[3]s\nrc=$?; echo; echo %[4]s$rc\n",
			quote(beginMark+name), quote(name), quote(flags...), quote(endMark+name+" "))
	}
	return names, os.WriteFile(filepath.Join(share, "run"), []byte(script), 0o755)
}

// quote makes words safe for the board's shell.
func quote(words ...string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(q, " ")
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	c := rig.Command(ctx, name, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// A machine is what QEMU is started with.
type machine struct {
	kernel, initrd string
	share          string        // folder that the board sees as /board
	log            string        // gets all of the console
	limit          time.Duration // in the host's time
}

// boot runs the board until it powers itself off and returns what its console
// told of the packages.
func boot(ctx context.Context, m machine, names []string, o options) ([]result, error) {
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	log, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := []string{"-accel", "tcg,thread=single", "-icount", "shift=3,sleep=off"}
	if o.wall {
		args = []string{"-accel", "tcg,thread=multi"}
	}
	c := rig.Command(ctx, "qemu-system-aarch64", append(args,
		"-M", "virt", "-cpu", "cortex-a53",
		"-smp", fmt.Sprint(o.cpus), "-m", fmt.Sprint(o.memMiB), "-nodefaults", "-no-reboot",
		"-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci,romfile=",
		"-fsdev", "local,id=board,path="+m.share+",security_model=none,multidevs=remap",
		"-device", "virtio-9p-pci,romfile=,fsdev=board,mount_tag=board",
		"-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=ttyAMA0 panic=-1 quiet loglevel=4 nokaslr mitigations=off audit=0 net.ifnames=0")...)
	// What QEMU itself complains of is told in words that the console has not.
	var complaint strings.Builder
	c.Stderr = &complaint
	console, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start the emulator: %w", err)
	}
	results, up := watch(io.TeeReader(console, log), os.Stdout, names, o.verbose)
	err = c.Wait()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return results, fmt.Errorf("stopped after %v, console in %s", m.limit, m.log)
	case ctx.Err() != nil:
		return results, ctx.Err()
	case err != nil:
		return results, fmt.Errorf("the emulator: %w: %s", err, strings.TrimSpace(complaint.String()))
	case !up:
		return results, fmt.Errorf("the board did not come up, console in %s", m.log)
	}
	return results, nil
}
