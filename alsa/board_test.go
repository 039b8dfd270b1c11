package alsa

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Tests against the kernel: they need the cards of snd-aloop and snd-dummy
// (modprobe snd-aloop pcm_substreams=1; modprobe snd-dummy), as the emulated board
// has them. Without such a card they skip, and fail when HUSHBELL_BOARD is 1.
const (
	loopOut = "Loopback,0" // what is played here ...
	loopIn  = "Loopback,1" // ... is recorded here
	dummy   = "Dummy"
)

func needCard(t *testing.T, name string) {
	t.Helper()
	// The tests want the kernel's cards, not a sound server.
	t.Setenv("PULSE_SERVER", "")
	t.Setenv("PULSE_RUNTIME_PATH", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := system.find(name, plays); err != nil {
		if os.Getenv("HUSHBELL_BOARD") == "1" {
			t.Fatalf("the board has no card %s: %v", name, err)
		}
		t.Skipf("no card %s here: %v", name, err)
	}
}

// wave is a frame of 20 ms with ten whole waves of 500 Hz, amplitude 8000: frames
// after each other are one tone without a seam.
var wave = tone(FrameSamples, 500, Rate, 8000)

// loud is whether a frame is the tone and little else.
func loud(frame []int16) bool {
	a, rest := fit(frame, 500, Rate)
	return math.Abs(a-8000) < 80 && rest < 40
}

// playing writes the tone until the stream ends.
func playing(write func([]int16) error) (wait func() error) {
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		for err == nil {
			err = write(wave)
		}
	})
	return func() error { wg.Wait(); return err }
}

