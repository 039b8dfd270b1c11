package kx

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"
	"time"

	"hushbell/voipcore/wire"
)

const (
	// maxSpares is how many tunnels of one callee may wait; a further one
	// takes the place of the oldest, which may be dead without our knowing.
	maxSpares = 8
	// joinWait is how long a JOIN waits for a tunnel of the callee's.
	joinWait = 2 * time.Second
)

// Cookie returns the cookie that belongs to an exchange point's secret: what a
// callee publishes, and a caller shows.
func Cookie(secret *[32]byte) [16]byte {
	h := sha256.Sum256(secret[:])
	return [16]byte(h[:])
}

// points are the tunnels that wait at this exchange point, by cookie.
type points struct {
	mu      sync.Mutex // guards what follows
	waiting map[[16]byte][]*waiter
	joining map[[16]byte][]chan *waiter // JOINs that wait, oldest first
	left    int                         // registrations that may still be taken
}

// A waiter is one registered tunnel.
type waiter struct {
	h       *hop
	spliced chan struct{} // closed when the other side may be written to
	peer    *hop          // set before spliced is closed
}

func (p *points) init(max int) {
	p.waiting = map[[16]byte][]*waiter{}
	p.joining = map[[16]byte][]chan *waiter{}
	p.left = max
}

// add enters w, or hands it to a JOIN that waits. It returns the tunnel that
// had to make place, if any; ok is false when the limit is reached.
func (p *points) add(cookie [16]byte, w *waiter) (old *waiter, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if js := p.joining[cookie]; len(js) > 0 {
		js[0] <- w // it has room for one, and leaves the list here
		p.setJoining(cookie, js[1:])
		return nil, true
	}
	ws := p.waiting[cookie]
	if len(ws) == maxSpares {
		old, ws = ws[0], ws[1:]
	} else if p.left == 0 {
		return nil, false
	} else {
		p.left--
	}
	p.waiting[cookie] = append(ws[:len(ws):len(ws)], w)
	return old, true
}

// take returns the newest waiting tunnel, the one most surely alive. If there
// is none it returns a channel that one will be sent on.
func (p *points) take(cookie [16]byte) (*waiter, chan *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ws := p.waiting[cookie]; len(ws) > 0 {
		w := ws[len(ws)-1]
		p.setWaiting(cookie, ws[:len(ws)-1])
		p.left++
		return w, nil
	}
	c := make(chan *waiter, 1)
	p.joining[cookie] = append(p.joining[cookie], c)
	return nil, c
}

// remove takes back w, which ended before somebody joined it.
func (p *points) remove(cookie [16]byte, w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.waiting[cookie] {
		if x == w {
			ws := p.waiting[cookie]
			p.setWaiting(cookie, append(ws[:i:i], ws[i+1:]...))
			p.left++
			return
		}
	}
}

// forget takes back a JOIN that no longer waits. It returns the tunnel that
// came in the same moment, if any.
func (p *points) forget(cookie [16]byte, c chan *waiter) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	js := p.joining[cookie]
	for i, x := range js {
		if x == c {
			p.setJoining(cookie, append(js[:i:i], js[i+1:]...))
			return nil
		}
	}
	return <-c
}

func (p *points) setWaiting(cookie [16]byte, ws []*waiter) {
	if p.waiting[cookie] = ws; len(ws) == 0 {
		delete(p.waiting, cookie)
	}
}

func (p *points) setJoining(cookie [16]byte, js []chan *waiter) {
	if p.joining[cookie] = js; len(js) == 0 {
		delete(p.joining, cookie)
	}
}

// register puts the tunnel into the pool of a cookie and carries its bytes
// once somebody has joined it.
func (h *hop) register(m *wire.HopMessage) error {
	own := Cookie(&m.Secret)
	if subtle.ConstantTimeCompare(own[:], m.Cookie[:]) != 1 {
		return h.refuse(m.Type, wire.ReasonRefused)
	}
	w := &waiter{h: h, spliced: make(chan struct{})}
	// The reply goes first: once in the pool, the tunnel may be spliced.
	if err := writeHopMessage(h.tls, &wire.HopMessage{Type: wire.KXRegisterReply}); err != nil {
		return err
	}
	old, ok := h.node.points.add(m.Cookie, w)
	if !ok {
		return h.refuse(m.Type, wire.ReasonFull)
	}
	if old != nil {
		old.h.in.destroyWith(wire.ReasonFull)
	}
	defer h.node.points.remove(m.Cookie, w)

	// The callee is silent until it was spliced, so this also notices its end.
	var b [pipeBuffer]byte
	n, err := h.tls.Read(b[:])
	if err != nil {
		return err
	}
	select {
	case <-w.spliced:
	default:
		return fmt.Errorf("%w: it spoke before it was joined", errProtocol)
	}
	defer w.peer.in.Close()
	if _, err := w.peer.tls.Write(b[:n]); err != nil {
		return err
	}
	pump(w.peer.tls, h.tls)
	return nil
}

// join splices the tunnel to one of the callee's.
func (h *hop) join(m *wire.HopMessage) error {
	timeout := time.NewTimer(joinWait)
	defer timeout.Stop()
	for {
		w, coming := h.node.points.take(m.Cookie)
		if w == nil {
			select {
			case w = <-coming:
			case <-timeout.C:
				w = h.node.points.forget(m.Cookie, coming)
			case <-h.node.ctx.Done():
				return ErrClosed
			}
		}
		if w == nil {
			return h.refuse(m.Type, wire.ReasonNobody)
		}
		// A tunnel whose end we do not know of yet fails here, or later in the
		// two ends' handshake: then the caller joins again.
		w.peer = h
		h.next.Store(&onward{peer: w.h})
		w.h.next.Store(&onward{peer: h})
		if writeHopMessage(w.h.tls, &wire.HopMessage{Type: wire.KXReady}) != nil {
			w.h.in.Close()
			continue
		}
		defer w.h.in.Close()
		if err := writeHopMessage(h.tls, &wire.HopMessage{Type: wire.KXReady}); err != nil {
			return err
		}
		close(w.spliced)
		pump(w.h.tls, h.tls)
		return nil
	}
}
