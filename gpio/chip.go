package gpio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A ChipInfo describes a chip for people: what "devices" and "doctor" print.
type ChipInfo struct {
	Name  string // as the kernel calls it, "gpiochip0"
	Label string
	Lines []LineInfo // by offset
	Err   error      // why the lines could not be read; Lines is empty then
}

// A LineInfo describes one line of a chip.
type LineInfo struct {
	Name   string // may be empty
	Used   bool
	Holder string // who has it, as the kernel tells it
}

// Chips lists the machine's GPIO chips, those that could not be opened
// included. No chip at all is an empty list, not an error.
func Chips() ([]ChipInfo, error) {
	paths, err := chipPaths()
	if err != nil {
		return nil, err
	}
	var list []ChipInfo
	for _, path := range paths {
		c, err := openChip(path)
		if err != nil {
			list = append(list, ChipInfo{Name: filepath.Base(path), Err: err})
			continue
		}
		info := ChipInfo{Name: c.name, Label: c.label}
		for offset := range c.lines {
			l, err := c.line(offset)
			if err != nil {
				info.Lines, info.Err = nil, fmt.Errorf("gpio: read %s: %w", c.name, err)
				break
			}
			info.Lines = append(info.Lines, LineInfo{text(&l.name), l.flags&flagUsed != 0, text(&l.consumer)})
		}
		c.file.Close()
		list = append(list, info)
	}
	return list, nil
}

// A chip is one open /dev/gpiochip*. Its owner closes file.
type chip struct {
	file        *os.File
	name, label string
	lines       int
}

// chipPaths lists the chips' device files. Raspberry Pi OS has /dev/gpiochip4
// as a second name of gpiochip0 for programs that look for the Pi 5's; symbolic
// links are left out.
func chipPaths() ([]string, error) {
	paths, err := filepath.Glob("/dev/gpiochip*")
	if err != nil {
		return nil, fmt.Errorf("gpio: list chips: %w", err)
	}
	return slices.DeleteFunc(paths, func(path string) bool {
		info, err := os.Lstat(path)
		return err != nil || info.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice
	}), nil
}

func openChip(path string) (*chip, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("gpio: %w", err)
	}
	var info chipInfo
	if err := ioctl(f, getChipInfo, &info); err != nil {
		f.Close()
		return nil, fmt.Errorf("gpio: read %s: %w", path, err)
	}
	c := &chip{file: f, name: text(&info.name), label: text(&info.label), lines: int(info.lines)}
	if c.label == "" {
		c.label = c.name
	}
	return c, nil
}

func (c *chip) line(offset int) (lineInfo, error) {
	info := lineInfo{offset: uint32(offset)}
	err := ioctl(c.file, getLineInfo, &info)
	return info, err
}

// A place is where a Line was found: an open chip and an offset on it.
type place struct {
	line   Line
	chip   *chip
	offset int
}

// find looks for the line on the chips that are there now. The caller closes
// the place's chip. The error is a *LineError.
func find(l Line) (*place, error) {
	fail := func(device string, err error) (*place, error) {
		return nil, &LineError{Op: "open", Line: l, Device: device, Err: err}
	}
	if l.Name == "" && (l.Chip == "" || l.Offset < 0) {
		return fail("", fmt.Errorf("%w: it needs a name, or a chip and an offset", ErrNoLine))
	}
	paths, err := chipPaths()
	if err != nil {
		return fail("", err)
	}
	var found []*place
	var seen, labels []string
	var denied error
	for _, path := range paths {
		c, err := openChip(path)
		if err != nil {
			denied = errors.Join(denied, err)
			continue
		}
		labels = append(labels, c.label)
		if l.Chip == "" || l.Chip == c.label || l.Chip == c.name {
			seen = append(seen, c.name)
			at, err := c.offsets(l)
			if err != nil {
				denied = errors.Join(denied, fmt.Errorf("gpio: read %s: %w", c.name, err))
			}
			if len(at) == 1 {
				found = append(found, &place{l, c, at[0]})
				continue
			}
			if len(at) > 1 {
				denied = errors.Join(denied, fmt.Errorf("%s has %d lines of that name", c.name, len(at)))
			}
		}
		c.file.Close()
	}
	if len(found) == 1 {
		return found[0], nil
	}
	for _, p := range found {
		p.chip.file.Close()
	}
	device := strings.Join(seen, ", ")
	switch {
	case len(found) > 1:
		return fail(device, fmt.Errorf("%w: %d chips have it, name one", ErrNoLine, len(found)))
	case denied != nil:
		return fail(device, denied)
	case len(seen) > 0:
		return fail(device, ErrNoLine)
	case l.Chip == "":
		return fail("", ErrNoLine)
	case len(labels) == 0:
		return fail("", fmt.Errorf("%w, this machine has none", ErrNoChip))
	}
	return fail("", fmt.Errorf("%w, there is %s", ErrNoChip, strings.Join(labels, ", ")))
}

// offsets returns where on the chip the line is: its number, or all lines that
// have its name.
func (c *chip) offsets(l Line) (at []int, err error) {
	if l.Name == "" {
		if l.Offset < c.lines {
			at = append(at, l.Offset)
		}
		return at, nil
	}
	for offset := range c.lines {
		info, err := c.line(offset)
		if err != nil {
			return nil, err
		}
		if text(&info.name) == l.Name {
			at = append(at, offset)
		}
	}
	return at, nil
}

// Look reports whether the line could be opened now: nil, or the *LineError that
// opening it would give. The line is left as it is.
func Look(l Line) error {
	p, err := find(l)
	if err != nil {
		return err
	}
	defer p.chip.file.Close()
	info, err := p.chip.line(p.offset)
	if err == nil && info.flags&flagUsed != 0 {
		err = syscall.EBUSY
	}
	if err != nil {
		return p.fail("open", err)
	}
	return nil
}

// fail makes a LineError of what the kernel answered, with what more it knows.
func (p *place) fail(op string, err error) error {
	e := &LineError{Op: op, Line: p.line, Device: p.chip.name, Err: err}
	switch {
	case errors.Is(err, syscall.ENODEV):
		e.Err = ErrGone
	case errors.Is(err, syscall.EBUSY):
		e.Err = ErrBusy
		if info, err := p.chip.line(p.offset); err == nil {
			e.Holder = text(&info.consumer)
		}
	}
	return e
}

// request asks the kernel for the line. The file is the line: it is given back
// when the file is closed.
func (p *place) request(flags uint64, on bool) (*os.File, error) {
	r := lineRequest{numLines: 1}
	r.offsets[0] = uint32(p.offset)
	copy(r.consumer[:], "hushbell")
	r.config.flags = flags
	if flags&flagOutput != 0 {
		r.config.numAttrs = 1
		r.config.attrs[0] = lineConfigAttr{lineAttr{id: attrOutputValues}, 1}
		if on {
			r.config.attrs[0].attr.value = 1
		}
	}
	if err := ioctl(p.chip.file, getLine, &r); err != nil {
		return nil, p.fail("open", err)
	}
	// Not blocking, so that the runtime's poller waits for it.
	if err := syscall.SetNonblock(int(r.fd), true); err != nil {
		syscall.Close(int(r.fd))
		return nil, p.fail("open", err)
	}
	return os.NewFile(uintptr(r.fd), p.line.String()), nil
}
