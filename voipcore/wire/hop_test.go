package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"hushbell/voipcore/pid"
)

var (
	someV4 = netip.MustParseAddrPort("192.0.2.7:4300")
	someV6 = netip.MustParseAddrPort("[2001:db8::7]:4300")

	laidV4 = laid("10cc 0000 c0000207", 16)
	laidV6 = laid("10cc 0000", 4, "20010db8", 11, "07")

	someKey  = [32]byte(count(0x40, 32))
	someItem = Item{Key: someKey, Seq: 0x0102030405060708, Sig: [64]byte(count(0x80, 64)), Value: []byte("value")}
	laidItem = laid("0102030405060708", count(0x80, 64), []byte("value"))

	someDescriptor = func() Descriptor {
		d := Descriptor{Port: 4300, V4: someV4.Addr(), V6: someV6.Addr(), ValidUntil: 0x6a000000}
		d.Sign(pid.KeyFromSeed([32]byte(count(0, 32))))
		return d
	}()
)

// hopMessages has every type of hop message, laid out by hand: those of the
// course after messages.md.
var hopMessages = []struct {
	name string
	m    HopMessage
	laid []byte
}{
	{"put", HopMessage{Type: DHTPut, Item: someItem, TTL: 7200, Replication: 8},
		laid("0079 01f4", someKey[:], "1c20 08 00 00000000", laidItem)},
	{"get", HopMessage{Type: DHTGet, Key: someKey}, laid("0024 01f5", someKey[:])},
	{"trace", HopMessage{Type: DHTTrace, Key: someKey}, laid("0024 01f6", someKey[:])},
	{"get reply", HopMessage{Type: DHTGetReply, Item: someItem}, laid("0071 01f7", someKey[:], laidItem)},
	{"trace reply", HopMessage{Type: DHTTraceReply, Key: someKey, Hops: []TraceHop{{[32]byte(count(0, 32)), someV4}, {[32]byte(count(1, 32)), someV6}}},
		laid("0094 01f8", someKey[:], count(0, 32), laidV4, count(1, 32), laidV6)},
	{"trace reply without hops", HopMessage{Type: DHTTraceReply, Key: someKey}, laid("0024 01f8", someKey[:])},
	{"dht error", HopMessage{Type: DHTError, Request: DHTGet, Reason: ReasonNotFound, Key: someKey}, laid("0028 01f9 01f5 00 06", someKey[:])},
	{"put reply", HopMessage{Type: DHTPutReply, Replication: 7}, laid("0008 01fa 07 000000")},
	{"ready", HopMessage{Type: KXReady}, laid("0004 025a")},
	{"error", HopMessage{Type: KXError, Request: KXJoin, Reason: ReasonNobody}, laid("0008 025c 0266 00 05")},
	{"extend", HopMessage{Type: KXExtend, Relay: pid.ID(someKey), Addr: someV4, Layers: 2}, laid("0040 0262", someKey[:], "02 000000", laidV4)},
	{"extend to whoever is there", HopMessage{Type: KXExtend, Addr: someV6, Layers: 1}, laid("0040 0262", 32, "01 000000", laidV6)},
	{"extend reply", HopMessage{Type: KXExtendReply}, laid("0004 0263")},
	{"register", HopMessage{Type: KXRegister, Cookie: [16]byte(count(0xa0, 16)), Secret: [32]byte(count(0xc0, 32))},
		laid("0034 0264", count(0xa0, 16), count(0xc0, 32))},
	{"register reply", HopMessage{Type: KXRegisterReply}, laid("0004 0265")},
	{"join", HopMessage{Type: KXJoin, Cookie: [16]byte(count(0xa0, 16))}, laid("0014 0266", count(0xa0, 16))},
	{"describe", HopMessage{Type: KXDescribe}, laid("0004 0267")},
	{"descriptor", HopMessage{Type: KXDescriptor, Time: 0x69000000, Descriptor: someDescriptor},
		laid("0090 0268 0000000069000000 01 000000 000000006a000000", someDescriptor.Key[:],
			"10cc 0000 c0000207 20010db8", 11, "07", someDescriptor.Sig[:])},
}

