package durable

import (
	"io/fs"
	"sync"
	"time"
)

// A Saver keeps a file as somebody wants it who must not wait for the disk, and
// whom others may give reason to save all the time: it writes at once, and then
// not again for 5 s, which an SD card stands for years. What cannot be written, as on a
// full disk, is tried again every minute, and by Close. Save may be called from any
// goroutine. It owns a goroutine, which ends with Close.
type Saver struct {
	path   string
	perm   fs.FileMode
	failed func(error)

	mu     sync.Mutex
	data   []byte        // to be written next; nil: nothing
	told   bool          // it could not be written, which failed knows
	more   chan struct{} // of size 1: data may be there
	closed bool
	end    chan struct{} // closed by Close
	done   chan struct{} // closed when the goroutine has ended
}

// NewSaver returns a Saver of a file with the permissions perm. failed is told, on
// the Saver's goroutine, of what cannot be written: once, until something else is saved.
func NewSaver(path string, perm fs.FileMode, failed func(error)) *Saver {
	s := &Saver{path: path, perm: perm, failed: failed, more: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

// Save makes data the content of the file soon, and does not wait for that. Of
// several in a row only the last may be written. It keeps data. After Close it does
// nothing.
func (s *Saver) Save(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.told = false
	if s.data = data; data == nil {
		s.data = []byte{}
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Close writes what is left to be written, and waits for it. It is safe twice.
func (s *Saver) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.end)
	}
	s.mu.Unlock()
	<-s.done
}

const (
	pause = 5 * time.Second // between two writes
	again = time.Minute     // until what could not be written is tried once more
)

func (s *Saver) run() {
	defer close(s.done)
	var retry <-chan time.Time
	for {
		select {
		case <-s.more:
		case <-retry:
		case <-s.end:
			s.write()
			return
		}
		retry = nil
		if !s.write() {
			retry = time.After(again)
		}
		select {
		case <-time.After(pause):
		case <-s.end:
		}
	}
}

// write writes what is to be written, if there is anything, and reports false if that
// failed.
func (s *Saver) write() bool {
	s.mu.Lock()
	data, told := s.data, s.told
	s.data = nil
	s.mu.Unlock()
	if data == nil {
		return true
	}
	err := WriteFile(s.path, data, s.perm)
	if err == nil {
		return true
	}
	s.mu.Lock()
	if s.data == nil {
		s.data, s.told = data, true
	}
	s.mu.Unlock()
	if !told {
		s.failed(err)
	}
	return false
}
