package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hushbell/alsa"
	"hushbell/board"
	"hushbell/gpio"
)

func devicesCommand() *cobra.Command {
	var p places
	var lines bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "List sound devices, GPIO chips and the board",
		Long: `Lists what this machine has for a box: which board it is and where the button and
the LED are, the sound devices with what is wrong with each and what to do, and
the GPIO chips. The names are those that [board] in the configuration takes.

Each sound device is opened for a moment, which makes no sound; one that is in
use is left alone.`,
		Example: `  hushbell devices
  hushbell devices --lines`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			out := c.OutOrStdout()
			sound, soundErr := alsa.List()
			chips, chipsErr := gpio.Chips()
			return errors.Join(p.showBoard(out, sound), showSound(out, sound, soundErr), showChips(out, chips, chipsErr, lines))
		},
	}
	p.configFlag(c.Flags())
	c.Flags().BoolVar(&lines, "lines", false, "list each line of each chip")
	return c
}

// showBoard prints which board it is, and what it is opened with.
func (p *places) showBoard(out io.Writer, sound []alsa.Device) error {
	cfg, err := p.boardConfig("")
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	wiring, err := wire(&cfg)
	if err != nil {
		fmt.Fprintf(w, "board\t%s\t%v\n", cfg.Board.Name, err)
		return w.Flush()
	}
	how := "as the configuration says"
	if cfg.Board.Name == board.Auto {
		how = "found by itself"
	}
	fmt.Fprintf(w, "board\t%s\t%s, %s\n", wiring.Board, wiring.Title, how)
	for _, l := range slices.Concat(wiring.Buttons, wiring.LEDs, wiring.Outputs) {
		fmt.Fprintf(w, "%s\t%s\n", l.Part, lineState(l, gpio.Look))
	}
	for _, s := range []struct {
		part  board.Part
		sound board.Sound
	}{{board.MicrophonePart, wiring.Microphone}, {board.SpeakerPart, wiring.Speaker}} {
		fmt.Fprintf(w, "%s\t%s\n", s.part, soundState(s.part, s.sound.Device, sound, board.Mute))
	}
	return w.Flush()
}

// lineState says which line a part has, and how that is.
func lineState(l board.Line, look func(gpio.Line) error) string {
	if l.Err != nil {
		return "none\t" + remedied(l.Err, board.LineRemedy(l.Err, l.Part))
	}
	level := "active high"
	if l.ActiveLow {
		level = "active low"
	}
	err := look(l.Line)
	var e *gpio.LineError
	switch {
	case err == nil:
		level += ", free"
	case errors.As(err, &e) && errors.Is(err, gpio.ErrBusy) && board.Own(e.Holder):
		level += ", in use by " + e.Holder
	default:
		level += ", does not work: " + remedied(err, board.LineRemedy(err, l.Part))
	}
	return fmt.Sprintf("%v\t%s", l.Line, level)
}

// soundState says which device a part has, and how that is. list is what is there.
func soundState(part board.Part, device string, list []alsa.Device, mute func(string, board.Part) error) string {
	named := func(name string) int {
		return slices.IndexFunc(list, func(d alsa.Device) bool { return d.Name == name })
	}
	if device == "" {
		if named("pulse") >= 0 {
			return "pulse\tthe sound server"
		}
		return "none\tnone is there; the first that comes is taken"
	}
	if strings.HasPrefix(device, "pulse") {
		if named("pulse") >= 0 {
			return device + "\tof the sound server"
		}
		return device + "\tdoes not work: " + remedied(alsa.ErrNoServer, board.SoundRemedy(alsa.ErrNoServer))
	}
	at := named(strings.TrimSuffix(device, ",0"))
	switch {
	case at < 0:
		return device + "\tis not there: " + board.SoundRemedy(alsa.ErrNoCard)
	case part == board.MicrophonePart && !list[at].Capture:
		return device + "\tonly plays: name another as board.microphone"
	case part == board.SpeakerPart && !list[at].Playback:
		return device + "\tonly records: name another as board.speaker"
	}
	err := list[at].PlaybackProblem
	if part == board.MicrophonePart {
		err = list[at].CaptureProblem
	}
	if err == nil {
		err = mute(device, part)
	}
	var e *alsa.Error
	switch {
	case err == nil:
		return device + "\tfree"
	case errors.As(err, &e) && errors.Is(err, syscall.EBUSY) && board.Own(e.Holder):
		return device + "\tin use by " + e.Holder
	}
	return device + "\tdoes not work: " + remedied(err, board.SoundRemedy(err))
}

// remedied is an error in one line with what can be done about it.
func remedied(err error, remedy string) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if remedy == "" {
		return text
	}
	return text + ": " + remedy
}

func showSound(out io.Writer, list []alsa.Device, err error) error {
	fmt.Fprintln(out, "\nSound devices")
	if len(list) == 0 && err == nil {
		fmt.Fprintln(out, "  none:", board.SoundRemedy(alsa.ErrNoCard))
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, d := range list {
		var can []string
		if d.Playback {
			can = append(can, "plays")
		}
		if d.Capture {
			can = append(can, "records")
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", d.Name, strings.Join(can, ", "), d.Title)
	}
	flushed := w.Flush()
	for _, d := range list {
		if d.Problem != nil {
			fmt.Fprintf(out, "  %s does not work: %s\n", d.Name, remedied(d.Problem, board.SoundRemedy(d.Problem)))
		}
	}
	return errors.Join(err, flushed)
}

func showChips(out io.Writer, chips []gpio.ChipInfo, err error, lines bool) error {
	fmt.Fprintln(out, "\nGPIO chips")
	if len(chips) == 0 && err == nil {
		fmt.Fprintln(out, "  none")
	}
	for _, c := range chips {
		if c.Err != nil {
			fmt.Fprintf(out, "  %s: %s\n", strings.TrimSpace(c.Label+" "+c.Name), remedied(c.Err, board.LineRemedy(c.Err, board.ButtonPart)))
			continue
		}
		used := 0
		for _, l := range c.Lines {
			if l.Used {
				used++
			}
		}
		fmt.Fprintf(out, "  %s (%s): %d lines, %d in use\n", c.Label, c.Name, len(c.Lines), used)
		if !lines {
			continue
		}
		for offset, l := range c.Lines {
			holder := ""
			if l.Used {
				holder = "  in use by " + l.Holder
			}
			fmt.Fprintf(out, "  %4d  %s%s\n", offset, l.Name, holder)
		}
	}
	return err
}
