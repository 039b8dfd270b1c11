package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func dndCommand() *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "dnd on|off|scheduled|status",
		Short: "Do not disturb: nothing rings, callers hear nobody answer",
		Long: `Switches do-not-disturb. While it is on nothing rings here and nothing is answered
by itself: who calls hears it ring and nobody answer, and hushbell missed shows who
it was.

  on         until it is switched off
  off        until the schedule of the configuration says so again
  scheduled  as the schedule says, now, too
  status     shows how it is

The switch stays as it is when the box is started again.`,
		Example: `  hushbell dnd on
  hushbell dnd status`,
		ValidArgs: []string{"on", "off", "scheduled", "status"},
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && !slices.Contains(c.ValidArgs, args[0]) {
				return usageError{fmt.Errorf("%q: say %s", args[0], strings.Join(c.ValidArgs, ", "))}
			}
			return exactly(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			if args[0] != "status" {
				return client.SetDND(c.Context(), args[0])
			}
			s, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), dndText(s.DND.Active, s.DND.Switch))
			return nil
		},
	}
	p.socketFlag(c.Flags())
	return c
}

// dndText is do-not-disturb in words.
func dndText(active bool, how string) string {
	if active {
		return fmt.Sprintf("on (switch: %s)", how)
	}
	return fmt.Sprintf("off (switch: %s)", how)
}

func missedCommand() *cobra.Command {
	var p places
	var clear bool
	c := &cobra.Command{
		Use:   "missed",
		Short: "Show the calls that nobody answered",
		Long: `Shows the calls that nobody answered, the newest first: also those that did not
ring because of do-not-disturb, or because strangers ring unheard here
(unknown = "silent"). With --clear the box forgets them afterwards.`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			calls, err := client.Missed(c.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, m := range calls {
				who, times := m.Peer, ""
				if who == "" {
					who = m.PID + " (no contact)"
				}
				if m.Count > 1 {
					times = fmt.Sprintf("%d times", m.Count)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", m.At.Local().Format(time.DateTime), who, times)
			}
			if err := w.Flush(); err != nil || !clear {
				return err
			}
			return client.ClearMissed(c.Context())
		},
	}
	p.socketFlag(c.Flags())
	c.Flags().BoolVar(&clear, "clear", false, "forget them")
	return c
}

// hideInput has a terminal not show what is typed, until show is called. It reports
// whether f is one. Who kills the program meanwhile has to say stty echo.
func hideInput(f *os.File) (show func(), ok bool) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, false
	}
	var old *unix.Termios
	set := func(change func(s *unix.Termios)) {
		_ = conn.Control(func(fd uintptr) {
			if old == nil {
				old, err = unix.IoctlGetTermios(int(fd), unix.TCGETS)
			}
			if err == nil {
				now := *old
				change(&now)
				err = unix.IoctlSetTermios(int(fd), unix.TCSETS, &now)
			}
		})
	}
	set(func(s *unix.Termios) { s.Lflag = s.Lflag&^unix.ECHO | unix.ECHONL })
	return func() { set(func(*unix.Termios) {}) }, err == nil
}

func doorCommand() *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "door",
		Short: "Open the far end's door in a call, with a PIN from standard input",
		Long: `Shows the far box of the call that stands a PIN, to have its door opened. The PIN is
read from standard input, since others on this machine can see command lines.
Whether it was right, the door's box says; after wrong ones it takes none for a
while.

A box has a door if there is [door] in its configuration: see hushbell run --help.`,
		Example: `  hushbell door < ~/.door-pin`,
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if f, ok := c.InOrStdin().(*os.File); ok {
				if show, ok := hideInput(f); ok {
					defer show()
					fmt.Fprintln(c.ErrOrStderr(), "Type the PIN, which is not shown, and press Enter:")
				}
			}
			text, err := firstLine(c.Context(), c.InOrStdin())
			if err != nil {
				return err
			}
			pin, err := parsePIN([]byte(text))
			if err != nil {
				return usageError{errors.Join(errors.New("the PIN comes from standard input"), err)}
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			if err := client.OpenDoor(c.Context(), string(bytes.TrimRight(pin[:], "\x00"))); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "the door is open")
			return nil
		},
	}
	p.socketFlag(c.Flags())
	return c
}
