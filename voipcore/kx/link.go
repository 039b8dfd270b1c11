package kx

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// Times of a link.
const (
	keepAliveEvery = 15 * time.Second // NATs were seen to forget a UDP mapping after 28 s
	linkSilence    = 45 * time.Second // nothing heard for so long: the link is dead
	linkIdle       = 2 * time.Minute  // no tunnel for so long: the side that dialled closes it
)

const (
	batchCells  = 8  // cells in one write to TLS: 4 kB, one record
	tcpVoiceLen = 16 // voice bodies that wait for the TCP link: 320 ms of one call
	refusalsLen = 32 // tunnels that were refused, and whose destroy cell waits
)

// A link is one TLS connection between two nodes, with the UDP that belongs to
// it, shared by all tunnels between the two. It owns the goroutines read and
// write; both end when it is closed.
type link struct {
	node   *Node
	conn   *tls.Conn
	dialed bool
	peer   pid.ID // the key that the other side proved; zero if it is anonymous
	lent   bool   // dialled for clients of ours; counts as such
	single bool   // for one tunnel, nobody else will find it
	remote netip.AddrPort
	udp    udpSide
	ahead  time.Duration // of the peer's time in its hello; written before udp.txID is, then constant
	tries  budget        // EXTENDs of tunnels on this link
	done   chan struct{} // closed with the link
	heard  atomic.Int64  // when the last cell came over TCP, as a since of the node

	mu       sync.Mutex // guards what follows, and the state of all streams; never held over I/O
	closed   bool
	streams  map[uint32]*stream
	nextID   uint32 // of the next tunnel that we open
	lastPeer uint32 // newest id that the peer opened
	ready    []*stream
	idle     time.Time           // since when there is no tunnel
	toWrite  sync.Cond           // something to send, or closed
	padding  bool                // a padding cell is to be sent
	refusals [refusalsLen]uint32 // tunnels that the peer opened in vain
	nRefused int
	voice    [tcpVoiceLen]tcpVoice
	voiceAt  int // oldest waiting body
	voiceLen int
}

// A tcpVoice is a voice body that waits for the TCP link.
type tcpVoice struct {
	tunnel uint32
	body   [wire.BodySize]byte
}

func (n *Node) newLink(conn *tls.Conn, dialed bool, remote netip.AddrPort) *link {
	l := &link{node: n, conn: conn, dialed: dialed, remote: remote, streams: map[uint32]*stream{}, nextID: 2, done: make(chan struct{}),
		tries: budget{rate: linkTries, burst: linkTryBurst}}
	if dialed {
		l.nextID = 1 // the dialler's are odd, the acceptor's even
	}
	l.idle = time.Now()
	l.toWrite.L = &l.mu
	cs := conn.ConnectionState()
	l.peer, _ = keytls.PeerKey(&cs)
	l.udp.init(l, &cs)
	return l
}

// startLink enters l in the table and starts its goroutines.
func (n *Node) startLink(l *link) bool {
	l.heard.Store(int64(n.since()))
	return n.links.add(l, func() {
		n.wg.Go(func() { l.close(l.read()) })
		n.wg.Go(func() { l.close(l.write()) })
	})
}

var errLinkClosed = errors.New("kx: link closed")

// close ends the link and all tunnels on it.
func (l *link) close(why error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	for _, s := range l.streams {
		s.leaveLocked(fmt.Errorf("%w: %v", errLinkClosed, why))
	}
	l.toWrite.Broadcast()
	l.mu.Unlock()
	l.node.links.remove(l)
	if l.lent {
		l.node.links.release(&l.node.links.dialed)
	}
	// The raw connection: tls.Conn.Close waits for a writer that is stuck.
	l.conn.NetConn().Close()
	close(l.done)
	l.node.log.Debug("link closed", "dialed", l.dialed, "peer", l.remote, "err", why)
}

