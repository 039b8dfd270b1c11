package pulse

import (
	"context"
	"errors"
	"math"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jfreymuth/pulse/proto"

	"hushbell/alsa/internal/soundserver"
)

func TestParseServers(t *testing.T) {
	const host, machine = "box", "0123abcd"
	tests := []struct {
		in   string
		want []address
	}{
		{"/run/user/1/pulse/native", []address{{"unix", "/run/user/1/pulse/native"}}},
		{"unix:/tmp/p", []address{{"unix", "/tmp/p"}}},
		{"tcp:10.0.0.1", []address{{"tcp", "10.0.0.1:4713"}}},
		{"tcp4:10.0.0.1:99", []address{{"tcp4", "10.0.0.1:99"}}},
		{"tcp6:[::1]", []address{{"tcp6", "[::1]:4713"}}},
		{"gurki", []address{{"tcp", "gurki:4713"}}},
		{"gurki:99", []address{{"tcp", "gurki:99"}}},
		{"{box}unix:/a {other}unix:/b {0123abcd}/c", []address{{"unix", "/a"}, {"unix", "/c"}}},
		{"{box", nil},
		{"{box} unix:", nil},
		{"", nil},
	}
	for _, tt := range tests {
		if got := parseServers(tt.in, host, machine); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.in, got, tt.want)
		}
	}
}

func FuzzParseServers(f *testing.F) {
	for _, s := range []string{"{box}unix:/a tcp:b:1", "{", "tcp6:[::1]", ":", "{}:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range parseServers(s, "box", "") {
			if a.address == "" || a.network == "" {
				t.Errorf("%q gave the address %q", s, a)
			}
		}
	})
}

func TestNoServer(t *testing.T) {
	t.Setenv("PULSE_SERVER", "")
	t.Setenv("PULSE_RUNTIME_PATH", "")
	for _, dir := range []string{"", t.TempDir()} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		if _, err := OpenPlayback(context.Background(), "", Options{}); !errors.Is(err, ErrNoServer) {
			t.Errorf("XDG_RUNTIME_DIR %q: OpenPlayback = %v, want ErrNoServer", dir, err)
		}
		if _, err := OpenCapture(context.Background(), "", Options{}); !errors.Is(err, ErrNoServer) {
			t.Errorf("XDG_RUNTIME_DIR %q: OpenCapture = %v, want ErrNoServer", dir, err)
		}
		if _, err := Ask(context.Background()); !errors.Is(err, ErrNoServer) {
			t.Errorf("XDG_RUNTIME_DIR %q: Ask = %v, want ErrNoServer", dir, err)
		}
	}
}

// eachServer runs a test against every kind of real server.
func eachServer(t *testing.T, f func(t *testing.T, s *soundserver.Server)) {
	for _, kind := range soundserver.Kinds {
		t.Run(kind, func(t *testing.T) { f(t, soundserver.Start(t, kind)) })
	}
}

// patient is for a machine that has other things to do too: the tests ask whether
// sound comes through, not how soon.
var patient = Options{Period: 20 * time.Millisecond, Buffer: 200 * time.Millisecond}

