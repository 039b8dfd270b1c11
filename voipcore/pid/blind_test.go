package pid

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/edwards25519"
)

var update = flag.Bool("update", false, "rewrite the golden files of our own derivations")

func TestTorVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/tor-blinding.txt")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		count++
		var v [5][32]byte // seed, public, factor, blinded private, blinded public
		for i, field := range strings.Fields(line) {
			if n, err := hex.Decode(v[i][:], []byte(field)); err != nil || n != 32 {
				t.Fatalf("line %d, field %d: %d bytes, %v", count, i, n, err)
			}
		}
		k := KeyFromSeed(v[0])
		if k.ID() != ID(v[1]) {
			t.Errorf("vector %d: public key %x, want %x", count, k.ID(), v[1])
		}
		p, err := k.ID().point()
		if err != nil {
			t.Fatal(err)
		}
		if got := blindPublic(p, v[2]); got != ID(v[4]) {
			t.Errorf("vector %d: blinded public key %x, want %x", count, got[:], v[4])
		}
		expanded := sha512.Sum512(v[0][:])
		a := blindPrivate(expanded[:32], v[2])
		if got := a.Bytes(); !bytes.Equal(got, v[3][:]) {
			t.Errorf("vector %d: blinded private key %x, want %x", count, got, v[3])
		}
		if got := ID(new(edwards25519.Point).ScalarBaseMult(a).Bytes()); got != ID(v[4]) {
			t.Errorf("vector %d: the private key's public key is %x, want %x", count, got[:], v[4])
		}
	}
	if count != 10 {
		t.Errorf("%d vectors, want 10", count)
	}
}

// The derivations that are ours: they change only with the protocol.
func TestBlindGolden(t *testing.T) {
	var out strings.Builder
	fmt.Fprintln(&out, "# seed, pid, day, key of the day, its signature of \"hush\"")
	for i, day := range []Day{0, 1, 20000, 20001, -1, 1 << 40} {
		seed := [32]byte{byte(i)}
		k := KeyFromSeed(seed)
		blinded, err := k.ID().Blind(day)
		if err != nil {
			t.Fatal(err)
		}
		sig := k.SignBlinded(day, []byte("hush"))
		fmt.Fprintf(&out, "%x %s %d %x %x\n", seed, k.ID(), day, blinded[:], sig)
	}
	const golden = "testdata/blind.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

func TestSignBlinded(t *testing.T) {
	k, other := NewKey(), NewKey()
	for i := range 100 {
		day := Day(20000 + i)
		message := make([]byte, rand.IntN(1000))
		for j := range message {
			message[j] = byte(rand.Uint32())
		}
		id, err := k.ID().Blind(day)
		if err != nil {
			t.Fatal(err)
		}
		sig := k.SignBlinded(day, message)
		verify := func(id ID, message []byte, sig [64]byte) bool {
			return ed25519.Verify(id.Public(), message, sig[:])
		}
		if !verify(id, message, sig) {
			t.Fatalf("day %d: crypto/ed25519 refuses the signature", day)
		}
		if sig != k.SignBlinded(day, message) {
			t.Error("not deterministic")
		}
		tomorrow, err := k.ID().Blind(day + 1)
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := other.ID().Blind(day)
		if err != nil {
			t.Fatal(err)
		}
		bent := sig
		bent[rand.IntN(64)] ^= 1 << rand.IntN(8)
		if verify(tomorrow, message, sig) || verify(foreign, message, sig) || verify(k.ID(), message, sig) ||
			verify(id, append(message, 0), sig) || verify(id, message, bent) {
			t.Errorf("day %d: the signature holds for what it was not made for", day)
		}
	}
}

// One nonce under two keys gives the private key away to all who know the pid.
func TestNoncesDiffer(t *testing.T) {
	k := NewKey()
	seen := map[[32]byte]string{}
	for day := range Day(50) {
		for _, m := range []string{"", "a", "b"} {
			sig := k.SignBlinded(day, []byte(m))
			name := fmt.Sprintf("day %d, message %q", day, m)
			if before, ok := seen[[32]byte(sig[:32])]; ok {
				t.Errorf("%s has the nonce of %s", name, before)
			}
			seen[[32]byte(sig[:32])] = name
		}
	}
	if a, b := k.SignBlinded(1, nil), NewKey().SignBlinded(1, nil); a == b {
		t.Error("the nonce does not depend on the key")
	}
}

// Who knows the pid can go from the key of one day to that of another; the same
// steps with any other pid lead nowhere. That nothing else links them is the
// argument of the scheme and no test can show it; this one shows that the day
// and the pid both enter, and that nothing of the pid is left in plain sight.
func TestDaysAreLinkedOnlyByThePid(t *testing.T) {
	k := NewKey()
	link := func(from ID, id ID, a, b Day) ID {
		p, err := new(edwards25519.Point).SetBytes(from[:])
		if err != nil {
			t.Fatal(err)
		}
		fa, fb := blindFactor(id, a), blindFactor(id, b)
		back := edwards25519.NewScalar().Invert(clamp(fa[:]))
		return blindPublic(new(edwards25519.Point).ScalarMult(back, p), fb)
	}
	today, err := k.ID().Blind(20000)
	if err != nil {
		t.Fatal(err)
	}
	tomorrow, err := k.ID().Blind(20001)
	if err != nil {
		t.Fatal(err)
	}
	if got := link(today, k.ID(), 20000, 20001); got != tomorrow {
		t.Errorf("with the pid: %x, want %x", got[:], tomorrow[:])
	}
	if _, err := today.point(); err != nil {
		t.Errorf("the blinded key is none of prime order: %v", err)
	}
	for range 200 {
		if link(today, NewKey().ID(), 20000, 20001) == tomorrow {
			t.Fatal("a wrong pid links the two days")
		}
	}
	if link(today, today, 20000, 20001) == tomorrow || link(today, tomorrow, 20000, 20001) == tomorrow {
		t.Error("the keys of the days link themselves")
	}
	seen := map[ID]bool{k.ID(): true}
	for day := range Day(200) {
		id, err := k.ID().Blind(day)
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Errorf("day %d has the key of another day, or the pid itself", day)
		}
		seen[id] = true
		pid := k.ID()
		for i := 0; i+4 <= len(id); i++ {
			if bytes.Contains(pid[:], id[i:i+4]) {
				t.Errorf("day %d: four bytes of the pid are left in %x", day, id[:])
			}
		}
	}
}

func TestDayOf(t *testing.T) {
	for _, tt := range []struct {
		time string
		want Day
	}{
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01T23:59:59Z", 0},
		{"1970-01-02T00:00:00Z", 1},
		{"1969-12-31T23:59:59Z", -1},
		{"1969-12-31T00:00:00Z", -1},
		{"1969-12-30T23:59:59.5Z", -2},
		{"2024-10-04T00:00:00Z", 20000},
		{"2024-10-04T01:30:00+02:00", 19999},
	} {
		at, err := time.Parse(time.RFC3339Nano, tt.time)
		if err != nil {
			t.Fatal(err)
		}
		if got := DayOf(at); got != tt.want {
			t.Errorf("DayOf(%s) = %d, want %d", tt.time, got, tt.want)
		}
	}
}

func BenchmarkBlind(b *testing.B) {
	id := rfcID(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := id.Blind(20000); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignBlinded(b *testing.B) {
	k, message := NewKey(), make([]byte, 900)
	b.ReportAllocs()
	for b.Loop() {
		k.SignBlinded(20000, message)
	}
}
