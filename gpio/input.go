package gpio

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/host/v3/gpioioctl"
)

// An input is an open line as Watch uses it: from one goroutine, halt from any.
type input interface {
	// wait waits at most d for an edge. It is false on a timeout and when
	// halted, and when the line is gone, which level then tells. Edges that
	// came before are not lost, but the kernel keeps 16 only.
	wait(d time.Duration) bool
	// level reads the line, active or not.
	level() (bool, error)
	// halt ends a wait that is going on. One that begins later is not touched.
	halt()
	close()
}

// openInput finds and opens the line with edges both ways, through periph if it
// knows the chip. The error is a *LineError.
func openInput(l Line) (input, error) {
	p, err := find(l)
	if err != nil {
		return nil, err
	}
	in, err := p.input()
	if err != nil {
		p.chip.file.Close()
		return nil, err
	}
	return in, nil
}

// opening is held from the look at a line to its request: periph has one object
// for each line, and would quietly give it to a second opener.
var opening sync.Mutex

func (p *place) input() (input, error) {
	opening.Lock()
	defer opening.Unlock()
	info, err := p.chip.line(p.offset)
	if err != nil {
		return nil, p.fail("open", err)
	}
	if info.flags&flagUsed != 0 {
		return nil, p.fail("open", syscall.EBUSY)
	}
	if line := p.periphLine(); line != nil {
		pull := map[Bias]gpio.Pull{BiasAsIs: gpio.PullNoChange, PullUp: gpio.PullUp, PullDown: gpio.PullDown}
		if line.In(pull[p.line.Bias], gpio.BothEdges) == nil {
			// The first wait makes the file that Halt needs; a Halt before it
			// would be lost, and a race.
			line.WaitForEdge(1)
			return &periphInput{p, line}, nil
		}
		line.Close()
	}
	// The chip came after periph's scan, or the kernel refuses: then this
	// request will fail too, and say why.
	bias := map[Bias]uint64{PullUp: flagPullUp, PullDown: flagPullDown, BiasOff: flagBiasOff}
	f, err := p.request(flagInput|flagRising|flagFalling|bias[p.line.Bias], false)
	if err != nil {
		return nil, err
	}
	return &kernelInput{place: p, file: f}, nil
}

// periphLine is periph's object for the line, nil if periph cannot do it.
func (p *place) periphLine() *gpioioctl.GPIOLine {
	if p.line.Bias == BiasOff {
		return nil
	}
	for _, c := range periphChips() {
		if c.Name() == p.chip.name && c.Label() == p.chip.label && c.LineCount() == p.chip.lines {
			return c.ByNumber(p.offset)
		}
	}
	return nil
}

// periphChips are the chips of periph's one scan. A chip that has left since is
// still among them; its descriptor can do nothing but fail.
//
// The scan closes descriptor 0 when a chip has a second name in /dev, as
// gpiochip0 has on Raspberry Pi OS. It is put back, unless another goroutine
// got the number meanwhile: whose file that is, it stays.
var periphChips = sync.OnceValue(func() []*gpioioctl.GPIOChip {
	saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	// Its errors (no chip, a chip that may not be opened) are found by find.
	_, _ = driverreg.Init()
	if err != nil {
		return gpioioctl.Chips // descriptor 0 was not open before either
	}
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); errors.Is(err, unix.EBADF) {
		if fd, err := unix.FcntlInt(uintptr(saved), unix.F_DUPFD, 0); err == nil && fd != 0 {
			unix.Close(fd)
		}
	}
	unix.Close(saved)
	return gpioioctl.Chips
})

// A periphInput is a line that periph opened.
type periphInput struct {
	*place
	line *gpioioctl.GPIOLine
}

// wait must not pass 0 on: it means for ever.
func (in *periphInput) wait(d time.Duration) bool { return in.line.WaitForEdge(max(d, 1)) }

func (in *periphInput) halt() { _ = in.line.Halt() }

// level asks the chip afterwards whether it is still there: periph reads low
// from one that is gone, which would be a press of a button to ground.
func (in *periphInput) level() (bool, error) {
	high := bool(in.line.Read())
	if _, err := in.chip.line(in.offset); err != nil {
		return false, in.fail("read", err)
	}
	return high != in.place.line.ActiveLow, nil
}

func (in *periphInput) close() {
	in.line.Close()
	in.chip.file.Close()
}

// A kernelInput is a line that was requested directly.
type kernelInput struct {
	*place
	file   *os.File
	events [16 * eventSize]byte
}

func (in *kernelInput) wait(d time.Duration) bool {
	if in.file.SetReadDeadline(time.Now().Add(d)) != nil {
		return false
	}
	n, err := in.file.Read(in.events[:])
	return err == nil && n > 0
}

func (in *kernelInput) halt() { _ = in.file.SetReadDeadline(time.Unix(0, 0)) }

func (in *kernelInput) level() (bool, error) {
	v := lineValues{mask: 1}
	if err := ioctl(in.file, getValues, &v); err != nil {
		return false, in.fail("read", err)
	}
	return v.bits&1 != 0 != in.line.ActiveLow, nil
}

func (in *kernelInput) close() {
	in.file.Close()
	in.chip.file.Close()
}
