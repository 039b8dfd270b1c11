package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/alsa"
	"hushbell/board"
	"hushbell/device"
	"hushbell/device/config"
	"hushbell/gpio"
)

// tried runs one test of a part in simulated time, and returns what it printed.
func tried(t *testing.T, w wall, limit time.Duration, test func(*partTest, context.Context) error) (out string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := &partTest{wall: w, limit: limit, out: &b, wiring: board.Wiring{
			Buttons: []board.Line{{Part: board.ButtonPart, Line: gpio.Line{Name: "GPIO17"}}},
			LEDs:    []board.Line{{Part: board.LEDPart, Line: gpio.Line{Name: "GPIO22"}}}}}
		err = test(p, t.Context())
		out = b.String()
	})
	return out, err
}

// saying is a button of which these events come, one a second.
func saying(events ...gpio.Event) wall {
	return wall{watch: func(ctx context.Context, _ gpio.Line, _ gpio.Timing, to chan<- gpio.Event) error {
		for _, e := range events {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			e.At = time.Now()
			select {
			case to <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}}
}

func TestTestButton(t *testing.T) {
	busy := &gpio.LineError{Op: "open", Line: gpio.Line{Name: "GPIO17"}, Holder: "hushbell", Err: gpio.ErrBusy}
	found, down, press, up := gpio.Event{Kind: gpio.Found}, gpio.Event{Kind: gpio.Down}, gpio.Event{Kind: gpio.Press}, gpio.Event{Kind: gpio.Up}
	for _, tt := range []struct {
		name      string
		events    []gpio.Event
		want      []string // in what is printed
		wantError string
	}{
		{"pressed", []gpio.Event{found, down, press, up, down, press, up},
			[]string{"Press the button on GPIO17", "2.00 s  down", "3.00 s  press 1", "4.00 s  up, after 2000 ms", "press 2", "2 presses"}, ""},
		{"not pressed", []gpio.Event{found}, nil, "no press on GPIO17"},
		{"stuck", []gpio.Event{found, {Kind: gpio.Stuck}}, []string{"2.00 s  stuck"}, "no press"},
		{"the daemon has it", []gpio.Event{{Kind: gpio.Lost, Err: busy}}, nil, "stop hushbell"},
		{"taken away", []gpio.Event{found, down, press, {Kind: gpio.Lost, Err: gpio.ErrGone}}, nil, "chip is gone"},
	} {
		out, err := tried(t, saying(tt.events...), 30*time.Second, (*partTest).button)
		for _, want := range tt.want {
			if !strings.Contains(strings.ToLower(out), strings.ToLower(want)) {
				t.Errorf("%s: printed %q, want %q in it", tt.name, out, want)
			}
		}
		if tt.wantError == "" && err != nil || tt.wantError != "" && (err == nil || !strings.Contains(err.Error(), tt.wantError)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.wantError)
		}
	}
}

// A fakeLED remembers what it showed, and has trouble after a while if told so.
type fakeLED struct {
	mu     sync.Mutex // guards shown
	shown  []gpio.Pattern
	report func(gpio.Line, error)
	fails  error
	ended  bool
}

func (l *fakeLED) Show(_ int, p gpio.Pattern) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = append(l.shown, p)
}

func (l *fakeLED) Run(ctx context.Context) error {
	if l.fails != nil {
		time.Sleep(5 * time.Second)
		l.report(gpio.Line{}, l.fails)
	}
	<-ctx.Done()
	l.ended = true
	return ctx.Err()
}

func TestTestLED(t *testing.T) {
	for _, fails := range []error{nil, gpio.ErrGone} {
		led := &fakeLED{fails: fails}
		out, err := tried(t, wall{leds: func(_ []gpio.Line, report func(gpio.Line, error)) leds {
			led.report = report
			return led
		}}, 20*time.Second, (*partTest).led)
		want := []gpio.Pattern{gpio.On, gpio.SlowBlink, gpio.FastBlink, gpio.Heartbeat, gpio.Code(3)}
		if fails != nil {
			want = want[:2]
		}
		if !errors.Is(err, fails) || !slices.Equal(led.shown, want) || !led.ended {
			t.Errorf("trouble %v: error %v, shown %v, want %v; given back: %v", fails, err, led.shown, want, led.ended)
		}
		for _, p := range want {
			if !strings.Contains(out, "  "+p.String()+"\n") {
				t.Errorf("printed %q, want %v named", out, p)
			}
		}
	}
}

