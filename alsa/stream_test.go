package alsa

import (
	"errors"
	"slices"
	"syscall"
	"testing"
)

// script is a card that answers each transfer with the next error in turn, and
// moves at most 100 frames before an error. What is read from it counts up.
type script struct {
	frameBytes int
	errs       []error
	resumeErr  error
	played     []byte
	next       byte
	queued     int
	calls      []string
}

func (s *script) transfer(buf []byte) (int, error) {
	var err error
	if len(s.errs) > 0 {
		err, s.errs = s.errs[0], s.errs[1:]
	}
	n := len(buf) / s.frameBytes
	if err != nil {
		n = min(n, 100)
	}
	for i := range buf[:n*s.frameBytes] {
		s.played = append(s.played, buf[i])
		buf[i] = s.next
		s.next++
	}
	return n, err
}
func (s *script) prepare() error { s.calls = append(s.calls, "prepare"); return nil }
func (s *script) resume() error  { s.calls = append(s.calls, "resume"); return s.resumeErr }
func (s *script) drop() error    { s.calls = append(s.calls, "drop"); return nil }
func (s *script) check() error   { return nil }
func (s *script) delay() int     { return s.queued }
func (s *script) Close() error   { return nil }

func TestRecovery(t *testing.T) {
	const pipe, strpipe, gone, bad, dead = syscall.EPIPE, syscall.ESTRPIPE, syscall.ENODEV, syscall.EBADFD, syscall.EIO
	tests := []struct {
		name      string
		errs      []error
		resumeErr error
		want      error
		op        string
		moved     int // samples
		xruns     int
		calls     []string
	}{
		{name: "smooth", moved: 960},
		{name: "one xrun", errs: []error{pipe}, moved: 960, xruns: 1, calls: []string{"prepare"}},
		{name: "two xruns", errs: []error{pipe, pipe}, moved: 960, xruns: 2, calls: []string{"prepare", "prepare"}},
		{name: "always dry", errs: []error{pipe, pipe, pipe, pipe, pipe}, want: pipe, op: "write", moved: 400, xruns: 3, calls: []string{"prepare", "prepare", "prepare"}},
		{name: "suspended, resumes", errs: []error{strpipe}, moved: 960, xruns: 1, calls: []string{"resume"}},
		{name: "suspended, cannot", errs: []error{strpipe}, resumeErr: syscall.ENOSYS, moved: 960, xruns: 1, calls: []string{"resume", "prepare"}},
		{name: "unplugged", errs: []error{gone}, want: gone, op: "write", moved: 100},
		{name: "unplugged after an xrun", errs: []error{pipe, gone}, want: gone, op: "write", moved: 200, xruns: 1, calls: []string{"prepare"}},
		{name: "unplugged on the way", errs: []error{bad}, want: gone, op: "write", moved: 100},
		{name: "dead", errs: []error{dead}, want: dead, op: "write", moved: 100},
		{name: "closed", errs: []error{ErrClosed}, want: ErrClosed, moved: 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dev := &script{frameBytes: 2, errs: tt.errs, resumeErr: tt.resumeErr}
			st, err := newStream("Device", "write", dev, setup{layout: layout{S16, 1}, rate: Rate, period: 480, buffer: 1920})
			if err != nil {
				t.Fatal(err)
			}
			samples := tone(960, 440, Rate, 1000)
			err = cardOutput{st}.Write(samples)
			if !errors.Is(err, tt.want) {
				t.Errorf("Write = %v, want %v", err, tt.want)
			}
			var e *Error
			if errors.As(err, &e) && (e.Op != tt.op || e.Device != "Device") {
				t.Errorf("error %+v, want operation %s", e, tt.op)
			}
			want := make([]byte, 2*960)
			layout{S16, 1}.put(want, samples)
			if !slices.Equal(dev.played, want[:2*tt.moved]) {
				t.Errorf("%d bytes moved that differ from the first %d samples", len(dev.played), tt.moved)
			}
			if st.Xruns() != tt.xruns || !slices.Equal(dev.calls, tt.calls) {
				t.Errorf("%d xruns, calls %v, want %d, %v", st.Xruns(), dev.calls, tt.xruns, tt.calls)
			}
		})
	}
}

