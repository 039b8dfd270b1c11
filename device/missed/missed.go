// Package missed keeps the calls that nobody answered: the newest ones, in a file
// that a power cut does not harm. It does not know why they were missed.
package missed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"hushbell/voipcore/durable"
)

// The newest calls are kept.
const (
	Most          = 100 // of all
	MostStrangers = 20  // of those without a name: pids cost nothing, and must not push out contacts
)

// A Call is one that was missed, or several of the same caller in a row. The file
// holds pids, so only its owner can read it.
type Call struct {
	At    time.Time `json:"at"`             // the last one
	Name  string    `json:"name,omitempty"` // of the contact; "" of a stranger
	PID   string    `json:"pid"`
	Count int       `json:"count"` // how often, one after the other
}

// A Log is the calls that were missed. Its methods may be called from any
// goroutine, and do not wait for the disk.
type Log struct {
	saver *durable.Saver

	mu    sync.Mutex // guards calls
	calls []Call     // the oldest first
}

// Open returns the Log in a file. No file is no calls. A file that cannot be read
// is an error, but the Log is good, and empty: the file is replaced with the next
// call. failed is told of writes that fail.
func Open(path string, failed func(error)) (*Log, error) {
	l := &Log{saver: durable.NewSaver(path, 0o600, failed)}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l.calls)
	}
	if err != nil {
		l.calls = nil
		return l, fmt.Errorf("missed calls of before are lost: %s: %w", path, err)
	}
	l.calls = newest(l.calls)
	return l, nil
}

// Add notes a missed call.
func (l *Log) Add(at time.Time, name, pid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Call{At: at, Name: name, PID: pid, Count: 1}
	if n := len(l.calls); n > 0 && l.calls[n-1].PID == pid {
		c.Count += l.calls[n-1].Count
		l.calls = l.calls[:n-1]
	}
	l.calls = newest(append(l.calls, c))
	l.saveLocked()
}

// newest takes those of calls that are kept, and leaves calls as it is.
func newest(calls []Call) (kept []Call) {
	strangers := 0
	for _, c := range slices.Backward(calls) {
		if c.Name == "" {
			strangers++
		}
		if len(kept) < Most && (c.Name != "" || strangers <= MostStrangers) {
			kept = append(kept, c)
		}
	}
	slices.Reverse(kept)
	return kept
}

// List returns the calls, the newest first.
func (l *Log) List() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.calls)
	slices.Reverse(all)
	return all
}

// Clear forgets all calls.
func (l *Log) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = nil
	l.saveLocked()
}

func (l *Log) saveLocked() {
	b, err := json.Marshal(l.calls)
	if err != nil {
		panic(err) // there is nothing in a Call that JSON does not have
	}
	l.saver.Save(append(b, '\n'))
}

// Close waits until all is on the disk. It is safe twice.
func (l *Log) Close() { l.saver.Close() }
