package kx

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// bounded starts a relay with limits on a network in memory.
func (s *simnetwork) bounded(t testing.TB, ip string, clock Clock, l Limits, file string) *loopRelay {
	t.Helper()
	h := s.Host(hostAddrs(ip)...)
	listener, err := h.Listen(simPort)
	if err != nil {
		t.Fatal(err)
	}
	k, at := pid.NewKey(), []netip.AddrPort{h.AddrPort(simPort)}
	cfg := Config{Key: k, Listener: listener, Addrs: at, Clock: clock, Limits: l, TrafficFile: file}
	return &loopRelay{s.open(t, h, cfg), Relay{k.ID(), at}}
}

// sayFor sends voice one way for a time, 50 frames a second, and returns how
// many frames came out.
func sayFor(t testing.TB, d time.Duration, from, to *Tunnel) int {
	t.Helper()
	var heard atomic.Int64
	to.OnVoice(func(*wire.Frame) { heard.Add(1) })
	for range int(d / (20 * time.Millisecond)) {
		if err := from.SendVoice(new(wire.Frame)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	return int(heard.Load())
}

// A relay carries what its bandwidth allows: voice beyond is dropped, a stream
// is slowed down, to half of it, and new tunnels are refused meanwhile.
func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		const rate = 60 * voiceCost // ten frames a second more than one direction of a call
		r, x := s.bounded(t, "5.5.0.1", nil, Limits{Bandwidth: rate}, ""), s.relay(t, nil, "5.6.0.1")
		n := s.client(t, "9.9.0.1")
		dial := func() (from, to *Tunnel) { return join(t, n, n, path(r, x), path(x)) }
		a, toA := dial()
		time.Sleep(time.Second)
		// One direction of one call fits.
		if got := sayFor(t, 10*time.Second, a, toA); got != 500 {
			t.Errorf("%d of 500 frames came through within the bandwidth", got)
		}
		// Two do not. What there is is used, and no more.
		b, toB := dial()
		time.Sleep(time.Second)
		other := make(chan int)
		go func() { other <- sayFor(t, 10*time.Second, b, toB) }()
		got := sayFor(t, 10*time.Second, a, toA)
		full, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Build(full, path(r)); !errors.Is(err, ErrFull) {
			t.Errorf("a new tunnel at the bandwidth: %v, want ErrFull", err)
		}
		if got += <-other; got < 590 || got > 660+1 {
			t.Errorf("%d frames in 10 s, want the 600 of the bandwidth and at most one second's more", got)
		}
		if d := r.Traffic.VoiceDropped.Load(); d < 300 {
			t.Errorf("%d dropped cells were counted", d)
		}
		time.Sleep(2 * time.Second)
		if _, err := n.Build(t.Context(), path(r)); err != nil {
			t.Errorf("when the line is free again: %v", err)
		}

		// A stream gets half, and voice has room beside it.
		go a.Write(make([]byte, 1<<20))
		read := make(chan int64)
		go func() {
			toA.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, _ := io.Copy(io.Discard, toA)
			read <- n
		}()
		if got := sayFor(t, 10*time.Second, b, toB); got < 280 {
			t.Errorf("%d of 500 frames came through beside a stream, want most of 300", got)
		}
		// Each kB of a stream is more on the links.
		if got := <-read; got > 20*rate/2+rate/2 || got < 20*rate/2/2 {
			t.Errorf("a stream of %d bytes in 20 s, want less than half of the bandwidth: %d", got, 20*rate/2)
		}
		a.Close()
		b.Close()
		toA.Close()
		toB.Close()
	})
}

// usedNow is how much of the month's bytes is used up.
func (q *quota) usedNow() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used
}

// Handshakes and answers are of a relay's bytes, too, and a client who asks without
// end is not answered as fast.
func TestAnswersCountForTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r, n := s.bounded(t, "5.5.0.1", nil, Limits{Monthly: 1 << 30}, ""), s.client(t, "9.9.0.1")
		tun, err := n.Build(t.Context(), path(r))
		if err != nil {
			t.Fatal(err)
		}
		built := r.quota.usedNow()
		if built < 2*wire.CellSize { // the key exchange alone takes more than one cell
			t.Errorf("a tunnel was built with %d bytes of the month", built)
		}
		time.AfterFunc(10*time.Second, func() { tun.Close() })
		go func() {
			var many []byte
			var err error
			for range 100 {
				many, err = (&wire.HopMessage{Type: wire.KXDescribe}).Append(many)
			}
			for err == nil {
				_, err = tun.conn.Write(many)
			}
		}()
		answers := int64(0)
		for {
			if _, err := readHopMessage(tun.conn, &tun.buf); err != nil {
				break
			}
			answers++
		}
		if answers < tunnelLookupBurst || answers > tunnelLookupBurst+10*tunnelLookups {
			t.Errorf("%d answers in 10 s, want %d at once and %d a second", answers, tunnelLookupBurst, tunnelLookups)
		}
		if got := r.quota.usedNow() - built; got < answers*wire.CellSize {
			t.Errorf("%d answers took %d bytes of the month, want a cell each", answers, got)
		}
	})
}

