// Package voipcore is the voice protocol as one thing to open, to call and be
// called with, and to close. It joins the packages below it by the words of the
// seed: a node in the network of relays (kx, dht), a presence for each pid of
// ours (exchange points, and the record that names them), and calls.
//
// It does not know buttons, sound cards or contacts: whoever opens it says who
// is welcome, is told what happens, and carries sound in and out.
//
//	Open -> discover relays -> exchange points, record (presence.go)
//	Call -> lookup (lookup.go) -> tunnel -> session -> call.Call (switchboard.go)
package voipcore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/clock"
	"hushbell/voipcore/dht"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/session"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/wire"
)

// A Network opens what a Core needs of the world: sockets, or simnet.
type Network interface {
	Listen(at netip.AddrPort) (net.Listener, error)
	ListenUDP(at netip.AddrPort) (kx.PacketConn, error)
	Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// A Config says what a Core is. A relay needs RelayKey and Listen, a box Keys;
// one Core can be both.
type Config struct {
	// State is the folder for what survives restarts: the cache of relays, the
	// DHT's table, sequence numbers. "" keeps all in memory.
	State string

	// Bootstrap are addresses of relays to begin with at a first start.
	Bootstrap []netip.AddrPort

	// Keys are the pids of ours that others can call. Each makes known where
	// it can be reached, and answers for itself.
	Keys []*pid.Key

	// Hops of each tunnel, 1 to 3; 0 is 3. Fewer than 3 gives up anonymity.
	Hops int

	// Listen is the address of the sockets. The zero value is any port of
	// all addresses, for UDP only; a relay needs one.
	Listen netip.AddrPort

	// RelayKey makes the Core a relay for others. Advertise are the addresses
	// under which they reach it; none means Listen, if that is one address.
	RelayKey  *pid.Key
	Advertise []netip.AddrPort
	Limits    kx.Limits

	// TestNetwork is for swarms on one machine or in a private range: see
	// kx.Config.
	TestNetwork bool

	// Welcome says what to do with a call from a pid; nil refuses all. Notify
	// is told what happens. Both are called on one goroutine of the Core and
	// must not block or call its methods.
	Welcome func(from pid.ID) Welcome
	Notify  func(Event)

	// NewEncoder makes the voice encoder of a call: packets of so many bytes
	// for 20 ms of 48 kHz mono. Needed to talk.
	NewEncoder func(packetBytes int) (voice.Encoder, error)

	Rules   call.Rules           // times and tries of calls
	Session session.Options      // heartbeats
	Network Network              // nil is the machine's own sockets
	Wall    func() time.Time     // the system clock; nil is time.Now
	Asleep  func() time.Duration // for how long the machine was suspended; nil asks the kernel
	Build   time.Time            // when the program was built: the time is later than this
	Log     *slog.Logger         // nil discards
}

// A Welcome says what becomes of a call that comes in.
type Welcome uint8

// The ways to receive a caller.
const (
	Decline Welcome = iota // refuse: the caller hears "declined"
	Ring                   // until somebody answers
	Admit                  // answer by itself
	Silent                 // the caller sees a box that rings and is not answered
)

// A Core is a node of the network with its pids and calls. Its methods are
// safe for concurrent use.
//
// It owns the goroutines stayOnline, leaveAddresses and, of a relay, tellJoined, one
// presence for each key, one for the switchboard, and those of its calls. All end, and
// all timers are stopped, before Close returns.
type Core struct {
	cfg    Config
	log    *slog.Logger
	clock  *clock.Clock
	relays *kx.Directory
	node   *kx.Node
	dht    *dht.Node // of a relay; nil for a box
	seqs   *seqs
	board  *switchboard
	talk   atomic.Pointer[talk] // the call that has the sound; nil for none

	guests chan struct{} // places for handshakes of callers; a full one turns the next away
	lost   chan struct{} // of size 1: no relay that we know seems to be left

	packets kx.PacketConn
	krpc    atomic.Pointer[dht.Inbox] // where KRPC packets go; nil for nowhere

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex // guards what follows
	presences map[pid.ID]bool
	online    bool
	unsaved   map[string]bool // what could last not be saved

	closeOnce sync.Once
	closeErr  error
}

// ErrClosed means that the Core is closed.
var ErrClosed = errors.New("voipcore: closed")

// Open starts a Core. It returns as soon as the sockets are open: that it is
// reachable is told by an Event.
func Open(cfg Config) (*Core, error) { return open(cfg, nil) }

// open is Open with what does lookups for others in place of our DHT, for tests.
func open(cfg Config, lookups func(*Core) kx.DHT) (*Core, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Core{
		cfg: cfg, log: cfg.Log, presences: map[pid.ID]bool{}, unsaved: map[string]bool{},
		guests: make(chan struct{}, maxGuests), lost: make(chan struct{}, 1),
	}
	var err error
	var self pid.ID
	if cfg.RelayKey != nil {
		self = cfg.RelayKey.ID()
	}
	if c.relays, err = kx.OpenDirectory(cfg.file("relays"), cfg.TestNetwork, self); err != nil {
		return nil, err
	}
	if c.seqs, err = openSeqs(cfg.file("published")); err != nil {
		return nil, err
	}
	c.clock = clock.New(clock.Config{
		Build: cfg.Build, LastWrite: lastWrite(cfg.file("published")), TestNetworks: cfg.TestNetwork,
		Wall: cfg.Wall, Asleep: cfg.Asleep,
	})
	if err := c.openNode(lookups); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.board = newSwitchboard(c)
	c.wg.Go(func() { c.board.run(c.ctx) })
	c.wg.Go(c.stayOnline)
	if _, real := cfg.Network.(sockets); real {
		c.wg.Go(c.leaveAddresses)
	}
	if c.dht != nil && len(cfg.Bootstrap) > 0 {
		c.wg.Go(c.tellJoined)
	}
	return c, nil
}

// fill checks the configuration and fills in what is left out.
func (cfg *Config) fill() error {
	if cfg.Hops == 0 {
		cfg.Hops = wire.MaxLayers
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Network == nil {
		cfg.Network = sockets{}
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Event) {}
	}
	if cfg.Welcome == nil {
		cfg.Welcome = func(pid.ID) Welcome { return Decline }
	}
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	var errs []error
	if len(cfg.Keys) > 0 && cfg.NewEncoder == nil {
		errs = append(errs, errors.New("voipcore: a box needs NewEncoder to talk"))
	}
	if cfg.Hops < 1 || cfg.Hops > wire.MaxLayers {
		errs = append(errs, fmt.Errorf("voipcore: %d hops: 1 to %d are possible", cfg.Hops, wire.MaxLayers))
	}
	if cfg.RelayKey != nil {
		if len(cfg.Advertise) == 0 && !cfg.Listen.Addr().IsUnspecified() {
			cfg.Advertise = []netip.AddrPort{cfg.Listen}
		}
		if len(cfg.Advertise) == 0 {
			errs = append(errs, errors.New("voipcore: a relay that listens on all addresses must be told which one others reach it by"))
		}
		if cfg.Listen.Port() == 0 {
			errs = append(errs, errors.New("voipcore: a relay needs a fixed port"))
		}
	}
	return errors.Join(errs...)
}

// file returns the path of a state file, "" if there is no state folder.
func (cfg *Config) file(name string) string {
	if cfg.State == "" {
		return ""
	}
	return filepath.Join(cfg.State, name)
}

// lastWrite returns the protocol time at which published last ran.
func lastWrite(file string) time.Time {
	if fi, err := os.Stat(file); err == nil {
		return fi.ModTime()
	}
	return time.Time{}
}

// published saves what must not be lost when the plug is pulled: the guards, and
// in the age of a file the time, for boards that do not keep it.
func (c *Core) published() {
	err := c.relays.Save()
	if file := c.cfg.file("published"); err == nil && file != "" {
		now := c.clock.Now()
		err = os.Chtimes(file, now, now)
	}
	c.notKept("relays", err)
}

// notKept tells, once until it can, that something could not be saved, if err says so.
// It keeps nothing from going on: a box whose disk is full, dead or read only can be
// called until it is started again, and probably then, too.
func (c *Core) notKept(what string, err error) {
	c.mu.Lock()
	told := c.unsaved[what]
	c.unsaved[what] = err != nil
	c.mu.Unlock()
	if err != nil && !told {
		c.log.Warn("cannot save the state", "what", what, "err", err)
	}
}

// maxGuests is how many callers may be in their handshake at a time.
const maxGuests = 8

// welcome runs f for a tunnel that somebody has joined, unless too many are at
// it already: then the tunnel is closed.
func (c *Core) welcome(f func(), t *kx.Tunnel) {
	select {
	case c.guests <- struct{}{}:
		c.wg.Go(func() {
			defer func() { <-c.guests }()
			f()
		})
	default:
		t.Close()
	}
}

// rediscover asks for another search as at a first start. It does not wait.
func (c *Core) rediscover() {
	select {
	case c.lost <- struct{}{}:
	default:
	}
}

// openNode opens the sockets, the node and its DHT, which share the UDP port.
func (c *Core) openNode(lookups func(*Core) kx.DHT) (err error) {
	cfg := &c.cfg
	packets, err := cfg.Network.ListenUDP(cfg.Listen)
	if err != nil {
		return fmt.Errorf("voipcore: %w", err)
	}
	defer func() {
		if err != nil {
			packets.Close()
		}
	}()
	var listener net.Listener
	if cfg.RelayKey != nil {
		if listener, err = cfg.Network.Listen(cfg.Listen); err != nil {
			return fmt.Errorf("voipcore: %w", err)
		}
		defer func() {
			if err != nil {
				listener.Close()
			}
		}()
	}
	nodeCfg := kx.Config{
		Dial: cfg.Network.Dial, Packets: packets, Clock: c.clock, KRPC: c.deliverKRPC,
		TestNetwork: cfg.TestNetwork, Log: c.log,
	}
	if cfg.RelayKey != nil {
		if c.dht, err = c.openDHT(packets); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				c.dht.Close()
			}
		}()
		nodeCfg.Key, nodeCfg.Listener, nodeCfg.Addrs, nodeCfg.Limits = cfg.RelayKey, listener, cfg.Advertise, cfg.Limits
		nodeCfg.TrafficFile = cfg.file("traffic")
		nodeCfg.DHT = (*lookupService)(c.dht)
		if lookups != nil {
			nodeCfg.DHT = lookups(c)
		}
	}
	c.packets = packets
	c.node, err = kx.Open(nodeCfg)
	return err
}