func openBoth(t testing.TB) (*Playback, *Capture) {
	t.Helper()
	p, err := OpenPlayback(context.Background(), soundserver.Sink, patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := OpenCapture(context.Background(), soundserver.Monitor, patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p, c
}

// player writes a 500 Hz tone of amplitude 8000 until the stream ends.
func player(p *Playback) (wait func() error) {
	var wg sync.WaitGroup
	var err error
	frame := make([]int16, chunk)
	for i := range frame {
		frame[i] = int16(8000 * math.Sin(2*math.Pi*500*float64(i)/rate)) // 10 whole waves
	}
	wg.Go(func() {
		for err == nil {
			err = p.Write(frame)
		}
	})
	return func() error { wg.Wait(); return err }
}

// level is the amplitude of the 500 Hz tone in a frame.
func level(frame []int16) float64 {
	var a, b float64
	for i, s := range frame {
		x := 2 * math.Pi * 500 * float64(i) / rate
		a += float64(s) * math.Sin(x)
		b += float64(s) * math.Cos(x)
	}
	return 2 * math.Hypot(a, b) / float64(len(frame))
}

// hear reads until the tone has been there for n frames in a row.
func hear(t *testing.T, c *Capture, n int) {
	t.Helper()
	frame := make([]int16, chunk)
	in := 0
	for range 50 * 20 { // 20 s of sound
		if err := c.Read(frame); err != nil {
			t.Fatalf("Read = %v", err)
		}
		if l := level(frame); l > 7500 && l < 8500 {
			in++
		} else {
			in = 0
		}
		if in == n {
			return
		}
	}
	t.Fatalf("the tone was not heard for %d frames in a row", n)
}

func TestPlayAndRecord(t *testing.T) {
	eachServer(t, func(t *testing.T, _ *soundserver.Server) {
		p, c := openBoth(t)
		if p.Delay() != 0 || c.Delay() != 0 {
			t.Errorf("delay %d and %d before the first sample, want 0", p.Delay(), c.Delay())
		}
		wait := player(p)
		hear(t, c, 25)
		// Between a millisecond and a second: the unit is right and it is running.
		if d := p.Delay(); d < 48 || d > rate {
			t.Errorf("playback delay %d samples", d)
		}
		if d := c.Delay(); d < 0 || d > rate {
			t.Errorf("capture delay %d samples", d)
		}
		t.Logf("delay %d out, %d in, xruns %d out, %d in", p.Delay(), c.Delay(), p.Xruns(), c.Xruns())
		if err := p.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := wait(); err != ErrClosed {
			t.Errorf("Write during Close = %v, want ErrClosed", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("second Close = %v", err)
		}
	})
}

func TestStopAndGoOn(t *testing.T) {
	eachServer(t, func(t *testing.T, _ *soundserver.Server) {
		p, c := openBoth(t)
		frame := make([]int16, chunk)
		for range 3 {
			for range 10 {
				if err := p.Write(frame); err != nil {
					t.Fatal(err)
				}
				if err := c.Read(frame); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			if p.Delay() != 0 || c.Delay() != 0 {
				t.Errorf("delay %d and %d while stopped, want 0", p.Delay(), c.Delay())
			}
		}
	})
}

func TestCloseWakesRead(t *testing.T) {
	eachServer(t, func(t *testing.T, _ *soundserver.Server) {
		_, c := openBoth(t)
		var wg sync.WaitGroup
		var err error
		wg.Go(func() {
			frame := make([]int16, chunk)
			for err == nil {
				err = c.Read(frame)
			}
		})
		time.Sleep(50 * time.Millisecond) // most likely into a waiting Read
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		wg.Wait()
		if err != ErrClosed {
			t.Errorf("Read during Close = %v, want ErrClosed", err)
		}
	})
}

// A dead server ends both streams with an errno; they can be opened again as
// soon as it is back.
func TestServerDies(t *testing.T) {
	eachServer(t, func(t *testing.T, s *soundserver.Server) {
		for range 2 {
			p, c := openBoth(t)
			wait := player(p)
			hear(t, c, 5)
			s.Kill()
			var e syscall.Errno
			if err := wait(); !errors.As(err, &e) {
				t.Errorf("Write = %v, want an errno", err)
			}
			frame := make([]int16, chunk)
			var err error
			for err == nil {
				err = c.Read(frame)
			}
			if !errors.As(err, &e) {
				t.Errorf("Read = %v, want an errno", err)
			}
			if _, err := OpenPlayback(context.Background(), "", Options{}); !errors.Is(err, ErrNoServer) {
				t.Errorf("OpenPlayback without server = %v, want ErrNoServer", err)
			}
			p.Close()
			c.Close()
			s.Up()
		}
	})
}

func TestNoSuchSink(t *testing.T) {
	eachServer(t, func(t *testing.T, _ *soundserver.Server) {
		if _, err := OpenPlayback(context.Background(), "no-such-sink", Options{}); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("OpenPlayback = %v, want ENODEV", err)
		}
		if _, err := OpenCapture(context.Background(), "no-such-source", Options{}); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("OpenCapture = %v, want ENODEV", err)
		}
	})
}

func TestAsk(t *testing.T) {
	eachServer(t, func(t *testing.T, _ *soundserver.Server) {
		s, err := Ask(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, k := range s.Sinks {
			found = found || k.Name == soundserver.Sink
		}
		if !found || s.Name == "" || s.Sink != soundserver.Sink {
			t.Errorf("server %+v does not show its default sink %s", s, soundserver.Sink)
		}
	})
}

// What the package comment says a frame costs, with room for the question for the
// delay that is asked each second.
func TestFrameAllocs(t *testing.T) {
	if testing.Short() {
		t.Skip("what allocates is counted without the race detector")
	}
	eachServer(t, func(t *testing.T, _ *soundserver.Server) {
		p, c := openBoth(t)
		frame := make([]int16, chunk)
		turn := func() {
			if err := errors.Join(p.Write(frame), c.Read(frame)); err != nil {
				t.Fatal(err)
			}
		}
		for range 25 {
			turn()
		}
		n := testing.AllocsPerRun(1, func() {
			for range 50 {
				turn()
			}
		})
		t.Logf("%v allocations in 50 frames both ways", n)
		if n > 8*50 {
			t.Errorf("%v allocations in 50 frames both ways, want 3 to 5 a frame", n)
		}
	})
}

// BenchmarkFrame measures what a frame of 20 ms allocates, in real time. What
// there is comes from the library's reader: a box for each message.
func BenchmarkFrame(b *testing.B) {
	for _, kind := range soundserver.Kinds {
		b.Run(kind, func(b *testing.B) {
			soundserver.Start(b, kind)
			p, c := openBoth(b)
			frame := make([]int16, chunk)
			b.Run("Write", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := p.Write(frame); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("Read", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := c.Read(frame); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// Latencies of a busy server, HDMI and Bluetooth, on 32 bits too.
func TestSamples(t *testing.T) {
	for micros, want := range map[proto.Microseconds]int{0: 0, 20_000: 960, 45_000: 2160, 100_000: 4800, 2_000_000: 96_000} {
		if got := samples(micros); got != want {
			t.Errorf("%d µs are %d samples, want %d", micros, got, want)
		}
	}
}
