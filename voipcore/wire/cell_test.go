package wire

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

var cells = []struct {
	name string
	c    Cell
	laid []byte // the rest of the cell is zero
}{
	{"padding", Cell{Command: CellPadding}, laid("00000000 00 0000")},
	{"hello", hello(Hello{LinkID: 0xc1c2c3c4, Time: 0x69000000}), laid("00000000 01 000c c1c2c3c4 0000000069000000")},
	{"create", Cell{Tunnel: 1, Command: CellCreate}, laid("00000001 02 0000")},
	{"data", cellOf(1, CellData, "hi"), laid("00000001 03 0002", []byte("hi"))},
	{"full data", cellOf(0xfffffffd, CellData, string(bytes.Repeat([]byte("d"), CellDataSize))),
		laid("fffffffd 03 01f9", bytes.Repeat([]byte("d"), CellDataSize))},
	{"credit", cellOf(2, CellCredit, "\x00\x08"), laid("00000002 04 0002 0008")},
	{"destroy", cellOf(2, CellDestroy, "\x01"), laid("00000002 05 0001 01")},
	{"voice", cellOf(3, CellVoice, string(count(0, BodySize))), laid("00000003 06 0120", count(0, BodySize))},
}

func hello(h Hello) (c Cell) {
	h.Put(&c)
	return c
}

func cellOf(tunnel uint32, cmd Command, data string) Cell {
	c := Cell{Tunnel: tunnel, Command: cmd, Length: uint16(len(data))}
	copy(c.Data[:], data)
	return c
}

// pad makes a whole cell of its beginning.
func pad(b []byte) (raw [CellSize]byte) {
	copy(raw[:], b)
	return raw
}

func TestCells(t *testing.T) {
	var vs []vector
	seen := map[Command]bool{}
	for _, tt := range cells {
		want := pad(tt.laid)
		raw := [CellSize]byte(bytes.Repeat([]byte{0xee}, CellSize)) // as a used buffer is
		if tt.c.Encode(&raw); raw != want {
			t.Errorf("%s = %x, want %x", tt.name, raw, want)
		}
		var c Cell
		if err := c.Decode(&want); err != nil || c != tt.c {
			t.Errorf("%s: %x = %+v, %v, want %+v", tt.name, tt.laid, c, err, tt.c)
		}
		seen[tt.c.Command] = true
		vs = append(vs, vector{tt.name, want[:]})
	}
	for c := range numCommands {
		if !seen[c] {
			t.Errorf("command %d has no vector", c)
		}
	}
	golden(t, "cells.golden", "The cells of a link.", vs)
}

// Encode sends nothing that an earlier, longer use has left in the cell.
func TestCellEncodePads(t *testing.T) {
	c := cellOf(1, CellData, "a secret of another tunnel")
	c.Length = 1
	var raw [CellSize]byte
	c.Encode(&raw)
	if want := pad(laid("00000001 03 0001", []byte("a"))); raw != want {
		t.Errorf("a cell of length 1 = %x, want zeros behind its byte", raw)
	}
}

func TestCellRejects(t *testing.T) {
	tests := []struct {
		name  string
		start []byte
		want  error
	}{
		{"unknown command", laid("00000001 07 0000"), ErrType},
		{"last command", laid("00000001 ff 0000"), ErrType},
		{"padding on a tunnel", laid("00000001 00 0000"), ErrValue},
		{"padding with data", laid("00000000 00 0001 01"), ErrSize},
		{"hello on a tunnel", laid("00000001 01 000c c1c2c3c4 0000000069000000"), ErrValue},
		{"short hello", laid("00000000 01 000b c1c2c3c4 00000000690000"), ErrSize},
		{"long hello", laid("00000000 01 000d c1c2c3c4 0000000069000000 00"), ErrSize},
		{"create on no tunnel", laid("00000000 02 0000"), ErrValue},
		{"create with data", laid("00000001 02 0001 01"), ErrSize},
		{"data on no tunnel", laid("00000000 03 0001 01"), ErrValue},
		{"data without data", laid("00000001 03 0000"), ErrSize},
		{"data past the end", laid("00000001 03 01fa"), ErrSize},
		{"data far past the end", laid("00000001 03 ffff"), ErrSize},
		{"data with dirty padding", laid("00000001 03 0001 01 01"), ErrReserved},
		{"data with a dirty last byte", laid("00000001 03 0001 01", CellSize-9, "01"), ErrReserved},
		{"credit on no tunnel", laid("00000000 04 0002 0001"), ErrValue},
		{"no credit", laid("00000001 04 0002 0000"), ErrValue},
		{"more than all credit", laid("00000001 04 0002 0011"), ErrValue},
		{"very much credit", laid("00000001 04 0002 0101"), ErrValue},
		{"short credit", laid("00000001 04 0001 01"), ErrSize},
		{"destroy on no tunnel", laid("00000000 05 0001 00"), ErrValue},
		{"destroy without a reason", laid("00000001 05 0000"), ErrSize},
		{"destroy for an unknown reason", laid("00000001 05 0001 09"), ErrValue},
		{"voice on no tunnel", laid("00000000 06 0120"), ErrValue},
		{"short voice", laid("00000001 06 011f"), ErrSize},
		{"long voice", laid("00000001 06 0121"), ErrSize},
		{"voice with dirty padding", laid("00000001 06 0120", BodySize, "01"), ErrReserved},
	}
	for _, tt := range tests {
		raw := pad(tt.start)
		var c Cell
		if err := c.Decode(&raw); !errors.Is(err, tt.want) {
			t.Errorf("%s: %x = %v, want %v", tt.name, tt.start, err, tt.want)
		}
	}
}

