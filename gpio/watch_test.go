package gpio

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A contact stands in for an input: a button whose test presses it.
type contact struct {
	edge   chan struct{} // of size 16, as the kernel's queue; what does not fit is dropped
	halted chan struct{} // without a buffer: a halt that nobody waits for is lost, as periph's

	mu     sync.Mutex // guards what follows
	active bool
	gone   bool // the chip has left
	open   bool
	waits  int
	opens  int
}

func newContact() *contact {
	return &contact{edge: make(chan struct{}, 16), halted: make(chan struct{})}
}

func (c *contact) wait(d time.Duration) bool {
	c.mu.Lock()
	c.waits++
	gone := c.gone
	c.mu.Unlock()
	if gone {
		return false
	}
	select {
	case <-c.edge:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.edge:
		return true
	case <-c.halted:
	case <-t.C:
	}
	return false
}

func (c *contact) halt() {
	select {
	case c.halted <- struct{}{}:
	default:
	}
}

func (c *contact) level() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false, &LineError{Op: "read", Line: Line{Name: "button"}, Err: ErrGone}
	}
	return c.active, nil
}

func (c *contact) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = false
}

// set moves the contact.
func (c *contact) set(active bool) {
	c.mu.Lock()
	changed := c.active != active
	c.active = active
	c.mu.Unlock()
	if changed {
		c.spur()
	}
}

// spur makes an edge, of a line that is back where it was.
func (c *contact) spur() {
	select {
	case c.edge <- struct{}{}:
	default:
	}
}

func (c *contact) plug(in bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = !in
}

func (c *contact) counts() (waits, opens int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits, c.opens
}

// A trial is a Watch on a contact, in a synctest bubble.
type trial struct {
	*contact
	start  time.Time
	mu     sync.Mutex
	events []Event // guarded by mu
	stop   func() error
}

func watch(t *testing.T, c *contact, timing Timing) *trial {
	t.Helper()
	events := make(chan Event)
	w := watcher{line: Line{Name: "button"}, events: events, open: func(l Line) (input, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.gone {
			return nil, &LineError{Op: "open", Line: l, Err: ErrNoChip}
		}
		if c.open {
			t.Error("opened twice")
		}
		c.open = true
		c.opens++
		return c, nil
	}}
	tr := &trial{contact: c, start: time.Now()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		err := w.run(ctx, timing)
		close(events)
		done <- err
	}()
	var reader sync.WaitGroup
	reader.Go(func() {
		for e := range events {
			tr.mu.Lock()
			tr.events = append(tr.events, e)
			tr.mu.Unlock()
		}
	})
	tr.stop = sync.OnceValue(func() error {
		cancel()
		err := <-done
		reader.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open {
			t.Error("Watch returned and left the line open")
		}
		return err
	})
	t.Cleanup(func() { _ = tr.stop() })
	synctest.Wait()
	return tr
}

// told is what was reported so far, each with its millisecond since the start.
func (tr *trial) told() (s []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, e := range tr.events {
		s = append(s, fmt.Sprint(e.At.Sub(tr.start).Milliseconds(), " ", e.Kind))
	}
	return s
}

func (tr *trial) want(t *testing.T, want ...string) {
	t.Helper()
	if got := tr.told(); !slices.Equal(got, want) {
		t.Errorf("told %q\nwant %q", got, want)
	}
}

// Times below are 20 ms of settling and 1 ms of draining after the contact.

func TestWatchPress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{})
		sleep(100 * ms)
		for _, level := range []bool{true, false, true, false, true} {
			tr.set(level)
			sleep(2 * ms)
		}
		sleep(190 * ms)
		for _, level := range []bool{false, true, false} {
			tr.set(level)
			sleep(5 * ms)
		}
		sleep(time.Second)
		tr.want(t, "0 found", "129 down", "129 press", "331 up")
		if err := tr.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch = %v", err)
		}
	})
}

func TestWatchSpikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{})
		for i := range 100 {
			tr.set(true)
			sleep(time.Duration(i%20) * ms) // shorter than the settle time
			tr.set(false)
			sleep(50 * ms)
		}
		tr.want(t, "0 found")
	})
}

func TestWatchHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{Hold: 100 * ms})
		tr.set(true)
		sleep(90 * ms) // long enough to settle, too short to count
		tr.set(false)
		sleep(910 * ms)
		tr.set(true)
		sleep(500 * ms)
		tr.set(false)
		sleep(time.Second)
		tr.want(t, "0 found", "1101 down", "1101 press", "1521 up")
	})
}

// A release that is just settling when the press would become long was in time.
func TestWatchReleaseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{Long: time.Second})
		tr.set(true)
		sleep(1010 * ms) // known at 21, so it would be long at 1021
		tr.set(false)
		sleep(time.Second)
		tr.want(t, "0 found", "21 down", "1031 up", "1031 press")
	})
}

func TestWatchDownFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContact()
		c.set(true)
		<-c.edge
		tr := watch(t, c, Timing{})
		sleep(70 * time.Second)
		tr.set(false)
		sleep(time.Second)
		tr.set(true)
		sleep(time.Second)
		tr.want(t, "0 found", "60000 stuck", "70021 freed", "71021 down", "71021 press")
	})
}

// An open wire picks up the mains: it never settles, is told once, costs little,
// and works again when it is mended.
func TestWatchNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{})
		before, _ := tr.counts()
		for i := range 6000 {
			tr.set(i%2 == 0)
			sleep(10 * ms)
		}
		after, _ := tr.counts()
		if n := after - before; n > 60*50+300 {
			t.Errorf("%d waits in 60 s of noise, want one each 20 ms after the first 2 s", n)
		}
		sleep(time.Second)
		tr.set(true)
		sleep(time.Second)
		got := tr.told()
		if len(got) != 4 || got[1] != "2000 noisy" || got[3] != "61021 press" {
			t.Errorf("told %q, want noisy once, and the press after it", got)
		}
	})
}

