package celt

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/pion/opus"
)

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		ok  bool
	}{
		{Config{960, 80, 5}, true},
		{Config{960, 40, 0}, true},
		{Config{960, 160, 0}, true},
		{Config{480, 20, 0}, true},
		{Config{480, 80, 0}, true},
		{Config{}, false},
		{Config{240, 40, 0}, false},
		{Config{960, 39, 0}, false},
		{Config{960, 161, 0}, false},
		{Config{480, 81, 0}, false},
		{Config{960, 80, -1}, false},
		{Config{960, 80, 6}, false},
	} {
		if e, err := NewEncoder(c.cfg); (err == nil) != c.ok || (e != nil) != c.ok {
			t.Errorf("NewEncoder(%+v) = %v, want ok %v", c.cfg, err, c.ok)
		}
	}
	if got := PacketBytes(32000, 960); got != 80 {
		t.Errorf("PacketBytes(32000, 960) = %d, want 80", got)
	}
}

func TestShortBuffers(t *testing.T) {
	e, err := NewEncoder(Config{960, 80, 0})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Encode(make([]int16, 959), make([]byte, 80)); !errors.Is(err, ErrShortBuffer) {
		t.Errorf("Encode of 959 samples: %v, want ErrShortBuffer", err)
	}
	if _, err := e.EncodeFloat(make([]float32, 959), make([]byte, 80)); !errors.Is(err, ErrShortBuffer) {
		t.Errorf("EncodeFloat of 959 samples: %v, want ErrShortBuffer", err)
	}
	if _, err := e.Encode(make([]int16, 960), make([]byte, 79)); !errors.Is(err, ErrShortBuffer) {
		t.Errorf("Encode to 79 bytes: %v, want ErrShortBuffer", err)
	}
	packet := make([]byte, 100)
	packet[80] = 7
	if n, err := e.Encode(make([]int16, 2000), packet); n != 80 || err != nil || packet[80] != 7 {
		t.Errorf("Encode with longer buffers = %d, %v and byte 80 is %d, want 80, no error and 7", n, err, packet[80])
	}
}

