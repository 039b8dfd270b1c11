package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"hushbell/voipcore/pid"
)

const someDay = pid.Day(20000)

var (
	someCallee = pid.KeyFromSeed([32]byte(count(0, 32))).ID()
	someNonce  = [24]byte(count(0xe0, 24))

	records = []struct {
		name string
		r    Record
		laid []byte
	}{
		{"one exchange point",
			Record{pid.ID(count(0x40, 32)), 0x6a000000, []ExchangePoint{{pid.ID(count(0x60, 32)), [16]byte(count(0xa0, 16)), someV4}}},
			laid("01 01 0000 000000006a000000", count(0x40, 32), count(0x60, 32), count(0xa0, 16), laidV4, 2*72)},
		{"three exchange points",
			Record{pid.ID(count(0x40, 32)), 0x6a000000, []ExchangePoint{
				{pid.ID(count(0x60, 32)), [16]byte(count(0xa0, 16)), someV6},
				{pid.ID(count(0x61, 32)), [16]byte(count(0xa1, 16)), someV4},
				{pid.ID(count(0x62, 32)), [16]byte(count(0xa2, 16)), someV6}}},
			laid("01 03 0000 000000006a000000", count(0x40, 32), count(0x60, 32), count(0xa0, 16), laidV6,
				count(0x61, 32), count(0xa1, 16), laidV4, count(0x62, 32), count(0xa2, 16), laidV6)},
	}
)

func sameRecord(a, b *Record) bool {
	return a.ServerKey == b.ServerKey && a.ValidUntil == b.ValidUntil && slices.Equal(a.ExchangePoints, b.ExchangePoints)
}

// hkdfByHand is RFC 5869 for 32 bytes, said with nothing but HMAC.
func hkdfByHand(secret, salt, info []byte) []byte {
	mac := func(key, data []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(data)
		return h.Sum(nil)
	}
	return mac(mac(salt, secret), append(bytes.Clone(info), 1))
}

func TestRecord(t *testing.T) {
	blinded, err := someCallee.Blind(someDay)
	if err != nil {
		t.Fatal(err)
	}
	key := hkdfByHand(someCallee[:], blinded[:], []byte("hushbell record"))
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		t.Fatal(err)
	}
	vs := []vector{{"pid", someCallee[:]}, {"blinded key", blinded[:]}, {"record key", key}}
	for _, tt := range records {
		p, err := tt.r.plain()
		if err != nil || !bytes.Equal(p, tt.laid) {
			t.Errorf("%s = %x, %v, want %x", tt.name, p, err, tt.laid)
		}
		sealed, err := tt.r.seal(someCallee, someDay, &someNonce)
		want := append(someNonce[:len(someNonce):len(someNonce)], aead.Seal(nil, someNonce[:], tt.laid, blinded[:])...)
		if err != nil || !bytes.Equal(sealed, want) || len(sealed) != RecordSize {
			t.Errorf("%s, sealed = %x, %v, want %x", tt.name, sealed, err, want)
		}
		for _, b := range [][]byte{sealed, mustSeal(t, &tt.r, someDay)} {
			if r, err := OpenRecord(b, someCallee, someDay); err != nil || !sameRecord(r, &tt.r) {
				t.Errorf("%s, opened = %+v, %v, want %+v", tt.name, r, err, tt.r)
			}
		}
		vs = append(vs, vector{tt.name, p}, vector{tt.name + ", sealed", sealed})
	}
	golden(t, "records.golden", "Records of the pid of seed 00 01 02 ... 1f on day 20000, before and after sealing with nonce e0 e1 ... f7.", vs)
}