// loopback opens both ends of the loop.
func loopback(t *testing.T, o Options) (*Playback, *Capture) {
	t.Helper()
	p, err := OpenPlayback(loopOut, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := OpenCapture(loopIn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p, c
}

// sound runs the loop for a time of samples and counts the frames that are the
// clean tone, from the first one on.
func sound(t *testing.T, o Options, length time.Duration) (total, good int, p *Playback, c *Capture) {
	t.Helper()
	p, c = loopback(t, o)
	wait := playing(p.Write)
	defer func() {
		p.Close()
		if err := wait(); err != ErrClosed {
			t.Errorf("Write = %v, want ErrClosed after Close", err)
		}
	}()
	frame := make([]int16, FrameSamples)
	for range int(length / (20 * time.Millisecond)) {
		if err := c.Read(frame); err != nil {
			t.Fatalf("Read = %v", err)
		}
		if loud(frame) {
			good++
		}
		if good > 0 {
			total++
		}
	}
	return total, good, p, c
}

func seconds(t *testing.T, long time.Duration) time.Duration {
	if testing.Short() {
		t.Logf("short: %v instead of %v", long/10, long)
		return long / 10
	}
	return long
}

// The promise for a call: a minute both ways without an xrun at 20 ms periods, and
// every frame as it was played.
func TestBoardMinute(t *testing.T) {
	needCard(t, "Loopback")
	length := seconds(t, time.Minute)
	total, good, p, c := sound(t, Options{Period: 20 * time.Millisecond}, length)
	t.Logf("%d frames, %d clean, xruns %d out, %d in", total, good, p.Xruns(), c.Xruns())
	if p.Xruns() != 0 || c.Xruns() != 0 || good != total || total < int(length/(20*time.Millisecond))-50 {
		t.Errorf("%d of %d frames clean, xruns %d out, %d in", good, total, p.Xruns(), c.Xruns())
	}
}

func TestBoardFormats(t *testing.T) {
	needCard(t, "Loopback")
	for _, rate := range []int{48000, 44100} {
		for _, format := range []Format{S16, S32, S24_3} {
			for channels := 1; channels <= 2; channels++ {
				t.Run(fmt.Sprintf("%v %d Hz %d ch", format, rate, channels), func(t *testing.T) {
					o := Options{Period: 20 * time.Millisecond, Rate: rate, Format: format, Channels: channels}
					total, good, p, c := sound(t, o, seconds(t, 5*time.Second))
					if got := p.out.(cardOutput).setup; got.rate != rate || got.format != format || got.channels != channels {
						t.Errorf("the card took %+v", got)
					}
					// A resampler needs a moment to swing in.
					if p.Xruns() != 0 || c.Xruns() != 0 || good < total-2 || total < 20 {
						t.Errorf("%d of %d frames clean, xruns %d out, %d in", good, total, p.Xruns(), c.Xruns())
					}
				})
			}
		}
	}
}

// The frames of the card that a playback is behind are those that it is told.
func TestBoardDelay(t *testing.T) {
	needCard(t, "Loopback")
	p, err := OpenPlayback(loopOut, Options{Period: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// Not started before it is nearly full: until then every sample is counted.
	for n := range 3 {
		if d := p.Delay(); d != n*FrameSamples {
			t.Errorf("delay %d after %d frames", d, n)
		}
		if err := p.Write(wave); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Write(wave); err != nil { // starts
		t.Fatal(err)
	}
	for range 20 {
		if err := p.Write(wave); err != nil {
			t.Fatal(err)
		}
		if d := p.Delay(); d < 0 || d > 4*FrameSamples {
			t.Errorf("delay %d in a buffer of %d", d, 4*FrameSamples)
		}
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if d := p.Delay(); d != 0 {
		t.Errorf("delay %d after Stop", d)
	}
	xruns := p.Xruns()
	for range 10 {
		if err := p.Write(wave); err != nil {
			t.Fatalf("Write after Stop = %v", err)
		}
	}
	if p.Xruns() != xruns {
		t.Errorf("Stop counted as %d xruns", p.Xruns()-xruns)
	}
}

func TestBoardAllocs(t *testing.T) {
	needCard(t, "Loopback")
	for _, o := range []Options{{}, {Rate: 44100, Format: S24_3, Channels: 2}} {
		p, c := loopback(t, o)
		frame := make([]int16, FrameSamples)
		if err := p.Write(wave); err != nil { // ahead, so that Read need not wait for us
			t.Fatal(err)
		}
		delay := 0
		if n := testing.AllocsPerRun(100, func() {
			if p.Write(wave) != nil || c.Read(frame) != nil {
				t.Fatal("transfer failed")
			}
			delay += p.Delay() + c.Delay()
			if p.Check() != nil || c.Check() != nil {
				t.Fatal("it is there, and cannot be asked")
			}
		}); n != 0 {
			t.Errorf("%+v: %v allocations a frame", o, n)
		}
		p.Close()
		c.Close()
	}
}

// An open device that is stopped costs nothing: the process is not woken by it.
func TestBoardIdle(t *testing.T) {
	needCard(t, "Loopback")
	p, c := loopback(t, Options{})
	frame := make([]int16, FrameSamples)
	for range 10 {
		if err := p.Write(wave); err != nil {
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
	// The runtime wakes up too, in bursts, and by our own sleep: the quietest of some
	// stretches counts. A card that wakes us does so in each. Every thread that wakes
	// up gives the processor back again.
	const length = 10
	quiet := int64(math.MaxInt64)
	for range 3 {
		before := switches(t)
		time.Sleep(length * time.Second)
		quiet = min(quiet, switches(t)-before)
	}
	t.Logf("%d context switches in %d s", quiet, length)
	if quiet >= 5*length {
		t.Errorf("%d context switches in %d s of silence, want less than 5 a second", quiet, length)
	}
}

func switches(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return int64(u.Nvcsw + u.Nivcsw)
}

func TestBoardBusy(t *testing.T) {
	needCard(t, "Loopback")
	first, err := OpenPlayback(loopOut, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// A card that mixes, or the loop with its eight substreams, opens more often.
	for range 64 {
		var p *Playback
		if p, err = OpenPlayback(loopOut, Options{}); err != nil {
			break
		}
		defer p.Close()
	}
	var e *Error
	if !errors.Is(err, syscall.EBUSY) || !errors.As(err, &e) || e.Holder != "this process" {
		t.Errorf("opened until %v, want EBUSY and this process", err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	if err := first.Write(wave); err != ErrClosed {
		t.Errorf("Write after Close = %v, want ErrClosed", err)
	}
	if p, err := OpenPlayback(loopOut, Options{}); err != nil {
		t.Errorf("open after Close = %v", err)
	} else {
		p.Close()
	}
}

func TestBoardCloseWakes(t *testing.T) {
	needCard(t, "Loopback")
	_, c := loopback(t, Options{Period: 500 * time.Millisecond})
	var wg sync.WaitGroup
	var err error
	wg.Go(func() {
		frame := make([]int16, FrameSamples)
		for err == nil {
			err = c.Read(frame)
		}
	})
	time.Sleep(100 * time.Millisecond) // most likely into a waiting Read
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	wg.Wait()
	if err != ErrClosed {
		t.Errorf("Read during Close = %v, want ErrClosed", err)
	}
}

func TestBoardRefuses(t *testing.T) {
	needCard(t, "Loopback")
	needCard(t, dummy)
	if _, err := OpenPlayback(loopOut, Options{Rate: 1000000}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a million Hz: %v, want EINVAL", err)
	}
	if _, err := OpenPlayback(dummy, Options{Format: S24_3}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("S24_3LE on the dummy, which has S16 only: %v, want EINVAL", err)
	}
	if _, err := OpenPlayback("None", Options{}); !errors.Is(err, syscall.ENODEV) || !errors.Is(err, ErrNoCard) {
		t.Errorf("no such card: %v, want ENODEV", err)
	}
}

func TestBoardListAndChoice(t *testing.T) {
	needCard(t, "Loopback")
	needCard(t, dummy)
	for n := range 64 { // all its substreams
		c, err := OpenCapture(loopIn, Options{})
		if err != nil && n > 0 {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Device{}
	for _, d := range list {
		t.Logf("%+v", d)
		found[d.Name] = d
	}
	if d := found["Loopback,1"]; !errors.Is(d.Problem, syscall.EBUSY) || !strings.Contains(d.Problem.Error(), "capture") || d.PlaybackProblem != nil || d.CaptureProblem == nil || !d.Playback || !d.Capture {
		t.Errorf("Loopback,1, whose capture is held: %+v", d)
	}
	if d := found["Dummy"]; d.Problem != nil || d.Title == "" {
		t.Errorf("Dummy: %+v", d)
	}
	p, err := OpenPlayback("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Device() != list[0].Name {
		t.Errorf("chosen %s, want the first card that does both, %s", p.Device(), list[0].Name)
	}
}

func TestBoardMixer(t *testing.T) {
	needCard(t, dummy)
	m, err := OpenMixer(dummy)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	list, err := m.Elements()
	if err != nil {
		t.Fatal(err)
	}
	var levels, switches int
	for _, e := range list {
		t.Logf("%s: %d..%d %v", e.Name, e.Min, e.Max, e.Values)
		if len(e.Values) != e.Channels || e.Channels == 0 {
			t.Errorf("%+v: %d values", e, len(e.Values))
		}
		if e.Switch {
			switches++
		} else {
			levels++
		}
	}
	if levels == 0 || switches == 0 {
		t.Fatalf("%d levels and %d switches", levels, switches)
	}
	// snd-dummy calls them "Master Volume" and "Master Capture Switch".
	for _, name := range []string{"Master", "Master Volume"} {
		for _, percent := range []int{0, 100, 40} {
			if err := m.SetVolume(name, percent); err != nil {
				t.Fatal(err)
			}
			if got, err := m.Volume(name); err != nil || got < percent-1 || got > percent+1 {
				t.Errorf("%s at %d %%: %d, %v", name, percent, got, err)
			}
		}
	}
	for _, mute := range []bool{true, false, true} {
		if err := m.SetMute("Master", mute); err != nil {
			t.Fatal(err)
		}
		if got, err := m.Muted("Master"); err != nil || got != mute {
			t.Errorf("mute %v: %v, %v", mute, got, err)
		}
	}
	if err := m.SetVolume("Master", 101); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("101 %%: %v, want EINVAL", err)
	}
	if _, err := m.Volume("None"); !errors.Is(err, ErrNoElement) {
		t.Errorf("no such element: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	if _, err := m.Elements(); !errors.Is(err, ErrClosed) {
		t.Errorf("Elements after Close = %v, want ErrClosed", err)
	}
	if _, err := OpenMixer("None"); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("no such card: %v, want ENODEV", err)
	}
}

// A process that is stopped for 300 ms goes on, has counted what it missed, and is
// no further behind than before: three times, one after the other. The process is
// a second one of this test.
func TestBoardStopped(t *testing.T) {
	needCard(t, "Loopback")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestBoardStoppedChild$", "-test.v")
	cmd.Env = append(os.Environ(), "HUSHBELL_ALSA_CHILD=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var reports []report
	const stops = 3 // each after two reports: the one in which it recovers counts for nothing
	for lines := bufio.NewScanner(out); lines.Scan() && len(reports) < 2+2*stops; {
		var r report
		if n, _ := fmt.Sscanf(lines.Text(), "report %d %d %d %d %d", &r.clean, &r.outXruns, &r.inXruns, &r.outDelay, &r.inDelay); n != 5 {
			continue
		}
		t.Logf("%+v", r)
		if reports = append(reports, r); len(reports)%2 == 0 && len(reports) < 2+2*stops {
			cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(300 * time.Millisecond)
			cmd.Process.Signal(syscall.SIGCONT)
		}
	}
	if len(reports) < 2+2*stops {
		t.Fatalf("the child reported %d times", len(reports))
	}
	before := reports[1]
	if before.outXruns != 0 || before.inXruns != 0 {
		t.Errorf("xruns before the stop: %+v", before)
	}
	for i := range stops {
		last, after := reports[2*i+1], reports[2*i+3]
		if after.outXruns == last.outXruns || after.inXruns == last.inXruns {
			t.Errorf("300 ms in a buffer of 80 ms, and no xrun was counted: %+v", after)
		}
		if after.clean < before.clean*9/10 {
			t.Errorf("clean frames in a second: %d before, %d after", before.clean, after.clean)
		}
		// Means over a second. What is played starts with three to four periods in
		// the buffer, which a tick of snd-aloop blurs; what is recorded is read one to
		// three ticks after it is there, by how slow the program is, and not by how often
		// there was a gap.
		const tick = Rate / 250
		if d := after.outDelay - before.outDelay; max(d, -d) > FrameSamples+tick {
			t.Errorf("delay of what is played: %d before, %d after stop %d", before.outDelay, after.outDelay, i+1)
		}
		if after.inDelay > max(before.inDelay, 2*tick)+tick {
			t.Errorf("delay of what is recorded: %d before, %d after stop %d", before.inDelay, after.inDelay, i+1)
		}
	}
}

// report is a second of the child's life.
type report struct{ clean, outXruns, inXruns, outDelay, inDelay int }

// TestBoardStoppedChild is the process that TestBoardStopped stops: it plays,
// records, and reports each second.
func TestBoardStoppedChild(t *testing.T) {
	if os.Getenv("HUSHBELL_ALSA_CHILD") != "1" {
		t.Skip("it is the child of TestBoardStopped")
	}
	needCard(t, "Loopback")
	p, c := loopback(t, Options{Period: 20 * time.Millisecond})
	playing(p.Write)
	frame := make([]int16, FrameSamples)
	for range 50 { // swing in
		if err := c.Read(frame); err != nil {
			t.Fatal(err)
		}
	}
	for {
		var r report
		for range 50 {
			if err := c.Read(frame); err != nil {
				t.Fatal(err)
			}
			if loud(frame) {
				r.clean++
			}
			r.outDelay += p.Delay()
			r.inDelay += c.Delay()
		}
		fmt.Printf("report %d %d %d %d %d\n", r.clean, p.Xruns(), c.Xruns(), r.outDelay/50, r.inDelay/50)
	}
}
