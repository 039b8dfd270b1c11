package voice

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/pion/opus"
	"github.com/pion/opus/pkg/oggreader"
)

// A tape is an Encoder that gives the packets of a recording, whatever the
// sound: 80 bytes each, made by libopus. It starts again at its end.
type tape struct {
	packets [][]byte
	next    int
}

func (t *tape) Encode(_ []int16, packet []byte) (int, error) {
	p := t.packets[t.next%len(t.packets)]
	t.next++
	return copy(packet, p), nil
}

func readTape(t testing.TB) *tape {
	t.Helper()
	b, err := os.ReadFile("testdata/voice-32k.opus")
	if err != nil {
		t.Fatal(err)
	}
	ogg, _, err := oggreader.NewWith(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	for {
		p, _, err := ogg.ParseNextPacket()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	return &tape{packets: packets[1:]} // without the tags
}

func newSender(t testing.TB) *Sender {
	t.Helper()
	s, err := NewSender(readTape(t), 80, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newReceiver(t testing.TB) *Receiver {
	t.Helper()
	r, err := NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A payload on its way.
type sent struct {
	timestamp uint32
	payload   []byte
}

func send(t testing.TB, s *Sender) sent {
	t.Helper()
	var pcm [FrameSamples]int16
	var p Payload
	n, ts, err := s.Send(&pcm, &p)
	if err != nil {
		t.Fatal(err)
	}
	return sent{ts, p[:n]}
}

// play gives what a receiver makes of the recording when drop says which
// frames are lost.
func play(t testing.TB, frames int, drop func(n int) bool) ([]int16, Counters) {
	t.Helper()
	s, r := newSender(t), newReceiver(t)
	var out []int16
	var pcm [FrameSamples]int16
	for n := range frames {
		if f := send(t, s); !drop(n) {
			if err := r.Push(f.timestamp, f.payload); err != nil {
				t.Fatal(err)
			}
		}
		r.Pull(&pcm)
		out = append(out, pcm[:]...)
	}
	return out, r.Counters()
}

func TestSenderPayloads(t *testing.T) {
	tp := readTape(t)
	s, err := NewSender(tp, 80, true)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		f := send(t, s)
		if want := uint32(n * FrameSamples); f.timestamp != want {
			t.Errorf("frame %d has timestamp %d, want %d", n, f.timestamp, want)
		}
		packet, copied, err := splitPayload(f.payload)
		if err != nil || !bytes.Equal(packet, tp.packets[n]) {
			t.Errorf("frame %d holds packet %x, %v; want %x", n, packet, err, tp.packets[n])
		}
		if n > 0 && !bytes.Equal(copied, tp.packets[n-1]) || n == 0 && len(copied) != 0 {
			t.Errorf("frame %d holds the copy %x", n, copied)
		}
	}
	s.Skip()
	f := send(t, s)
	if _, copied, _ := splitPayload(f.payload); f.timestamp != 6*FrameSamples || len(copied) != 0 {
		t.Errorf("after a skipped frame: timestamp %d, copy %x; want %d and none", f.timestamp, copied, 6*FrameSamples)
	}

	alone, err := NewSender(readTape(t), 80, false)
	if err != nil {
		t.Fatal(err)
	}
	send(t, alone)
	if f := send(t, alone); len(f.payload) != 82 {
		t.Errorf("a payload without a copy has %d bytes, want 82", len(f.payload))
	}
}

func TestNewSenderSize(t *testing.T) {
	for _, tt := range []struct {
		bytes  int
		copies bool
		ok     bool
	}{{80, true, true}, {99, true, true}, {100, true, false}, {198, false, true}, {199, false, false}, {0, false, false}, {-1, true, false}} {
		if _, err := NewSender(readTape(t), tt.bytes, tt.copies); (err == nil) != tt.ok {
			t.Errorf("NewSender of %d bytes, copies %v: %v", tt.bytes, tt.copies, err)
		}
	}
}

// broken is an encoder that fails at every other frame.
type broken struct {
	tape
	n int
}

func (b *broken) Encode(pcm []int16, packet []byte) (int, error) {
	if b.n++; b.n%2 == 0 {
		return 0, errors.New("out of order")
	}
	return b.tape.Encode(pcm, packet)
}

func TestSenderEncoderFails(t *testing.T) {
	s, err := NewSender(&broken{tape: *readTape(t)}, 80, true)
	if err != nil {
		t.Fatal(err)
	}
	var pcm [FrameSamples]int16
	var p Payload
	for n := range 6 {
		size, ts, err := s.Send(&pcm, &p)
		if (err == nil) != (n%2 == 0) || ts != uint32(n*FrameSamples) {
			t.Errorf("frame %d: timestamp %d, %v", n, ts, err)
		}
		if err == nil && size != 82 { // the copy would be of two frames before
			t.Errorf("frame %d has %d bytes, want 82", n, size)
		}
	}
}

// What arrives whole is the recording as the decoder gives it, one frame later.
func TestReceiverWhole(t *testing.T) {
	got, c := play(t, 200, func(int) bool { return false })
	if want := (Counters{Received: 200}); c != want {
		t.Errorf("counted %+v, want %+v", c, want)
	}
	f, err := os.Open("testdata/voice-32k.opus")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := ReadOpus(f)
	if err != nil {
		t.Fatal(err)
	}
	const skip = 120 // the file's pre-skip
	for i, v := range got[FrameSamples+skip:] {
		if v != want[i] {
			t.Fatalf("sample %d is %d, want %d", i, v, want[i])
		}
	}
}

// One lost frame in ten is repaired: nothing is made up.
func TestReceiverRepairs(t *testing.T) {
	whole, _ := play(t, 300, func(int) bool { return false })
	got, c := play(t, 300, func(n int) bool { return n%10 == 5 })
	if c.Lost != 30 || c.Repaired != 30 || c.Concealed != 0 {
		t.Errorf("counted %+v, want 30 lost and repaired", c)
	}
	for i := range whole {
		if got[i] != whole[i] {
			t.Fatalf("sample %d is %d, want %d: a copy is as good as the frame", i, got[i], whole[i])
		}
	}
}

// Concealed sound is nearer to what was lost than silence is, does not jump,
// and ends after mostFrames.
func TestReceiverConceals(t *testing.T) {
	gone := func(n int) bool { return n%25 >= 12 && n%25 < 14 } // two in a row: the first has no copy
	whole, _ := play(t, 300, func(int) bool { return false })
	got, c := play(t, 300, gone)
	if c.Lost != 24 || c.Repaired != 12 || c.Concealed != 12 {
		t.Errorf("counted %+v, want 24 lost, 12 repaired, 12 concealed", c)
	}
	var missed, silence float64
	for n := range 299 {
		if n%25 != 12 {
			continue
		}
		at := (n + 1) * FrameSamples // played one frame later
		for i := at; i < at+FrameSamples; i++ {
			d := float64(got[i]) - float64(whole[i])
			missed += d * d
			silence += float64(whole[i]) * float64(whole[i])
		}
	}
	if missed > 0.9*silence {
		t.Errorf("concealment misses by %.2f of what silence does, want under 0.9", missed/silence)
	}
}

func TestConcealerSteadyTone(t *testing.T) {
	var c concealer
	var pcm [FrameSamples]int16
	at := 0
	tone := func() {
		for i := range pcm {
			pcm[i] = int16(8000 * math.Sin(2*math.Pi*200*float64(at)/RateHz))
			at++
		}
	}
	for range 5 {
		tone()
		c.real(&pcm)
	}
	last := pcm[FrameSamples-1]
	for n := range 8 {
		c.conceal(&pcm)
		for i, v := range pcm {
			want := 8000 * math.Sin(2*math.Pi*200*float64(at)/RateHz) * float64(gain(n)+(gain(n+1)-gain(n))*float32(i)/FrameSamples)
			if math.Abs(float64(v)-want) > 250 {
				t.Fatalf("made-up frame %d, sample %d is %d, want about %.0f", n, i, v, want)
			}
			if d := int(v) - int(last); d > 400 || d < -400 { // 200 Hz at 8000 moves by 209 a sample
				t.Fatalf("made-up frame %d, sample %d jumps by %d", n, i, d)
			}
			last = v
			at++
		}
	}
	if pcm != [FrameSamples]int16{} {
		t.Errorf("after %d frames there is still sound", 8)
	}
	// Real sound fades in without a jump.
	tone()
	c.real(&pcm)
	for _, v := range pcm {
		if d := int(v) - int(last); d > 400 || d < -400 {
			t.Fatalf("real sound begins with a jump of %d", d)
		}
		last = v
	}
}

// A voice that grows louder is not the same a period later. Where the repeated period
// begins again, at the loudest place, there must be no step all the same.
func TestConcealerJoins(t *testing.T) {
	var c concealer
	var pcm [FrameSamples]int16
	const period = RateHz / 200
	at := 1 - 4*FrameSamples // the last sample is number 0, a crest
	for range 4 {
		for i := range pcm {
			phase := 2 * math.Pi * float64(at) / period
			pcm[i] = int16(12000 * math.Pow(1.4, float64(at)/period) * math.Cos(phase))
			at++
		}
		c.real(&pcm)
	}
	last := pcm[FrameSamples-1]
	for range mostFrames {
		c.conceal(&pcm)
		for i, v := range pcm {
			// The step is up to 7600, for three periods are repeated; evened out it is 320 a
			// sample, and so soon after a crest the cosine moves by 190.
			if d := int(v) - int(last); d > 500 || d < -500 {
				t.Fatalf("sample %d jumps by %d", i, d)
			}
			last = v
		}
	}
}

// Sound at full scale, a click and silence go through without overflow.
func TestConcealerExtremes(t *testing.T) {
	for _, fill := range []func(i int) int16{
		func(i int) int16 { return math.MinInt16 },
		func(i int) int16 { return []int16{math.MaxInt16, math.MinInt16}[i/100%2] },
		func(i int) int16 { return 0 },
	} {
		var c concealer
		var pcm [FrameSamples]int16
		for range 3 {
			for i := range pcm {
				pcm[i] = fill(i)
			}
			c.real(&pcm)
			sign := pcm[FrameSamples-1] < 0
			c.conceal(&pcm)
			if fill(0) == math.MinInt16 && fill(100) == math.MinInt16 && !sign {
				t.Error("full scale has changed its sign")
			}
		}
	}
}

// The fade from made-up sound to real sound stays within 16 bits.
func TestConcealerFadeAtFullScale(t *testing.T) {
	var c concealer
	var pcm [FrameSamples]int16
	rng, above := rand.New(rand.NewPCG(1, 2)), 0
	for range 200 {
		for range 3 {
			for i := range pcm {
				pcm[i] = []int16{math.MinInt16, math.MaxInt16}[rng.IntN(2)]
			}
			c.real(&pcm)
		}
		c.conceal(&pcm)
		tail := c.tail
		clear(pcm[:])
		c.real(&pcm)
		for i, old := range tail {
			if old > math.MaxInt16 || old < math.MinInt16 {
				above++
			}
			if old > 0 && pcm[i] < 0 || old < 0 && pcm[i] > 0 {
				t.Fatalf("sample %d of the fade from %g into silence is %d", i, old, pcm[i])
			}
		}
	}
	if above == 0 {
		t.Error("nothing was above full scale")
	}
}

// Digital silence that goes on is silent, and what follows it is what it would be had
// each of its packets been decoded.
func TestReceiverSilence(t *testing.T) {
	packets := append([][]byte{}, readTape(t).packets[:100]...)
	quiet := append([]byte{toc, 0xff, 0xfe}, make([]byte, 77)...) // the flag of RFC 6716, section 4.3, and nothing
	for range 50 {
		packets = append(packets, quiet)
	}
	packets = append(packets, readTape(t).packets[100:150]...)
	r := newReceiver(t)
	whole, err := opus.NewDecoderWithOutput(RateHz, 1)
	if err != nil {
		t.Fatal(err)
	}
	skipped := 0
	for i, p := range packets {
		var got, want [FrameSamples]int16
		if !r.decode(p, &got) {
			t.Fatalf("packet %d was not taken", i)
		}
		if _, err := whole.DecodeToInt16(p, want[:]); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("packet %d is decoded differently after silence", i)
		}
		if len(r.silence) > 0 {
			skipped++
		}
	}
	if skipped < 45 || skipped > 50 {
		t.Errorf("%d packets were taken for silence, want nearly all of 50", skipped)
	}
}

// Packets that are no CELT frames of ours are counted and concealed.
func TestReceiverMalformed(t *testing.T) {
	r := newReceiver(t)
	var pcm [FrameSamples]int16
	bad := [][]byte{{0x08}, {toc}, {toc | 4, 1, 2}, {toc | 1, 1, 2}, {3 << 3, 1, 2, 3}, bytes.Repeat([]byte{0xff}, 80)}
	for n, packet := range bad {
		var p Payload
		size, err := putPayload(&p, packet, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Push(uint32(n*FrameSamples), p[:size]); err != nil {
			t.Errorf("push of packet %x: %v", packet, err)
		}
	}
	if err := r.Push(0, []byte{9}); !errors.Is(err, ErrPayload) {
		t.Errorf("push of no payload: %v, want ErrPayload", err)
	}
	for range bad {
		r.Pull(&pcm)
		if pcm != [FrameSamples]int16{} {
			t.Error("sound was made of a malformed packet")
		}
	}
	if c := r.Counters(); c.Malformed != uint64(len(bad))+1 || c.Concealed != uint64(len(bad)) {
		t.Errorf("counted %+v, want %d malformed, %d concealed", c, len(bad)+1, len(bad))
	}
}

// Of two frames that are faded into one to shorten the delay, a broken one is left out:
// nothing has to be made up while the other is there.
func TestReceiverMalformedInMerge(t *testing.T) {
	for _, broken := range [][]int{{0}, {1}, {0, 1}} {
		s, r := newSender(t), newReceiver(t)
		for range 2 {
			f := send(t, s)
			if slices.Contains(broken, int(f.timestamp/FrameSamples)) {
				f.payload[payloadHeader] = 0x08 // not the TOC that was agreed on
			}
			if err := r.Push(f.timestamp, f.payload); err != nil {
				t.Fatal(err)
			}
		}
		r.jitter.playing, r.jitter.excess, r.jitter.pause = true, 1, mergePause
		var pcm [FrameSamples]int16
		r.Pull(&pcm)
		want := Counters{Received: 2, Merged: 1, Malformed: uint64(len(broken)), Concealed: uint64(len(broken) / 2)}
		if c := r.Counters(); c != want {
			t.Errorf("frames %v broken: counted %+v, want %+v", broken, c, want)
		}
	}
}

// FuzzReceiver feeds the decoder what only a broken but authenticated sender
// could send. Nothing may panic, whatever the packet.
func FuzzReceiver(f *testing.F) {
	for _, p := range readTape(f).packets[40:44] {
		f.Add(p[1:])
	}
	f.Add([]byte{})
	r := newReceiver(f)
	ts := uint32(0)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) > MaxPackets-1 {
			packet = packet[:MaxPackets-1]
		}
		var p Payload
		n, err := putPayload(&p, append([]byte{toc}, packet...), nil)
		if err != nil {
			t.Fatal(err)
		}
		ts += FrameSamples
		if err := r.Push(ts, p[:n]); err != nil {
			t.Fatal(err)
		}
		var pcm [FrameSamples]int16
		r.Pull(&pcm)
	})
}

// The network and the speaker at the same time, under the race detector.
func TestReceiverConcurrent(t *testing.T) {
	const frames = 500
	s, r := newSender(t), newReceiver(t)
	var all []sent
	for range frames {
		all = append(all, send(t, s))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, f := range all {
			if err := r.Push(f.timestamp, f.payload); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		var pcm [FrameSamples]int16
		for range frames {
			r.Pull(&pcm)
			r.Counters()
		}
	})
	wg.Wait()
	if c := r.Counters(); c.Received+c.Late != frames {
		t.Errorf("counted %+v, want %d received or late", c, frames)
	}
}

func TestSenderAllocs(t *testing.T) {
	s := newSender(t)
	var pcm [FrameSamples]int16
	var p Payload
	if n := testing.AllocsPerRun(1, func() {
		for range 1000 {
			if _, _, err := s.Send(&pcm, &p); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("1000 frames allocate %v times, want 0", n)
	}
}

// With loss, so that repair and concealment are part of it.
func TestReceiverAllocs(t *testing.T) {
	next, r := wireToPlayback(t)
	for range 10 {
		next() // the decoder makes its buffers with its first packet
	}
	if n := testing.AllocsPerRun(1, func() {
		for range 1000 {
			next()
		}
	}); n != 0 {
		t.Errorf("1000 frames allocate %v times, want 0", n)
	}
	if c := r.Counters(); c.Repaired == 0 || c.Concealed == 0 || c.Malformed != 0 {
		t.Errorf("counted %+v: repair and concealment were to be part of it", c)
	}
}

// wireToPlayback returns a function that takes a Receiver through one frame:
// 3 % of them are lost, some in pairs.
func wireToPlayback(t testing.TB) (next func(), r *Receiver) {
	s, r := newSender(t), newReceiver(t)
	var all []sent
	for range 256 {
		all = append(all, send(t, s))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var pcm [FrameSamples]int16
	n, gone := 0, 0
	return func() {
		f := &all[n%len(all)]
		if gone == 0 && rng.IntN(50) == 0 {
			gone = 1 + rng.IntN(2)
		}
		if gone > 0 {
			gone--
		} else if err := r.Push(uint32(n*FrameSamples), f.payload); err != nil {
			t.Fatal(err)
		}
		n++
		r.Pull(&pcm)
	}, r
}

func BenchmarkWireToPlayback(b *testing.B) {
	next, _ := wireToPlayback(b)
	for range 10 {
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

// A first lost frame: the search for the pitch is the dearest thing there is.
func BenchmarkConceal(b *testing.B) {
	var c concealer
	var pcm [FrameSamples]int16
	for i := range pcm {
		pcm[i] = int16(i * 7919)
	}
	c.real(&pcm)
	b.ReportAllocs()
	for b.Loop() {
		c.lost = 0
		c.conceal(&pcm)
	}
}
