package board

import (
	"log/slog"

	"hushbell/alsa"
	"hushbell/voipcore/voice"
)

// A rush gives whoever moves sound real-time priority, if that is allowed. It
// belongs to that goroutine.
type rush struct {
	raise  func() (alsa.Thread, error)
	thread alsa.Thread
	tried  bool // since the last Stop: what was refused is not asked for with each frame
}

func (r *rush) begin() {
	if r.tried {
		return
	}
	r.tried = true
	r.thread, _ = r.raise() // tellPriority has told it
}

func (r *rush) end() {
	r.thread.Lower()
	r.thread, r.tried = alsa.Thread{}, false
}

// tellPriority tries whether real-time priority is to be had, and logs it.
func tellPriority(raise func() (alsa.Thread, error), log *slog.Logger) {
	t, err := raise()
	if err != nil {
		log.Warn("sound has no real-time priority, and may break up while the machine is busy", "err", err, "remedy", PriorityRemedy)
		return
	}
	defer t.Lower()
	if t.Priority < alsa.Priority {
		log.Info("sound has less real-time priority than it asks for", "priority", t.Priority, "asked", alsa.Priority)
		return
	}
	log.Info("sound has real-time priority", "priority", t.Priority)
}

// A cardMicrophone reads frames from a sound device. From the first Read after
// opening or Stop until Stop its goroutine has a thread of its own.
type cardMicrophone struct {
	input
	rush rush
}

// Read waits for the next 20 ms, of silence while there is no device. Its only
// error is alsa.ErrClosed.
func (m *cardMicrophone) Read(pcm *[voice.FrameSamples]int16) error {
	m.rush.begin()
	return m.input.Read(pcm[:])
}

func (m *cardMicrophone) Stop() {
	m.input.Stop()
	m.rush.end()
}

// A cardSpeaker writes frames to a sound device, and has a thread as a
// cardMicrophone does.
type cardSpeaker struct {
	output
	rush rush
}

// Write plays 20 ms, or lets them pass while there is no device. Its only error
// is alsa.ErrClosed.
func (s *cardSpeaker) Write(pcm *[voice.FrameSamples]int16) error {
	s.rush.begin()
	return s.output.Write(pcm[:])
}

func (s *cardSpeaker) Stop() {
	s.output.Stop()
	s.rush.end()
}
