package kx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/wire"
)

const (
	// requestSilence is how long a client may leave its last hop without a
	// request before the tunnel is given up. A client that keeps a spare
	// tunnel asks for something, or builds a new one, before.
	requestSilence = 10 * time.Minute
	// extendTimeout bounds the connection to the next hop. Every EXTEND that
	// fails is answered after just this time, so that failures look alike.
	extendTimeout = 3 * time.Second
	dhtTimeout    = 10 * time.Second
	// sayTimeout bounds how long a client may leave an answer untaken.
	sayTimeout = 30 * time.Second

	descriptorValid = 7 * 24 * time.Hour
	pipeBuffer      = 2048
)

// A hop is what a relay does with one tunnel: the client's TLS ends here, its
// requests are answered, and then its bytes go on to the next hop, or through
// the splice to the other tunnel.
type hop struct {
	node   *Node
	in     *stream // towards the client
	tls    *tls.Conn
	opener *wire.LayerOpener // takes our layer off what the client sends
	sealer *wire.LayerSealer // adds it to what it receives

	lookups budget // of this tunnel's client, and its DESCRIBEs; used by serve alone

	next atomic.Pointer[onward] // where the client's voice goes; nil before it goes anywhere
}

// onward is where the voice of a tunnel goes. One of the two is set.
type onward struct {
	out    *stream // the next hop
	peer   *hop    // the other side of the splice
	layers int     // left under ours
}

// serveTunnel answers the client of a tunnel until it ends.
func (n *Node) serveTunnel(s *stream) {
	h := &hop{node: n, in: s, lookups: budget{rate: tunnelLookups, burst: tunnelLookupBurst}}
	s.destroyWith(reasonOf(h.serve()))
}

// reasonOf is what the client hears of why its tunnel ends.
func reasonOf(err error) wire.Reason {
	switch {
	case errors.Is(err, errProtocol):
		return wire.ReasonProtocol
	case errors.Is(err, ErrFull):
		return wire.ReasonFull
	}
	return wire.ReasonDone
}

// errProtocol means that the client said what it must not.
var errProtocol = errors.New("kx: client broke the protocol")

func (h *hop) serve() error {
	h.tls = tls.Server(paid{h.in}, keytls.Server(alpnHop, h.node.cert, tls.NoClientCert))
	ctx, cancel := context.WithTimeout(h.node.ctx, handshakeTimeout)
	err := h.tls.HandshakeContext(ctx)
	cancel()
	if err != nil {
		return err
	}
	cs := h.tls.ConnectionState()
	there, back, err := exportKeys(&cs, "hushbell layer")
	if err != nil {
		return err
	}
	h.opener, h.sealer = wire.NewLayerOpener(there), wire.NewLayerSealer(back)
	h.in.setSink(h)

	var buf [wire.MaxHopMessageSize]byte
	for {
		h.tls.SetReadDeadline(time.Now().Add(requestSilence))
		m, err := readHopMessage(h.tls, &buf)
		if err != nil {
			return err
		}
		h.tls.SetReadDeadline(time.Time{})
		switch m.Type {
		case wire.KXExtend:
			out, err := h.extend(m)
			if err != nil {
				return err
			}
			if out == nil {
				continue // refused, and said so
			}
			return h.pass(out)
		case wire.KXRegister:
			return h.register(m)
		case wire.KXJoin:
			return h.join(m)
		default:
			if err := h.answer(m); err != nil {
				return err
			}
		}
	}
}

// readHopMessage reads one message. An error of a message that came but does
// not decode is errProtocol.
func readHopMessage(r io.Reader, buf *[wire.MaxHopMessageSize]byte) (*wire.HopMessage, error) {
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return nil, err
	}
	size, err := wire.HopMessageSize((*[4]byte)(buf[:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errProtocol, err)
	}
	if _, err := io.ReadFull(r, buf[4:size]); err != nil {
		return nil, err
	}
	m, err := wire.DecodeHopMessage(buf[:size])
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errProtocol, err)
	}
	return m, nil
}

