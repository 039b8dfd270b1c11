package voice

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

func counting(n, from int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(from + i)
	}
	return b
}

func TestPayloadGolden(t *testing.T) {
	var out strings.Builder
	for _, c := range []struct {
		name           string
		packet, copied []byte
	}{
		{"first frame: no copy", counting(80, 0), nil},
		{"with a copy of the frame before", counting(80, 0), counting(80, 100)},
		{"smallest", counting(1, 7), nil},
		{"full", counting(99, 0), counting(99, 100)},
	} {
		var p Payload
		n, err := putPayload(&p, c.packet, c.copied)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		fmt.Fprintf(&out, "%s\n%x\n", c.name, p[:n])
	}
	const file = "testdata/payload.golden"
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("payloads differ from %s; that breaks the protocol\n%s", file, out.String())
	}
}

func TestPutPayloadSize(t *testing.T) {
	var p Payload
	for _, tt := range []struct {
		packet, copied int
		ok             bool
	}{{1, 0, true}, {198, 0, true}, {99, 99, true}, {0, 0, false}, {0, 80, false}, {199, 0, false}, {100, 99, false}} {
		n, err := putPayload(&p, make([]byte, tt.packet), make([]byte, tt.copied))
		if tt.ok && (err != nil || n != 2+tt.packet+tt.copied) || !tt.ok && !errors.Is(err, ErrSize) {
			t.Errorf("putPayload of %d and %d bytes = %d, %v", tt.packet, tt.copied, n, err)
		}
	}
}

func TestSplitPayloadRejects(t *testing.T) {
	for _, b := range [][]byte{nil, {0}, {1, 0}, {0, 0}, {0, 1, 9}, {1, 0, 9, 9}, {1, 1, 9}, {2, 0, 9}, make([]byte, 201), append([]byte{255, 0}, make([]byte, 255)...)} {
		if packet, copied, err := splitPayload(b); !errors.Is(err, ErrPayload) {
			t.Errorf("splitPayload(%x) = %x, %x, %v; want ErrPayload", b, packet, copied, err)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte{1, 0, 9})
	f.Add([]byte{1, 1, 9, 8})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		packet, copied, err := splitPayload(b)
		if err != nil {
			return
		}
		var p Payload
		n, err := putPayload(&p, packet, copied)
		if err != nil || !bytes.Equal(p[:n], b) {
			t.Errorf("%x is %x and %x, which make %x (%v)", b, packet, copied, p[:n], err)
		}
	})
}