// TestFloatIsInt16 checks that both inputs give the same packets, and Reset the first one again.
func TestFloatIsInt16(t *testing.T) {
	a, _ := NewEncoder(Config{960, 80, 5})
	b, _ := NewEncoder(Config{960, 80, 5})
	pcm := vowels(newRand(3), 20*960)
	float := make([]float32, len(pcm))
	for i, v := range pcm {
		float[i] = float32(v) / 32768
	}
	var first [80]byte
	for f := range 20 {
		var p, q [80]byte
		if _, err := a.Encode(pcm[f*960:], p[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := b.EncodeFloat(float[f*960:], q[:]); err != nil {
			t.Fatal(err)
		}
		if p != q {
			t.Fatalf("frame %d: int16 gives %x, float32 %x", f, p, q)
		}
		if f == 0 {
			first = p
		}
	}
	a.Reset()
	var p [80]byte
	if _, err := a.Encode(pcm, p[:]); err != nil || p != first {
		t.Errorf("the first packet after Reset is %x, error %v, want %x", p, err, first)
	}
}

// pionRange digs the final range out of pion's decoder, which does not offer it.
func pionRange(d *opus.Decoder) uint32 {
	v := reflect.ValueOf(d).Elem().FieldByName("celtDecoder").FieldByName("rangeDecoder").FieldByName("rangeSize")
	return uint32(v.Uint())
}

// TestBadSamplesAreCleaned sends what is no sound, then speech: the decoder must
// follow, and the speech must be none the worse half a second later.
func TestBadSamplesAreCleaned(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, bad := range [][]float32{{nan}, {inf}, {-inf}, {inf, -inf}, {1e38, -1e38}, {1e-40}, {nan, inf, 0, -inf, 3e38}, {1, -1}} {
		e, _ := NewEncoder(Config{960, 80, 5})
		dec, err := opus.NewDecoderWithOutput(sampleRate, 1)
		if err != nil {
			t.Fatal(err)
		}
		speech := vowels(newRand(9), 60*960)
		var signal, noise float64
		for f := range 60 {
			pcm, packet, out := make([]float32, 960), make([]byte, 80), make([]float32, 960)
			for i := range pcm {
				if f < 10 {
					pcm[i] = bad[i%len(bad)]
				} else {
					pcm[i] = float32(speech[f*960+i]) / 32768
				}
			}
			if _, err := e.EncodeFloat(pcm, packet); err != nil {
				t.Fatalf("%v: frame %d: %v", bad, f, err)
			}
			if _, err := dec.DecodeToFloat32(packet, out); err != nil {
				t.Fatalf("%v: frame %d: %v", bad, f, err)
			}
			if got, want := pionRange(&dec), e.FinalRange(); got != want {
				t.Fatalf("%v: frame %d: final range %08x, want %08x", bad, f, got, want)
			}
			for i := range out {
				if f >= 35 {
					want := float64(speech[f*960+i-Delay]) / 32768
					signal += want * want
					noise += (float64(out[i]) - want) * (float64(out[i]) - want)
				}
			}
		}
		if snr := 10 * math.Log10(signal/noise); !(snr > 6) {
			t.Errorf("%v: speech afterwards has an SNR of %.1f dB, want above 6", bad, snr)
		}
	}
}

// TestSilenceIsSilent checks that silence decodes to exactly that, and costs no noise before or after.
func TestSilenceIsSilent(t *testing.T) {
	e, _ := NewEncoder(Config{960, 80, 5})
	dec, _ := opus.NewDecoderWithOutput(sampleRate, 1)
	speech := vowels(newRand(2), 10*960)
	out := make([]int16, 960)
	packet := make([]byte, 80)
	for f := range 60 {
		pcm := make([]int16, 960)
		if f < 10 {
			copy(pcm, speech[f*960:])
		}
		if _, err := e.Encode(pcm, packet); err != nil {
			t.Fatal(err)
		}
		if _, err := dec.DecodeToInt16(packet, out); err != nil {
			t.Fatal(err)
		}
		for i, v := range out {
			if f > 20 && v != 0 {
				t.Fatalf("frame %d: sample %d of silence is %d", f, i, v)
			}
		}
	}
}

// Digital silence ends in zeros, not in subnormal numbers, which are slow on ARMv6.
func TestSilenceIsZero(t *testing.T) {
	e, _ := NewEncoder(Config{960, 80, 5})
	pcm, packet := make([]int16, 960), make([]byte, 80)
	for i := range pcm {
		pcm[i] = 300 // all of it DC
	}
	for f := range 1000 {
		if f == 100 {
			clear(pcm)
		}
		if _, err := e.Encode(pcm, packet); err != nil {
			t.Fatal(err)
		}
		for _, buffer := range [][]float32{e.in[:], e.filter.sound[:], e.filter.pitch.half[:], e.filter.pitch.eighth[:], {e.input.dc, e.input.last}} {
			for i, v := range buffer {
				if bits := math.Float32bits(v) & signless; bits != 0 && bits < 1<<23 {
					t.Fatalf("frame %d: %g is left at %d of %d", f, v, i, len(buffer))
				}
			}
		}
	}
}

// TestNoAllocations runs 1000 frames of all kinds, for each length and complexity.
func TestNoAllocations(t *testing.T) {
	var pcm []int16
	for i, s := range sounds {
		pcm = append(pcm, s.make(newRand(uint64(i)), 960*(1000/len(sounds)+1))...)
	}
	for _, cfg := range []Config{{960, 80, 0}, {960, 80, MaxComplexity}, {480, 40, MaxComplexity}} {
		e, err := NewEncoder(cfg)
		if err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, cfg.PacketBytes)
		float := make([]float32, 960)
		n := testing.AllocsPerRun(1, func() { // it rounds down, so once
			for f := range len(pcm) / 960 {
				if _, err := e.Encode(pcm[f*960:], packet); err != nil {
					t.Fatal(err)
				}
			}
			for range 10 {
				if _, err := e.EncodeFloat(float, packet); err != nil {
					t.Fatal(err)
				}
			}
		})
		if n != 0 {
			t.Errorf("%+v: %v allocations in %d frames, want 0", cfg, n, len(pcm)/960)
		}
	}
}

// FuzzEncode takes any float32 samples, with any settings: pion must end at the same range.
func FuzzEncode(f *testing.F) {
	f.Add(uint16(0), []byte{0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0x3f})
	f.Add(uint16(7), []byte{0, 0, 0x80, 0x7f, 0, 0, 0x80, 0xbf, 1, 2, 3, 4})
	f.Add(uint16(200), []byte("some text is sound as well, if of an unusual kind"))
	f.Fuzz(func(t *testing.T, setting uint16, data []byte) {
		all := allSizes()
		cfg := all[int(setting)%len(all)]
		cfg.Complexity = int(setting) / len(all) % (MaxComplexity + 1)
		e, err := NewEncoder(cfg)
		if err != nil {
			t.Fatal(err)
		}
		dec, err := opus.NewDecoderWithOutput(sampleRate, 1)
		if err != nil {
			t.Fatal(err)
		}
		pcm, packet, out := make([]float32, cfg.FrameSamples), make([]byte, cfg.PacketBytes), make([]int16, maxFrame)
		at := 0
		for frame := range 4 {
			for i := range pcm {
				if at+4 > len(data) {
					at = 0
				}
				if len(data) >= 4 {
					bits := uint32(data[at]) | uint32(data[at+1])<<8 | uint32(data[at+2])<<16 | uint32(data[at+3])<<24
					pcm[i] = math.Float32frombits(bits)
					at += 4
				}
			}
			if n, err := e.EncodeFloat(pcm, packet); err != nil || n != cfg.PacketBytes {
				t.Fatalf("frame %d: %d bytes, error %v, want %d", frame, n, err, cfg.PacketBytes)
			}
			if n, err := dec.DecodeToInt16(packet, out); err != nil || n != cfg.FrameSamples {
				t.Fatalf("frame %d: pion decoded %d samples, error %v, want %d", frame, n, err, cfg.FrameSamples)
			}
			if got, want := pionRange(&dec), e.FinalRange(); got != want {
				t.Fatalf("frame %d: pion's final range is %08x, want %08x", frame, got, want)
			}
		}
	})
}
