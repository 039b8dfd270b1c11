package voipcore

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An address comes and goes, in a network namespace of the test's own.
func TestAddressGoes(t *testing.T) {
	// Never unlocked: the thread ends with the test, and the namespace with it.
	runtime.LockOSThread()
	_, err := exec.LookPath("ip")
	if err == nil {
		err = unix.Unshare(unix.CLONE_NEWNET)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("needs root and ip to make a network namespace:", err)
	}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("link set lo up")
	events, err := addressEvents()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 16), make(chan error, 1)
	go func() { ended <- watchAddresses(ctx, events, func() { changed <- struct{}{} }) }()

	home, loop := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("127.0.3.1")
	for _, step := range []struct {
		do   string
		gone bool
	}{
		{"addr add 192.0.2.7/32 dev lo", false},
		{"addr del 192.0.2.7/32 dev lo", true},
	} {
		ip(step.do)
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("nothing is told of ip %s", step.do)
		}
		if got := addressGone(home); got != step.gone {
			t.Errorf("after ip %s: gone %v", step.do, got)
		}
		if addressGone(loop) {
			t.Errorf("%v is gone", loop)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
