package board

import (
	"fmt"
	"slices"

	"hushbell/gpio"
)

// This file is facts, and what finds them; where they are from is said beside
// them. Opening what they name is for others.

// A Model is what is known of a kind of board, by itself and with nothing on it.
type Model struct {
	Name  string // what the configuration calls it
	Title string // for people

	// How the device tree names it: any of Compatible, or a model that begins
	// with Prefix. The firmware appends words to the model ("Raspberry Pi 4
	// Model B Rev 1.4"), and has its own for the Pi 5.
	Compatible []string
	Prefix     string

	Chip   string   // label of the GPIO chip of the 40-pin header; "" if there is none
	Button int      // pin of the header for a button to ground; 0 for none
	LED    int      // pin of the header for a LED to ground; 0 for none
	Lamps  []string // LEDs on the board, in /sys/class/leds, under their newer and older names
	Jack   string   // id of the sound card on the board that a speaker can be put to; "" for none
	Source string
}

// Every Pi since the B+ has the same header, so that all have the same default
// lines. They are chosen so that what is stacked on the header keeps its lines
// (SoundCards has which HAT takes which): 2 and 3 are I2C, 7 to 11 SPI, 14 and
// 15 the serial console, 18 to 21 I2S, and there is hardly another line that no
// HAT takes. What remains:
//
//   - The button is at GPIO17, pin 11, beside the ground of pin 9. It is the
//     button of ReSpeaker's and Waveshare's HATs themselves, which so work
//     without a wire; no other takes it.
//   - The LED is at GPIO22, pin 15, with the ground of pin 14 or 20. The one HAT
//     that takes it is the DigiAMP+, which has no microphone.
//
// A HAT that has a button or LED elsewhere tells so in its SoundCard.
const (
	buttonPin = 11
	ledPin    = 15
)

// Sources: rpi is arch/arm*/boot/dts/broadcom of github.com/raspberrypi/linux
// (models, compatible strings, names of lines and LEDs), read at the commits
// named; the same strings are in mainline's, and in
// Documentation/devicetree/bindings/arm/bcm/bcm2835.yaml. Labels of the chips
// are those of drivers/pinctrl/bcm/pinctrl-bcm2835.c and drivers/pinctrl/
// pinctrl-rp1.c there. "led0" became "ACT" with the kernels of 2023
// (github.com/MichaIng/DietPi/issues/6779).
const rpi = "github.com/raspberrypi/linux, "

// models are all that are known. The last is the one for all others.
var models = []Model{
	{
		Name: "pi-zero-w", Title: "Raspberry Pi Zero W",
		Compatible: []string{"raspberrypi,model-zero-w"}, Prefix: "Raspberry Pi Zero W",
		Chip: "pinctrl-bcm2835", Button: buttonPin, LED: ledPin, Lamps: []string{"ACT", "led0"},
		Source: rpi + "bcm2708-rpi-zero-w.dts at 2d71e790b0c2",
	},
	{
		Name: "pi-zero-2-w", Title: "Raspberry Pi Zero 2 W",
		Compatible: []string{"raspberrypi,model-zero-2-w"}, Prefix: "Raspberry Pi Zero 2",
		Chip: "pinctrl-bcm2835", Button: buttonPin, LED: ledPin, Lamps: []string{"ACT", "led0"},
		Source: rpi + "bcm2710-rpi-zero-2-w.dts at 656a52a8fc04",
	},
	{
		Name: "pi-3", Title: "Raspberry Pi 3 Model B, B+, A+",
		Compatible: []string{"raspberrypi,3-model-b", "raspberrypi,3-model-b-plus", "raspberrypi,3-model-a-plus"},
		Prefix:     "Raspberry Pi 3",
		Chip:       "pinctrl-bcm2835", Button: buttonPin, LED: ledPin, Lamps: []string{"ACT", "led0"}, Jack: "Headphones",
		Source: rpi + "bcm2710-rpi-3-b.dts at 1047fc3b705b; for B+ and A+ bcm2835.yaml",
	},
	{
		Name: "pi-4", Title: "Raspberry Pi 4 Model B",
		Compatible: []string{"raspberrypi,4-model-b"}, Prefix: "Raspberry Pi 4",
		Chip: "pinctrl-bcm2711", Button: buttonPin, LED: ledPin, Lamps: []string{"ACT", "led0"}, Jack: "Headphones",
		Source: rpi + "bcm2711-rpi-4-b.dts at 01a175bfd7b1",
	},
	{
		// It has one LED, that of its power, and no jack.
		Name: "pi-400", Title: "Raspberry Pi 400",
		Compatible: []string{"raspberrypi,400"}, Prefix: "Raspberry Pi 400",
		Chip: "pinctrl-bcm2711", Button: buttonPin, LED: ledPin, Lamps: []string{"PWR", "led1"},
		Source: rpi + "bcm2711-rpi-400.dts at 2aae6b55d28a",
	},
	{
		// The header is on the RP1, no longer on the processor: another chip,
		// with the same offsets. No jack.
		Name: "pi-5", Title: "Raspberry Pi 5",
		Compatible: []string{"raspberrypi,5-model-b"}, Prefix: "Raspberry Pi 5",
		Chip: "pinctrl-rp1", Button: buttonPin, LED: ledPin, Lamps: []string{"ACT", "led0"},
		Source: rpi + "bcm2712-rpi-5-b.dts at 09186d79ca84",
	},
	{
		// The 500+ calls itself a 500 too.
		Name: "pi-500", Title: "Raspberry Pi 500, 500+",
		Compatible: []string{"raspberrypi,500"}, Prefix: "Raspberry Pi 500",
		Chip: "pinctrl-rp1", Button: buttonPin, LED: ledPin, Lamps: []string{"ACT", "led0"},
		Source: rpi + "bcm2712-rpi-500.dts at 50f097d96f70",
	},
	{
		Name: Generic, Title: "any Linux machine: its owner says which lines it has",
		Source: "nothing is known of it",
	},
}

