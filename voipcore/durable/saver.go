package durable

import (
	"io/fs"
	"sync"
	"time"
)

// A Saver keeps a file as somebody wants it who must not wait for the disk, and
// whom others may give reason to save all the time: it writes at once, and then
// not again for 5 s, which an SD card stands for years. Save may be called from
// any goroutine. It owns a goroutine, which ends with Close.
type Saver struct {
	path   string
	perm   fs.FileMode
	failed func(error)

	mu     sync.Mutex
	data   []byte        // to be written next; nil: nothing
	more   chan struct{} // of size 1: data may be there
	closed bool
	end    chan struct{} // closed by Close
	done   chan struct{} // closed when the goroutine has ended
}

// NewSaver returns a Saver of a file with the permissions perm. failed is told, on
// the Saver's goroutine, of writes that fail.
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

// pause is between two writes.
const pause = 5 * time.Second

func (s *Saver) run() {
	defer close(s.done)
	for {
		select {
		case <-s.more:
		case <-s.end:
			s.write()
			return
		}
		s.write()
		select {
		case <-time.After(pause):
		case <-s.end:
		}
	}
}

// write writes what is to be written, if there is anything.
func (s *Saver) write() {
	s.mu.Lock()
	data := s.data
	s.data = nil
	s.mu.Unlock()
	if data == nil {
		return
	}
	if err := WriteFile(s.path, data, s.perm); err != nil {
		s.failed(err)
	}
}
