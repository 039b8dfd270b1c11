package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"hushbell/board"
	"hushbell/device"
	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/device/missed"
	"hushbell/systemd"
	"hushbell/voipcore"
	"hushbell/voipcore/durable"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/celt"
)

const exampleConfig = `bootstrap = ["192.0.2.7:4710", "192.0.2.8:4710"]
[button]
call = "workshop"
[board]
name = "sim"
microphone = "in.wav"
speaker = "out.wav"`

// exampleGeneral is every key that is in no table, but those of exampleBehaviour. A
// test reads it.
const exampleGeneral = `bootstrap = ["192.0.2.7:4710"]  # relays to begin with
test_network = false      # true takes private addresses for relays, too
listen = "[::]:0"         # where the box's UDP socket is; port 0 is any
hops = 3                  # relays on the way, 1 to 3; fewer than 3 give up anonymity
complexity = 5            # work of the voice encoder, from 0, the least, to 5, the best sound
pid = "box"               # the name of the pid that the box calls with: hushbell pid list`

// exampleBoard is every key of [board] for a real board. A test reads it.
const exampleBoard = `[board]
name = "auto"             # or a model: pi-4, pi-zero-2-w ...; this is the default
microphone = "Device"     # a sound device; left out: the one that suits best
speaker = "Device"
microphone_volume = 80    # percent; left out: as the card is set
speaker_volume = 70
chip = "pinctrl-bcm2711"  # label of the GPIO chip
button_line = "GPIO17"    # a line's name, or its number; "none": there is no button
active_low = true         # a press connects the line to ground
bias = "pull-up"          # the chip's resistor: pull-up, pull-down, off, as-is
settle = "20ms"           # a press counts when the contact is at rest for so long
led_line = 22
led_active_low = false`

func runCommand() *cobra.Command {
	var p places
	var debug bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the box: button, lamp, sound and calls",
		Long: `Runs the box until it is told to stop. It needs a configuration; it makes a pid when
it has none (hushbell pid show), and contacts are added and removed while it runs
(hushbell contact).

This is enough of a configuration, for a box that is simulated:

` + indent(exampleConfig) + `

On a real board nothing of [board] is needed if it is a Raspberry Pi with a button
between pins 9 and 11 and a LED at pin 15. hushbell devices lists what there is,
hushbell test tries it. All that can be said, each of it may be left out:

` + indent(exampleBoard) + `

Above the first table, and as it is without them (but for the addresses):

` + indent(exampleGeneral) + `

How the box behaves, of which each may be left out, too. A box that helps others as a
relay has a [relay] besides: see hushbell relay --help.

` + indent(exampleBehaviour) + `

A press calls or answers, and in a call hangs up. One that comes within a second of
the end of a call, or within 0.7 s of the press that has called or answered, does
nothing: it would do the opposite of what was meant.

On SIGHUP, or hushbell contact, contacts and configuration are read again, and taken
if all of it is right; a call that stands goes on.

A part that is missing or busy keeps nothing else from working: hushbell status
and the log say what to do, and it is looked for again.

It prints "box ready at SOCKET" when the other commands can talk to it; what
happens is logged to standard error, without pids and addresses.`,
		Example: `  hushbell run
  hushbell run --config box.toml --state ./box --socket ./box/control.sock`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return runBox(c.Context(), &p, c.OutOrStdout(), newLog(c.ErrOrStderr(), debug))
		},
	}
	p.stateFlag(c.Flags())
	p.configFlag(c.Flags())
	p.socketFlag(c.Flags())
	c.Flags().BoolVar(&debug, "debug", false, "log more, also addresses")
	return c
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// readConfig reads the configuration, and finds its relative paths in its folder.
func (p *places) readConfig() (config.Config, error) {
	file, err := p.configFile()
	if err != nil {
		return config.Config{}, err
	}
	cfg, err := config.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, configError{noConfig(file)}
	}
	if err != nil {
		return cfg, configError{err} // starting again does not heal it
	}
	for _, path := range []*string{&cfg.Board.Microphone, &cfg.Board.Speaker} {
		// On a real board they are devices, not files.
		if cfg.Board.Name == board.Sim && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(file), *path)
		}
	}
	return cfg, nil
}

func noConfig(file string) error {
	return fmt.Errorf("there is no configuration %s: write it, or name another file with --config", file)
}

