// Package config is the configuration of a box or a relay: one file that its
// owner writes (Config), and the contacts, which the program writes (Contacts).
//
// There is one struct, one parser and one check. The parser takes nothing that
// it does not know, and tells everything that is wrong at once, each with its
// line. The package opens nothing that the file names: whether there is such a
// board, sound card or contact is seen when the box starts.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Config is what the file says, with defaults for what it leaves out.
// Default returns one that only lacks relays to begin with.
type Config struct {
	Bootstrap   []netip.AddrPort    // relays to begin with at the first start
	Listen      netip.AddrPort      // where the box's UDP socket is; not valid: any port of all addresses
	TestNetwork bool                // take loopback and private addresses for relays
	Hops        int                 // of each tunnel, 1 to MaxHops
	Complexity  int                 // work of the voice encoder, 0 to MaxComplexity
	PID         string              // the name of the key that we call with
	Unknown     Unknown             // what becomes of callers who are no contacts
	MaxCall     time.Duration       // how long a call may last; 0: for ever
	Groups      map[string][]string // names of contacts that are called together
	Button      Button              // the first
	More        [MaxButtons - 1]Button
	DND         DND
	Sounds      Sounds
	Door        Door
	Board       Board
	Relay       Relay
}

// A DND says when nothing may ring.
type DND struct {
	Schedule Schedule
}

// Sounds are the tones, and how loud they are. The files are WAV, in place of
// ours.
type Sounds struct {
	Country    string // whose tones; "": those that ITU-T E.180 recommends
	RingVolume int    // percent
	ToneVolume int    // percent, of all but the ring

	Ring, Ringback, Busy, Unreachable, CallWaiting, Beep, HangUp string
}

// A Door says what a contact may open in a call who shows the PIN. Without Line
// there is none.
type Door struct {
	Line      Line
	ActiveLow bool          // it is open when the line is at ground
	Open      time.Duration // how long it stays open
	PINFile   string        // holds the PIN; readable by the box's user only

	FarPINFile string // likewise, the PIN of the far end's door, for a button that opens it
}

// A Board says which board this is, and what overrides its profile. What is left
// out is as the profile has it. Only Name, Microphone and Speaker are for the
// simulated board.
type Board struct {
	Name       string // of a profile; "auto": found by the program; "sim": simulated
	Microphone string // a sound device, as hushbell devices lists them; of the simulated board: a WAV file to speak, "" is silence
	Speaker    string // likewise; of the simulated board: a WAV file to record, "" is nowhere

	MicrophoneVolume int // percent of what the card can do; 0: as the card is set
	SpeakerVolume    int // likewise

	Chip         string        // the label of the GPIO chip
	ButtonLine   Line          // where the button is
	ActiveLow    *bool         // a press connects the line to ground
	Bias         Bias          // the chip's resistor at the line
	Settle       time.Duration // a press counts when the contact is at rest for so long; 0: the default, 20 ms
	LEDLine      Line          // where the LED is
	LEDActiveLow *bool         // it is lit when its line is at ground
}

// A Line is a line of a GPIO chip: its name, such as "GPIO17", or its number on
// the chip, in the file with or without quotes. "" is the profile's, and "none"
// says that there is none.
type Line string

// A Bias is the resistor that the chip puts on the button's line.
type Bias string

// The Biases. "" is the profile's.
const (
	PullUp   Bias = "pull-up"
	PullDown Bias = "pull-down"
	BiasOff  Bias = "off"   // none
	BiasAsIs Bias = "as-is" // what the chip has already
)

// A Relay says how this machine helps others; without Listen it does not.
type Relay struct {
	Listen    netip.AddrPort
	Advertise []netip.AddrPort // where others reach it; none: Listen
	Limits    Limits
}

// Limits bound what a relay spends on others; 0 stands for the default.
type Limits struct {
	Links         int // connections at a time
	Tunnels       int // ends of tunnels
	LinkTunnels   int // tunnels that one connection may open
	Registrations int // tunnels that wait here, as at an exchange point

	// What is sent for others; 0 is without bound.
	BandwidthKbit int // kbit a second
	MonthlyGB     int // 10^9 bytes in a calendar month
}

// CallKbit is what one call takes of a relay's bandwidth, both directions
// together: 100 cells of 320 bytes a second with their headers.
const CallKbit = 280

