package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A chapter is commands that belong together.
type chapter struct {
	title    string
	commands []*cobra.Command
}

// chapters are all that the program can do.
func chapters() []chapter {
	return []chapter{
		{"Set up a box:", []*cobra.Command{runCommand(), pidCommand(), contactCommand()}},
		{"Use it:", []*cobra.Command{
			callCommand(), answerCommand(), hangUpCommand(), pressCommand(), statusCommand(),
			dndCommand(), missedCommand(), doorCommand(),
		}},
		{"Find out what is wrong:", []*cobra.Command{doctorCommand(), devicesCommand(), testCommand()}},
		{"More:", []*cobra.Command{relayCommand(), demoCommand(), versionCommand()}},
	}
}

// commands are those of all chapters.
func commands() (all []*cobra.Command) {
	for _, ch := range chapters() {
		all = append(all, ch.commands...)
	}
	return all
}

// addCommands gives root all commands, and its own two for help and completion,
// which then refuse what they do not know.
func addCommands(root *cobra.Command) {
	last := ""
	for _, ch := range chapters() {
		last = ch.title
		root.AddGroup(&cobra.Group{ID: ch.title, Title: ch.title})
		for _, c := range ch.commands {
			c.GroupID = ch.title
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID(last)
	root.SetCompletionCommandGroupID(last)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	completeNoFiles(root)
	root.PersistentPreRun = func(c *cobra.Command, _ []string) {
		if c.Name() == cobra.ShellCompRequestCmd {
			unquoteFlags(root)
		}
	}
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usageError{fmt.Errorf("there is no command %q", args[len(args)-max(1, len(rest))])}
				}
				return nil
			}
		case "completion":
			group(c)
		}
	}
}

// completeNoFiles has a shell offer no files as arguments: no command takes one.
func completeNoFiles(c *cobra.Command) {
	if c.ValidArgs == nil && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, below := range c.Commands() {
		completeNoFiles(below)
	}
}

// unquoteFlags takes the marks around the names of values out of the flags' texts, which
// a shell that completes flags would show: of its two readers cobra knows help only.
func unquoteFlags(c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
	for _, below := range c.Commands() {
		unquoteFlags(below)
	}
}

// group is a command that only has others below it.
func group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.Args = wrongCommand
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(below...)
	return c
}
