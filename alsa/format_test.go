package alsa

import (
	"bytes"
	"fmt"
	"testing"
)

// The bytes that the kernel's header describes for -2 (0xfffe) and 0x1234.
func TestPut(t *testing.T) {
	samples := []int16{-2, 0x1234}
	tests := []struct {
		l    layout
		want []byte
	}{
		{layout{S16, 1}, []byte{0xfe, 0xff, 0x34, 0x12}},
		{layout{S16, 2}, []byte{0xfe, 0xff, 0xfe, 0xff, 0x34, 0x12, 0x34, 0x12}},
		{layout{S16, 3}, []byte{0xfe, 0xff, 0xfe, 0xff, 0, 0, 0x34, 0x12, 0x34, 0x12, 0, 0}},
		{layout{S32, 1}, []byte{0, 0, 0xfe, 0xff, 0, 0, 0x34, 0x12}},
		{layout{S24_3, 1}, []byte{0, 0xfe, 0xff, 0, 0x34, 0x12}},
		{layout{S24, 1}, []byte{0, 0xfe, 0xff, 0xff, 0, 0x34, 0x12, 0}},
	}
	for _, tt := range tests {
		got := make([]byte, len(samples)*tt.l.frameBytes())
		tt.l.put(got, samples)
		if !bytes.Equal(got, tt.want) {
			t.Errorf("%v x %d: % x, want % x", tt.l.format, tt.l.channels, got, tt.want)
		}
	}
}

// Every sample comes back as it went, in every layout and from every channel.
func TestPutTake(t *testing.T) {
	samples := make([]int16, 1<<16)
	for i := range samples {
		samples[i] = int16(i)
	}
	for _, f := range formats {
		for channels := 1; channels <= 2; channels++ {
			for listen := 0; listen <= 2; listen++ {
				l := layout{f, channels}
				b := make([]byte, len(samples)*l.frameBytes())
				l.put(b, samples)
				got := make([]int16, len(samples))
				l.take(got, b, listen)
				for i := range got {
					if got[i] != samples[i] {
						t.Fatalf("%v x %d, listen %d: %d came back as %d", f, channels, listen, samples[i], got[i])
					}
				}
			}
		}
	}
}

func TestTakeRoundsAndChooses(t *testing.T) {
	stereo := []byte{0x10, 0, 0x20, 0} // left 16, right 32
	for listen, want := range []int16{24, 16, 32} {
		got := make([]int16, 1)
		layout{S16, 2}.take(got, stereo, listen)
		if got[0] != want {
			t.Errorf("listen %d: %d, want %d", listen, got[0], want)
		}
	}
	for _, tt := range []struct {
		l    layout
		b    []byte
		want int16
	}{
		{layout{S32, 1}, []byte{0xff, 0x7f, 1, 0}, 1},            // just under the half
		{layout{S32, 1}, []byte{0, 0x80, 1, 0}, 2},               // the half goes up
		{layout{S32, 1}, []byte{0xff, 0xff, 0xff, 0xff}, 0},      // the smallest negative
		{layout{S32, 1}, []byte{0xff, 0xff, 0xff, 0x7f}, 0x7fff}, // does not wrap
		{layout{S24_3, 1}, []byte{0xff, 0xff, 0x7f}, 0x7fff},     // does not wrap
		{layout{S24, 1}, []byte{0, 0, 0x80, 0xff}, -0x8000},      // sign from bit 23
		{layout{S24, 1}, []byte{0, 0, 0x80, 0}, -0x8000},         // the top byte is nobody's
	} {
		got := make([]int16, 1)
		tt.l.take(got, tt.b, 0)
		if got[0] != tt.want {
			t.Errorf("%v % x: %d, want %d", tt.l.format, tt.b, got[0], tt.want)
		}
	}
}

// Whatever lies in a card's buffer becomes samples that, put back, read the same.
func FuzzTake(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(0), uint8(2), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, format, channels, listen uint8) {
		l := layout{formats[int(format)%len(formats)], 1 + int(channels)%8}
		n := len(b) / l.frameBytes()
		got := make([]int16, n)
		l.take(got, b, int(listen)%3)
		again := make([]int16, n)
		back := make([]byte, n*l.frameBytes())
		l.put(back, got)
		l.take(again, back, int(listen)%3)
		if fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("%v x %d: %v became %v", l.format, l.channels, got, again)
		}
	})
}

func BenchmarkPutStereo32(b *testing.B) {
	l, dst, src := layout{S32, 2}, make([]byte, FrameSamples*8), make([]int16, FrameSamples)
	b.ReportAllocs()
	for b.Loop() {
		l.put(dst, src)
	}
}