// Handshakes that nobody waits for use up the bandwidth, and then new tunnels are
// refused at once: those who come later do not wait for all of them.
func TestHandshakesAtTheBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r := s.bounded(t, "5.5.0.1", nil, Limits{Bandwidth: 64 << 10}, "")
		evil, honest := s.client(t, "9.9.0.1"), s.client(t, "9.8.0.1")
		var wg sync.WaitGroup
		var full atomic.Int32
		for range 300 {
			wg.Go(func() {
				soon, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
				defer cancel()
				if tun, err := evil.Build(soon, path(r)); err == nil {
					tun.Close()
				} else if errors.Is(err, ErrFull) {
					full.Add(1)
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if full.Load() < 200 {
			t.Errorf("%d of 300 were refused", full.Load())
		}
		time.Sleep(3 * time.Second)
		start := time.Now()
		tun, err := honest.Build(t.Context(), path(r))
		if err != nil {
			t.Fatal(err)
		}
		tun.Close()
		if d := time.Since(start); d > time.Second {
			t.Errorf("then a tunnel took %v", d)
		}
	})
}

// What waits for its turn ends with its stream, and owes nothing then.
func TestWaitEndsWithTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := openQuota(Limits{Bandwidth: 10_000}, "", time.Now(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		q.streams.borrow(time.Now(), 1_000_000)
		start := time.Now()
		err = q.stream(t.Context(), 100_000, func() bool { return time.Since(start) > 2*quotaStep })
		if took := time.Since(start); err != errDestroyed || took > 3*quotaStep {
			t.Errorf("after %v: %v", took, err)
		}
		if left := q.streams.left(time.Now()); left < -1_000_000 {
			t.Errorf("%.0f bytes are owed", -left)
		}
	})
}

// A setClock is a clock that a test sets.
type setClock struct {
	systemClock
	at atomic.Int64
}

func (c *setClock) Now() time.Time { return time.Unix(c.at.Load(), 0) }

// When the month's bytes are used up the relay refuses others, also after a
// restart and with a clock that went back, until the next month.
func TestMonthly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		file := filepath.Join(t.TempDir(), "traffic")
		clock := new(setClock)
		set := func(text string) {
			at, err := time.Parse(time.DateOnly, text)
			if err != nil {
				t.Fatal(err)
			}
			clock.at.Store(at.Unix())
		}
		set("2026-02-03")
		limits := Limits{Monthly: 2000 * voiceCost}
		next, n := s.relay(t, nil, "5.6.0.1"), s.client(t, "9.9.0.1")
		r := s.bounded(t, "5.5.0.1", clock, limits, file)
		from, to := join(t, n, n, path(r, next), path(next))
		time.Sleep(time.Second)
		if got := sayFor(t, time.Minute, from, to); got < 1900 || got > 2000 {
			t.Errorf("%d frames came through, want those of the month's bytes, less what building took", got)
		}
		refused := func(r *loopRelay) bool {
			tun, err := n.Build(t.Context(), path(r))
			if err == nil {
				tun.Close()
			} else if !errors.Is(err, ErrFull) {
				t.Errorf("Build: %v, want ErrFull", err)
			}
			return err != nil
		}
		if !refused(r) {
			t.Error("a tunnel when the month's bytes are used up")
		}
		// A stream that stands ends, and says why.
		from.Write([]byte("x"))
		if _, err := from.Read(make([]byte, 1)); !errors.Is(err, ErrFull) {
			t.Errorf("a stream when the month's bytes are used up: %v, want ErrFull", err)
		}
		// Its own tunnels are none of others.
		own, err := r.Build(t.Context(), path(next))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own.Describe(t.Context()); err != nil {
			t.Errorf("a tunnel of the relay's own: %v", err)
		}
		own.Close()
		r.Node.Close()
		saved, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(saved), "2026-02 6") {
			t.Errorf("the file is %q, %v", saved, err)
		}

		set("1970-01-01") // until the clock has asked around
		r = s.bounded(t, "5.7.0.1", clock, limits, file)
		r.quota.count(100 * voiceCost) // too many by now
		if !refused(r) {
			t.Error("a restart gave the month's bytes back")
		}
		set("2026-02-28")
		time.Sleep(keepAliveEvery + time.Second)
		if !refused(r) {
			t.Error("a clock that was set gave the month's bytes back")
		}
		set("2026-03-01")
		time.Sleep(keepAliveEvery + time.Second)
		if refused(r) {
			t.Error("refused in the new month")
		}
		if saved, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(saved), "2026-03 ") {
			t.Errorf("in the new month the file is %q, %v", saved, err)
		}
	})
}

