package alsa

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// socket is a place for a device that can be plugged and unplugged.
type socket struct {
	mu     sync.Mutex
	there  string // name of the device that is plugged in, "" for none
	asked  []string
	opened int
	closed int
	heard  int // samples
}

func (s *socket) plug(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there = name
}

// open finds a device by its name, or any if device is "".
func (s *socket) open(_ context.Context, device string) (*plugged, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, device)
	if s.there == "" || device != "" && device != s.there {
		return nil, syscall.ENODEV
	}
	s.opened++
	return &plugged{s, s.there}, nil
}

func (s *socket) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

type plugged struct {
	s    *socket
	name string
}

func (p *plugged) Write(samples []int16) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.there != p.name {
		return syscall.ENODEV
	}
	p.s.heard += len(samples)
	return nil
}
func (p *plugged) Check() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.there != p.name {
		return syscall.ENODEV
	}
	return nil
}
func (p *plugged) Delay() int     { return 480 }
func (p *plugged) Xruns() int     { return 1 }
func (p *plugged) Stop() error    { return nil }
func (p *plugged) Device() string { return p.name }
func (p *plugged) Close() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.closed++
	return nil
}

func named(device string) func(context.Context) string {
	return func(context.Context) string { return device }
}

// write is Speaker.Write for a keeper of plugged devices.
func write(k *keeper[*plugged], samples []int16) error {
	if p, ok := k.get(); ok {
		err := p.Write(samples)
		if err == nil {
			return nil
		}
		k.lose(p, err)
	}
	return k.pass(len(samples))
}

func TestKeeperLosesAndFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{there: "Device"}
		var k keeper[*plugged]
		k.start(named(""), s.open)
		frame := make([]int16, FrameSamples)
		if err := write(&k, frame); err != nil || s.heard != FrameSamples || k.state() != nil || k.name() != "Device" {
			t.Fatalf("Write = %v, %d heard, state %v, device %q", err, s.heard, k.state(), k.name())
		}
		s.plug("")
		start := time.Now()
		for range 50 { // a second without a device takes a second
			if err := write(&k, frame); err != nil {
				t.Fatalf("Write without device = %v", err)
			}
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("50 frames took %v", d)
		}
		if !errors.Is(k.state(), syscall.ENODEV) || k.losses() != 1 || k.delay() != 0 || k.xruns() != 1 {
			t.Errorf("gone: state %v, %d losses, delay %d, %d xruns", k.state(), k.losses(), k.delay(), k.xruns())
		}
		s.plug("Device")
		time.Sleep(searchEvery)
		synctest.Wait()
		if err := write(&k, frame); err != nil || s.heard != 2*FrameSamples {
			t.Errorf("Write after return = %v, %d heard", err, s.heard)
		}
		if k.state() != nil || k.delay() != 480 || k.xruns() != 2 {
			t.Errorf("back: state %v, delay %d, %d xruns", k.state(), k.delay(), k.xruns())
		}
		if err := k.close(); err != nil {
			t.Errorf("close = %v", err)
		}
		if err := k.close(); err != nil {
			t.Errorf("second close = %v", err)
		}
		if err := write(&k, frame); err != ErrClosed {
			t.Errorf("Write after close = %v, want ErrClosed", err)
		}
		if s.opened != 2 || s.closed != 2 {
			t.Errorf("%d opened, %d closed, want 2 and 2", s.opened, s.closed)
		}
	})
}

// Nothing at the start is no error, and the device is taken when it comes.
func TestKeeperStartsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{}
		var k keeper[*plugged]
		k.start(named(""), s.open)
		defer k.close()
		if !errors.Is(k.state(), syscall.ENODEV) || k.losses() != 0 {
			t.Errorf("state %v, %d losses", k.state(), k.losses())
		}
		s.plug("Device")
		time.Sleep(searchEvery)
		synctest.Wait()
		if err := write(&k, make([]int16, 10)); err != nil || s.heard != 10 {
			t.Errorf("Write = %v, %d heard", err, s.heard)
		}
	})
}