func mustSeal(t testing.TB, r *Record, d pid.Day) []byte {
	t.Helper()
	b, err := r.Seal(someCallee, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordDoesNotOpen(t *testing.T) {
	sealed := mustSeal(t, &records[0].r, someDay)
	other := pid.KeyFromSeed([32]byte(count(1, 32))).ID()
	if _, err := OpenRecord(sealed, other, someDay); !errors.Is(err, ErrSealed) {
		t.Errorf("under another pid: %v, want %v", err, ErrSealed)
	}
	for _, d := range []pid.Day{someDay - 1, someDay + 1, 0} {
		if _, err := OpenRecord(sealed, someCallee, d); !errors.Is(err, ErrSealed) {
			t.Errorf("on day %d: %v, want %v", d, err, ErrSealed)
		}
	}
	for i := range sealed {
		if _, err := OpenRecord(edit(sealed, i, sealed[i]^1), someCallee, someDay); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d altered: %v, want %v", i, err, ErrSealed)
		}
	}
	for _, b := range [][]byte{nil, sealed[:24], sealed[:RecordSize-1], append(bytes.Clone(sealed), 0)} {
		if _, err := OpenRecord(b, someCallee, someDay); !errors.Is(err, ErrSize) {
			t.Errorf("of %d bytes: %v, want %v", len(b), err, ErrSize)
		}
	}
	// Points of low order blind alike; there is no such pid.
	for _, id := range []pid.ID{{}, {0: 1}} {
		if _, err := OpenRecord(sealed, id, someDay); err == nil {
			t.Errorf("pid %x is taken", id[:2])
		}
		if _, err := records[0].r.Seal(id, someDay); err == nil {
			t.Errorf("sealed for pid %x", id[:2])
		}
	}
}

func TestRecordRejects(t *testing.T) {
	one, three := records[0].laid, records[1].laid
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"version 0", edit(one, 0, 0), ErrValue},
		{"version 2", edit(one, 0, 2), ErrValue},
		{"no exchange point", edit(one, 1, 0), ErrValue},
		{"four exchange points", edit(three, 1, 4), ErrValue},
		{"255 exchange points", edit(three, 1, 255), ErrValue},
		{"fewer exchange points than there are", edit(three, 1, 2), ErrReserved},
		{"more exchange points than there are", edit(one, 1, 2), ErrAddress},
		{"reserved bits", edit(one, 2, 1), ErrReserved},
		{"more reserved bits", edit(one, 3, 0x80), ErrReserved},
		{"valid until before 1970", edit(one, 4, 0x80), ErrValue},
		{"port 0", edit(edit(one, 92, 0), 93, 0), ErrAddress},
		{"reserved bits in the address", edit(one, 95, 1), ErrReserved},
		{"two addresses", edit(one, 100, 0x20), ErrAddress},
		{"v4-mapped address", append(laid(one[:96], 4, 10, "ffff c0000207"), one[116:]...), ErrAddress},
		{"dirty padding", edit(one, -1, 1), ErrReserved},
		{"dirt behind the last exchange point", edit(one, 116, 1), ErrReserved},
	}
	for _, tt := range tests {
		if r, err := decodeRecord((*[recordPlain]byte)(tt.b)); !errors.Is(err, tt.want) || r != nil {
			t.Errorf("%s = %+v, %v, want %v", tt.name, r, err, tt.want)
		}
	}

	x := records[0].r.ExchangePoints[0]
	for _, r := range []Record{
		{},
		{ValidUntil: -1, ExchangePoints: []ExchangePoint{x}},
		{ExchangePoints: []ExchangePoint{x, x, x, x}},
		{ExchangePoints: []ExchangePoint{{Relay: x.Relay}}},
		{ExchangePoints: []ExchangePoint{{Addr: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1")}}},
	} {
		if b, err := r.Seal(someCallee, someDay); err == nil {
			t.Errorf("%+v is sealed as %x", r, b)
		}
	}
}

// published is what a node of the DHT gets to see of a record: its key, and
// its content.
func published(t *testing.T, r *Record, d pid.Day) []byte {
	blinded, err := someCallee.Blind(d)
	if err != nil {
		t.Fatal(err)
	}
	return append(blinded[:], mustSeal(t, r, d)...)
}

// shares reports whether a and b have n bytes in a row in common. Two random
// strings of some hundred bytes share 6 with a chance of about 10^-9.
func shares(a, b []byte, n int) bool {
	for i := 0; i+n <= len(a); i++ {
		if bytes.Contains(b, a[i:i+n]) {
			return true
		}
	}
	return false
}

// TestRecordsOfTwoDays: the same record published twice, on one day or on two,
// and another pid's have nothing in common but their size, and nothing of what
// they say can be seen in them.
func TestRecordsOfTwoDays(t *testing.T) {
	r := &records[1].r
	today, tomorrow := published(t, r, someDay), published(t, r, someDay+1)
	if shares(today, tomorrow, 6) {
		t.Errorf("records of two days share bytes:\n%x\n%x", today, tomorrow)
	}
	if a, b := mustSeal(t, r, someDay), mustSeal(t, r, someDay); shares(a, b, 6) {
		t.Errorf("two records of one day share bytes:\n%x\n%x", a, b)
	}
	for _, b := range [][]byte{today, tomorrow} {
		if shares(b, append(someCallee[:], records[1].laid...), 6) {
			t.Errorf("%x shows its pid or its content", b)
		}
	}
	if small := published(t, &records[0].r, someDay); len(small) != len(today) {
		t.Errorf("a record of one exchange point has %d bytes, of three %d", len(small), len(today))
	}

	// Even with one nonce on both days, which Seal never uses twice, the two
	// days do not cancel out: each day has a key of its own.
	a, err := r.seal(someCallee, someDay, &someNonce)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.seal(someCallee, someDay+1, &someNonce)
	if err != nil {
		t.Fatal(err)
	}
	if shares(a[24:], b[24:], 6) {
		t.Errorf("one nonce on two days gives\n%x\n%x", a, b)
	}
}

// TestOutsiderCannotOpen: who has all that is public but not the pid cannot
// derive the key of a record. Were the key made of the blinded key alone, as
// the address in the DHT is, this would succeed.
func TestOutsiderCannotOpen(t *testing.T) {
	sealed := mustSeal(t, &records[1].r, someDay)
	blinded, err := someCallee.Blind(someDay)
	if err != nil {
		t.Fatal(err)
	}
	yesterday, err := someCallee.Blind(someDay - 1)
	if err != nil {
		t.Fatal(err)
	}
	stranger := pid.KeyFromSeed([32]byte(count(1, 32))).ID()
	secrets := map[string][]byte{
		"nothing": nil, "zeros": make([]byte, 32), "blinded key": blinded[:], "yesterday's blinded key": yesterday[:],
		"another pid": stranger[:], "nonce": sealed[:24], "server key": records[1].r.ServerKey[:],
	}
	try := func(name string, key []byte) bool {
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = aead.Open(nil, sealed[:24], sealed[24:], blinded[:])
		return err == nil
	}
	for name, s := range secrets {
		if try(name, hkdfByHand(s, blinded[:], []byte("hushbell record"))) {
			t.Errorf("the record opens with the key derived from %s", name)
		}
	}
	for _, name := range []string{"zeros", "blinded key", "yesterday's blinded key", "server key"} {
		if try(name, secrets[name]) {
			t.Errorf("the record opens with %s as the key", name)
		}
	}
	// The pid does open it: the tries above are made the right way.
	if !try("pid", hkdfByHand(someCallee[:], blinded[:], []byte("hushbell record"))) {
		t.Error("the record does not open with the key derived from its pid")
	}
}

func FuzzRecord(f *testing.F) {
	for _, tt := range records {
		f.Add(tt.laid)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p [recordPlain]byte
		copy(p[:], b)
		r, err := decodeRecord(&p)
		if err != nil {
			return
		}
		if got, err := r.plain(); err != nil || !bytes.Equal(got, p[:]) {
			t.Fatalf("%x\nis %+v, which is encoded as\n%x, %v", p, r, got, err)
		}
	})
}

// FuzzOpenRecord: nothing opens but what was sealed.
func FuzzOpenRecord(f *testing.F) {
	sealed, err := records[0].r.seal(someCallee, someDay, &someNonce)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:RecordSize-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := OpenRecord(b, someCallee, someDay); (err == nil) != bytes.Equal(b, sealed) {
			t.Fatalf("%x = %+v, %v", b, r, err)
		}
	})
}

func BenchmarkOpenRecord(b *testing.B) {
	sealed := mustSeal(b, &records[1].r, someDay)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenRecord(sealed, someCallee, someDay); err != nil {
			b.Fatal(err)
		}
	}
}
