package device

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

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

// A sound runs microphone and speaker while there is a call. on and off belong
// to one goroutine. It owns three goroutines for each call, that of on and its
// two loops, which end within a frame after off.
type sound struct {
	mic     Microphone
	speaker Speaker
	log     *slog.Logger

	in, out [voice.FrameSamples]int16 // owned by the loops
	stop    *atomic.Bool              // ends the loops that run; nil if none do
	ended   chan struct{}             // closed when the last loops have ended
}

func newSound(mic Microphone, speaker Speaker, log *slog.Logger) *sound {
	s := &sound{mic: mic, speaker: speaker, log: log, ended: make(chan struct{})}
	close(s.ended)
	return s
}

// on starts the loops. Those of the call before may still be in a frame: they
// are waited for, but not by the caller.
func (s *sound) on(t talker) {
	before, ended, stop := s.ended, make(chan struct{}), new(atomic.Bool)
	s.ended, s.stop = ended, stop
	go func() {
		<-before
		var loops sync.WaitGroup
		loops.Go(func() { s.report("microphone", s.capture(t, stop)) })
		loops.Go(func() { s.report("speaker", s.play(t, stop)) })
		loops.Wait()
		close(ended)
	}()
}

// off has the loops end.
func (s *sound) off() {
	if s.stop != nil {
		s.stop.Store(true)
		s.stop = nil
	}
}

// wait waits until the loops have ended.
func (s *sound) wait() { <-s.ended }

// report tells why a loop ended. The call goes on with the other direction.
func (s *sound) report(what string, err error) {
	if err != nil && !errors.Is(err, os.ErrClosed) {
		s.log.Error("no sound", "device", what, "err", err)
	}
}

// capture carries what the microphone hears until stop.
func (s *sound) capture(t talker, stop *atomic.Bool) error {
	defer s.mic.Stop()
	for !stop.Load() {
		if err := s.mic.Read(&s.in); err != nil {
			return err
		}
		t.Speak(&s.in)
	}
	return nil
}

// play carries what the far end says to the speaker until stop.
func (s *sound) play(t talker, stop *atomic.Bool) error {
	defer s.speaker.Stop()
	for !stop.Load() {
		t.Listen(&s.out)
		if err := s.speaker.Write(&s.out); err != nil {
			return err
		}
	}
	return nil
}
