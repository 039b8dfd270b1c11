package kx

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"hushbell/voipcore/wire"
)

// A voiceSink takes the voice cells that arrive on one end of a tunnel. It
// runs on the reading goroutine, may change c, and must neither block nor keep it.
type voiceSink interface{ takeVoice(c *wire.VoiceCell) }

// A stream is one end of a tunnel on a link: a byte stream in data cells, with
// credit, and a way for voice. It is a net.Conn.
//
// Its state is guarded by the link's mutex. The cells are the stream's until
// it has left the link's table and Close was called.
type stream struct {
	l    *link
	id   uint32
	sink voiceSink // guarded by l.mu

	slot    *slot // nil once given back
	inHead  int   // oldest received cell
	inLen   int
	inOff   int // bytes of the oldest that were read
	outHead int
	outLen  int
	credit  int // data cells that we may still send
	owed    int // data cells read, whose credit is not given back yet

	create  bool  // the create cell is still to be sent
	destroy bool  // the destroy cell is to be sent once out is empty or cannot go
	reason  byte  // of our destroy cell
	gone    bool  // no longer in the link's table
	queued  bool  // in the link's list of streams with something to send
	closed  bool  // Close was called
	err     error // why no more cells come; io.EOF for a plain end

	readable, writable   sync.Cond // on l.mu
	readLimit, writLimit deadline
}

// A deadline wakes a condition when it passes. Guarded by the link's mutex.
type deadline struct {
	passed bool
	timer  *time.Timer
}

func newStream(l *link, id uint32, s *slot) *stream {
	st := &stream{l: l, id: id, slot: s, credit: wire.Credit}
	st.readable.L, st.writable.L = &l.mu, &l.mu
	return st
}

// Read reads what the other end of the tunnel on this link wrote.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	for s.inLen == 0 || s.closed {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.err != nil:
			return 0, s.err
		case s.readLimit.passed:
			return 0, os.ErrDeadlineExceeded
		}
		s.readable.Wait()
	}
	c := &s.slot.in[s.inHead]
	n := copy(p, c.Data[s.inOff:c.Length])
	if s.inOff += n; s.inOff == int(c.Length) {
		s.inHead, s.inOff = (s.inHead+1)%inCells, 0
		s.inLen--
		// Half a window at a time: a credit cell for each data cell would
		// double the traffic.
		if s.owed++; s.owed >= wire.Credit/2 {
			s.l.queueLocked(s)
		}
	}
	return n, nil
}

// Write queues p in data cells. It waits while there is no room: the other
// side has given no credit, or the link is slow.
func (s *stream) Write(p []byte) (int, error) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	done := 0
	for done < len(p) {
		for s.outLen == outCells && s.writeErrLocked() == nil {
			s.writable.Wait()
		}
		if err := s.writeErrLocked(); err != nil {
			return done, err
		}
		c := &s.slot.out[(s.outHead+s.outLen)%outCells]
		c.Tunnel, c.Command = s.id, wire.CellData
		n := copy(c.Data[:], p[done:])
		c.Length = uint16(n)
		done += n
		s.outLen++
		s.l.queueLocked(s)
	}
	return done, nil
}

