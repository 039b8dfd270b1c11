// Package wire lays out every byte that Hushbell's nodes send each other: the
// seed's control messages, what a tunnel's client says to a hop, the cells of
// links and of voice, records and descriptors. voipcore/PROTOCOL.md draws them.
//
// It does no I/O, starts nothing and knows nothing of calls or tunnels. All
// integers are big-endian, and everything has exactly one encoding: reserved
// bits, padding and unused fields are zero, and are rejected otherwise.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Decoding errors. Each means that the sender is broken or hostile; errors of
// this package wrap one of them.
var (
	ErrType     = errors.New("unknown type")
	ErrSize     = errors.New("size does not fit the type")
	ErrReserved = errors.New("reserved bits or padding are not zero")
	ErrValue    = errors.New("value out of range")
	ErrAddress  = errors.New("not one plain address and a port")
)

// headerSize is the size of the course's header: size u16, type u16.
const headerSize = 4

// A Type is the type field of a message.
type Type uint16

func appendHeader(b []byte, size int, t Type) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	return binary.BigEndian.AppendUint16(b, uint16(t))
}

// zeros is what padding is compared with: many bytes at a time, for every cell
// is checked.
var zeros [CellSize]byte

func zero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

// addressSize is the size of an address on the wire: port u16, reserved u16,
// IPv4 4, IPv6 16, as the course's messages have them. One of the two is zero.
const addressSize = 24

// appendAddress appends a, which must be a plain IPv4 or IPv6 address (no zone,
// not v4-mapped) with a port.
func appendAddress(b []byte, a netip.AddrPort) ([]byte, error) {
	ip := a.Addr()
	if !a.IsValid() || a.Port() == 0 || ip.IsUnspecified() || ip.Is4In6() || ip.Zone() != "" {
		return b, fmt.Errorf("wire: %w", ErrAddress)
	}
	b = binary.BigEndian.AppendUint16(b, a.Port())
	b = append(b, 0, 0)
	return appendIPs(b, ip), nil
}

func appendIPs(b []byte, ips ...netip.Addr) []byte {
	var both [20]byte
	for _, ip := range ips {
		switch {
		case ip.Is4():
			*(*[4]byte)(both[:4]) = ip.As4()
		case ip.Is6():
			*(*[16]byte)(both[4:]) = ip.As16()
		}
	}
	return append(b, both[:]...)
}

func decodeAddress(b *[addressSize]byte) (netip.AddrPort, error) {
	if b[2] != 0 || b[3] != 0 {
		return netip.AddrPort{}, fmt.Errorf("wire: address: %w", ErrReserved)
	}
	v4, v6, err := decodeIPs((*[20]byte)(b[4:]))
	port := binary.BigEndian.Uint16(b[:2])
	if err != nil || port == 0 || v4.IsValid() == v6.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("wire: %w", ErrAddress)
	}
	if v4.IsValid() {
		return netip.AddrPortFrom(v4, port), nil
	}
	return netip.AddrPortFrom(v6, port), nil
}

// decodeIPs reads IPv4 4, IPv6 16; a zero one is invalid in the result.
func decodeIPs(b *[20]byte) (v4, v6 netip.Addr, err error) {
	if !zero(b[:4]) {
		v4 = netip.AddrFrom4([4]byte(b[:4]))
	}
	if !zero(b[4:]) {
		if v6 = netip.AddrFrom16([16]byte(b[4:])); v6.Is4In6() {
			return v4, v6, fmt.Errorf("wire: v4-mapped: %w", ErrAddress)
		}
	}
	return v4, v6, nil
}
