// Package session joins caller and callee over a spliced tunnel: TLS 1.3 from
// end to end, the control messages in it, heartbeats, and the keys of their
// voice. Nobody on the way can read, change or add anything.
//
//	caller                                   callee
//	TLS: pins S, shows its pid  ---------->  certificate S, learns the caller's pid
//	HEART_BEAT (callee's pid)   ---------->  "am I this pid?"
//	                            <----------  HEART_BEAT_REPLY
//	messages, heartbeats and voice both ways
//
// The callee's certificate is the one-time key S of its record, so the exchange
// point, which could join the tunnel itself, learns S and nothing else: the
// callee says nothing until a HEART_BEAT has named its pid.
//
// It opens no connection and knows no calls: what the messages mean is package
// call's.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// alpn is the protocol's version.
const alpn = "hush-voip/1"

// Errors that end a session, for callers to branch on.
var (
	// ErrProtocol means that the far end broke the protocol: bytes that are no
	// message, a wrong pid, a heartbeat's answer that nobody asked for.
	ErrProtocol = errors.New("session: the far end broke the protocol")
	// ErrSilent means that the far end has not answered heartbeats.
	ErrSilent = errors.New("session: the far end does not answer")
	// ErrWrongPID means that the far end is not the voice module of the pid
	// that was dialled: it lacks the record's key S, or does not answer to that
	// pid, or, at the callee, somebody asked for another one.
	ErrWrongPID = errors.New("session: the far end is not the pid that was dialled")
	// ErrClosed means that Close was called, here or at the far end, which said
	// so under the session's keys: nobody on the way can cause it.
	ErrClosed = errors.New("session: closed")
	// ErrBroken means that the tunnel ended, stalled or was tampered with. The
	// call may go on over another one.
	ErrBroken = errors.New("session: the tunnel is broken")
)

// A Tunnel is what a session runs over: a stream, and voice frames beside it.
// *kx.Tunnel is one. The function given to OnVoice runs on the goroutine that
// reads the network.
type Tunnel interface {
	net.Conn
	SendVoice(*wire.Frame) error
	OnVoice(func(*wire.Frame))
}

// Options tune a session. The zero value is the protocol's.
type Options struct {
	HeartBeat time.Duration // between heartbeats; 5 s
	Misses    int           // heartbeats in a row without an answer that end the session; 3
	// Stall is how long one message may take to be sent: 10 s.
	Stall time.Duration
}

func (o Options) filled() Options {
	if o.HeartBeat <= 0 {
		o.HeartBeat = 5 * time.Second
	}
	if o.Misses <= 0 {
		o.Misses = 3
	}
	if o.Stall <= 0 {
		o.Stall = 10 * time.Second
	}
	return o
}

// A Session is one end of an established session. Receive is for one
// goroutine, SendVoice for one; the rest is safe for concurrent use.
//
// It owns the goroutine beat, which ends when the session is closed.
type Session struct {
	tunnel Tunnel
	conn   *tls.Conn
	opts   Options
	caller pid.ID
	callee pid.ID
	far    pid.ID
	callID [16]byte
	kex    string
	voice  voice

	unanswered atomic.Int32 // heartbeats of ours without an answer

	// sending holds the one that writes a message, for Stall at most. It is a
	// channel, so that who waits for it can give up when the session ends.
	sending chan struct{}

	// cut is set when the tunnel's stream ended: an end of file that TLS tells
	// of then was not said by the far end.
	cut atomic.Bool

	mu   sync.Mutex // guards err
	err  error      // why the session ended; nil while it stands
	done chan struct{}
	wg   sync.WaitGroup
}

func newSession(t Tunnel, o Options) *Session {
	return &Session{tunnel: t, opts: o.filled(), sending: make(chan struct{}, 1), done: make(chan struct{})}
}

// A stream is a tunnel's stream as TLS sees it, watched for its end.
type stream struct {
	net.Conn
	cut *atomic.Bool
}

func (s stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err != nil {
		s.cut.Store(true)
	}
	return n, err
}