func TestHopMessages(t *testing.T) {
	var vs []vector
	seen := map[Type]bool{}
	for _, tt := range hopMessages {
		b, err := tt.m.Append([]byte("before"))
		if b, ok := bytes.CutPrefix(b, []byte("before")); err != nil || !ok || !bytes.Equal(b, tt.laid) {
			t.Errorf("%s = %x, %v, want %x", tt.name, b, err, tt.laid)
		}
		if m, err := DecodeHopMessage(tt.laid); err != nil || !reflect.DeepEqual(*m, tt.m) {
			t.Errorf("%s: %x = %+v, %v, want %+v", tt.name, tt.laid, m, err, tt.m)
		}
		if n, err := HopMessageSize((*[headerSize]byte)(tt.laid)); n != len(tt.laid) || err != nil {
			t.Errorf("HopMessageSize of %s = %d, %v, want %d", tt.name, n, err, len(tt.laid))
		}
		seen[tt.m.Type] = true
		vs = append(vs, vector{tt.m.Type.String(), tt.laid})
	}
	for typ := range typeNames {
		if _, _, step := typ.hopSize(); typ < CallInitiate && (!seen[typ] || step == 0) {
			t.Errorf("%v has no vector", typ)
		}
	}
	golden(t, "hop-messages.golden", "What a client and the last hop of its tunnel say to each other.", vs)
}

// What is decoded does not change with the buffer that it was read into.
func TestHopMessageKeepsNothing(t *testing.T) {
	for _, tt := range hopMessages {
		b := bytes.Clone(tt.laid)
		m, err := DecodeHopMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 0xee
		}
		if !reflect.DeepEqual(*m, tt.m) {
			t.Errorf("%s changed with the bytes that it was read from", tt.name)
		}
	}
}

func hopLaid(name string) []byte {
	for _, tt := range hopMessages {
		if tt.name == name {
			return bytes.Clone(tt.laid)
		}
	}
	panic("no vector " + name)
}

// sized returns b with n more bytes of value, or -n fewer, and its size field right.
func sized(b []byte, n int) []byte {
	b = append(b, bytes.Repeat([]byte{'v'}, max(n, 0))...)
	b = b[:len(b)+min(n, 0)]
	b[0], b[1] = byte(len(b)>>8), byte(len(b))
	return b
}

