package session

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/wire"
)

// settle lets everything arrive that is under way. After it, what listeners
// collected may be read.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// listen collects what a session hears, in order. It is read after settle.
func listen(s *Session) *[]string {
	heard := new([]string)
	s.OnVoice(func(timestamp uint32, payload []byte) {
		*heard = append(*heard, fmt.Sprintf("%d %s", timestamp, payload))
	})
	return heard
}

func TestVoice(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		caller, callee := r.sessions(Options{})
		atCaller, atCallee := listen(caller), listen(callee)
		for i := range 3 {
			if err := caller.SendVoice(uint32(960*i), fmt.Append(nil, "to callee ", i)); err != nil {
				t.Fatal(err)
			}
			if err := callee.SendVoice(uint32(960*i), fmt.Append(nil, "to caller ", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := caller.SendVoice(0, make([]byte, wire.PayloadSize+1)); err == nil {
			t.Error("a payload that is too long was sent")
		}
		if err := caller.SendVoice(5, nil); err != nil {
			t.Errorf("an empty payload: %v", err)
		}
		settle()
		if want := []string{"0 to callee 0", "960 to callee 1", "1920 to callee 2", "5 "}; !slices.Equal(*atCallee, want) {
			t.Errorf("the callee heard %q, want %q", *atCallee, want)
		}
		if want := []string{"0 to caller 0", "960 to caller 1", "1920 to caller 2"}; !slices.Equal(*atCaller, want) {
			t.Errorf("the caller heard %q, want %q", *atCaller, want)
		}
		if a, b := caller.VoiceDropped(), callee.VoiceDropped(); a+b != 0 {
			t.Errorf("%d and %d frames dropped on a good line", a, b)
		}
		callee.Close()
		caller.SendVoice(0, []byte("late"))
		settle()
		if len(*atCallee) != 4 {
			t.Error("heard after Close")
		}
	})
}

// TestVoiceAfterClose has a tunnel that still hands over what was on its way.
func TestVoiceAfterClose(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.direct()
		caller, callee := r.sessionsOver(near, far, Options{})
		heard := listen(callee)
		caller.SendVoice(0, []byte("in time"))
		callee.Close()
		caller.SendVoice(0, []byte("late"))
		if want := []string{"0 in time"}; !slices.Equal(*heard, want) {
			t.Errorf("heard %q, want %q", *heard, want)
		}
	})
}

// TestVoiceAttacked has somebody on the way do to frames what they can.
func TestVoiceAttacked(t *testing.T) {
	tests := []struct {
		name    string
		do      func(r *rig, from, to netip.AddrPort, b []byte, nth int) []byte
		heard   []string
		dropped uint64
	}{
		{"altered", func(_ *rig, _, _ netip.AddrPort, b []byte, nth int) []byte {
			if nth == 1 {
				b[100] ^= 1
			}
			return b
		}, []string{"0 a", "2 c", "3 d"}, 1},
		{"counter altered", func(_ *rig, _, _ netip.AddrPort, b []byte, nth int) []byte {
			if nth == 1 {
				b[0] ^= 0x80 // must not move the window
			}
			return b
		}, []string{"0 a", "2 c", "3 d"}, 1},
		{"repeated", func(r *rig, from, to netip.AddrPort, b []byte, _ int) []byte {
			r.net.Inject(from, to, b)
			return b
		}, []string{"0 a", "1 b", "2 c", "3 d"}, 4},
		{"sent back to its sender", func(r *rig, from, to netip.AddrPort, b []byte, _ int) []byte {
			r.net.Inject(to, from, b)
			return b
		}, []string{"0 a", "1 b", "2 c", "3 d"}, 4},
		{"cut short", func(_ *rig, _, _ netip.AddrPort, b []byte, nth int) []byte {
			if nth == 1 {
				return b[:len(b)-1] // the tunnel's business: it is no frame
			}
			return b
		}, []string{"0 a", "2 c", "3 d"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig) {
				caller, callee := r.sessions(Options{})
				heard := listen(callee)
				caller.OnVoice(func(uint32, []byte) { t.Error("the sender heard itself") })
				nth := -1
				r.net.Intercept(func(from, to netip.AddrPort, b []byte) []byte {
					nth++
					return tt.do(r, from, to, b, nth)
				})
				for i, s := range []string{"a", "b", "c", "d"} {
					if err := caller.SendVoice(uint32(i), []byte(s)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(20 * time.Millisecond)
				}
				settle()
				if !slices.Equal(*heard, tt.heard) {
					t.Errorf("heard %q, want %q", *heard, tt.heard)
				}
				if got := caller.VoiceDropped() + callee.VoiceDropped(); got != tt.dropped {
					t.Errorf("dropped %d, want %d", got, tt.dropped)
				}
			})
		})
	}
}

