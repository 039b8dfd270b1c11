package device

import "sync"

// A queue is what Run has to do, in order. Whoever puts something in must not
// be held up (voipcore's switchboard least of all, which Run in turn waits
// for), so it is a slice. It stays short: what fills it are people and calls,
// and voipcore lets no more than one call ring and one wait.
type queue struct {
	more chan struct{} // has an element when there may be something to take
	over chan struct{} // closed by close

	mu   sync.Mutex // guards what follows
	todo []func()
	done bool // nothing more is taken
}

func newQueue() *queue {
	return &queue{more: make(chan struct{}, 1), over: make(chan struct{})}
}

// put appends f, and reports whether Run may still do it.
func (q *queue) put(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.done {
		return false
	}
	q.todo = append(q.todo, f)
	select {
	case q.more <- struct{}{}:
	default:
	}
	return true
}

// take returns all there is.
func (q *queue) take() []func() {
	q.mu.Lock()
	defer q.mu.Unlock()
	todo := q.todo
	q.todo = nil
	return todo
}

// close ends the queue. What was not taken is not done.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done, q.todo = true, nil
	close(q.over)
}
