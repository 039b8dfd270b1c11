package board

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"hushbell/gpio"
)

// TestModels holds the data to what it promises.
func TestModels(t *testing.T) {
	names, strangers := map[string]bool{}, map[string]string{}
	for _, m := range Models() {
		if names[m.Name] || !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(m.Name) || m.Title == "" || m.Source == "" || m.Name == Auto {
			t.Errorf("model %q: twice, or with an odd name, or without a title or a source", m.Name)
		}
		names[m.Name] = true
		for _, s := range append(slices.Clone(m.Compatible), m.Prefix) {
			if other, ok := strangers[s]; ok && s != "" {
				t.Errorf("%q is %s and %s", s, m.Name, other)
			}
			strangers[s] = m.Name
		}
		if m.Name == Generic {
			if m.ButtonLine() != (gpio.Line{}) || m.LEDLine() != (gpio.Line{}) {
				t.Errorf("the generic model has lines: %+v, %+v", m.ButtonLine(), m.LEDLine())
			}
			continue
		}
		if !strings.HasPrefix(m.Title, "Raspberry Pi ") || len(m.Compatible) == 0 || m.Prefix == "" || len(m.Lamps) == 0 {
			t.Errorf("%s: something is missing: %+v", m.Name, m)
		}
		if m.Jack != "" {
			if c, ok := SoundCardByID(m.Jack); !ok || !c.Plays || c.Useless {
				t.Errorf("%s: the jack %q is %+v", m.Name, m.Jack, c)
			}
		}
	}
	for _, name := range strings.Fields("pi-zero-w pi-zero-2-w pi-3 pi-4 pi-400 pi-5 pi-500 generic") {
		if !names[name] {
			t.Errorf("no model %q", name)
		}
	}
	if last := models[len(models)-1]; last.Name != Generic {
		t.Errorf("the last model is %s, want %s", last.Name, Generic)
	}
}

