package voipcore

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
)

// On a kernel without IPv6 all addresses are those of IPv4, and what cannot be
// had is said with a remedy.
func TestListen(t *testing.T) {
	for _, tt := range []struct {
		at     string
		err    error // of IPv6
		opened string
		say    string
	}{
		{"[::]:7", nil, "[::]:7", ""},
		{"[::]:7", syscall.EAFNOSUPPORT, "[::]:7 0.0.0.0:7", ""},
		{"[2001:db8::1]:7", syscall.EAFNOSUPPORT, "[2001:db8::1]:7", "not supported"},
		{"[::]:7", syscall.EADDRINUSE, "[::]:7", "take another port"},
		{"[2001:db8::1]:7", syscall.EADDRNOTAVAIL, "[2001:db8::1]:7", "no address of this machine"},
		{"[::]:80", syscall.EACCES, "[::]:80", "above 1023"},
	} {
		var opened []string
		err := listen(netip.MustParseAddrPort(tt.at), func(at netip.AddrPort) error {
			opened = append(opened, at.String())
			if at.Addr().Is4() {
				return nil
			}
			return tt.err
		})
		if got := strings.Join(opened, " "); got != tt.opened {
			t.Errorf("%s, %v: opened %s, want %s", tt.at, tt.err, got, tt.opened)
		}
		if (err == nil) != (tt.say == "") || err != nil && (!errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.say)) {
			t.Errorf("%s, %v: %v, want it to say %q", tt.at, tt.err, err, tt.say)
		}
	}
	c, err := sockets{}.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	taken := netip.MustParseAddrPort(c.LocalAddr().String())
	if _, err := (sockets{}).ListenUDP(taken); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is taken: %v", err)
	}
}

// A lockedLog is a log that a test reads while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) says(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// A relay says when it finds no others, and when it has found them; neither
// with an address.
func TestSimRelayTellsOfOthers(t *testing.T) {
	inWorld(t, 0, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		first, own := w.host("23.1.0.1"), w.host("23.2.0.1")
		var log lockedLog
		c, err := Open(Config{
			Listen: own.AddrPort(simPort), Network: simHost{own}, RelayKey: pid.NewKey(),
			Bootstrap: []netip.AddrPort{first.AddrPort(simPort)}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(joinPatience + time.Second)
		if !log.says("no relay of bootstrap answers") || log.says("found others") {
			t.Errorf("nobody there, and it says\n%s", &log.b)
		}
		w.addRelay(t, first, nil)
		time.Sleep(5 * time.Minute)
		if !log.says("has found others") || log.says("23.1.0.1") {
			t.Errorf("the other is there, and it says\n%s", &log.b)
		}
	})
}
