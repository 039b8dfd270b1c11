package alsa

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// stall is how long a card may leave us waiting for room or for samples before
// it counts as broken. The kernel's own limit for a blocking transfer is 10 s;
// the longest buffer that Options allow is shorter by far.
const stall = 5 * time.Second

// pcm is an open PCM file with its parameters set. One goroutine moves samples;
// delay, drop and Close may be called from others.
type pcm struct {
	f       *os.File
	raw     syscall.RawConn
	capture bool
	setup   setup

	// For one transfer; owned by the goroutine that moves samples. The ioctl is a
	// method value made once, since a closure made for each would be allocated.
	x    xferi
	todo []byte // what is left of the caller's buffer
	done int    // frames moved
	err  syscall.Errno
	step func(fd uintptr) bool

	asking sync.Mutex // guards the three below, for the same reason a method value
	frames long
	errno  syscall.Errno
	ask    func(fd uintptr)

	closing atomic.Bool
}

// setup is what was agreed with the card.
type setup struct {
	layout
	rate           int
	period, buffer int // frames
}

// openPCM opens a PCM file and agrees on parameters near to what o asks.
func openPCM(path string, capture bool, o Options) (*pcm, error) {
	// O_NONBLOCK also makes the runtime's poller wait for the file.
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bare(err)
	}
	p := &pcm{f: f, capture: capture}
	p.step, p.ask = p.transferSome, p.askDelay
	if p.raw, err = f.SyscallConn(); err == nil {
		err = p.configure(o)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return p, nil
}

// configure agrees on parameters and prepares the stream.
func (p *pcm) configure(o Options) error {
	var err error
	if p.setup, err = negotiate(p.control, o); err != nil {
		return err
	}
	s := swParams{
		periodStep:     1,
		availMin:       ulong(p.setup.period),
		startThreshold: 1, // a capture starts with the first read
		stopThreshold:  ulong(p.setup.buffer),
	}
	if !p.capture {
		// Start when no whole period has room any more: a writer in step with the
		// card then has the full buffer as its reserve, at the start and again
		// after an underrun.
		s.startThreshold = ulong(p.setup.buffer - p.setup.period + 1)
	}
	if err := p.control(reqSWParams, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("set thresholds: %w", err)
	}
	return p.prepare()
}

func (p *pcm) control(req uintptr, arg unsafe.Pointer) error { return control(p.raw, req, arg) }

func ioctl(fd, req uintptr, arg unsafe.Pointer) syscall.Errno {
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, req, uintptr(arg))
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// transfer moves the frames of buf to or from the card and waits as long as it
// takes. It returns how many frames were moved, all of them if err is nil.
func (p *pcm) transfer(buf []byte) (frames int, err error) {
	p.todo, p.done, p.err = buf, 0, 0
	limit := time.Now().Add(stall)
	if p.capture {
		p.f.SetReadDeadline(limit)
		err = p.raw.Read(p.step)
	} else {
		p.f.SetWriteDeadline(limit)
		err = p.raw.Write(p.step)
	}
	p.todo, p.x.buf = nil, nil
	switch {
	case p.closing.Load():
		return p.done, ErrClosed
	case p.err != 0:
		return p.done, p.err
	case err == nil:
		return p.done, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p.done, syscall.EIO // as the kernel's own limit is told
	}
	// The poller gave up. A card that was pulled out polls as an error; the next
	// ioctl says which.
	if err := p.control(reqDelay, unsafe.Pointer(new(long))); err != nil {
		return p.done, err
	}
	return p.done, syscall.EIO
}

// transferSome moves what the card takes now. It reports whether the poller need
// not wait: all is done, or there is an error. The kernel moves less than asked
// whenever its buffer is full or empty.
func (p *pcm) transferSome(fd uintptr) bool {
	req := uintptr(reqWrite)
	if p.capture {
		req = reqRead
	}
	size := p.setup.frameBytes()
	for len(p.todo) > 0 {
		p.x = xferi{buf: unsafe.Pointer(unsafe.SliceData(p.todo)), frames: ulong(len(p.todo) / size)}
		errno := ioctl(fd, req, unsafe.Pointer(&p.x))
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			p.err = errno
			return true
		}
		p.done += int(p.x.result)
		p.todo = p.todo[int(p.x.result)*size:]
	}
	return true
}

// prepare makes the stream ready to start again.
func (p *pcm) prepare() error { return p.control(reqPrepare, nil) }

// resume wakes a stream that was suspended with the machine.
func (p *pcm) resume() error { return p.control(reqResume, nil) }

// drop stops the card at once; what is in its buffer is not played.
func (p *pcm) drop() error { return p.control(reqDrop, nil) }

// delay is how many frames lie between the next one to be moved and the
// converter: queued for playing, or recorded and not yet read. 0 when the
// stream is not running.
func (p *pcm) delay() int {
	p.asking.Lock()
	defer p.asking.Unlock()
	if p.raw.Control(p.ask) != nil || p.errno != 0 {
		return 0
	}
	return max(p.frames, 0)
}

func (p *pcm) askDelay(fd uintptr) { p.errno = ioctl(fd, reqDelay, unsafe.Pointer(&p.frames)) }

// Close wakes a transfer and closes the file. Safe twice.
func (p *pcm) Close() error {
	if p.closing.Swap(true) {
		return nil
	}
	if !p.capture {
		p.drop() // closing does it too, yet not before a waiting transfer has left
	}
	return p.f.Close()
}
