package celt

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// need skips the test if a tool is missing, on a developer's machine; in CI
// it fails.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "%s is not installed: %v", tool, err)
		}
	}
}

func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// buildC compiles a program of testdata against libopus.
func buildC(t testing.TB, name string) string {
	t.Helper()
	need(t, "gcc")
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("gcc", "-O2", "-o", out, filepath.Join("testdata", name+".c"), "-lopus", "-lm")
	if msg, err := cmd.CombinedOutput(); err != nil {
		missing(t, "%s.c does not build, is libopus-dev installed? %v\n%s", name, err, msg)
	}
	return out
}

// A stream collects packets for testdata/decode.c.
type stream struct{ bytes.Buffer }

func (s *stream) add(e *Encoder, packet []byte) {
	_ = binary.Write(s, binary.LittleEndian, uint16(len(packet)))
	s.Write(packet)
	_ = binary.Write(s, binary.LittleEndian, e.FinalRange())
}

// packets returns what was added.
func (s *stream) packets() (all [][]byte) {
	for b := s.Bytes(); len(b) > 0; {
		n := 2 + int(binary.LittleEndian.Uint16(b))
		all = append(all, b[2:n])
		b = b[n+4:]
	}
	return all
}

// decodeC decodes a stream with libopus, which also compares the ranges.
func decodeC(t testing.TB, prog string, s *stream) []int16 {
	t.Helper()
	cmd := exec.Command(prog)
	cmd.Stdin = &s.Buffer
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		t.Fatalf("libopus: %v: %s", err, msg.String())
	}
	pcm := make([]int16, out.Len()/2)
	_ = binary.Read(&out, binary.LittleEndian, pcm)
	return pcm
}
