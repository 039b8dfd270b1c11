package pulse

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"

	"github.com/jfreymuth/pulse/proto"
)

// A Playback is an open output. Write and Stop belong to one goroutine.
type Playback struct {
	*stream
	credit int // bytes that the server has asked for; guarded by mu
	buf    []byte
}

// OpenPlayback opens an output at the named sink, the server's default if "". The
// error has ErrNoServer in its chain if there is no server. It gives up when ctx is
// done, which means nothing to a stream that is open.
func OpenPlayback(ctx context.Context, sink string, o Options) (*Playback, error) {
	o = o.fill()
	p := &Playback{stream: newStream(), buf: make([]byte, chunk*sampleBytes)}
	var err error
	if p.link, err = dial(ctx, o.Name, p.handle, p.lose); err != nil {
		return nil, fmt.Errorf("pulse: open output: %w", err)
	}
	if sink != "" { // PipeWire would take its default for an unknown one
		if err := p.link.request("find output "+sink, &proto.LookupSink{SinkName: sink}, &proto.LookupSinkReply{}); err != nil {
			p.Close()
			return nil, err
		}
	}
	req := proto.CreatePlaybackStream{
		SampleSpec: proto.SampleSpec{Format: proto.FormatInt16LE, Channels: 1, Rate: rate},
		ChannelMap: proto.ChannelMap{proto.ChannelMono},
		SinkIndex:  proto.Undefined,
		SinkName:   sink,
		Corked:     true,

		BufferMaxLength:       proto.Undefined,
		BufferTargetLength:    size(o.Buffer),
		BufferPrebufferLength: size(o.Buffer - o.Period),
		BufferMinimumRequest:  size(o.Period),
		AdjustLatency:         true,

		ChannelVolumes: proto.ChannelVolumes{proto.VolumeNorm},
		Properties: proto.PropList{
			"media.name": proto.PropListString("call"),
			"media.role": proto.PropListString("phone"),
		},
	}
	var reply proto.CreatePlaybackStreamReply
	if err := p.link.request("open output "+sink, &req, &reply); err != nil {
		p.Close()
		return nil, err
	}
	p.link.release()
	p.index = reply.StreamIndex
	p.cork = &proto.CorkPlaybackStream{StreamIndex: p.index, Corked: true}
	p.uncork = &proto.CorkPlaybackStream{StreamIndex: p.index}
	p.mu.Lock() // the server may ask for more already
	p.credit += int(reply.Missing)
	p.mu.Unlock()
	p.keepTime(p.askDelay)
	return p, nil
}

// handle takes the server's messages, on the reader's goroutine.
func (p *Playback) handle(msg any) {
	switch m := msg.(type) {
	case *proto.Request:
		p.mu.Lock()
		p.credit += int(m.Length)
		p.signalLocked()
		p.mu.Unlock()
	case *proto.Underflow:
		p.xruns.Add(1)
	case *proto.PlaybackStreamKilled:
		p.lose(syscall.ENODEV) // the sink was taken away
	}
}

// Write plays samples and returns when the server has taken them all. The first
// one after opening or Stop starts the stream.
func (p *Playback) Write(samples []int16) error {
	if err := p.run(true); err != nil {
		return p.fail("write", err)
	}
	for len(samples) > 0 {
		n, err := p.room(min(len(samples), chunk))
		if err != nil {
			return p.fail("write", err)
		}
		for i, s := range samples[:n] {
			binary.LittleEndian.PutUint16(p.buf[sampleBytes*i:], uint16(s))
		}
		if err := p.link.proto.Send(p.index, p.buf[:sampleBytes*n]); err != nil {
			return p.fail("write", errno(err))
		}
		samples = samples[n:]
	}
	return nil
}

// room waits until the server asks for samples and takes up to n of what it has
// asked for.
func (p *Playback) room(n int) (int, error) {
	for {
		p.mu.Lock()
		n, err := min(n, p.credit/sampleBytes), p.err
		if err == nil {
			p.credit -= n * sampleBytes
			p.moved += int64(n)
		}
		p.mu.Unlock()
		if err != nil || n > 0 {
			return n, err
		}
		if err := p.wait(); err != nil {
			return 0, err
		}
	}
}

// Delay is how many samples lie between the next one written and the speaker: the
// server's last word, carried on by the clock.
func (p *Playback) Delay() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return 0
	}
	d := p.clock.delay + int(p.moved-p.clock.moved) - int(time.Since(p.clock.at)*rate/time.Second)
	return max(d, 0)
}

func (p *Playback) askDelay() (int, error) {
	var r proto.GetPlaybackLatencyReply
	err := p.link.request("ask delay", &proto.GetPlaybackLatency{StreamIndex: p.index}, &r)
	return int(r.WriteIndex-r.ReadIndex)/sampleBytes + samples(r.Latency), err
}

// Stop silences the output at once: what is queued is dropped, and the server
// lets the card sleep until the next Write.
func (p *Playback) Stop() error {
	err := p.run(false)
	if err == nil {
		err = p.link.request("drop", &proto.FlushPlaybackStream{StreamIndex: p.index}, nil)
	}
	if err != nil {
		return p.fail("stop", err)
	}
	return nil
}

// samples is how many go by in a time. An int of 32 bits would not hold those of 45 ms
// on the way.
func samples(t proto.Microseconds) int { return int(int64(t) * rate / 1e6) }
