package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"hushbell/voipcore/pid"
)

// Keys of the voice vectors: end to end, of the hops 1 to 3, of the link.
var (
	keyEnd    = [KeySize]byte(count(0x00, KeySize))
	keyLayers = [MaxLayers][KeySize]byte{[KeySize]byte(count(0x20, KeySize)), [KeySize]byte(count(0x40, KeySize)), [KeySize]byte(count(0x60, KeySize))}
	keyLink   = [KeySize]byte(count(0x80, KeySize))

	someFrameHeader = FrameHeader{Type: FrameAudio, Timestamp: 0x01020304}
)

// composed is ChaCha20-Poly1305 of RFC 8439 with the nonce that counter makes:
// four zero bytes, then the counter in 64 bits.
func composed(key [KeySize]byte, counter uint64, text, ad []byte) []byte {
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic(err)
	}
	return aead.Seal(nil, binary.BigEndian.AppendUint64(make([]byte, 4), counter), text, ad)
}

// TestVoice seals a frame, its three layers and its cell, with counters in
// which each byte is another, and composes the same bytes by hand.
func TestVoice(t *testing.T) {
	payload := []byte("payload of a frame")
	ad := laid("00fc 02c6", somePID[:])
	plain := laid("01 00 0012 01020304", payload, PayloadSize-len(payload))
	frame := laid("0a0b0c0d", composed(keyEnd, 0x0a0b0c0d, plain, ad))
	layer3 := laid("03313233", composed(keyLayers[2], 0x03313233, frame, nil))
	layer2 := laid("02212223", composed(keyLayers[1], 0x02212223, layer3, nil))
	layer1 := laid("01111213", composed(keyLayers[0], 0x01111213, layer2, nil))
	head := laid("c1c2c3c4 0102030405060708")
	cell := laid(head, composed(keyLink, 0x0102030405060708, laid("00000005", layer1), head))
	vs := []vector{{"associated data of the frame", ad}, {"frame before sealing", plain}, {"frame", frame},
		{"layer of hop 3", layer3}, {"layer of hop 2", layer2}, {"layer of hop 1", layer1}, {"cell", cell}}

	var f Frame
	fs := NewFrameSealer(&keyEnd, somePID)
	fs.s.next = 0x0a0b0c0d
	if err := fs.Seal(&f, someFrameHeader, payload); err != nil || !bytes.Equal(f[:], frame) {
		t.Errorf("frame = %x, %v, want %x", f, err, frame)
	}
	var c VoiceCell
	copy(c.Body()[:], f[:])
	for i, want := range [][]byte{layer3, layer2, layer1} {
		hop := MaxLayers - 1 - i
		s := NewLayerSealer(&keyLayers[hop])
		s.s.next = []uint64{0x01111213, 0x02212223, 0x03313233}[hop]
		if err := s.Seal(c.Body(), i); err != nil || !bytes.Equal(c.Body()[:len(want)], want) || !zero(c.Body()[len(want):]) {
			t.Errorf("layer of hop %d = %x, %v, want %x", hop+1, *c.Body(), err, want)
		}
	}
	c.SetTunnelID(5)
	ls := NewLinkSealer(&keyLink)
	ls.s.next = 0x0102030405060708
	if err := ls.Seal(&c, 0xc1c2c3c4); err != nil || !bytes.Equal(c[:], cell) {
		t.Errorf("cell = %x, %v, want %x", c, err, cell)
	}

	if newest, err := NewLinkOpener(&keyLink).Open(&c); err != nil || !newest || c.LinkID() != 0xc1c2c3c4 || c.TunnelID() != 5 {
		t.Errorf("cell of tunnel %d on link %x, newest %v, %v", c.TunnelID(), c.LinkID(), newest, err)
	}
	for hop, want := range [][]byte{layer2, layer3, frame} {
		err := NewLayerOpener(&keyLayers[hop]).Open(c.Body(), MaxLayers-hop)
		if err != nil || !bytes.Equal(c.Body()[:len(want)], want) || !zero(c.Body()[len(want):]) {
			t.Errorf("opened by hop %d = %x, %v, want %x", hop+1, *c.Body(), err, want)
		}
	}
	h, n, got, err := NewFrameOpener(&keyEnd, somePID).Open(FrameFromBody(c.Body()))
	if want := (FrameHeader{FrameAudio, 0, 18, 0x01020304}); h != want || n != 0x0a0b0c0d || !bytes.Equal(got, payload) || err != nil {
		t.Errorf("frame %x with header %+v holds %q, %v", n, h, got, err)
	}
	golden(t, "voice.golden", "A frame for pid 20 21 ... 3f on its way to the first hop.\n"+
		"Keys: end to end 00 01 ..., hop 1 20 21 ..., hop 2 40 41 ..., hop 3 60 61 ..., link 80 81 ...", vs)
}

