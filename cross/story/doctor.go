package main

import (
	"context"
	"fmt"
	"strings"

	"hushbell/cross/board/rig"
)

// doctor has hushbell doctor look at both boxes, which are well: as root, and as
// the user that the service runs as.
func (s *story) doctor(ctx context.Context) (string, error) {
	told := ""
	for _, b := range []*rig.Board{s.a, s.b} {
		for _, who := range []string{"root", "hushbell"} {
			out, err := b.Run(ctx, "runuser -u "+who+" -- hushbell doctor")
			if err != nil {
				return "", fmt.Errorf("board %s: as %s: %w", b.Name, who, err)
			}
			for _, want := range []string{"runs as hushbell", "is active and starts at boot", "the running box has it", "the box can be called"} {
				if !strings.Contains(out, want) {
					return "", fmt.Errorf("board %s: as %s it does not find that %q: %s", b.Name, who, want, out)
				}
			}
			told = out[strings.LastIndexByte(out, '\n')+1:]
		}
	}
	return "root and the service's user find nothing wrong on either: " + told, nil
}
