package wire

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"hushbell/voipcore/pid"
)

// DescriptorSize is the size of a relay's descriptor.
const DescriptorSize = descriptorSigned + ed25519.SignatureSize

const descriptorSigned = 4 + 8 + 32 + addressSize

const descriptorVersion = 1

// descriptorContext comes before the signed bytes, so that a relay's key never
// signs the same bytes for two purposes.
const descriptorContext = "hushbell descriptor\x00"

// ErrSignature means that a descriptor is not signed by the key in it.
var ErrSignature = errors.New("wrong signature")

// A Descriptor is what a relay says of itself, signed:
//
//	0         1          4             12          44     46         48     52     68          132
//	| version | reserved | valid until | relay key | port | reserved | IPv4 | IPv6 | signature |
//
// Descriptors are comparable.
type Descriptor struct {
	Key        pid.ID
	Port       uint16
	V4, V6     netip.Addr // at least one is valid; V6 is never v4-mapped
	ValidUntil int64      // Unix seconds
	Sig        [ed25519.SignatureSize]byte
}

// Sign sets d.Key and d.Sig.
func (d *Descriptor) Sign(k *pid.Key) {
	d.Key = k.ID()
	d.Sig = [64]byte(ed25519.Sign(k.Private(), d.signed()))
}

// Verify reports whether the key in d signed it and it is valid at now.
func (d *Descriptor) Verify(now time.Time) error {
	if !ed25519.Verify(d.Key[:], d.signed(), d.Sig[:]) {
		return fmt.Errorf("wire: descriptor: %w", ErrSignature)
	}
	if now.Unix() > d.ValidUntil {
		return fmt.Errorf("wire: descriptor is out of date: %w", ErrValue)
	}
	return nil
}

func (d *Descriptor) signed() []byte {
	return d.append([]byte(descriptorContext))[:len(descriptorContext)+descriptorSigned]
}

// Addr returns the relay's address of the family that want has, or the other
// one if there is no such. It is never invalid.
func (d *Descriptor) Addr(wantV6 bool) netip.AddrPort {
	if d.V6.IsValid() && (wantV6 || !d.V4.IsValid()) {
		return netip.AddrPortFrom(d.V6, d.Port)
	}
	return netip.AddrPortFrom(d.V4, d.Port)
}

// Append appends the encoding of d to b.
func (d *Descriptor) Append(b []byte) []byte { return d.append(b) }

func (d *Descriptor) append(b []byte) []byte {
	b = append(b, descriptorVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(d.ValidUntil))
	b = append(b, d.Key[:]...)
	b = binary.BigEndian.AppendUint16(b, d.Port)
	b = append(b, 0, 0)
	b = appendIPs(b, d.V4, d.V6)
	return append(b, d.Sig[:]...)
}

// DecodeDescriptor reads b. It does not check signature and time: see Verify.
func DecodeDescriptor(b *[DescriptorSize]byte) (Descriptor, error) {
	d := Descriptor{
		ValidUntil: int64(binary.BigEndian.Uint64(b[4:])),
		Key:        pid.ID(b[12:44]),
		Port:       binary.BigEndian.Uint16(b[44:]),
		Sig:        [64]byte(b[descriptorSigned:]),
	}
	var err error
	switch d.V4, d.V6, err = decodeIPs((*[20]byte)(b[48:])); {
	case err != nil:
		return Descriptor{}, err
	case b[0] != descriptorVersion:
		return Descriptor{}, fmt.Errorf("wire: descriptor version %d: %w", b[0], ErrType)
	case !zero(b[1:4]) || !zero(b[46:48]):
		return Descriptor{}, fmt.Errorf("wire: descriptor: %w", ErrReserved)
	case d.Port == 0 || !d.V4.IsValid() && !d.V6.IsValid():
		return Descriptor{}, fmt.Errorf("wire: descriptor: %w", ErrAddress)
	case d.ValidUntil < 0:
		return Descriptor{}, fmt.Errorf("wire: descriptor: %w", ErrValue)
	}
	return d, nil
}
