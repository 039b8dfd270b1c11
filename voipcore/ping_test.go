package voipcore

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// Ping answers while the switchboard turns, not while it hangs.
func TestPing(t *testing.T) {
	c, err := Open(Config{Listen: netip.MustParseAddrPort("127.0.0.1:0"), TestNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return c.Ping(ctx)
	}
	if err := ask(time.Minute); err != nil {
		t.Errorf("a core that turns: %v", err)
	}
	free := make(chan struct{})
	c.board.post(func() { <-free })
	if err := ask(50 * time.Millisecond); err == nil {
		t.Error("a switchboard that hangs answers")
	}
	close(free)
	if err := ask(time.Minute); err != nil {
		t.Errorf("a switchboard that turns again: %v", err)
	}
	c.Close()
	if err := ask(time.Minute); !errors.Is(err, ErrClosed) {
		t.Errorf("a core that is closed: %v", err)
	}
}
