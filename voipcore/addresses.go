package voipcore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// addressGrace is for how long an address may be away: a cable that is pulled for
// a moment, or a renewed lease, takes it away and brings it back, and TCP does not
// mind.
const addressGrace = 3 * time.Second

// addressEvents opens what can be read when addresses of this machine's network
// devices have changed, rtnetlink(7).
func addressEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("voipcore: netlink: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}); err != nil {
		f.Close()
		return nil, fmt.Errorf("voipcore: netlink: %w", err)
	}
	return f, nil
}

// watchAddresses calls changed addressGrace after something could be read from
// events, and again for what came meanwhile, until ctx is done. It closes events.
func watchAddresses(ctx context.Context, events io.ReadCloser, changed func()) error {
	defer events.Close()
	defer context.AfterFunc(ctx, func() { events.Close() })()
	var b [1 << 13]byte // a message that is longer is cut; that there was one is enough
	for {
		// ENOBUFS: more changed than the socket holds.
		if _, err := events.Read(b[:]); err != nil && !errors.Is(err, unix.ENOBUFS) {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("voipcore: netlink: %w", err)
		}
		select {
		case <-time.After(addressGrace):
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}

// addressGone reports whether an address is no longer one of this machine: the
// kernel binds to no other.
func addressGone(a netip.Addr) bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err == nil {
		c.Close()
	}
	return errors.Is(err, unix.EADDRNOTAVAIL)
}

// leaveAddresses gives up links over addresses that this machine had, until the
// Core closes. TCP would take minutes to notice that nothing comes back to them.
func (c *Core) leaveAddresses() {
	events, err := addressEvents()
	if err == nil {
		err = watchAddresses(c.ctx, events, func() { c.node.Leave(addressGone) })
	}
	if err != nil {
		c.log.Warn("the system does not tell of changed addresses: after one this box cannot be called for a minute", "err", err)
	}
}
