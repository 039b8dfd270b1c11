package pid

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"github.com/btcsuite/btcd/btcutil/bech32"
)

// The public key of the first test of RFC 8032, section 7.1.
const rfcKey = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

func rfcID(t testing.TB) ID {
	t.Helper()
	raw, err := hex.DecodeString(rfcKey)
	if err != nil {
		t.Fatal(err)
	}
	id, err := FromPublic(raw)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTextForm(t *testing.T) {
	id := rfcID(t)
	text := id.String()
	if len(text) != textLen || !strings.HasPrefix(text, "hush1") || text != strings.ToLower(text) {
		t.Errorf("String() = %q", text)
	}
	for _, form := range []string{text, strings.ToUpper(text), "\t " + text + " \r\n"} {
		if got, err := Parse(form); err != nil || got != id {
			t.Errorf("Parse(%q) = %v, %v", form, got, err)
		}
	}
	var back ID
	asJSON, err := json.Marshal(map[string]ID{"pid": id})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"pid":"` + text + `"}`; string(asJSON) != want {
		t.Errorf("as JSON %s, want %s", asJSON, want)
	}
	if err := back.UnmarshalText([]byte(text)); err != nil || back != id {
		t.Errorf("UnmarshalText = %v, %v", back, err)
	}
	if err := back.UnmarshalText([]byte("hush1")); err == nil || back != id {
		t.Errorf("UnmarshalText of rubbish = %v, left %v", err, back)
	}
}

// A mistyped pid is refused, whichever character it is and whatever it became.
func TestParseMistyped(t *testing.T) {
	text := rfcID(t).String()
	for i := range text {
		for _, c := range "qpzry9x8gf2tvdw0s3jn54khce6mua7l1bio~" {
			typed := text[:i] + string(c) + text[i+1:]
			if typed == text {
				continue
			}
			if got, err := Parse(typed); err == nil {
				t.Fatalf("Parse(%q) = %v, the right one is %q", typed, got, text)
			} else if strings.Contains(err.Error(), text[5:20]) {
				t.Fatalf("the error repeats the pid: %v", err)
			}
		}
		if i > 0 {
			swapped := []byte(text)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			if _, err := Parse(string(swapped)); err == nil && string(swapped) != text {
				t.Errorf("two characters swapped at %d are not noticed", i)
			}
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	id := rfcID(t)
	text := id.String()
	digits, err := bech32.ConvertBits(id[:], 8, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	old, err := bech32.Encode(prefix, digits) // bech32, not bech32m
	if err != nil {
		t.Fatal(err)
	}
	dirty := slices.Clone(digits)
	dirty[51] |= 1 // a padding bit
	padded, err := bech32.EncodeM(prefix, dirty)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ text, want string }{
		{"", "nothing there"},
		{" \n", "nothing there"},
		{"npub1" + text[5:], `begin with "hush1"`},
		{encode(filePrefix, id[:]), `begin with "hush1"`},
		{strings.ToUpper(text[:9]) + text[9:], "mixed"},
		{text[:62], "62 characters, not 63"},
		{text + "q", "64 characters, not 63"},
		{text[:40] + " " + text[41:], "character"},
		{text[:40] + "b" + text[41:], "character"},
		{text[:40] + "1" + text[41:], "character"},
		{text[:40] + string("qp"[strings.Count(text[40:41], "q")]) + text[41:], "checksum"},
		{old, "checksum"},
		{padded, "32 bytes"},
		{"hush1é" + text[7:], "character"},
		{encode(prefix, make([]byte, 32)), "not an Ed25519"},
		{encode(prefix, bytes.Repeat([]byte{0xff}, 32)), "not an Ed25519"},
	} {
		if _, err := Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%q) = %v, want %q in it", tt.text, err, tt.want)
		}
	}
}

// torsion returns a point of order eight: what is left of some point after
// the group of prime order is taken out of it.
func torsion(t *testing.T) *edwards25519.Point {
	t.Helper()
	for n := byte(2); n < 255; n++ {
		p, err := new(edwards25519.Point).SetBytes(append([]byte{n}, make([]byte, 31)...))
		if err != nil {
			continue
		}
		rest := new(edwards25519.Point).ScalarMult(minusOne(), p)
		rest.Add(rest, p) // the order of the group times p
		four := new(edwards25519.Point).Add(rest, rest)
		four.Add(four, four)
		if four.Equal(edwards25519.NewIdentityPoint()) == 0 {
			return rest
		}
	}
	t.Fatal("no point of order eight found")
	return nil
}

func TestBadPointsRefused(t *testing.T) {
	small := torsion(t)
	good, err := rfcID(t).point()
	if err != nil {
		t.Fatal(err)
	}
	multiple := new(edwards25519.Point).Set(small)
	for range 8 {
		// All eight points of low order, the neutral one among them.
		id := ID(multiple.Bytes())
		if _, err := id.Blind(1); err == nil {
			t.Errorf("Blind takes a point of low order: %x", id)
		}
		mixed := ID(new(edwards25519.Point).Add(good, multiple).Bytes())
		wantFail := multiple.Equal(edwards25519.NewIdentityPoint()) == 0
		if _, err := mixed.Blind(1); (err != nil) != wantFail {
			t.Errorf("Blind of a key plus %x: %v", id, err)
		}
		if _, err := FromPublic(mixed.Public()); (err != nil) != wantFail {
			t.Errorf("FromPublic of a key plus %x: %v", id, err)
		}
		multiple.Add(multiple, small)
	}
	// y = p + 1, another encoding of the neutral element.
	twice := ID(slices.Concat([]byte{0xee}, bytes.Repeat([]byte{0xff}, 30), []byte{0x7f}))
	if _, err := twice.Blind(1); err == nil {
		t.Error("Blind takes a second encoding")
	}
	if _, err := FromPublic(make([]byte, 31)); err == nil {
		t.Error("FromPublic takes 31 bytes")
	}
}

func TestLogsHoldNoPid(t *testing.T) {
	id, key := rfcID(t), NewKey()
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "id", id, "pointer", &id, "key", key, "value", *key, "both", slog.GroupValue(slog.Any("id", id)))
	}
	assertHidden(t, out.String(), id[:])
	assertHidden(t, out.String(), key.private()[:])
	if n := strings.Count(out.String(), "pid(hidden)"); n != 6 {
		t.Errorf("%d ids in the log, want 6: %s", n, &out)
	}
}

// assertHidden fails if text has a part of secret in one of the usual forms.
func assertHidden(t *testing.T, text string, secret []byte) {
	t.Helper()
	part := secret[8:16]
	for _, form := range []string{
		string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), fmt.Sprintf("%q", part),
		strings.Trim(fmt.Sprint(part), "[]"), strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"),
		encode(prefix, secret[:32])[12:24],
	} {
		if strings.Contains(text, form) {
			t.Errorf("%q holds %q", text, form)
		}
	}
}

func TestWords(t *testing.T) {
	id := rfcID(t)
	words := id.Words()
	if words != id.Words() {
		t.Error("the words of one pid are not always the same")
	}
	if want := [4]string{"symptom", "return", "into", "short"}; words != want {
		t.Errorf("Words() = %q, want %q", words, want)
	}
	seen := map[string]bool{}
	for i := range id {
		other := id
		other[i] ^= 1
		for j, w := range other.Words() {
			if w == "" {
				t.Error("an empty word")
			}
			seen[fmt.Sprint(j, w)] = true
		}
	}
	// 32 pids that differ in one bit: nearly all words in each place differ.
	if len(seen) < 4*32-8 {
		t.Errorf("%d different words in 128", len(seen))
	}
}

func BenchmarkWords(b *testing.B) {
	id := rfcID(b)
	b.ReportAllocs()
	for b.Loop() {
		id.Words()
	}
}

func FuzzParse(f *testing.F) {
	text := rfcID(f).String()
	f.Add(text)
	f.Add(strings.ToUpper(text))
	f.Add(" hush1 ")
	f.Add(encode(prefix, make([]byte, 32)))
	f.Fuzz(func(t *testing.T, text string) {
		id, err := Parse(text)
		if err != nil {
			if id != (ID{}) {
				t.Errorf("Parse(%q) fails and returns %v", text, id)
			}
			return
		}
		if want := strings.ToLower(strings.TrimSpace(text)); id.String() != want {
			t.Errorf("Parse(%q) = %v", text, id)
		}
	})
}
