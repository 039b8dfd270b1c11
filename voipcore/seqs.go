package voipcore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"hushbell/voipcore/durable"
	"hushbell/voipcore/pid"
)

// seqs remembers the sequence number of the last record of each pid of ours,
// so that a clock that goes back does not make new records look old.
type seqs struct {
	file string // "" keeps them in memory

	mu   sync.Mutex // guards what follows
	last map[pid.ID]int64
}

func openSeqs(file string) (*seqs, error) {
	s := &seqs{file: file, last: map[pid.ID]int64{}}
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
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		var text string
		var n int64
		if _, err := fmt.Sscan(sc.Text(), &text, &n); err == nil {
			if id, err := pid.Parse(text); err == nil {
				s.last[id] = n
			}
		}
	}
	return s, nil
}

// next returns the number for a new record: at least least, and more than any
// before. It is on disk before it is used.
func (s *seqs) next(id pid.ID, least int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(least, s.last[id]+1)
	s.last[id] = n
	if s.file == "" {
		return n, nil
	}
	var b bytes.Buffer
	for id, n := range s.last {
		fmt.Fprintf(&b, "%s %d\n", id, n)
	}
	if err := durable.WriteFile(s.file, b.Bytes(), 0o600); err != nil {
		return 0, fmt.Errorf("voipcore: %w", err)
	}
	return n, nil
}