// writeErrLocked says why nothing can be written at all.
func (s *stream) writeErrLocked() error {
	switch {
	case s.closed || s.destroy:
		return net.ErrClosed
	case s.gone && s.err == io.EOF:
		return io.ErrClosedPipe
	case s.gone:
		return s.err
	case s.writLimit.passed:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close destroys the tunnel. What was written before is sent as far as credit
// reaches. It does not wait.
func (s *stream) Close() error {
	s.destroyWith(wire.ReasonDone)
	return nil
}

// destroyWith is Close with another reason for the far end.
func (s *stream) destroyWith(r wire.Reason) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.sink = true, nil
	s.readLimit.stop()
	s.writLimit.stop()
	if s.gone {
		s.freeLocked()
	} else {
		s.destroy, s.reason = true, byte(r)
		s.l.queueLocked(s)
	}
	s.wakeLocked()
}

// leaveLocked takes the stream out of the link's table: no more cells come or
// go. err is what readers see after what is still there to read.
func (s *stream) leaveLocked(err error) {
	if s.gone {
		return
	}
	s.gone, s.sink = true, nil
	if s.err == nil {
		s.err = err
	}
	delete(s.l.streams, s.id)
	if s.closed {
		s.freeLocked()
	}
	s.wakeLocked()
	s.l.leftLocked()
}

func (s *stream) freeLocked() {
	if s.slot != nil {
		s.l.node.cells.put(s.slot)
		s.slot, s.inLen, s.outLen = nil, 0, 0
	}
}

func (s *stream) wakeLocked() {
	s.readable.Broadcast()
	s.writable.Broadcast()
}

var errDestroyed = errors.New("kx: tunnel destroyed")

// takeLocked handles a cell that arrived for the stream. Its error means that
// the other side broke the protocol, and costs the tunnel.
func (s *stream) takeLocked(c *wire.Cell) error {
	switch c.Command {
	case wire.CellData:
		if s.inLen == inCells || s.owed+s.inLen >= wire.Credit {
			return errors.New("kx: more cells than credit")
		}
		if s.closed {
			return nil // on its way before our destroy cell arrived
		}
		s.slot.in[(s.inHead+s.inLen)%inCells] = *c
		s.inLen++
		s.readable.Signal()
	case wire.CellCredit:
		if s.credit += int(c.Data[1]); s.credit > wire.Credit {
			return errors.New("kx: more credit than cells")
		}
		if s.outLen > 0 {
			s.l.queueLocked(s)
		}
	case wire.CellDestroy:
		err := io.EOF
		if r := wire.Reason(c.Data[0]); r != wire.ReasonDone {
			err = fmt.Errorf("%w: tunnel destroyed: %v", reasonError(r), r)
		}
		s.leaveLocked(err)
	}
	return nil
}

// nextLocked fills c with the stream's next cell to send. more tells whether
// another one could follow.
func (s *stream) nextLocked(c *wire.Cell) (ok, more bool) {
	switch {
	case s.gone:
		return false, false
	case s.create:
		s.create = false
		*c = wire.Cell{Tunnel: s.id, Command: wire.CellCreate}
	case s.owed >= wire.Credit/2 && !s.closed:
		*c = wire.Cell{Tunnel: s.id, Command: wire.CellCredit, Length: 2}
		c.Data[1] = byte(s.owed)
		s.owed = 0
	case s.outLen > 0 && s.credit > 0:
		*c = s.slot.out[s.outHead]
		s.outHead = (s.outHead + 1) % outCells
		s.outLen--
		s.credit--
		s.writable.Signal()
	case s.destroy:
		*c = wire.Cell{Tunnel: s.id, Command: wire.CellDestroy, Length: 1}
		c.Data[0] = s.reason
		s.leaveLocked(net.ErrClosed)
		return true, false
	default:
		return false, false
	}
	return true, s.outLen > 0 && s.credit > 0 || s.destroy || s.owed >= wire.Credit/2
}

// ended reports whether the other side, or Close, has ended the stream.
func (s *stream) ended() bool {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	return s.gone || s.closed
}

// setSink sets who takes the voice of this end.
func (s *stream) setSink(v voiceSink) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if !s.closed && !s.gone {
		s.sink = v
	}
}

// sendVoice sends the body of c on this end's link. It does not block: what
// cannot be sent is dropped and counted.
func (s *stream) sendVoice(c *wire.VoiceCell) {
	c.SetTunnelID(s.id)
	s.l.sendVoice(c)
}

// LocalAddr and RemoteAddr say nothing: a tunnel's stream has no address.
func (s *stream) LocalAddr() net.Addr  { return tunnelAddr{} }
func (s *stream) RemoteAddr() net.Addr { return tunnelAddr{} }

type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "tunnel" }
func (tunnelAddr) String() string  { return "tunnel" }

// SetDeadline, SetReadDeadline and SetWriteDeadline are as net.Conn has them.
func (s *stream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.setLimit(&s.readLimit, &s.readable, t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.setLimit(&s.writLimit, &s.writable, t)
	return nil
}

func (s *stream) setLimit(d *deadline, wake *sync.Cond, t time.Time) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	d.stop()
	d.passed = false
	if t.IsZero() || s.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(t), func() {
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		if d.timer == timer { // else it was set anew meanwhile
			d.passed = true
			wake.Broadcast()
		}
	})
	d.timer = timer
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