// Dial opens a session to far over a tunnel whose other end holds the one-time
// key s, and proves that own is calling. It takes the tunnel over: closing the
// session closes it, and on error it is closed.
func Dial(ctx context.Context, t Tunnel, own *pid.Key, far, s pid.ID, o Options) (*Session, error) {
	cert, err := keytls.Certificate(own)
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("session: %w", err)
	}
	se := newSession(t, o)
	se.caller, se.callee, se.far = own.ID(), far, far
	se.conn = tls.Client(stream{t, &se.cut}, keytls.Client(alpn, &s, &cert))
	err = se.open(ctx, true, func() error {
		if err := se.write(se.request(wire.HeartBeat)); err != nil {
			return err
		}
		m, err := se.read()
		switch {
		case err != nil:
			return err
		case m.Type != wire.HeartBeatReply || m.PID != se.caller:
			return fmt.Errorf("%w: %v before the first heartbeat's answer", ErrProtocol, m.Type)
		case !m.OK:
			return ErrWrongPID
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return se, nil
}

// Accept answers a session on a tunnel that somebody has joined. s is the key
// of the record that led them there, own the pid that it belongs to. It returns
// when the caller has proved its pid and named own in a HEART_BEAT; until then
// nothing is said but what TLS needs. It takes the tunnel over, as Dial does.
func Accept(ctx context.Context, t Tunnel, s *pid.Key, own pid.ID, o Options) (*Session, error) {
	cert, err := keytls.Certificate(s)
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("session: %w", err)
	}
	se := newSession(t, o)
	se.callee = own
	se.conn = tls.Server(stream{t, &se.cut}, keytls.Server(alpn, cert, tls.RequireAnyClientCert))
	err = se.open(ctx, false, func() error {
		m, err := se.read()
		switch {
		case err != nil:
			return err
		case m.Type != wire.HeartBeat:
			return fmt.Errorf("%w: %v before the first heartbeat", ErrProtocol, m.Type)
		case m.PID != own:
			return ErrWrongPID // and not a word: who asks does not know who we are
		}
		return se.write(se.reply(wire.HeartBeatReply, true))
	})
	if err != nil {
		return nil, err
	}
	return se, nil
}

// open runs the handshake and then prove, and starts the session. When ctx
// ends before, the tunnel is closed.
func (s *Session) open(ctx context.Context, dialed bool, prove func() error) error {
	stop := context.AfterFunc(ctx, func() { s.tunnel.Close() })
	err := s.conn.HandshakeContext(ctx)
	if err == nil {
		cs := s.conn.ConnectionState()
		if !dialed {
			s.far, _ = keytls.PeerKey(&cs)
			s.caller = s.far
			// Anybody can sign for a key of small order, TLS does not mind.
			if _, weak := pid.FromPublic(s.far.Public()); weak != nil {
				err = fmt.Errorf("%w: %v", ErrProtocol, weak)
			}
		}
		if err == nil {
			err = s.export(&cs, dialed)
		}
		if err == nil {
			err = prove()
		}
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.tunnel.Close()
		if ctx.Err() != nil {
			return fmt.Errorf("session: %w", ctx.Err())
		}
		return s.reason(err)
	}
	s.tunnel.OnVoice(s.voice.take)
	s.wg.Go(s.beat)
	return nil
}

// export derives call id and voice keys from the handshake.
func (s *Session) export(cs *tls.ConnectionState, dialed bool) error {
	id, err := cs.ExportKeyingMaterial("hushbell call id", nil, len(s.callID))
	if err != nil {
		return err
	}
	keys, err := cs.ExportKeyingMaterial("hushbell voice", nil, 2*wire.KeySize)
	if err != nil {
		return err
	}
	s.callID, s.kex = [16]byte(id), cs.CurveID.String()
	there, back := (*[wire.KeySize]byte)(keys), (*[wire.KeySize]byte)(keys[wire.KeySize:])
	if !dialed {
		there, back = back, there
	}
	s.voice.sealer = wire.NewFrameSealer(there, s.callee)
	s.voice.opener = wire.NewFrameOpener(back, s.callee)
	return nil
}

// Far returns the pid that the far end has proved to hold; Own is the other one.
func (s *Session) Far() pid.ID { return s.far }

// Own returns our pid in this session.
func (s *Session) Own() pid.ID {
	if s.far == s.caller {
		return s.callee
	}
	return s.caller
}

// CallID returns what both ends know this call by, and nobody else.
func (s *Session) CallID() [16]byte { return s.callID }

// KeyExchange names what the handshake agreed its keys by.
func (s *Session) KeyExchange() string { return s.kex }

func (s *Session) request(t wire.Type) wire.Message { return wire.Message{Type: t, PID: s.callee} }

func (s *Session) reply(t wire.Type, ok bool) wire.Message {
	return wire.Message{Type: t, PID: s.caller, OK: ok}
}

// Send sends a message; its PID is set to what the seed wants: the callee's in
// a request, the caller's in a reply. It blocks while the tunnel is slow, for
// Stall at most. A message that has no encoding is refused with an error of
// package wire; any other error has ended the session.
func (s *Session) Send(m wire.Message) error {
	m.PID = s.callee
	if m.Type.Reply() {
		m.PID = s.caller
	}
	var room [wire.MaxMessageSize]byte
	b, err := m.Append(room[:0])
	if err != nil {
		return fmt.Errorf("session: send: %w", err)
	}
	if err := s.writeBytes(b); err != nil {
		return s.end(err)
	}
	return nil
}

func (s *Session) write(m wire.Message) error {
	var room [wire.MaxMessageSize]byte
	b, err := m.Append(room[:0])
	if err != nil {
		return err
	}
	return s.writeBytes(b)
}

func (s *Session) writeBytes(b []byte) error {
	select {
	case s.sending <- struct{}{}:
	case <-s.done:
		return ErrClosed // end knows better, and returns that
	}
	defer func() { <-s.sending }()
	s.conn.SetWriteDeadline(time.Now().Add(s.opts.Stall))
	_, err := s.conn.Write(b)
	return err
}

// Receive returns the next message that is no heartbeat. Its error has ended
// the session, and is the same from then on.
func (s *Session) Receive() (wire.Message, error) {
	for {
		m, err := s.read()
		if err == nil {
			err = s.check(m)
		}
		if err != nil {
			return wire.Message{}, s.end(err)
		}
		switch m.Type {
		case wire.HeartBeat:
			if err := s.write(s.reply(wire.HeartBeatReply, true)); err != nil {
				return wire.Message{}, s.end(err)
			}
		case wire.HeartBeatReply:
		default:
			return m, nil
		}
	}
}

// check judges what is wrong with a message whatever the call's state is.
func (s *Session) check(m wire.Message) error {
	want := s.callee
	if m.Type.Reply() {
		want = s.caller
	}
	if m.PID != want {
		return fmt.Errorf("%w: %v with a pid that is not this session's", ErrProtocol, m.Type)
	}
	if m.Type == wire.HeartBeatReply {
		if !m.OK {
			return ErrWrongPID
		}
		if s.unanswered.Add(-1) < 0 {
			return fmt.Errorf("%w: %v that nobody asked for", ErrProtocol, m.Type)
		}
	}
	return nil
}

func (s *Session) read() (wire.Message, error) { return readMessage(s.conn) }

// readMessage reads one message, whose form alone is checked.
func readMessage(r io.Reader) (wire.Message, error) {
	var b [wire.MaxMessageSize]byte
	if _, err := io.ReadFull(r, b[:wire.MessageHeaderSize]); err != nil {
		return wire.Message{}, err
	}
	size, err := wire.MessageSize((*[wire.MessageHeaderSize]byte)(b[:]))
	if err != nil {
		return wire.Message{}, fmt.Errorf("%w: %v", ErrProtocol, err)
	}
	if _, err := io.ReadFull(r, b[wire.MessageHeaderSize:size]); err != nil {
		return wire.Message{}, err
	}
	m, err := wire.DecodeMessage(b[:size])
	if err != nil {
		return wire.Message{}, fmt.Errorf("%w: %v", ErrProtocol, err)
	}
	return m, nil
}

// beat sends heartbeats until the session ends, and ends it when they stay
// unanswered.
func (s *Session) beat() {
	tick := time.NewTicker(s.opts.HeartBeat)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
		}
		if int(s.unanswered.Load()) >= s.opts.Misses {
			s.end(ErrSilent)
			return
		}
		s.unanswered.Add(1)
		if err := s.write(s.request(wire.HeartBeat)); err != nil {
			s.end(err)
			return
		}
	}
}

