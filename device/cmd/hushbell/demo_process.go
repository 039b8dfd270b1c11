package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A child is a process that the demo has started.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  string        // the file of what it says
}

// lastWords returns the last line that the process has said.
func (c *child) lastWords() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// start starts this program with other arguments. What it says goes to a file.
func (d *demo) start(name string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(d.out, "logs", name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	c := &child{name: name, cmd: exec.Command(self, args...), done: make(chan struct{}), log: log.Name()}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	// A demo that is killed takes its processes along. They are no part of its
	// group, so that Ctrl-C reaches the demo alone, which stops them in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { c.cmd.Wait(); close(c.done) }()
	return c, nil
}

// stopAll asks the processes to stop, all at once, and kills those that do not.
func stopAll(all []*child) error {
	var errs []error
	for _, c := range all {
		c.cmd.Process.Signal(syscall.SIGTERM)
	}
	limit := time.After(stopLimit)
	for _, c := range all {
		select {
		case <-c.done:
			if !c.cmd.ProcessState.Success() {
				errs = append(errs, fmt.Errorf("%s: %v: %s", c.name, c.cmd.ProcessState, c.lastWords()))
			}
		case <-limit:
			c.cmd.Process.Kill()
			<-c.done
			errs = append(errs, fmt.Errorf("%s did not stop within %v", c.name, stopLimit))
			limit = time.After(0)
		}
	}
	return errors.Join(errs...)
}

// freeAddress returns an address on loopback whose port is free for TCP and UDP.
func freeAddress() (string, error) {
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		l.Close()
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err == nil {
			u.Close()
			return addr.String(), nil
		}
	}
	return "", errors.New("no port of loopback is free for TCP and UDP")
}

// startRelay starts a relay at a free address and waits until it listens. What
// it returns beside an error is to be stopped.
func (d *demo) startRelay(ctx context.Context, i int, work string, bootstrap []string) (c *child, addr string, err error) {
	for try := 1; ; try++ {
		if addr, err = freeAddress(); err != nil {
			return nil, "", err
		}
		args := []string{"relay", "--listen", addr, "--state", filepath.Join(work, "relay"+strconv.Itoa(i)), "--test-network"}
		for _, b := range bootstrap {
			args = append(args, "--bootstrap", b)
		}
		if c, err = d.start(fmt.Sprintf("relay-%d", i), args...); err != nil {
			return nil, "", err
		}
		if err = c.ready(ctx, "relay ready at "+addr); err == nil || try == portTries || ctx.Err() != nil {
			return c, addr, err
		}
		stopAll([]*child{c}) // what it complains of, the last one says again
	}
}

// ready waits until the process says so.
func (c *child) ready(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		said, err := os.ReadFile(c.log)
		if err != nil {
			return err
		}
		if strings.Contains(string(said), line) {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("%s ended before it was ready", c.name)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v", c.name, readyLimit)
		case <-time.After(pollEvery):
		}
	}
}

// rssKB returns the resident memory of a process, 0 if the kernel does not tell.
func rssKB(process int) (kb uint64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb
}
