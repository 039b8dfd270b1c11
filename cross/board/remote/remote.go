// Package remote is how the host works inside a board: it runs commands there,
// writes and watches files, and asks the box for its status. Both ends are here.
// It goes over a serial line of the emulator, so that it shares nothing with the
// network, the sound and the GPIO lines under test.
//
// Each way goes one JSON object a line; answers may overtake each other.
package remote

import "time"

// A Request is one of: a command to run (Argv), a file to write (Write), a file
// to read again and again (Watch), or the status of the box (Socket).
type Request struct {
	ID    int
	Limit time.Duration // the board gives up then; 0: never

	Argv  []string `json:",omitempty"` // with Stdin as its standard input
	Stdin []byte   `json:",omitempty"`

	Write string `json:",omitempty"` // the file, which gets Data and Mode
	Data  []byte `json:",omitempty"`
	Mode  uint32 `json:",omitempty"` // 0: 0644

	Watch string        `json:",omitempty"` // the file, which is read Times times
	Every time.Duration `json:",omitempty"`
	Times int           `json:",omitempty"`

	Socket string `json:",omitempty"` // the control socket of the box
}

// An Answer belongs to the Request of that ID. The first one is the agent's
// hello, with an ID of 0.
type Answer struct {
	ID     int
	Status int    // exit status of the command; -1 if a signal or the limit ended it
	Out    []byte // what it printed, or the status as JSON
	Values []string
	Err    string // why it could not be done at all; "" if it could
}
