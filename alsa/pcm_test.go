package alsa

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An answer is what a card says when it is asked to move frames, or waited for.
type answer struct {
	frames int // that it moves
	errno  syscall.Errno
	events int16         // of a wait; 0: the time is up
	after  time.Duration // that the machine stands still before it
}

// A transfer goes on for as long as the card moves, asks once more before it says
// that a card is broken, and has one that stopped for no known reason start anew.
func TestTransferWaits(t *testing.T) {
	const out, err = unix.POLLOUT, unix.POLLOUT | unix.POLLERR
	again := answer{errno: syscall.EAGAIN}
	all := answer{frames: 960}
	for _, tt := range []struct {
		name string
		says []answer // moves and waits in turn, as they are asked for
		want error
		done int
	}{
		{"at once", []answer{all}, nil, 960},
		{"full at first", []answer{again, {events: out, after: 20 * time.Millisecond}, all}, nil, 960},
		{"slow, but it moves", []answer{
			{frames: 320}, again, {events: out, after: 3 * time.Second},
			{frames: 320}, again, {events: out, after: 3 * time.Second}, all}, nil, 960},
		{"the machine stood still", []answer{
			{frames: 320, after: 2 * stall}, again, {events: out, after: time.Millisecond}, all}, nil, 960},
		{"the machine stood still while it waited", []answer{again, {after: 2 * stall}, all}, nil, 960},
		{"and so the card ran dry", []answer{again, {after: 2 * stall}, {errno: syscall.EPIPE}}, syscall.EPIPE, 0},
		{"the card stands still", []answer{again, {after: stall}, again}, syscall.EIO, 0},
		{"it says what stopped it", []answer{again, {events: err}, {errno: syscall.ESTRPIPE}}, syscall.ESTRPIPE, 0},
		{"it stopped and goes on", []answer{again, {events: err}, all}, nil, 960},
		{"it stopped and says nothing", []answer{{frames: 100}, again, {events: err}, again}, syscall.EPIPE, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				says := slices.Clone(tt.says)
				next := func() answer {
					if len(says) == 0 {
						t.Fatal("asked too often")
					}
					a := says[0]
					says = says[1:]
					time.Sleep(a.after)
					return a
				}
				p := &pcm{setup: setup{layout: layout{S16, 1}, rate: Rate, period: 480, buffer: 1920}}
				p.ioctl = func(_, _ uintptr, arg unsafe.Pointer) syscall.Errno {
					a := next()
					x := (*xferi)(arg)
					x.result = long(min(a.frames, int(x.frames)))
					return a.errno
				}
				p.poll = func(fds []unix.PollFd, ms int) (int, error) {
					a := next()
					fds[0].Revents = a.events
					if a.events == 0 {
						return 0, nil
					}
					if limit := time.Duration(ms) * time.Millisecond; a.after > limit {
						t.Errorf("waits for %v only, after the card has moved", limit)
					}
					return 1, nil
				}
				p.todo = make([]byte, 2*FrameSamples)
				p.transferAll(0)
				if !errors.Is(p.err, tt.want) || p.err == nil != (tt.want == nil) || p.done != tt.done || len(says) > 0 {
					t.Errorf("%v after %d frames, %d answers not asked for; want %v after %d", p.err, p.done, len(says), tt.want, tt.done)
				}
			})
		})
	}
}