// The microphone must not stay open when the wire of a push-to-talk button
// breaks while it is held.
func TestWatchNoiseEndsTalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{Talk: 300 * ms, Stuck: 5 * time.Second})
		tr.set(true)
		sleep(time.Second)
		for range 1000 {
			tr.spur()
			sleep(10 * ms)
		}
		got := tr.told()
		want := []string{"found", "down", "talk start", "noisy", "talk end", "up", "stuck"}
		if !slices.Equal(kinds(got), want) {
			t.Fatalf("told %q\nwant %q", got, want)
		}
		var at int
		if fmt.Sscan(got[4], &at); at < 5021 || at > 5021+20 {
			t.Errorf("talk ended at %d, want 5 s after the press, at most one throttled wait late", at)
		}
	})
}

// kinds leaves the times out.
func kinds(told []string) (k []string) {
	for _, s := range told {
		var at int
		fmt.Sscan(s, &at)
		k = append(k, s[len(fmt.Sprint(at))+1:])
	}
	return k
}

func TestWatchLostAndFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContact()
		c.plug(false)
		tr := watch(t, c, Timing{Talk: 300 * ms})
		sleep(59 * time.Second)
		tr.plug(true)
		sleep(2 * time.Second)
		tr.set(true)
		sleep(time.Second)
		tr.plug(false) // nothing wakes Watch, as on older kernels
		sleep(19 * time.Second)
		tr.set(false)
		tr.plug(true)
		sleep(10 * time.Second)
		got := tr.told()
		want := []string{"lost", "found", "down", "talk start", "talk end", "up", "lost", "lost", "found"}
		if !slices.Equal(kinds(got), want) {
			t.Fatalf("told %q\nwant %q", got, want)
		}
		tr.mu.Lock()
		for i, want := range map[int]error{0: ErrNoChip, 6: ErrGone, 7: ErrNoChip} {
			if err := tr.events[i].Err; !errors.Is(err, want) {
				t.Errorf("lost with %v, want %v", err, want)
			}
		}
		if late := tr.events[6].At.Sub(tr.start) - 62*time.Second; late > checkEvery {
			t.Errorf("found to be gone after %v", late)
		}
		tr.mu.Unlock()
		if _, opens := tr.counts(); opens != 2 {
			t.Errorf("opened %d times, want 2", opens)
		}
	})
}

// An edge that the kernel dropped is made up for.
func TestWatchLostEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{})
		sleep(time.Second)
		tr.contact.mu.Lock()
		tr.active = true
		tr.contact.mu.Unlock()
		sleep(10 * time.Second)
		tr.want(t, "0 found", "5021 down", "5021 press")
	})
}

// A level can be read before its edge is told: what is read at the end of a
// settle time may be the start of a spike.
func TestWatchLateEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{})
		silent := func(active bool) {
			tr.contact.mu.Lock()
			defer tr.contact.mu.Unlock()
			tr.active = active
		}
		tr.spur()
		sleep(19 * ms)
		silent(true)
		sleep(3 * ms) // past the end of settling
		tr.spur()     // the edge of before
		sleep(2 * ms)
		tr.set(false)
		sleep(time.Second)
		tr.want(t, "0 found")
	})
}

func TestWatchIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := watch(t, newContact(), Timing{})
		sleep(time.Hour)
		if waits, _ := tr.counts(); waits > 3600/5+1 {
			t.Errorf("woken %d times in an hour, want once in 5 s", waits)
		}
	})
}

// A line that fails at once, over and over, must not keep a processor busy.
func TestWatchBrokenWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContact()
		tr := watch(t, c, Timing{})
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case c.halted <- struct{}{}:
				case <-stop:
					return
				}
			}
		}()
		sleep(10 * time.Second)
		if waits, _ := tr.counts(); waits > 10*20+5 {
			t.Errorf("%d waits in 10 s, want 20 a second", waits)
		}
		close(stop)
	})
}

// Nobody reads the events: Watch waits, and still ends when it is told to.
func TestWatchEndsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContact()
		w := watcher{events: make(chan Event), open: func(Line) (input, error) { return c, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.run(ctx, Timing{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("run = %v", err)
		}
	})
}

func TestWatchRefusesTiming(t *testing.T) {
	if err := Watch(t.Context(), Line{}, Timing{Burst: -1}, nil); err == nil {
		t.Error("a negative burst is taken")
	}
}

// 1000 presses of a bad contact: each change bounces up to 9 times, with gaps
// below the settle time.
func TestWatchThousandPresses(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		tr := watch(t, newContact(), Timing{Settle: 5 * ms, Refill: ms})
		bounce := func(to bool) {
			for range r.IntN(5) {
				tr.set(to)
				sleep(time.Duration(r.Int64N(int64(5 * ms))))
				tr.set(!to)
				sleep(time.Duration(r.Int64N(int64(5 * ms))))
			}
			tr.set(to)
			sleep(7*ms + time.Duration(r.Int64N(int64(100*ms))))
		}
		for range 1000 {
			bounce(true)
			bounce(false)
		}
		count := map[string]int{}
		for _, k := range kinds(tr.told()) {
			count[k]++
		}
		for k, want := range map[string]int{"down": 1000, "press": 1000, "up": 1000, "found": 1} {
			if count[k] != want {
				t.Errorf("%d %s, want %d (%v)", count[k], k, want, count)
			}
		}
	})
}