// A room is a speaker and a microphone in the same room, in simulated time. The
// speaker's device holds 40 ms.
type room struct {
	late    time.Duration // of the air
	gain    float64
	noise   int
	played  []int16
	began   time.Time
	written int
	heard   int
	since   time.Time // of the recording
	breaks  int       // the speaker breaks with this frame; 0: never
	closed  int
	random  *rand.Rand
	mu      sync.Mutex // guards all that changes
}

const roomQueue = 40 * time.Millisecond

type roomSpeaker struct{ *room }

func (r roomSpeaker) Write(s []int16) error {
	r.mu.Lock()
	if r.written == 0 {
		r.began = time.Now()
	}
	r.played = append(r.played, s...)
	r.written++
	over := r.began.Add(time.Duration(r.written)*frameTime - roomQueue)
	broken := r.written == r.breaks
	r.mu.Unlock()
	if broken {
		return &alsa.Error{Op: "write", Device: "Room", Err: syscall.ENODEV}
	}
	time.Sleep(time.Until(over))
	return nil
}

type roomMicrophone struct{ *room }

func (r roomMicrophone) Read(s []int16) error {
	if r.heard == 0 {
		r.since = time.Now()
	}
	r.heard++
	time.Sleep(time.Until(r.since.Add(time.Duration(r.heard) * frameTime)))
	r.mu.Lock()
	defer r.mu.Unlock()
	from := (r.heard-1)*len(s) + int(r.since.Sub(r.began.Add(r.late))*alsa.Rate/time.Second)
	for i := range s {
		s[i] = 0
		if at := from + i; at >= 0 && at < len(r.played) {
			s[i] = int16(r.gain * float64(r.played[at]))
		}
		if r.noise > 0 {
			s[i] += int16(r.random.IntN(2*r.noise+1) - r.noise)
		}
	}
	return nil
}

func (r *room) Delay() int     { return int(roomQueue * alsa.Rate / time.Second) }
func (r *room) Xruns() int     { return 0 }
func (r *room) Device() string { return "Room" }
func (r *room) Close() error   { r.closed++; return nil }

func (r *room) wall() wall {
	r.random = rand.New(rand.NewPCG(1, 2))
	return wall{
		playback: func(string) (player, error) { return roomSpeaker{r}, nil },
		capture:  func(string) (recorder, error) { return roomMicrophone{r}, nil },
	}
}

func TestTestLoop(t *testing.T) {
	for _, tt := range []struct {
		name      string
		room      *room
		want      time.Duration
		wantError string
	}{
		{"a cable", &room{gain: 1}, roomQueue, ""},
		{"a room", &room{gain: 0.1, late: 113 * time.Millisecond, noise: 200}, roomQueue + 113*time.Millisecond, ""},
		{"turned over, in noise as loud as itself", &room{gain: -0.02, late: 7 * time.Millisecond, noise: 160}, roomQueue + 7*time.Millisecond, ""},
		{"most of a second", &room{gain: 0.3, late: 800 * time.Millisecond, noise: 20}, roomQueue + 800*time.Millisecond, ""},
		{"the microphone hears itself only", &room{noise: 1000}, 0, "chirps came back"},
		{"dead silence", &room{}, 0, "0 of 5 chirps"},
		{"the speaker is pulled out", &room{gain: 1, breaks: 40}, 0, "plug a sound card in"},
	} {
		out, err := tried(t, tt.room.wall(), 8*time.Second, (*partTest).loop)
		if tt.wantError != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantError) {
				t.Errorf("%s: error %v, want %q:\n%s", tt.name, err, tt.wantError, out)
			}
			continue
		}
		var trip, queued float64
		i := strings.Index(out, "Round trip")
		if err != nil || i < 0 {
			t.Errorf("%s: %v, printed %s", tt.name, err, out)
			continue
		}
		if n, _ := fmt.Sscanf(out[i:], "Round trip: %f ms, of which %f ms", &trip, &queued); n != 2 {
			t.Errorf("%s: printed %s", tt.name, out[i:])
		}
		// The clock stands still while the processor works: what is measured is
		// exact but for one sample of the thinned sound.
		if d := trip - tt.want.Seconds()*1000; d < -0.2 || d > 0.2 || queued != roomQueue.Seconds()*1000 {
			t.Errorf("%s: round trip %.1f ms, %.1f ms queued, want %v and %v:\n%s", tt.name, trip, queued, tt.want, roomQueue, out)
		}
	}
}

