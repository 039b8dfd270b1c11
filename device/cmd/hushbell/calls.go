package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hushbell/device"
	"hushbell/device/control"
)

func callCommand() *cobra.Command {
	var p places
	var wait, page bool
	c := &cobra.Command{
		Use:   "call NAME|PID",
		Short: "Have the box call a contact, a group, or a pid",
		Long: `Has the box that runs here call a contact or a group by name, or a pid. With - the
name or pid is read from standard input. Who answers first of a group gets the
call; with --page all who answer take part: they hear us, and we hear them. It
returns when the call is under way; with --wait when it is answered, and fails if
it is not.`,
		Example: `  hushbell call workshop
  hushbell call house --page
  hushbell call workshop --wait && echo "they are there"`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			to := args[0]
			if to == "-" {
				var err error
				if to, err = firstLine(c.Context(), c.InOrStdin()); err != nil {
					return err
				}
			}
			if to == "" {
				return usageError{errors.New("say whom to call: the name of a contact, or a pid")}
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			if wait {
				return callAndWait(c.Context(), client, to, page, c.OutOrStdout())
			}
			return client.Call(c.Context(), to, page)
		},
	}
	p.socketFlag(c.Flags())
	c.ValidArgsFunction = offer(func() []string { return append(p.contactNames(), p.groupNames()...) })
	c.Flags().BoolVar(&wait, "wait", false, "wait until the call is answered, or is not")
	c.Flags().BoolVar(&page, "page", false, "all of the group who answer take part")
	return c
}

// callAndWait calls, and prints what happens until the call is answered.
func callAndWait(ctx context.Context, client *control.Client, to string, page bool, out io.Writer) error {
	events, err := client.Events(ctx, math.MaxUint64) // only what is new
	if err != nil {
		return err
	}
	defer events.Close()
	if err := client.Call(ctx, to, page); err != nil {
		return err
	}
	shown := ""
	for {
		e, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the box has stopped")
		case ctx.Err() != nil:
			return errors.New("not waited for any longer; the call goes on: hushbell hangup ends it")
		case err != nil:
			return err
		case e.Kind == "ended" && seeking(e.State):
			continue // of somebody who called us meanwhile
		case e.Kind == "answered":
			fmt.Fprintln(out, e.Kind)
			return nil
		case e.Kind == "ended":
			return fmt.Errorf("the call was not answered: %s", why(e.Reason, e.Error))
		}
		if e.State != shown {
			shown = e.State
			fmt.Fprintln(out, e.State)
		}
	}
}

// seeking reports whether in a state there is a call of ours that is not answered yet.
func seeking(state string) bool {
	return slices.ContainsFunc([]device.State{device.Calling, device.RingingFar, device.Waiting}, func(s device.State) bool { return s.String() == state })
}

// why is how and why a call ended.
func why(reason, err string) string {
	if err == "" {
		return reason
	}
	return reason + ": " + err
}

// simple is a command that asks the box for one thing.
func simple(use, short string, do func(*control.Client, context.Context) error) *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			return do(client, c.Context())
		},
	}
	p.socketFlag(c.Flags())
	return c
}

func answerCommand() *cobra.Command {
	return simple("answer", "Answer the call that rings here", (*control.Client).Answer)
}

func hangUpCommand() *cobra.Command {
	return simple("hangup", "End or reject the call there is", (*control.Client).HangUp)
}

func pressCommand() *cobra.Command {
	var p places
	var press control.Press
	c := &cobra.Command{
		Use:   "press",
		Short: "Do what a press of the button does",
		Long: `Does what a press of the button does, or another gesture at one of the buttons.
With push to talk, hold is what its finger does, until release.`,
		Example: `  hushbell press
  hushbell press --button 2 --gesture long`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if _, ok := gestureWords[press.Gesture]; !ok {
				return usageError{noGesture(press.Gesture)}
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			return client.Do(c.Context(), press)
		},
	}
	p.socketFlag(c.Flags())
	c.Flags().StringVar(&press.Button, "button", "", "`number` of the button; left out: the first")
	c.Flags().StringVar(&press.Gesture, "gesture", "", "long, double, hold or release; left out: a short press")
	return c
}

func statusCommand() *cobra.Command {
	var p places
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the box is: state, relays, clock, call",
		Example: `  hushbell status
  hushbell status --json | jq .call.report`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			s, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return showStatus(c.OutOrStdout(), &s)
		},
	}
	p.socketFlag(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, for programs")
	return c
}

// showStatus prints a status for a person.
func showStatus(out io.Writer, s *control.Status) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, format string, a ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }
	row("state", "%s, for %s", s.State, sinceText(s.Since))
	if s.Online {
		row("online", "yes: can be called")
	} else {
		row("online", "no: cannot be called at present")
	}
	row("relays", "%d known", s.Relays)
	trust := "not trusted yet"
	if s.Clock.Trusted {
		trust = "trusted"
	}
	row("clock", "%s: told by relays of %d networks, %+.1f s from the system clock", trust, s.Clock.Networks, s.Clock.OffsetMS/1000)
	if c := s.Call; c != nil {
		showCall(row, c)
		if s.VoiceOverTCP && lasted(c) > udpFound {
			row("", "voice takes TCP, since UDP does not pass from here")
		}
	}
	if s.DND.Active || s.DND.Switch != "scheduled" {
		row("do not disturb", "%s", dndText(s.DND.Active, s.DND.Switch))
	}
	if s.Missed > 0 {
		row("missed", "%d calls: hushbell missed", s.Missed)
	}
	row("sound", "board %s, %d overruns of the microphone, %d underruns of the speaker", s.Board.Name, s.Board.MicrophoneXruns, s.Board.SpeakerXruns)
	for _, p := range s.Board.Problems {
		row(p.Part, "does not work: %s", remedied(errors.New(p.Error), p.Remedy))
	}
	row("memory", "%.1f MB resident", float64(s.Memory.RSS)/1e6)
	row("version", "%s", s.Version)
	return w.Flush()
}

// udpFound is when it is known whether UDP passes: until then voice takes TCP,
// which means nothing.
const udpFound = 3 * time.Second

// lasted is for how long a call was talked in.
func lasted(c *control.Call) time.Duration {
	switch {
	case c.Answered.IsZero():
		return 0
	case c.Over():
		return c.Ended.Sub(c.Answered)
	}
	return time.Since(c.Answered)
}

func showCall(row func(name, format string, a ...any), c *control.Call) {
	name, direction, peer := "call", "from", c.Peer
	if c.Over() {
		name = "last call"
	}
	if c.Outgoing {
		direction = "to"
	}
	if peer == "" {
		peer = c.PID + " (no contact)"
	}
	if c.Page {
		peer += " (all hear)"
	}
	switch {
	case c.Over():
		row(name, "%s %s, %s, %s ago", direction, peer, why(c.Reason, c.Error), sinceText(c.Ended))
	case c.Answered.IsZero():
		row(name, "%s %s, not answered yet, for %s", direction, peer, sinceText(c.Began))
	default:
		row(name, "%s %s, for %s", direction, peer, sinceText(c.Answered))
	}
	if c.Answered.IsZero() {
		return
	}
	r, v := &c.Report, &c.Report.Voice
	row("", "set up in %.0f ms, %d hops on our side, key exchange %s", r.SetupMS, r.Hops, r.KeyExchange)
	row("", "voice: %d frames sent, %d received, %d lost, %d late, %d repaired, %d concealed", r.Sent, v.Received, v.Lost, v.Late, v.Repaired, v.Concealed)
}
