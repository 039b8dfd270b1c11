package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The configuration that the package installs is right, with all that is
// commented out or with none of it, and explains every setting.
func TestPackagedExamples(t *testing.T) {
	const file = "../../cross/deb/hushbell.toml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Parse(file, string(text)); err != nil {
		t.Error(err)
	} else if d := Default(); c.Err() != nil || c.Hops != d.Hops || len(c.Bootstrap) > 0 {
		t.Errorf("as installed it is %+v, want the defaults", c)
	}
	setting := regexp.MustCompile(`(?m)^#(\[|[a-z_]+ = )`)
	all := setting.ReplaceAllString(string(text), "$1")
	// A box that relays has one socket for both, so not both at once.
	if _, err := Parse(file, strings.Replace(all, "\nlisten = \"[::]:0\"", "", 1)); err != nil {
		t.Error(err)
	}
	doc, err := decode(file, all)
	if err != nil {
		t.Fatal(err)
	}
	many := regexp.MustCompile(`^button[4-8]\.`)
	for _, s := range settings {
		// Buttons are alike: what each can do is explained with one of them.
		if many.MatchString(s.key) || slices.Contains([]string{"button.press", "button.line", "button.talk", "button2.call", "button2.talk",
			"button3.call", "button3.press", "button3.long", "button3.double"}, s.key) {
			continue
		}
		if _, ok := doc.values[s.key]; !ok {
			t.Errorf("%s does not explain %s", file, s.key)
		}
	}

	const relay = "../../cross/deb/relay.toml"
	if text, err = os.ReadFile(relay); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(text), setting.ReplaceAllString(string(text), "$1")} {
		if c, err := Parse(relay, text); err != nil || !c.Relay.Listen.IsValid() {
			t.Errorf("%+v, %v", c.Relay, err)
		}
	}
}