// Generic is the name of the model that knows nothing.
const Generic = "generic"

// Models returns all models; the last is the generic one. The list is the
// caller's, the slices in it must not be changed.
func Models() []Model { return slices.Clone(models) }

// ButtonLine is the default line of the button, which connects it to ground
// against the chip's resistor. It is the zero Line if the model has none.
func (m Model) ButtonLine() gpio.Line {
	l := m.line(m.Button)
	if l != (gpio.Line{}) {
		l.ActiveLow, l.Bias = true, gpio.PullUp
	}
	return l
}

// LEDLine is the default line of the LED, lit when it is high. It is the zero
// Line if the model has none.
func (m Model) LEDLine() gpio.Line { return m.line(m.LED) }

// PinLine is the line at a pin of the model's header, for those who count pins.
func (m Model) PinLine(pin int) (gpio.Line, error) {
	if m.Chip == "" {
		return gpio.Line{}, fmt.Errorf("board: pin %d: the model %s has no header that is known", pin, m.Name)
	}
	if pin < 1 || pin > len(header) {
		return gpio.Line{}, fmt.Errorf("board: there is no pin %d: the header has %d", pin, len(header))
	}
	if p := header[pin-1]; p.Line < 0 {
		return gpio.Line{}, fmt.Errorf("board: pin %d is %s, not a line", pin, p.Name)
	}
	return m.line(pin), nil
}

// line names a line by chip and offset: names differ between kernels (offset 2
// is "GPIO2" or "SDA1"), labels and offsets do not.
func (m Model) line(pin int) gpio.Line {
	if m.Chip == "" || pin == 0 {
		return gpio.Line{}
	}
	return gpio.Line{Chip: m.Chip, Offset: header[pin-1].Line}
}

// A Pin is one of the 40 of the header.
type Pin struct {
	Number int
	Line   int    // offset on the chip, which is the number of "GPIO17"; -1 for power and ground
	Name   string // as in diagrams; the kernel's name for the line may be another
	Use    string // what else takes it by default: "I2C", "SPI", "I2S", "UART", "HAT"
}

// Header returns the 40-pin header of the Raspberry Pi, by pin.
func Header() []Pin { return slices.Clone(header[:]) }