func writeHopMessage(w io.Writer, m *wire.HopMessage) error {
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// say writes m to the client, who must not take for ever to read it.
func (h *hop) say(m *wire.HopMessage) error {
	h.tls.SetWriteDeadline(time.Now().Add(sayTimeout))
	defer h.tls.SetWriteDeadline(time.Time{})
	return writeHopMessage(h.tls, m)
}

func (h *hop) refuse(request wire.Type, r wire.Reason) error {
	return h.say(&wire.HopMessage{Type: wire.KXError, Request: request, Reason: r})
}

// answer answers the requests that leave the tunnel as it is.
func (h *hop) answer(m *wire.HopMessage) error {
	n := h.node
	if m.Type == wire.KXDescribe {
		h.slowDown() // a signature each, and much longer than the request
		now := n.cfg.Clock.Now()
		d := n.descriptor(now)
		return h.say(&wire.HopMessage{Type: wire.KXDescriptor, Descriptor: d, Time: now.Unix()})
	}
	switch m.Type {
	case wire.DHTPut, wire.DHTGet, wire.DHTTrace:
		return h.say(h.lookup(m))
	}
	return fmt.Errorf("%w: %v", errProtocol, m.Type)
}

// slowDown lets a client wait that asks faster than tunnelLookups.
func (h *hop) slowDown() {
	wait, ok := h.lookups.take(time.Now(), 1)
	if ok {
		return
	}
	select {
	case <-time.After(wait):
		h.lookups.take(time.Now(), 1)
	case <-h.node.ctx.Done():
	}
}

// lookup has the DHT do what m asks, and returns the answer.
func (h *hop) lookup(m *wire.HopMessage) *wire.HopMessage {
	n := h.node
	key := m.Key
	if m.Type == wire.DHTPut {
		key = m.Item.Key
	}
	failed := &wire.HopMessage{Type: wire.DHTError, Request: m.Type, Key: key, Reason: wire.ReasonFailed}
	if n.cfg.DHT == nil {
		return failed
	}
	h.slowDown()
	if _, ok := n.lookups.take(time.Now(), 1); !ok {
		failed.Reason = wire.ReasonFull
		return failed
	}
	ctx, cancel := context.WithTimeout(n.ctx, dhtTimeout)
	defer cancel()
	reply := &wire.HopMessage{Key: key}
	var err error
	switch m.Type {
	case wire.DHTPut:
		var stored int
		stored, err = n.cfg.DHT.Put(ctx, m.Item)
		reply.Type, reply.Replication = wire.DHTPutReply, uint8(min(stored, 255))
	case wire.DHTGet:
		reply.Type = wire.DHTGetReply
		reply.Item, err = n.cfg.DHT.Get(ctx, m.Key)
	case wire.DHTTrace:
		reply.Type = wire.DHTTraceReply
		reply.Hops, err = n.cfg.DHT.Trace(ctx, m.Key)
		reply.Hops = reply.Hops[:min(len(reply.Hops), wire.MaxTraceHops)]
	}
	if err == nil {
		// What strangers put into the DHT may not fit: that is no reason to
		// break the tunnel.
		if _, err = reply.Append(nil); err == nil {
			return reply
		}
	}
	switch {
	case errors.Is(err, ErrNotFound):
		failed.Reason = wire.ReasonNotFound
	case errors.Is(err, ErrStale):
		failed.Reason = wire.ReasonStale
	}
	return failed
}

// descriptor signs what this relay says of itself. Its end is a whole hour, so
// that it does not tell when the relay was asked.
func (n *Node) descriptor(now time.Time) wire.Descriptor {
	d := wire.Descriptor{
		Port:       n.cfg.Addrs[0].Port(),
		ValidUntil: now.Add(descriptorValid).Truncate(time.Hour).Unix(),
	}
	for _, a := range n.cfg.Addrs {
		if a.Addr().Is4() {
			d.V4 = a.Addr()
		} else {
			d.V6 = a.Addr()
		}
	}
	d.Sign(n.cfg.Key)
	return d
}

// extend joins the tunnel to a link towards the next hop. A nil stream without
// an error is a refusal that was said.
func (h *hop) extend(m *wire.HopMessage) (*stream, error) {
	n, start := h.node, time.Now()
	if out, err := h.reach(m); err == nil {
		h.next.Store(&onward{out: out, layers: int(m.Layers)})
		out.setSink((*backward)(h))
		if err := h.say(&wire.HopMessage{Type: wire.KXExtendReply}); err != nil {
			out.Close()
			return nil, err
		}
		return out, nil
	} else if errors.Is(err, ErrFull) { // ours to say, no secret
		return nil, h.refuse(m.Type, wire.ReasonFull)
	}
	select {
	case <-time.After(extendTimeout - time.Since(start)):
	case <-n.ctx.Done():
	}
	return nil, h.refuse(m.Type, wire.ReasonUnreachable)
}

// reach opens a tunnel to the next hop, if the client may ask for that.
func (h *hop) reach(m *wire.HopMessage) (*stream, error) {
	n := h.node
	if !n.allowed(m.Addr) || m.Relay == n.cfg.Key.ID() {
		return nil, ErrRefused
	}
	linked := n.links.has(linkKey{relay: m.Relay, host: m.Addr.Addr()})
	if !linked {
		own := &h.in.l.tries
		if _, ok := own.take(time.Now(), 1); !ok {
			return nil, ErrRefused
		}
		if _, ok := n.tries.take(time.Now(), 1); !ok {
			own.giveBack(1)
			return nil, ErrRefused
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, extendTimeout)
	defer cancel()
	out, err := n.openTunnel(ctx, m.Relay, []netip.AddrPort{m.Addr}, false)
	if err == nil && !linked {
		h.in.l.tries.giveBack(1)
		n.tries.giveBack(1)
	}
	return out, err
}

// pass carries bytes between the client and the next hop until either ends.
func (h *hop) pass(out *stream) error {
	var wg sync.WaitGroup
	end := func(why error) { h.in.destroyWith(reasonOf(why)) }
	wg.Go(func() { end(pump(h.tls, out)) })
	end(pump(paid{out}, h.tls))
	out.Close()
	wg.Wait()
	return nil
}

// pump copies until one side ends. A plain io.Copy would take 32 kB a side.
func pump(dst io.Writer, src io.Reader) error {
	var b [pipeBuffer]byte
	for {
		size, err := src.Read(b[:])
		if size > 0 {
			if _, err := dst.Write(b[:size]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// paid is a stream whose writes are what a relay does for others: handshakes, answers
// and what it carries. They go as fast as its quota lets them.
type paid struct{ *stream }

func (p paid) Write(b []byte) (int, error) {
	n := p.l.node
	if err := n.quota.stream(n.ctx, len(b), p.ended); err != nil {
		return 0, err
	}
	return p.stream.Write(b)
}

// takeVoice takes a cell from the client one layer further.
func (h *hop) takeVoice(c *wire.VoiceCell) {
	to, b := h.next.Load(), c.Body()
	if to == nil || h.opener.Open(b, to.layers+1) != nil || !h.node.quota.voice() {
		h.node.Traffic.VoiceDropped.Add(1)
		return
	}
	switch {
	case to.peer == nil:
		to.out.sendVoice(c)
	case to.peer.sealer.Seal(b, 0) != nil:
		h.node.Traffic.VoiceDropped.Add(1)
		return
	default:
		to.peer.in.sendVoice(c)
	}
	h.node.Traffic.VoiceForwarded.Add(1)
}

// backward is a hop as the sink of voice from the next hop.
type backward hop

// takeVoice adds our layer to a cell for the client.
func (b *backward) takeVoice(c *wire.VoiceCell) {
	h := (*hop)(b)
	to := h.next.Load()
	if to == nil || h.sealer.Seal(c.Body(), to.layers) != nil || !h.node.quota.voice() {
		h.node.Traffic.VoiceDropped.Add(1)
		return
	}
	h.in.sendVoice(c)
	h.node.Traffic.VoiceForwarded.Add(1)
}
