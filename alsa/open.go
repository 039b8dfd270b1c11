package alsa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"hushbell/alsa/pulse"
)

// server is the name of the session's sound server; "pulse:NAME" is a sink or
// source of it.
const server = "pulse"

// output is what plays: a card, or a stream of the sound server.
type output interface {
	Write(samples []int16) error
	port
}

// input is what records.
type input interface {
	Read(samples []int16) error
	port
}

// port is what both have.
type port interface {
	Check() error
	Delay() int
	Xruns() int
	Stop() error
	Close() error
}

// openNode opens one direction of a PCM.
func (r roots) openNode(n node, d direction, o Options) (*stream, error) {
	op := "read"
	if d == plays {
		op = "write"
	}
	fail := func(err error) (*stream, error) {
		e := &Error{Op: "open", Device: n.name(), Err: err}
		if errors.Is(err, syscall.EBUSY) {
			e.Holder = r.holder(n, d)
		}
		return nil, e
	}
	p, err := openPCM(n.path(r, d), d == records, o)
	if err != nil {
		return fail(err)
	}
	s, err := newStream(n.name(), op, p, p.setup)
	if err != nil {
		p.Close()
		return fail(fmt.Errorf("%w: %w", err, syscall.EINVAL))
	}
	return s, nil
}

// A Playback is an open output. It belongs to one goroutine; Close, Check,
// Delay and Xruns may be called from others.
type Playback struct {
	out    output
	device string
}

// OpenPlayback opens an output. The device is
//
//	""            the sound server of the session if one runs, else the first
//	              card that both plays and records, else the first that plays
//	"Device"      the first PCM of the card with this id
//	"Device,1"    another PCM of it
//	"pulse"       the sound server, PulseAudio or PipeWire
//	"pulse:NAME"  one of its sinks
//
// It returns at once if the device is busy. An *Error says what is wrong with
// which device; several are joined if several were tried.
func OpenPlayback(device string, o Options) (*Playback, error) {
	return openPlayback(context.Background(), device, o)
}

// openPlayback gives up when ctx is done.
func openPlayback(ctx context.Context, device string, o Options) (*Playback, error) {
	return choose(ctx, device, plays, o, func(n node) (*Playback, error) {
		s, err := system.openNode(n, plays, o)
		if err != nil {
			return nil, err
		}
		return &Playback{cardOutput{s}, n.name()}, nil
	}, func(sink string) (*Playback, error) {
		p, err := pulse.OpenPlayback(ctx, sink, o.pulse())
		if err != nil {
			return nil, err
		}
		return &Playback{p, serverName(sink)}, nil
	})
}

// Write plays samples, 48 kHz mono, and returns when the device has taken them
// all; it keeps no hold on them. An underrun is not an error: it is counted and
// the sound goes on. After any error the stream is good for Close only.
func (p *Playback) Write(samples []int16) error { return p.out.Write(samples) }

// Delay returns how long after now a sample written now is heard, in samples at
// 48 kHz: what is queued here, in the card and in the server. 0 while stopped.
func (p *Playback) Delay() int { return p.out.Delay() }

// Check returns what keeps the device from going on, as far as it tells without
// being used: nil, or the error that Write would return.
func (p *Playback) Check() error { return p.out.Check() }

// Xruns returns how often the device ran dry.
func (p *Playback) Xruns() int { return p.out.Xruns() }

// Stop silences the output at once and drops what is queued. The device sleeps,
// still ours, until the next Write. A pause without Stop counts as an underrun.
func (p *Playback) Stop() error { return p.out.Stop() }

// Device returns the name that opens this device again.
func (p *Playback) Device() string { return p.device }

// Close silences the output at once and gives the device back. A Write that
// waits returns ErrClosed. Safe twice.
func (p *Playback) Close() error { return p.out.Close() }

// A Capture is an open input. It belongs to one goroutine; Close, Check, Delay
// and Xruns may be called from others.
type Capture struct {
	in     input
	device string
}

// OpenCapture opens an input, as OpenPlayback an output.
func OpenCapture(device string, o Options) (*Capture, error) {
	return openCapture(context.Background(), device, o)
}

