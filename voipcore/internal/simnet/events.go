package simnet

import "time"

// An event is something that happens later. fire runs with the network's lock
// held, on the network's goroutine.
type event interface {
	fireLocked(now time.Time)
}

// pending is an event with its time. Events of one time fire in the order in
// which they were added.
type pending struct {
	due  time.Time
	nth  uint64
	what event
}

func (p pending) before(q pending) bool {
	if p.due.Equal(q.due) {
		return p.nth < q.nth
	}
	return p.due.Before(q.due)
}

// agenda is a binary heap of events. container/heap would put every event into
// an interface and so allocate for every datagram.
type agenda struct {
	heap []pending
	nth  uint64
}

// add puts what on the agenda and reports whether it is now the next event.
func (a *agenda) add(due time.Time, what event) bool {
	a.nth++
	a.heap = append(a.heap, pending{due, a.nth, what})
	i := len(a.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !a.heap[i].before(a.heap[up]) {
			break
		}
		a.heap[i], a.heap[up] = a.heap[up], a.heap[i]
		i = up
	}
	return i == 0
}

// take removes and returns the next event if it is due.
func (a *agenda) take(now time.Time) (event, bool) {
	if len(a.heap) == 0 || a.heap[0].due.After(now) {
		return nil, false
	}
	what := a.heap[0].what
	last := len(a.heap) - 1
	a.heap[0] = a.heap[last]
	a.heap[last] = pending{}
	a.heap = a.heap[:last]
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < last && a.heap[down].before(a.heap[least]) {
				least = down
			}
		}
		if least == i {
			return what, true
		}
		a.heap[i], a.heap[least] = a.heap[least], a.heap[i]
		i = least
	}
}

// next is the time of the next event.
func (a *agenda) next() (time.Time, bool) {
	if len(a.heap) == 0 {
		return time.Time{}, false
	}
	return a.heap[0].due, true
}

// run is the network's one goroutine. It fires events when they are due, and
// ends when Close closes done.
func (n *Net) run() {
	defer close(n.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n.mu.Lock()
		now := time.Now()
		for {
			what, ok := n.agenda.take(now)
			if !ok {
				break
			}
			what.fireLocked(now)
		}
		due, ok := n.agenda.next()
		n.mu.Unlock()

		// With nothing to come there is no timer either: a bubble in which
		// everybody waits for nothing is then found to be deadlocked.
		timer.Stop()
		if ok {
			timer.Reset(due.Sub(now))
		}
		select {
		case <-timer.C:
		case <-n.wake:
		case <-n.done:
			return
		}
	}
}

// atLocked has what fire at due, or as soon as possible if that is past.
func (n *Net) atLocked(due time.Time, what event) {
	if n.agenda.add(due, what) {
		select {
		case n.wake <- struct{}{}:
		default: // it is awake already, and looks at the agenda before it sleeps
		}
	}
}
