package kx

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/wire"
)

// Times of a link's UDP.
const (
	pingEvery  = 500 * time.Millisecond // while voice flows
	udpSilence = 2 * time.Second        // no pong for so long: voice takes the TCP link
)

// A udpSide is the UDP of a link. The side that dialled sends first, to where
// it dialled; the other side answers to the source of the newest cell that it
// could open, never before there was one. So a changed address heals itself.
type udpSide struct {
	l    *link
	rxID uint32 // carried by cells for us; set before the link starts
	rx   *wire.LinkOpener
	tx   *wire.LinkSealer

	txID  atomic.Uint32                  // the peer's, from its hello; 0 before
	to    atomic.Pointer[netip.AddrPort] // where to send; nil before it is known
	heard atomic.Bool                    // a pong has come since the link began

	pinging atomic.Bool    // guards probe
	probe   wire.VoiceCell // a ping, while it is made

	mu      sync.Mutex // guards what follows; never held over I/O
	asked   time.Time  // when the last ping went
	waiting time.Time  // when the oldest ping without a pong went; zero if there is none
}

// init derives the link's UDP keys: 64 bytes of the TLS exporter, the first
// half for cells of the side that dialled.
func (u *udpSide) init(l *link, cs *tls.ConnectionState) {
	u.l = l
	there, back, err := exportKeys(cs, "hushbell link")
	if err != nil {
		panic(err) // TLS 1.3 with constant label and length cannot fail
	}
	u.tx, u.rx = wire.NewLinkSealer(there), wire.NewLinkOpener(back)
	if !l.dialed {
		u.tx, u.rx = wire.NewLinkSealer(back), wire.NewLinkOpener(there)
	}
}

// exportKeys returns the keys of the two directions of a TLS connection: of
// what the TLS client sends, and of what it receives.
func exportKeys(cs *tls.ConnectionState, label string) (there, back *[wire.KeySize]byte, err error) {
	b, err := cs.ExportKeyingMaterial(label, nil, 2*wire.KeySize)
	if err != nil {
		return nil, nil, err
	}
	return (*[wire.KeySize]byte)(b), (*[wire.KeySize]byte)(b[wire.KeySize:]), nil
}

// hello takes the peer's link id. The side that dialled then tries UDP.
func (u *udpSide) hello(h wire.Hello) {
	u.txID.Store(h.LinkID)
	if u.l.dialed {
		to := u.l.remote
		u.to.Store(&to)
		u.ping(time.Now())
	}
}

// ping asks the peer for a sign of life over UDP.
func (u *udpSide) ping(now time.Time) {
	u.mu.Lock()
	u.asked = now
	if u.waiting.IsZero() {
		u.waiting = now
	}
	u.mu.Unlock()
	if u.pinging.CompareAndSwap(false, true) { // else another goroutine is at it
		u.sendProbe(&u.probe, wire.KeepAlivePing)
		u.pinging.Store(false)
	}
}

// sendProbe makes c a keep-alive cell and sends it.
func (u *udpSide) sendProbe(c *wire.VoiceCell, kind byte) {
	to, id := u.to.Load(), u.txID.Load()
	if to == nil || id == 0 {
		return
	}
	c.SetKeepAlive(kind)
	if u.tx.Seal(c, id) == nil {
		u.l.node.cfg.Packets.WriteToUDPAddrPort(c[:], *to)
	}
}

// up reports whether voice may go by UDP, and pings while voice flows.
func (u *udpSide) up(now time.Time) bool {
	u.mu.Lock()
	due := now.Sub(u.asked) >= pingEvery
	u.mu.Unlock()
	if due {
		u.ping(now)
	}
	return u.passes(now)
}

// passes reports whether UDP passes, as far as pongs have told.
func (u *udpSide) passes(now time.Time) bool {
	u.mu.Lock()
	waiting := u.waiting
	u.mu.Unlock()
	return u.heard.Load() && (waiting.IsZero() || now.Sub(waiting) < udpSilence)
}

