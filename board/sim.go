package board

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/wav"
)

// frame is what Read and Write carry: 20 ms.
const frame = voice.FrameSamples * time.Second / voice.RateHz

// held is how many frames the imagined sound card can hold: who comes later
// than that has lost the time between, as with a real one. 200 ms are what USB
// cards and sound servers hold at most, and below what a jitter buffer evens out.
const held = 10

// A pace is an absolute schedule of frames: however late one is, the next ones
// are due when they would have been. It belongs to one goroutine but for began.
type pace struct {
	start time.Time // with the monotonic clock; zero while stopped
	count int       // frames so far
	wall  atomic.Int64
	xruns atomic.Int64
}

// next begins the schedule if it has not begun, and returns how many frames
// were lost because nobody came for them.
func (p *pace) next() (lost int) {
	if p.start.IsZero() {
		p.start, p.count = time.Now(), 0
		p.wall.Store(p.start.UnixNano())
	}
	if late := int(time.Since(p.start)/frame) - p.count; late > held {
		lost = late
		p.count += late
		p.xruns.Add(1)
	}
	return lost
}

// wait waits until the present frame is over, and counts it.
func (p *pace) wait() {
	p.count++
	time.Sleep(time.Until(p.start.Add(time.Duration(p.count) * frame)))
}

func (p *pace) stop() { p.start = time.Time{} }

func (p *pace) began() time.Time {
	if n := p.wall.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// A fileMicrophone speaks a file in real time: from its first sample with the
// first Read after opening or Stop, once, then silence. It belongs to one
// goroutine; Xruns may be called by others.
type fileMicrophone struct {
	pace
	sound []int16 // 48 kHz
}

// openMicrophone reads a WAV file of any usual rate; "" is silence.
func openMicrophone(file string) (*fileMicrophone, error) {
	if file == "" {
		return new(fileMicrophone), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("board: microphone: %w", err)
	}
	defer f.Close()
	s, err := wav.Read(f)
	if err != nil {
		return nil, fmt.Errorf("board: microphone %s: %w", file, err)
	}
	r, err := voice.NewResampler(s.RateHz)
	if err != nil {
		return nil, fmt.Errorf("board: microphone %s: %w", file, err)
	}
	return &fileMicrophone{sound: r.Flush(r.Append(nil, s.Samples))}, nil
}

// Read waits until the next 20 ms have been spoken. It never fails.
func (m *fileMicrophone) Read(pcm *[voice.FrameSamples]int16) error {
	m.next() // what nobody came for was spoken nevertheless
	at := min(m.count*len(pcm), len(m.sound))
	n := copy(pcm[:], m.sound[at:])
	clear(pcm[n:])
	m.wait()
	return nil
}

// Stop ends the speech; the next Read begins it anew.
func (m *fileMicrophone) Stop() { m.stop() }

// Xruns counts how often speech was lost because nobody read it in time.
func (m *fileMicrophone) Xruns() int { return int(m.xruns.Load()) }

// A fileSpeaker records what it is given into a WAV file, in real time: the file
// begins with the first Write after opening or Stop, in the place of what it
// held, and what was not written in time is silence in it. So a file holds one
// call, and a sample's place in it says when it was heard. It belongs to one
// goroutine; Close and Xruns may be called by others.
type fileSpeaker struct {
	pace
	path string

	mu     sync.Mutex // guards what follows
	file   *os.File   // nil while stopped
	out    *wav.Writer
	err    error // of the file that was stopped, until Close tells it
	closed bool
}

var silence [voice.FrameSamples]int16

// openSpeaker makes sure that the file can be written; "" is nowhere.
func openSpeaker(file string) (*fileSpeaker, error) {
	if file == "" {
		return new(fileSpeaker), nil
	}
	if fi, err := os.Stat(filepath.Dir(file)); err != nil || !fi.IsDir() {
		return nil, fmt.Errorf("board: speaker %s: there is no such folder", file)
	}
	return &fileSpeaker{path: file}, nil
}

// Write plays 20 ms and returns when they are over. It fails if the file can
// not be written.
func (s *fileSpeaker) Write(pcm *[voice.FrameSamples]int16) error {
	lost := s.next()
	if err := s.record(lost, pcm); err != nil {
		return fmt.Errorf("board: speaker: %w", err)
	}
	s.wait()
	return nil
}

func (s *fileSpeaker) record(lost int, pcm *[voice.FrameSamples]int16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return os.ErrClosed
	case s.path == "":
		return nil
	case s.file == nil:
		f, err := os.Create(s.path)
		if err != nil {
			return err
		}
		w, err := wav.NewWriter(f, voice.RateHz)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		s.file, s.out = f, w
	}
	for range lost {
		if err := s.out.Write(silence[:]); err != nil {
			return err
		}
	}
	return s.out.Write(pcm[:])
}

// Stop completes the file. The next Write begins it anew.
func (s *fileSpeaker) Stop() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish()
}

func (s *fileSpeaker) finish() {
	if s.file != nil {
		s.err = errors.Join(s.err, s.out.Close(), s.file.Close())
		s.file, s.out = nil, nil
	}
}

// Close completes the file. It is safe twice, and returns what went wrong with
// the files.
func (s *fileSpeaker) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish()
	s.closed = true
	if s.err != nil {
		return fmt.Errorf("board: speaker %s: %w", s.path, s.err)
	}
	return nil
}

// Xruns counts how often nothing was written in time.
func (s *fileSpeaker) Xruns() int { return int(s.xruns.Load()) }

// A simulation is the parts of the simulated board.
type simulation struct {
	microphone *fileMicrophone
	speaker    *fileSpeaker
	lamps      []*Lamp
	outputs    []*Output
}

func openSimulation(o Options) (*simulation, error) {
	if o.Microphone != "" && filepath.Clean(o.Microphone) == filepath.Clean(o.Speaker) {
		return nil, fmt.Errorf("board: %s is both microphone and speaker: what is spoken would be overwritten", o.Speaker)
	}
	mic, err := openMicrophone(o.Microphone)
	if err != nil {
		return nil, err
	}
	speaker, err := openSpeaker(o.Speaker)
	if err != nil {
		return nil, err
	}
	s := &simulation{microphone: mic, speaker: speaker}
	for range someLEDs(o) {
		s.lamps = append(s.lamps, new(Lamp))
	}
	for range o.Outputs {
		s.outputs = append(s.outputs, simulatedOutput())
	}
	return s, nil
}

func (s *simulation) close() error {
	for _, o := range s.outputs {
		o.close()
	}
	return s.speaker.Close()
}
