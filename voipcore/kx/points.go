package kx

import (
	"context"
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
	h *hop
	// joined gets the other side once it may be written to. It is closed
	// without one when whoever took the waiter could not splice it.
	joined chan *hop // of size 1: who joins does not wait for the callee's goroutine
	over   bool      // guarded by points.mu: its tunnel has ended, or spoke, while it was taken
}

// drop ends a waiter that was taken from the pool and is not spliced.
func (w *waiter) drop(r wire.Reason) {
	close(w.joined)
	w.h.in.destroyWith(r)
}

func (p *points) init(max int) {
	p.waiting = map[[16]byte][]*waiter{}
	p.joining = map[[16]byte][]chan *waiter{}
	p.left = max
}

// room reports whether add would find room now.
func (p *points) room(cookie [16]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left > 0 || len(p.waiting[cookie]) == maxSpares || len(p.joining[cookie]) > 0
}

// add enters w, or hands it to a JOIN that waits, and reports whether there was
// room and w is still good. When its callee has too many the oldest makes place.
func (p *points) add(cookie [16]byte, w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.over {
		return false
	}
	if js := p.joining[cookie]; len(js) > 0 {
		js[0] <- w // it has room for one, and leaves the list here
		p.setJoining(cookie, js[1:])
		return true
	}
	ws := p.waiting[cookie]
	switch {
	case len(ws) == maxSpares:
		defer ws[0].drop(wire.ReasonFull)
		ws = ws[1:]
	case p.left == 0:
		return false
	default:
		p.left--
	}
	p.waiting[cookie] = append(ws[:len(ws):len(ws)], w)
	return true
}

// await takes a waiting tunnel, or one that comes before ctx is done. It is
// nil if none came.
func (p *points) await(ctx context.Context, cookie [16]byte) *waiter {
	w, coming := p.take(cookie)
	if w != nil {
		return w
	}
	select {
	case w := <-coming:
		return w
	case <-ctx.Done():
		return p.forget(cookie, coming)
	}
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

// remove takes back w, and reports whether it still waited. If it did not, it
// does not get back into the pool.
func (p *points) remove(cookie [16]byte, w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.waiting[cookie] {
		if x == w {
			ws := p.waiting[cookie]
			p.setWaiting(cookie, append(ws[:i:i], ws[i+1:]...))
			p.left++
			return true
		}
	}
	w.over = true
	return false
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
	if !h.node.points.room(m.Cookie) {
		return h.refuse(m.Type, wire.ReasonFull)
	}
	w := &waiter{h: h, joined: make(chan *hop, 1)}
	// The reply goes first: once in the pool, the tunnel may be spliced.
	if err := h.say(&wire.HopMessage{Type: wire.KXRegisterReply}); err != nil {
		return err
	}
	if !h.node.points.add(m.Cookie, w) {
		return h.refuse(m.Type, wire.ReasonFull)
	}
	// The callee is silent until it was joined, so this also notices its end.
	var b [pipeBuffer]byte
	n, err := h.tls.Read(b[:])
	if h.node.points.remove(m.Cookie, w) {
		if err == nil {
			err = fmt.Errorf("%w: it spoke before it was joined", errProtocol)
		}
		return err
	}
	// It is out of the pool, so whoever took it sends here, or closes.
	peer := <-w.joined
	if peer == nil {
		return errDestroyed
	}
	if err == nil {
		_, err = peer.tls.Write(b[:n])
	}
	if err == nil {
		err = pump(peer.tls, h.tls)
	}
	h.in.destroyWith(reasonOf(err)) // first, for the peer's part destroys it, too
	peer.in.destroyWith(reasonOf(err))
	return err
}

// join splices the tunnel to one of the callee's.
func (h *hop) join(m *wire.HopMessage) error {
	ctx, cancel := context.WithTimeout(h.node.ctx, joinWait)
	defer cancel()
	for {
		w := h.node.points.await(ctx, m.Cookie)
		if w == nil {
			return h.refuse(m.Type, wire.ReasonNobody)
		}
		if h.in.ended() { // the caller left while it waited: the next one may have it
			if !h.node.points.add(m.Cookie, w) {
				w.drop(wire.ReasonFull)
			}
			return errDestroyed
		}
		h.next.Store(&onward{peer: w.h})
		w.h.next.Store(&onward{peer: h})
		// A tunnel whose end we do not know of yet fails here, or later in the
		// two ends' handshake: then the caller joins again.
		if w.h.say(&wire.HopMessage{Type: wire.KXReady}) != nil {
			w.drop(wire.ReasonDone)
			continue
		}
		if err := h.say(&wire.HopMessage{Type: wire.KXReady}); err != nil {
			w.drop(wire.ReasonDone)
			return err
		}
		w.joined <- h
		err := pump(w.h.tls, h.tls)
		h.in.destroyWith(reasonOf(err)) // first, likewise
		w.h.in.destroyWith(reasonOf(err))
		return err
	}
}
