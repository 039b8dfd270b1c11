package voipcore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"hushbell/voipcore/durable"
	"hushbell/voipcore/pid"
)

// seqs remembers the sequence number of the last record of each pid of ours for
// each day, so that a clock that goes back does not make new records look old.
// Every day counts for itself: were they one row of numbers, who stores the
// records of two days could tell that they belong together.
type seqs struct {
	file string // "" keeps them in memory

	mu   sync.Mutex // guards what follows
	last map[seqKey]int64
}

type seqKey struct {
	id  pid.ID
	day pid.Day
}

func openSeqs(file string) (*seqs, error) {
	s := &seqs{file: file, last: map[seqKey]int64{}}
	if file == "" {
		return s, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("voipcore: %w", err)
	}
	for line := range strings.Lines(string(b)) { // what is none of ours is left out
		var text string
		var day pid.Day
		var n int64
		if _, err := fmt.Sscan(line, &text, &day, &n); err == nil {
			if id, err := pid.Parse(text); err == nil {
				s.last[seqKey{id, day}] = n
			}
		}
	}
	return s, nil
}

// next returns the number for a new record of a day: at least least, and more
// than any before. It is on disk then, unless there is an error: the number is good
// all the same. Days that are over by more than one are forgotten.
func (s *seqs) next(id pid.ID, day pid.Day, least int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seqKey{id, day}
	n := max(least, s.last[k]+1)
	s.last[k] = n
	var b bytes.Buffer
	for k, n := range s.last {
		if k.id == id && k.day < day-1 {
			delete(s.last, k)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d\n", k.id, k.day, n)
	}
	if s.file == "" {
		return n, nil
	}
	if err := durable.WriteFile(s.file, b.Bytes(), 0o600); err != nil {
		return n, fmt.Errorf("voipcore: %w", err)
	}
	return n, nil
}
