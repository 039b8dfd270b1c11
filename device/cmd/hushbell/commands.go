package main

import "github.com/spf13/cobra"

// commands are all that the program can do.
func commands() []*cobra.Command {
	return []*cobra.Command{
		runCommand(), relayCommand(), demoCommand(),
		pidCommand(), contactCommand(),
		callCommand(), answerCommand(), hangUpCommand(), pressCommand(), statusCommand(),
		dndCommand(), missedCommand(), doorCommand(),
		devicesCommand(), testCommand(), doctorCommand(),
		versionCommand(),
	}
}

// group is a command that only has others below it.
func group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.Args = wrongCommand
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(below...)
	return c
}