// A box is all that run has opened. It is what the control socket controls.
type box struct {
	*places
	dir    string // of the state
	fixed  bool   // it is read only
	cfg    config.Config
	log    *slog.Logger
	board  *board.Board
	device *device.Device
	core   *voipcore.Core
	server *control.Server
	system *systemd.Service
	missed *missed.Log
	dnd    *durable.Saver // of how the switch stands

	collector collector
	reloading sync.Mutex // held by the one who does
	settled   sync.Once  // memory was given back
}

// policy is what the device can be told anew.
func (b *box) policy(cfg *config.Config) (device.Policy, error) {
	file, err := b.configFile()
	if err != nil {
		return device.Policy{}, err
	}
	p, err := policyOf(cfg, b.dir, file, b.openDoor)
	// Which gestures a button knows, it knows from the start: where none can be held
	// nobody could speak.
	p.PushToTalk = pushToTalk(&b.cfg)
	return p, err
}

// remember opens what the box remembers: missed calls, and how the switch of
// do-not-disturb stands. What cannot be read is no reason not to run.
func (b *box) remember() device.Switch {
	var err error
	lost := func(err error) {
		if !b.fixed { // else it was said at the start
			b.log.Error("cannot save", "err", err)
		}
	}
	if b.missed, err = missed.Open(filepath.Join(b.dir, "missed.json"), lost); err != nil {
		b.log.Error("cannot read", "err", err)
	}
	file := filepath.Join(b.dir, "dnd")
	b.dnd = durable.NewSaver(file, 0o600, lost)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return device.Scheduled
	}
	s := device.Scheduled
	if err == nil {
		s, err = device.ParseSwitch(strings.TrimSpace(string(text)))
	}
	if err != nil {
		b.log.Error("do-not-disturb is as the schedule says: it is not known how its switch stood", "err", err)
	}
	return s
}

