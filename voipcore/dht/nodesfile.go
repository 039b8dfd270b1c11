package dht

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"hushbell/voipcore/durable"
)

// The file of nodes lets a node come back when those of its configuration are
// gone. It is text, one thing a line:
//
//	hushbell nodes 1
//	self4 <id>              our own id in the network of IPv4
//	self6 <id>
//	node <id> <address>     a node that was alive
//
// The own ids stay so that the tables of others stay right.

const (
	fileHead     = "hushbell nodes 1"
	maxFileNodes = 500
	maxFileSize  = 64 * 1024
)

// A saved is the content of the file.
type saved struct {
	self4, self6 [20]byte // zero if there was none
	nodes        []Hop
}

// loadNodes reads the file. If there is none the result is empty.
func loadNodes(path string) (saved, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return saved{}, nil
	}
	if err != nil {
		return saved{}, fmt.Errorf("dht: load nodes: %w", err)
	}
	v, err := parseNodes(text)
	if err != nil {
		return saved{}, fmt.Errorf("dht: load nodes: %s: %w", path, err)
	}
	return v, nil
}

func parseNodes(text []byte) (saved, error) {
	var v saved
	if len(text) > maxFileSize {
		return saved{}, errors.New("too large")
	}
	head, rest, _ := strings.Cut(string(text), "\n")
	if head != fileHead {
		return saved{}, errors.New("not a file of nodes")
	}
	number := 1
	for line := range strings.Lines(rest) {
		number++
		if err := v.line(strings.Fields(line)); err != nil {
			return saved{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return v, nil
}

func (v *saved) line(fields []string) error {
	if len(fields) < 2 {
		return errors.New("incomplete")
	}
	var id [20]byte
	if n, err := hex.Decode(id[:], []byte(fields[1][:min(len(fields[1]), 40)])); err != nil || n != 20 || len(fields[1]) != 40 {
		return errors.New("an id that is none")
	}
	switch {
	case fields[0] == "self4" && len(fields) == 2:
		v.self4 = id
	case fields[0] == "self6" && len(fields) == 2:
		v.self6 = id
	case fields[0] == "node" && len(fields) == 3:
		addr, err := netip.ParseAddrPort(fields[2])
		if err != nil || len(v.nodes) == maxFileNodes {
			return errors.New("an address that is none, or one too many")
		}
		v.nodes = append(v.nodes, Hop{id, addr})
	default:
		return errors.New("unknown")
	}
	return nil
}

// saveNodes writes the file so that a power cut leaves the old or the new one.
func saveNodes(path string, v saved) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, fileHead)
	for i, id := range [][20]byte{v.self4, v.self6} {
		if id != [20]byte{} {
			fmt.Fprintf(&b, "self%d %x\n", []int{4, 6}[i], id)
		}
	}
	for _, h := range v.nodes[:min(len(v.nodes), maxFileNodes)] {
		fmt.Fprintf(&b, "node %x %s\n", h.ID, h.Addr)
	}
	if err := durable.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("dht: save nodes: %w", err)
	}
	return nil
}
