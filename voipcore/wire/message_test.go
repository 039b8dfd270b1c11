package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"hushbell/voipcore/pid"
)

var somePID = pid.ID(count(0x20, 32))

// messages has every type of message, laid out by hand after messages.md.
var messages = []struct {
	m    Message
	laid []byte
}{
	{Message{Type: CallInitiate, PID: somePID, NoT: 2}, laid("0028 02bc", somePID[:], "02 000000")},
	{Message{Type: CallInitiateReply, PID: somePID, OK: true}, laid("0028 02bd", somePID[:], "80 000000")},
	{Message{Type: CallInitiateReply, PID: somePID}, laid("0028 02bd", somePID[:], "00 000000")},
	{Message{Type: CallBusy, PID: somePID}, laid("0024 02be", somePID[:])},
	{Message{Type: CallBusyReply, PID: somePID, OK: true}, laid("0028 02bf", somePID[:], "80 000000")},
	{Message{Type: CallWaiting, PID: somePID}, laid("0024 02c0", somePID[:])},
	{Message{Type: CallWaitingReply, PID: somePID, OK: true, TTW: 30}, laid("0028 02c1", somePID[:], "80 1e 0000")},
	{Message{Type: CallTerminate, PID: somePID}, laid("0024 02c2", somePID[:])},
	{Message{Type: CallTerminateReply, PID: somePID, OK: true}, laid("0028 02c3", somePID[:], "80 000000")},
	{Message{Type: HeartBeat, PID: somePID}, laid("0024 02c4", somePID[:])},
	{Message{Type: HeartBeatReply, PID: somePID, OK: true}, laid("0028 02c5", somePID[:], "80 000000")},
	{Message{Type: CallParameters, PID: somePID, Params: Parameters{1, 20, 32, 1}}, laid("0028 02c7", somePID[:], "01 14 20 01")},
	{Message{Type: CallParametersReply, PID: somePID, Params: Parameters{1, 20, 32, 0}}, laid("0028 02c8", somePID[:], "01 14 20 00")},
	{Message{Type: CallResume, PID: somePID, CallID: [16]byte(count(0xa0, 16))}, laid("0034 02c9", somePID[:], count(0xa0, 16))},
	{Message{Type: CallResumeReply, PID: somePID, OK: true}, laid("0028 02ca", somePID[:], "80 000000")},
	{Message{Type: Door, PID: somePID, PIN: PIN{'4', '7', '1', '1'}}, laid("0034 02cb", somePID[:], "34373131 00000000 00000000 00000000")},
	{Message{Type: DoorReply, PID: somePID, OK: true}, laid("0028 02cc", somePID[:], "80 000000")},
	{Message{Type: DoorReply, PID: somePID}, laid("0028 02cc", somePID[:], "00 000000")},
}

func TestMessages(t *testing.T) {
	var vs []vector
	seen := map[Type]bool{}
	for _, tt := range messages {
		b, err := tt.m.Append([]byte("before"))
		if b, ok := bytes.CutPrefix(b, []byte("before")); err != nil || !ok || !bytes.Equal(b, tt.laid) {
			t.Errorf("%v = %x, %v, want %x", tt.m.Type, b, err, tt.laid)
		}
		if m, err := DecodeMessage(tt.laid); m != tt.m || err != nil {
			t.Errorf("%x = %+v, %v, want %+v", tt.laid, m, err, tt.m)
		}
		if n, err := MessageSize((*[MessageHeaderSize]byte)(tt.laid)); n != len(tt.laid) || err != nil {
			t.Errorf("MessageSize of %v = %d, %v, want %d", tt.m.Type, n, err, len(tt.laid))
		}
		if len(tt.laid) > MaxMessageSize {
			t.Errorf("%v has %d bytes, more than MaxMessageSize", tt.m.Type, len(tt.laid))
		}
		seen[tt.m.Type] = true
		vs = append(vs, vector{tt.m.Type.String(), tt.laid})
	}
	for typ := range messageSizes {
		if !seen[typ] {
			t.Errorf("%v has no vector", typ)
		}
	}
	golden(t, "messages.golden", "The control messages, pid 20 21 22 ... 3f.", vs)
}

// edit returns a copy of b with the byte at i set to x. i counts from the end
// if it is negative.
func edit(b []byte, i int, x byte) []byte {
	b = bytes.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] = x
	return b
}

// layOf returns the vector of a type.
func layOf(typ Type) []byte {
	for _, tt := range messages {
		if tt.m.Type == typ {
			return tt.laid
		}
	}
	panic("no vector of " + typ.String())
}