// openCapture gives up when ctx is done.
func openCapture(ctx context.Context, device string, o Options) (*Capture, error) {
	return choose(ctx, device, records, o, func(n node) (*Capture, error) {
		s, err := system.openNode(n, records, o)
		if err != nil {
			return nil, err
		}
		return &Capture{cardInput{s, o.Listen}, n.name()}, nil
	}, func(source string) (*Capture, error) {
		c, err := pulse.OpenCapture(ctx, source, o.pulse())
		if err != nil {
			return nil, err
		}
		return &Capture{c, serverName(source)}, nil
	})
}

// Read fills samples, 48 kHz mono, and returns when the last one was recorded.
// The first Read after opening or Stop starts the recording. An overrun is not an
// error: it is counted and the recording goes on with what is heard now. After any
// error the stream is good for Close only.
func (c *Capture) Read(samples []int16) error { return c.in.Read(samples) }

// Delay returns how long ago the next sample to be read was heard, in samples at
// 48 kHz. 0 while stopped.
func (c *Capture) Delay() int { return c.in.Delay() }

// Check is that of Playback.
func (c *Capture) Check() error { return c.in.Check() }

// Xruns returns how often samples were lost because nobody read them.
func (c *Capture) Xruns() int { return c.in.Xruns() }

// Stop ends the recording and drops what was not read. The device sleeps, still
// ours, until the next Read.
func (c *Capture) Stop() error { return c.in.Stop() }

// Device returns the name that opens this device again.
func (c *Capture) Device() string { return c.device }

// Close gives the device back. A Read that waits returns ErrClosed. Safe twice.
func (c *Capture) Close() error { return c.in.Close() }

func (o Options) pulse() pulse.Options {
	return pulse.Options{Period: o.period(), Buffer: o.buffer()}
}

func serverName(port string) string {
	if port == "" {
		return server
	}
	return server + ":" + port
}

// choose opens the named device, or finds one. Only the sound server is waited for,
// until ctx is done.
func choose[S any](ctx context.Context, device string, d direction, o Options, card func(node) (S, error), stream func(port string) (S, error)) (S, error) {
	var zero S
	if err := o.check(); err != nil {
		return zero, &Error{Op: "open", Device: device, Err: fmt.Errorf("%w: %w", err, syscall.EINVAL)}
	}
	if device == server || strings.HasPrefix(device, server+":") {
		s, err := stream(strings.TrimPrefix(strings.TrimPrefix(device, server), ":"))
		if err != nil {
			return zero, &Error{Op: "open", Device: device, Err: err}
		}
		return s, nil
	}
	if device != "" {
		n, err := system.find(device, d)
		if err != nil {
			return zero, &Error{Op: "open", Device: device, Err: err}
		}
		return card(n)
	}
	var tried []error
	s, err := stream("")
	if err == nil {
		return s, nil
	}
	if ctx.Err() != nil {
		return zero, &Error{Op: "open", Device: server, Err: err}
	}
	if !errors.Is(err, pulse.ErrNoServer) { // there is one, and something is wrong with it
		tried = append(tried, &Error{Op: "open", Device: server, Err: err})
	}
	nodes, err := system.nodes()
	if err != nil {
		return zero, err
	}
	for _, n := range preferred(nodes, d) {
		s, err := card(n)
		if err == nil {
			return s, nil
		}
		tried = append(tried, err)
	}
	if len(tried) == 0 {
		what := map[direction]string{plays: "plays", records: "records"}[d]
		return zero, &Error{Op: "open", Device: "any device", Err: fmt.Errorf("%w that %s, and no sound server", ErrNoCard, what)}
	}
	return zero, errors.Join(tried...)
}

// preferred puts the PCMs in the order in which they are tried: what can do both
// directions before what can do only this one, else as the kernel found them. An
// HDMI output is thus taken for want of anything else only.
func preferred(nodes []node, d direction) []node {
	var both, one []node
	for _, n := range nodes {
		switch {
		case n.playback && n.capture:
			both = append(both, n)
		case n.can(d):
			one = append(one, n)
		}
	}
	return append(both, one...)
}
