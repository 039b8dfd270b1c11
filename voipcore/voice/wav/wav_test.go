package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// build makes a file of chunks: name, content, name, content.
func build(chunks ...any) []byte {
	b := []byte("RIFF\xff\xff\xff\xffWAVE")
	for i := 0; i < len(chunks); i += 2 {
		content := chunks[i+1].([]byte)
		b = append(b, chunks[i].(string)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
		b = append(b, content...)
		if len(content)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}

func format(tag, channels, rate, bits int) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(tag))
	b = binary.LittleEndian.AppendUint16(b, uint16(channels))
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(rate*channels*bits/8))
	b = binary.LittleEndian.AppendUint16(b, uint16(channels*bits/8))
	return binary.LittleEndian.AppendUint16(b, uint16(bits))
}

func samples(v ...int16) []byte {
	var b []byte
	for _, s := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

func TestRead(t *testing.T) {
	open := build("fmt ", format(1, 1, 48000, 16), "data", samples(1, 2))
	binary.LittleEndian.PutUint32(open[40:], 0)
	tests := []struct {
		name string
		file []byte
		want []int16
		rate int
	}{
		{"mono", build("fmt ", format(1, 1, 16000, 16), "data", samples(1, -2, 32767, -32768)), []int16{1, -2, 32767, -32768}, 16000},
		{"stereo", build("fmt ", format(1, 2, 44100, 16), "data", samples(10, 20, -32768, -32768, 32767, 32767, 5, -5)), []int16{15, -32768, 32767, 0}, 44100},
		{"other chunks around", build("LIST", []byte("abc"), "fmt ", append(format(1, 1, 8000, 16), 0, 0), "fact", []byte{1}, "data", samples(7), "more", []byte{1, 2}), []int16{7}, 8000},
		{"extensible", build("fmt ", append(format(0xfffe, 1, 48000, 16), make([]byte, 24)...), "data", samples(9)), []int16{9}, 48000},
		{"empty", build("fmt ", format(1, 1, 8000, 16), "data", []byte{}), nil, 8000},
		{"cut within a sample", build("fmt ", format(1, 1, 8000, 16), "data", samples(1, 2, 3))[:49], []int16{1, 2}, 8000},
		{"size never written", open, []int16{1, 2}, 48000},
	}
	for _, tt := range tests {
		got, err := Read(bytes.NewReader(tt.file))
		if err != nil || got.RateHz != tt.rate || !slices.Equal(got.Samples, tt.want) {
			t.Errorf("%s: %v, %v; want %d Hz %v", tt.name, got, err, tt.rate, tt.want)
		}
	}
}

func TestReadRejects(t *testing.T) {
	data := samples(1, 2)
	tests := map[string][]byte{
		"nothing":            nil,
		"another file":       []byte("OggS0123456789abcdef"),
		"only RIFF":          []byte("RIFF\x00\x00\x00\x00AVI "),
		"no chunks":          build(),
		"no data":            build("fmt ", format(1, 1, 8000, 16)),
		"data before format": build("data", data),
		"float":              build("fmt ", format(3, 1, 8000, 32), "data", data),
		"8 bits":             build("fmt ", format(1, 1, 8000, 8), "data", data),
		"24 bits":            build("fmt ", format(1, 1, 8000, 24), "data", data),
		"5 channels":         build("fmt ", format(1, 5, 8000, 16), "data", data),
		"no channel":         build("fmt ", format(1, 0, 8000, 16), "data", data),
		"no rate":            build("fmt ", format(1, 1, 0, 16), "data", data),
		"rate of a radio":    build("fmt ", format(1, 1, 2000000, 16), "data", data),
		"short format":       build("fmt ", format(1, 1, 8000, 16)[:14], "data", data),
		"chunk past the end": append(build("fmt ", format(1, 1, 8000, 16)), "junk\xff\xff\xff\xffab"...),
	}
	for name, file := range tests {
		if got, err := Read(bytes.NewReader(file)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v; want ErrFormat", name, got, err)
		}
	}
}

func TestReadPassesErrorsOn(t *testing.T) {
	bad := errors.New("disk on fire")
	file := build("fmt ", format(1, 1, 8000, 16), "data", samples(1, 2, 3, 4))
	if _, err := Read(io.MultiReader(bytes.NewReader(file[:48]), errReader{bad})); !errors.Is(err, bad) {
		t.Errorf("read error became %v", err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.wav")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f, 48000)
	if err != nil {
		t.Fatal(err)
	}
	var want []int16
	for i := range 10 {
		piece := []int16{int16(i), int16(-i), 32767, -32768}
		if err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		want = append(want, piece...)

		// At any moment the file can be read: so it can be if we are killed now.
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Read(bytes.NewReader(b)); err != nil || got.RateHz != 48000 || !slices.Equal(got.Samples, want) {
			t.Fatalf("unfinished file of %d samples: %v, %v", len(want), got, err)
		}
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := w.Write([]int16{1}); err == nil {
		t.Error("Write after Close works")
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	whole := build("fmt ", format(1, 1, 48000, 16), "data", samples(want...))
	binary.LittleEndian.PutUint32(whole[4:], uint32(len(whole)-8))
	if !bytes.Equal(got, whole) {
		t.Errorf("the file is\n%x, want\n%x", got, whole)
	}
}

// A full disk is reported, and the header still gets the size of what is there.
func TestWriterFails(t *testing.T) {
	d := &disk{free: 44 + 5}
	w, err := NewWriter(d, 8000)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write([]int16{1, 2, 3, 4}); !errors.Is(err, errFull) {
		t.Errorf("Write to a full disk: %v", err)
	}
	if err := w.Write([]int16{5}); !errors.Is(err, errFull) {
		t.Errorf("Write after a failed one: %v", err)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close after a failed Write: %v", err)
	}
	if got, err := Read(bytes.NewReader(d.b)); err != nil || !slices.Equal(got.Samples, []int16{1, 2}) {
		t.Errorf("what is left: %v, %v", got, err)
	}
	if _, err := NewWriter(&disk{}, 8000); !errors.Is(err, errFull) {
		t.Errorf("NewWriter on a full disk: %v", err)
	}
	if _, err := NewWriter(&disk{free: 99}, 0); !errors.Is(err, ErrFormat) {
		t.Errorf("NewWriter of 0 Hz: %v", err)
	}
}

var errFull = errors.New("no space left")

// disk is a file with room for so many bytes.
type disk struct {
	b    []byte
	at   int
	free int
}

func (d *disk) Write(p []byte) (n int, err error) {
	for _, v := range p {
		if d.at == d.free {
			return n, errFull
		}
		if d.at == len(d.b) {
			d.b = append(d.b, 0)
		}
		d.b[d.at] = v
		d.at++
		n++
	}
	return n, nil
}

func (d *disk) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	d.at = int(offset)
	return offset, nil
}

func TestWriterAllocs(t *testing.T) {
	w, err := NewWriter(discard{}, 48000)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]int16, 960)
	if err := w.Write(frame); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1, func() {
		for range 1000 {
			if err := w.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("1000 writes allocate %v times, want 0", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error)    { return len(p), nil }
func (discard) Seek(int64, int) (int64, error) { return 0, nil }

// What is read, mono, and written again is read the same.
func FuzzRead(f *testing.F) {
	f.Add(build("fmt ", format(1, 1, 8000, 16), "data", samples(1, 2, 3)))
	f.Add(build("fmt ", format(1, 2, 8000, 16), "data", samples(1, 2, 3, 4)))
	f.Add(build("LIST", []byte("abc"), "fmt ", format(0xfffe, 1, 8000, 16), "data", samples(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Read(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("error %v is no ErrFormat", err)
			}
			return
		}
		d := &disk{free: 1 << 30}
		w, err := NewWriter(d, s.RateHz)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(s.Samples), w.Close()); err != nil {
			t.Fatal(err)
		}
		again, err := Read(bytes.NewReader(d.b))
		if err != nil || again.RateHz != s.RateHz || !slices.Equal(again.Samples, s.Samples) {
			t.Errorf("%v became %v, %v", s, again, err)
		}
	})
}
