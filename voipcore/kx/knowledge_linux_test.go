package kx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"hushbell/voipcore/wire"
)

// clientAt is a client on loopback with an address of its own.
func clientAt(t testing.TB, ip netip.Addr) *Node {
	t.Helper()
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip.AsSlice()}}
		return d.DialContext(ctx, "tcp4", to.String())
	}
	n, err := Open(Config{Dial: dial, Packets: u, Clock: systemClock{}, TestNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// forms are the ways in which a process may hold an address: as text, as
// netip.Addr (two words, of either byte order) and as net.IP of 16 bytes.
func forms(ip netip.Addr) map[string][]byte {
	a := ip.As4()
	return map[string][]byte{
		"text":                      []byte(ip.String()),
		"netip.Addr, little endian": {a[3], a[2], a[1], a[0], 0xff, 0xff, 0, 0},
		"net.IP or big endian":      {0xff, 0xff, a[0], a[1], a[2], a[3]},
	}
}

// writable returns the writable memory of a process.
func writable(t testing.TB, pid int) [][]byte {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if errors.Is(err, fs.ErrPermission) && os.Getenv("CI") != "true" {
		t.Skip("the system does not let a process read its child's memory (kernel.yama.ptrace_scope)")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer pages.Close()
	size := int64(os.Getpagesize())
	var parts [][]byte
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		// What is as large as the last is the race detector's own.
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 1<<30 {
			continue
		}
		// Most of what Go reserves was never touched: only pages that are
		// there, or swapped (bits 63 and 62), are read, neighbours together.
		there := make([]byte, (to-from)/size*8)
		if _, err := pages.ReadAt(there, from/size*8); err != nil {
			continue // the kernel's own pages at the end of the address space
		}
		var part []byte
		for at := from; at < to; at += size {
			if there[(at-from)/size*8+7]&0xc0 != 0 {
				part = append(part, make([]byte, size)...)
				if _, err := mem.ReadAt(part[int64(len(part))-size:], at); err == nil {
					continue
				}
			}
			if len(part) > 0 {
				parts, part = append(parts, part), nil
			}
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		t.Fatal("no memory could be read")
	}
	return parts
}

func holds(parts [][]byte, ip netip.Addr) (as []string) {
	for name, form := range forms(ip) {
		for _, p := range parts {
			if bytes.Contains(p, form) {
				as = append(as, name)
				break
			}
		}
	}
	return as
}

// Each guard holds its client's address, and no other relay does, nor the
// exchange point: five processes on the way of a call, and their memory.
func TestRelaysDoNotHoldFarAddresses(t *testing.T) {
	ips := [2]netip.Addr{netip.MustParseAddr("127.201.87.33"), netip.MustParseAddr("127.147.59.211")}
	var cs [5]*relayChild
	for i := range cs {
		cs[i] = newRelayChild(t)
	}
	from, to := join(t, clientAt(t, ips[0]), clientAt(t, ips[1]),
		[]Relay{cs[0].Relay, cs[1].Relay, cs[2].Relay}, []Relay{cs[4].Relay, cs[3].Relay, cs[2].Relay})
	talk(t, from, to)
	for _, ends := range [][2]*Tunnel{{from, to}, {to, from}} {
		heard := make(chan struct{}, 1)
		ends[1].OnVoice(func(*wire.Frame) {
			select {
			case heard <- struct{}{}:
			default:
			}
		})
		eventually(t, "voice arrives", func() bool {
			ends[0].SendVoice(new(wire.Frame))
			return len(heard) > 0
		})
	}
	for i, c := range cs {
		memory := writable(t, c.pid)
		for k, ip := range ips {
			as := holds(memory, ip)
			if guard := i == 4*k; guard && len(as) == 0 {
				t.Errorf("relay %d is the guard of %v, and its memory does not hold it: the search does not work", i, ip)
			} else if !guard && len(as) > 0 {
				t.Errorf("relay %d holds the address of an end, as %v", i, as)
			}
		}
	}
}
