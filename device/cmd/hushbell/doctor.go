package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"hushbell/device"
	"hushbell/device/config"
	"hushbell/device/doctor"
)

func doctorCommand() *cobra.Command {
	var p places
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with the box, and what to do",
		Long: `Looks at all that a box needs: configuration, state folder, keys and contacts, the
service and its rights, sound cards and their mixers, button and LED, network,
relays, UDP and clock. Each line says how it is: ok, warning, fault, or unknown
for what could not be looked at; then why it matters, and the remedy.

It may be run while the box runs, and takes nothing away from it: what the box has
it is asked for. When no box runs, each sound device is opened for a moment, which
makes no sound, and the button is watched for some seconds: leave it alone. Run it
as root (sudo hushbell doctor), or as the user that runs the box, to see all.

The relays of bootstrap are asked directly, as at a first start: each learns that
this address takes part. No key and no pid is printed; names of contacts and
addresses of relays can be.

The exit status is 0 if there is no fault, 1 if there are some, 2 if it was used
wrongly.`,
		Example: `  sudo hushbell doctor
  hushbell doctor --json | jq '.findings[] | select(.level == "fault")'`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			patient, err := p.patient()
			if err != nil {
				return err
			}
			return examine(c.Context(), patient, c.OutOrStdout(), asJSON)
		},
	}
	p.stateFlag(c.Flags())
	p.configFlag(c.Flags())
	p.socketFlag(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, for programs")
	return c
}

// patient is the box of these places: for a user who has none of his own, that
// of the system. Nothing is made.
func (p *places) patient() (d doctor.Patient, err error) {
	if d.Config, err = p.configFile(); err != nil {
		return d, err
	}
	if d.Socket, err = p.socketFile(); err != nil {
		return d, err
	}
	if d.State, err = p.statePath(); err != nil {
		return d, err
	}
	ofMachine := d.Config == systemConfig || missing(d.Config)
	if *p == (places{}) && ofMachine && missing(d.Socket) && missing(d.State) && !missing(systemConfig) {
		d.Config, d.Socket, d.State = systemConfig, systemSocket, systemState
	}
	d.System = d.State == systemState
	from := &places{state: d.State, config: d.Config, socket: d.Socket}
	d.Pids, d.Contacts = filepath.Dir(keyFile(d.State, "")), contactsFile(d.State)
	d.Read, d.Wire = from.readConfig, wire
	d.KeyFiles = func() (map[string]string, error) { return keyFiles(d.State) }
	d.Known = func() (config.Contacts, error) { return readContacts(d.State) }
	d.Policy = func(cfg *config.Config) (device.Policy, error) {
		return policyOf(cfg, d.State, d.Config, nil) // its door is not opened
	}
	d.Version, d.Build = version, buildTime()
	return d, nil
}

// A diagnosis is all findings, with how many there are of those that matter.
type diagnosis struct {
	Version  string           `json:"version"`
	Findings []doctor.Finding `json:"findings"`
	Faults   int              `json:"faults"`
	Warnings int              `json:"warnings"`
	Unknown  int              `json:"unknown"`
}

// examine looks at the box and prints what it finds; errTold if there are faults.
func examine(ctx context.Context, p doctor.Patient, out io.Writer, asJSON bool) error {
	d := diagnosis{Version: version}
	sound := 0
	of := map[doctor.Level]*int{doctor.OK: &sound, doctor.Unknown: &d.Unknown, doctor.Warning: &d.Warnings, doctor.Fault: &d.Faults}
	doctor.Examine(ctx, p, func(f doctor.Finding) {
		d.Findings = append(d.Findings, f)
		*of[f.Level]++
		if !asJSON {
			showFinding(out, &f)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(d); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "\n%d ok, %d unknown, %s, %s\n", sound, d.Unknown, count(d.Warnings, "warning"), count(d.Faults, "fault"))
	}
	if d.Faults > 0 {
		return errTold
	}
	return nil
}

// showFinding prints a finding for a person.
func showFinding(out io.Writer, f *doctor.Finding) {
	fmt.Fprintf(out, "%-8s %-14s %s\n", f.Level, f.Check, f.Found)
	if f.Why != "" {
		fmt.Fprintf(out, "%23s why: %s\n", "", f.Why)
	}
	if f.Remedy != "" {
		fmt.Fprintf(out, "%23s do:  %s\n", "", f.Remedy)
	}
}
