package kx

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hushbell/voipcore/wire"
)

// Ping answers while the node reads and its links can be had, and names what
// hangs otherwise.
func TestPing(t *testing.T) {
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	reading, free := make(chan struct{}), make(chan struct{})
	n, err := Open(Config{Dial: dialTCP, Packets: u, Clock: systemClock{}, TestNetwork: true,
		KRPC: func([]byte, netip.AddrPort) { reading <- struct{}{}; <-free }})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ask := func(patience time.Duration) string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := n.Ping(ctx); err != nil {
			return err.Error()
		}
		return ""
	}
	if got := ask(time.Minute); got != "" {
		t.Errorf("a node that turns: %s", got)
	}

	if _, err := u.WriteToUDPAddrPort([]byte{wire.FirstByteKRPC}, u.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	<-reading
	if got := ask(50 * time.Millisecond); !strings.Contains(got, "a packet is not done with") {
		t.Errorf("a node that hangs at a packet says %q", got)
	}
	free <- struct{}{}
	if got := ask(time.Minute); got != "" {
		t.Errorf("a node that is done with the packet: %s", got)
	}

	n.links.mu.Lock()
	if got := ask(50 * time.Millisecond); !strings.Contains(got, "links") {
		t.Errorf("a node whose links are held says %q", got)
	}
	n.links.mu.Unlock()
	if got := ask(time.Minute); got != "" {
		t.Errorf("a node whose links are free: %s", got)
	}
}
