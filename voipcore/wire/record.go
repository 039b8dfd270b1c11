package wire

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/chacha20poly1305"

	"hushbell/voipcore/pid"
)

// MaxExchangePoints is how many exchange points one record can name.
const MaxExchangePoints = 3

const (
	recordHeader  = 4 + 8 + 32
	exchangePoint = 32 + 16 + addressSize
	recordPlain   = recordHeader + MaxExchangePoints*exchangePoint
	recordVersion = 1

	// RecordSize is the size of a sealed record, whatever is in it.
	RecordSize = chacha20poly1305.NonceSizeX + recordPlain + chacha20poly1305.Overhead
)

// ErrSealed means that a record does not open: it is not this pid's, not this
// day's, or was altered.
var ErrSealed = errors.New("record does not open")

// An ExchangePoint is where a callee waits.
type ExchangePoint struct {
	Relay  pid.ID
	Cookie [16]byte // "the port that it listens on" in the seed
	Addr   netip.AddrPort
}

// A Record is what a callee publishes in the DHT. Before sealing:
//
//	0         1       2          4             12             44
//	| version | count | reserved | valid until | server key S | 3 exchange points of 72 |
//
// An exchange point is relay key 32, cookie 16, address 24; unused ones are zero.
type Record struct {
	ServerKey      pid.ID          // S: the one-time key of the callee's end-to-end certificate
	ValidUntil     int64           // Unix seconds
	ExchangePoints []ExchangePoint // 1 to MaxExchangePoints, best first
}

// Seal encrypts r for those who know the pid, as the content stored on day d
// under the blinded key: nonce 24, then XChaCha20-Poly1305 with the blinded key
// as associated data, under a key derived from pid and blinded key by HKDF.
func (r *Record) Seal(id pid.ID, d pid.Day) ([]byte, error) {
	var nonce [chacha20poly1305.NonceSizeX]byte
	rand.Read(nonce[:])
	return r.seal(id, d, &nonce)
}

// seal is Seal with a given nonce, for test vectors.
func (r *Record) seal(id pid.ID, d pid.Day, nonce *[chacha20poly1305.NonceSizeX]byte) ([]byte, error) {
	p, err := r.plain()
	if err != nil {
		return nil, err
	}
	blinded, key, err := recordKey(id, d)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("wire: record: %w", err)
	}
	return aead.Seal(append(make([]byte, 0, RecordSize), nonce[:]...), nonce[:], p, blinded[:]), nil
}

// plain returns r as it is before sealing.
func (r *Record) plain() ([]byte, error) {
	if n := len(r.ExchangePoints); n < 1 || n > MaxExchangePoints || r.ValidUntil < 0 {
		return nil, fmt.Errorf("wire: record: %w", ErrValue)
	}
	p := append(make([]byte, 0, recordPlain), recordVersion, byte(len(r.ExchangePoints)), 0, 0)
	p = binary.BigEndian.AppendUint64(p, uint64(r.ValidUntil))
	p = append(p, r.ServerKey[:]...)
	for i := range r.ExchangePoints {
		x := &r.ExchangePoints[i]
		p = append(p, x.Relay[:]...)
		p = append(p, x.Cookie[:]...)
		var err error
		if p, err = appendAddress(p, x.Addr); err != nil {
			return nil, err
		}
	}
	return append(p, make([]byte, recordPlain-len(p))...), nil
}

// OpenRecord decrypts and decodes what Seal made.
func OpenRecord(b []byte, id pid.ID, d pid.Day) (*Record, error) {
	blinded, key, err := recordKey(id, d)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("wire: record: %w", err)
	}
	if len(b) != RecordSize {
		return nil, fmt.Errorf("wire: record of %d bytes: %w", len(b), ErrSize)
	}
	const nonce = chacha20poly1305.NonceSizeX
	p, err := aead.Open(nil, b[:nonce], b[nonce:], blinded[:])
	if err != nil {
		return nil, fmt.Errorf("wire: %w", ErrSealed)
	}
	return decodeRecord((*[recordPlain]byte)(p))
}

func decodeRecord(p *[recordPlain]byte) (*Record, error) {
	r := &Record{ValidUntil: int64(binary.BigEndian.Uint64(p[4:])), ServerKey: pid.ID(p[12:recordHeader])}
	n := int(p[1])
	if p[0] != recordVersion || n < 1 || n > MaxExchangePoints || r.ValidUntil < 0 {
		return nil, fmt.Errorf("wire: record: %w", ErrValue)
	}
	rest := p[recordHeader+n*exchangePoint:]
	if !zero(p[2:4]) || !zero(rest) {
		return nil, fmt.Errorf("wire: record: %w", ErrReserved)
	}
	for i := range n {
		b := p[recordHeader+i*exchangePoint:]
		a, err := decodeAddress((*[addressSize]byte)(b[48:]))
		if err != nil {
			return nil, err
		}
		r.ExchangePoints = append(r.ExchangePoints, ExchangePoint{pid.ID(b[:32]), [16]byte(b[32:48]), a})
	}
	return r, nil
}

func recordKey(id pid.ID, d pid.Day) (blinded pid.ID, key []byte, err error) {
	if blinded, err = id.Blind(d); err != nil {
		return blinded, nil, err
	}
	key, err = hkdf.Key(sha256.New, id[:], blinded[:], "hushbell record", chacha20poly1305.KeySize)
	if err != nil {
		return blinded, nil, fmt.Errorf("wire: record key: %w", err)
	}
	return blinded, key, nil
}