func TestMessageRejects(t *testing.T) {
	initiate := layOf(CallInitiate)
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrSize},
		{"header alone", initiate[:4], ErrSize},
		{"one byte short", initiate[:39], ErrSize},
		{"one byte more", append(bytes.Clone(initiate), 0), ErrSize},
		{"size field one less", edit(initiate, 1, 39), ErrSize},
		{"size field one more", edit(initiate, 1, 41), ErrSize},
		{"size field of 64 k", edit(initiate, 0, 0xff), ErrSize},
		{"type below ours", edit(initiate, 3, 0xbb), ErrType},
		{"type above ours", edit(initiate, 3, 0xcd), ErrType},
		{"voice as a message", edit(initiate, 3, 0xc6), ErrType},
		{"hop message", edit(edit(initiate, 2, 0x01), 3, 0xf5), ErrType},
		{"TTW where the type has none", edit(layOf(CallBusyReply), 37, 1), ErrReserved},
		{"reserved after TTW", edit(layOf(CallWaitingReply), 38, 1), ErrReserved},
	}
	for _, typ := range []Type{CallInitiateReply, CallBusyReply, CallWaitingReply, CallTerminateReply, HeartBeatReply, CallResumeReply, DoorReply} {
		for bit := range 7 {
			tests = append(tests, struct {
				name string
				b    []byte
				want error
			}{typ.String() + " with a reserved flag", edit(layOf(typ), 36, 1<<bit), ErrReserved})
		}
	}
	for _, typ := range []Type{CallInitiate, CallInitiateReply, CallBusyReply, CallWaitingReply, CallTerminateReply, HeartBeatReply, CallResumeReply, DoorReply} {
		tests = append(tests, struct {
			name string
			b    []byte
			want error
		}{typ.String() + " with a dirty last byte", edit(layOf(typ), -1, 1), ErrReserved})
	}
	for _, tt := range tests {
		if m, err := DecodeMessage(tt.b); !errors.Is(err, tt.want) || m != (Message{}) {
			t.Errorf("%s: %x = %+v, %v, want %v", tt.name, tt.b, m, err, tt.want)
		}
	}
}

// A field that the type does not have would be lost without a word.
func TestMessageAppendRejects(t *testing.T) {
	fields := []Message{
		{OK: true}, {NoT: 1}, {TTW: 1}, {Params: Parameters{Redundancy: 1}}, {CallID: [16]byte{15: 1}},
		{PIN: PIN{15: 1}},
	}
	may := map[Type][]int{
		CallInitiate: {1}, CallInitiateReply: {0}, CallBusyReply: {0}, CallWaitingReply: {0, 2}, CallTerminateReply: {0},
		HeartBeatReply: {0}, CallParameters: {3}, CallParametersReply: {3}, CallResume: {4}, CallResumeReply: {0}, Door: {5}, DoorReply: {0},
	}
	for typ := range messageSizes {
		for i, m := range fields {
			m.Type = typ
			ok := false
			for _, f := range may[typ] {
				ok = ok || f == i
			}
			b, err := m.Append([]byte("x"))
			if ok != (err == nil) || !ok && (!errors.Is(err, ErrValue) || string(b) != "x") {
				t.Errorf("%+v = %x, %v, want encoded: %v", m, b, err, ok)
			}
		}
	}
	for _, typ := range []Type{0, CallData, 717, DHTGet, 0xffff} {
		if b, err := (Message{Type: typ}).Append(nil); !errors.Is(err, ErrType) || b != nil {
			t.Errorf("%v = %x, %v, want %v", typ, b, err, ErrType)
		}
	}
}

// The names are those of the seed and the course, each once.
func TestTypeNames(t *testing.T) {
	seen := map[string]bool{}
	for typ, name := range typeNames {
		if seen[name] || !strings.HasPrefix(name, "MSG_") {
			t.Errorf("type %d is named %q, which is another's or no name", uint16(typ), name)
		}
		seen[name] = true
	}
	if got := Type(4711).String(); got != "type 4711" {
		t.Errorf("an unknown type is named %q", got)
	}
}

func FuzzMessage(f *testing.F) {
	for _, tt := range messages {
		f.Add(tt.laid)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		if n, err := MessageSize((*[MessageHeaderSize]byte)(b)); n != len(b) || err != nil {
			t.Fatalf("%x decodes, but MessageSize = %d, %v", b, n, err)
		}
		if got, err := m.Append(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x\nis %+v, which is encoded as\n%x, %v", b, m, got, err)
		}
	})
}
