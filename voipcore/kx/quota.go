package kx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"hushbell/voipcore/durable"
	"hushbell/voipcore/wire"
)

const (
	// voiceCost is what a voice cell takes of a quota: with its UDP and IPv4
	// headers (28 bytes). A call is 100 of them a second, 35 kB/s.
	voiceCost = wire.VoiceCellSize + 28
	// leastBurst is what goes at once however low the bandwidth is; otherwise
	// it is a second's worth.
	leastBurst = 8 * wire.CellSize
	// quotaSteps is how often the month's count is written: whenever one of so
	// many parts is used up, which is little for a flash card, and little to
	// forget when the plug is pulled.
	quotaSteps = 200
	// quotaStep is how soon a stream that waits for its turn notices its end.
	quotaStep = time.Second
	// monthBack is for how long the clock has to say that it is an earlier month
	// before it is believed: boards without a battery wake up in the past.
	monthBack = time.Hour
)

// A quota bounds what a relay carries for others by Limits.Bandwidth and
// Limits.Monthly: the data and voice of their tunnels that it sends, be it that it
// carries them or that it answers. What it receives is as much again; its own tunnels, the DHT
// and what keeps links alive do not count. A nil quota bounds nothing. Safe for
// concurrent use.
//
// At the bandwidth new tunnels are refused as full, streams become slower, down
// to half of it, and voice that does not fit beside them is dropped and counted.
// When the month's bytes are used up, everything is refused until the next one.
type quota struct {
	log     *slog.Logger
	monthly int64
	file    string
	all     budget // of bytes, in all; rate 0 bounds nothing
	streams budget // of them, for streams

	saving sync.Mutex // held by who writes the file, over mu
	failed bool       // to write it; guarded by saving
	write  func(file string, data []byte, perm fs.FileMode) error

	mu    sync.Mutex // guards what follows; never held over I/O
	month string     // of used, as 2006-01
	back  time.Time  // since when the clock says that it is an earlier one; zero if it does not
	left  string     // the month that was left for an earlier one; "" if none was
	used  int64
	saved int64 // used as the file has it
	over  bool  // used up, and the log was told
}

// openQuota returns the quota of a relay: nil if it has none. The month's
// count is read from file, which need not exist; "" keeps it in memory.
func openQuota(l Limits, file string, now time.Time, log *slog.Logger) (*quota, error) {
	if l.Bandwidth <= 0 && l.Monthly <= 0 {
		return nil, nil
	}
	rate := float64(max(0, l.Bandwidth))
	q := &quota{
		log: log, monthly: max(0, l.Monthly), file: file,
		all:     budget{rate: rate, burst: max(rate, leastBurst)},
		streams: budget{rate: rate / 2, burst: max(rate/2, leastBurst)},
		write:   durable.WriteFile,
	}
	if q.file != "" {
		b, err := os.ReadFile(q.file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("kx: traffic of the month: %w", err)
		}
		// What is no count of ours is written anew.
		n, _ := fmt.Sscanf(string(b), "%7s %d %7s\n", &q.month, &q.used, &q.left)
		if n < 2 || !isMonth(q.month) || q.used < 0 || n > 2 && !isMonth(q.left) {
			q.month, q.used, q.left = "", 0, ""
		}
		q.saved = q.used
	}
	q.tick(now)
	return q, nil
}

const monthLayout = "2006-01"

func isMonth(s string) bool {
	_, err := time.Parse(monthLayout, s)
	return err == nil
}

// tick notes the time, now and then: a new month begins at zero. A clock that goes
// back begins none; if it stays there, it was ahead before, and what was counted is of
// the month that it says now.
func (q *quota) tick(now time.Time) {
	if q == nil || q.monthly == 0 {
		return
	}
	q.mu.Lock()
	switch m := now.UTC().Format(monthLayout); {
	case m > q.month && m <= q.left: // it was right, and has not begun anew
		q.month, q.back, q.saved = m, time.Time{}, -1
		if m == q.left {
			q.left = ""
		}
	case m > q.month:
		if q.over {
			q.log.Info("a new month: the relay carries for others again")
		}
		q.month, q.left, q.used, q.over = m, "", 0, false
		q.back, q.saved = time.Time{}, -1 // the file has another month
	case m == q.month:
		q.back = time.Time{}
	case q.back.IsZero():
		q.back = time.Now()
	case time.Since(q.back) >= monthBack:
		q.month, q.left, q.back, q.saved = m, q.month, time.Time{}, -1
	}
	due := q.saved < 0 || q.used-q.saved > q.monthly/quotaSteps
	q.mu.Unlock()
	if due {
		q.save()
	}
}

// save writes the month's count, if it has changed. Cells go on meanwhile: a flash
// card can take a second.
func (q *quota) save() error {
	if q == nil || q.file == "" || q.monthly == 0 {
		return nil
	}
	q.saving.Lock()
	defer q.saving.Unlock()
	q.mu.Lock()
	month, used, saved, left := q.month, q.used, q.saved, q.left
	q.mu.Unlock()
	if used == saved {
		return nil
	}
	line := fmt.Sprintf("%s %d %s", month, used, left)
	if err := q.write(q.file, []byte(strings.TrimSpace(line)+"\n"), 0o600); err != nil {
		if !q.failed { // it is tried again all the time
			q.log.Warn("cannot save what the relay has carried this month", "err", err)
		}
		q.failed = true
		return fmt.Errorf("kx: traffic of the month: %w", err)
	}
	q.failed = false
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.month == month {
		q.saved = used
	}
	return nil
}

// count takes n bytes of the month's, and reports whether they were there.
func (q *quota) count(n int) bool {
	if q.monthly == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used+int64(n) > q.monthly {
		if !q.over {
			q.over = true
			q.log.Warn("this month's bytes are used up: the relay refuses others until the next month", "month", q.month)
		}
		return false
	}
	q.used += int64(n)
	return true
}

// admits reports whether there is room for one more tunnel.
func (q *quota) admits() bool {
	if q == nil {
		return true
	}
	if q.monthly > 0 {
		q.mu.Lock()
		over := q.over
		q.mu.Unlock()
		if over {
			return false
		}
	}
	if q.all.rate == 0 {
		return true
	}
	// A stream takes of all only what is its turn: that many wait shows in streams.
	now := time.Now()
	return q.all.left(now) >= q.all.burst/2 && q.streams.left(now) > -q.streams.burst
}

// voice reports whether a voice cell may be sent on. It does not block or
// allocate.
func (q *quota) voice() bool {
	if q == nil {
		return true
	}
	if q.all.rate > 0 {
		if _, ok := q.all.take(time.Now(), voiceCost); !ok {
			return false
		}
	}
	return q.count(voiceCost)
}

// stream waits until n bytes of a stream may be sent on. Its error is that of
// ctx, errDestroyed if the stream ended meanwhile, or ErrFull when the month's bytes
// are used up.
func (q *quota) stream(ctx context.Context, n int, ended func() bool) error {
	if q == nil {
		return nil
	}
	n = (n + wire.CellDataSize - 1) / wire.CellDataSize * wire.CellSize
	if q.all.rate > 0 {
		for d := q.streams.borrow(time.Now(), float64(n)); d > 0; d -= quotaStep {
			select {
			case <-time.After(min(d, quotaStep)):
			case <-ctx.Done():
				return ctx.Err()
			}
			if ended() {
				q.streams.giveBack(float64(n))
				return errDestroyed
			}
		}
		q.all.borrow(time.Now(), float64(n))
	}
	if !q.count(n) {
		return fmt.Errorf("%w: the month's bytes are used up", ErrFull)
	}
	return nil
}
