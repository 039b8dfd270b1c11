package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Limits of what is built; measured on 2 cores: 55 s, 80 s and 5 s.
const (
	kernelLimit  = 20 * time.Minute
	rootLimit    = 25 * time.Minute
	compileLimit = 5 * time.Minute
)

// An Arch is a kind of board.
type Arch struct {
	Name    string // Debian's
	flavour string // of Debian's kernel
	goarch  []string
	qemu    []string // program and its kind of machine
}

// The boards that there are. ARMHF has a v7 processor, and programs of ours for
// it are compiled for v6, as on all 32-bit Pis.
var (
	ARM64 = Arch{"arm64", "arm64", []string{"GOARCH=arm64"}, []string{"qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53"}}
	ARMHF = Arch{"armhf", "armmp", []string{"GOARCH=arm", "GOARM=6"}, []string{"qemu-system-arm", "-M", "virt,highmem=off", "-cpu", "cortex-a7"}}
)

// A Tree is this source tree, and in it the cache of what boards are made of.
type Tree struct{ Root string }

// FindTree returns the tree that the current folder is in.
func FindTree(ctx context.Context) (Tree, error) {
	c := Command(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return Tree{}, fmt.Errorf("find the source tree: %w", err)
	}
	return Tree{strings.TrimSpace(string(out))}, nil
}

// Cache returns the path of something in the cache, which git ignores.
func (t Tree) Cache(elem ...string) string {
	return filepath.Join(append([]string{t.Root, "cross", "cache"}, elem...)...)
}

// Kernel and Initrd are the files that BuildKernel makes.
func (t Tree) Kernel(a Arch) string { return t.Cache(a.flavour, "Image") }
func (t Tree) Initrd(a Arch) string { return t.Cache(a.flavour, "initrd.gz") }
func (t Tree) disk(a Arch) string   { return t.Cache("root-" + a.Name + ".sqfs") }

// BuildKernel builds kernel and initramfs, unless they are in the cache.
func (t Tree) BuildKernel(ctx context.Context, a Arch) error {
	ctx, cancel := context.WithTimeout(ctx, kernelLimit)
	defer cancel()
	if err := need(a.qemu[0], "apt-get", "depmod"); err != nil {
		return err
	}
	c := t.script(ctx, "kernel.sh", a.flavour)
	if err := c.Run(); err != nil {
		return fmt.Errorf("build the kernel: %w", err)
	}
	return nil
}

// BuildRoot builds the root of Debian with systemd, unless it is in the cache.
func (t Tree) BuildRoot(ctx context.Context, a Arch) error {
	ctx, cancel := context.WithTimeout(ctx, rootLimit)
	defer cancel()
	if err := need("mmdebstrap", "arch-test", "qemu-aarch64-static", "tar2sqfs", "unshare"); err != nil {
		return err
	}
	c := t.script(ctx, "root.sh", a.Name)
	asRoot(c, syscall.CLONE_NEWNS)
	if err := c.Run(); err != nil {
		return fmt.Errorf("build the root: %w", err)
	}
	return nil
}

// tool finds a program of the machine, also where users do not look.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// need returns an error if one of the programs is not installed.
func need(names ...string) error {
	for _, n := range names {
		if _, err := exec.LookPath(tool(n)); err != nil {
			return fmt.Errorf("%s is missing: install what cross/board/packages lists", n)
		}
	}
	return nil
}

func (t Tree) script(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := Command(ctx, filepath.Join(t.Root, "cross", "board", name), args...)
	c.Env = append(os.Environ(), "CACHE="+t.Cache())
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	return c
}

// Compile compiles a command of the tree, such as ./cross/board/agent, for a
// board, or for this machine if a is the zero Arch.
func (t Tree) Compile(ctx context.Context, a Arch, pkg, out string) error {
	ctx, cancel := context.WithTimeout(ctx, compileLimit)
	defer cancel()
	c := Command(ctx, "go", "build", "-trimpath", "-o", out, pkg)
	c.Dir = t.Root
	c.Env = append(append(os.Environ(), "CGO_ENABLED=0"), a.goarch...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("compile %s: %w", pkg, err)
	}
	return nil
}

// Command is exec.CommandContext for what starts others: all of them end with
// ctx.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	return c
}