// Counters start at 0 and count each cell, layer and frame.
func TestCountersStartAtZero(t *testing.T) {
	link, layer, frame := NewLinkSealer(&keyLink), NewLayerSealer(&keyLayers[0]), NewFrameSealer(&keyEnd, somePID)
	for want := range uint64(3) {
		var c VoiceCell
		var f Frame
		if frame.Seal(&f, someFrameHeader, nil) != nil || layer.Seal(c.Body(), 0) != nil {
			t.Fatal("cannot seal")
		}
		if got := binary.BigEndian.Uint32(f[:]); got != uint32(want) {
			t.Errorf("frame %d has counter %d", want, got)
		}
		if got := binary.BigEndian.Uint32(c.Body()[:]); got != uint32(want) {
			t.Errorf("layer %d has counter %d", want, got)
		}
		if link.Seal(&c, 1) != nil {
			t.Fatal("cannot seal")
		}
		if got := binary.BigEndian.Uint64(c[4:]); got != want {
			t.Errorf("cell %d has counter %d", want, got)
		}
	}
}

func sealedCell(t testing.TB) VoiceCell {
	var c VoiceCell
	c.SetTunnelID(5)
	copy(c.Body()[:], count(0, BodySize))
	if err := NewLinkSealer(&keyLink).Seal(&c, 0xc1c2c3c4); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestVoiceCellRefused(t *testing.T) {
	cell := sealedCell(t)
	o := NewLinkOpener(&keyLink)
	for i := range cell {
		c := cell
		c[i] ^= 0x10
		if _, err := o.Open(&c); err != ErrForged {
			t.Errorf("byte %d altered: %v, want %v", i, err, ErrForged)
		}
	}
	// What was refused has not moved the window.
	c := cell
	if newest, err := o.Open(&c); err != nil || !newest {
		t.Errorf("the cell itself, after forged ones: newest %v, %v", newest, err)
	}
	c = cell
	if _, err := o.Open(&c); err != ErrReplayed {
		t.Errorf("repeated: %v, want %v", err, ErrReplayed)
	}
	c = cell
	if _, err := NewLinkOpener(&keyEnd).Open(&c); err != ErrForged {
		t.Errorf("under another key: %v, want %v", err, ErrForged)
	}
	c = cell
	binary.BigEndian.PutUint64(c[4:], math.MaxUint64)
	if _, err := o.Open(&c); err != ErrReplayed {
		t.Errorf("with the last counter: %v, want %v", err, ErrReplayed)
	}
}

// newest is what tells where the peer is now: an older cell that comes late
// must not move it back.
func TestNewestCell(t *testing.T) {
	s, o := NewLinkSealer(&keyLink), NewLinkOpener(&keyLink)
	var cells [4]VoiceCell
	for i := range cells {
		if err := s.Seal(&cells[i], 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		cell int
		want bool
	}{{0, true}, {2, true}, {1, false}, {3, true}} {
		if newest, err := o.Open(&cells[step.cell]); err != nil || newest != step.want {
			t.Errorf("cell %d: newest %v, %v, want %v", step.cell, newest, err, step.want)
		}
	}
}

func TestLayerRefused(t *testing.T) {
	var body [BodySize]byte
	if err := NewLayerSealer(&keyLayers[0]).Seal(&body, 1); err != nil {
		t.Fatal(err)
	}
	o := NewLayerOpener(&keyLayers[0])
	for i := range FrameSize + 2*layerSize {
		b := body
		b[i] ^= 1
		if err := o.Open(&b, 2); err != ErrForged {
			t.Errorf("byte %d altered: %v, want %v", i, err, ErrForged)
		}
	}
	for _, layers := range []int{1, 3} {
		b := body
		if err := o.Open(&b, layers); err != ErrForged {
			t.Errorf("as %d layers: %v, want %v", layers, err, ErrForged)
		}
	}
	b := body
	if err := o.Open(&b, 2); err != nil {
		t.Errorf("itself, after forged ones: %v", err)
	}
	if err := o.Open(&body, 2); err != ErrReplayed {
		t.Errorf("repeated: %v, want %v", err, ErrReplayed)
	}
}

// TestLayerLeavesNoRoom: what lies behind the layers is zero after each step,
// whatever was there before. Else the last hop could mark cells for the first
// hop through an honest one between them, and the two would know by one cell
// that they are on one tunnel.
func TestLayerLeavesNoRoom(t *testing.T) {
	for layers := range MaxLayers {
		var b [BodySize]byte
		used := FrameSize + layers*layerSize
		for i := used; i < BodySize; i++ {
			b[i] = 0xff
		}
		if err := NewLayerSealer(&keyEnd).Seal(&b, layers); err != nil {
			t.Fatal(err)
		}
		if !zero(b[used+layerSize:]) {
			t.Errorf("layer %d sealed: marks remain behind it", layers+1)
		}
		for i := used + layerSize; i < BodySize; i++ {
			b[i] = 0xff
		}
		if err := NewLayerOpener(&keyEnd).Open(&b, layers+1); err != nil {
			t.Fatal(err)
		}
		if !zero(b[used:]) {
			t.Errorf("layer %d opened: marks remain behind it", layers+1)
		}
	}
}

func TestFrameRefused(t *testing.T) {
	var frame Frame
	if err := NewFrameSealer(&keyEnd, somePID).Seal(&frame, someFrameHeader, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for i := range frame {
		f := frame
		f[i] ^= 1
		if _, _, p, err := NewFrameOpener(&keyEnd, somePID).Open(&f); err != ErrForged || p != nil {
			t.Errorf("byte %d altered: %x, %v, want %v", i, p, err, ErrForged)
		}
	}
	f := frame
	if _, _, _, err := NewFrameOpener(&keyEnd, pid.ID(count(0x21, 32))).Open(&f); err != ErrForged {
		t.Errorf("in a call of another callee: %v, want %v", err, ErrForged)
	}
	f = frame
	if _, _, _, err := NewFrameOpener(&keyLink, somePID).Open(&f); err != ErrForged {
		t.Errorf("in the other direction: %v, want %v", err, ErrForged)
	}
	o := NewFrameOpener(&keyEnd, somePID)
	f = frame
	if _, _, _, err := o.Open(&f); err != nil {
		t.Errorf("itself: %v", err)
	}
	if _, _, _, err := o.Open(&frame); err != ErrReplayed {
		t.Errorf("repeated: %v, want %v", err, ErrReplayed)
	}

	// The far end itself breaks the format.
	for name, plain := range map[string][]byte{
		"type 0":                   laid("00 00 0001 00000000 01", PayloadSize-1),
		"unknown type":             laid("02 00 0001 00000000 01", PayloadSize-1),
		"flags":                    laid("01 80 0001 00000000 01", PayloadSize-1),
		"length past the end":      laid("01 00 00c9 00000000", PayloadSize),
		"length far past the end":  laid("01 00 ffff 00000000", PayloadSize),
		"dirty padding":            laid("01 00 0001 00000000 01 01", PayloadSize-2),
		"dirty last byte":          laid("01 00 0000 00000000", PayloadSize-1, "01"),
		"nothing but dirty":        bytes.Repeat([]byte{0xff}, framePlain),
		"length in the wrong half": laid("01 00 0100 00000000", PayloadSize),
	} {
		f := Frame(laid("00000007", composed(keyEnd, 7, plain, laid("00fc 02c6", somePID[:]))))
		if _, _, p, err := NewFrameOpener(&keyEnd, somePID).Open(&f); err != ErrForged || p != nil {
			t.Errorf("%s: %x, %v, want %v", name, p, err, ErrForged)
		}
	}
}

func TestFrameSizes(t *testing.T) {
	s, o := NewFrameSealer(&keyEnd, somePID), NewFrameOpener(&keyEnd, somePID)
	for n := range PayloadSize + 1 {
		f := Frame(bytes.Repeat([]byte{0xee}, FrameSize)) // as a used buffer is
		payload := bytes.Repeat([]byte{0xaa}, n)
		h := FrameHeader{Type: FrameAudio, Length: 9999, Timestamp: uint32(n)}
		if err := s.Seal(&f, h, payload); err != nil {
			t.Fatal(err)
		}
		h.Length = uint16(n)
		if got, _, p, err := o.Open(&f); err != nil || got != h || !bytes.Equal(p, payload) {
			t.Errorf("payload of %d bytes: %+v, %x, %v", n, got, p, err)
		}
	}
	var f Frame
	for name, tt := range map[string]struct {
		h    FrameHeader
		n    int
		want error
	}{
		"too long": {someFrameHeader, PayloadSize + 1, ErrSize},
		"type 0":   {FrameHeader{}, 1, ErrValue},
		"flags":    {FrameHeader{Type: FrameAudio, Flags: 1}, 1, ErrValue},
	} {
		if err := s.Seal(&f, tt.h, bytes.Repeat([]byte{1}, tt.n)); !errors.Is(err, tt.want) || f != (Frame{}) {
			t.Errorf("%s: %v, frame %x, want %v", name, err, f, tt.want)
		}
	}
}

// A key dies with its counter, and what was to be sealed stays unsent.
func TestSpent(t *testing.T) {
	var c VoiceCell
	var f Frame
	link, layer, frame := NewLinkSealer(&keyLink), NewLayerSealer(&keyLayers[0]), NewFrameSealer(&keyEnd, somePID)
	seals := map[string]struct {
		s     *sealer
		last  uint64
		seal  func() error
		count func() uint64
	}{
		"link":  {&link.s, math.MaxUint64 - 1, func() error { return link.Seal(&c, 1) }, func() uint64 { return binary.BigEndian.Uint64(c[4:]) }},
		"layer": {&layer.s, math.MaxUint32, func() error { return layer.Seal(c.Body(), 0) }, func() uint64 { return uint64(binary.BigEndian.Uint32(c.Body()[:])) }},
		"frame": {&frame.s, math.MaxUint32, func() error { return frame.Seal(&f, someFrameHeader, []byte("secret")) }, func() uint64 { return uint64(binary.BigEndian.Uint32(f[:])) }},
	}
	for name, tt := range seals {
		tt.s.next = tt.last - 1
		for want := tt.last - 1; want != tt.last+1; want++ {
			if err := tt.seal(); err != nil || tt.count() != want {
				t.Errorf("%s: counter %d, %v, want %d", name, tt.count(), err, want)
			}
		}
		for range 3 {
			if err := tt.seal(); err != ErrSpent {
				t.Errorf("%s after its last counter: %v, want %v", name, err, ErrSpent)
			}
		}
	}
	if bytes.Contains(f[:], []byte("secret")) {
		t.Error("a frame that was not sealed holds its payload in the clear")
	}

	// The last cells, layers and frames open.
	o := NewLayerOpener(&keyLayers[0])
	s := NewLayerSealer(&keyLayers[0])
	for _, n := range []uint64{0, math.MaxUint32 - 1, math.MaxUint32} {
		var b [BodySize]byte
		s.s.next = n
		if err := s.Seal(&b, 0); err != nil {
			t.Fatal(err)
		}
		if err := o.Open(&b, 1); err != nil {
			t.Errorf("layer with counter %d: %v", n, err)
		}
	}
}

// TestConcurrentSealing: no two goroutines get one counter, and of cells that
// arrive twice, in several goroutines at once, each is opened once.
func TestConcurrentSealing(t *testing.T) {
	const workers, each = 8, 100 // together less than the window
	s, o := NewLinkSealer(&keyLink), NewLinkOpener(&keyLink)
	var sealed [workers * each]VoiceCell
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := s.Seal(&sealed[w*each+i], uint32(w)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for i := range sealed {
		seen[binary.BigEndian.Uint64(sealed[i][4:])] = true
	}
	if len(seen) != len(sealed) || !seen[0] || !seen[uint64(len(sealed)-1)] {
		t.Errorf("%d cells have %d counters", len(sealed), len(seen))
	}
	var opened, replayed atomic.Int64
	for w := range 2 * workers {
		wg.Go(func() {
			for i := range each {
				c := sealed[w/2*each+i]
				switch _, err := o.Open(&c); err {
				case nil:
					opened.Add(1)
				case ErrReplayed:
					replayed.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if opened.Load() != workers*each || replayed.Load() != workers*each {
		t.Errorf("of %d cells twice %d were opened and %d refused", workers*each, opened.Load(), replayed.Load())
	}
}

// FuzzVoiceCell: what opens has been sealed, and sealing it again gives the
// same bytes. xor says which bytes of a sealed cell are altered.
func FuzzVoiceCell(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 1})
	f.Add(laid("00000000 0000000000000001"))
	f.Add(laid(VoiceCellSize-1, "01"))
	cell := sealedCell(f)
	f.Fuzz(func(t *testing.T, xor []byte) {
		c, altered := cell, false
		for i := range min(len(xor), len(c)) {
			c[i] ^= xor[i]
			altered = altered || xor[i] != 0
		}
		raw := c
		if _, err := NewLinkOpener(&keyLink).Open(&c); (err == nil) == altered {
			t.Fatalf("%x = %v, altered %v", raw, err, altered)
		} else if err != nil {
			return
		}
		s := NewLinkSealer(&keyLink)
		s.s.next = binary.BigEndian.Uint64(raw[4:])
		if err := s.Seal(&c, raw.LinkID()); err != nil || c != raw {
			t.Fatalf("%x\nis sealed again as\n%x, %v", raw, c, err)
		}
	})
}

// FuzzFrame: what a far end can send in a frame that is rightly sealed.
func FuzzFrame(f *testing.F) {
	f.Add(uint32(0), laid("01 00 0001 00000000 01"))
	f.Add(uint32(math.MaxUint32), laid("01 00 00c8 ffffffff", bytes.Repeat([]byte{1}, PayloadSize)))
	ad := laid("00fc 02c6", somePID[:])
	f.Fuzz(func(t *testing.T, counter uint32, b []byte) {
		var plain [framePlain]byte
		copy(plain[:], b)
		raw := Frame(append(binary.BigEndian.AppendUint32(nil, counter), composed(keyEnd, uint64(counter), plain[:], ad)...))
		fr := raw
		h, n, payload, err := NewFrameOpener(&keyEnd, somePID).Open(&fr)
		if err != nil {
			if err != ErrForged {
				t.Fatal(err)
			}
			return
		}
		s := NewFrameSealer(&keyEnd, somePID)
		s.s.next = uint64(n)
		var back Frame
		if err := s.Seal(&back, h, payload); err != nil || back != raw {
			t.Fatalf("%x\nis %+v, %x, which is sealed as\n%x, %v", plain, h, payload, back, err)
		}
	})
}

// FuzzLayer: bodies that no client has sealed do not open, in any number of layers.
func FuzzLayer(f *testing.F) {
	var body [BodySize]byte
	if err := NewLayerSealer(&keyLayers[0]).Seal(&body, 2); err != nil {
		f.Fatal(err)
	}
	f.Add(body[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw [BodySize]byte
		copy(raw[:], b)
		for layers := 1; layers <= MaxLayers; layers++ {
			got := raw
			if err := NewLayerOpener(&keyLayers[0]).Open(&got, layers); (err == nil) != (layers == 3 && raw == body) {
				t.Fatalf("%d layers of %x = %v", layers, raw, err)
			}
		}
	})
}