// A frame that a gap goes through is read anew: what was there before the gap is
// left out, and the next frame ends with a period of the card again.
func TestReadBeginsAnew(t *testing.T) {
	dev := &script{frameBytes: 2, errs: []error{syscall.EPIPE}}
	st, err := newStream("Device", "read", dev, setup{layout: layout{S16, 1}, rate: Rate})
	if err != nil {
		t.Fatal(err)
	}
	in := cardInput{stream: st}
	for frame, total := range []int{100 + FrameSamples, 100 + 2*FrameSamples} {
		got := make([]int16, FrameSamples)
		if err := in.Read(got); err != nil {
			t.Fatal(err)
		}
		if len(dev.played) != 2*total {
			t.Errorf("%d samples were asked for until frame %d, want %d", len(dev.played)/2, frame, total)
		}
		// The card counts bytes, so sample n is of the bytes 2n and 2n+1.
		n := 100 + frame*FrameSamples
		if want := int16(uint16(byte(2*n)) | uint16(byte(2*n+1))<<8); got[0] != want {
			t.Errorf("frame %d begins with %d, want %d", frame, got[0], want)
		}
	}
}

func TestStop(t *testing.T) {
	dev := &script{frameBytes: 2}
	st, err := newStream("Device", "write", dev, setup{layout: layout{S16, 1}, rate: Rate})
	if err != nil {
		t.Fatal(err)
	}
	out := cardOutput{st}
	for _, f := range []func() error{
		func() error { return out.Write(make([]int16, 10)) },
		out.Stop, out.Stop,
		func() error { return out.Write(make([]int16, 10)) },
		func() error { return out.Write(make([]int16, 10)) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"drop", "drop", "prepare"}; !slices.Equal(dev.calls, want) || out.Xruns() != 0 {
		t.Errorf("calls %v, %d xruns, want %v and none", dev.calls, out.Xruns(), want)
	}
}

// Reads and writes of any length move as many frames as time has passed.
func TestLengths(t *testing.T) {
	for _, rate := range []int{48000, 44100, 16000, 96000} {
		for _, length := range []int{1, 7, 960, 5000} {
			s := setup{layout: layout{S32, 2}, rate: rate}
			play, rec := &script{frameBytes: 8}, &script{frameBytes: 8}
			w, err := newStream("Device", "write", play, s)
			if err != nil {
				t.Fatal(err)
			}
			r, err := newStream("Device", "read", rec, s)
			if err != nil {
				t.Fatal(err)
			}
			samples := make([]int16, length)
			total := 0
			for total < Rate/10 {
				if err := (cardOutput{w}).Write(samples); err != nil {
					t.Fatal(err)
				}
				if err := (cardInput{r, 0}).Read(samples); err != nil {
					t.Fatal(err)
				}
				total += length
			}
			want := total * rate / Rate
			for _, got := range []int{len(play.played) / 8, len(rec.played) / 8} {
				if got < want-1 || got > want+1 {
					t.Errorf("%d Hz, %d samples a call: %d frames moved for %d samples, want %d", rate, length, got, total, want)
				}
			}
		}
	}
}

func TestDelay(t *testing.T) {
	for _, tt := range []struct{ rate, queued, want int }{
		{48000, 960, 960},
		{44100, 441, 480 + 26},  // 10 ms and half of 48 taps at 44.1 kHz
		{96000, 1920, 960 + 24}, // half of 48 taps at 48 kHz
	} {
		st, err := newStream("Device", "write", &script{frameBytes: 2, queued: tt.queued}, setup{layout: layout{S16, 1}, rate: tt.rate})
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Delay(); got != tt.want {
			t.Errorf("%d frames at %d Hz are %d samples, want %d", tt.queued, tt.rate, got, tt.want)
		}
	}
}

// quiet is a card that takes and gives without allocating, for the count below.
type quiet struct{}

func (quiet) transfer(buf []byte) (int, error) { return len(buf) / 6, nil }
func (quiet) prepare() error                   { return nil }
func (quiet) resume() error                    { return nil }
func (quiet) drop() error                      { return nil }
func (quiet) delay() int                       { return 0 }
func (quiet) check() error                     { return nil }
func (quiet) Close() error                     { return nil }

func TestConversionAllocs(t *testing.T) {
	for _, rate := range []int{48000, 44100} {
		s := setup{layout: layout{S24_3, 2}, rate: rate}
		w, err := newStream("Device", "write", quiet{}, s)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newStream("Device", "read", quiet{}, s)
		if err != nil {
			t.Fatal(err)
		}
		samples := make([]int16, FrameSamples)
		if n := testing.AllocsPerRun(1000, func() {
			if (cardOutput{w}).Write(samples) != nil || (cardInput{r, 0}).Read(samples) != nil {
				t.Fatal("transfer failed")
			}
		}); n != 0 {
			t.Errorf("%d Hz: %v allocations a frame", rate, n)
		}
	}
}

// The delay of a long buffer fits an int of 32 bits.
func TestDelayOfLongBuffer(t *testing.T) {
	for _, rate := range []int{44100, 48000} {
		s := stream{dev: &script{queued: 5 * rate}, setup: setup{rate: rate}}
		if d := s.Delay(); d != 5*Rate {
			t.Errorf("5 s at %d Hz are %d samples, want %d", rate, d, 5*Rate)
		}
	}
}