// Bounds of Config.
const (
	MaxHops       = 3 // a voice cell has room for so many layers
	MaxComplexity = 5 // the voice encoder knows so many steps
	MaxSettle     = time.Second
	MaxCallLength = 24 * time.Hour
	MaxDoorOpen   = time.Minute
	MinToneVolume = 60 // 20 dB below full: that the box has answered by itself has to be heard
	MaxLineName   = 31 // bytes in a name of the kernel's (GPIO_MAX_NAME_SIZE, without the zero)
)

// An Unknown is what becomes of a caller who is no contact.
type Unknown string

// What can become of strangers.
const (
	Refuse Unknown = "refuse" // they hear that they are declined
	Ring   Unknown = "ring"
	Silent Unknown = "silent" // they hear it ring, and nobody answers
)

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{Hops: MaxHops, Complexity: MaxComplexity, PID: "box", Unknown: Refuse, Board: Board{Name: "auto"},
		MaxCall: time.Hour, Sounds: Sounds{RingVolume: 100, ToneVolume: 100}, Door: Door{Open: 3 * time.Second}}
}

// A setting is a key of the file and where its value goes.
type setting struct {
	key string
	at  func(*Config) any // a pointer that set knows
}

var settings = slices.Concat(general, buttonSettings("button", func(c *Config) *Button { return &c.Button }), moreButtons())

func moreButtons() (all []setting) {
	for i := range MaxButtons - 1 {
		all = append(all, buttonSettings(fmt.Sprintf("button%d", i+2), func(c *Config) *Button { return &c.More[i] })...)
	}
	return all
}

var general = []setting{
	{"bootstrap", func(c *Config) any { return &c.Bootstrap }},
	{"listen", func(c *Config) any { return &c.Listen }},
	{"test_network", func(c *Config) any { return &c.TestNetwork }},
	{"hops", func(c *Config) any { return &c.Hops }},
	{"complexity", func(c *Config) any { return &c.Complexity }},
	{"pid", func(c *Config) any { return &c.PID }},
	{"unknown", func(c *Config) any { return &c.Unknown }},
	{"max_call", func(c *Config) any { return &c.MaxCall }},
	{"groups", func(c *Config) any { return &c.Groups }},
	{"dnd.schedule", func(c *Config) any { return &c.DND.Schedule }},
	{"sounds.country", func(c *Config) any { return &c.Sounds.Country }},
	{"sounds.ring_volume", func(c *Config) any { return &c.Sounds.RingVolume }},
	{"sounds.tone_volume", func(c *Config) any { return &c.Sounds.ToneVolume }},
	{"sounds.ring", func(c *Config) any { return &c.Sounds.Ring }},
	{"sounds.ringback", func(c *Config) any { return &c.Sounds.Ringback }},
	{"sounds.busy", func(c *Config) any { return &c.Sounds.Busy }},
	{"sounds.unreachable", func(c *Config) any { return &c.Sounds.Unreachable }},
	{"sounds.call_waiting", func(c *Config) any { return &c.Sounds.CallWaiting }},
	{"sounds.beep", func(c *Config) any { return &c.Sounds.Beep }},
	{"sounds.hang_up", func(c *Config) any { return &c.Sounds.HangUp }},
	{"door.line", func(c *Config) any { return &c.Door.Line }},
	{"door.active_low", func(c *Config) any { return &c.Door.ActiveLow }},
	{"door.open", func(c *Config) any { return &c.Door.Open }},
	{"door.far_pin_file", func(c *Config) any { return &c.Door.FarPINFile }},
	{"door.pin_file", func(c *Config) any { return &c.Door.PINFile }},
	{"board.name", func(c *Config) any { return &c.Board.Name }},
	{"board.microphone", func(c *Config) any { return &c.Board.Microphone }},
	{"board.speaker", func(c *Config) any { return &c.Board.Speaker }},
	{"board.microphone_volume", func(c *Config) any { return &c.Board.MicrophoneVolume }},
	{"board.speaker_volume", func(c *Config) any { return &c.Board.SpeakerVolume }},
	{"board.chip", func(c *Config) any { return &c.Board.Chip }},
	{"board.button_line", func(c *Config) any { return &c.Board.ButtonLine }},
	{"board.active_low", func(c *Config) any { return &c.Board.ActiveLow }},
	{"board.bias", func(c *Config) any { return &c.Board.Bias }},
	{"board.settle", func(c *Config) any { return &c.Board.Settle }},
	{"board.led_line", func(c *Config) any { return &c.Board.LEDLine }},
	{"board.led_active_low", func(c *Config) any { return &c.Board.LEDActiveLow }},
	{"relay.listen", func(c *Config) any { return &c.Relay.Listen }},
	{"relay.advertise", func(c *Config) any { return &c.Relay.Advertise }},
	{"relay.links", func(c *Config) any { return &c.Relay.Limits.Links }},
	{"relay.tunnels", func(c *Config) any { return &c.Relay.Limits.Tunnels }},
	{"relay.link_tunnels", func(c *Config) any { return &c.Relay.Limits.LinkTunnels }},
	{"relay.registrations", func(c *Config) any { return &c.Relay.Limits.Registrations }},
	{"relay.bandwidth_kbit", func(c *Config) any { return &c.Relay.Limits.BandwidthKbit }},
	{"relay.monthly_gb", func(c *Config) any { return &c.Relay.Limits.MonthlyGB }},
}

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key  string
	Text string
}

