package gpio

import "time"

// A noisy line is one that has not stood still for noisyAfter: an open wire
// picks up the mains, with an edge every 10 ms.
const noisyAfter = 2 * time.Second

// A debouncer makes a clean level of a bouncing one. It has no clock and no
// line: it is told of edges, and says when it wants the level read. A level
// counts once it has stood for the settle time without an edge, a press for the
// hold time. It must have been read at both ends of that time: an edge is
// reported later than it can be read, so that one reading at the end could be
// the start of the next spike.
type debouncer struct {
	settle, hold time.Duration // set at the start, then constant
	active       bool          // the clean level
	seen         bool          // the level after the last edge
	last         time.Time     // of the edges
	first        time.Time     // edge since the line last stood still; zero: it does
	due          time.Time     // when the level is to be read; zero: never
}

// edge tells of an edge, and of the level after it. It reports whether the line
// is noisy.
func (d *debouncer) edge(active bool, now time.Time) (noisy bool) {
	if d.first.IsZero() {
		d.first = now
	}
	d.seen, d.last = active, now
	d.due = now.Add(d.settle)
	return now.Sub(d.first) >= noisyAfter
}

// read tells the level that was read when due. It reports whether the clean
// level changed.
func (d *debouncer) read(active bool, now time.Time) (changed bool) {
	if active != d.seen {
		d.edge(active, now)
		return false
	}
	d.first, d.due = time.Time{}, time.Time{}
	if active && !d.active {
		if held := d.last.Add(d.hold); now.Before(held) {
			d.due = held
			return false
		}
	}
	changed = active != d.active
	d.active = active
	return changed
}

// start is for a line that was just opened.
func (d *debouncer) start(active bool) {
	d.active, d.seen = active, active
	d.first, d.due = time.Time{}, time.Time{}
}
