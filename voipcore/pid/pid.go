// Package pid names people: pseudo-identities, their keys, and the keys made
// from them for one day.
//
// A pseudo-identity (pid) is an Ed25519 public key, the 256 bits that the
// messages of the voice protocol carry. As text it is bech32m (BIP 350) with
// the prefix "hush", so that a mistyped one is refused; read out over a phone
// it is four words. Who stores or asks for the record of a pid sees only a key
// blinded from it for one day (blind.go).
//
// The package does not know addresses, relays or records, and it draws no
// conclusions from time: a Day is told to it.
package pid

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"filippo.io/edwards25519"
	"github.com/btcsuite/btcd/btcutil/bech32"
)

const (
	prefix  = "hush"
	textLen = len(prefix) + 1 + 52 + 6 // separator, 32 bytes by 5 bits, checksum
)

// An ID is a pseudo-identity: the bytes of an Ed25519 public key. IDs can be
// compared and used as map keys. Only Parse, FromPublic and Key.ID promise an
// ID that is a usable key; the zero ID is nobody's.
type ID [32]byte

// FromPublic returns the ID of a public key, as it is found in a certificate.
// It refuses what Parse refuses.
func FromPublic(key ed25519.PublicKey) (ID, error) {
	var id ID
	if len(key) != len(id) {
		return ID{}, fmt.Errorf("pid: a public key of %d bytes, want %d", len(key), len(id))
	}
	copy(id[:], key)
	if _, err := id.point(); err != nil {
		return ID{}, err
	}
	return id, nil
}

// Public returns the ID as the public key that it is. The caller may change
// the returned slice.
func (id ID) Public() ed25519.PublicKey { return ed25519.PublicKey(id[:]) }

// String returns the text form, 63 characters that Parse takes. It is the
// whole pid: it belongs before its owner's eyes and into files of his, not into
// logs or errors (there LogValue stands in for it).
func (id ID) String() string { return encode(prefix, id[:]) }

// LogValue returns a constant: logs hold no pids, and nothing by which two
// lines could be seen to be about the same one. A fingerprint keyed per process
// was considered: it would still write down who calls how often.
func (ID) LogValue() slog.Value { return slog.StringValue("pid(hidden)") }

// MarshalText returns the same text as String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText sets id as Parse does; after an error it is unchanged.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// Parse returns the ID of a text form, which may be in upper case (as QR codes
// like it) and have blanks around it. The error says what is wrong without
// repeating the text. What is no Ed25519 key, or one of low order, is refused
// too: nobody could ever answer for it.
func Parse(text string) (ID, error) {
	text = strings.TrimSpace(text)
	var id ID
	if err := decode(&id, prefix, text); err != nil {
		return ID{}, fmt.Errorf("pid: %w", err)
	}
	if _, err := id.point(); err != nil {
		return ID{}, err
	}
	return id, nil
}

var errNoKey = errors.New("pid: not an Ed25519 public key of prime order")

// point returns the curve point of id, if it is one that a Key can have: in
// its one encoding, in the group of prime order, not the neutral element.
// Otherwise up to eight IDs would share their blinded keys, the clamped factor
// being a multiple of eight.
func (id ID) point() (*edwards25519.Point, error) {
	p, err := new(edwards25519.Point).SetBytes(id[:])
	if err != nil || ID(p.Bytes()) != id {
		return nil, errNoKey
	}
	neutral := edwards25519.NewIdentityPoint()
	// minusOne is the group order less one: times it is the negative of p
	// exactly if p is in the group of that order.
	multiple := new(edwards25519.Point).ScalarMult(minusOne(), p)
	if p.Equal(neutral) == 1 || multiple.Add(multiple, p).Equal(neutral) != 1 {
		return nil, errNoKey
	}
	return p, nil
}

func minusOne() *edwards25519.Scalar {
	one := [32]byte{1}
	s, err := edwards25519.NewScalar().SetCanonicalBytes(one[:])
	if err != nil {
		panic("pid: one is a scalar: " + err.Error())
	}
	return s.Negate(s)
}

// encode returns data as bech32m. Both lengths in use, 63 and 67 characters,
// are within the 90 for which the checksum's promises hold.
func encode(prefix string, data []byte) string {
	digits, err := bech32.ConvertBits(data, 8, 5, true)
	if err == nil {
		var text string
		if text, err = bech32.EncodeM(prefix, digits); err == nil {
			return text
		}
	}
	panic("pid: 32 bytes are always encodable: " + err.Error())
}

// decode sets data from text. Its errors hold nothing of text: it may be a
// private key, or somebody's pid on its way to a log.
func decode(data *ID, prefix, text string) error {
	const hint = "; copy it again, all of it"
	want := textLen - len("hush") + len(prefix)
	switch lower := strings.ToLower(text); {
	case text == "":
		return errors.New("nothing there")
	case lower != text && strings.ToUpper(text) != text:
		return errors.New("upper and lower case are mixed" + hint)
	case !strings.HasPrefix(lower, prefix+"1"):
		return fmt.Errorf("it must begin with %q", prefix+"1")
	case len(text) != want:
		return fmt.Errorf("it has %d characters, not %d"+hint, len(text), want)
	}
	found, digits, version, err := bech32.DecodeGeneric(text)
	var checksum bech32.ErrInvalidChecksum
	switch {
	case errors.As(err, &checksum), err == nil && version != bech32.VersionM:
		return errors.New("the checksum is wrong: a character is mistyped" + hint)
	case err != nil, found != prefix:
		return errors.New("it holds a character that cannot occur" + hint)
	}
	raw, err := bech32.ConvertBits(digits, 5, 8, false)
	if err != nil || len(raw) != len(data) {
		return errors.New("it does not hold 32 bytes" + hint) // padding bits that are not zero
	}
	copy(data[:], raw)
	return nil
}
