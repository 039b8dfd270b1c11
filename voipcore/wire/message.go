package wire

import (
	"encoding/binary"
	"fmt"

	"hushbell/voipcore/pid"
)

// The seed's messages of the voice protocol, and our additions to them
// (messages.md; the course gives VoIP no range of its own).
const (
	CallInitiate        Type = 700
	CallInitiateReply   Type = 701
	CallBusy            Type = 702
	CallBusyReply       Type = 703
	CallWaiting         Type = 704
	CallWaitingReply    Type = 705
	CallTerminate       Type = 706
	CallTerminateReply  Type = 707
	HeartBeat           Type = 708
	HeartBeatReply      Type = 709
	CallData            Type = 710 // never a Message: it travels as a Frame
	CallParameters      Type = 711 // ours
	CallParametersReply Type = 712 // ours
	CallResume          Type = 713 // ours
	CallResumeReply     Type = 714 // ours
	Door                Type = 715 // ours
	DoorReply           Type = 716 // ours
)

const (
	pidOffset  = headerSize
	bodyOffset = pidOffset + 32

	// MessageHeaderSize is how many bytes MessageSize needs to see.
	MessageHeaderSize = headerSize
	// MaxMessageSize is the size of the largest Message.
	MaxMessageSize = bodyOffset + 16
)

const flagOK = 1 << 7 // bit 7 of the flags byte, where the seed draws ok_bit

// Parameters are what two ends negotiate before they talk.
type Parameters struct {
	Codec      uint8 // 1 is Opus, 48 kHz mono
	FrameMS    uint8 // frame length in milliseconds
	Kbits      uint8 // bitrate in kbit/s
	Redundancy uint8 // copies of earlier frames in each datagram
}

// A Message is one control message. Fields that its Type does not have are
// zero. Messages are comparable.
type Message struct {
	Type   Type
	PID    pid.ID     // in a request the callee's, in a reply the caller's
	OK     bool       // replies other than CallParametersReply
	NoT    uint8      // CallInitiate: tries made so far
	TTW    uint8      // CallWaitingReply: seconds to wait
	Params Parameters // CallParameters, CallParametersReply
	CallID [16]byte   // CallResume
	PIN    PIN        // Door
}

// PINSize is the size of a PIN.
const PINSize = 16

// A PIN is what opens a door: up to PINSize bytes, zeros behind them. It does not
// show itself when it is printed.
type PIN [PINSize]byte

func (PIN) String() string   { return "PIN" }
func (PIN) GoString() string { return "PIN" }

// messageSizes maps a type to the size of its messages.
var messageSizes = map[Type]int{
	CallInitiate:        40,
	CallInitiateReply:   40,
	CallBusy:            36,
	CallBusyReply:       40,
	CallWaiting:         36,
	CallWaitingReply:    40,
	CallTerminate:       36,
	CallTerminateReply:  40,
	HeartBeat:           36,
	HeartBeatReply:      40,
	CallParameters:      40,
	CallParametersReply: 40,
	CallResume:          52,
	CallResumeReply:     40,
	Door:                52,
	DoorReply:           40,
}

// MessageSize returns the size of the message that starts with header, so that
// a reader of a stream knows how much to read. It fails unless type and size
// are those of a Message.
func MessageSize(header *[MessageHeaderSize]byte) (int, error) {
	t := Type(binary.BigEndian.Uint16(header[2:]))
	size, ok := messageSizes[t]
	if !ok {
		return 0, fmt.Errorf("wire: message %d: %w", t, ErrType)
	}
	if got := int(binary.BigEndian.Uint16(header[:])); got != size {
		return 0, fmt.Errorf("wire: %v of %d bytes: %w", t, got, ErrSize)
	}
	return size, nil
}

// Append appends the encoding of m to b. It fails if m has a field set that
// its type does not have.
func (m Message) Append(b []byte) ([]byte, error) {
	size, ok := messageSizes[m.Type]
	if !ok {
		return b, fmt.Errorf("wire: message %d: %w", m.Type, ErrType)
	}
	start := len(b)
	b = appendHeader(b, size, m.Type)
	b = append(b, m.PID[:]...)
	b = append(b, make([]byte, size-bodyOffset)...)
	m.putBody(b[start+bodyOffset:])
	if back, err := DecodeMessage(b[start:]); err != nil || back != m {
		return b[:start], fmt.Errorf("wire: %v with a field of another type: %w", m.Type, ErrValue)
	}
	return b, nil
}

func (m *Message) putBody(b []byte) {
	switch m.Type {
	case CallInitiate:
		b[0] = m.NoT
	case CallWaitingReply:
		b[0], b[1] = okByte(m.OK), m.TTW
	case CallInitiateReply, CallBusyReply, CallTerminateReply, HeartBeatReply, CallResumeReply, DoorReply:
		b[0] = okByte(m.OK)
	case CallParameters, CallParametersReply:
		b[0], b[1], b[2], b[3] = m.Params.Codec, m.Params.FrameMS, m.Params.Kbits, m.Params.Redundancy
	case CallResume:
		copy(b, m.CallID[:])
	case Door:
		copy(b, m.PIN[:])
	}
}

