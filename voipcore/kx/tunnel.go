package kx

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// A Relay is a node that a tunnel can go through: its key, and its addresses
// in the order in which they are to be tried. EXTEND uses the first.
type Relay struct {
	Key   pid.ID
	Addrs []netip.AddrPort
}

// A layer is the voice keys that a client shares with one hop.
type layer struct {
	sealer *wire.LayerSealer
	opener *wire.LayerOpener
}

// A Tunnel is a client's tunnel through 1 to 3 hops. At first its last hop can
// be asked things; after Ready it is a net.Conn to the far end, with voice
// beside it. One goroutine may read and one may write; requests are for one
// goroutine at a time.
//
// An error, and a context that is done, end the tunnel: there is no telling
// what its last hop has understood. It is to be closed in any case.
type Tunnel struct {
	node   *Node
	first  *stream
	conn   net.Conn // TLS with the last hop, inside that with the hop before
	layers [wire.MaxLayers]layer
	hops   int
	path   []Relay
	kex    string

	out     wire.VoiceCell // owned by whoever calls SendVoice
	onVoice atomic.Pointer[func(*wire.Frame)]
	buf     [wire.MaxHopMessageSize]byte
}

// A HopError says at which hop building a tunnel failed.
type HopError struct {
	Key pid.ID // the hop's
	Hop int    // from 1
	Err error
}

func (e *HopError) Error() string { return fmt.Sprintf("kx: hop %d: %v", e.Hop, e.Err) }
func (e *HopError) Unwrap() error { return e.Err }

// Build builds a tunnel through the relays of path, 1 to 3 of them. A hop that
// fails is named by a *HopError.
func (n *Node) Build(ctx context.Context, path []Relay) (*Tunnel, error) {
	if len(path) < 1 || len(path) > wire.MaxLayers {
		return nil, fmt.Errorf("kx: a tunnel of %d hops: 1 to %d can be built", len(path), wire.MaxLayers)
	}
	for _, r := range path {
		if len(r.Addrs) == 0 {
			return nil, fmt.Errorf("%w: no address", ErrUnreachable)
		}
	}
	if slices.ContainsFunc(path[0].Addrs, func(a netip.AddrPort) bool { return !n.allowed(a) }) {
		return nil, ErrNotRoutable // a stranger's record, with one hop, must not have us dial into our own network
	}
	first, err := n.openTunnel(ctx, path[0].Key, path[0].Addrs, true)
	if err != nil {
		return nil, &HopError{path[0].Key, 1, err}
	}
	t := &Tunnel{node: n, first: first, conn: first}
	for i, r := range path {
		if i > 0 {
			_, err = t.request(ctx, &wire.HopMessage{
				Type: wire.KXExtend, Relay: r.Key, Addr: r.Addrs[0], Layers: uint8(len(path) - i),
			}, wire.KXExtendReply)
		}
		if err == nil {
			err = t.addHop(ctx, r)
		}
		if err == nil && r.Key != (pid.ID{}) && !n.cfg.Clock.Trusted() {
			err = t.askTime(ctx, r)
		}
		if err != nil {
			t.Close()
			return nil, &HopError{r.Key, i + 1, err}
		}
	}
	first.setSink(t)
	return t, nil
}

// hopTimeout bounds the handshake with one hop: a round trip, through two more
// links at most. A relay that lost its power looks like this to its neighbours
// until their links to it have been silent for long, and a call that is being
// set up can meet it more than once.
const hopTimeout = 5 * time.Second

// addHop runs TLS with the hop that the tunnel now reaches.
func (t *Tunnel) addHop(ctx context.Context, r Relay) error {
	limit, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	far := &r.Key
	if r.Key == (pid.ID{}) {
		far = nil
	}
	conn := tls.Client(t.conn, keytls.Client(alpnHop, far, nil))
	// Not HandshakeContext: it would close the TLS underneath, whose good bye
	// waits for a hop that may be dead.
	stop := context.AfterFunc(limit, func() { t.Close() })
	err := conn.Handshake()
	switch stopped := stop(); {
	case ctx.Err() != nil:
		return fmt.Errorf("kx: %w", ctx.Err())
	case err != nil:
		return t.brokenBy(err)
	case !stopped:
		return t.brokenBy(limit.Err())
	}
	cs := conn.ConnectionState()
	there, back, err := exportKeys(&cs, "hushbell layer")
	if err != nil {
		return err
	}
	t.layers[t.hops] = layer{wire.NewLayerSealer(there), wire.NewLayerOpener(back)}
	t.hops++
	r.Key, _ = keytls.PeerKey(&cs)
	t.conn, t.path, t.kex = conn, append(t.path, r), cs.CurveID.String()
	return nil
}

