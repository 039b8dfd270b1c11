package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// monitor is QEMU's own control socket (QMP).
type monitor struct {
	conn net.Conn
	in   *json.Decoder
}

// openMonitor waits until the socket is there, and greets.
func openMonitor(ctx context.Context, path string) (*monitor, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			m := &monitor{conn, json.NewDecoder(conn)}
			if err := m.do("qmp_capabilities", nil); err != nil {
				conn.Close()
				return nil, err
			}
			return m, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the emulator's monitor: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// do runs one command. Events and the greeting are passed over.
func (m *monitor) do(command string, args any) error {
	if err := m.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	ask := map[string]any{"execute": command}
	if args != nil {
		ask["arguments"] = args
	}
	if err := json.NewEncoder(m.conn).Encode(ask); err != nil {
		return fmt.Errorf("the emulator's monitor: %w", err)
	}
	for {
		var a struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.in.Decode(&a); err != nil {
			return fmt.Errorf("the emulator's monitor: %w", err)
		}
		if a.Error != nil {
			return fmt.Errorf("the emulator's monitor: %s: %s", command, a.Error.Desc)
		}
		if a.Return != nil {
			return nil
		}
	}
}
