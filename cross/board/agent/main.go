// Command agent runs in an emulated board, as its service board-agent, and does
// what the host asks (see package remote).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hushbell/cross/board/remote"
)

// port is the name of the emulator's serial line, which rig gives to it.
const port = "board.agent"

func main() {
	line, err := open()
	if err == nil {
		err = remote.Serve(line)
	}
	fmt.Fprintln(os.Stderr, "agent:", err)
	os.Exit(1)
}

func open() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(b)) == port {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no serial line %s among %v", port, names)
}
