package pid

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"time"

	"filippo.io/edwards25519"
)

// This file is the one piece of cryptography that is our own composition: keys
// blinded for one day, after Tor's rend-spec-v3, appendix A ("Signature scheme
// with key blinding"). Whoever knows a pid can compute its key of a day; whoever
// sees keys of two days cannot tell that they belong together, nor to whom; and
// a signature under a blinded key is a plain Ed25519 signature, so that nodes of
// the DHT check it without knowing of any of this.
//
//	h  = clamp(SHA-256(label | pid | day))          our derivation
//	A' = h A          a' = h a mod l                as Tor's
//	r  = SHA-512(label | prefix | day | message)    our derivation
//	S  = r + SHA-512(R | A' | message) a'           as in RFC 8032
//
// The middle two lines are held by the vectors of Tor's own tests
// (testdata/tor-blinding.txt), the outer two by vectors of ours.
//
// The day is hashed into the nonce because without it one message signed on two
// days would have one nonce under two keys, which whoever knows the pid could
// solve for the private key; and the equal R would link the two days.

const (
	blindLabel = "hushbell blind v1"
	nonceLabel = "hushbell blind nonce v1"
)

// A Day counts days of UTC since 1970-01-01, which is day 0.
type Day int64

// DayOf returns the day that holds t, also before 1970.
func DayOf(t time.Time) Day {
	const daySeconds = 24 * 60 * 60
	d := t.Unix() / daySeconds
	if t.Unix()%daySeconds < 0 {
		d-- // division rounds towards zero, days begin at midnight
	}
	return Day(d)
}

// Blind returns the public key of id for one day. It fails only for an ID that
// Parse would have refused.
func (id ID) Blind(d Day) (ID, error) {
	p, err := id.point()
	if err != nil {
		return ID{}, err
	}
	return blindPublic(p, blindFactor(id, d)), nil
}

// SignBlinded signs message with the private key of one day. The signature is
// one that crypto/ed25519 verifies under the ID that k.ID().Blind(d) gives. The
// same day and message give the same signature.
func (k *Key) SignBlinded(d Day, message []byte) (sig [64]byte) {
	expanded := sha512.Sum512(k.private()[:ed25519.SeedSize])
	a := blindPrivate(expanded[:32], blindFactor(k.ID(), d))
	public := new(edwards25519.Point).ScalarBaseMult(a).Bytes()

	h := sha512.New()
	h.Write([]byte(nonceLabel))
	h.Write(expanded[32:])
	h.Write(dayBytes(d))
	h.Write(message)
	r := uniform(h.Sum(nil))
	copy(sig[:32], new(edwards25519.Point).ScalarBaseMult(r).Bytes())

	h = sha512.New()
	h.Write(sig[:32])
	h.Write(public)
	h.Write(message)
	s := edwards25519.NewScalar().MultiplyAdd(uniform(h.Sum(nil)), a, r)
	copy(sig[32:], s.Bytes())
	return sig
}

// blindFactor derives the factor of a day, before clamping. The label has a
// fixed length, so nothing can move from one field into the next.
func blindFactor(id ID, d Day) [32]byte {
	h := sha256.New()
	h.Write([]byte(blindLabel))
	h.Write(id[:])
	h.Write(dayBytes(d))
	return [32]byte(h.Sum(nil))
}

// blindPublic returns the public key p times the clamped factor. For a p of
// prime order it makes no difference that the factor is reduced first.
func blindPublic(p *edwards25519.Point, factor [32]byte) ID {
	return ID(new(edwards25519.Point).ScalarMult(clamp(factor[:]), p).Bytes())
}

// blindPrivate returns the private scalar, still to be clamped, times the
// clamped factor.
func blindPrivate(scalar []byte, factor [32]byte) *edwards25519.Scalar {
	return edwards25519.NewScalar().Multiply(clamp(factor[:]), clamp(scalar))
}

func clamp(b []byte) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetBytesWithClamping(b)
	if err != nil {
		panic("pid: 32 bytes are a scalar: " + err.Error())
	}
	return s
}

func uniform(b []byte) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetUniformBytes(b)
	if err != nil {
		panic("pid: 64 bytes are a scalar: " + err.Error())
	}
	return s
}

func dayBytes(d Day) []byte { return binary.BigEndian.AppendUint64(nil, uint64(d)) }