// end ends the session for a reason, unless it has ended before, and returns
// the reason that counts. It does not wait.
func (s *Session) end(why error) error {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = s.reason(why)
		close(s.done)
	}
	why = s.err
	s.mu.Unlock()
	if first {
		s.tunnel.Close()
	}
	return why
}

// reason makes of an error one that callers can branch on.
func (s *Session) reason(err error) error {
	switch {
	case errors.Is(err, ErrProtocol), errors.Is(err, ErrWrongPID), errors.Is(err, ErrSilent), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, keytls.ErrKey):
		return fmt.Errorf("%w: %v", ErrWrongPID, err)
	case errors.Is(err, io.EOF) && !s.cut.Load():
		return ErrClosed
	}
	return fmt.Errorf("%w: %v", ErrBroken, err)
}

// closeTimeout is how long Close may take to say goodbye.
const closeTimeout = time.Second

// Close says goodbye, if the tunnel takes it within a second, and ends the
// session. It waits for its goroutine, is safe twice, and wakes Receive and
// Send. No handler of OnVoice is started afterwards; one that runs may still be
// running.
func (s *Session) Close() error {
	s.voice.handler.Store(nil)
	late := time.NewTimer(closeTimeout)
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C: // a message is stuck: so would be the goodbye
	case s.sending <- struct{}{}:
		stuck := time.AfterFunc(closeTimeout, func() { s.tunnel.Close() })
		s.conn.CloseWrite()
		stuck.Stop()
		<-s.sending
	}
	s.end(ErrClosed)
	s.wg.Wait()
	return nil
}
