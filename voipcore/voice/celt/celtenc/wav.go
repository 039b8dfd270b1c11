package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A wavReader reads the samples of a WAV file.
type wavReader struct {
	r        io.Reader // the rest of the data chunk
	channels int
}

// newWAV reads up to the data chunk.
func newWAV(r io.Reader) (*wavReader, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("wav: header: %w", err)
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return nil, errors.New("wav: not a WAV file")
	}
	w := &wavReader{}
	for {
		var chunk [8]byte
		if _, err := io.ReadFull(r, chunk[:]); err != nil {
			return nil, fmt.Errorf("wav: no data chunk: %w", err)
		}
		size := int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch string(chunk[:4]) {
		case "fmt ":
			var f [16]byte
			if size < 16 {
				return nil, fmt.Errorf("wav: format of %d bytes", size)
			}
			if _, err := io.ReadFull(r, f[:]); err != nil {
				return nil, fmt.Errorf("wav: format: %w", err)
			}
			kind, channels := binary.LittleEndian.Uint16(f[:]), binary.LittleEndian.Uint16(f[2:])
			rate, bits := binary.LittleEndian.Uint32(f[4:]), binary.LittleEndian.Uint16(f[14:])
			const pcm, extensible = 1, 0xfffe
			if kind != pcm && kind != extensible || channels < 1 || channels > 2 || rate != 48000 || bits != 16 {
				return nil, fmt.Errorf("wav: format %d with %d channels of %d bits at %d Hz: want PCM, 1 or 2 of 16 at 48000", kind, channels, bits, rate)
			}
			w.channels = int(channels)
			size -= 16
		case "data":
			if w.channels == 0 {
				return nil, errors.New("wav: data before its format")
			}
			w.r = io.LimitReader(r, size)
			return w, nil
		}
		// Chunks are padded to an even size.
		if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
			return nil, fmt.Errorf("wav: chunk %q: %w", chunk[:4], err)
		}
	}
}

// read fills pcm with mono samples and returns how many: fewer only at the end.
func (w *wavReader) read(pcm []int16) (int, error) {
	b := make([]byte, 2*w.channels*len(pcm))
	n, err := io.ReadFull(w.r, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, fmt.Errorf("wav: data: %w", err)
	}
	n /= 2 * w.channels
	for i := range n {
		sum := 0
		for c := range w.channels {
			sum += int(int16(binary.LittleEndian.Uint16(b[2*(i*w.channels+c):])))
		}
		pcm[i] = int16(sum / w.channels)
	}
	return n, nil
}
