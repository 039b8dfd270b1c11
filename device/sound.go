package device

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"hushbell/device/tone"
	"hushbell/voipcore/voice"
)

// A Microphone is what a device needs of a sound input. Read waits for the next
// 20 ms; the first one after opening or Stop starts the recording. Stop lets it
// sleep. One goroutine uses it.
type Microphone interface {
	Read(*[voice.FrameSamples]int16) error
	Stop()
}

// A Speaker is what a device needs of a sound output. Write takes 20 ms and
// waits until there is room for the next. Stop silences it at once and lets it
// sleep until the next Write. One goroutine uses it.
type Speaker interface {
	Write(*[voice.FrameSamples]int16) error
	Stop()
}

// A talker carries the sound of the call that stands; see voipcore.Core.
type talker interface {
	Speak(*[voice.FrameSamples]int16) bool
	Listen(*[voice.FrameSamples]int16) bool
}

// A sound runs the microphone while there is a call, and the speaker while there
// is a call or a tone. Its methods belong to one goroutine, which they do not
// hold up. It owns a goroutine for each direction that runs, which end within a
// frame, of the speaker after the tone was faded.
type sound struct {
	mic     Microphone
	speaker Speaker
	log     *slog.Logger
	tones   atomic.Pointer[tone.Player]
	mute    atomic.Bool // the far end is to hear silence

	in, out [voice.FrameSamples]int16 // owned by the loops

	stop     *atomic.Bool  // ends the capture loop that runs; nil if none does
	captured chan struct{} // closed when the last capture loop has ended
	played   chan struct{} // closed when the last play loop has ended

	mu      sync.Mutex // guards what follows
	talk    talker     // what is played; nil while there is no call
	playing bool       // a play loop runs, and will see what is changed
}

func newSound(mic Microphone, speaker Speaker, tones *tone.Player, log *slog.Logger) *sound {
	s := &sound{mic: mic, speaker: speaker, log: log, captured: make(chan struct{}), played: make(chan struct{})}
	s.tones.Store(tones)
	close(s.captured)
	close(s.played)
	return s
}

// on carries a call. The loops of the one before may still be in a frame: they
// are waited for, but not by the caller.
func (s *sound) on(t talker) {
	before, ended, stop := s.captured, make(chan struct{}), new(atomic.Bool)
	s.captured, s.stop = ended, stop
	go func() {
		defer close(ended)
		<-before
		s.report("microphone", s.capture(t, stop))
	}()
	s.mu.Lock()
	s.talk = t
	s.mu.Unlock()
	s.wake()
}

// off ends the call's sound.
func (s *sound) off() {
	if s.stop != nil {
		s.stop.Store(true)
		s.stop = nil
	}
	s.mu.Lock()
	s.talk = nil
	s.mu.Unlock()
}

// play plays a tone in place of the one that plays, also into a call; None ends
// it.
func (s *sound) play(t tone.Sound) {
	s.tones.Load().Play(t)
	if t != tone.None {
		s.wake()
	}
}

// use plays with another player from now on. What plays begins anew with it, unless
// it is the same for whoever listens.
func (s *sound) use(p *tone.Player) {
	before := s.tones.Load()
	if p.Same(before) {
		return
	}
	now := before.Playing()
	s.tones.Store(p)
	before.Stop()
	s.play(now)
}

// wake has the speaker run.
func (s *sound) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.playing {
		return
	}
	s.playing = true
	before, ended := s.played, make(chan struct{})
	s.played = ended
	go func() {
		defer close(ended)
		<-before
		s.report("speaker", s.run())
	}()
}

// wait waits until the loops have ended.
func (s *sound) wait() {
	<-s.captured
	<-s.played
}

// report tells why a loop ended. The call goes on with the other direction.
func (s *sound) report(what string, err error) {
	if err != nil && !errors.Is(err, os.ErrClosed) {
		s.log.Error("no sound", "device", what, "err", err)
	}
}

// capture carries what the microphone hears until stop. While it is mute that
// is silence: the frames go on, so that they tell nobody who speaks.
func (s *sound) capture(t talker, stop *atomic.Bool) error {
	defer s.mic.Stop()
	for !stop.Load() {
		if err := s.mic.Read(&s.in); err != nil {
			return err
		}
		if s.mute.Load() {
			clear(s.in[:])
		}
		t.Speak(&s.in)
	}
	return nil
}

// run plays call and tones until there is neither.
func (s *sound) run() error {
	defer s.speaker.Stop()
	for {
		p := s.tones.Load()
		t, more := s.source(p)
		if !more {
			return nil
		}
		if t != nil {
			t.Listen(&s.out)
			p.Mix(&s.out)
		} else {
			p.Fill(&s.out)
		}
		if err := s.speaker.Write(&s.out); err != nil {
			s.mu.Lock()
			s.playing = false
			s.mu.Unlock()
			return err
		}
	}
}

// source returns the call to be played, if there is one, and whether there is
// anything to be played at all; if not, the loop has to end.
func (s *sound) source(p *tone.Player) (t talker, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.playing = s.talk != nil || p.Sounding()
	return s.talk, s.playing
}