// openDHT opens a node of the DHT on the packets that kx hands on.
func (c *Core) openDHT(packets kx.PacketConn) (*dht.Node, error) {
	inbox := dht.NewInbox(packets.LocalAddr(), packets.WriteToUDPAddrPort)
	n, err := dht.Open(dht.Config{
		Conn: inbox, ReadOnly: c.cfg.RelayKey == nil, Bootstrap: c.cfg.Bootstrap,
		StateFile: c.cfg.file("dht-nodes"), TestNetwork: c.cfg.TestNetwork, Log: c.log,
	})
	if err != nil {
		return nil, err
	}
	c.krpc.Store(inbox)
	return n, nil
}

// joinPatience is how long a relay may take to find others before the log says
// that something is wrong.
const joinPatience = 20 * time.Second

// tellJoined tells the log when a relay has found others, or that it does not.
func (c *Core) tellJoined() {
	slow := time.NewTimer(joinPatience)
	defer slow.Stop()
	for {
		select {
		case <-c.dht.Ready():
			c.log.Info("the relay has found others", "relays", c.dht.Stats().Good)
			return
		case <-slow.C:
			c.log.Warn("no relay of bootstrap answers, trying on: are the addresses right, do they run, and does UDP pass?")
		case <-c.ctx.Done():
			return
		}
	}
}

