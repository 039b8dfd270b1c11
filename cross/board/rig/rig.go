// Package rig boots emulated boards that run Debian with systemd, and is the
// hand at each of them: at its button, its mouth and ear, its network cable and
// its plug. A board is a process of QEMU without root or KVM; its hardware is
// that of package main in the folder above (see init), and its network is behind
// a NAT of its own, as at home: it reaches what this process can reach, and
// nobody reaches it.
//
// The boards follow the wall clock. What that costs is for their users to say.
// The package knows nothing of calls.
package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hushbell/cross/board/remote"
)

// bootLimit is for the time from power to where all is started, which is 10 s on
// an idle machine.
const bootLimit = 3 * time.Minute

// diskMiB is what a board can write; as a sparse file it takes what is written.
const diskMiB = 512

// A Board is one that has been made. What it has written outlasts power cuts.
// Its methods may be called by several goroutines, but for PowerOn and Cut.
type Board struct {
	Name    string
	Arch    Arch
	Console string // the file to which it writes its console

	tree    Tree
	dir     string
	lines   string // folder of the simulated GPIO lines in the board's sysfs
	done    chan struct{}
	qemu    *exec.Cmd
	end     context.CancelFunc
	sockets string
	agent   *remote.Client
	mon     *monitor
}

// New makes a board in the folder dir, which must be empty: an empty disk, and
// the folder Share(), which the board sees as /board. Nothing runs yet.
func New(ctx context.Context, t Tree, a Arch, name, dir string) (*Board, error) {
	b := &Board{Name: name, Arch: a, Console: filepath.Join(dir, "console.log"), tree: t, dir: dir}
	if err := os.MkdirAll(b.Share(), 0o755); err != nil {
		return nil, err
	}
	if err := t.Compile(ctx, a, "./cross/board/agent", filepath.Join(b.Share(), "agent")); err != nil {
		return nil, err
	}
	f, err := os.Create(b.disk())
	if err == nil {
		err = errors.Join(f.Truncate(diskMiB<<20), f.Close())
	}
	if err != nil {
		return nil, err
	}
	out, err := Command(ctx, tool("mkfs.ext4"), "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", b.disk()).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("make a disk: %w: %s", err, out)
	}
	return b, nil
}

// Share is the folder that the board sees as /board. What is put there after
// PowerOn may not be seen.
func (b *Board) Share() string { return filepath.Join(b.dir, "share") }
func (b *Board) disk() string  { return filepath.Join(b.dir, "disk") }

// complaints is the file of what the emulator itself has to say.
func (b *Board) complaints() string { return filepath.Join(b.dir, "qemu.log") }

// PowerOn boots the board and waits until systemd has started all that it
// starts; that something of it has failed is an error. The board is on until
// Cut, or until ctx is done.
func (b *Board) PowerOn(ctx context.Context) (err error) {
	// The path of a unix socket must be short.
	if b.sockets, err = os.MkdirTemp("", "rig"); err != nil {
		return err
	}
	ctx, b.end = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			b.Cut()
			said, _ := os.ReadFile(b.complaints())
			err = fmt.Errorf("board %s: %w %s", b.Name, err, strings.TrimSpace(string(said)))
		}
	}()
	if err := b.start(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	go func(done <-chan struct{}) { // ends with limited
		select {
		case <-done:
			cancel() // nobody is there to wait for
		case <-limited.Done():
		}
	}(b.done)
	if b.mon, err = openMonitor(limited, filepath.Join(b.sockets, "monitor")); err != nil {
		return err
	}
	line, err := new(net.Dialer).DialContext(limited, "unix", filepath.Join(b.sockets, "agent"))
	if err != nil {
		return err
	}
	if b.agent, err = remote.NewClient(limited, line); err != nil {
		return fmt.Errorf("it did not come up: %w", err)
	}
	b.lines, err = b.Run(limited, `cd /sys/kernel/config/gpio-sim/pi && echo /sys/devices/platform/$(cat dev_name)/$(cat bank0/chip_name)`)
	if err != nil {
		return err
	}
	if state, err := b.Run(limited, "systemctl is-system-running --wait"); err != nil {
		failed, _ := b.Run(limited, "systemctl --failed --no-legend --plain")
		return fmt.Errorf("systemd says that it is %s: %w: %s", state, err, failed)
	}
	return nil
}

// start starts QEMU.
func (b *Board) start(ctx context.Context) error {
	args := append(b.Arch.qemu[1:len(b.Arch.qemu):len(b.Arch.qemu)],
		"-accel", "tcg", "-smp", "1", "-m", "384", "-nodefaults", "-no-reboot", "-display", "none",
		"-device", "virtio-rng-pci,romfile=",
		"-chardev", "file,id=console,append=on,path="+b.Console, "-serial", "chardev:console",
		"-drive", "file="+b.tree.disk(b.Arch)+",format=raw,if=none,id=root,readonly=on", "-device", "virtio-blk-pci,romfile=,drive=root",
		"-drive", "file="+b.disk()+",format=raw,if=none,id=disk", "-device", "virtio-blk-pci,romfile=,drive=disk",
		"-fsdev", "local,id=board,path="+b.Share()+",security_model=none,multidevs=remap",
		"-device", "virtio-9p-pci,romfile=,fsdev=board,mount_tag=board",
		"-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,romfile=,netdev=net,id=cable",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,server=on,wait=off,path="+filepath.Join(b.sockets, "agent"),
		"-device", "virtserialport,chardev=agent,name=board.agent",
		"-qmp", "unix:"+filepath.Join(b.sockets, "monitor")+",server=on,wait=off",
		"-kernel", b.tree.Kernel(b.Arch), "-initrd", b.tree.Initrd(b.Arch),
		"-append", "console=ttyAMA0 panic=-1 quiet loglevel=4 nokaslr mitigations=off audit=0 net.ifnames=0 "+
			"systemd.show_status=0 SYSTEMD_COLORS=0 board.systemd")
	b.qemu = Command(ctx, b.Arch.qemu[0], args...)
	complaints, err := os.OpenFile(b.complaints(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer complaints.Close()
	b.qemu.Stdout, b.qemu.Stderr = complaints, complaints
	if err := b.qemu.Start(); err != nil {
		return fmt.Errorf("start the emulator: %w", err)
	}
	b.done = make(chan struct{})
	go func(c *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = c.Wait() // what it says is in qemu.log; that it ended shows in the agent's line
	}(b.qemu, b.done)
	return nil
}

// Cut takes the power away: nothing that the board has not written is kept. It
// waits until the board is off, and is safe when it is.
func (b *Board) Cut() {
	if b.end == nil {
		return
	}
	b.end()
	if b.done != nil {
		<-b.done
	}
	if b.agent != nil {
		_ = b.agent.Close() // it is broken anyway
	}
	if b.mon != nil {
		_ = b.mon.conn.Close()
	}
	_ = os.RemoveAll(b.sockets) // a folder left in the system's for such
	b.end, b.done, b.agent, b.mon = nil, nil, nil, nil
}

// CPU returns how much processor time the emulator has used since PowerOn.
func (b *Board) CPU() time.Duration {
	if b.qemu == nil || b.qemu.Process == nil {
		return 0
	}
	return processorTime(b.qemu.Process.Pid)
}

// All does the same with several boards at once, and returns all errors.
func All(do func(*Board) error, boards ...*Board) error {
	errs := make([]error, len(boards))
	var wg sync.WaitGroup
	for i, b := range boards {
		wg.Go(func() { errs[i] = do(b) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
