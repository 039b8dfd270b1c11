package kx

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
)

// lateClock is a system clock that is an hour behind.
type lateClock struct{ systemClock }

func (lateClock) Now() time.Time { return time.Now().Add(-time.Hour) }

// A probe sees the time that a relay tells, and whether UDP passes; it leaves
// no link behind.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		s.SetDefault(simnet.Link{Delay: 10 * time.Millisecond, Loss: 0.1}) // asked more than once
		home := s.Host(netip.MustParseAddr("9.9.0.1"))
		relay, client := s.relay(t, nil, "5.1.0.1"), s.open(t, home, Config{})
		slow := s.relay(t, nil, "5.2.0.1")
		slow.cfg.Clock = lateClock{}
		probe := func(ip string) (Probed, error) {
			return client.Probe(within(t), netip.AddrPortFrom(netip.MustParseAddr(ip), simPort))
		}
		// A hello tells whole seconds.
		about := func(p Probed, d time.Duration) bool { return p.Ahead > d-2*time.Second && p.Ahead <= d }
		if p, err := probe("5.1.0.1"); err != nil || !p.UDP || !about(p, 0) {
			t.Errorf("a relay: %+v, %v", p, err)
		}
		if p, err := probe("5.2.0.1"); err != nil || !p.UDP || !about(p, -time.Hour) {
			t.Errorf("a relay whose clock is an hour late: %+v, %v", p, err)
		}
		home.BlockUDP(true)
		if p, err := probe("5.1.0.1"); err != nil || p.UDP || !about(p, 0) {
			t.Errorf("where UDP does not pass: %+v, %v", p, err)
		}
		s.Host(netip.MustParseAddr("5.3.0.1")) // where nobody listens
		if _, err := probe("5.3.0.1"); !errors.Is(err, ErrUnreachable) {
			t.Errorf("no relay: %v, want ErrUnreachable", err)
		}
		if _, err := probe("192.168.0.1"); !errors.Is(err, ErrNotRoutable) {
			t.Errorf("a private address: %v, want ErrNotRoutable", err)
		}
		synctest.Wait()
		for _, n := range []*Node{relay.Node, slow.Node, client} {
			if left := n.links.list(); len(left) > 0 {
				t.Errorf("%d links are left", len(left))
			}
		}
	})
}