func TestHopMessageRejects(t *testing.T) {
	type test struct {
		name string
		b    []byte
		want error
	}
	put, trace, extend, descriptor := hopLaid("put"), hopLaid("trace reply"), hopLaid("extend"), hopLaid("descriptor")
	v4mapped := laid("10cc 0000", 4, 10, "ffff c0000207")
	address := func(msg []byte, at int, a []byte) []byte {
		msg = bytes.Clone(msg)
		copy(msg[at:], a)
		return msg
	}
	tests := []test{
		{"nothing", nil, ErrSize},
		{"half a header", []byte{0, 4, 2}, ErrSize},
		{"type 0", laid("0004 0000"), ErrType},
		{"course's build in", append(laid("0060 0258"), make([]byte, 92)...), ErrType},
		{"course's destroy", append(laid("0024 025b"), make([]byte, 32)...), ErrType},
		{"type after ours", laid("0004 0269"), ErrType},
		{"voice message", layOf(CallBusy), ErrType},

		{"put without a value", sized(bytes.Clone(put), -5), ErrSize},
		{"put of too much", sized(bytes.Clone(put), MaxItemValue-4), ErrSize},
		{"put for no time", edit(edit(put, 36, 0), 37, 0), ErrValue},
		{"put for longer than the course allows", edit(edit(put, 36, 0xa8), 37, 0xc1), ErrValue}, // 43201
		{"put without replicas", edit(put, 38, 0), ErrValue},
		{"put before the first seq", edit(put, 44, 0x80), ErrValue},
		{"get reply without a value", sized(hopLaid("get reply"), -5), ErrSize},
		{"get reply of too much", sized(hopLaid("get reply"), MaxItemValue-4), ErrSize},
		{"get reply before the first seq", edit(hopLaid("get reply"), 36, 0xff), ErrValue},
		{"trace reply with part of a hop", sized(bytes.Clone(trace), -1), ErrSize},
		{"trace reply with a hop too many", sized(hopLaid("trace reply without hops"), (MaxTraceHops+1)*traceHop), ErrSize},
		{"dht error with a reserved byte", edit(hopLaid("dht error"), 6, 1), ErrReserved},
		{"dht error of unknown reason", edit(hopLaid("dht error"), 7, byte(numReasons)), ErrValue},
		{"error with a reserved byte", edit(hopLaid("error"), 6, 1), ErrReserved},
		{"error of unknown reason", edit(hopLaid("error"), 7, byte(numReasons)), ErrValue},
		{"extend with too many layers", edit(extend, 36, MaxLayers), ErrValue},

		{"descriptor told before 1970", edit(descriptor, 4, 0x80), ErrValue},
		{"descriptor of another version", edit(descriptor, 12, 2), ErrType},
		{"descriptor valid until before 1970", edit(descriptor, 16, 0x80), ErrValue},
		{"descriptor without a port", address(descriptor, 56, laid("0000")), ErrAddress},
		{"descriptor without an address", address(descriptor, 60, make([]byte, 20)), ErrAddress},
		{"descriptor of a v4-mapped address", address(descriptor, 60, laid(4, 10, "ffff c0000207")), ErrAddress},
	}
	for _, at := range []struct {
		name string
		msg  []byte
		off  int
	}{{"extend", extend, 40}, {"trace reply", trace, 36 + 32}} {
		tests = append(tests,
			test{at.name + " to port 0", address(at.msg, at.off, laid("0000")), ErrAddress},
			test{at.name + " with reserved bits in the address", edit(at.msg, at.off+3, 1), ErrReserved},
			test{at.name + " to nowhere", address(at.msg, at.off, laid("10cc 0000", 20)), ErrAddress},
			test{at.name + " to two addresses", address(at.msg, at.off, laid("10cc 0000 c0000207 20010db8", 11, "07")), ErrAddress},
			test{at.name + " to a v4-mapped address", address(at.msg, at.off, v4mapped), ErrAddress},
		)
	}
	for name, at := range map[string][]int{
		"put": {39, 40, 41, 42, 43}, "put reply": {5, 6, 7}, "extend": {37, 38, 39}, "descriptor": {13, 14, 15, 58, 59},
	} {
		for _, i := range at {
			tests = append(tests, test{fmt.Sprintf("%s with reserved byte %d", name, i), edit(hopLaid(name), i, 1), ErrReserved})
		}
	}
	for _, tt := range hopMessages {
		if len(tt.m.Item.Value) > 0 {
			continue // the value is of any length
		}
		tests = append(tests,
			test{tt.name + " a byte longer", sized(bytes.Clone(tt.laid), 1), ErrSize},
			test{tt.name + " a byte shorter", sized(bytes.Clone(tt.laid), -1), ErrSize},
			test{tt.name + " with a byte behind", append(bytes.Clone(tt.laid), 0), ErrSize},
			test{tt.name + " cut off", tt.laid[:len(tt.laid)-1], ErrSize})
	}
	for _, tt := range tests {
		if m, err := DecodeHopMessage(tt.b); !errors.Is(err, tt.want) || m != nil {
			t.Errorf("%s: %x = %+v, %v, want %v", tt.name, tt.b, m, err, tt.want)
		}
	}
}

