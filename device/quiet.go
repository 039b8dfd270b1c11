package device

import "fmt"

// A Switch is what the owner says of do-not-disturb.
type Switch uint8

// The ways the switch can stand. Off is for the time that the schedule has now:
// when that is over it goes back to Scheduled.
const (
	Scheduled Switch = iota // by the schedule, if there is one
	On
	Off
	numSwitches
)

var switchNames = [numSwitches]string{"scheduled", "on", "off"}

// String returns the word that ParseSwitch takes.
func (s Switch) String() string {
	if s < numSwitches {
		return switchNames[s]
	}
	return fmt.Sprintf("switch %d", uint8(s))
}

// ParseSwitch is the inverse of String.
func ParseSwitch(word string) (Switch, error) {
	for i, name := range switchNames {
		if word == name {
			return Switch(i), nil
		}
	}
	return 0, fmt.Errorf("%q: say on, off or scheduled", word)
}

// at returns whether nothing may ring while the schedule says so or not, and how
// the switch stands from then on.
func (s Switch) at(scheduled bool) (quiet bool, now Switch) {
	if s == Off && !scheduled {
		s = Scheduled
	}
	return s == On || s == Scheduled && scheduled, s
}

// toggle is the switch as a button turns it: the other way than it is.
func (s Switch) toggle(scheduled bool) Switch {
	if quiet, _ := s.at(scheduled); quiet {
		return Off
	}
	return On
}