// TestDefaultLines writes the lines down once more, as a person would wire them.
func TestDefaultLines(t *testing.T) {
	for name, chip := range map[string]string{
		"pi-zero-w": "pinctrl-bcm2835", "pi-zero-2-w": "pinctrl-bcm2835", "pi-3": "pinctrl-bcm2835",
		"pi-4": "pinctrl-bcm2711", "pi-400": "pinctrl-bcm2711", "pi-5": "pinctrl-rp1", "pi-500": "pinctrl-rp1",
	} {
		m, err := FindModel(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := m.ButtonLine(), (gpio.Line{Chip: chip, Offset: 17, ActiveLow: true, Bias: gpio.PullUp}); got != want {
			t.Errorf("%s: button at %+v, want %+v", name, got, want)
		}
		if got, want := m.LEDLine(), (gpio.Line{Chip: chip, Offset: 22}); got != want {
			t.Errorf("%s: LED at %+v, want %+v", name, got, want)
		}
	}
}

// TestHeader: 28 lines, each once, 12 of power and ground, and the places that
// everybody knows.
func TestHeader(t *testing.T) {
	pins, seen, power := Header(), map[int]bool{}, map[string]int{}
	for i, p := range pins {
		if p.Number != i+1 {
			t.Errorf("pin %d is called %d", i+1, p.Number)
		}
		if p.Line < 0 {
			power[p.Name]++
			continue
		}
		if seen[p.Line] || p.Line > 27 || p.Name != lineName(p.Line) {
			t.Errorf("pin %d: line %d twice, or no line of the header, or not called %q", p.Number, p.Line, p.Name)
		}
		seen[p.Line] = true
	}
	if len(seen) != 28 || power["GND"] != 8 || power["3V3"] != 2 || power["5V"] != 2 {
		t.Errorf("%d lines and %v", len(seen), power)
	}
	m, _ := FindModel("pi-5", nil)
	for pin, line := range map[int]int{3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24, 19: 10, 21: 9, 22: 25,
		23: 11, 24: 8, 26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21} {
		if got, err := m.PinLine(pin); err != nil || got != (gpio.Line{Chip: "pinctrl-rp1", Offset: line}) {
			t.Errorf("pin %d is %v, %v; want line %d", pin, got, err, line)
		}
	}
	for _, pin := range []int{-1, 0, 1, 2, 4, 6, 9, 14, 17, 20, 25, 30, 34, 39, 41, 1 << 30} {
		if got, err := m.PinLine(pin); err == nil || got != (gpio.Line{}) {
			t.Errorf("pin %d is %v, %v; want an error", pin, got, err)
		}
	}
	generic, _ := FindModel(Generic, nil)
	if got, err := generic.PinLine(11); err == nil {
		t.Errorf("pin 11 of a machine that is not known is %v", got)
	}
}

func lineName(line int) string {
	for _, p := range header {
		if p.Line == line {
			return p.Name
		}
	}
	return ""
}

// TestDefaultLinesDoNotCollide: no HAT's lines are those of our button and LED,
// unless the line is the HAT's own button; nor those of a bus.
func TestDefaultLinesDoNotCollide(t *testing.T) {
	m, _ := FindModel("pi-4", nil)
	button, led := m.ButtonLine().Offset, m.LEDLine().Offset
	// The DigiAMP+ mutes by the LED's line; it has no microphone, so is half an
	// intercom at best.
	excused := map[string]int{"IQaudIODAC": led}
	for _, c := range SoundCards() {
		for _, line := range c.Lines {
			if line == button && c.Button != button || line == led && c.LED != led && excused[c.ID] != line {
				t.Errorf("%s (%s) takes GPIO%d", c.ID, c.Title, line)
			}
		}
	}
	for _, p := range header {
		if p.Use != "" && (p.Line == button || p.Line == led) {
			t.Errorf("GPIO%d is for %s", p.Line, p.Use)
		}
	}
	// A button against a LED, or both at one line, would be a short circuit.
	for _, c := range SoundCards() {
		if c.Button != 0 && (c.Button == led || c.Button == c.LED) || c.LED != 0 && c.LED == button {
			t.Errorf("%s: button %d, LED %d against ours at %d and %d", c.ID, c.Button, c.LED, button, led)
		}
	}
}

func TestSoundCards(t *testing.T) {
	seen, both := map[string]bool{}, true
	for _, c := range SoundCards() {
		if seen[c.ID] || !regexp.MustCompile(`^[A-Za-z0-9_-]{1,15}$`).MatchString(c.ID) || c.Title == "" || c.Source == "" || !c.Plays && !c.Records {
			t.Errorf("card %q: twice, not an id, or incomplete: %+v", c.ID, c)
		}
		seen[c.ID] = true
		if c.Plays && c.Records != both {
			if c.Records {
				t.Errorf("%s records and plays, but comes after cards that do not", c.ID)
			}
			both = false
		}
		for _, line := range []int{c.Button, c.LED} {
			if line != 0 && !slices.Contains(c.Lines, line) {
				t.Errorf("%s: has GPIO%d, but does not take it", c.ID, line)
			}
		}
		for _, line := range c.Lines {
			if lineName(line) == "" {
				t.Errorf("%s: GPIO%d is not on the header", c.ID, line)
			}
		}
	}
	for _, tt := range []struct {
		id, want string
	}{
		{"seeed2micvoicec", "ReSpeaker 2-Mics Pi HAT"}, {"vc4hdmi1", "HDMI 1, Pi 4 and 5"},
		{"Device_1", "USB sound card (C-Media: USB PnP Sound Device, USB Audio Device)"},
		{"Device_", ""}, {"Device_x", ""}, {"Device1", ""}, {"_1", ""}, {"", ""}, {"PCH", ""},
	} {
		c, ok := SoundCardByID(tt.id)
		if ok != (tt.want != "") || c.Title != tt.want || ok && c.ID != tt.id {
			t.Errorf("SoundCardByID(%q) = %+v, %v; want %q", tt.id, c, ok, tt.want)
		}
	}
	for _, c := range SoundCards() {
		if strings.HasPrefix(c.ID, "vc4hdmi") != c.Useless {
			t.Errorf("%s: useless is %v", c.ID, c.Useless)
		}
	}
}