// TestVoiceOfAnotherSession plays the frames of one session into another one
// of the same two pids.
func TestVoiceOfAnotherSession(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		near, far := r.tunnels()
		one, _ := r.sessionsOver(near, far, Options{})
		otherNear, otherFar := r.tunnels()
		_, other := r.sessionsOver(otherNear, otherFar, Options{})
		heard := listen(other)
		near.to = otherNear.to
		one.SendVoice(0, []byte("stray"))
		settle()
		if len(*heard) != 0 || other.VoiceDropped() != 1 {
			t.Errorf("heard %q, dropped %d; want one dropped", *heard, other.VoiceDropped())
		}
	})
}

func TestVoiceReordered(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		caller, callee := r.sessions(Options{})
		heard := listen(callee)
		var held []byte
		var from, to netip.AddrPort
		r.net.Intercept(func(f, t netip.AddrPort, b []byte) []byte {
			if held == nil {
				held, from, to = slices.Clone(b), f, t
				return nil
			}
			return b
		})
		caller.SendVoice(0, []byte("held"))
		for i := range 1023 { // as far behind as the window takes
			caller.SendVoice(uint32(i+1), []byte("x"))
			time.Sleep(time.Millisecond)
		}
		settle()
		r.net.Inject(from, to, held)
		settle()
		if n := len(*heard); n != 1024 || (*heard)[n-1] != "0 held" {
			t.Fatalf("heard %d frames, want 1024 and the held one last", n)
		}
		r.net.Inject(from, to, held)
		settle()
		if len(*heard) != 1024 || callee.VoiceDropped() != 1 {
			t.Errorf("heard %d, dropped %d; want the repeat dropped", len(*heard), callee.VoiceDropped())
		}
	})
}

func TestVoiceBeforeAnybodyListens(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		caller, callee := r.sessions(Options{})
		caller.SendVoice(0, []byte("x"))
		settle()
		if callee.VoiceDropped() != 1 {
			t.Errorf("dropped %d, want 1", callee.VoiceDropped())
		}
	})
}

// direct is a tunnel whose voice is at the far end at once.
type direct struct {
	*testTunnel
	far  *direct
	copy wire.Frame
}

func (d *direct) SendVoice(f *wire.Frame) error {
	d.copy = *f
	if take := d.far.take.Load(); take != nil {
		(*take)(&d.copy)
	}
	return nil
}

func (r *rig) direct() (near, far *direct) {
	a, b := r.tunnels()
	near, far = &direct{testTunnel: a}, &direct{testTunnel: b}
	near.far, far.far = far, near
	return near, far
}

func TestVoiceAllocations(t *testing.T) {
	const frames = 1000
	r := newRig(t)
	r.net.SetDefault(simnet.Link{})
	near, far := r.direct()
	caller, callee := r.sessionsOver(near, far, Options{})
	heard := 0
	callee.OnVoice(func(uint32, []byte) { heard++ })
	payload := make([]byte, wire.PayloadSize)
	// The least of a few runs: the sessions' own timers and the runtime allocate now
	// and then. What allocates once in so many frames does so in each run.
	runs := 0
	allocs := func(one func()) (least float64) {
		least, runs = math.MaxFloat64, 0
		for try := 0; try < 5 && least > 0; try++ {
			least = min(least, testing.AllocsPerRun(1, func() { // it rounds down: one frame would prove nothing
				runs++
				for range frames {
					one()
				}
			}))
		}
		return least
	}
	if got := allocs(func() {
		if err := caller.SendVoice(1, payload); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations for %d frames sealed and opened", got, frames)
	}
	if heard != runs*frames {
		t.Errorf("heard %d of %d", heard, runs*frames)
	}
	// Nothing may be allocated for forged ones either.
	forged := &wire.Frame{7}
	if got := allocs(func() { near.SendVoice(forged) }); got != 0 {
		t.Errorf("%v allocations for %d forged frames", got, frames)
	}
	if got := callee.VoiceDropped(); got != uint64(runs*frames) {
		t.Errorf("dropped %d forged frames of %d", got, runs*frames)
	}
}

// BenchmarkVoice is one frame from SendVoice at the one end to the handler at
// the other: seal and open, nothing between.
func BenchmarkVoice(b *testing.B) {
	r := newRig(b)
	near, far := r.direct()
	caller, callee := r.sessionsOver(near, far, Options{})
	callee.OnVoice(func(uint32, []byte) {})
	payload := make([]byte, wire.PayloadSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := caller.SendVoice(1, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandshake is both ends of a session, over a perfect network.
func BenchmarkHandshake(b *testing.B) {
	r := newRig(b)
	r.net.SetDefault(simnet.Link{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		near, far := r.tunnels()
		b.StartTimer()
		caller, callee := r.sessionsOver(near, far, Options{})
		b.StopTimer()
		caller.Close()
		callee.Close()
		near.udp.Close()
		far.udp.Close()
		b.StartTimer()
	}
}
