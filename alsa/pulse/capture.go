package pulse

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"

	"github.com/jfreymuth/pulse/proto"
)

// A Capture is an open input. Read and Stop belong to one goroutine.
type Capture struct {
	*stream
	// Samples that the server has sent and nobody has read; guarded by mu. A ring:
	// have samples from first on.
	ring        []int16
	first, have int
	keep        int // what an overrun leaves: one period
}

// OpenCapture opens an input at the named source, the server's default if "".
// The monitor of a sink is a source too. Errors are as for OpenPlayback.
func OpenCapture(ctx context.Context, source string, o Options) (*Capture, error) {
	o = o.fill()
	period := int(size(o.Period)) / sampleBytes
	c := &Capture{
		stream: newStream(),
		// Twice the buffer and a frame: servers send in lumps of their own size,
		// PipeWire of 21 ms.
		ring: make([]int16, 2*int(size(o.Buffer))/sampleBytes+chunk),
		keep: period,
	}
	var err error
	if c.link, err = dial(ctx, o.Name, c.handle, c.lose); err != nil {
		return nil, fmt.Errorf("pulse: open input: %w", err)
	}
	if source != "" { // PipeWire would take its default for an unknown one
		if err := c.link.request("find input "+source, &proto.LookupSource{SourceName: source}, &proto.LookupSourceReply{}); err != nil {
			c.Close()
			return nil, err
		}
	}
	req := proto.CreateRecordStream{
		SampleSpec:  proto.SampleSpec{Format: proto.FormatInt16LE, Channels: 1, Rate: rate},
		ChannelMap:  proto.ChannelMap{proto.ChannelMono},
		SourceIndex: proto.Undefined,
		SourceName:  source,
		Corked:      true,

		BufferMaxLength: proto.Undefined,
		BufferFragSize:  size(o.Period),
		AdjustLatency:   true,

		DirectOnInputIndex: proto.Undefined,
		ChannelVolumes:     proto.ChannelVolumes{proto.VolumeNorm},
		Properties: proto.PropList{
			"media.name": proto.PropListString("call"),
			"media.role": proto.PropListString("phone"),
		},
	}
	var reply proto.CreateRecordStreamReply
	if err := c.link.request("open input "+source, &req, &reply); err != nil {
		c.Close()
		return nil, err
	}
	c.link.release()
	c.index = reply.StreamIndex
	c.cork = &proto.CorkRecordStream{StreamIndex: c.index, Corked: true}
	c.uncork = &proto.CorkRecordStream{StreamIndex: c.index}
	c.keepTime(c.askDelay)
	return c, nil
}

// handle takes the server's messages, on the reader's goroutine.
func (c *Capture) handle(msg any) {
	switch m := msg.(type) {
	case *proto.DataPacket:
		c.mu.Lock()
		c.storeLocked(m.Data)
		c.signalLocked()
		c.mu.Unlock()
	case *proto.RecordStreamKilled:
		c.lose(syscall.ENODEV) // the source was taken away
	}
}

// storeLocked appends what came. When there is no room, the reader has slept: as
// a card does, forget all but the newest.
func (c *Capture) storeLocked(data []byte) {
	if !c.running {
		return // on its way when we stopped
	}
	n := len(data) / sampleBytes
	if n > len(c.ring)-c.keep { // more than anybody asked for
		data, n = data[sampleBytes*(n-len(c.ring)+c.keep):], len(c.ring)-c.keep
	}
	if c.have+n > len(c.ring) {
		c.xruns.Add(1)
		drop := c.have - min(c.have, c.keep)
		c.first, c.have = (c.first+drop)%len(c.ring), c.have-drop
		c.moved += int64(drop)
	}
	for i := range n {
		c.ring[(c.first+c.have+i)%len(c.ring)] = int16(binary.LittleEndian.Uint16(data[sampleBytes*i:]))
	}
	c.have += n
}

// Read fills samples and returns when the last one has been recorded. The first
// one after opening or Stop starts the stream.
func (c *Capture) Read(samples []int16) error {
	if err := c.run(true); err != nil {
		return c.fail("read", err)
	}
	for len(samples) > 0 {
		c.mu.Lock()
		n, err := min(len(samples), c.have), c.err
		for i := range n {
			samples[i] = c.ring[(c.first+i)%len(c.ring)]
		}
		c.first, c.have = (c.first+n)%len(c.ring), c.have-n
		c.moved += int64(n)
		c.mu.Unlock()
		if samples = samples[n:]; n > 0 {
			continue
		}
		if err == nil {
			err = c.wait()
		}
		if err != nil {
			return c.fail("read", err)
		}
	}
	return nil
}

// Delay is how many samples lie between the microphone and the next one read.
func (c *Capture) Delay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		return 0
	}
	d := c.clock.delay - int(c.moved-c.clock.moved) + int(time.Since(c.clock.at)*rate/time.Second)
	return max(d, c.have)
}

func (c *Capture) askDelay() (int, error) {
	var r proto.GetRecordLatencyReply
	if err := c.link.request("ask delay", &proto.GetRecordLatency{StreamIndex: c.index}, &r); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(r.WriteIndex-r.ReadIndex)/sampleBytes + samples(r.Latency) + c.have, nil
}

// Stop drops what has been recorded and lets the microphone sleep until the next
// Read.
func (c *Capture) Stop() error {
	err := c.run(false)
	if err == nil {
		err = c.link.request("drop", &proto.FlushRecordStream{StreamIndex: c.index}, nil)
	}
	c.mu.Lock()
	c.have = 0
	c.mu.Unlock()
	if err != nil {
		return c.fail("stop", err)
	}
	return nil
}
