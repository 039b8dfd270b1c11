package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"hushbell/voipcore/pid"
)

// What a client says to the last hop of its tunnel, inside its TLS with that
// hop, and what the hop answers. 500 to 505, 602 and 604 are the course's
// numbers; the rest is ours.
const (
	DHTPut        Type = 500
	DHTGet        Type = 501
	DHTTrace      Type = 502
	DHTGetReply   Type = 503
	DHTTraceReply Type = 504
	DHTError      Type = 505
	DHTPutReply   Type = 506 // ours

	KXReady Type = 602 // both ends are joined: from here on the stream is theirs
	KXError Type = 604

	KXExtend        Type = 610
	KXExtendReply   Type = 611
	KXRegister      Type = 612
	KXRegisterReply Type = 613
	KXJoin          Type = 614
	KXDescribe      Type = 615
	KXDescriptor    Type = 616
)

const (
	// MaxItemValue is the largest value of a DHT item that we store, in bytes.
	MaxItemValue = 900
	// MaxTraceHops is the most hops that a trace reply names.
	MaxTraceHops = 16

	itemHeader = 8 + 64
	traceHop   = 32 + addressSize

	// MaxHopMessageSize is the size of the largest HopMessage.
	MaxHopMessageSize = 44 + itemHeader + MaxItemValue
)

// An Item is a signed DHT item (BEP 44, mutable, no salt) on its way through a
// tunnel: seq i64, signature 64, value.
type Item struct {
	Key   [32]byte
	Seq   int64
	Sig   [64]byte
	Value []byte // at most MaxItemValue bytes
}

// A TraceHop is one node on the way of a TRACE.
type TraceHop struct {
	ID   [32]byte // the DHT's node id, zero padded
	Addr netip.AddrPort
}

// A HopMessage is one message between a client and a hop. Fields that its Type
// does not have are zero.
type HopMessage struct {
	Type Type

	Key  [32]byte // DHTGet, DHTTrace, DHTError
	Item Item     // DHTPut, DHTGetReply
	TTL  uint16   // DHTPut: seconds, 1 to 43200

	// Replication is, in DHTPut, how many nodes should store the item, and in
	// DHTPutReply how many did.
	Replication uint8

	Hops []TraceHop // DHTTraceReply: the last hop first

	Request Type   // DHTError, KXError: the type of the request that failed
	Reason  Reason // DHTError, KXError

	// KXExtend: Relay is the next hop's key; a zero key means whichever key
	// that address holds, to learn its descriptor. Layers is how many voice
	// layers are left under this hop's.
	Relay  pid.ID
	Addr   netip.AddrPort
	Layers uint8

	Cookie [16]byte // KXRegister, KXJoin
	Secret [32]byte // KXRegister

	Descriptor Descriptor // KXDescriptor
	Time       int64      // KXDescriptor: the relay's clock, Unix seconds
}

// MaxTTL is the longest time to live that the course allows, in seconds.
const MaxTTL = 43200

// HopMessageSize returns the size of the message that starts with header, so
// that a reader of a stream knows how much to read.
func HopMessageSize(header *[headerSize]byte) (int, error) {
	t, size := Type(binary.BigEndian.Uint16(header[2:])), int(binary.BigEndian.Uint16(header[:]))
	lo, hi, step := t.hopSize()
	if hi == 0 {
		return 0, fmt.Errorf("wire: hop message %d: %w", t, ErrType)
	}
	if size < lo || size > hi || (size-lo)%step != 0 {
		return 0, fmt.Errorf("wire: %v of %d bytes: %w", t, size, ErrSize)
	}
	return size, nil
}

// hopSize returns the smallest and largest size of a type, and the step between.
func (t Type) hopSize() (lo, hi, step int) {
	switch t {
	case DHTPut:
		return 44 + itemHeader + 1, 44 + itemHeader + MaxItemValue, 1
	case DHTGet, DHTTrace:
		return 36, 36, 1
	case DHTGetReply:
		return 36 + itemHeader + 1, 36 + itemHeader + MaxItemValue, 1
	case DHTTraceReply:
		return 36, 36 + MaxTraceHops*traceHop, traceHop
	case DHTError:
		return 40, 40, 1
	case DHTPutReply, KXError:
		return 8, 8, 1
	case KXReady, KXExtendReply, KXRegisterReply, KXDescribe:
		return 4, 4, 1
	case KXExtend:
		return 64, 64, 1
	case KXRegister:
		return 52, 52, 1
	case KXJoin:
		return 20, 20, 1
	case KXDescriptor:
		return 12 + DescriptorSize, 12 + DescriptorSize, 1
	}
	return 0, 0, 1
}