// deliverKRPC hands a packet to the DHT, if there is one.
func (c *Core) deliverKRPC(packet []byte, from netip.AddrPort) {
	if inbox := c.krpc.Load(); inbox != nil {
		inbox.Deliver(packet, from)
	}
}

// discover looks for relays without the help of relays: a box that knows none
// joins the DHT as a read-only client, for as long as it takes. Otherwise it
// stays out of it, so that the DHT's nodes do not know of it.
func (c *Core) discover(ctx context.Context) error {
	node := c.dht
	if node == nil {
		var err error
		if node, err = c.openDHT(c.packets); err != nil {
			return err
		}
		defer func() {
			c.krpc.Store(nil)
			node.Close()
		}()
	}
	err := c.node.Discover(ctx, c.relays, c.cfg.Bootstrap, (*lookupService)(node).Trace)
	c.notKept("relays", c.relays.Save())
	return err
}

// Ping returns nil when the loops that calls depend on turn: that of the calls
// themselves, and that which reads the network. While one of them hangs it
// waits until ctx is done, and says which. A network that is down is no error.
func (c *Core) Ping(ctx context.Context) error {
	if err := c.board.ping(ctx); err != nil {
		return err
	}
	return c.node.Ping(ctx)
}

// Close hangs up, ends everything and waits. A second Close returns the same.
func (c *Core) Close() error {
	c.closeOnce.Do(func() {
		c.board.hangUpAll()
		c.cancel()
		c.closeErr = c.relays.Save()
		if c.dht != nil {
			c.closeErr = errors.Join(c.closeErr, c.dht.Close())
		}
		c.closeErr = errors.Join(c.closeErr, c.node.Close())
		c.wg.Wait()
	})
	return c.closeErr
}