// open opens a tunnel on the link, of our own or to be carried on for somebody.
func (l *link) open(own bool) (*stream, error) {
	others := ownTunnels
	if own {
		others = 0
	}
	slot := l.node.cells.get(others)
	if slot == nil {
		l.node.Traffic.TunnelsRefused.Add(1)
		return nil, ErrFull
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.nextID > 1<<32-3 { // ids are never used again in a link's life
		l.node.cells.put(slot)
		return nil, errLinkClosed
	}
	s := newStream(l, l.nextID, slot)
	s.create = true
	l.nextID += 2
	l.streams[s.id] = s
	l.queueLocked(s)
	return s, nil
}

// leftLocked notes that a stream has left.
func (l *link) leftLocked() {
	if len(l.streams) == 0 {
		l.idle = time.Now()
		l.toWrite.Signal() // it may be over
	}
}

// overLocked reports whether the link has served its one tunnel.
func (l *link) overLocked() bool {
	return l.single && l.nextID > 1 && len(l.streams) == 0
}

// queueLocked puts s in the list of streams with something to send.
func (l *link) queueLocked(s *stream) {
	if s.queued || s.gone {
		return
	}
	s.queued = true
	l.ready = append(l.ready, s)
	l.toWrite.Signal()
}

// read handles the peer's cells until the link ends.
func (l *link) read() error {
	var raw [wire.CellSize]byte
	var c wire.Cell
	var v wire.VoiceCell
	l.conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	for first := true; ; first = false {
		if _, err := io.ReadFull(l.conn, raw[:]); err != nil {
			return err
		}
		if err := c.Decode(&raw); err != nil {
			return err
		}
		l.heard.Store(int64(l.node.since()))
		if (c.Command == wire.CellHello) != first {
			return errors.New("kx: hello is the first cell, and only that")
		}
		switch c.Command {
		case wire.CellHello:
			l.conn.SetReadDeadline(time.Time{})
			h, err := wire.DecodeHello(&c)
			if err != nil {
				return err
			}
			l.ahead = time.Until(time.Unix(h.Time, 0))
			l.udp.hello(h)
			if l.dialed && !l.lent { // not what strangers have us dial
				l.node.cfg.Clock.Told(l.remote, time.Unix(h.Time, 0))
			}
		case wire.CellPadding:
		case wire.CellVoice:
			v.SetTunnelID(c.Tunnel)
			copy(v.Body()[:], c.Data[:])
			l.takeVoice(&v)
		case wire.CellCreate:
			if err := l.accept(c.Tunnel); err != nil {
				return err
			}
		default:
			l.take(&c)
		}
	}
}

// take handles a cell of a tunnel.
func (l *link) take(c *wire.Cell) {
	l.mu.Lock()
	s := l.streams[c.Tunnel]
	var err error
	if s != nil {
		err = s.takeLocked(c)
	}
	l.mu.Unlock()
	if err != nil {
		s.destroyWith(wire.ReasonProtocol)
	}
}

// accept handles the create cell of a tunnel. Its error ends the link.
func (l *link) accept(id uint32) error {
	odd := id%2 == 1
	if odd == l.dialed || id <= l.lastPeer {
		return errors.New("kx: tunnel id of the wrong kind, or used before")
	}
	l.lastPeer = id // read alone touches it
	var slot *slot
	if l.node.relay() && l.node.quota.admits() {
		slot = l.node.cells.get(ownTunnels)
	}
	l.mu.Lock()
	if slot != nil && (l.closed || len(l.streams) >= l.node.limits.LinkTunnels) {
		l.node.cells.put(slot)
		slot = nil
	}
	if slot == nil {
		l.refuseLocked(id)
		l.mu.Unlock()
		return nil
	}
	s := newStream(l, id, slot)
	l.streams[id] = s
	l.mu.Unlock()
	l.node.wg.Go(func() { l.node.serveTunnel(s) })
	return nil
}

// refuseLocked tells the peer that a limit is reached. When more refusals wait
// than there is room for, the peer has to find out by itself.
func (l *link) refuseLocked(id uint32) {
	l.node.Traffic.TunnelsRefused.Add(1)
	if l.nRefused < refusalsLen {
		l.refusals[l.nRefused] = id
		l.nRefused++
		l.toWrite.Signal()
	}
}

// write sends the link's cells until it is closed: what is small and urgent
// first, then voice, then one cell of each tunnel in turn.
func (l *link) write() error {
	var batch [batchCells * wire.CellSize]byte
	var c wire.Cell
	n := 0
	add := func() {
		c.Encode((*[wire.CellSize]byte)(batch[n:]))
		n += wire.CellSize
	}
	wire.Hello{LinkID: l.udp.rxID, Time: l.node.cfg.Clock.Now().Unix()}.Put(&c)
	add()
	for {
		l.mu.Lock()
		for n == 0 && !l.closed && !l.overLocked() && len(l.ready) == 0 && !l.padding && l.nRefused == 0 && l.voiceLen == 0 {
			l.toWrite.Wait()
		}
		if l.closed {
			l.mu.Unlock()
			return errLinkClosed
		}
		for n < len(batch) && l.nextLocked(&c) {
			add()
		}
		over := n == 0 && l.overLocked()
		l.mu.Unlock()
		if over {
			return errLinkClosed
		}
		if n == 0 {
			continue
		}
		// Who only sends and never reads must not keep the link for ever.
		l.conn.SetWriteDeadline(time.Now().Add(linkSilence))
		if _, err := l.conn.Write(batch[:n]); err != nil {
			return err
		}
		n = 0
	}
}

// nextLocked fills c with the next cell to send.
func (l *link) nextLocked(c *wire.Cell) bool {
	switch {
	case l.padding:
		l.padding = false
		*c = wire.Cell{Command: wire.CellPadding}
		return true
	case l.nRefused > 0:
		l.nRefused--
		*c = wire.Cell{Tunnel: l.refusals[l.nRefused], Command: wire.CellDestroy, Length: 1}
		c.Data[0] = byte(wire.ReasonFull)
		return true
	case l.voiceLen > 0:
		v := &l.voice[l.voiceAt]
		c.Tunnel, c.Command, c.Length = v.tunnel, wire.CellVoice, wire.BodySize
		copy(c.Data[:], v.body[:])
		l.voiceAt = (l.voiceAt + 1) % tcpVoiceLen
		l.voiceLen--
		return true
	}
	for len(l.ready) > 0 {
		s := l.ready[0]
		copy(l.ready, l.ready[1:])
		l.ready = l.ready[:len(l.ready)-1]
		s.queued = false
		ok, more := s.nextLocked(c)
		if more {
			l.queueLocked(s)
		}
		if ok {
			return true
		}
	}
	return false
}

// keepAlive sends what keeps silent links and NATs alive, and closes links
// that are dead or were of no use for long. asleep is how long the machine was
// when the node was opened. It ends when the node closes.
func (n *Node) keepAlive(asleep time.Duration) {
	tick := time.NewTicker(keepAliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-tick.C:
			n.quota.tick(n.cfg.Clock.Now())
			// Nothing was heard while the machine was suspended, and the other
			// sides have given up.
			slept := n.cfg.Clock.Asleep() - asleep
			asleep += slept
			for _, l := range n.links.list() {
				n.keepLink(l, now, slept)
			}
		}
	}
}

func (n *Node) keepLink(l *link, now time.Time, slept time.Duration) {
	silent := n.since() - time.Duration(l.heard.Load()) + slept
	l.mu.Lock()
	// The side that dialled is first, so that no tunnel is opened on a link
	// that the other side closes at the same time.
	patience := linkIdle
	if !l.dialed {
		patience += 2 * keepAliveEvery
	}
	unused := len(l.streams) == 0 && now.Sub(l.idle) > patience
	l.padding = true
	l.toWrite.Signal()
	l.mu.Unlock()
	switch {
	case silent > linkSilence:
		l.close(errors.New("nothing heard"))
	case unused:
		l.close(errors.New("not in use"))
	case l.dialed:
		l.udp.ping(now)
	}
}