// runBox opens everything, runs it until ctx is done, and closes it again.
func runBox(ctx context.Context, p *places, out io.Writer, log *slog.Logger) (err error) {
	limitMemory(boxMemory)
	b := &box{places: p, log: log, system: systemd.New(log), collector: newCollector()}
	policy, l, err := b.claim()
	// Not before that: a box that was killed has left a door open, or a LED lit.
	b.system.Backoff(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	defer func() { err = errors.Join(err, b.board.Close()) }()
	keys, err := loadKeys(b.dir, b.cfg.PID, log)
	if err != nil {
		return err
	}
	socket, err := p.socketFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if b.server, err = control.Listen(socket); err != nil {
		return err
	}
	quiet := b.remember()
	defer b.dnd.Close()
	defer b.missed.Close()
	b.device = device.New(device.Options{
		Own: keys[0], Policy: policy, Quiet: quiet,
		Microphone: b.board.Microphone, Speaker: b.board.Speaker, Lamp: b.board.Lamp, Audible: b.audible,
		Now: b.now, Tell: b.tell, Log: log,
	})
	c := voipcore.Config{
		State: b.dir, Bootstrap: b.cfg.Bootstrap, Keys: keys, Hops: b.cfg.Hops, Listen: b.cfg.Listen,
		TestNetwork: b.cfg.TestNetwork, Welcome: b.device.Welcome, Notify: b.notify,
		NewEncoder: newEncoder(b.cfg.Complexity), Build: buildTime(), Log: log,
	}
	if b.cfg.Relay.Listen.IsValid() {
		err = asRelay(&c, &b.cfg, b.dir)
	}
	if err == nil {
		b.core, err = voipcore.Open(c)
	}
	if err != nil {
		return errors.Join(err, b.server.Close())
	}
	b.warn(&policy)
	return b.serve(ctx, out, socket)
}

// claim reads the configuration, locks the state directory, and opens the board,
// which puts LEDs and outputs at rest.
func (b *box) claim() (policy device.Policy, l *os.File, err error) {
	if b.cfg, err = b.readConfig(); err != nil {
		return policy, nil, err
	}
	if b.dir, err = b.stateDir(); err != nil {
		return policy, nil, err
	}
	if l, b.fixed, err = lockState(b.dir, b.log); err != nil {
		return policy, nil, err
	}
	o := boardOptions(&b.cfg.Board)
	o.Log = b.log
	linesOf(&o, &b.cfg)
	if policy, err = b.policy(&b.cfg); err == nil {
		if b.board, err = board.Open(b.cfg.Board.Name, o); err != nil {
			file, _ := b.configFile() // which was read
			err = fmt.Errorf("config: %s: %w", file, err)
		}
	}
	if err != nil { // starting again heals neither contacts nor files, nor the board's name
		return policy, nil, configError{errors.Join(err, l.Close())}
	}
	return policy, l, nil
}

// notify passes on what the Core tells. Once the box is online for the first
// time, what finding relays has cost is given back to the system: most boxes
// then do nothing for days.
func (b *box) notify(e voipcore.Event) {
	if e.Kind == voipcore.Reachability && e.Online {
		b.settled.Do(func() { go debug.FreeOSMemory() })
	}
	b.device.Notify(e)
}

// serve runs device and control socket until ctx is done or one of them fails.
func (b *box) serve(ctx context.Context, out io.Writer, socket string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var served, ran, printed error
	var wg sync.WaitGroup
	wg.Go(func() { defer cancel(); served = b.server.Serve(ctx, b) })
	// The device goes on until all was told to it that the end of calls brings with it.
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	wg.Go(func() { defer cancel(); ran = b.device.Run(running, b.core) })
	wg.Go(func() { b.system.Watch(ctx, b.alive) })
	wg.Go(func() { b.passGestures(ctx) })
	wg.Go(func() { b.reloadOnHangUp(ctx) })
	wg.Go(func() { b.diagnose(ctx) })
	wg.Go(func() { b.collector.run(ctx) })
	if _, printed = fmt.Fprintf(out, "box ready at %s\n", socket); printed != nil {
		cancel()
	}
	b.log.Info("box is ready", "version", version, "board", b.board.Name)
	b.system.Ready(b.summary())
	<-ctx.Done()
	b.system.Stopping()
	b.log.Info("box stops")
	closed := b.core.Close() // hangs up
	last, done := context.WithTimeout(running, pressLimit)
	_ = b.device.Ping(last) // it fails if the device has ended or hangs, and then that is told
	done()
	end()
	if b.fixed && errors.Is(closed, syscall.EROFS) {
		closed = nil // it was said at the start
	}
	wg.Wait()
	return errors.Join(served, ran, printed, closed)
}

// now is the time, as far as relays have told it: a board without a clock does
// not know it by itself.
func (b *box) now() time.Time {
	now := time.Now()
	if b.core != nil { // Run of the device begins after that
		if c := b.core.Status().Clock; c.Trusted {
			now = now.Add(c.Offset)
		}
	}
	return now
}

// passGestures hands what is done at the buttons to the device, in its words.
func (b *box) passGestures(ctx context.Context) {
	for {
		select {
		case g := <-b.board.Gestures():
			// It fails when the box goes down, and then buttons are nothing to anybody.
			_ = b.device.Press(ctx, device.Gesture{Button: g.Button, Kind: gestures[g.Kind]})
		case <-ctx.Done():
			return
		}
	}
}

// warn says at the start what will not work as it is.
func (b *box) warn(p *device.Policy) {
	if len(b.cfg.Bootstrap) == 0 && !b.cfg.Relay.Listen.IsValid() {
		b.log.Warn("no relays to begin with: unless some are known from before nobody can be called; write bootstrap into the configuration")
	}
	public := func(a netip.AddrPort) bool { return voipcore.Routable(a.Addr()) }
	if len(b.cfg.Bootstrap) > 0 && !b.cfg.TestNetwork && !slices.ContainsFunc(b.cfg.Bootstrap, public) {
		b.log.Warn("no address of bootstrap is a public one, so none is used: in a home network or on one machine write test_network = true")
	}
	if b.cfg.Hops < config.MaxHops {
		b.log.Warn("fewer hops give up anonymity: relays can learn who calls whom", "hops", b.cfg.Hops)
	}
	for _, what := range p.Missing() {
		b.log.Warn(what)
	}
}

func newEncoder(complexity int) func(int) (voice.Encoder, error) {
	return func(packetBytes int) (voice.Encoder, error) {
		return celt.NewEncoder(celt.Config{FrameSamples: voice.FrameSamples, PacketBytes: packetBytes, Complexity: complexity})
	}
}
