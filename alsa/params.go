package alsa

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// rates in the order in which a card that lacks the earlier is asked for them.
var rates = [...]int{48000, 44100, 96000, 32000, 88200, 192000, 24000, 16000, 22050, 11025, 8000}

// params is a set of choices that the card still has. It narrows with each.
type params struct {
	hwParams
	control func(req uintptr, arg unsafe.Pointer) error
}

func (p *params) interval(n int) *interval { return &p.intervals[n-firstInterval] }

// try narrows the set by change if the card has such a choice.
func (p *params) try(change func(*params)) error {
	next := *p
	change(&next)
	next.rmask = ^uint32(0)
	if err := p.control(reqRefine, unsafe.Pointer(&next.hwParams)); err != nil {
		return err
	}
	*p = next
	return nil
}

// exactly sets interval n to v.
func (p *params) exactly(n, v int) error {
	return p.try(func(p *params) {
		*p.interval(n) = interval{uint32(v), uint32(v), intervalInteger}
	})
}

// near sets interval n to what the card has next to v, rather above than below.
func (p *params) near(n, v int) error {
	above, below := *p, *p
	okAbove := above.try(func(p *params) { i := p.interval(n); i.min = max(i.min, uint32(v)) }) == nil
	okBelow := below.try(func(p *params) { i := p.interval(n); i.max = min(i.max, uint32(v)) }) == nil
	switch {
	case okAbove && (!okBelow || int(above.interval(n).min)-v <= v-int(below.interval(n).max)):
		return p.exactly(n, int(above.interval(n).min))
	case okBelow:
		return p.exactly(n, int(below.interval(n).max))
	}
	return syscall.EINVAL
}

func (p *params) set(n int, bit uint) error {
	return p.try(func(p *params) {
		p.masks[n] = mask{}
		p.masks[n].bits[bit/32] = 1 << (bit % 32)
	})
}

// negotiate agrees with the card on rate, format, channels and sizes, in the
// order in which a compromise would cost most, and sets them.
func negotiate(control func(req uintptr, arg unsafe.Pointer) error, o Options) (setup, error) {
	p := &params{control: control}
	for i := range p.masks {
		for j := range p.masks[i].bits {
			p.masks[i].bits[j] = ^uint32(0)
		}
	}
	for i := range p.intervals {
		p.intervals[i].max = ^uint32(0)
	}
	if err := p.set(paramAccess, accessRWInterleaved); err != nil {
		return setup{}, fmt.Errorf("interleaved samples: %w", err)
	}
	var s setup
	var err error
	if s.rate, err = p.chooseRate(o.Rate); err != nil {
		return setup{}, err
	}
	if s.format, err = p.chooseFormat(o.Format); err != nil {
		return setup{}, err
	}
	if s.channels, err = p.chooseChannels(o.Channels); err != nil {
		return setup{}, err
	}
	if err := p.near(paramPeriodSize, frames(o.period(), s.rate)); err != nil {
		return setup{}, fmt.Errorf("period of %v: %w", o.period(), err)
	}
	if err := p.near(paramBufferSize, frames(o.buffer(), s.rate)); err != nil {
		return setup{}, fmt.Errorf("buffer of %v: %w", o.buffer(), err)
	}
	p.rmask = ^uint32(0)
	if err := control(reqHWParams, unsafe.Pointer(&p.hwParams)); err != nil {
		return setup{}, fmt.Errorf("set %d Hz, %v, %d channels: %w", s.rate, s.format, s.channels, err)
	}
	s.period, s.buffer = int(p.interval(paramPeriodSize).min), int(p.interval(paramBufferSize).min)
	if s.period <= 0 || s.buffer < 2*s.period || s.buffer > 10*s.rate {
		return setup{}, fmt.Errorf("the card wants %d frames in periods of %d: %w", s.buffer, s.period, syscall.EINVAL)
	}
	return s, nil
}

func frames(d time.Duration, rate int) int {
	return int((d*time.Duration(rate) + time.Second/2) / time.Second)
}

func (p *params) chooseRate(want int) (int, error) {
	if want != 0 {
		if err := p.exactly(paramRate, want); err != nil {
			return 0, fmt.Errorf("%d Hz: %w", want, err)
		}
		return want, nil
	}
	for _, r := range rates {
		if p.exactly(paramRate, r) == nil {
			return r, nil
		}
	}
	i := p.interval(paramRate)
	return 0, fmt.Errorf("no rate of ours, it has %d to %d Hz: %w", i.min, i.max, syscall.EINVAL)
}

func (p *params) chooseFormat(want Format) (Format, error) {
	if want != 0 {
		if err := p.set(paramFormat, uint(want)); err != nil {
			return 0, fmt.Errorf("%v: %w", want, err)
		}
		return want, nil
	}
	for _, f := range formats {
		if p.set(paramFormat, uint(f)) == nil {
			return f, nil
		}
	}
	return 0, fmt.Errorf("no sample format of ours, it has %#x: %w", p.masks[paramFormat].bits[:2], syscall.EINVAL)
}

func (p *params) chooseChannels(want int) (int, error) {
	if want != 0 {
		if err := p.exactly(paramChannels, want); err != nil {
			return 0, fmt.Errorf("%d channels: %w", want, err)
		}
		return want, nil
	}
	for _, n := range []int{1, 2, int(p.interval(paramChannels).min)} {
		if p.exactly(paramChannels, n) == nil {
			return n, nil
		}
	}
	i := p.interval(paramChannels)
	return 0, fmt.Errorf("%d to %d channels, none can be set: %w", i.min, i.max, syscall.EINVAL)
}
