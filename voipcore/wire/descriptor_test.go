package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"testing"
	"time"

	"hushbell/voipcore/pid"
)

func TestDescriptor(t *testing.T) {
	k := pid.KeyFromSeed([32]byte(count(0, 32)))
	id, both := k.ID(), someDescriptor
	v4 := Descriptor{Port: 1, V4: netip.MustParseAddr("198.51.100.1")}
	v6 := Descriptor{Port: 65535, V6: netip.MustParseAddr("2001:db8::1"), ValidUntil: 1<<63 - 1}
	v4.Sign(k)
	v6.Sign(k)
	body := map[string][]byte{
		"both": laid("01 000000 000000006a000000", id[:], "10cc 0000 c0000207 20010db8", 11, "07"),
		"IPv4": laid("01 000000 0000000000000000", id[:], "0001 0000 c6336401", 16),
		"IPv6": laid("01 000000 7fffffffffffffff", id[:], "ffff 0000", 4, "20010db8", 11, "01"),
	}
	var vs []vector
	for _, tt := range []struct {
		name string
		d    Descriptor
	}{{"both", both}, {"IPv4", v4}, {"IPv6", v6}} {
		want := append(bytes.Clone(body[tt.name]), tt.d.Sig[:]...)
		got := tt.d.Append(nil)
		if !bytes.Equal(got, want) {
			t.Errorf("%s = %x, want %x", tt.name, got, want)
		}
		if d, err := DecodeDescriptor((*[DescriptorSize]byte)(got)); err != nil || d != tt.d {
			t.Errorf("%s: %x = %+v, %v, want %+v", tt.name, got, d, err, tt.d)
		}
		// What is signed, said without the code under test.
		signed := append([]byte("hushbell descriptor\x00"), body[tt.name]...)
		if !ed25519.Verify(id[:], signed, tt.d.Sig[:]) {
			t.Errorf("%s is signed over something else", tt.name)
		}
		vs = append(vs, vector{tt.name, got})
	}
	golden(t, "descriptors.golden", "Descriptors signed by the key of seed 00 01 02 ... 1f.", vs)
}

func TestDescriptorVerify(t *testing.T) {
	at := func(unix int64) time.Time { return time.Unix(unix, 0) }
	d := someDescriptor
	if err := d.Verify(at(d.ValidUntil)); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	if err := d.Verify(at(d.ValidUntil + 1)); !errors.Is(err, ErrValue) {
		t.Errorf("a second later: %v, want %v", err, ErrValue)
	}
	raw := d.Append(nil)
	for i := range raw {
		b := bytes.Clone(raw)
		b[i] ^= 1
		d, err := DecodeDescriptor((*[DescriptorSize]byte)(b))
		if err != nil {
			continue
		}
		if err := d.Verify(at(0)); !errors.Is(err, ErrSignature) {
			t.Errorf("byte %d altered: %v, want %v", i, err, ErrSignature)
		}
	}
	// A signature of the same key over the same bytes for another purpose.
	k := pid.KeyFromSeed([32]byte(count(0, 32)))
	d.Sig = [64]byte(ed25519.Sign(k.Private(), raw[:descriptorSigned]))
	if err := d.Verify(at(0)); !errors.Is(err, ErrSignature) {
		t.Errorf("signed without the context: %v, want %v", err, ErrSignature)
	}
}

func TestDescriptorAddr(t *testing.T) {
	v4, v6 := someV4, someV6
	both := Descriptor{Port: 4300, V4: v4.Addr(), V6: v6.Addr()}
	only4 := Descriptor{Port: 4300, V4: v4.Addr()}
	only6 := Descriptor{Port: 4300, V6: v6.Addr()}
	for _, tt := range []struct {
		d      Descriptor
		wantV6 bool
		want   netip.AddrPort
	}{{both, false, v4}, {both, true, v6}, {only4, false, v4}, {only4, true, v4}, {only6, false, v6}, {only6, true, v6}} {
		if got := tt.d.Addr(tt.wantV6); got != tt.want {
			t.Errorf("Addr(%v) of %v, %v = %v, want %v", tt.wantV6, tt.d.V4, tt.d.V6, got, tt.want)
		}
	}
}

func FuzzDescriptor(f *testing.F) {
	f.Add(someDescriptor.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw [DescriptorSize]byte
		copy(raw[:], b)
		d, err := DecodeDescriptor(&raw)
		if err != nil {
			return
		}
		if got := d.Append(nil); !bytes.Equal(got, raw[:]) {
			t.Fatalf("%x\nis %+v, which is encoded as\n%x", raw, d, got)
		}
		if !d.Addr(false).IsValid() || !d.Addr(true).IsValid() {
			t.Fatalf("%x has no address", raw)
		}
		if err := d.Verify(time.Unix(0, 0)); err != nil && !errors.Is(err, ErrSignature) {
			t.Fatal(err)
		}
	})
}

func BenchmarkDescriptorVerify(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := someDescriptor.Verify(time.Unix(0, 0)); err != nil {
			b.Fatal(err)
		}
	}
}
