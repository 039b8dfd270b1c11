// Command story tells the whole story on emulated boards: two of them run
// Debian 12 with systemd, and our package as apt has installed it; eight relays
// run beside them. A button is pressed, the other box answers, both speak and
// are heard, and then everything that may happen to a box happens.
//
//	go run ./cross/story                  all of it
//	go run ./cross/story -only kill,cable setting up, and these steps
//
// Each step has a time limit and one line of result. When one fails, the boards'
// journals and consoles are shown and kept in cross/cache/log/story.
//
// The boards run in real time, each on one emulated processor. Measured on 2
// cores of 2.6 GHz, in a call with speech and with aplay and arecord at the sound
// card, encoder at complexity 0: the emulator of an arm64 board takes 21 to 34 %
// of a core (at complexity 5 26 % where it took 24), that of a 32-bit one 44 %, and on an idle
// machine all that is said is heard (a likeness of 0.97 to 1.00). All steps take
// 8 minutes, of which 60 s are a pulled cable and 20 s the watchdog's patience.
// With ten other programs at the two cores it is the sound that suffers: 70 to
// 95 of 100 segments are heard then, which is why what is said is said again when
// it was not understood.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"hushbell/cross/board/rig"
)

func main() {
	o := options{}
	flag.BoolVar(&o.inside, "inside", false, "for the program's own use: the network is ours")
	flag.StringVar(&o.only, "only", "", "`steps` to tell, separated by commas, after the boards are set up: "+names())
	flag.BoolVar(&o.build, "build", false, "only build what the boards are made of")
	flag.StringVar(&o.debs, "debs", "", "for the program's own use: how the packages' names begin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tree, err := rig.FindTree(ctx)
	if err == nil {
		var told []step
		if told, err = choose(o.only); err == nil && o.inside {
			err = tell(ctx, tree, o, told)
		} else if err == nil {
			err = prepare(ctx, tree, o)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		os.Exit(1)
	}
}

// boards are the kinds of board in the story.
var boards = []rig.Arch{rig.ARM64, rig.ARMHF}

// packLimit is for all programs and two packages, which is 60 s from nothing.
const packLimit = 8 * time.Minute

type options struct {
	inside bool
	debs   string
	only   string
	build  bool
}

// build builds what the boards are made of: their roots side by side, since each
// takes one processor for more than a minute, and meanwhile the kernels.
func build(ctx context.Context, t rig.Tree) error {
	roots, kernels := make([]error, len(boards)), make([]error, len(boards))
	var wg sync.WaitGroup
	for i, a := range boards {
		wg.Go(func() { roots[i] = t.BuildRoot(ctx, a) })
	}
	for i, a := range boards {
		kernels[i] = t.BuildKernel(ctx, a)
	}
	wg.Wait()
	return errors.Join(append(roots, kernels...)...)
}

// prepare builds all that the story needs, and starts this program again where
// it has a network of its own.
func prepare(ctx context.Context, t rig.Tree, o options) error {
	if err := build(ctx, t); err != nil || o.build {
		return err
	}
	if err := pack(ctx, t, &o); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := rig.Command(ctx, self, "-inside", "-debs", o.debs, "-only", o.only)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // it ends what it has started
	c.WaitDelay = 30 * time.Second
	rig.OwnNetwork(c)
	if err := startFirst(c); err != nil {
		return err
	}
	return c.Wait()
}

// startFirst starts c with a higher priority, if we may give it one, which it
// could not do itself in its namespace. A board is stopped less often then by
// what else runs on the machine: an emulator that has to wait longer than a
// sound card's buffer lasts makes gaps that no board has.
func startFirst(c *exec.Cmd) error {
	runtime.LockOSThread() // a thread has its priority, and a child that of the thread
	defer runtime.UnlockOSThread()
	if syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10) == nil { // who may not goes without
		defer func() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 0) }()
	}
	return c.Start()
}

// pack builds the packages for the boards, and the program for this machine
// beside them.
func pack(ctx context.Context, t rig.Tree, o *options) error {
	ctx, cancel := context.WithTimeout(ctx, packLimit)
	defer cancel()
	args := []string{"--no-print-directory"}
	for _, a := range boards {
		args = append(args, "deb-"+a.Name)
	}
	c := rig.Command(ctx, "make", args...)
	c.Dir = t.Root
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, out)
	}
	if out, err = rig.Command(ctx, filepath.Join(t.Root, "cross", "deb", "version")).Output(); err != nil {
		return fmt.Errorf("the packages' version: %w", err)
	}
	o.debs = filepath.Join(t.Root, "bin", "hushbell_"+strings.TrimSpace(string(out)))
	return nil
}

// debOf returns the package for a board.
func (o *options) debOf(a rig.Arch) string { return o.debs + "_" + a.Name + ".deb" }