// A relay whose clock was once years ahead counts the months of the right one, an hour
// after that was set, and forgets nothing by it.
func TestMonthOfAClockThatWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := func(text string) time.Time {
			at, err := time.Parse(time.DateOnly, text)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
		file := filepath.Join(t.TempDir(), "traffic")
		open := func(now time.Time) *quota {
			q, err := openQuota(Limits{Monthly: 1000}, file, now, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		q := open(day("2036-02-07"))
		for q.count(100) {
		}
		right := day("2026-11-27")
		q.tick(right)
		time.Sleep(monthBack - time.Minute)
		q.tick(right)
		if q.month != "2036-02" {
			t.Errorf("the month is %s as soon as a clock says so", q.month)
		}
		time.Sleep(time.Minute)
		q.tick(right)
		if q.month != "2026-11" || q.admits() {
			t.Errorf("an hour later the month is %s, with room: %v", q.month, q.admits())
		}
		q = open(day("2026-11-30"))
		if q.used != 1000 {
			t.Errorf("the file has %d bytes of %s", q.used, q.month)
		}
		// Nor does one forget that was in the past for a while, from one month to the
		// next, and over a start.
		q.tick(day("1970-01-31"))
		time.Sleep(monthBack)
		q.tick(day("1970-01-31"))
		q = open(day("1970-02-01"))
		if q.month != "1970-02" || q.used != 1000 {
			t.Errorf("in the past, in %s, %d bytes are used", q.month, q.used)
		}
		if q.tick(day("2026-11-30")); q.month != "2026-11" || q.used != 1000 {
			t.Errorf("back in %s %d bytes are used", q.month, q.used)
		}
		if q.tick(day("2026-12-01")); !q.admits() || q.used != 0 {
			t.Errorf("in the next month %d bytes are used", q.used)
		}
	})
}

// The month's count is written whenever a part of it is used up, and not for
// every cell; a file that is none is written anew, and one that cannot be read
// is an error.
func TestTrafficFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "traffic")
	now := time.Unix(1_800_000_000, 0)
	const monthly = quotaSteps * 10 * voiceCost
	for _, text := range []string{"", "garbage", "2026-13 5\n", "2026-01 -5\n", "9999999999"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := openQuota(Limits{Monthly: monthly}, file, now, slog.New(slog.DiscardHandler))
		if err != nil || q.used != 0 || q.month != "2027-01" {
			t.Fatalf("%q is read as %d bytes of %s, %v", text, q.used, q.month, err)
		}
		writes, last := 0, int64(-1)
		for range 100 {
			if !q.voice() {
				t.Fatal("the month is used up")
			}
			q.tick(now)
			if q.saved != last {
				writes, last = writes+1, q.saved
			}
		}
		if writes < 9 || writes > 12 {
			t.Errorf("100 cells were written down %d times, want 10", writes)
		}
		if err := q.save(); err != nil {
			t.Fatal(err)
		}
		again, err := openQuota(Limits{Monthly: monthly}, file, now, slog.New(slog.DiscardHandler))
		if err != nil || again.used != 100*voiceCost {
			t.Errorf("read again: %d bytes, %v", again.used, err)
		}
	}
	if _, err := openQuota(Limits{Monthly: 1}, dir, now, nil); err == nil {
		t.Error("a folder is taken for the file")
	}
	if q, err := openQuota(Limits{}, dir, now, nil); q != nil || err != nil {
		t.Errorf("without bounds there is a quota: %v, %v", q, err)
	}
}

// While the count is written, which takes long on a flash card, cells go on.
func TestQuotaDoesNotWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "traffic")
		start := time.Now()
		q, err := openQuota(Limits{Monthly: quotaSteps * voiceCost}, file, start, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		q.write = func(string, []byte, fs.FileMode) error { time.Sleep(time.Second); return nil }
		q.count(2 * voiceCost)
		var writer sync.WaitGroup
		writer.Go(func() { q.tick(start) })
		synctest.Wait()
		if !q.voice() || !q.admits() || q.stream(t.Context(), 1, func() bool { return false }) != nil || time.Since(start) != 0 {
			t.Errorf("cells were stopped, or waited for %v", time.Since(start))
		}
		writer.Wait()
		if time.Since(start) != time.Second {
			t.Errorf("it was written after %v: nothing was tried", time.Since(start))
		}
	})
}
