package alsa

import (
	"fmt"
	"syscall"
	"testing"
)

// One element that answers with an error is left out, and the others can be set; a card
// that has left is told.
func TestElementOrCard(t *testing.T) {
	for err, card := range map[error]bool{
		syscall.EINVAL: false, syscall.EPIPE: false, syscall.EIO: false, syscall.ENOENT: false, // seen of USB cards
		syscall.ENODEV: true, ErrClosed: true, fmt.Errorf("control: %w", syscall.ENODEV): true,
	} {
		if got := gone(err); (got != nil) != card {
			t.Errorf("%v: taken for the card's: %t, want %t", err, got != nil, card)
		}
	}
}
