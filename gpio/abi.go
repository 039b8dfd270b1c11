package gpio

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// The kernel's GPIO interface, version 2 (Linux 5.10), from its
// include/uapi/linux/gpio.h. All 64-bit members are aligned to 8 bytes there,
// so sizes and offsets are the same on every architecture; the checks below
// hold Go's layout to it, on 32-bit machines too, where Go aligns to 4.

type chipInfo struct {
	name, label [32]byte
	lines       uint32
}

type lineAttr struct {
	id    uint32
	_     uint32
	value uint64
}

type lineInfo struct {
	name, consumer [32]byte
	offset         uint32
	_              uint32 // how many attrs there are
	flags          uint64
	attrs          [10]lineAttr
	_              [4]uint32
}

type lineConfigAttr struct {
	attr lineAttr
	mask uint64 // of the request's lines, by index
}

type lineConfig struct {
	flags    uint64
	numAttrs uint32
	_        [5]uint32
	attrs    [10]lineConfigAttr
}

type lineRequest struct {
	offsets  [64]uint32
	consumer [32]byte
	config   lineConfig
	numLines uint32
	_        uint32 // size of the kernel's queue, 0: 16 a line
	_        [5]uint32
	fd       int32
}

type lineValues struct{ bits, mask uint64 }

const eventSize = 48 // struct gpio_v2_line_event, of which nothing is needed

var (
	_ [68]byte  = [unsafe.Sizeof(chipInfo{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(lineAttr{})]byte{}
	_ [256]byte = [unsafe.Sizeof(lineInfo{})]byte{}
	_ [24]byte  = [unsafe.Sizeof(lineConfigAttr{})]byte{}
	_ [272]byte = [unsafe.Sizeof(lineConfig{})]byte{}
	_ [592]byte = [unsafe.Sizeof(lineRequest{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(lineValues{})]byte{}

	_ [64]byte  = [unsafe.Offsetof(lineInfo{}.offset)]byte{}
	_ [72]byte  = [unsafe.Offsetof(lineInfo{}.flags)]byte{}
	_ [80]byte  = [unsafe.Offsetof(lineInfo{}.attrs)]byte{}
	_ [32]byte  = [unsafe.Offsetof(lineConfig{}.attrs)]byte{}
	_ [288]byte = [unsafe.Offsetof(lineRequest{}.config)]byte{}
	_ [560]byte = [unsafe.Offsetof(lineRequest{}.numLines)]byte{}
	_ [588]byte = [unsafe.Offsetof(lineRequest{}.fd)]byte{}
)

// Request numbers: direction, size, type 0xB4, number (asm-generic/ioctl.h).
const (
	getChipInfo = 2<<30 | unsafe.Sizeof(chipInfo{})<<16 | 0xb4<<8 | 0x01
	getLineInfo = 3<<30 | unsafe.Sizeof(lineInfo{})<<16 | 0xb4<<8 | 0x05
	getLine     = 3<<30 | unsafe.Sizeof(lineRequest{})<<16 | 0xb4<<8 | 0x07
	getValues   = 3<<30 | unsafe.Sizeof(lineValues{})<<16 | 0xb4<<8 | 0x0e
	setValues   = 3<<30 | unsafe.Sizeof(lineValues{})<<16 | 0xb4<<8 | 0x0f
)

// Flags of a line, and the one attribute that is used.
const (
	flagUsed     = 1 << 0
	flagInput    = 1 << 2
	flagOutput   = 1 << 3
	flagRising   = 1 << 4
	flagFalling  = 1 << 5
	flagPullUp   = 1 << 8
	flagPullDown = 1 << 9
	flagBiasOff  = 1 << 10

	attrOutputValues = 2
)

// ioctl does one request on f. The error is a syscall.Errno, or os.ErrClosed.
func ioctl[T any](f *os.File, request uintptr, arg *T) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = conn.Control(func(fd uintptr) {
		for {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg)))
			if errno != syscall.EINTR {
				return
			}
		}
	})
	runtime.KeepAlive(arg)
	if err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// text is a name as the kernel writes it: up to the first zero byte.
func text(b *[32]byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b[:])
}
