package board

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hushbell/alsa"
	"hushbell/gpio"
)

func model(t *testing.T, name string) Model {
	t.Helper()
	m, err := FindModel(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWire(t *testing.T) {
	yes, no, down := true, false, gpio.PullDown
	pi4 := "pinctrl-bcm2711"
	codec := []alsa.Device{{Name: "Zero", Playback: true, Capture: true}}
	for _, tt := range []struct {
		name        string
		model       string
		o           Options
		sound       []alsa.Device
		button, led Line
	}{
		{"as it is", "pi-4", Options{}, nil,
			Line{Line: gpio.Line{Chip: pi4, Offset: 17, ActiveLow: true, Bias: gpio.PullUp}}, Line{Line: gpio.Line{Chip: pi4, Offset: 22}}},
		{"another name, number, levels, resistor", "pi-4",
			Options{ButtonLine: "GPIO5", LEDLine: "6", ActiveLow: &no, LEDLow: &yes, Bias: &down}, nil,
			Line{Line: gpio.Line{Chip: pi4, Name: "GPIO5", Offset: 17, Bias: gpio.PullDown}},
			Line{Line: gpio.Line{Chip: pi4, Offset: 6, ActiveLow: true}}},
		{"another chip", "pi-4", Options{Chip: "expander", ButtonLine: "0"}, nil,
			Line{Line: gpio.Line{Chip: "expander", ActiveLow: true, Bias: gpio.PullUp}}, Line{Line: gpio.Line{Chip: "expander", Offset: 22}}},
		{"the button and LED of a HAT", "pi-zero-w", Options{}, codec,
			Line{Line: gpio.Line{Chip: "pinctrl-bcm2835", Offset: 27, ActiveLow: true, Bias: gpio.PullUp}},
			Line{Line: gpio.Line{Chip: "pinctrl-bcm2835", Offset: 23}}},
		{"the owner's on a HAT", "pi-zero-w", Options{ButtonLine: "17", LEDLine: NoLine}, codec,
			Line{Line: gpio.Line{Chip: "pinctrl-bcm2835", Offset: 17, ActiveLow: true, Bias: gpio.PullUp}}, Line{Err: ErrLeftOut}},
		{"nothing known", Generic, Options{}, codec, Line{Err: ErrUnset}, Line{Err: ErrUnset}},
		{"the owner's of what is not known", Generic, Options{ButtonLine: "BUTTON", Chip: "x", LEDLine: "0"}, nil,
			Line{Line: gpio.Line{Chip: "x", Name: "BUTTON", ActiveLow: true, Bias: gpio.PullUp}}, Line{Line: gpio.Line{Chip: "x"}}},
	} {
		tt.o.Settle = 7 * time.Millisecond
		w := wire(model(t, tt.model), tt.o, tt.sound)
		tt.button.Part, tt.led.Part = ButtonPart, LEDPart
		tt.button.Timing.Settle = tt.o.Settle
		if len(w.Buttons) != 1 || len(w.LEDs) != 1 || w.Buttons[0] != tt.button || w.LEDs[0] != tt.led || w.Board != tt.model {
			t.Errorf("%s: %+v\nwant button %+v, LED %+v", tt.name, w, tt.button, tt.led)
		}
	}
}

// Of several buttons and LEDs the first has the model's line; the others, and
// outputs, have what the owner says.
func TestWireSeveral(t *testing.T) {
	yes, no, down := true, false, gpio.PullDown
	long := gpio.Timing{Long: time.Second}
	quick := gpio.Timing{Settle: time.Millisecond}
	const pi = "pinctrl-bcm2711"
	w := wire(model(t, "pi-4"), Options{
		Settle: 7 * time.Millisecond,
		LEDLow: &yes,
		Buttons: []ButtonOptions{
			{LineOptions: LineOptions{Name: "gate"}, Timing: long},
			{LineOptions: LineOptions{Name: "attic", Line: "GPIO5", Chip: "expander", ActiveLow: &no}, Bias: &down, Timing: quick},
			{LineOptions: LineOptions{Name: "lost"}},
			{LineOptions: LineOptions{Name: "none", Line: NoLine}},
		},
		LEDs:    []LineOptions{{}, {Name: "red", Line: "6", ActiveLow: &no}, {Name: "lost"}},
		Outputs: []LineOptions{{Name: "door", Line: "13", ActiveLow: &yes}, {Name: "bell", Line: "19"}, {Name: "lost"}},
	}, nil)
	settle := gpio.Timing{Settle: 7 * time.Millisecond}
	long.Settle = settle.Settle
	for _, tt := range []struct{ got, want []Line }{
		{w.Buttons, []Line{
			{Label: "gate", Part: "button gate", Line: gpio.Line{Chip: pi, Offset: 17, ActiveLow: true, Bias: gpio.PullUp}, Timing: long},
			{Label: "attic", Part: "button attic", Line: gpio.Line{Chip: "expander", Name: "GPIO5", Offset: 17, Bias: gpio.PullDown}, Timing: quick},
			{Label: "lost", Part: "button lost", Timing: settle, Err: ErrUnset},
			{Label: "none", Part: "button none", Timing: settle, Err: ErrLeftOut}}},
		{w.LEDs, []Line{
			{Part: LEDPart, Line: gpio.Line{Chip: pi, Offset: 22, ActiveLow: true}},
			{Label: "red", Part: "led red", Line: gpio.Line{Chip: pi, Offset: 6}},
			{Label: "lost", Part: "led lost", Err: ErrUnset}}},
		{w.Outputs, []Line{
			{Label: "door", Part: "output door", Line: gpio.Line{Chip: pi, Offset: 13, ActiveLow: true}},
			{Label: "bell", Part: "output bell", Line: gpio.Line{Chip: pi, Offset: 19}},
			{Label: "lost", Part: "output lost", Err: ErrUnset}}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%+v\nwant %+v", tt.got, tt.want)
		}
	}
}

// A line belongs to one part, whoever named it and however: a LED at the line of a door
// would open it. Outputs come first, then buttons.
func TestWireTwice(t *testing.T) {
	for _, tt := range []struct {
		o                   Options
		button, led, output bool // have their line
	}{
		{Options{Outputs: []LineOptions{{Line: "GPIO22"}}}, true, false, true}, // the LED's usual one
		{Options{Outputs: []LineOptions{{Line: "22"}}}, true, false, true},
		{Options{Outputs: []LineOptions{{Line: "17"}}}, false, true, true}, // the button's
		{Options{LEDLine: "GPIO17"}, true, false, true},
		{Options{LEDLine: "27", Outputs: []LineOptions{{Line: "GPIO27"}}}, true, false, true},
		{Options{Outputs: []LineOptions{{Line: "GPIO22", Chip: "expander"}}}, true, true, true},
		{Options{Outputs: []LineOptions{{Line: "DOOR"}}}, true, true, true},
		{Options{LEDLine: NoLine, Outputs: []LineOptions{{Line: "GPIO22"}}}, true, false, true},
	} {
		w := wire(model(t, "pi-4"), tt.o, nil)
		got := []bool{w.Buttons[0].Err == nil, w.LEDs[0].Err == nil, true}
		for _, l := range w.Outputs {
			got[2] = got[2] && l.Err == nil
		}
		if want := []bool{tt.button, tt.led, tt.output}; !slices.Equal(got, want) {
			t.Errorf("%+v: button, led, output have a line: %v, want %v", tt.o, got, want)
		}
		for _, l := range slices.Concat(w.Buttons, w.LEDs) {
			if l.Err != nil && !errors.Is(l.Err, ErrLeftOut) && (!errors.Is(l.Err, ErrTwice) || !strings.Contains(LineRemedy(l.Err, l.Part), "name another as")) {
				t.Errorf("%+v: %v, %q", tt.o, l.Err, LineRemedy(l.Err, l.Part))
			}
		}
	}
}

func TestChoose(t *testing.T) {
	both := func(name string) alsa.Device { return alsa.Device{Name: name, Playback: true, Capture: true} }
	out := func(name string) alsa.Device { return alsa.Device{Name: name, Playback: true} }
	in := func(name string) alsa.Device { return alsa.Device{Name: name, Capture: true} }
	hdmi, jack := out("vc4hdmi0"), out("Headphones")
	for _, tt := range []struct {
		name         string
		sound        []alsa.Device
		mic, speaker string
	}{
		{"nothing", nil, "", ""},
		{"a sound server", []alsa.Device{both("pulse"), in("pulse:alsa_input"), both("Device")}, "", ""},
		{"a Pi with a USB card", []alsa.Device{hdmi, jack, both("Device")}, "Device", "Device"},
		{"a second card of the kind", []alsa.Device{hdmi, both("Device_1")}, "Device_1", "Device_1"},
		{"a HAT before USB", []alsa.Device{hdmi, both("Device"), both("seeed2micvoicec")}, "seeed2micvoicec", "seeed2micvoicec"},
		{"a USB microphone and the jack", []alsa.Device{hdmi, jack, in("Device")}, "Device", "Headphones"},
		{"an unknown card before the jack", []alsa.Device{hdmi, jack, both("Set")}, "Set", "Set"},
		{"an unknown microphone", []alsa.Device{hdmi, in("Webcam")}, "Webcam", anyUSB},
		{"HDMI only", []alsa.Device{hdmi, out("vc4hdmi1")}, "", anyUSB},
	} {
		w := wire(model(t, "pi-4"), Options{}, tt.sound)
		if w.Microphone.Device != tt.mic || w.Speaker.Device != tt.speaker {
			t.Errorf("%s: microphone %q, speaker %q, want %q, %q", tt.name, w.Microphone.Device, w.Speaker.Device, tt.mic, tt.speaker)
		}
		w = wire(model(t, "pi-4"), Options{Microphone: "M", Speaker: "S", SpeakerVolume: 3}, tt.sound)
		if w.Microphone != (Sound{"M", 0, true}) || w.Speaker != (Sound{"S", 3, true}) {
			t.Errorf("%s: the owner's devices have become %+v, %+v", tt.name, w.Microphone, w.Speaker)
		}
	}
}

// What the owner has not named is chosen anew at each look: a box that was started
// with HDMI alone takes the card that is plugged in, whatever it is called, and so
// does one whose card broke. What he has named is waited for.
func TestLookForSound(t *testing.T) {
	hdmi := alsa.Device{Name: "vc4hdmi0", Playback: true}
	usb := alsa.Device{Name: "Headset", Playback: true, Capture: true}
	var there []alsa.Device
	var broken error
	present := func(context.Context) ([]alsa.Device, error) { return there, broken }
	found := wire(model(t, "pi-4"), Options{}, []alsa.Device{hdmi}).Speaker.look(plays, present)
	named := wire(model(t, "pi-4"), Options{Speaker: "Set"}, []alsa.Device{hdmi}).Speaker.look(plays, present)
	for _, tt := range []struct {
		there []alsa.Device
		err   error
		want  string
	}{
		{[]alsa.Device{hdmi}, nil, anyUSB},
		{[]alsa.Device{hdmi, usb}, nil, "Headset"},
		{nil, nil, ""},
		{[]alsa.Device{usb}, errors.New("no /proc"), anyUSB}, // as it was when the box was started
	} {
		there, broken = tt.there, tt.err
		if got := found(t.Context()); got != tt.want {
			t.Errorf("%v, %v: looks for %q, want %q", tt.there, tt.err, got, tt.want)
		}
		if got := named(t.Context()); got != "Set" {
			t.Errorf("%v: looks for %q, and the owner named another", tt.there, got)
		}
	}
}

func TestWireWrong(t *testing.T) {
	if _, err := Wire(Sim, Options{}); err == nil {
		t.Error("the simulated board has hardware")
	}
	if _, err := Wire("toaster", Options{}); err == nil || errors.Is(err, ErrUnset) {
		t.Errorf("Wire of no board = %v", err)
	}
}