func TestTestSpeaker(t *testing.T) {
	r := &room{}
	out, err := tried(t, r.wall(), 4*time.Second, (*partTest).speaker)
	if err != nil || r.written != 200 || r.closed != 1 || !strings.Contains(out, "took 4s of sound") {
		t.Errorf("%v, %d frames, closed %d times, printed %q", err, r.written, r.closed, out)
	}
	loud, jump := 0, 0
	for i, s := range r.played {
		loud = max(loud, int(s))
		if i > 0 {
			jump = max(jump, int(s)-int(r.played[i-1]))
		}
	}
	// 880 Hz at full amplitude rise by 2 pi 880/48000 of it from sample to sample.
	if loud < testAmplitude*9/10 || loud > testAmplitude || jump > testAmplitude*12/100 {
		t.Errorf("the loudest sample is %d, the greatest step %d: no tones of amplitude %d without clicks", loud, jump, testAmplitude)
	}
	r = &room{breaks: 3}
	if _, err := tried(t, r.wall(), 4*time.Second, (*partTest).speaker); err == nil || r.closed != 1 {
		t.Errorf("a speaker that is pulled out gives %v, closed %d times", err, r.closed)
	}
	busy := wall{playback: func(string) (player, error) {
		return nil, &alsa.Error{Op: "open", Device: "Device", Holder: "hushbell (process 7)", Err: syscall.EBUSY}
	}}
	if _, err := tried(t, busy, time.Second, (*partTest).speaker); err == nil || !strings.Contains(err.Error(), "systemctl stop hushbell") {
		t.Errorf("a device that the daemon has gives %v", err)
	}
}

func TestTestMicrophone(t *testing.T) {
	out, err := tried(t, (&room{noise: 3276}).wall(), 10*time.Second, (*partTest).microphone)
	if err != nil || strings.Count(out, "]  -20.0 dB") != 10 || !strings.Contains(out, "Loudest: -20.0 dB") {
		t.Errorf("noise of -20 dB for 10 s: %v, printed %s", err, out)
	}
	if _, err := tried(t, (&room{}).wall(), 2*time.Second, (*partTest).microphone); err == nil || !strings.Contains(err.Error(), "dead silence") {
		t.Errorf("dead silence gives %v", err)
	}
	out, err = tried(t, (&room{noise: 32767}).wall(), time.Second, (*partTest).microphone)
	if err != nil || !strings.Contains(out, "too loud for the converter") {
		t.Errorf("clipping gives %v, printed %s", err, out)
	}
}

func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		peak, bars int
		text       string
	}{{0, 0, "-110.3 dB"}, {33, 0, " -59.9 dB"}, {1037, 20, " -30.0 dB"}, {32768, 40, "   0.0 dB"}, {32767, 39, "  -0.0 dB"}} {
		got := meter(tt.peak)
		if strings.Count(got, "#") != tt.bars || !strings.HasSuffix(got, tt.text) || len(got) != meterWidth+12 {
			t.Errorf("meter(%d) = %q, want %d bars, %s", tt.peak, got, tt.bars, tt.text)
		}
	}
}

// Whatever a state shows is a pattern that package gpio can show.
func TestLampsOfStates(t *testing.T) {
	known := map[string]bool{}
	for p := gpio.Off; !strings.HasPrefix(p.String(), "gpio."); p++ {
		known[p.String()] = true
	}
	n := 0
	for s := device.State(0); !strings.HasPrefix(s.String(), "state "); s++ {
		if n++; !known[s.Lamp()] {
			t.Errorf("%v shows %q, which no LED can", s, s.Lamp())
		}
	}
	if n < 5 || len(known) < 10 {
		t.Errorf("only %d states and %d patterns were looked at", n, len(known))
	}
}

