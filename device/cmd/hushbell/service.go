package main

import (
	"context"
	"strings"

	"hushbell/device"
)

// summaries are the states of a box as systemctl status shows them. It shows
// them to everybody on the machine, so they do not say who calls.
var summaries = map[device.State]string{
	device.Offline:     "Cannot be called at present: looks for relays.",
	device.Idle:        "Can be called.",
	device.Quiet:       "Do not disturb: nothing rings.",
	device.NoNetwork:   "Cannot be called: there is no network.",
	device.NoRelays:    "Cannot be called: no relays are known.",
	device.NoSound:     "There is no microphone, or no speaker.",
	device.ClockWrong:  "The system clock is wrong.",
	device.Calling:     "Calls: looks for the far box.",
	device.RingingFar:  "Calls: the far box rings.",
	device.Waiting:     "Calls: the far line is busy, waits for it.",
	device.RingingHere: "Rings: somebody calls.",
	device.Answering:   "Answers a call.",
	device.InCall:      "In a call.",
	device.CallWaiting: "In a call, and somebody waits for the line.",
	device.Declined:    "The call was declined.",
	device.Busy:        "The far line is busy.",
	device.NoAnswer:    "The far box did not answer.",
	device.Unreachable: "The far box could not be reached.",
	device.Ended:       "The call has ended.",
	device.HungUp:      "The call has ended.",
}

// summary says in a line how the box is.
func (b *box) summary() string {
	text := summaries[b.device.Status().State]
	var parts []string
	for _, p := range b.board.Problems() {
		parts = append(parts, string(p.Part))
	}
	if len(parts) > 0 {
		text += " Does not work: " + strings.Join(parts, ", ") + ", see hushbell status."
	}
	return text
}

// alive returns nil when the loops of the box turn.
func (b *box) alive(ctx context.Context) error {
	if err := b.device.Ping(ctx); err != nil {
		return err
	}
	if err := b.core.Ping(ctx); err != nil {
		return err
	}
	b.system.Status(b.summary()) // parts come and go without a word
	return nil
}
