package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of this package anew")

// A vector is one named byte string of a golden file.
type vector struct {
	name  string
	bytes []byte
}

// golden compares vs with testdata/file, whose lines are "name hex", where
// "00*N" at the end stands for N zero bytes.
func golden(t *testing.T, file, about string, vs []vector) {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(about) {
		fmt.Fprintf(&b, "# %s", line)
	}
	b.WriteString("\n\n")
	for _, v := range vs {
		fmt.Fprintf(&b, "%s %s\n", v.name, shown(v.bytes))
	}
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() == string(want) {
		return
	}
	lines := strings.Split(string(want), "\n")
	for i, got := range strings.Split(b.String(), "\n") {
		if i >= len(lines) || got != lines[i] {
			t.Fatalf("%s: line %d is now\n%s\n(-update writes the file anew; a change is a change of the protocol)", file, i+1, got)
		}
	}
	t.Fatalf("%s has more lines than there are vectors", file)
}

func shown(b []byte) string {
	used := bytes.TrimRight(b, "\x00")
	if n := len(b) - len(used); n >= 8 {
		return strings.TrimSpace(fmt.Sprintf("%x 00*%d", used, n))
	}
	return hex.EncodeToString(b)
}

// laid lays out bytes by hand: strings are hex with blanks, an int is so many
// zero bytes, byte slices are themselves.
func laid(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			x, err := hex.DecodeString(strings.ReplaceAll(p, " ", ""))
			if err != nil {
				panic(err)
			}
			b = append(b, x...)
		case int:
			b = append(b, make([]byte, p)...)
		case []byte:
			b = append(b, p...)
		default:
			panic(fmt.Sprintf("cannot lay out a %T", p))
		}
	}
	return b
}

// count returns n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}
