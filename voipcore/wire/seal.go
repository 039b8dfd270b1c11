package wire

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"hushbell/voipcore/pid"
)

// KeySize is the size of every voice key.
const KeySize = chacha20poly1305.KeySize

// Errors of opening and sealing voice. They are plain values: the voice path
// does not allocate, also not for what attackers send.
var (
	ErrForged   = errors.New("wire: voice does not open: altered, or sealed with another key")
	ErrReplayed = errors.New("wire: voice is a repeat, or too old")
	ErrSpent    = errors.New("wire: voice key is used up")
)

// A sealer is one key in the sending direction. Its counter starts at 0 and
// never repeats: the key dies with it.
type sealer struct {
	aead cipher.AEAD
	max  uint64

	mu    sync.Mutex // guards what follows; never held over I/O
	next  uint64
	nonce [chacha20poly1305.NonceSize]byte
}

// An opener is one key in the receiving direction.
type opener struct {
	aead cipher.AEAD

	mu    sync.Mutex // guards what follows; never held over I/O
	seen  window
	nonce [chacha20poly1305.NonceSize]byte
}

func newAEAD(key *[KeySize]byte) cipher.AEAD {
	a, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic(err) // only a key of another size fails
	}
	return a
}

// seal seals text in place (it has room for the tag behind it) and returns the
// counter used.
func (s *sealer) seal(text, ad []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.next
	if c > s.max {
		return 0, ErrSpent
	}
	s.next++
	binary.BigEndian.PutUint64(s.nonce[4:], c)
	s.aead.Seal(text[:0], s.nonce[:], text, ad)
	return c, nil
}

// open opens text in place. newest tells whether no higher counter was opened before.
func (o *opener) open(c uint64, text, ad []byte) (newest bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.seen.fresh(c) {
		return false, ErrReplayed
	}
	binary.BigEndian.PutUint64(o.nonce[4:], c)
	if _, err := o.aead.Open(text[:0], o.nonce[:], text, ad); err != nil {
		return false, ErrForged
	}
	newest = c >= o.seen.next
	o.seen.mark(c)
	return newest, nil
}

// A LinkSealer seals voice cells for one direction of a link. Safe for
// concurrent use, as are all sealers and openers; none allocates.
type LinkSealer struct{ s sealer }

// NewLinkSealer returns a sealer whose counter is 0.
func NewLinkSealer(key *[KeySize]byte) *LinkSealer {
	return &LinkSealer{sealer{aead: newAEAD(key), max: math.MaxUint64 - 1}}
}

// Seal seals tunnel id and body of c under the receiver's link id.
func (l *LinkSealer) Seal(c *VoiceCell, linkID uint32) error {
	s := &l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next > s.max {
		return ErrSpent
	}
	binary.BigEndian.PutUint32(c[:], linkID)
	binary.BigEndian.PutUint64(c[4:], s.next)
	binary.BigEndian.PutUint64(s.nonce[4:], s.next)
	s.next++
	s.aead.Seal(c[voiceHeader:voiceHeader], s.nonce[:], c[voiceHeader:voiceHeader+cellPlain], c[:voiceHeader])
	return nil
}

// A LinkOpener opens the voice cells of one direction of a link.
type LinkOpener struct{ o opener }

// NewLinkOpener returns an opener that has seen nothing.
func NewLinkOpener(key *[KeySize]byte) *LinkOpener { return &LinkOpener{opener{aead: newAEAD(key)}} }

// Open opens c in place. On error c is not to be used. newest tells whether no
// cell with a higher counter has been opened before: its source address is the
// peer's present one.
func (l *LinkOpener) Open(c *VoiceCell) (newest bool, err error) {
	return l.o.open(binary.BigEndian.Uint64(c[4:]), c[voiceHeader:], c[:voiceHeader])
}

// A LayerSealer adds one onion layer.
type LayerSealer struct{ s sealer }

// NewLayerSealer returns a sealer whose counter is 0.
func NewLayerSealer(key *[KeySize]byte) *LayerSealer {
	return &LayerSealer{sealer{aead: newAEAD(key), max: math.MaxUint32}}
}

// Seal adds a layer to a body that has so many already, fewer than MaxLayers,
// and zeroes the room behind it: what lay there could be a mark from one hop to
// another through this one.
func (l *LayerSealer) Seal(b *[BodySize]byte, layers int) error {
	n := FrameSize + layers*layerSize
	copy(b[counterSize:], b[:n])
	c, err := l.s.seal(b[counterSize:counterSize+n], nil)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b[:], uint32(c))
	clear(b[n+layerSize:])
	return nil
}