// The edges of what is allowed are allowed.
func TestHopMessageEdges(t *testing.T) {
	value := bytes.Repeat([]byte{'v'}, MaxItemValue)
	hops := make([]TraceHop, MaxTraceHops)
	for i := range hops {
		hops[i].Addr = someV4
	}
	largest := 0
	for _, m := range []HopMessage{
		{Type: DHTPut, TTL: MaxTTL, Replication: 255, Item: Item{Value: value, Seq: 1<<63 - 1}},
		{Type: DHTPut, TTL: 1, Replication: 1, Item: Item{Value: value[:1]}},
		{Type: DHTGetReply, Item: Item{Value: value}},
		{Type: DHTTraceReply, Hops: hops},
		{Type: DHTPutReply},
		{Type: KXExtend, Addr: netip.MustParseAddrPort("1.0.0.0:65535"), Layers: MaxLayers - 1},
		{Type: KXError, Request: 0xffff, Reason: numReasons - 1},
	} {
		b, err := m.Append(nil)
		if err != nil {
			t.Errorf("%v: %v", m.Type, err)
			continue
		}
		if back, err := DecodeHopMessage(b); err != nil || !reflect.DeepEqual(*back, m) {
			t.Errorf("%v = %+v, %v, want %+v", m.Type, back, err, m)
		}
		largest = max(largest, len(b))
	}
	if largest != MaxHopMessageSize {
		t.Errorf("the largest message has %d bytes, MaxHopMessageSize is %d", largest, MaxHopMessageSize)
	}
}

func TestHopMessageAppendRejects(t *testing.T) {
	addr := netip.MustParseAddrPort
	tests := []struct {
		m    HopMessage
		want error
	}{
		{HopMessage{}, ErrType},
		{HopMessage{Type: CallBusy}, ErrType},
		{HopMessage{Type: DHTPut, TTL: 1, Replication: 1}, ErrSize},
		{HopMessage{Type: DHTPut, TTL: 1, Replication: 1, Item: Item{Value: make([]byte, MaxItemValue+1)}}, ErrSize},
		{HopMessage{Type: DHTPut, TTL: 1, Replication: 1, Item: Item{Value: make([]byte, 1<<16+1)}}, ErrSize},
		{HopMessage{Type: DHTPut, TTL: MaxTTL + 1, Replication: 1, Item: someItem}, ErrValue},
		{HopMessage{Type: DHTGetReply, Item: Item{Seq: -1, Value: []byte{1}}}, ErrValue},
		{HopMessage{Type: DHTTraceReply, Hops: make([]TraceHop, 1)}, ErrAddress},
		{HopMessage{Type: DHTTraceReply, Hops: someHops(MaxTraceHops + 1)}, ErrSize},
		{HopMessage{Type: KXExtend}, ErrAddress},
		{HopMessage{Type: KXExtend, Addr: addr("192.0.2.7:0")}, ErrAddress},
		{HopMessage{Type: KXExtend, Addr: addr("0.0.0.0:1")}, ErrAddress},
		{HopMessage{Type: KXExtend, Addr: addr("[::]:1")}, ErrAddress},
		{HopMessage{Type: KXExtend, Addr: addr("[::ffff:192.0.2.7]:1")}, ErrAddress},
		{HopMessage{Type: KXExtend, Addr: addr("[fe80::1%eth0]:1")}, ErrAddress},
		{HopMessage{Type: KXExtend, Addr: someV4, Layers: MaxLayers}, ErrValue},
		{HopMessage{Type: KXError, Reason: numReasons}, ErrValue},
		{HopMessage{Type: KXDescriptor}, ErrAddress},
		{HopMessage{Type: KXDescriptor, Time: -1, Descriptor: someDescriptor}, ErrValue},
	}
	for _, tt := range tests {
		if b, err := tt.m.Append([]byte("x")); !errors.Is(err, tt.want) || string(b) != "x" {
			t.Errorf("%+v = %x, %v, want %v", tt.m, b, err, tt.want)
		}
	}
}

func someHops(n int) []TraceHop {
	hs := make([]TraceHop, n)
	for i := range hs {
		hs[i].Addr = someV6
	}
	return hs
}

func FuzzHopMessage(f *testing.F) {
	for _, tt := range hopMessages {
		f.Add(tt.laid)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeHopMessage(b)
		if err != nil {
			return
		}
		if n, err := HopMessageSize((*[headerSize]byte)(b)); n != len(b) || err != nil || n > MaxHopMessageSize {
			t.Fatalf("%x decodes, but HopMessageSize = %d, %v", b, n, err)
		}
		if got, err := m.Append(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x\nis %+v, which is encoded as\n%x, %v", b, m, got, err)
		}
	})
}
