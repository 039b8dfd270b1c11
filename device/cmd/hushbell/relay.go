package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"hushbell/device/config"
	"hushbell/systemd"
	"hushbell/voipcore"
)

// exampleRelay is every key of a relay's file. A test reads it.
const exampleRelay = `bootstrap = ["192.0.2.7:4710", "192.0.2.8:4710"]
[relay]
listen = ":4710"
advertise = ["203.0.113.5:4710"]  # where others reach it, if that is not listen
links = 512                       # connections at a time; these four are the defaults
tunnels = 1024                    # ends of tunnels: one that passes through has two
link_tunnels = 256                # that one connection may open
registrations = 256               # callees that wait here
bandwidth_kbit = 5000             # sent for others; a call takes 280. Left out: no bound
monthly_gb = 200                  # likewise, in a calendar month`

// relayFlags are the command line of a relay. What is given there counts more
// than what the configuration says.
type relayFlags struct {
	places
	listen, advertise, bootstrap []string
	testNetwork, debug           bool
}

func relayCommand() *cobra.Command {
	var f relayFlags
	c := &cobra.Command{
		Use:   "relay",
		Short: "Help others: pass on their calls, without knowing whose",
		Long: `Runs a relay until it is told to stop. Others must be able to reach it under its
address, by TCP and UDP on the same port. A swarm of boxes needs five relays or
more, on machines and in networks as different as can be had; each is told the
addresses of some others. The first one of a swarm has nobody to be told of.

It prints "relay ready at ADDRESS" when it listens; what happens is logged to
standard error. This is a file for --config, of which only listen is needed:

` + indent(exampleRelay),
		Example: `  hushbell relay --listen 192.0.2.7:4710
  hushbell relay --listen 192.0.2.8:4710 --bootstrap 192.0.2.7:4710
  hushbell relay --listen 0.0.0.0:4710 --advertise 203.0.113.5:4710 --bootstrap 192.0.2.7:4710
  hushbell relay --config relay.toml`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := f.read(c)
			if err != nil {
				return err
			}
			return f.serve(c.Context(), &cfg, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f.stateFlag(c.Flags())
	c.Flags().Var((*pathValue)(&f.config), "config", "configuration `file` with a section [relay]")
	c.Flags().StringSliceVar(&f.listen, "listen", nil, "`address` and port to listen at")
	c.Flags().StringSliceVar(&f.advertise, "advertise", nil, "`address` and port under which others reach it, if that is not --listen")
	c.Flags().StringSliceVar(&f.bootstrap, "bootstrap", nil, "`address` and port of another relay to begin with; several times for several")
	c.Flags().BoolVar(&f.testNetwork, "test-network", false, "take loopback and private addresses for relays: for a swarm on one machine")
	c.Flags().BoolVar(&f.debug, "debug", false, "log more, also addresses")
	return c
}

// read puts together what file and flags say.
func (f *relayFlags) read(c *cobra.Command) (config.Config, error) {
	cfg := config.Default()
	if f.config != "" {
		var err error
		cfg, err = config.Read(f.config)
		if errors.Is(err, fs.ErrNotExist) {
			err = noConfig(f.config)
		}
		if err != nil {
			return cfg, configError{err}
		}
	}
	var errs []error
	take := func(flag string, from []string, to *[]netip.AddrPort) {
		if !c.Flags().Changed(flag) {
			return
		}
		*to = nil
		for _, s := range from {
			a, err := config.ParseAddr(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("--%s %s: want an address with port, such as 192.0.2.7:4710 or [2001:db8::7]:4710", flag, s))
				continue
			}
			*to = append(*to, a)
		}
	}
	var listen []netip.AddrPort
	take("listen", f.listen, &listen)
	take("advertise", f.advertise, &cfg.Relay.Advertise)
	take("bootstrap", f.bootstrap, &cfg.Bootstrap)
	switch {
	case len(listen) > 1:
		errs = append(errs, errors.New("--listen: one address is enough: [::] stands for all"))
	case len(listen) == 1:
		cfg.Relay.Listen, cfg.Listen = listen[0], netip.AddrPort{}
	}
	cfg.TestNetwork = cfg.TestNetwork || f.testNetwork
	flags := len(errs) > 0 // are wrong
	if !flags {
		if !cfg.Relay.Listen.IsValid() {
			errs = append(errs, errors.New("a relay needs an address to listen at: --listen, or listen under [relay] in --config"))
		} else if err := cfg.Err(); err != nil {
			if f.config == "" {
				err = fmt.Errorf("%w (relay.listen is --listen, relay.advertise --advertise)", err)
			}
			errs = append(errs, err)
		} else if err := findable(&cfg); err != nil {
			errs = append(errs, err)
		}
	}
	switch err := errors.Join(errs...); {
	case err == nil:
		return cfg, nil
	case f.config != "" && !flags:
		return cfg, configError{err}
	default:
		return cfg, usageError{err}
	}
}

// findable reports whether others will take the addresses of a relay.
func findable(cfg *config.Config) error {
	at := cfg.Relay.Advertise
	if len(at) == 0 {
		at = []netip.AddrPort{cfg.Relay.Listen}
	}
	for _, a := range at {
		if !cfg.TestNetwork && !voipcore.Routable(a.Addr()) {
			return fmt.Errorf("nobody in the Internet finds a relay at %v: --advertise the address that others reach it by, or --test-network if all of the swarm is on this machine or in this network", a)
		}
	}
	return nil
}

// serve runs the relay until ctx is done.
func (f *relayFlags) serve(ctx context.Context, cfg *config.Config, out, errOut io.Writer) (err error) {
	log := newLog(errOut, f.debug)
	m := systemd.New(log)
	m.Backoff(ctx)
	dir, err := f.stateDir()
	if err != nil {
		return err
	}
	l, fixed, err := lockState(dir, log)
	if err != nil {
		return err
	}
	defer l.Close()
	limitMemory(relayMemory)
	c := voipcore.Config{State: dir, Bootstrap: cfg.Bootstrap, Hops: cfg.Hops, TestNetwork: cfg.TestNetwork, Build: buildTime(), Log: log}
	if err := asRelay(&c, cfg, dir); err != nil {
		return err
	}
	core, err := voipcore.Open(c)
	if err != nil {
		return err
	}
	defer func() {
		if closed := core.Close(); !fixed || !errors.Is(closed, syscall.EROFS) { // that was said
			err = errors.Join(err, closed)
		}
	}()
	if _, err := fmt.Fprintf(out, "relay ready at %v\n", cfg.Relay.Listen); err != nil {
		return err
	}
	log.Info("relay is ready", "version", version)
	m.Ready("Passes on calls of others.")
	m.Watch(ctx, core.Ping)
	<-ctx.Done()
	m.Stopping()
	log.Info("relay stops")
	return nil
}

// asRelay makes c that of a relay, with the key from the state folder, which
// is made at the first start.
func asRelay(c *voipcore.Config, cfg *config.Config, state string) (err error) {
	if c.RelayKey, err = relayKey(state); err != nil {
		return err
	}
	r := &cfg.Relay
	c.Listen, c.Advertise = r.Listen, r.Advertise
	c.Limits.Links, c.Limits.Tunnels = r.Limits.Links, r.Limits.Tunnels
	c.Limits.LinkTunnels, c.Limits.Registrations = r.Limits.LinkTunnels, r.Limits.Registrations
	c.Limits.Bandwidth, c.Limits.Monthly = int64(r.Limits.BandwidthKbit)*1000/8, int64(r.Limits.MonthlyGB)*1e9
	return nil
}

// newLog returns a log of text. The journal puts times to lines by itself, and
// is told how grave each is: journalctl -p warning shows what matters.
func newLog(w io.Writer, debug bool) *slog.Logger {
	o := &slog.HandlerOptions{}
	if debug {
		o.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") != "" {
		w = journal{w}
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// A journal is where lines of a log begin with their priority (sd-daemon(3)). Each
// is written at once, and begins with its level.
type journal struct{ io.Writer }

func (j journal) Write(line []byte) (int, error) {
	priority := "<6>"
	for level, p := range map[string]string{"ERROR": "<3>", "WARN": "<4>", "DEBUG": "<7>"} {
		if bytes.HasPrefix(line, []byte("level="+level)) {
			priority = p
		}
	}
	if _, err := j.Writer.Write(append([]byte(priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