func TestBoardOptions(t *testing.T) {
	yes := true
	o := boardOptions(&config.Board{Microphone: "M", Speaker: "S", MicrophoneVolume: 1, SpeakerVolume: 2, Chip: "C", ButtonLine: "B",
		ActiveLow: &yes, Bias: config.PullDown, Settle: 3, LEDLine: "L", LEDActiveLow: &yes})
	bias := gpio.PullDown
	want := board.Options{Microphone: "M", Speaker: "S", MicrophoneVolume: 1, SpeakerVolume: 2, Chip: "C", ButtonLine: "B", LEDLine: "L",
		ActiveLow: &yes, LEDLow: &yes, Settle: 3, Bias: o.Bias}
	if !reflect.DeepEqual(o, want) || o.Bias == nil || *o.Bias != bias {
		t.Errorf("boardOptions = %+v, want %+v", o, want)
	}
	if o := boardOptions(&config.Board{}); !reflect.DeepEqual(o, board.Options{}) {
		t.Errorf("nothing has become %+v", o)
	}
}

func TestTestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hushbell.toml")
	sim := filepath.Join(t.TempDir(), "sim.toml")
	for name, text := range map[string]string{file: "[board]\nname = \"generic\"\nbutton_line = \"none\"\n", sim: "[board]\nname = \"sim\"\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"test led --config " + file, 1, "no line is set: name one as board.led_line"},
		{"test button --config " + file, 1, "the configuration says that there is none"},
		{"test button --board toaster --config " + file, 2, `no model "toaster"`},
		{"test mic --config " + sim, 1, "name a real one with --board"},
		{"test mic --config " + file + ".none", 78, "there is no configuration"},
		{"test mic --for 0s --config " + file, 2, "it takes longer"},
		{"test loop --for 5s --config " + file, 2, "it takes 5.5s"},
		{"test ears", 2, `there is no command "ears"`},
		{"devices --config " + file, 0, "generic"},
		{"devices --config " + sim, 0, "simulated"},
	} {
		var out bytes.Buffer
		status := run(t.Context(), strings.Fields(tt.args), strings.NewReader(""), &out, &out)
		if status != tt.status || !strings.Contains(out.String(), tt.want) {
			t.Errorf("hushbell %s: status %d, printed %s\nwant %d, %q", tt.args, status, out.String(), tt.status, tt.want)
		}
	}
}

func TestLineState(t *testing.T) {
	line := board.Line{Part: board.ButtonPart, Line: gpio.Line{Name: "GPIO17", ActiveLow: true}}
	busy := func(holder string) error {
		return &gpio.LineError{Op: "open", Line: line.Line, Holder: holder, Err: gpio.ErrBusy}
	}
	led := board.Line{Part: board.LEDPart, Line: gpio.Line{Offset: 99, Chip: "x"}}
	for _, tt := range []struct {
		line board.Line
		err  error
		want string
	}{
		{line, nil, "GPIO17\tactive low, free"},
		{line, busy("hushbell@7"), "GPIO17\tactive low, in use by hushbell@7"},
		{line, busy("spi0 CS0"), "GPIO17\tactive low, does not work: gpio: open GPIO17: line in use by \"spi0 CS0\": " +
			"take the line from who has it (a device tree overlay, most often), or name another as board.button_line"},
		{led, &gpio.LineError{Op: "open", Line: led.Line, Err: gpio.ErrNoLine},
			"line 99 of x\tactive high, does not work: gpio: open line 99 of x: no such line: name another as board.led_line; hushbell devices lists what there is"},
		{board.Line{Part: board.LEDPart, Err: board.ErrLeftOut}, nil, "none\tthe configuration says that there is none"},
	} {
		if got := lineState(tt.line, func(gpio.Line) error { return tt.err }); got != tt.want {
			t.Errorf("%+v, %v: %q\nwant %q", tt.line, tt.err, got, tt.want)
		}
	}
}