// Check returns all that is wrong with c, whoever made it.
func (c *Config) Check() []Problem {
	var all []Problem
	wrong := func(key, format string, a ...any) { all = append(all, Problem{key, fmt.Sprintf(format, a...)}) }
	if c.Hops < 1 || c.Hops > MaxHops {
		wrong("hops", "%d hops: 1 to %d are possible, and fewer than %d give up anonymity", c.Hops, MaxHops, MaxHops)
	}
	if c.Complexity < 0 || c.Complexity > MaxComplexity {
		wrong("complexity", "%d: it goes from 0, the least work, to %d, the best sound", c.Complexity, MaxComplexity)
	}
	if c.Unknown != Refuse && c.Unknown != Ring && c.Unknown != Silent {
		wrong("unknown", "%q: say %q, %q or %q", string(c.Unknown), Ring, Refuse, Silent)
	}
	if err := CheckKeyName(c.PID); err != nil {
		wrong("pid", "%v", err)
	}
	if c.MaxCall < 0 || c.MaxCall > MaxCallLength {
		wrong("max_call", "%v: it goes up to %v, and 0s is for ever", c.MaxCall, MaxCallLength)
	}
	c.checkButtons(wrong)
	c.checkGroups(wrong)
	c.checkSounds(wrong)
	c.checkDoor(wrong)
	c.checkBoard(wrong)
	for _, a := range c.Bootstrap {
		if !a.Addr().IsValid() || a.Addr().IsUnspecified() || a.Port() == 0 {
			wrong("bootstrap", "nobody can be reached at %v", a)
		}
	}
	c.checkRelay(wrong)
	return all
}

func (c *Config) checkBoard(wrong func(key, format string, a ...any)) {
	b := &c.Board
	if b.Name == "" {
		wrong("board.name", "say which board this is, %q for the simulated one", "sim")
	}
	simulated := b.Name == "sim"
	for _, k := range []struct {
		key string
		set bool
	}{
		{"board.microphone_volume", b.MicrophoneVolume != 0}, {"board.speaker_volume", b.SpeakerVolume != 0},
		{"board.chip", b.Chip != ""}, {"board.button_line", b.ButtonLine != ""}, {"board.active_low", b.ActiveLow != nil},
		{"board.bias", b.Bias != ""}, {"board.settle", b.Settle != 0}, {"board.led_line", b.LEDLine != ""},
		{"board.led_active_low", b.LEDActiveLow != nil},
	} {
		if simulated && k.set {
			wrong(k.key, "the simulated board has no such thing: leave it out, or name another board")
		}
	}
	for _, v := range []struct {
		key     string
		percent int
	}{{"board.microphone_volume", b.MicrophoneVolume}, {"board.speaker_volume", b.SpeakerVolume}} {
		if v.percent < 0 || v.percent > 100 {
			wrong(v.key, "%d: it goes from 1 to 100 percent, and 0 leaves the card as it is", v.percent)
		}
	}
	for _, n := range []struct{ key, name string }{
		{"board.chip", b.Chip}, {"board.button_line", string(b.ButtonLine)}, {"board.led_line", string(b.LEDLine)},
	} {
		if len(n.name) > MaxLineName || strings.HasPrefix(n.name, "-") {
			wrong(n.key, "%q is no name of a chip or line, nor a line's number: hushbell devices lists what there is", n.name)
		}
	}
	if b.ButtonLine != "" && b.ButtonLine != "none" && b.ButtonLine == b.LEDLine {
		wrong("board.led_line", "%s is the button's line", string(b.LEDLine))
	}
	switch b.Bias {
	case "", PullUp, PullDown, BiasOff, BiasAsIs:
	default:
		wrong("board.bias", "%q: say %q, %q, %q or %q", string(b.Bias), PullUp, PullDown, BiasOff, BiasAsIs)
	}
	if b.Settle < 0 || b.Settle > MaxSettle {
		wrong("board.settle", "%v: it goes up to %v", b.Settle, MaxSettle)
	}
}