// askTime asks the hop just reached for its clock, as long as ours is not to
// be trusted. What it tells goes to the clock, which wants several networks.
func (t *Tunnel) askTime(ctx context.Context, r Relay) error {
	m, err := t.request(ctx, &wire.HopMessage{Type: wire.KXDescribe}, wire.KXDescriptor)
	if err == nil {
		at := r.Addrs[0] // as the hop before was told to dial it
		if t.hops == 1 {
			at = t.first.l.remote // as we did
		}
		t.node.cfg.Clock.Told(at, time.Unix(m.Time, 0))
	}
	return err
}

// Path returns the relays of the tunnel, first hop first, with the keys that
// they proved.
func (t *Tunnel) Path() []Relay { return t.path }

// KeyExchange names what the TLS with the last hop agreed its keys by.
func (t *Tunnel) KeyExchange() string { return t.kex }

// VoiceOverTCP reports whether voice takes the TCP link to the first hop,
// since UDP does not pass there.
func (t *Tunnel) VoiceOverTCP() bool { return !t.first.l.udp.passes(time.Now()) }

// requestTimeout bounds the wait for one answer: a lookup takes a hop dhtTimeout at
// most, an EXTEND less, and both have a way there and back. Padding keeps the link of
// a relay that never answers, so nothing else would end the wait.
const requestTimeout = 30 * time.Second

