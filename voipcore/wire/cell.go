package wire

import (
	"encoding/binary"
	"fmt"
)

// Sizes of a link's cells.
const (
	CellSize     = 512
	cellHeader   = 4 + 1 + 2
	CellDataSize = CellSize - cellHeader // the most that one cell carries
)

// A Command says what a cell is for.
type Command uint8

const (
	CellPadding Command = iota // keeps a silent link alive; tunnel 0, no data
	CellHello                  // LINK_HELLO, first cell each way; tunnel 0, Hello
	CellCreate                 // opens a tunnel; no data
	CellData                   // bytes of a tunnel's stream; costs one credit
	CellCredit                 // u16: so many more CellData may be sent back
	CellDestroy                // ends a tunnel; u8: a Reason
	CellVoice                  // a voice body, where UDP does not pass

	numCommands // keep last
)

// Credit is how many data cells may be under way in one direction of a tunnel.
const Credit = 16

// A Reason says why a tunnel was destroyed or a request refused.
type Reason uint8

const (
	ReasonDone        Reason = iota // the other side is done with it
	ReasonFull                      // a limit of this node is reached
	ReasonProtocol                  // the other side broke the protocol
	ReasonUnreachable               // the next hop cannot be reached, is not allowed, or holds another key
	ReasonRefused                   // cookie and secret do not belong together
	ReasonNobody                    // nobody is registered under the cookie
	ReasonNotFound                  // the DHT has no such record
	ReasonStale                     // the DHT has a newer record
	ReasonFailed                    // it did not work, for a reason of this node's own

	numReasons // keep last
)

var reasonNames = [numReasons]string{"closed", "full", "protocol broken", "next hop unreachable", "refused",
	"nobody registered", "not found", "a newer record exists", "failed"}

// String says the reason in words for a person.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// A Cell is one decoded cell of a link:
//
//	0        4         5        7                        512
//	| tunnel | command | length | data, then zero bytes    |
type Cell struct {
	Tunnel  uint32
	Command Command
	Length  uint16 // bytes of Data in use
	Data    [CellDataSize]byte
}

// Encode writes c to b. Bytes of c.Data past c.Length are sent as zeros. Length
// must be at most CellDataSize; Encode panics otherwise, as a slice does.
func (c *Cell) Encode(b *[CellSize]byte) {
	binary.BigEndian.PutUint32(b[0:], c.Tunnel)
	b[4] = byte(c.Command)
	binary.BigEndian.PutUint16(b[5:], c.Length)
	n := copy(b[cellHeader:], c.Data[:c.Length])
	clear(b[cellHeader+n:])
}

// Decode reads b into c. On error the contents of c are unspecified.
func (c *Cell) Decode(b *[CellSize]byte) error {
	c.Tunnel = binary.BigEndian.Uint32(b[0:])
	c.Command = Command(b[4])
	c.Length = binary.BigEndian.Uint16(b[5:])
	if c.Command >= numCommands {
		return fmt.Errorf("wire: cell command %d: %w", c.Command, ErrType)
	}
	if lo, hi := c.Command.dataSize(); int(c.Length) < lo || int(c.Length) > hi {
		return fmt.Errorf("wire: cell command %d with %d bytes: %w", c.Command, c.Length, ErrSize)
	}
	if (c.Tunnel == 0) != (c.Command == CellPadding || c.Command == CellHello) {
		return fmt.Errorf("wire: cell command %d on tunnel %d: %w", c.Command, c.Tunnel, ErrValue)
	}
	copy(c.Data[:], b[cellHeader:])
	if !zero(c.Data[c.Length:]) {
		return fmt.Errorf("wire: cell: %w", ErrReserved)
	}
	switch {
	case c.Command == CellCredit && (c.Data[0] != 0 || c.Data[1] == 0 || c.Data[1] > Credit):
		return fmt.Errorf("wire: credit %x: %w", c.Data[:2], ErrValue)
	case c.Command == CellDestroy && c.Data[0] >= byte(numReasons):
		return fmt.Errorf("wire: destroy %d: %w", c.Data[0], ErrValue)
	}
	return nil
}

// dataSize returns how few and how many bytes of data a cell of this command has.
func (c Command) dataSize() (lo, hi int) {
	switch c {
	case CellHello:
		return helloSize, helloSize
	case CellData:
		return 1, CellDataSize
	case CellCredit:
		return 2, 2
	case CellDestroy:
		return 1, 1
	case CellVoice:
		return BodySize, BodySize
	}
	return 0, 0
}

const helloSize = 12

// A Hello is what each side of a link says first: link id u32, time u64.
type Hello struct {
	LinkID uint32 // voice cells for this side carry it; not 0, and its first byte is never KRPC's 'd'
	Time   int64  // this side's clock, Unix seconds
}

// Put makes c the LINK_HELLO cell of h.
func (h Hello) Put(c *Cell) {
	*c = Cell{Command: CellHello, Length: helloSize}
	binary.BigEndian.PutUint32(c.Data[0:], h.LinkID)
	binary.BigEndian.PutUint64(c.Data[4:], uint64(h.Time))
}

// DecodeHello reads the data of a CellHello that Decode accepted.
func DecodeHello(c *Cell) (Hello, error) {
	h := Hello{binary.BigEndian.Uint32(c.Data[0:]), int64(binary.BigEndian.Uint64(c.Data[4:]))}
	if c.Command != CellHello || h.LinkID == 0 || h.LinkID>>24 == FirstByteKRPC || h.Time < 0 {
		return Hello{}, fmt.Errorf("wire: hello: %w", ErrValue)
	}
	return h, nil
}