func (c *Config) checkSounds(wrong func(key, format string, a ...any)) {
	if v := c.Sounds.RingVolume; v < 0 || v > 100 {
		wrong("sounds.ring_volume", "%d: it goes from 0 to 100 percent", v)
	}
	if v := c.Sounds.ToneVolume; v < MinToneVolume || v > 100 {
		wrong("sounds.tone_volume", "%d: it goes from %d to 100 percent, since that the box has answered by itself has to be heard", v, MinToneVolume)
	}
}

func (c *Config) checkDoor(wrong func(key, format string, a ...any)) {
	d := &c.Door
	if d.Line == "" && d.PINFile == "" {
		if d.ActiveLow {
			wrong("door.line", "a door needs it: the line that opens it")
		}
		return
	}
	if d.PINFile == "" {
		wrong("door.pin_file", "a door needs it: the file with the PIN that a contact has to know")
	}
	simulated := c.Board.Name == "sim"
	switch {
	case d.Line == "" && !simulated, d.Line == "none":
		wrong("door.line", "a door needs it: the line that opens it")
	case !d.Line.ok():
		wrong("door.line", "%q is no name of a line, nor a line's number: hushbell devices lists what there is", string(d.Line))
	case d.Line != "" && (d.Line == c.Board.ButtonLine || d.Line == c.Board.LEDLine):
		wrong("door.line", "%s is the line of the button or the LED", string(d.Line))
	}
	if d.Open <= 0 || d.Open > MaxDoorOpen {
		wrong("door.open", "%v: it goes up to %v", d.Open, MaxDoorOpen)
	}
}

func (c *Config) checkRelay(wrong func(key, format string, a ...any)) {
	r := &c.Relay
	for _, l := range []struct {
		key string
		n   int
	}{{"relay.links", r.Limits.Links}, {"relay.tunnels", r.Limits.Tunnels},
		{"relay.link_tunnels", r.Limits.LinkTunnels}, {"relay.registrations", r.Limits.Registrations},
		{"relay.bandwidth_kbit", r.Limits.BandwidthKbit}, {"relay.monthly_gb", r.Limits.MonthlyGB}} {
		if l.n < 0 {
			wrong(l.key, "%d: a limit is a number from 1, or 0 for the default", l.n)
		}
	}
	if b := r.Limits.BandwidthKbit; b > 0 && b < 2*CallKbit {
		wrong("relay.bandwidth_kbit", "%d: one call takes %d, so %d is the least", b, CallKbit, 2*CallKbit)
	}
	if !r.Listen.IsValid() {
		if len(r.Advertise) > 0 || r.Limits != (Limits{}) {
			wrong("relay.listen", "a relay needs it: the address and port at which it listens")
		}
		return
	}
	if c.Listen.IsValid() && c.Listen != r.Listen {
		wrong("listen", "a box that relays has one socket for both: leave this one out, relay.listen counts")
	}
	if r.Listen.Port() == 0 {
		wrong("relay.listen", "others must find it again: a relay needs a port that stays")
	}
	if r.Listen.Addr().IsUnspecified() && len(r.Advertise) == 0 {
		wrong("relay.advertise", "a relay that listens on all addresses must be told which one others reach it by")
	}
	for _, a := range r.Advertise {
		if a.Addr().IsUnspecified() || a.Port() == 0 {
			wrong("relay.advertise", "nobody can reach a relay at %v", a)
		}
	}
}

// CheckKeyName reports whether a name can be that of a key: it becomes part of
// a file's name.
func CheckKeyName(name string) error {
	ok := name != "" && len(name) <= 32 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
	if !ok {
		return fmt.Errorf("%q cannot be the name of a pid: take 1 to 32 of a-z, 0-9, - and _", name)
	}
	return nil
}

// Err returns what Check returns as one error, nil if there is nothing.
func (c *Config) Err() error {
	var errs []error
	for _, p := range c.Check() {
		errs = append(errs, fmt.Errorf("%s: %s", p.Key, p.Text))
	}
	return errors.Join(errs...)
}