// A device that leaves while nobody uses it is missed, and taken when it is back;
// what stays away does not keep the processor awake.
func TestKeeperIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{there: "Device"}
		var k keeper[*plugged]
		k.start(named(""), s.open)
		defer k.close()
		if err := k.state(); err != nil {
			t.Errorf("state %v of a device that is there", err)
		}
		s.plug("")
		for range 3 { // lost once, however often one asks
			if err := k.state(); !errors.Is(err, syscall.ENODEV) || k.losses() != 1 {
				t.Errorf("gone: state %v, %d losses", err, k.losses())
			}
		}
		time.Sleep(faithful * searchEvery)
		synctest.Wait()
		before := len(s.requests())
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(s.requests()) - before; n != 30 {
			t.Errorf("%d looks in a minute, want one each %v", n, searchSlowly)
		}
		s.plug("Device")
		time.Sleep(searchSlowly)
		synctest.Wait()
		if err := k.state(); err != nil || k.losses() != 1 {
			t.Errorf("back: state %v, %d losses", err, k.losses())
		}
	})
}

// The same device is waited for, then another may take its place.
func TestKeeperIsFaithfulForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{there: "pulse"}
		var k keeper[*plugged]
		k.start(named(""), s.open)
		defer k.close()
		s.plug("Device")
		write(&k, make([]int16, 10))
		time.Sleep((faithful - 1) * searchEvery)
		synctest.Wait()
		if asked := s.requests(); k.name() != "pulse" || slices.Contains(asked[1:], "") {
			t.Errorf("after %v it has %q, having asked for %q", (faithful-1)*searchEvery, k.name(), asked)
		}
		time.Sleep(searchEvery)
		synctest.Wait()
		if k.name() != "Device" || k.state() != nil {
			t.Errorf("after %v it has %q, state %v", faithful*searchEvery, k.name(), k.state())
		}
	})
}

// What is wanted may be another at each look, once the device that was lost has had
// its time.
func TestKeeperAsksAtEachLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{}
		var k keeper[*plugged]
		wanted := make(chan string, 1)
		last := "Device"
		k.start(func(context.Context) string {
			select {
			case last = <-wanted:
			default:
			}
			return last
		}, s.open)
		defer k.close()
		s.plug("Headset")
		time.Sleep(2 * faithful * searchEvery)
		synctest.Wait()
		if k.state() == nil {
			t.Errorf("it has taken %q, which is not wanted", k.name())
		}
		wanted <- "Headset"
		time.Sleep(searchSlowly)
		synctest.Wait()
		if k.state() != nil || k.name() != "Headset" {
			t.Errorf("it has %q, state %v, and what is wanted is there", k.name(), k.state())
		}
	})
}

// Close ends the search and wakes who lets time pass.
func TestKeeperCloseWhileGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{}
		var k keeper[*plugged]
		k.start(named("Device"), s.open)
		var wg sync.WaitGroup
		var err error
		wg.Go(func() { err = write(&k, make([]int16, 30*Rate)) })
		synctest.Wait()
		start := time.Now()
		k.close()
		wg.Wait()
		if err != ErrClosed || time.Since(start) != 0 {
			t.Errorf("Write = %v after %v, want ErrClosed at once", err, time.Since(start))
		}
	})
}

// Close ends a look that would take long, whoever it is that does not answer.
func TestKeeperCloseWhileLooking(t *testing.T) {
	for _, tt := range []struct {
		name         string
		device, open time.Duration // how long they take, but for the first time
	}{
		{"for a name", time.Minute, 0},
		{"for the device", 0, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks := 0
				take := func(ctx context.Context, d time.Duration) {
					if looks < 2 {
						return
					}
					select {
					case <-ctx.Done():
					case <-time.After(d):
					}
				}
				var k keeper[*plugged]
				k.start(func(ctx context.Context) string {
					looks++
					take(ctx, tt.device)
					return "Device"
				}, func(ctx context.Context, _ string) (*plugged, error) {
					take(ctx, tt.open)
					return nil, syscall.ENODEV
				})
				time.Sleep(searchEvery)
				synctest.Wait()
				start := time.Now()
				k.close()
				if d := time.Since(start); d != 0 || looks < 2 {
					t.Errorf("close took %v, at look %d", d, looks)
				}
			})
		})
	}
}

// A sound server that takes a connection and never answers, as when its socket is
// systemd's and its service is down, does not hold up Close.
func TestCloseWithServerThatIsSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "native")
	t.Setenv("PULSE_SERVER", "unix:"+path)
	s := NewSpeaker(named(server), Options{})
	m := NewMicrophone(named(server), Options{})
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 { // a search each
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 20)); err != nil { // the first request has begun
			t.Fatal(err)
		}
	}
	closed := make(chan error)
	go func() { closed <- errors.Join(s.Close(), m.Close()) }()
	select {
	case err = <-closed:
	case <-time.After(time.Second): // a request is waited for 5 times as long
		t.Error("Close waits for the server")
		err = <-closed
	}
	if err != nil {
		t.Errorf("Close = %v", err)
	}
}
