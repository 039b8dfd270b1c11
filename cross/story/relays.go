package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hushbell/cross/board/rig"
)

// relayCount is what the README calls a good start.
const relayCount = 8

// relays are the swarm: processes on this machine, at addresses of a network of
// our own that look like those of the world, each in a network (/16) of its own,
// as real ones have to be. So nothing is set to be in a test here.
type relays struct {
	addresses []string
	dir       string
	cmds      []*exec.Cmd
}

func startRelays(ctx context.Context, program, dir string) (r *relays, err error) {
	r = &relays{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := ip(ctx, "link set lo up"); err != nil {
		return nil, err
	}
	for i := range relayCount {
		// 11.0.0.0/8 is allocated, so that nothing takes it for private.
		host := fmt.Sprintf("11.%d.0.1", i+1)
		if err := ip(ctx, "addr add "+host+"/32 dev lo"); err != nil {
			return nil, err
		}
		if err := r.start(ctx, program, host+":4710"); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func ip(ctx context.Context, args string) error {
	if out, err := rig.Command(ctx, "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// start starts one more, and waits until it listens.
func (r *relays) start(ctx context.Context, program, address string) error {
	name := filepath.Join(r.dir, fmt.Sprintf("relay-%d", len(r.cmds)))
	args := []string{"relay", "--listen", address, "--state", name}
	for _, b := range r.bootstrap() {
		args = append(args, "--bootstrap", b)
	}
	c := rig.Command(ctx, program, args...)
	log, err := os.Create(name + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stderr = log
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	r.cmds, r.addresses = append(r.cmds, c), append(r.addresses, address)
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-time.After(30 * time.Second):
		err = errors.New("it is not ready within 30 s")
	}
	if err != nil {
		said, _ := os.ReadFile(name + ".log")
		return fmt.Errorf("relay %s: %w: %s", address, err, said)
	}
	return nil
}

// bootstrap returns the addresses that others are told.
func (r *relays) bootstrap() []string { return r.addresses[:min(len(r.addresses), 3)] }

// stop stops all. One that does not end well within its time is an error.
func (r *relays) stop() error {
	var errs []error
	for _, c := range r.cmds {
		errs = append(errs, c.Process.Signal(os.Interrupt))
	}
	for i, c := range r.cmds {
		timer := time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
		if err := c.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("relay %s: %w", r.addresses[i], err))
		}
		timer.Stop()
	}
	r.cmds = nil
	return errors.Join(errs...)
}

// keep copies the relays' logs to a folder.
func (r *relays) keep(dir string) {
	for i := range r.cmds {
		name := fmt.Sprintf("relay-%d.log", i)
		if b, err := os.ReadFile(filepath.Join(r.dir, name)); err == nil {
			_ = os.WriteFile(filepath.Join(dir, name), b, 0o644) // the failure is told already
		}
	}
}
