package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"rsc.io/qr"

	"hushbell/device/config"
	"hushbell/voipcore/pid"
)

const defaultPID = "box"

func pidCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "pid",
		Short: "The pseudo-identities of this box: what others call",
		Long: `A pid is what others need to call this box, and what they know it by. It says
nothing about who or where you are. The box answers to all its pids, and calls
with the one that the configuration names ("box" by default).`,
		Example: `  hushbell pid new
  hushbell pid show --qr
  hushbell pid show | ssh other-box hushbell contact add workshop`,
	}, pidNewCommand(), pidListCommand(), pidShowCommand())
}

func pidNewCommand() *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "new [NAME]",
		Short: "Make a pid, and show it",
		Long: `Makes a pid with a fresh key. The key never leaves the state folder; who has it
is the pid, so keep a copy of the file where only you can read it. A box that
runs learns of a new pid when it is started again.`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := keyName(args)
			if err != nil {
				return err
			}
			dir, err := p.setUp(c)
			if err != nil {
				return err
			}
			k, err := newKey(dir, name)
			if err != nil {
				return err
			}
			return showPID(c.OutOrStdout(), k.ID(), false)
		},
	}
	p.stateFlag(c.Flags())
	return c
}

// newKey makes the key of a name, which must not be there.
func newKey(state, name string) (*pid.Key, error) {
	file := keyFile(state, name)
	if _, err := os.Lstat(file); err == nil {
		return nil, fmt.Errorf("there is a pid %q already: see it with hushbell pid show %s, or take another name", name, name)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pid %q: %w", name, err)
	}
	k := pid.NewKey()
	if err := k.Save(file); err != nil {
		return nil, err
	}
	return k, errors.Join(handOver(dir), handOver(file))
}

func pidListCommand() *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "list",
		Short: "List the pids of this box",
		Args:  exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := p.readState()
			if err != nil {
				return err
			}
			files, err := keyFiles(dir)
			if err != nil {
				return err
			}
			for _, n := range slices.Sorted(maps.Keys(files)) {
				k, err := pid.LoadKey(files[n])
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s\t%s\n", n, k.ID())
			}
			return nil
		},
	}
	p.stateFlag(c.Flags())
	return c
}

func pidShowCommand() *cobra.Command {
	var p places
	var asQR bool
	c := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a pid, and the four words to compare it by",
		Long: `Shows a pid of this box, and four words. Who got the pid by a way that they do
not trust reads the words to you, over a voice that they know: if they are the
same, so is the pid.`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := keyName(args)
			if err != nil {
				return err
			}
			dir, err := p.readState()
			if err != nil {
				return err
			}
			files, err := keyFiles(dir)
			if err != nil {
				return err
			}
			if files[name] == "" {
				return noPID(dir, name)
			}
			k, err := pid.LoadKey(files[name])
			if err != nil {
				return err
			}
			return showPID(c.OutOrStdout(), k.ID(), asQR)
		},
	}
	p.stateFlag(c.Flags())
	c.Flags().BoolVar(&asQR, "qr", false, "also as a QR code, to be read by a camera")
	return c
}

// atMost wants n arguments or fewer, named in the usage line.
func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError{fmt.Errorf("%s takes at most %s, got %d: %s", c.CommandPath(), count(n, "argument"), len(args), c.UseLine())}
		}
		return nil
	}
}

// keyName is the name that the arguments give to a pid.
func keyName(args []string) (string, error) {
	if len(args) == 0 {
		return defaultPID, nil
	}
	if err := config.CheckKeyName(args[0]); err != nil {
		return "", usageError{err}
	}
	return args[0], nil
}

// showPID prints a pid on a line of its own, so that it can be piped on, and
// what people want to see of it below.
func showPID(w io.Writer, id pid.ID, asQR bool) error {
	words := id.Words()
	if _, err := fmt.Fprintf(w, "%s\nwords: %s\n", id, strings.Join(words[:], " ")); err != nil || !asQR {
		return err
	}
	// In capitals it is of the letters for which QR codes need less room.
	code, err := qr.Encode(strings.ToUpper(id.String()), qr.L)
	if err != nil {
		return fmt.Errorf("QR code: %w", err)
	}
	_, err = io.WriteString(w, drawQR(code.Size, code.Black))
	return err
}

// quietZone is how many light modules a reader wants around a QR code
// (ISO/IEC 18004).
const quietZone = 4

// drawQR draws a code of so many modules, two above each other in a letter,
// black on white whatever the terminal's colours are.
func drawQR(size int, black func(x, y int) bool) string {
	dark := func(x, y int) bool { return x >= 0 && y >= 0 && x < size && y < size && black(x, y) }
	var b strings.Builder
	for y := -quietZone; y < size+quietZone; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -quietZone; x < size+quietZone; x++ {
			switch upper, lower := dark(x, y), dark(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteRune(' ')
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}

// firstLine reads the first line of standard input, without the space around it. When
// ctx is done, as by Ctrl-C, it does not wait any more: the read goes on until the
// program ends.
func firstLine(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("standard input: %w", a.err)
		}
		return strings.TrimSpace(a.line), nil
	case <-ctx.Done():
		return "", errors.New("interrupted: nothing was done")
	}
}

// readPID reads a pid from where a command takes one: its argument, or the
// first line of standard input if that is missing or "-".
func readPID(c *cobra.Command, args []string) (pid.ID, error) {
	text, from := "", "standard input"
	if len(args) > 0 && args[0] != "-" {
		text, from = args[0], "the argument"
	} else {
		if f, ok := c.InOrStdin().(*os.File); ok && isTerminal(f) {
			fmt.Fprintln(c.ErrOrStderr(), "Paste the pid, and press Enter:")
		}
		line, err := firstLine(c.Context(), c.InOrStdin())
		if err != nil {
			return pid.ID{}, err
		}
		text = line
	}
	if text == "" {
		return pid.ID{}, usageError{errors.New("no pid: give it as the last argument, or on standard input")}
	}
	id, err := pid.Parse(text)
	if err != nil {
		return pid.ID{}, usageError{fmt.Errorf("what %s holds is no pid: %w", from, err)}
	}
	return id, nil
}
