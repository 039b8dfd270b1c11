package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hushbell/device/config"
	"hushbell/device/control"
)

func contactCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "contact",
		Short: "Whom this box knows: who can be called by name, and who may call",
		Long: `Contacts can be called by name, also by the button, and their calls ring here.
Calls of contacts that were added with --answer are answered by themselves.
What becomes of strangers is in the configuration. A box that runs is told.`,
		Example: `  hushbell contact add workshop hush1...
  ssh workshop hushbell pid show | hushbell contact add workshop --answer
  hushbell contact list`,
	}, contactAddCommand(), contactListCommand(), contactRemoveCommand())
}

func contactAddCommand() *cobra.Command {
	var p places
	var answer bool
	c := &cobra.Command{
		Use:   "add NAME [PID]",
		Short: "Add a contact",
		Long: `Adds a contact. Without PID, or with -, the pid is read from standard input.
Compare the four words that are printed with those that "hushbell pid show"
prints there, over a voice that you know, if the pid came by mail or the like.`,
		Args: cobra.MatchAll(atLeast(1), atMost(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if err := config.CheckName(args[0]); err != nil {
				return usageError{err}
			}
			id, err := readPID(c, args[1:])
			if err != nil {
				return err
			}
			dir, err := p.setUp(c)
			if err != nil {
				return err
			}
			if err := p.noGroup(args[0]); err != nil {
				return err
			}
			err = editContacts(dir, func(cs config.Contacts) (config.Contacts, error) {
				return cs.Add(config.Contact{Name: args[0], PID: id, Answer: answer})
			})
			if err != nil {
				return err
			}
			words := id.Words()
			fmt.Fprintf(c.OutOrStdout(), "added %s, words: %s\n", args[0], strings.Join(words[:], " "))
			return p.reload(c)
		},
	}
	p.stateFlag(c.Flags())
	p.socketFlag(c.Flags())
	c.Flags().BoolVar(&answer, "answer", false, "answer their calls by itself")
	return c
}

func contactListCommand() *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "list",
		Short: "List the contacts",
		Args:  exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := p.readState()
			if err != nil {
				return err
			}
			cs, err := readContacts(dir)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, contact := range cs {
				what := "rings"
				if contact.Answer {
					what = "answered"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", contact.Name, what, contact.PID)
			}
			return w.Flush()
		},
	}
	p.stateFlag(c.Flags())
	return c
}

func contactRemoveCommand() *cobra.Command {
	var p places
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a contact",
		Args:  exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := p.setUp(c)
			if err != nil {
				return err
			}
			err = editContacts(dir, func(cs config.Contacts) (config.Contacts, error) { return cs.Remove(args[0]) })
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "removed %s\n", args[0])
			return p.reload(c)
		},
	}
	p.stateFlag(c.Flags())
	p.socketFlag(c.Flags())
	c.ValidArgsFunction = offer(p.contactNames)
	return c
}

// offer has a shell complete a command's only argument with one of names.
func offer(names func() []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(), cobra.ShellCompDirectiveNoFileComp
	}
}

// contactNames returns the names of the contacts; none if they cannot be read.
func (p *places) contactNames() (names []string) {
	dir, err := p.statePath()
	if err != nil {
		return nil
	}
	cs, _ := readContacts(dir)
	for _, c := range cs {
		names = append(names, c.Name)
	}
	return names
}

// groupNames returns the names of the groups; none if the configuration cannot be read.
func (p *places) groupNames() []string {
	cfg, _ := p.readConfig()
	return slices.Sorted(maps.Keys(cfg.Groups))
}

// atLeast wants n arguments or more, named in the usage line.
func atLeast(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{fmt.Errorf("%s takes at least %s, got %d: %s", c.CommandPath(), count(n, "argument"), len(args), c.UseLine())}
		}
		return nil
	}
}

// noGroup refuses the name of a group for a contact, if the configuration can be
// read, and is that of the state folder: a folder that was named says nothing of it.
func (p *places) noGroup(name string) error {
	if p.state != "" {
		return nil
	}
	cfg, err := p.readConfig()
	if err != nil {
		return nil // whatever is wrong with it: it is not ours to say here
	}
	for group := range cfg.Groups {
		if strings.EqualFold(group, name) {
			return fmt.Errorf("there is a group %q in the configuration: take another name for the contact", group)
		}
	}
	return nil
}

// reload tells a box that runs here to read its contacts again. If none runs
// there is nothing to tell; if it cannot be told, that is said, but what the
// command was to do is done.
func (p *places) reload(c *cobra.Command) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	err = client.Reload(c.Context())
	if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
		fmt.Fprintf(c.ErrOrStderr(), `the box that runs goes on as before, and would not start again as things are:
%v
Mend that, then send it SIGHUP (systemctl reload, also with --user).
`, err)
	} else if err != nil && !errors.Is(err, control.ErrNotRunning) {
		fmt.Fprintf(c.ErrOrStderr(), "the box that runs was not told, start it again: %v\n", err)
	}
	return nil
}