// header is the same on all Pis with 40 pins (raspberrypi.com, "GPIO and the
// 40-pin header"; pinout.xyz). What else takes a line: i2s_pins, i2c1_pins,
// spi0_pins, uart in the files that models names; 0 and 1 are the HAT's EEPROM.
var header = [40]Pin{
	{1, -1, "3V3", ""}, {2, -1, "5V", ""},
	{3, 2, "GPIO2", "I2C"}, {4, -1, "5V", ""},
	{5, 3, "GPIO3", "I2C"}, {6, -1, "GND", ""},
	{7, 4, "GPIO4", ""}, {8, 14, "GPIO14", "UART"},
	{9, -1, "GND", ""}, {10, 15, "GPIO15", "UART"},
	{11, 17, "GPIO17", ""}, {12, 18, "GPIO18", "I2S"},
	{13, 27, "GPIO27", ""}, {14, -1, "GND", ""},
	{15, 22, "GPIO22", ""}, {16, 23, "GPIO23", ""},
	{17, -1, "3V3", ""}, {18, 24, "GPIO24", ""},
	{19, 10, "GPIO10", "SPI"}, {20, -1, "GND", ""},
	{21, 9, "GPIO9", "SPI"}, {22, 25, "GPIO25", ""},
	{23, 11, "GPIO11", "SPI"}, {24, 8, "GPIO8", "SPI"},
	{25, -1, "GND", ""}, {26, 7, "GPIO7", "SPI"},
	{27, 0, "GPIO0", "HAT"}, {28, 1, "GPIO1", "HAT"},
	{29, 5, "GPIO5", ""}, {30, -1, "GND", ""},
	{31, 6, "GPIO6", ""}, {32, 12, "GPIO12", ""},
	{33, 13, "GPIO13", ""}, {34, -1, "GND", ""},
	{35, 19, "GPIO19", "I2S"}, {36, 16, "GPIO16", ""},
	{37, 26, "GPIO26", ""}, {38, 20, "GPIO20", "I2S"},
	{39, -1, "GND", ""}, {40, 21, "GPIO21", "I2S"},
}

// A SoundCard is what is known of a sound card by its id. It is a hint: what a
// card can do is seen when it is opened.
type SoundCard struct {
	ID    string // as ALSA has it, and package alsa takes it
	Title string // for people

	Plays, Records bool
	Useless        bool // it plays, but to no speaker of an intercom: never to be chosen unasked

	Lines  []int // lines of the header that it takes, the EEPROM's aside
	Button int   // the line of its own button to ground, 0 for none
	LED    int   // the line of its own LED, 0 for none
	Source string
}

// Lines that HATs take: sound and the settings of the codec.
const (
	sda, scl                 = 2, 3
	bclk, lrclk, adcin, dout = 18, 19, 20, 21
)

