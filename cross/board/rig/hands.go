package rig

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"hushbell/cross/board/remote"
	"hushbell/device/control"
)

// Run has the board's shell do something and returns what it printed, without
// the last line's end. That it failed is an error, with what it printed.
func (b *Board) Run(ctx context.Context, script string) (string, error) {
	return b.pipe(ctx, script, nil)
}

func (b *Board) pipe(ctx context.Context, script string, stdin []byte) (string, error) {
	a, err := b.do(ctx, remote.Request{Argv: []string{"/bin/sh", "-c", script}, Stdin: stdin})
	out := strings.TrimRight(string(a.Out), "\n")
	if err == nil && a.Status != 0 {
		err = fmt.Errorf("exit status %d", a.Status)
	}
	if err != nil {
		return out, fmt.Errorf("board %s: %s: %w: %s", b.Name, script, err, out)
	}
	return out, nil
}

func (b *Board) do(ctx context.Context, r remote.Request) (remote.Answer, error) {
	if b.agent == nil {
		return remote.Answer{}, errors.New("it is off")
	}
	return b.agent.Do(ctx, r)
}

// Write makes a file of the board.
func (b *Board) Write(ctx context.Context, file, text string) error {
	if _, err := b.do(ctx, remote.Request{Write: file, Data: []byte(text)}); err != nil {
		return fmt.Errorf("board %s: %w", b.Name, err)
	}
	return nil
}

// Pull connects a GPIO line to ground, or lets go of it.
func (b *Board) Pull(ctx context.Context, line int, ground bool) error {
	return b.Write(ctx, fmt.Sprintf("%s/sim_gpio%d/pull", b.lines, line), map[bool]string{true: "pull-down", false: "pull-up"}[ground])
}

// Levels looks at a GPIO line n times, and returns how often it was high, and how often
// not as the time before.
func (b *Board) Levels(ctx context.Context, line, n int, every time.Duration) (high, changes int, err error) {
	a, err := b.do(ctx, remote.Request{Watch: fmt.Sprintf("%s/sim_gpio%d/value", b.lines, line), Times: n, Every: every})
	if err != nil {
		return 0, 0, fmt.Errorf("board %s: %w", b.Name, err)
	}
	for i, v := range a.Values {
		if v == "1" {
			high++
		}
		if i > 0 && v != a.Values[i-1] {
			changes++
		}
	}
	return high, changes, nil
}

// Status asks the box that runs on the board.
func (b *Board) Status(ctx context.Context) (control.Status, error) {
	var s control.Status
	a, err := b.do(ctx, remote.Request{Socket: "/run/hushbell/control.sock"})
	if err == nil {
		err = json.Unmarshal(a.Out, &s)
	}
	if err != nil {
		return s, fmt.Errorf("board %s: status: %w", b.Name, err)
	}
	return s, nil
}

// Cable puts the network cable in, or pulls it.
func (b *Board) Cable(in bool) error {
	if b.mon == nil {
		return fmt.Errorf("board %s: it is off", b.Name)
	}
	return b.mon.do("set_link", map[string]any{"name": "cable", "up": in})
}

// Suspend stops the board, and Resume lets it go on: it has not noticed then that
// time has passed, by none of its clocks.
func (b *Board) Suspend() error { return b.command("stop") }

// Resume is the end of Suspend.
func (b *Board) Resume() error { return b.command("cont") }

func (b *Board) command(name string) error {
	if b.mon == nil {
		return fmt.Errorf("board %s: it is off", b.Name)
	}
	return b.mon.do(name, nil)
}

// The far end of the loopback card: what is played there is the microphone's,
// and what is recorded there is the speaker's. The buffers are long, so that
// they take next to nothing of the board's time.
const farEnd = " -q -D plughw:Loopback,1 -t raw -f S16_LE -r 48000 -c 1 --buffer-time=500000 --period-time=100000 "

// Speak plays sound, 48 kHz mono, into the microphone, and returns at its end.
func (b *Board) Speak(ctx context.Context, sound []int16) error {
	raw := make([]byte, 0, 2*len(sound))
	for _, v := range sound {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(v))
	}
	_, err := b.pipe(ctx, "cat >/run/spoken && aplay"+farEnd+"/run/spoken", raw)
	return err
}

// Listen records what comes out of the speaker.
func (b *Board) Listen(ctx context.Context, length time.Duration) ([]int16, error) {
	samples := int64(length / time.Second * 48000)
	if _, err := b.Run(ctx, fmt.Sprintf("arecord%s-s %d /run/heard", farEnd, samples)); err != nil {
		return nil, err
	}
	a, err := b.do(ctx, remote.Request{Argv: []string{"cat", "/run/heard"}})
	if err != nil {
		return nil, fmt.Errorf("board %s: what was heard: %w", b.Name, err)
	}
	sound := make([]int16, len(a.Out)/2)
	for i := range sound {
		sound[i] = int16(binary.LittleEndian.Uint16(a.Out[2*i:]))
	}
	return sound, nil
}

// processorTime is that of a process, user and system, by /proc (in ticks of
// 10 ms on all of Linux).
func processorTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in brackets may hold anything; user and system time are the 12th
	// and 13th after it.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
