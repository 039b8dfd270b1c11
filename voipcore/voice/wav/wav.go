// Package wav reads and writes WAV files of 16-bit PCM. It knows no other
// format, and does not resample.
package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The layout of a file, as Writer makes it; all integers are little-endian:
//
//	0  "RIFF" | size of what follows 4 | "WAVE"
//	12 "fmt " | 16 (4) | 1: PCM (2) | channels 2 | rate 4 | bytes a second 4 | bytes a sample 2 | 16 bits (2)
//	36 "data" | size 4 | samples
//
// A Reader takes other chunks between them, the extensible form of "fmt ", and
// sizes of 0 or 2^32-1 in a file whose writer was killed.
const (
	headerSize = 44

	pcmFormat        = 1
	extensibleFormat = 0xfffe
)

// ErrFormat is wrapped by the errors of files that are no WAV files, or are of
// a kind that is not taken.
var ErrFormat = errors.New("not a WAV file of 16-bit PCM with 1 or 2 channels")

// A Sound is what a file holds, mixed to one channel.
type Sound struct {
	RateHz  int
	Samples []int16
}

// Limits of what Read takes: 10 minutes at the highest rate.
const (
	maxRateHz  = 192000
	maxSamples = 600 * 96000
)

// Read reads a whole file. Two channels are mixed to one. A file that ends in
// the middle of a sample, or before the size that it states, gives what it has.
func Read(r io.Reader) (Sound, error) {
	var riff [12]byte
	if _, err := io.ReadFull(r, riff[:]); err != nil {
		return Sound{}, formatError("no RIFF header: %v", err)
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return Sound{}, formatError("it begins with %q", riff[:])
	}
	var rate, channels int
	for {
		var chunk [8]byte
		if _, err := io.ReadFull(r, chunk[:]); err != nil {
			return Sound{}, formatError("it has no data: %v", err)
		}
		name, size := string(chunk[:4]), int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch {
		case name == "data" && channels == 0:
			return Sound{}, formatError("its data come before their format")
		case name == "data":
			if size == 0 || size == 1<<32-1 {
				size = 1 << 40 // its writer never came to say: up to the end
			}
			samples, err := readSamples(io.LimitReader(r, size), channels)
			if err != nil {
				return Sound{}, err
			}
			return Sound{rate, samples}, nil
		case name == "fmt ":
			var err error
			if rate, channels, err = readFormat(r, size); err != nil {
				return Sound{}, err
			}
			size -= min(size, 16)
		}
		if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil { // chunks start at even places
			return Sound{}, formatError("it ends in its chunk %q", name)
		}
	}
}

// readFormat reads the 16 bytes that every format has.
func readFormat(r io.Reader, size int64) (rate, channels int, err error) {
	var f [16]byte
	if size < int64(len(f)) {
		return 0, 0, formatError("a format of %d bytes", size)
	}
	if _, err := io.ReadFull(r, f[:]); err != nil {
		return 0, 0, formatError("it ends in its format")
	}
	format, bits := binary.LittleEndian.Uint16(f[0:]), binary.LittleEndian.Uint16(f[14:])
	channels, rate = int(binary.LittleEndian.Uint16(f[2:])), int(binary.LittleEndian.Uint32(f[4:]))
	switch {
	case format != pcmFormat && format != extensibleFormat:
		return 0, 0, formatError("format %d", format)
	case bits != 16:
		return 0, 0, formatError("%d bits", bits)
	case channels != 1 && channels != 2:
		return 0, 0, formatError("%d channels", channels)
	case rate < 1 || rate > maxRateHz:
		return 0, 0, formatError("%d Hz", rate)
	case int(binary.LittleEndian.Uint16(f[12:])) != 2*channels:
		return 0, 0, formatError("%d bytes a sample", binary.LittleEndian.Uint16(f[12:]))
	}
	return rate, channels, nil
}