// Append appends the encoding of m to b. On error b is returned as it was.
func (m *HopMessage) Append(b []byte) ([]byte, error) {
	start := len(b)
	b = appendHeader(b, 0, m.Type)
	var err error
	switch m.Type {
	case DHTPut:
		b = append(b, m.Item.Key[:]...)
		b = binary.BigEndian.AppendUint16(b, m.TTL)
		b = append(b, m.Replication, 0, 0, 0, 0, 0)
		b = appendItem(b, &m.Item)
	case DHTGet, DHTTrace:
		b = append(b, m.Key[:]...)
	case DHTGetReply:
		b = append(b, m.Item.Key[:]...)
		b = appendItem(b, &m.Item)
	case DHTTraceReply:
		b = append(b, m.Key[:]...)
		for i := range m.Hops {
			b = append(b, m.Hops[i].ID[:]...)
			if b, err = appendAddress(b, m.Hops[i].Addr); err != nil {
				return b[:start], err
			}
		}
	case DHTError:
		b = binary.BigEndian.AppendUint16(b, uint16(m.Request))
		b = append(b, 0, byte(m.Reason))
		b = append(b, m.Key[:]...)
	case DHTPutReply:
		b = append(b, m.Replication, 0, 0, 0)
	case KXError:
		b = binary.BigEndian.AppendUint16(b, uint16(m.Request))
		b = append(b, 0, byte(m.Reason))
	case KXExtend:
		b = append(b, m.Relay[:]...)
		b = append(b, m.Layers, 0, 0, 0)
		if b, err = appendAddress(b, m.Addr); err != nil {
			return b[:start], err
		}
	case KXRegister:
		b = append(b, m.Cookie[:]...)
		b = append(b, m.Secret[:]...)
	case KXJoin:
		b = append(b, m.Cookie[:]...)
	case KXDescriptor:
		b = binary.BigEndian.AppendUint64(b, uint64(m.Time))
		b = m.Descriptor.append(b)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start))
	if _, err := DecodeHopMessage(b[start:]); err != nil {
		return b[:start], err
	}
	return b, nil
}

func appendItem(b []byte, it *Item) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(it.Seq))
	b = append(b, it.Sig[:]...)
	return append(b, it.Value...)
}

// DecodeHopMessage decodes b, which must be one whole message and nothing else.
// Item.Value and Hops are fresh copies.
func DecodeHopMessage(b []byte) (*HopMessage, error) {
	if len(b) < headerSize {
		return nil, fmt.Errorf("wire: hop message of %d bytes: %w", len(b), ErrSize)
	}
	size, err := HopMessageSize((*[headerSize]byte)(b))
	if err != nil {
		return nil, err
	}
	m := &HopMessage{Type: Type(binary.BigEndian.Uint16(b[2:]))}
	if len(b) != size {
		return nil, fmt.Errorf("wire: %v in %d bytes: %w", m.Type, len(b), ErrSize)
	}
	if err := m.decodeBody(b[headerSize:]); err != nil {
		return nil, fmt.Errorf("wire: %v: %w", m.Type, err)
	}
	return m, nil
}

func (m *HopMessage) decodeBody(b []byte) (err error) {
	reserved := []byte(nil)
	switch m.Type {
	case DHTPut:
		m.Item.Key = [32]byte(b)
		m.TTL, m.Replication, reserved = binary.BigEndian.Uint16(b[32:]), b[34], b[35:40]
		if m.TTL == 0 || m.TTL > MaxTTL || m.Replication == 0 {
			return ErrValue
		}
		err = m.Item.decode(b[40:])
	case DHTGet, DHTTrace:
		m.Key = [32]byte(b)
	case DHTGetReply:
		m.Item.Key = [32]byte(b)
		err = m.Item.decode(b[32:])
	case DHTTraceReply:
		m.Key = [32]byte(b)
		for b = b[32:]; len(b) > 0; b = b[traceHop:] {
			h := TraceHop{ID: [32]byte(b)}
			if h.Addr, err = decodeAddress((*[addressSize]byte)(b[32:])); err != nil {
				return err
			}
			m.Hops = append(m.Hops, h)
		}
	case DHTError:
		m.Key = [32]byte(b[4:])
		err = m.decodeError(b)
	case KXError:
		err = m.decodeError(b)
	case DHTPutReply:
		m.Replication, reserved = b[0], b[1:]
	case KXExtend:
		m.Relay, m.Layers, reserved = pid.ID(b), b[32], b[33:36]
		if m.Layers >= MaxLayers {
			return ErrValue
		}
		m.Addr, err = decodeAddress((*[addressSize]byte)(b[36:]))
	case KXRegister:
		m.Cookie, m.Secret = [16]byte(b), [32]byte(b[16:])
	case KXJoin:
		m.Cookie = [16]byte(b)
	case KXDescriptor:
		if m.Time = int64(binary.BigEndian.Uint64(b)); m.Time < 0 {
			return ErrValue
		}
		m.Descriptor, err = DecodeDescriptor((*[DescriptorSize]byte)(b[8:]))
	}
	if err == nil && !zero(reserved) {
		err = ErrReserved
	}
	return err
}

func (m *HopMessage) decodeError(b []byte) error {
	m.Request, m.Reason = Type(binary.BigEndian.Uint16(b)), Reason(b[3])
	if b[2] != 0 {
		return ErrReserved
	}
	if m.Reason >= numReasons {
		return ErrValue
	}
	return nil
}

func (it *Item) decode(b []byte) error {
	it.Seq, it.Sig = int64(binary.BigEndian.Uint64(b)), [64]byte(b[8:])
	it.Value = append([]byte(nil), b[itemHeader:]...)
	if it.Seq < 0 {
		return ErrValue
	}
	return nil
}
