// Command hushbell is the intercom: the box itself, a relay for others, and the
// tools to set up and try both. This package is command line and wiring only.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Set by the linker: see the Makefile.
var (
	version = "unknown"
	built   = "0" // when the commit was made, Unix seconds
)

// buildTime is a time that has passed for sure.
func buildTime() time.Time {
	n, err := strconv.ParseInt(built, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills us
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// A usageError means that the command line was wrong: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errTold means that what is wrong was told already.
var errTold = errors.New("told already")

// A configError means that the configuration is wrong: exit status 78, as
// sysexits.h has it. A service that ends with it is not started again, which a
// panic, whose status is 2, must be.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

const (
	statusUsage  = 2
	statusConfig = 78
)

// An advisedError says itself what to do about it.
type advisedError struct{ error }

func (e advisedError) Unwrap() error { return e.error }

// ownership is what to do about a file that we may not open, "" if err is of something
// else, or says it itself.
func ownership(err error) string {
	if errors.As(err, new(advisedError)) {
		return ""
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) && errors.Is(file, fs.ErrPermission) {
		return "It is another user's: use sudo, or give it to the user whom this runs as."
	}
	return ""
}

// An output remembers the first write that failed: what could not be printed, on a full
// disk say, is not done.
type output struct {
	io.Writer
	failed atomic.Pointer[error]
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil {
		o.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// run is main with its inputs and outputs as parameters. It returns the exit
// status: 0, 1 if something failed, 2 if the command was used wrongly, 78 if
// the configuration is wrong.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := &cobra.Command{
		Use:   "hushbell",
		Short: "An intercom that nobody can listen to and nobody can trace",
		Long: `Hushbell is an intercom for small boards. A press on the button calls a
pseudo-identity (pid); the far box rings, or answers by itself. Calls go over
onion tunnels: only the two boxes know what is said, and who sees one end alone
does not learn who calls whom. Who watches both ends can match them by time.

To see it work on this machine alone:  hushbell demo
To set up a box:                       hushbell run --help
When something does not work:          hushbell doctor
To help others with a relay:           hushbell relay --help

The exit status is 0 if all is done, 1 if something failed, 2 if the command was
used wrongly, 78 if a configuration is wrong.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          wrongCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	root.SetIn(in)
	checked := &output{Writer: out}
	root.SetOut(checked)
	root.SetErr(errOut)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError{err} })
	addCommands(root)

	c, err := root.ExecuteContextC(ctx)
	if failed := checked.failed.Load(); err == nil && failed != nil {
		err = *failed
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, errTold) {
		return 1
	}
	fmt.Fprintf(errOut, "hushbell: %v\n", err)
	if hint := ownership(err); hint != "" && os.Geteuid() != 0 {
		fmt.Fprintln(errOut, hint)
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintf(errOut, "Try: %s --help\n", c.CommandPath())
		return statusUsage
	}
	if config := (configError{}); errors.As(err, &config) {
		return statusConfig
	}
	return 1
}

// wrongCommand refuses what is no command.
func wrongCommand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("there is no command %q", args[0])}
	}
	return nil
}

// exactly wants n arguments, named in the usage line.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %s, got %d: %s", c.CommandPath(), count(n, "argument"), len(args), c.UseLine())}
		}
		return nil
	}
}

// count is a number of things.
func count(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing + "s"
	case 1:
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  exactly(0),
		Run:   func(c *cobra.Command, _ []string) { fmt.Fprintf(c.OutOrStdout(), "hushbell %s\n", version) },
	}
}