func readSamples(r io.Reader, channels int) ([]int16, error) {
	var samples []int16
	block := make([]byte, 1<<15) // whole samples of 2 or 4 bytes
	for {
		n, err := io.ReadFull(r, block)
		if len(samples)+n/2/channels > maxSamples {
			return nil, formatError("more than %d samples", maxSamples)
		}
		for b := block[:n]; len(b) >= 2*channels; b = b[2*channels:] {
			v := int(int16(binary.LittleEndian.Uint16(b)))
			if channels == 2 {
				v = (v + int(int16(binary.LittleEndian.Uint16(b[2:])))) / 2
			}
			samples = append(samples, int16(v))
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return samples, nil
		case err != nil:
			return nil, fmt.Errorf("wav: read samples: %w", err)
		}
	}
}

func formatError(format string, a ...any) error {
	return fmt.Errorf("wav: %w: %s", ErrFormat, fmt.Sprintf(format, a...))
}

// A Writer writes a mono file while it goes on. Until Close the header says
// that the file has no known end, so the file of a process that was killed can
// be read by Read and by most players.
type Writer struct {
	w     io.WriteSeeker
	size  int64 // bytes of samples
	block []byte
	err   error
}

// NewWriter writes the header of a mono file of that rate to w, which is at
// its beginning. Closing w is up to the caller, after Close.
func NewWriter(w io.WriteSeeker, rateHz int) (*Writer, error) {
	if rateHz < 1 || rateHz > maxRateHz {
		return nil, fmt.Errorf("wav: write %d Hz: %w", rateHz, ErrFormat)
	}
	h := make([]byte, headerSize)
	copy(h[0:], "RIFF")
	binary.LittleEndian.PutUint32(h[4:], 1<<32-1)
	copy(h[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(h[16:], 16)
	binary.LittleEndian.PutUint16(h[20:], pcmFormat)
	binary.LittleEndian.PutUint16(h[22:], 1)
	binary.LittleEndian.PutUint32(h[24:], uint32(rateHz))
	binary.LittleEndian.PutUint32(h[28:], uint32(2*rateHz))
	binary.LittleEndian.PutUint16(h[32:], 2)
	binary.LittleEndian.PutUint16(h[34:], 16)
	copy(h[36:], "data")
	binary.LittleEndian.PutUint32(h[40:], 1<<32-1)
	if _, err := w.Write(h); err != nil {
		return nil, fmt.Errorf("wav: write header: %w", err)
	}
	return &Writer{w: w}, nil
}

// Write appends samples. It allocates only while the longest piece so far
// grows. After an error it writes nothing more.
func (w *Writer) Write(samples []int16) error {
	if w.err != nil {
		return w.err
	}
	if w.size+2*int64(len(samples)) > 1<<32-1-headerSize {
		w.err = fmt.Errorf("wav: write samples: the file has reached 4 GiB")
		return w.err
	}
	w.block = w.block[:0]
	for _, v := range samples {
		w.block = binary.LittleEndian.AppendUint16(w.block, uint16(v))
	}
	n, err := w.w.Write(w.block)
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("wav: write samples: %w", err)
	}
	return w.err
}

// errClosed is what a closed Writer has to say to Write.
var errClosed = errors.New("wav: writer is closed")

// Close writes the sizes into the header, also after an error. It is safe
// twice.
func (w *Writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	failed := w.err
	w.err = errClosed
	w.size &^= 1
	for _, field := range []struct {
		at   int64
		size uint32
	}{{4, uint32(w.size + headerSize - 8)}, {40, uint32(w.size)}} {
		if _, err := w.w.Seek(field.at, io.SeekStart); err != nil {
			return fmt.Errorf("wav: finish header: %w", err)
		}
		if err := binary.Write(w.w, binary.LittleEndian, field.size); err != nil {
			return fmt.Errorf("wav: finish header: %w", err)
		}
	}
	return failed
}