func TestSoundState(t *testing.T) {
	busy := func(holder string) error {
		return &alsa.Error{Op: "open", Device: "Device", Holder: holder, Err: syscall.EBUSY}
	}
	card := func(problem error) []alsa.Device {
		return []alsa.Device{{Name: "Device", Playback: true, Capture: true, CaptureProblem: problem}}
	}
	server := []alsa.Device{{Name: "pulse"}}
	for _, tt := range []struct {
		device string
		list   []alsa.Device
		mute   error
		want   string
	}{
		{"", nil, nil, "none\tnone is there; the first that comes is taken"},
		{"", server, nil, "pulse\tthe sound server"},
		{"pulse:hush", server, nil, "pulse:hush\tof the sound server"},
		{"pulse", nil, nil, "pulse\tdoes not work: no sound server: start the sound server in the session"},
		{"Device", nil, nil, "Device\tis not there: plug a sound card in"},
		{"Device", card(nil), nil, "Device\tfree"},
		{"Device,0", card(nil), nil, "Device,0\tfree"},
		{"vc4hdmi", []alsa.Device{{Name: "vc4hdmi", Playback: true}}, nil, "vc4hdmi\tonly plays: name another as board.microphone"},
		{"Device", card(busy("hushbell (process 7)")), nil, "Device\tin use by hushbell (process 7)"},
		{"Device", card(busy("mpd (process 7)")), nil, "Device\tdoes not work: alsa: open Device: device or resource busy, held by mpd (process 7): end the program"},
		{"Device", card(nil), fmt.Errorf("board: Device: %w: Mic Capture Switch is off", board.ErrMuted), "Device\tdoes not work: board: Device: muted: Mic Capture Switch is off: "},
	} {
		got := soundState(board.MicrophonePart, tt.device, tt.list, func(string, board.Part) error { return tt.mute })
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q among %+v: %q\nwant %q", tt.device, tt.list, got, tt.want)
		}
	}
}

func TestShowDevices(t *testing.T) {
	var out bytes.Buffer
	busy := &alsa.Error{Op: "open", Device: "Device", Holder: "mpd (process 7)", Err: syscall.EBUSY}
	err := showSound(&out, []alsa.Device{
		{Name: "Headphones", Title: "bcm2835 Headphones", Playback: true},
		{Name: "Device", Title: "USB Audio Device", Playback: true, Capture: true, Problem: errors.Join(fmt.Errorf("playback: %w", busy), fmt.Errorf("capture: %w", busy))},
	}, nil)
	if err == nil {
		err = showChips(&out, []gpio.ChipInfo{{Name: "gpiochip0", Label: "pinctrl-bcm2711", Lines: []gpio.LineInfo{{Name: "ID_SDA"}, {Name: "GPIO1", Used: true, Holder: "spi0 CS0"}}},
			{Name: "gpiochip1", Err: os.ErrPermission}}, nil, true)
	}
	want := `
Sound devices
  Headphones  plays           bcm2835 Headphones
  Device      plays, records  USB Audio Device
  Device does not work: playback: alsa: open Device: device or resource busy, held by mpd (process 7); capture: alsa: open Device: device or resource busy, held by mpd (process 7): end the program that has it, or name another device in [board]

GPIO chips
  pinctrl-bcm2711 (gpiochip0): 2 lines, 1 in use
     0  ID_SDA
     1  GPIO1  in use by spi0 CS0
  gpiochip1: permission denied: add the user that runs hushbell to the group gpio
`
	if err != nil || out.String() != want {
		t.Errorf("%v, printed\n%s\nwant\n%s", err, out.String(), want)
	}
	if err := showSound(io.Discard, nil, os.ErrPermission); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a list that failed gives %v", err)
	}
}

// The example that run --help shows is right, and has every key of a board.
func TestExampleBoard(t *testing.T) {
	cfg, err := config.Parse("example", exampleBoard)
	if err != nil {
		t.Fatal(err)
	}
	for f, v := range reflect.ValueOf(cfg.Board).Fields() {
		if v.IsZero() {
			t.Errorf("the example does not show %s", f.Name)
		}
	}
}

// devices and test see all lines that run opens.
func TestAllLines(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	dir := t.TempDir()
	file := filepath.Join(dir, "hushbell.toml")
	text := "[board]\nname = \"pi-4\"\n[button2]\nline = 5\npress = \"dnd\"\n[door]\nline = 6\npin_file = \"pin\"\n"
	check(t, os.WriteFile(file, []byte(text), 0o600))
	var out bytes.Buffer
	if status := run(t.Context(), []string{"devices", "--config", file}, strings.NewReader(""), &out, &out); status != 0 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"button ", "line 17 of", "button 2 ", "line 5 of", "output door ", "line 6 of"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("devices printed nothing of %q:\n%s", want, out.String())
		}
	}
}
