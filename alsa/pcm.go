package alsa

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stall is how long a card may leave us waiting for room or for samples before
// it counts as broken. The kernel's own limit for a blocking transfer is 10 s;
// the longest buffer that Options allow is shorter by far.
const stall = 5 * time.Second

// pcm is an open PCM file with its parameters set. One goroutine moves samples;
// check, delay, drop and Close may be called from others.
type pcm struct {
	f       *os.File
	raw     syscall.RawConn
	capture bool
	setup   setup

	// For transfer and prepare, which one goroutine calls. A transfer has moving
	// locked, so that Close can wait for its end. The ioctl is a method value made
	// once, since a closure made for each would be allocated.
	moving sync.Mutex
	x      xferi
	todo   []byte // what is left of the caller's buffer
	done   int    // frames moved
	err    error
	polled [1]unix.PollFd
	move   func(fd uintptr)
	runs   bool // a capture was started by its first transfer

	asking  sync.Mutex // guards the three below; the others are method values for the same reason
	frames  long
	version int32
	errno   syscall.Errno
	ask     func(fd uintptr)
	greet   func(fd uintptr)

	closing atomic.Bool

	// The system calls of a transfer, but for tests; constant.
	ioctl func(fd, req uintptr, arg unsafe.Pointer) syscall.Errno
	poll  func(fds []unix.PollFd, ms int) (int, error)
}

// setup is what was agreed with the card.
type setup struct {
	layout
	rate           int
	period, buffer int // frames
}

// openPCM opens a PCM file and agrees on parameters near to what o asks.
func openPCM(path string, capture bool, o Options) (*pcm, error) {
	f, err := openQuietly(path)
	if err != nil {
		return nil, err
	}
	p := &pcm{f: f, capture: capture, ioctl: ioctl, poll: unix.Poll}
	p.move, p.ask, p.greet = p.transferAll, p.askDelay, p.askVersion
	if p.raw, err = f.SyscallConn(); err == nil {
		err = p.configure(o)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return p, nil
}

// openQuietly opens a file that answers EAGAIN and EBUSY instead of waiting, and
// that the runtime's poller knows nothing of: it would be woken with each period.
func openQuietly(path string) (*os.File, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// NewFile goes by the flag. The kernel's PCM goes by what it was at opening.
	if err := syscall.SetNonblock(fd, false); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
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
	p.moving.Lock()
	defer p.moving.Unlock()
	p.todo, p.done, p.err = buf, 0, nil
	if p.raw.Control(p.move) != nil || p.closing.Load() {
		p.err = ErrClosed
	}
	p.todo, p.x.buf = nil, nil
	return p.done, p.err
}

// transferAll moves what the card takes, until all is done or there is an error.
// The kernel moves less than asked whenever its buffer is full or empty.
//
// A capture that runs is waited for first, and read by whole periods: whoever
// takes what is there and waits for the rest is woken by the next whole period
// all the same, and leaves behind what it took before. From then on it hears
// everything later by that much, and by more after each gap.
func (p *pcm) transferAll(fd uintptr) {
	req := uintptr(reqWrite)
	if p.capture {
		req = reqRead
	}
	size := p.setup.frameBytes()
	limit := time.Now().Add(stall)
	last := fresh // what the last wait said; fresh: nothing was asked since
	for len(p.todo) > 0 && !p.closing.Load() {
		frames := len(p.todo) / size
		if p.capture {
			frames = min(frames, p.setup.period)
			if p.runs && last == fresh {
				if last, p.err = p.wait(fd, time.Until(limit)); p.err != nil {
					return
				}
			}
			p.runs = true
		}
		p.x = xferi{buf: unsafe.Pointer(unsafe.SliceData(p.todo)), frames: ulong(frames)}
		switch errno := p.ioctl(fd, req, unsafe.Pointer(&p.x)); {
		case errno == 0:
			p.done += int(p.x.result)
			p.todo = p.todo[int(p.x.result)*size:]
			last, limit = fresh, time.Now().Add(stall) // what moves is not broken
		case errno != syscall.EAGAIN:
			p.err = errno
			return
		case last == stopped: // and it does not say by what: it is to be started anew
			p.err = syscall.EPIPE
			return
		case last == late: // it moves no more
			p.err = syscall.EIO
			return
		default:
			if last, p.err = p.wait(fd, time.Until(limit)); p.err != nil {
				return
			}
		}
	}
}

// waited is what came of waiting for a card. Whichever it was, the card is asked
// once more: the kernel looks where the card is then, and what it answers counts.
type waited int

const (
	fresh   waited = iota
	ready          // there is room, or there are samples
	stopped        // there is neither, and will not be
	late           // time is up: the card stands still, or we did with the whole machine
)

// wait waits until the card has room or samples, for d at most.
func (p *pcm) wait(fd uintptr, d time.Duration) (waited, error) {
	p.polled[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
	if p.capture {
		p.polled[0].Events = unix.POLLIN
	}
	n, err := p.poll(p.polled[:], int(max(d, 0)/time.Millisecond))
	switch {
	case err == unix.EINTR:
		return ready, nil
	case err != nil:
		return ready, err
	case n == 0:
		return late, nil
	case p.polled[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
		return stopped, nil
	}
	return ready, nil
}

// prepare makes the stream ready to start again.
func (p *pcm) prepare() error {
	p.runs = false
	return p.control(reqPrepare, nil)
}

// resume wakes a stream that was suspended with the machine.
func (p *pcm) resume() error { return p.control(reqResume, nil) }

// drop stops the card at once; what is in its buffer is not played.
func (p *pcm) drop() error { return p.control(reqDrop, nil) }

// check asks what any card answers that is there.
func (p *pcm) check() error {
	p.asking.Lock()
	defer p.asking.Unlock()
	if p.raw.Control(p.greet) != nil {
		return ErrClosed
	}
	if p.errno != 0 {
		return p.errno
	}
	return nil
}

func (p *pcm) askVersion(fd uintptr) {
	p.errno = ioctl(fd, reqPVersion, unsafe.Pointer(&p.version))
}

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

// Close wakes a transfer, waits for its end and closes the file. Safe twice.
func (p *pcm) Close() error {
	if p.closing.Swap(true) {
		return nil
	}
	p.drop() // who waits for the card is told that it stands still
	p.moving.Lock()
	defer p.moving.Unlock()
	return p.f.Close()
}