// A LayerOpener takes one onion layer off.
type LayerOpener struct{ o opener }

// NewLayerOpener returns an opener that has seen nothing.
func NewLayerOpener(key *[KeySize]byte) *LayerOpener { return &LayerOpener{opener{aead: newAEAD(key)}} }

// Open takes the outermost of so many layers (1 to MaxLayers) off a body, and
// zeroes the room that it leaves. On error the body is not to be used.
func (l *LayerOpener) Open(b *[BodySize]byte, layers int) error {
	n := FrameSize + layers*layerSize
	if _, err := l.o.open(uint64(binary.BigEndian.Uint32(b[:])), b[counterSize:n], nil); err != nil {
		return err
	}
	copy(b[:], b[counterSize:n-chacha20poly1305.Overhead])
	clear(b[n-layerSize:])
	return nil
}

// frameAD is what is bound to a frame without being sent: the header of the
// seed's MSG_VOIP_CALL_DATA, with the callee's pid in both directions.
type frameAD [bodyOffset]byte

func newFrameAD(callee pid.ID) (ad frameAD) {
	appendHeader(ad[:0], callDataSize, CallData)
	copy(ad[pidOffset:], callee[:])
	return ad
}

// A FrameSealer seals frames end to end, for one direction of a call.
type FrameSealer struct {
	s  sealer
	ad frameAD
}

// NewFrameSealer returns a sealer whose counter is 0.
func NewFrameSealer(key *[KeySize]byte, callee pid.ID) *FrameSealer {
	return &FrameSealer{sealer{aead: newAEAD(key), max: math.MaxUint32}, newFrameAD(callee)}
}

// Seal writes header and payload to f, sealed. h.Length is set to the length
// of payload, which is at most PayloadSize; h.Type and h.Flags must be such as
// an opener takes. On error f holds nothing of payload.
func (fs *FrameSealer) Seal(f *Frame, h FrameHeader, payload []byte) error {
	if len(payload) > PayloadSize {
		return fmt.Errorf("wire: frame of %d bytes: %w", len(payload), ErrSize)
	}
	if h.Type != FrameAudio || h.Flags != 0 {
		return fmt.Errorf("wire: frame of type %d, flags %x: %w", h.Type, h.Flags, ErrValue)
	}
	p := f[counterSize : counterSize+framePlain]
	p[0], p[1] = byte(h.Type), h.Flags
	binary.BigEndian.PutUint16(p[2:], uint16(len(payload)))
	binary.BigEndian.PutUint32(p[4:], h.Timestamp)
	clear(p[frameHeader+copy(p[frameHeader:], payload):])
	c, err := fs.s.seal(p, fs.ad[:])
	if err != nil {
		clear(f[:])
		return err
	}
	binary.BigEndian.PutUint32(f[:], uint32(c))
	return nil
}

// A FrameOpener opens the frames of one direction of a call.
type FrameOpener struct {
	o  opener
	ad frameAD
}

// NewFrameOpener returns an opener that has seen nothing.
func NewFrameOpener(key *[KeySize]byte, callee pid.ID) *FrameOpener {
	return &FrameOpener{opener{aead: newAEAD(key)}, newFrameAD(callee)}
}

// Open opens f in place. The payload lies in f. counter numbers the frames of
// the sender from 0.
func (fo *FrameOpener) Open(f *Frame) (h FrameHeader, counter uint32, payload []byte, err error) {
	counter = binary.BigEndian.Uint32(f[:])
	if _, err := fo.o.open(uint64(counter), f[counterSize:], fo.ad[:]); err != nil {
		return FrameHeader{}, 0, nil, err
	}
	p := f[counterSize:]
	h = FrameHeader{FrameType(p[0]), p[1], binary.BigEndian.Uint16(p[2:]), binary.BigEndian.Uint32(p[4:])}
	if h.Type != FrameAudio || h.Flags != 0 || h.Length > PayloadSize || !zero(p[frameHeader+int(h.Length):framePlain]) {
		return FrameHeader{}, 0, nil, ErrForged
	}
	return h, counter, p[frameHeader : frameHeader+int(h.Length)], nil
}