func okByte(ok bool) byte {
	if ok {
		return flagOK
	}
	return 0
}

// DecodeMessage decodes b, which must be one whole message and nothing else.
// It keeps no part of b.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) < bodyOffset {
		return Message{}, fmt.Errorf("wire: message of %d bytes: %w", len(b), ErrSize)
	}
	size, err := MessageSize((*[MessageHeaderSize]byte)(b))
	if err != nil {
		return Message{}, err
	}
	m := Message{Type: Type(binary.BigEndian.Uint16(b[2:])), PID: pid.ID(b[pidOffset:bodyOffset])}
	if len(b) != size {
		return Message{}, fmt.Errorf("wire: %v in %d bytes: %w", m.Type, len(b), ErrSize)
	}
	body, rest := b[bodyOffset:], []byte(nil)
	switch m.Type {
	case CallInitiate:
		m.NoT, rest = body[0], body[1:]
	case CallWaitingReply:
		m.OK, m.TTW, rest = body[0]&flagOK != 0, body[1], body[2:]
	case CallInitiateReply, CallBusyReply, CallTerminateReply, HeartBeatReply, CallResumeReply, DoorReply:
		m.OK, rest = body[0]&flagOK != 0, body[1:]
	case CallParameters, CallParametersReply:
		m.Params = Parameters{body[0], body[1], body[2], body[3]}
	case CallResume:
		m.CallID = [16]byte(body)
	case Door:
		m.PIN = PIN(body)
	}
	if !zero(rest) || m.Type.reply() && body[0]&^flagOK != 0 {
		return Message{}, fmt.Errorf("wire: %v: %w", m.Type, ErrReserved)
	}
	return m, nil
}

// reply tells whether messages of type t start their body with a flags byte.
func (t Type) reply() bool {
	switch t {
	case CallInitiateReply, CallBusyReply, CallWaitingReply, CallTerminateReply, HeartBeatReply, CallResumeReply, DoorReply:
		return true
	}
	return false
}

// Reply reports whether messages of type t answer another, and so hold the
// caller's pid; requests hold the callee's.
func (t Type) Reply() bool {
	return t.reply() || t == CallParametersReply
}

var typeNames = map[Type]string{
	CallInitiate:        "MSG_VOIP_CALL_INITIATE",
	CallInitiateReply:   "MSG_VOIP_CALL_INITIATE_REPLY",
	CallBusy:            "MSG_VOIP_CALL_BUSY",
	CallBusyReply:       "MSG_VOIP_CALL_BUSY_REPLY",
	CallWaiting:         "MSG_VOIP_CALL_WAITING",
	CallWaitingReply:    "MSG_VOIP_CALL_WAITING_REPLY",
	CallTerminate:       "MSG_VOIP_CALL_TERMINATE",
	CallTerminateReply:  "MSG_VOIP_CALL_TERMINATE_REPLY",
	HeartBeat:           "MSG_VOIP_HEART_BEAT",
	HeartBeatReply:      "MSG_VOIP_HEART_BEAT_REPLY",
	CallData:            "MSG_VOIP_CALL_DATA",
	CallParameters:      "MSG_VOIP_CALL_PARAMETERS",
	CallParametersReply: "MSG_VOIP_CALL_PARAMETERS_REPLY",
	CallResume:          "MSG_VOIP_CALL_RESUME",
	CallResumeReply:     "MSG_VOIP_CALL_RESUME_REPLY",
	Door:                "MSG_VOIP_DOOR",
	DoorReply:           "MSG_VOIP_DOOR_REPLY",

	DHTPut:        "MSG_DHT_PUT",
	DHTGet:        "MSG_DHT_GET",
	DHTTrace:      "MSG_DHT_TRACE",
	DHTGetReply:   "MSG_DHT_GET_REPLY",
	DHTTraceReply: "MSG_DHT_TRACE_REPLY",
	DHTError:      "MSG_DHT_ERROR",
	DHTPutReply:   "MSG_DHT_PUT_REPLY",

	KXReady:         "MSG_KX_TN_READY",
	KXError:         "MSG_KX_ERROR",
	KXExtend:        "MSG_KX_EXTEND",
	KXExtendReply:   "MSG_KX_EXTEND_REPLY",
	KXRegister:      "MSG_KX_REGISTER",
	KXRegisterReply: "MSG_KX_REGISTER_REPLY",
	KXJoin:          "MSG_KX_JOIN",
	KXDescribe:      "MSG_KX_DESCRIBE",
	KXDescriptor:    "MSG_KX_DESCRIPTOR",
}

// String returns the seed's name of t, or its number.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint16(t))
}
