package wire

import (
	"crypto/rand"
	"fmt"
	"testing"
)

// A voicePath is a sender, three hops, and a receiver on the other side.
type voicePath struct {
	frameSealer  *FrameSealer
	frameOpener  *FrameOpener
	layerSealers [MaxLayers]*LayerSealer
	layerOpeners [MaxLayers]*LayerOpener
	linkSealer   *LinkSealer
	linkOpener   *LinkOpener
	frame        Frame
	cell         VoiceCell
}

func newVoicePath() *voicePath {
	p := &voicePath{
		frameSealer: NewFrameSealer(&keyEnd, somePID), frameOpener: NewFrameOpener(&keyEnd, somePID),
		linkSealer: NewLinkSealer(&keyLink), linkOpener: NewLinkOpener(&keyLink),
	}
	for i := range MaxLayers {
		p.layerSealers[i], p.layerOpeners[i] = NewLayerSealer(&keyLayers[i]), NewLayerOpener(&keyLayers[i])
	}
	return p
}

var somePayload = make([]byte, 162) // a packet of 80 bytes and its copy

// seal does a sender's work on one frame.
func (p *voicePath) seal(layers int) {
	must(p.frameSealer.Seal(&p.frame, someFrameHeader, somePayload))
	b := p.cell.Body()
	clear(b[copy(b[:], p.frame[:]):])
	for i := range layers {
		must(p.layerSealers[layers-1-i].Seal(b, i))
	}
	p.cell.SetTunnelID(1)
	must(p.linkSealer.Seal(&p.cell, 7))
}

// open does all that is done to a cell until it is heard, without the links between the hops.
func (p *voicePath) open(layers int) {
	_, err := p.linkOpener.Open(&p.cell)
	must(err)
	b := p.cell.Body()
	for i := range layers {
		must(p.layerOpeners[i].Open(b, layers-i))
	}
	_, _, _, err = p.frameOpener.Open(FrameFromBody(b))
	must(err)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func TestKeepAlive(t *testing.T) {
	var c VoiceCell
	rand.Read(c[:])
	for _, kind := range []byte{KeepAlivePing, KeepAlivePong, 0, 255} {
		c.SetKeepAlive(kind)
		if c.TunnelID() != 0 || c.KeepAlive() != kind {
			t.Errorf("keep-alive %d is %d of tunnel %d", kind, c.KeepAlive(), c.TunnelID())
		}
		for i := 1; i < BodySize; i++ {
			c.Body()[i] = 1
			if c.KeepAlive() != 0 {
				t.Errorf("with byte %d set it is taken for %d", i, c.KeepAlive())
			}
			c.Body()[i] = 0
		}
	}
}

func TestVoiceAllocs(t *testing.T) {
	for layers := range MaxLayers + 1 {
		p := newVoicePath()
		noAllocs(t, fmt.Sprintf("sealing and opening voice in %d layers", layers), func() {
			p.seal(layers)
			p.open(layers)
		})
	}
}

// What attackers send costs no memory either.
func TestForgedVoiceAllocs(t *testing.T) {
	p := newVoicePath()
	p.seal(MaxLayers)
	whole := p.cell
	p.open(MaxLayers)
	var spent FrameSealer
	spent.s.next = 1 // and max 0
	for name, f := range map[string]func() error{
		"opening a repeated cell": func() error {
			p.cell = whole
			_, err := p.linkOpener.Open(&p.cell)
			return err
		},
		"opening a forged cell": func() error {
			p.cell = whole
			p.cell[4] = 1
			_, err := p.linkOpener.Open(&p.cell)
			return err
		},
		"opening a forged layer": func() error {
			p.cell = whole
			p.cell.Body()[0] = 1
			return p.layerOpeners[0].Open(p.cell.Body(), MaxLayers)
		},
		"opening a forged frame": func() error {
			p.cell = whole
			p.cell.Body()[0] = 1
			_, _, _, err := p.frameOpener.Open(FrameFromBody(p.cell.Body()))
			return err
		},
		"sealing with a spent key": func() error { return spent.Seal(&p.frame, someFrameHeader, nil) },
	} {
		noAllocs(t, name, func() {
			if f() == nil {
				t.Fatalf("%s succeeds", name)
			}
		})
	}
}

func BenchmarkVoiceSeal(b *testing.B) { // a sender's work: frame, 3 layers, link
	p := newVoicePath()
	b.ReportAllocs()
	for b.Loop() {
		p.seal(MaxLayers)
	}
}

func BenchmarkVoiceOpen(b *testing.B) { // link, 3 layers, frame
	p := newVoicePath()
	p.seal(MaxLayers)
	whole := p.cell
	b.ReportAllocs()
	for b.Loop() {
		p.cell = whole
		p.linkOpener.o.seen, p.frameOpener.o.seen = window{}, window{}
		for _, o := range p.layerOpeners {
			o.o.seen = window{}
		}
		p.open(MaxLayers)
	}
}

func BenchmarkVoiceRelay(b *testing.B) { // a middle hop's work: one link open, one layer off, the next link sealed
	p := newVoicePath()
	p.seal(MaxLayers)
	whole := p.cell
	out := NewLinkSealer(&keyLink)
	b.ReportAllocs()
	for b.Loop() {
		p.cell = whole
		p.linkOpener.o.seen, p.layerOpeners[0].o.seen = window{}, window{}
		_, err := p.linkOpener.Open(&p.cell)
		must(err)
		must(p.layerOpeners[0].Open(p.cell.Body(), MaxLayers))
		must(out.Seal(&p.cell, 9))
	}
}

func BenchmarkVoiceForged(b *testing.B) { // what a forged cell costs its receiver
	p := newVoicePath()
	p.seal(MaxLayers)
	p.cell[VoiceCellSize-1] ^= 1
	whole := p.cell
	b.ReportAllocs()
	for b.Loop() {
		p.cell = whole
		if _, err := p.linkOpener.Open(&p.cell); err != ErrForged {
			b.Fatal(err)
		}
	}
}
