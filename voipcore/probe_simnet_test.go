package voipcore

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/kx"
)

// What is wrong with the network shows, each relay in its place.
func TestProbe(t *testing.T) {
	inWorld(t, 1, simnet.Link{Delay: 20 * time.Millisecond}, func(t *testing.T, w *world) {
		w.addRelay(t, w.host("24.1.0.1"), func(c *Config) {
			c.Wall = func() time.Time { return time.Now().Add(3 * time.Hour) }
		})
		w.host("24.2.0.1") // a machine where nobody listens
		home := w.host("45.1.0.1")
		at := func(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), simPort) }
		relays := []netip.AddrPort{at("23.1.0.1"), at("24.1.0.1"), at("24.2.0.1"), at("10.0.0.1")}
		for _, blocked := range []bool{false, true} {
			home.BlockUDP(blocked)
			all, err := Probe(t.Context(), Config{Network: simHost{home}}, relays)
			if err != nil || len(all) != len(relays) {
				t.Fatalf("UDP blocked %v: %+v, %v", blocked, all, err)
			}
			for i, p := range all {
				if p.Addr != relays[i] || p.UDP != (i < 2 && !blocked) {
					t.Errorf("UDP blocked %v: answer %d is %+v", blocked, i, p)
				}
			}
			if a, b := all[0].Ahead, all[1].Ahead; a < -2*time.Second || a > 0 || b < 3*time.Hour-2*time.Second || b > 3*time.Hour {
				t.Errorf("the relays are %v and %v ahead, want 0 and three hours", a, b)
			}
			if all[0].Err != nil || !errors.Is(all[2].Err, kx.ErrUnreachable) || !errors.Is(all[3].Err, ErrPrivate) {
				t.Errorf("errors %v, %v, %v", all[0].Err, all[2].Err, all[3].Err)
			}
		}
	})
}