const (
	enoughRelays = 5 // two tunnels of 3 hops that share no more than they must
	refreshMean  = 30 * time.Minute
	// refreshFirst is how soon after a start more relays are learned.
	refreshFirst = 2 * time.Minute
)

// stayOnline learns of relays, keeps the pids reachable, and goes on learning
// at random times. It ends when the Core closes.
func (c *Core) stayOnline() {
	if len(c.cfg.Keys) == 0 {
		return // a relay alone builds no tunnels
	}
	retry := newBackoff()
	for c.relays.Len() < enoughRelays && c.ctx.Err() == nil {
		err := c.discover(c.ctx)
		if err == nil && c.relays.Len() >= c.cfg.Hops {
			break
		}
		if err != nil {
			c.log.Debug("no relays found", "err", err)
		}
		retry.wait(c.ctx)
	}
	if c.ctx.Err() != nil {
		return
	}
	c.log.Info("relays are known", "relays", c.relays.Len())
	for _, k := range c.cfg.Keys {
		p := &presence{core: c, key: k}
		c.wg.Go(func() { p.run(c.ctx) })
	}
	wait := time.NewTimer(refreshFirst/2 + rand.N(refreshFirst))
	defer wait.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.lost:
			began := time.Now()
			if err := c.discover(c.ctx); err != nil {
				c.log.Debug("no relays found", "err", err)
			}
			c.relays.RenewGuards(began)
			continue
		case <-wait.C:
		}
		if err := c.node.Refresh(c.ctx, c.relays, c.cfg.Hops); err != nil {
			c.log.Debug("no relays learned", "err", err)
		}
		c.notKept("relays", c.relays.Save())
		// Exponential: the next time cannot be told from the last.
		wait.Reset(time.Duration(rand.ExpFloat64() * float64(refreshMean)))
	}
}

// reachable notes that a pid of ours can be called now, or not any more.
func (c *Core) reachable(id pid.ID, yes bool) {
	c.mu.Lock()
	c.presences[id] = yes
	online := len(c.presences) == len(c.cfg.Keys)
	for _, ok := range c.presences {
		online = online && ok
	}
	changed := online != c.online
	c.online = online
	c.mu.Unlock()
	if !changed || c.ctx.Err() != nil { // the end is no loss
		return
	}
	if online {
		c.log.Info("online: can be called")
	} else {
		c.log.Warn("offline: cannot be called at present, trying again")
	}
	c.board.post(func() { c.cfg.Notify(Event{Kind: Reachability, Online: online}) })
}