func TestHello(t *testing.T) {
	for _, h := range []Hello{{1, 0}, {0x63ffffff, 0}, {0x65000000, math.MaxInt64}, {0xffffffff, 1}} {
		c := hello(h)
		if got, err := DecodeHello(&c); got != h || err != nil {
			t.Errorf("%+v = %+v, %v", h, got, err)
		}
	}
	for _, h := range []Hello{{}, {0x64000000, 0}, {0x64ffffff, 0}, {1, -1}} {
		c := hello(h)
		if got, err := DecodeHello(&c); !errors.Is(err, ErrValue) {
			t.Errorf("%+v = %+v, %v, want %v", h, got, err, ErrValue)
		}
	}
	c := cellOf(1, CellData, "no hello at all")
	if got, err := DecodeHello(&c); !errors.Is(err, ErrValue) {
		t.Errorf("data cell as a hello = %+v, %v, want %v", got, err, ErrValue)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{"": true}
	for r := range numReasons {
		if seen[r.String()] {
			t.Errorf("reason %d is named %q, which is another's or no name", r, r)
		}
		seen[r.String()] = true
	}
	if got := numReasons.String(); got != "reason 9" {
		t.Errorf("an unknown reason is named %q", got)
	}
}

func FuzzCell(f *testing.F) {
	for _, tt := range cells {
		f.Add(tt.laid)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		raw := pad(b)
		var c Cell
		if c.Decode(&raw) != nil {
			return
		}
		var back [CellSize]byte
		if c.Encode(&back); back != raw {
			t.Fatalf("%x\nis encoded as\n%x", raw, back)
		}
		if c.Command != CellHello {
			return
		}
		if h, err := DecodeHello(&c); err == nil {
			if again := hello(h); again != c {
				t.Fatalf("hello %x\nis encoded as\n%x", c.Data[:c.Length], again.Data[:again.Length])
			}
		}
	})
}

func TestCellAllocs(t *testing.T) {
	var raw [CellSize]byte
	var c Cell
	noAllocs(t, "encoding and decoding a cell", func() {
		for i := range cells {
			cells[i].c.Encode(&raw)
			if c.Decode(&raw) != nil {
				t.Fatal("a cell does not decode")
			}
		}
	})
}

// noAllocs runs f 1000 times in each run: AllocsPerRun rounds down, so that one
// allocation in every second call would not show otherwise.
func noAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	n := testing.AllocsPerRun(5, func() {
		for range 1000 {
			f()
		}
	})
	if n != 0 {
		t.Errorf("%s 1000 times allocates %v times, want 0", what, n)
	}
}

func BenchmarkCellEncode(b *testing.B) {
	var raw [CellSize]byte
	c := cellOf(1, CellData, "") // the worst case: all of it is padding
	b.SetBytes(CellSize)
	b.ReportAllocs()
	for b.Loop() {
		c.Encode(&raw)
	}
}

func BenchmarkCellDecode(b *testing.B) {
	raw := pad(laid("00000001 03 0001 01")) // the worst case: nearly all of it is padding
	var c Cell
	b.SetBytes(CellSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(&raw); err != nil {
			b.Fatal(err)
		}
	}
}
