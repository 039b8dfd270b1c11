package alsa

import "context"

// A Speaker is an output that outlives its device: while the device is gone or
// cannot be opened, Write takes as long as it would and the sound is lost; as
// soon as it is back the sound is heard again. One goroutine writes; the other
// methods may be called from anywhere. While the device is gone a goroutine of
// the Speaker looks for it; Close ends that, even where a sound server keeps it waiting.
type Speaker struct{ k keeper[*Playback] }

// NewSpeaker opens an output for good. It does not fail: Err tells if there is
// nothing to be heard from, and why. device names it, and is asked at each look for
// one, but for the first 10 s after one was lost: those are for that one. It is
// called from one goroutine at a time, and its context ends with Close.
func NewSpeaker(device func(context.Context) string, o Options) *Speaker {
	s := &Speaker{}
	s.k.start(device, func(ctx context.Context, device string) (*Playback, error) {
		return openPlayback(ctx, device, o)
	})
	return s
}

// Write plays samples like Playback.Write, or lets their time pass. Its only
// error is ErrClosed.
func (s *Speaker) Write(samples []int16) error {
	if p, ok := s.k.get(); ok {
		err := p.Write(samples)
		if err == nil {
			return nil
		}
		s.k.lose(p, err)
	}
	return s.k.pass(len(samples))
}

// Stop is Playback.Stop. It belongs to the goroutine that writes.
func (s *Speaker) Stop() {
	if p, ok := s.k.get(); ok {
		if err := p.Stop(); err != nil {
			s.k.lose(p, err)
		}
	}
}

// Delay is Playback.Delay, 0 while the device is gone.
func (s *Speaker) Delay() int { return s.k.delay() }

// Xruns counts the underruns of all devices that were used.
func (s *Speaker) Xruns() int { return s.k.xruns() }

// Losses counts how often the device went away.
func (s *Speaker) Losses() int { return s.k.losses() }

// Err is nil while the device works, else why it does not. It asks the device, so
// that one that leaves between two calls is missed too.
func (s *Speaker) Err() error { return s.k.state() }

// Device is the name of the device in use, or of the last one; "" before the
// first.
func (s *Speaker) Device() string { return s.k.name() }

// Close gives the device back. A Write that waits returns ErrClosed. Safe twice.
func (s *Speaker) Close() error { return s.k.close() }

// A Microphone is an input that outlives its device, as a Speaker does: while the
// device is gone Read gives silence, in real time.
type Microphone struct{ k keeper[*Capture] }

// NewMicrophone opens an input for good, like NewSpeaker.
func NewMicrophone(device func(context.Context) string, o Options) *Microphone {
	m := &Microphone{}
	m.k.start(device, func(ctx context.Context, device string) (*Capture, error) {
		return openCapture(ctx, device, o)
	})
	return m
}

// Read fills samples like Capture.Read, or with silence. Its only error is
// ErrClosed.
func (m *Microphone) Read(samples []int16) error {
	if c, ok := m.k.get(); ok {
		err := c.Read(samples)
		if err == nil {
			return nil
		}
		m.k.lose(c, err)
	}
	clear(samples)
	return m.k.pass(len(samples))
}

// Stop is Capture.Stop. It belongs to the goroutine that reads.
func (m *Microphone) Stop() {
	if c, ok := m.k.get(); ok {
		if err := c.Stop(); err != nil {
			m.k.lose(c, err)
		}
	}
}

// Delay is Capture.Delay, 0 while the device is gone.
func (m *Microphone) Delay() int { return m.k.delay() }

// Xruns counts the overruns of all devices that were used.
func (m *Microphone) Xruns() int { return m.k.xruns() }

// Losses counts how often the device went away.
func (m *Microphone) Losses() int { return m.k.losses() }

// Err is nil while the device works, else why it does not. It asks the device, so
// that one that leaves between two calls is missed too.
func (m *Microphone) Err() error { return m.k.state() }

// Device is the name of the device in use, or of the last one; "" before the
// first.
func (m *Microphone) Device() string { return m.k.name() }

// Close gives the device back. A Read that waits returns ErrClosed. Safe twice.
func (m *Microphone) Close() error { return m.k.close() }