// request sends m to the last hop and waits for its answer, which must be of
// type want.
func (t *Tunnel) request(ctx context.Context, m *wire.HopMessage, want wire.Type) (*wire.HopMessage, error) {
	limit, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stop := context.AfterFunc(limit, func() { t.Close() })
	defer stop()
	err := writeHopMessage(t.conn, m)
	var reply *wire.HopMessage
	if err == nil {
		reply, err = readHopMessage(t.conn, &t.buf)
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("kx: %v: %w", m.Type, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("%w: %v", t.brokenBy(err), m.Type)
	case reply.Type == want:
		return reply, nil
	case (reply.Type == wire.KXError || reply.Type == wire.DHTError) && reply.Request == m.Type:
		return nil, fmt.Errorf("%w: %v", reasonError(reply.Reason), m.Type)
	}
	t.Close()
	return nil, fmt.Errorf("%w: %v answered by %v", ErrUnreachable, m.Type, reply.Type)
}

// brokenBy is what an error of the tunnel's own stream means to a caller: a
// limit somewhere on the way, or that there is no way.
func (t *Tunnel) brokenBy(err error) error {
	if errors.Is(err, ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %v", ErrUnreachable, err)
}

// reasonError is what a hop's refusal means to a caller.
func reasonError(r wire.Reason) error {
	switch r {
	case wire.ReasonFull:
		return ErrFull
	case wire.ReasonNobody:
		return ErrNobody
	case wire.ReasonNotFound:
		return ErrNotFound
	case wire.ReasonStale:
		return ErrStale
	case wire.ReasonUnreachable:
		return ErrUnreachable
	}
	return ErrRefused
}

// Describe asks the last hop for its descriptor, whose signature, time and key
// are checked: the key is the one that the hop has proved to hold.
func (t *Tunnel) Describe(ctx context.Context) (wire.Descriptor, error) {
	m, err := t.request(ctx, &wire.HopMessage{Type: wire.KXDescribe}, wire.KXDescriptor)
	if err != nil {
		return wire.Descriptor{}, err
	}
	last := t.path[t.hops-1]
	// Judged by the relay's own clock: ours may be the wrong one. Our clock is
	// not told: if the key was not known before, the hop before last may speak
	// for whatever address it likes.
	if err := m.Descriptor.Verify(time.Unix(m.Time, 0)); err != nil {
		return wire.Descriptor{}, fmt.Errorf("kx: %w", err)
	}
	if m.Descriptor.Key != last.Key {
		return wire.Descriptor{}, fmt.Errorf("%w: descriptor of another relay", ErrRefused)
	}
	return m.Descriptor, nil
}

// recordTTL is how long the DHT's nodes keep a record, and replication on how
// many of them it should lie.
const (
	recordTTL   = 2 * time.Hour
	replication = 8
)

// Put has the last hop put a signed item into the DHT, and returns how many
// nodes took it.
func (t *Tunnel) Put(ctx context.Context, item wire.Item) (stored int, err error) {
	m, err := t.request(ctx, &wire.HopMessage{
		Type: wire.DHTPut, Item: item, TTL: uint16(recordTTL / time.Second), Replication: replication,
	}, wire.DHTPutReply)
	if err != nil {
		return 0, err
	}
	return int(m.Replication), nil
}

// Get has the last hop get an item from the DHT. The item is whatever that hop
// says: its signature is the caller's to check.
func (t *Tunnel) Get(ctx context.Context, key [32]byte) (wire.Item, error) {
	m, err := t.request(ctx, &wire.HopMessage{Type: wire.DHTGet, Key: key}, wire.DHTGetReply)
	if err != nil {
		return wire.Item{}, err
	}
	if m.Item.Key != key {
		return wire.Item{}, fmt.Errorf("%w: item under another key", ErrRefused)
	}
	return m.Item, nil
}

// Trace has the last hop name the nodes on the way to a target, closest first.
func (t *Tunnel) Trace(ctx context.Context, target [32]byte) ([]wire.TraceHop, error) {
	m, err := t.request(ctx, &wire.HopMessage{Type: wire.DHTTrace, Key: target}, wire.DHTTraceReply)
	if err != nil {
		return nil, err
	}
	return m.Hops, nil
}

// BuildIn builds a tunnel whose last relay is an exchange point, and registers
// it there under the cookie of secret. It then waits there: see Ready.
func (n *Node) BuildIn(ctx context.Context, path []Relay, secret [32]byte) (*Tunnel, error) {
	t, err := n.Build(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := t.register(ctx, Cookie(&secret), secret); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Tunnel) register(ctx context.Context, cookie [16]byte, secret [32]byte) error {
	_, err := t.request(ctx, &wire.HopMessage{Type: wire.KXRegister, Cookie: cookie, Secret: secret}, wire.KXRegisterReply)
	return err
}

// Ready waits until a caller has joined the registered tunnel. From then on it
// is a stream and a datagram pipe between the two.
func (t *Tunnel) Ready(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { t.Close() })
	defer stop()
	m, err := readHopMessage(t.conn, &t.buf)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return t.brokenBy(err)
	case m.Type == wire.KXError:
		return fmt.Errorf("%w: %v", reasonError(m.Reason), m.Request)
	case m.Type != wire.KXReady:
		t.Close()
		return fmt.Errorf("%w: %v while waiting", ErrUnreachable, m.Type)
	}
	return nil
}

// BuildOut builds a tunnel whose last relay is a callee's exchange point and
// joins it to one of the callee's. What it returns is ready.
func (n *Node) BuildOut(ctx context.Context, path []Relay, cookie [16]byte) (*Tunnel, error) {
	t, err := n.Build(ctx, path)
	if err != nil {
		return nil, err
	}
	if _, err := t.request(ctx, &wire.HopMessage{Type: wire.KXJoin, Cookie: cookie}, wire.KXReady); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// NewSecret returns a fresh secret for an exchange point.
func NewSecret() (s [32]byte) {
	rand.Read(s[:])
	return s
}

// Close destroys the tunnel (the course's TN_DESTROY). It is safe twice and
// from any goroutine, wakes whoever reads or writes, and does not wait.
func (t *Tunnel) Close() error { return t.first.Close() }

// Read, Write and the deadlines are those of a net.Conn. The addresses say
// nothing: neither side knows where the other is.
func (t *Tunnel) Read(p []byte) (int, error) { return t.conn.Read(p) }

func (t *Tunnel) Write(p []byte) (int, error)        { return t.conn.Write(p) }
func (t *Tunnel) LocalAddr() net.Addr                { return tunnelAddr{} }
func (t *Tunnel) RemoteAddr() net.Addr               { return tunnelAddr{} }
func (t *Tunnel) SetDeadline(d time.Time) error      { return t.conn.SetDeadline(d) }
func (t *Tunnel) SetReadDeadline(d time.Time) error  { return t.conn.SetReadDeadline(d) }
func (t *Tunnel) SetWriteDeadline(d time.Time) error { return t.conn.SetWriteDeadline(d) }

var _ net.Conn = (*Tunnel)(nil)

// SendVoice wraps an end-to-end sealed frame in the layers of all hops and
// sends it. It is for one goroutine at a time, does not block or allocate, and
// keeps nothing. An error means that the tunnel's keys are used up; a frame
// that gets lost on the way is none.
func (t *Tunnel) SendVoice(f *wire.Frame) error {
	b := t.out.Body()
	clear(b[copy(b[:], f[:]):])
	for i := range t.hops {
		if err := t.layers[t.hops-1-i].sealer.Seal(b, i); err != nil {
			return err
		}
	}
	t.first.sendVoice(&t.out)
	return nil
}

// OnVoice sets who takes the frames that arrive. It runs on the goroutine that
// reads the network: it may change the frame, and must neither block nor keep
// it. Frames that arrive before are dropped.
func (t *Tunnel) OnVoice(take func(*wire.Frame)) { t.onVoice.Store(&take) }

// takeVoice takes all layers off a cell that arrived.
func (t *Tunnel) takeVoice(c *wire.VoiceCell) {
	b := c.Body()
	for i := range t.hops {
		if t.layers[i].opener.Open(b, t.hops-i) != nil {
			t.node.Traffic.VoiceDropped.Add(1)
			return
		}
	}
	take := t.onVoice.Load()
	if take == nil {
		t.node.Traffic.VoiceDropped.Add(1)
		return
	}
	t.node.Traffic.VoiceReceived.Add(1)
	(*take)(wire.FrameFromBody(b))
}