// take handles a keep-alive cell that was opened.
func (u *udpSide) take(c *wire.VoiceCell) {
	switch c.KeepAlive() {
	case wire.KeepAlivePing:
		u.sendProbe(c, wire.KeepAlivePong)
		if !u.heard.Load() {
			u.ping(time.Now())
		}
	case wire.KeepAlivePong:
		u.mu.Lock()
		u.waiting = time.Time{}
		u.mu.Unlock()
		u.heard.Store(true)
	}
}

// sendVoice sends c, whose tunnel id and body are set, by UDP or else in the
// TCP link.
func (l *link) sendVoice(c *wire.VoiceCell) {
	to, id := l.udp.to.Load(), l.udp.txID.Load()
	if to != nil && id != 0 && l.udp.up(time.Now()) {
		if l.udp.tx.Seal(c, id) == nil {
			l.node.cfg.Packets.WriteToUDPAddrPort(c[:], *to)
			return
		}
	}
	l.queueVoice(c)
}

// queueVoice puts the body of c in line for the TCP link. When the line is
// full the oldest body goes: late voice is of no use.
func (l *link) queueVoice(c *wire.VoiceCell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if l.voiceLen == tcpVoiceLen {
		l.voiceAt = (l.voiceAt + 1) % tcpVoiceLen
		l.voiceLen--
		l.node.Traffic.VoiceDropped.Add(1)
	}
	v := &l.voice[(l.voiceAt+l.voiceLen)%tcpVoiceLen]
	v.tunnel, v.body = c.TunnelID(), *c.Body()
	l.voiceLen++
	l.node.Traffic.VoiceOverTCP.Add(1)
	l.toWrite.Signal()
}

// takeVoice hands c to the tunnel that it is for.
func (l *link) takeVoice(c *wire.VoiceCell) {
	l.mu.Lock()
	var sink voiceSink
	if s := l.streams[c.TunnelID()]; s != nil {
		sink = s.sink
	}
	l.mu.Unlock()
	if sink == nil {
		l.node.Traffic.VoiceDropped.Add(1)
		return
	}
	sink.takeVoice(c)
}

// readPackets reads the UDP socket until it is closed.
func (n *Node) readPackets() {
	// One byte more than any packet that we take, so that a longer one shows.
	var b [maxKRPC + 1]byte
	for turns := uint64(0); ; turns += 2 {
		n.turns.Store(turns) // even: it waits for a packet
		size, from, err := n.cfg.Packets.ReadFromUDPAddrPort(b[:])
		n.turns.Store(turns + 1)
		if errors.Is(err, net.ErrClosed) || n.ctx.Err() != nil {
			return
		}
		switch {
		case err != nil: // whatever it is, it may pass; but not a busy loop
			select {
			case <-time.After(10 * time.Millisecond):
			case <-n.ctx.Done():
			}
		case size > 0 && size <= maxKRPC && b[0] == wire.FirstByteKRPC:
			if n.cfg.KRPC != nil {
				n.cfg.KRPC(b[:size], from)
			}
		case size == wire.VoiceCellSize:
			n.takeCell((*wire.VoiceCell)(b[:]), from)
		default:
			n.Traffic.VoiceDropped.Add(1)
		}
	}
}

const maxKRPC = 1500 // KRPC messages fit an Ethernet frame

// takeCell handles a voice cell that came by UDP.
func (n *Node) takeCell(c *wire.VoiceCell, from netip.AddrPort) {
	l := n.links.udp(c.LinkID())
	if l == nil {
		n.Traffic.VoiceDropped.Add(1)
		return
	}
	newest, err := l.udp.rx.Open(c)
	if err != nil {
		n.Traffic.VoiceDropped.Add(1)
		return
	}
	if to := l.udp.to.Load(); newest && !l.dialed && (to == nil || *to != from) {
		source := from // moved to the heap here, where it is new, and not for every cell
		l.udp.to.Store(&source)
	}
	if c.TunnelID() == 0 {
		l.udp.take(c)
		return
	}
	l.takeVoice(c)
}
