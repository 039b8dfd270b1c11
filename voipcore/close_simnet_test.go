package voipcore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/internal/simnet"
)

// labelled opens a box whose goroutines, and all that they start, can be told
// from those of others. It does not wait until the box is online.
func (w *world) labelled(t testing.TB, name string, h *simnet.Host, change func(*Config)) (b *box) {
	t.Helper()
	pprof.Do(t.Context(), pprof.Labels("box", name), func(context.Context) { b = w.offline(t, name, h, change) })
	return b
}

var goroutineGroup = regexp.MustCompile(`(?m)^(\d+) @`)

// goroutinesOf returns how many goroutines a labelled box has, and their stacks.
func goroutinesOf(t testing.TB, name string) (n int, stacks string) {
	t.Helper()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		t.Fatal(err)
	}
	label := fmt.Appendf(nil, "%q:%q", "box", name)
	for g := range bytes.SplitSeq(all.Bytes(), []byte("\n\n")) {
		if m := goroutineGroup.FindSubmatch(g); m != nil && bytes.Contains(g, label) {
			k, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			n += k
			stacks += string(g) + "\n\n"
		}
	}
	return n, stacks
}

// Close ends in time and leaves no goroutine, whatever the box is doing.
func TestSimCloseInEveryState(t *testing.T) {
	ringing := func(c *Config) { c.Welcome = ring }
	// What the box, which is closed, and another one do before. They are not
	// online yet.
	type story struct {
		name   string
		change func(*Config) // of the other one
		own    func(*Config)
		play   func(t *testing.T, w *world, x, y *box)
	}
	online := func(t *testing.T, boxes ...*box) {
		for _, b := range boxes {
			b.told(t, Reachability, time.Minute)
		}
	}
	hostOf := func(b *box) *simnet.Host { return b.cfg.Network.(simHost).Host }
	stories := []story{
		{"no network", nil, nil, func(t *testing.T, w *world, x, y *box) { hostOf(x).Cut(); time.Sleep(20 * time.Second) }},
		{"at once", nil, nil, func(t *testing.T, w *world, x, y *box) {}},
		{"online", nil, nil, func(t *testing.T, w *world, x, y *box) { online(t, x) }},
		{"cut off", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x)
			hostOf(x).Cut()
			time.Sleep(30 * time.Second)
		}},
		{"looking up", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			x.call(t, y.key.ID())
			time.Sleep(100 * time.Millisecond)
		}},
		{"joining", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			x.call(t, y.key.ID())
			time.Sleep(900 * time.Millisecond)
		}},
		{"being joined", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			y.call(t, x.key.ID())
			time.Sleep(900 * time.Millisecond)
		}},
		{"ringing there", ringing, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			x.call(t, y.key.ID())
			y.told(t, RingingHere, time.Minute)
		}},
		{"ringing here", nil, ringing, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			y.call(t, x.key.ID())
			x.told(t, RingingHere, time.Minute)
		}},
		{"waiting", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			z := w.box(t, "z", w.host("45.3.0.1"), nil)
			connect(t, z, y)
			x.call(t, y.key.ID())
			x.told(t, Waiting, time.Minute)
		}},
		{"with somebody waiting", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			z := w.box(t, "z", w.host("45.4.0.1"), nil)
			connect(t, z, x)
			y.call(t, x.key.ID())
			x.told(t, WaitingHere, time.Minute)
		}},
		{"talking", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			connect(t, x, y)
			talk20ms(20, x, y)
		}},
		{"talking, the far box is dead", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			connect(t, x, y)
			hostOf(y).Cut()
			time.Sleep(time.Second)
		}},
		{"talking, cut off", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			connect(t, x, y)
			hostOf(x).Cut()
			time.Sleep(time.Second)
		}},
		{"hanging up", nil, nil, func(t *testing.T, w *world, x, y *box) {
			online(t, x, y)
			id, _ := connect(t, x, y)
			x.HangUp(id)
		}},
	}
	// And at any time of a start.
	step := 400 * time.Millisecond
	if testing.Short() {
		step = 1200 * time.Millisecond
	}
	for at := 200 * time.Millisecond; at < 3*time.Second; at += step {
		stories = append(stories, story{fmt.Sprint("after ", at), nil, nil,
			func(t *testing.T, w *world, x, y *box) { time.Sleep(at) }})
	}
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		for i, s := range stories {
			x := w.labelled(t, s.name, w.host(fmt.Sprintf("46.%d.0.1", i)), s.own)
			y := w.offline(t, "y", w.host(fmt.Sprintf("47.%d.0.1", i)), s.change)
			s.play(t, w, x, y)
			if n, _ := goroutinesOf(t, s.name); n == 0 {
				t.Fatalf("%s: no goroutine before Close: the count is wrong", s.name)
			}
			start := time.Now()
			if err := x.Close(); err != nil {
				t.Errorf("%s: Close = %v", s.name, err)
			}
			if took := time.Since(start); took > 2*time.Second { // as long as a service may take to stop
				t.Errorf("%s: Close took %v", s.name, took)
			}
			synctest.Wait() // the DHT library's reader sees its socket closed
			if n, stacks := goroutinesOf(t, s.name); n != 0 {
				t.Errorf("%s: Close leaves %d goroutines:\n%s", s.name, n, stacks)
			}
			if err := x.Close(); err != nil {
				t.Errorf("%s: the second Close = %v", s.name, err)
			}
			if _, err := x.Call(x.key, y.key.ID()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: Call after Close = %v", s.name, err)
			}
			y.Close()
		}
	})
}

// Many calls in a row leave nothing behind, neither in the boxes nor in the relays.
func TestSimManyCalls(t *testing.T) {
	inWorld(t, 8, wan, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		calls := func(n int) {
			for i := range n {
				x, y := a, b
				if i%2 == 1 {
					x, y = b, a
				}
				id, _ := connect(t, x, y)
				talk20ms(5, x, y)
				if i%4 < 2 {
					x, y = y, x
					id = x.onlyCall(t)
				}
				hangUp(t, x, y, id)
			}
			time.Sleep(10 * time.Minute) // links that are not in use are closed
		}
		measure := func() (goroutines int, heap uint64) {
			synctest.Wait()
			a.forget()
			b.forget()
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		const many = 60
		calls(10)
		goroutines, heap := measure()
		calls(many)
		g, h := measure()
		say := t.Logf
		// One goroutine or 20 kB for each call would be a leak. The links of ten
		// nodes come and go: a guard more or less is five goroutines in all, and
		// three of them were seen to come together.
		if g > goroutines+many/2 || h > heap+uint64(many)*20<<10 {
			say = t.Errorf
		}
		say("goroutines %d -> %d, heap %d -> %d kB over %d calls", goroutines, g, heap>>10, h>>10, many)
	})
}

// onlyCall returns the one call of a box.
func (b *box) onlyCall(t testing.TB) call.ID {
	t.Helper()
	s := b.Status()
	if len(s.Calls) != 1 {
		t.Fatalf("%d calls", len(s.Calls))
	}
	return s.Calls[0].ID
}