// soundCards are in the order in which they suit an intercom: HATs with
// microphone and speaker, then USB, then what only plays.
var soundCards = []SoundCard{
	{
		ID: "Zero", Title: "Raspberry Pi Codec Zero", Plays: true, Records: true,
		Lines: []int{sda, scl, bclk, lrclk, adcin, dout, 23, 24, 27}, Button: 27, LED: 23,
		Source: "raspberrypi.com documentation, audio boards, \"GPIO usage\"; id: github.com/raspberrypi/Pi-Codec users' plughw:CARD=Zero",
	},
	{
		ID: "IQaudIOCODEC", Title: "IQaudIO Codec Zero", Plays: true, Records: true,
		Lines: []int{sda, scl, bclk, lrclk, adcin, dout, 23, 24, 27}, Button: 27, LED: 23,
		Source: "as the Codec Zero; id: sound/soc/bcm/iqaudio-codec.c of github.com/raspberrypi/linux",
	},
	{
		// The LEDs are on SPI (APA102), no lines to switch.
		ID: "seeed2micvoicec", Title: "ReSpeaker 2-Mics Pi HAT", Plays: true, Records: true,
		Lines: []int{sda, scl, 10, 11, 17, bclk, lrclk, adcin, dout}, Button: 17,
		Source: "wiki.seeedstudio.com/ReSpeaker_2_Mics_Pi_HAT; id: github.com/respeaker/seeed-voicecard",
	},
	{
		ID: "wm8960soundcard", Title: "Waveshare WM8960 Audio HAT", Plays: true, Records: true,
		Lines: []int{sda, scl, 17, bclk, lrclk, adcin, dout}, Button: 17,
		Source: "github.com/MiczFlor/RPi-Jukebox-RFID wiki, \"Sound Card WM8960 Hi-Fi HAT\"; github.com/waveshare/WM8960-Audio-HAT",
	},
	{
		// 16 switches the amplifier; button and LED are at plugs of the HAT.
		ID: "sndrpigooglevoi", Title: "Google AIY Voice HAT, and MEMS microphone and amplifier wired like it", Plays: true, Records: true,
		Lines: []int{16, bclk, lrclk, adcin, dout, 23, 25}, Button: 23, LED: 25,
		Source: "googlevoicehat-soundcard-overlay.dts of github.com/raspberrypi/linux; button and LED: github.com/google/aiyprojects-raspbian",
	},
	{
		ID: "ArrayUAC10", Title: "ReSpeaker USB Mic Array", Plays: true, Records: true,
		Source: "wiki.seeedstudio.com/ReSpeaker_Mic_Array_v2.0",
	},
	{
		ID: "USB", Title: "Jabra Speak and other USB speakerphones", Plays: true, Records: true,
		Source: "\"card 3: USB [Jabra SPEAK 510 USB]\", aplay -l of a Pi 4",
	},
	{
		ID: "Device", Title: "USB sound card (C-Media: USB PnP Sound Device, USB Audio Device)", Plays: true, Records: true,
		Source: "\"[Device ]: USB-Audio - USB PnP Sound Device\", /proc/asound/cards of a Pi (hacksaw.co.za, \"Pi: USB sound card nightmare\")",
	},
	{
		ID: "CODEC", Title: "USB sound card (Burr-Brown: USB Audio CODEC)", Plays: true, Records: true,
		Source: "\"[CODEC ]: USB-Audio - USB Audio CODEC\", alsa-info of a Pi 3 (alsa-project.org)",
	},
	{
		// One driver and one id for many: the lines are those of any of them.
		// HiFiBerry: MiniAmp 16, 26; Digi+ Pro 5, 6. Pimoroni: Pirate Audio 5, 6,
		// 7, 9, 10, 11, 13, 16, 20 or 24, 25; pHAT BEAT 5, 6, 12, 13, 16, 23, 24,
		// 26; pHAT DAC none. The boards with inputs (DAC+ ADC) record too.
		ID: "sndrpihifiberry", Title: "HiFiBerry, Pimoroni Pirate Audio, pHAT DAC, pHAT BEAT", Plays: true,
		Lines:  []int{sda, scl, 5, 6, 7, 9, 10, 11, 12, 13, 16, bclk, lrclk, adcin, dout, 23, 24, 25, 26},
		Source: "github.com/pimoroni/pirate-audio; pinout.xyz (Pirate Audio Speaker, pHAT BEAT); github.com/MiczFlor/RPi-Jukebox-RFID wiki, \"Hardware Pinout Overview\" (MiniAmp)",
	},
	{
		// 22 mutes the DigiAMP+; 23 to 25 and 27 are for a knob and a remote
		// control that may be soldered to it.
		ID: "IQaudIODAC", Title: "Raspberry Pi DAC+, DAC Pro, DigiAMP+", Plays: true,
		Lines:  []int{sda, scl, bclk, lrclk, adcin, dout, 22, 23, 24, 25, 27},
		Source: "raspberrypi.com documentation, audio boards, \"GPIO usage\"",
	},
	{
		ID: "Headphones", Title: "the jack of the Pi 3 and 4", Plays: true,
		Source: "\"card 0: Headphones [bcm2835 Headphones]\", aplay -l of a Pi",
	},
	{
		ID: "ALSA", Title: "the jack of the Pi 3 and 4, older kernels", Plays: true,
		Source: "\"card 0: ALSA [bcm2835 ALSA]\", aplay -l of a Pi (github.com/respeaker/seeed-voicecard)",
	},
	{ID: "vc4hdmi", Title: "HDMI, Pi Zero to 3", Plays: true, Useless: true, Source: hdmi},
	{ID: "vc4hdmi0", Title: "HDMI 0, Pi 4 and 5", Plays: true, Useless: true, Source: hdmi},
	{ID: "vc4hdmi1", Title: "HDMI 1, Pi 4 and 5", Plays: true, Useless: true, Source: hdmi},
}

const hdmi = "\"[vc4-hdmi-0], device 0: MAI PCM i2s-hifi-0\", aplay -l of a Pi 4"

// SoundCards returns what is known of sound cards, those first that suit an
// intercom best. The list is the caller's, the slices in it must not be changed.
func SoundCards() []SoundCard { return slices.Clone(soundCards) }

// SoundCardByID returns what is known of the card of that id, if anything is.
// A second card of one kind ("Device_1") is known as the first.
func SoundCardByID(id string) (SoundCard, bool) {
	for _, c := range soundCards {
		if id == c.ID || len(id) == len(c.ID)+2 && id[:len(c.ID)+1] == c.ID+"_" && id[len(id)-1] >= '1' && id[len(id)-1] <= '9' {
			c.ID = id
			return c, true
		}
	}
	return SoundCard{}, false
}
