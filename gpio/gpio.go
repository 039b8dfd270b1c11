// Package gpio watches buttons and drives LEDs and other outputs through the
// kernel's GPIO character device.
//
// It finds a line by its chip's label and its own name or offset (Line), makes
// clean presses and gestures of a bouncing contact (Watch), blinks several LEDs
// with one goroutine (LEDs) and switches an output (Output). It does not know
// what a press or a lamp is for, nor which board has which line; package board
// does. It never uses sysfs.
//
// Inputs go through periph.io (periph.io/x/host/v3/gpioioctl). What that
// library cannot do goes to the same kernel interface directly:
//
//   - outputs: periph requests a line before it sets the level, so that every
//     output is low for a moment, which would open a door that is wired active low;
//   - lines of a chip that came after periph's only scan, such as an expander
//     that was plugged in again: there is no rescan that would not close
//     descriptors that others may own by then;
//   - facts about a failure: periph's errors have no error number, and its
//     Read says "low" when the chip is gone.
//
// Decided in November 2026 with periph v3.8.5; a periph that rescans and sets
// the first level of an output would change it.
package gpio

import (
	"errors"
	"fmt"
	"strconv"
)

// A Bias is the resistor that the chip puts on an input.
type Bias uint8

const (
	BiasAsIs Bias = iota // what the chip has, the board's own resistor most often
	PullUp
	PullDown
	BiasOff // no resistor of the chip's
)

// A Line names one line of one chip. The zero value names none. A Line is plain
// data; it may be compared and copied, and nothing is opened by making one.
type Line struct {
	// Chip is the chip's label, as "pinctrl-bcm2711": chip numbers move between
	// kernels, labels stay. The kernel's name ("gpiochip1") is taken too, for
	// two chips with one label. Empty: any chip, if just one has a line of Name.
	Chip string

	Name   string // the line's name, as "GPIO17". Empty: Offset counts
	Offset int    // the line's number on its chip, used when Name is empty

	ActiveLow bool // pressed, or lit, when the line is at ground
	Bias      Bias // inputs only
}

// String is for messages: the line's name or offset, and its chip.
func (l Line) String() string {
	s := l.Name
	if s == "" {
		s = "line " + strconv.Itoa(l.Offset)
	}
	if l.Chip != "" {
		s += " of " + l.Chip
	}
	return s
}

// What is wrong with a line, for errors.Is. A line that the user may not open
// is fs.ErrPermission.
var (
	ErrNoChip = errors.New("no such GPIO chip")
	ErrNoLine = errors.New("no such line")
	ErrBusy   = errors.New("line in use")
	ErrGone   = errors.New("GPIO chip is gone")
)

// A LineError says what went wrong with which line.
type LineError struct {
	Op     string // "open", "read", "set"
	Line   Line
	Device string // the chip as the kernel calls it, "gpiochip0"; empty if none was found
	Holder string // who has a busy line, as the kernel tells it; may be empty
	Err    error  // one of the errors above, or the kernel's
}

func (e *LineError) Error() string {
	s := "gpio: " + e.Op + " " + e.Line.String()
	if e.Device != "" && e.Device != e.Line.Chip {
		s += " (" + e.Device + ")"
	}
	s += ": " + e.Err.Error()
	if e.Holder != "" {
		s += fmt.Sprintf(" by %q", e.Holder)
	}
	return s
}

func (e *LineError) Unwrap() error { return e.Err }
