package board

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hushbell/alsa"
	"hushbell/gpio"
)

// What is below opens a Pi 4 whose GPIO chip and sound cards are simulated by a
// real kernel: the emulated board, where all of it must be there.
func needBoard(t *testing.T) {
	t.Helper()
	if os.Getenv("HUSHBELL_BOARD") != "1" {
		t.Skip("runs inside the emulated board only: go run ./cross/board ./board")
	}
	// The kernel's cards, no sound server.
	t.Setenv("PULSE_SERVER", "")
	t.Setenv("PULSE_RUNTIME_PATH", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
}

// pins are the board's lines as a finger and a meter have them.
type pins struct {
	t   *testing.T
	dir string // of the simulated chip in sysfs
}

func newPins(t *testing.T) pins {
	t.Helper()
	read := func(path string) string {
		b, err := os.ReadFile("/sys/kernel/config/gpio-sim/pi/" + path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	p := pins{t, "/sys/devices/platform/" + read("dev_name") + "/" + read("bank0/chip_name")}
	p.pull(buttonLine, true) // not pressed
	return p
}

// told is a log that is read while it is written.
type told struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

// The lines of the model's default pins.
const buttonLine, ledLine = 17, 22

func (p pins) pull(line int, high bool) {
	p.t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("%s/sim_gpio%d/pull", p.dir, line), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(map[bool]string{true: "pull-up", false: "pull-down"}[high])
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p pins) lit() bool { return p.high(ledLine) }

func (p pins) high(line int) bool {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("%s/sim_gpio%d/value", p.dir, line))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(b)) == "1"
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after 30 s still not: %s", what)
}

func openPi(t *testing.T, o Options) *Board {
	t.Helper()
	if o.Microphone == "" {
		o.Microphone, o.Speaker = "Loopback,1", "Loopback"
	}
	b, err := Open("pi-4", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func works(t *testing.T, b *Board) {
	t.Helper()
	eventually(t, "all works", func() bool { return len(b.Problems()) == 0 })
}

func TestKernelButtonAndLED(t *testing.T) {
	needBoard(t)
	p := newPins(t)
	log := &told{}
	b := openPi(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	b.Lamp.Set("on")
	eventually(t, "the LED is lit", p.lit)
	works(t, b)
	// Who presses before that is found with a button that is down already.
	eventually(t, "the button is ready", func() bool { return log.has("button is ready") })
	time.Sleep(100 * time.Millisecond)
	for range 3 {
		p.pull(buttonLine, false)
		select {
		case <-b.Gestures():
		case <-time.After(30 * time.Second):
			t.Fatal("a press on the line did not come")
		}
		p.pull(buttonLine, true)
		time.Sleep(100 * time.Millisecond) // the finger's, longer than the settle time
	}
	b.Lamp.Set("off")
	eventually(t, "the LED is dark", func() bool { return !p.lit() })
	b.Lamp.Set("on")
	eventually(t, "the LED is lit", p.lit)
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if p.lit() {
		t.Error("the LED is lit after Close")
	}
	var pcm [samples]int16
	if err := b.Speaker.Write(&pcm); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close = %v", err)
	}
}

// What others have is a problem with a remedy, and is taken when it is free.
func TestKernelBusy(t *testing.T) {
	needBoard(t)
	p := newPins(t)
	log := &told{}
	var held []interface{ Close() error }
	for _, n := range []int{buttonLine, ledLine} {
		o, err := gpio.OpenOutput(gpio.Line{Chip: "pinctrl-bcm2711", Offset: n})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, o)
	}
	play, err := alsa.OpenPlayback("Loopback", alsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	record, err := alsa.OpenCapture("Loopback,1", alsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	held = append(held, play, record)
	b := openPi(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	b.Lamp.Set("on")
	eventually(t, "four parts are told to be busy", func() bool { return len(b.Problems()) == 4 })
	for _, pr := range b.Problems() {
		if busy := errors.Is(pr.Err, syscall.EBUSY) || errors.Is(pr.Err, gpio.ErrBusy); !busy || pr.Remedy == "" {
			t.Errorf("problem %v, want a busy part and a remedy", pr)
		}
		t.Log(pr)
	}
	for _, h := range held {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	p.pull(buttonLine, true)
	works(t, b)
	eventually(t, "the LED is lit", p.lit)
	eventually(t, "the button is ready", func() bool { return log.has("button is ready") })
	time.Sleep(100 * time.Millisecond)
	p.pull(buttonLine, false)
	select {
	case <-b.Gestures():
	case <-time.After(30 * time.Second):
		t.Error("a press on the line that was busy did not come")
	}
	p.pull(buttonLine, true)
}

func TestKernelMissing(t *testing.T) {
	needBoard(t)
	newPins(t)
	b := openPi(t, Options{ButtonLine: "BUTTON", LEDLine: "99", Microphone: "Nobody", Speaker: "Nobody"})
	eventually(t, "four parts are missing", func() bool { return len(b.Problems()) == 4 })
	for _, p := range b.Problems() {
		if p.Remedy == "" {
			t.Errorf("no remedy for %v", p)
		}
		t.Log(p)
	}
	// Silence in real time: a call goes on.
	var pcm [samples]int16
	pcm[5] = 1
	if err := errors.Join(b.Speaker.Write(&pcm), b.Microphone.Read(&pcm)); err != nil || pcm[5] != 0 {
		t.Errorf("without a card: %v, heard %d", err, pcm[5])
	}
}

// What is written to the speaker is heard by the microphone, and nothing is
// allocated for it.
func TestKernelSound(t *testing.T) {
	needBoard(t)
	newPins(t)
	// The lines are looked at every five seconds, which allocates.
	b := openPi(t, Options{ButtonLine: NoLine, LEDLine: NoLine})
	var tone, heard [samples]int16
	for i := range tone { // 500 Hz: 10 waves in a frame
		tone[i] = int16(8000 * math.Sin(2*math.Pi*10*float64(i)/samples))
	}
	good, total := 0, 0
	turn := func() {
		if err := errors.Join(b.Speaker.Write(&tone), b.Microphone.Read(&heard)); err != nil {
			t.Fatal(err)
		}
		var power float64
		for _, s := range heard {
			power += float64(s) * float64(s)
		}
		total++
		if rms := math.Sqrt(power / samples); rms > 5400 && rms < 5900 { // 8000/sqrt(2) = 5657
			good++
		}
	}
	for range 50 {
		turn()
	}
	good, total = 0, 0
	allocs := testing.AllocsPerRun(2, func() {
		for range 100 {
			turn()
		}
	})
	t.Logf("%d of %d frames heard, %v allocations in 100, %d overruns, %d underruns", good, total, allocs, b.Microphone.Xruns(), b.Speaker.Xruns())
	if good < total*9/10 || allocs != 0 {
		t.Errorf("%d of %d frames heard, %v allocations in 100", good, total, allocs)
	}
	b.Speaker.Stop()
	b.Microphone.Stop()
}

func TestKernelVolume(t *testing.T) {
	needBoard(t)
	newPins(t)
	m, err := alsa.OpenMixer("Dummy")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, percent := range []int{30, 90} {
		b := openPi(t, Options{Microphone: "Dummy", Speaker: "Dummy", MicrophoneVolume: 100 - percent, SpeakerVolume: percent})
		works(t, b)
		speaker, err1 := m.Volume("Master")
		mic, err2 := m.Volume("Mic")
		// The card has 151 steps: a percent is not always one.
		if err := errors.Join(err1, err2); err != nil || max(speaker-percent, percent-speaker, mic-100+percent, 100-percent-mic) > 1 {
			t.Errorf("speaker at %d %%, microphone at %d %%, %v, want %d and %d", speaker, mic, err, percent, 100-percent)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	b := openPi(t, Options{Microphone: "Loopback,1", Speaker: "Loopback", MicrophoneVolume: 50})
	if p := b.Problems(); len(p) == 0 || !errors.Is(p[len(p)-1].Err, errNoLevel) && !errors.Is(p[0].Err, errNoLevel) {
		t.Errorf("a card without volumes: problems %v", p)
	}
}

func TestKernelMute(t *testing.T) {
	needBoard(t)
	m, err := alsa.OpenMixer("Dummy")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, mute := range []bool{true, false} {
		if err := errors.Join(m.SetMute("Mic", mute), m.SetMute("Line", true)); err != nil {
			t.Fatal(err)
		}
		if err := Mute("Dummy", MicrophonePart); errors.Is(err, ErrMuted) != mute || mute && !strings.Contains(err.Error(), "Mic Capture Switch is off") {
			t.Errorf("mute %v: %v", mute, err)
		}
	}
	if err := Mute("Dummy", SpeakerPart); err != nil { // it has nothing to be mute with
		t.Error(err)
	}
	if err := Mute("None", SpeakerPart); !errors.Is(err, alsa.ErrNoCard) {
		t.Errorf("no such card: %v", err)
	}
}

// The machine is no Pi, and says so; its cards are found.
func TestKernelAuto(t *testing.T) {
	needBoard(t)
	w, err := Wire(Auto, Options{})
	if err != nil || w.Board != Generic || !errors.Is(w.Buttons[0].Err, ErrUnset) {
		t.Errorf("Wire(auto) = %+v, %v", w, err)
	}
	if w.Microphone.Device == "" || w.Speaker.Device == "" {
		t.Errorf("no card was chosen: %+v", w)
	}
}

// How long after the contact closed, by the board's clock, the LED is lit and the
// speaker's first sample is there: 30 ms above the settle time at most, in the
// median of ten presses. A single one may meet the collector, which 32 ms were
// seen for: it counts as a hang only from five times as much. What a press means
// is somebody else's, so the test decides it.
func TestKernelReaction(t *testing.T) {
	needBoard(t)
	p := newPins(t)
	const settle, limit = 20 * time.Millisecond, 30 * time.Millisecond
	log := &told{}
	b := openPi(t, Options{Microphone: "Dummy", Speaker: "Loopback", Settle: settle, Log: slog.New(slog.NewTextHandler(log, nil))})
	works(t, b)
	eventually(t, "the button is ready", func() bool { return log.has("button is ready") })
	ear, err := alsa.OpenCapture("Loopback,1", alsa.Options{Period: 2 * time.Millisecond, Buffer: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	var beep [samples]int16
	for i := range beep {
		beep[i] = 8000
	}
	const presses = 10
	var lit, heard []time.Duration
	for range presses {
		b.Lamp.Set("off")
		eventually(t, "the LED is dark", func() bool { return !p.lit() })
		time.Sleep(100 * time.Millisecond) // the finger's
		began := time.Now()
		p.pull(buttonLine, false)
		var both sync.WaitGroup
		both.Go(func() {
			for !p.lit() {
				time.Sleep(200 * time.Microsecond)
			}
			lit = append(lit, time.Since(began)-settle)
		})
		both.Go(func() {
			// 2 ms of the loop at a time: it stands still until something is played.
			var ms [96]int16
			for ms[95] == 0 {
				if err := ear.Read(ms[:]); err != nil {
					t.Error(err)
					return
				}
			}
			heard = append(heard, time.Since(began)-settle)
			ear.Stop()
		})
		<-b.Gestures()
		b.Lamp.Set("on")
		for range 10 {
			if err := b.Speaker.Write(&beep); err != nil {
				t.Fatal(err)
			}
		}
		b.Speaker.Stop()
		both.Wait()
		p.pull(buttonLine, true)
	}
	slices.Sort(lit)
	slices.Sort(heard)
	t.Logf("above the settle time: LED %v to %v, first sound %v to %v", lit[0], lit[presses-1], heard[0], heard[len(heard)-1])
	for _, took := range [][]time.Duration{lit, heard} {
		if len(took) != presses || took[presses/2] > limit || took[presses-1] > 5*limit {
			t.Errorf("LED after %v, sound after %v above the settle time of %v, want %v at most", lit, heard, settle, limit)
		}
	}
}

// Several buttons with gestures, two LEDs and a door, on lines of a real kernel.
func TestKernelSeveral(t *testing.T) {
	needBoard(t)
	p := newPins(t)
	const attic, red, door = 5, 6, 13
	low := true
	log := &told{}
	p.pull(attic, true)
	p.pull(door, true) // by the circuit of the door, while nobody drives the line
	b := openPi(t, Options{
		Buttons: []ButtonOptions{
			{LineOptions: LineOptions{Name: "gate"}, Timing: gpio.Timing{Long: 300 * time.Millisecond}},
			{LineOptions: LineOptions{Name: "attic", Line: fmt.Sprint(attic)}, Timing: gpio.Timing{Talk: 100 * time.Millisecond}},
		},
		LEDs:    []LineOptions{{Name: "green"}, {Name: "red", Line: fmt.Sprint(red), ActiveLow: &low}},
		Outputs: []LineOptions{{Name: "door", Line: fmt.Sprint(door), ActiveLow: &low}},
		Log:     slog.New(slog.NewTextHandler(log, nil)),
	})
	works(t, b)
	eventually(t, "both buttons are ready", func() bool { return log.has(`"button gate"`) && log.has(`"button attic"`) })
	expect := func(button string, kind gpio.Kind) {
		t.Helper()
		select {
		case g := <-b.Gestures():
			if g.Button != button || g.Kind != kind {
				t.Errorf("%s: %v, want %s: %v", g.Button, g.Kind, button, kind)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("no %v of %s", kind, button)
		}
	}
	time.Sleep(100 * time.Millisecond)
	p.pull(buttonLine, false)
	expect("gate", gpio.LongPress)
	p.pull(attic, false)
	expect("attic", gpio.TalkStart)
	p.pull(buttonLine, true)
	p.pull(attic, true)
	expect("attic", gpio.TalkEnd)

	b.LED("red").Set("on")
	eventually(t, "the red LED alone is lit, at ground", func() bool { return !p.high(red) && !p.lit() })
	b.LED("green").Set("on")
	b.LED("red").Set("off")
	eventually(t, "the green LED alone is lit", func() bool { return p.high(red) && p.lit() })

	if !p.high(door) {
		t.Error("the door is open from the start")
	}
	began := time.Now()
	if err := b.Output("door").Pulse(time.Second); err != nil || p.high(door) {
		t.Errorf("the door does not open: %v", err)
	}
	eventually(t, "the door is closed", func() bool { return p.high(door) })
	if d := time.Since(began); d < time.Second || d > 5*time.Second {
		t.Errorf("the door was open for %v, want 1 s", d)
	}
	if err := errors.Join(b.Output("door").Set(true), b.Close()); err != nil || !p.high(door) {
		t.Errorf("Close = %v, door closed: %v", err, p.high(door))
	}
}

// A board with nothing to do lets the processor sleep: less than 5 wake-ups a
// second, in the quietest of some stretches, since the runtime has its bursts.
func TestKernelIdle(t *testing.T) {
	needBoard(t)
	newPins(t)
	b := openPi(t, Options{Outputs: []LineOptions{{Name: "door", Line: "13"}}})
	works(t, b)
	const length = 10
	quiet := int64(math.MaxInt64)
	for range 3 {
		before := switches(t)
		time.Sleep(length * time.Second)
		quiet = min(quiet, switches(t)-before)
	}
	t.Logf("%d context switches in %d s", quiet, length)
	if quiet >= 5*length {
		t.Errorf("%d context switches in %d s, want less than 5 a second", quiet, length)
	}
}

// switches counts how often the threads of this process gave the processor back.
func switches(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return int64(u.Nvcsw + u.Nivcsw)
}
