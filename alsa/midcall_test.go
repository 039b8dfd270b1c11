package alsa

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hushbell/alsa/internal/soundserver"
)

// A mid-call loss, for a card and for a sound server: what is played is heard,
// then silence while the device is away, then it is heard again.
type midCall struct {
	s                     *Speaker
	m                     *Microphone
	wait                  func() error
	wg                    sync.WaitGroup
	frames, clean, silent atomic.Int64
}

// startCall plays the tone on the speaker and listens to the microphone.
func startCall(t *testing.T, s *Speaker, m *Microphone) *midCall {
	t.Helper()
	t.Cleanup(func() { s.Close() })
	t.Cleanup(func() { m.Close() })
	if s.Err() != nil || m.Err() != nil {
		t.Fatal(s.Err(), m.Err())
	}
	c := &midCall{s: s, m: m, wait: playing(s.Write)}
	c.wg.Go(func() {
		frame := make([]int16, FrameSamples)
		for m.Read(frame) == nil {
			c.frames.Add(1)
			if a, rest := fit(frame, 500, Rate); loud(frame) {
				c.clean.Add(1)
			} else if a == 0 && rest == 0 {
				c.silent.Add(1)
			}
		}
	})
	return c
}

// await waits until it is so, 30 s at most.
func (c *midCall) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("30 s, and not yet: %s (%d frames, %d clean, %d silent; %v, %v)",
		what, c.frames.Load(), c.clean.Load(), c.silent.Load(), c.s.Err(), c.m.Err())
}

// awaitMore waits for 20 more frames of a kind.
func (c *midCall) awaitMore(t *testing.T, what string, count *atomic.Int64) {
	t.Helper()
	had := count.Load()
	c.await(t, what, func() bool { return count.Load() > had+20 })
}

// lose takes the device away and gives it back, some times.
func (c *midCall) lose(t *testing.T, rounds int, away, back func()) {
	t.Helper()
	for round := range rounds {
		c.awaitMore(t, "the tone", &c.clean)
		away()
		c.await(t, "the loss", func() bool { return c.s.Err() != nil && c.m.Err() != nil })
		c.awaitMore(t, "silence", &c.silent)
		back()
		c.await(t, "the device again", func() bool { return c.s.Err() == nil && c.m.Err() == nil })
		if c.s.Losses() != round+1 || c.m.Losses() != round+1 {
			t.Errorf("%d and %d losses in round %d", c.s.Losses(), c.m.Losses(), round)
		}
	}
	c.awaitMore(t, "the tone at the end", &c.clean)
	t.Logf("%d frames, %d clean, %d silent, xruns %d out, %d in", c.frames.Load(), c.clean.Load(), c.silent.Load(), c.s.Xruns(), c.m.Xruns())
}

// end closes both and looks whether nobody waits any more.
func (c *midCall) end(t *testing.T) {
	t.Helper()
	if err := c.s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := c.m.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := c.wait(); err != ErrClosed {
		t.Errorf("Write after Close = %v, want ErrClosed", err)
	}
	c.wg.Wait()
}

// A driver binds the card of snd-aloop and lets it go.
type driver struct {
	t     *testing.T
	dir   string
	card  string
	there bool
}

func aloopDriver(t *testing.T) *driver {
	t.Helper()
	needCard(t, "Loopback")
	d := &driver{t: t, dir: "/sys/bus/platform/drivers/snd_aloop", there: true}
	cards, _ := filepath.Glob(d.dir + "/snd_aloop.*")
	if len(cards) != 1 || os.Geteuid() != 0 {
		if os.Getenv("HUSHBELL_BOARD") == "1" {
			t.Fatalf("cannot unbind: devices %q, user %d", cards, os.Geteuid())
		}
		t.Skip("needs root and snd-aloop as a platform device")
	}
	d.card = filepath.Base(cards[0])
	t.Cleanup(func() {
		if !d.there {
			d.turn("bind")
		}
	})
	return d
}

// turn does "bind" or "unbind". The latter returns when the last file is closed.
func (d *driver) turn(how string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, how), []byte(d.card), 0); err != nil {
		d.t.Fatal(err)
	}
	d.there = how == "bind"
}

// The card is taken away and given back in mid-call, by unbinding its driver.
func TestBoardUnplugged(t *testing.T) {
	d := aloopDriver(t)
	c := startCall(t, NewSpeaker(named(loopOut), Options{}), NewMicrophone(named(loopIn), Options{}))
	c.lose(t, 3, func() {
		d.turn("unbind") // ours is closed at ENODEV
		c.await(t, "ENODEV", func() bool {
			return errors.Is(c.s.Err(), syscall.ENODEV) && errors.Is(c.m.Err(), syscall.ENODEV)
		})
		if _, err := OpenPlayback(loopOut, Options{}); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("OpenPlayback of an unplugged card = %v, want ENODEV", err)
		}
	}, func() { d.turn("bind") })
	c.end(t)
}

// Between calls too it is told that the card has left, and there again.
func TestBoardUnpluggedIdle(t *testing.T) {
	d := aloopDriver(t)
	s, m := NewSpeaker(named(loopOut), Options{}), NewMicrophone(named(loopIn), Options{})
	defer s.Close()
	defer m.Close()
	if err := errors.Join(s.Err(), m.Err()); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for s.Err() == nil || m.Err() == nil { // this is what notices
			time.Sleep(10 * time.Millisecond)
		}
	}()
	d.turn("unbind")
	<-gone
	if err := s.Err(); !errors.Is(err, syscall.ENODEV) || s.Losses() != 1 || m.Losses() != 1 {
		t.Errorf("state %v, %d and %d losses", err, s.Losses(), m.Losses())
	}
	d.turn("bind")
	for range 1000 {
		if s.Err() == nil && m.Err() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the card is back, and the state is %v and %v", s.Err(), m.Err())
}

// The sound server is killed and started again in mid-call.
func TestServerRestarts(t *testing.T) {
	for _, kind := range soundserver.Kinds {
		t.Run(kind, func(t *testing.T) {
			server := soundserver.Start(t, kind)
			// Room enough for a machine that does other things too.
			o := Options{Period: 20 * time.Millisecond, Buffer: 200 * time.Millisecond}
			s, m := NewSpeaker(named(""), o), NewMicrophone(named("pulse:"+soundserver.Monitor), o)
			c := startCall(t, s, m)
			if s.Device() != "pulse" {
				t.Errorf("chosen %q, want the sound server", s.Device())
			}
			c.lose(t, 2, server.Kill, server.Up)
			c.end(t)
		})
	}
}

// A server in the session is listed before the cards, with its sinks and sources.
func TestServerListed(t *testing.T) {
	for _, kind := range soundserver.Kinds {
		t.Run(kind, func(t *testing.T) {
			soundserver.Start(t, kind)
			list, err := List()
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range list {
				found = found || d.Name == "pulse:"+soundserver.Sink && d.Playback && !d.Capture
			}
			if d := list[0]; d.Name != "pulse" || d.Title == "" || d.Problem != nil || !d.Playback || !d.Capture || !found {
				t.Errorf("listed %+v", list)
			}
			if _, err := OpenPlayback("pulse:none", Options{}); !errors.Is(err, syscall.ENODEV) {
				t.Errorf("no such sink: %v, want ENODEV", err)
			}
		})
	}
}
