package cross

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// make emulated has all packages but those of LEFT_OUT, where their reasons are. Each
// exists, and make unit32 has it instead.
func TestLeftOut(t *testing.T) {
	text, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	words := func(expression string) []string {
		m := regexp.MustCompile(expression).FindSubmatch(text)
		if m == nil {
			t.Fatalf("the Makefile has no %s", expression)
		}
		return strings.Fields(string(m[1]))
	}
	leftOut := words(`(?m)^LEFT_OUT := (.*)$`)
	if !slices.Contains(words(`(?m)^EMULATED = (.*)$`), "$(filter-out") {
		t.Error("EMULATED is not all packages but those of LEFT_OUT")
	}
	unit32 := words(`(?ms)^unit32:\n(.*?)\n\n`)
	for _, pkg := range leftOut {
		if pkg == "cross" || strings.HasPrefix(pkg, "cross/") {
			continue // not of the product
		}
		if _, err := os.Stat("../" + pkg); err != nil {
			t.Error(err)
		}
		if !slices.Contains(unit32, "./"+pkg) {
			t.Errorf("make emulated leaves %s out, and make unit32, too", pkg)
		}
	}
}
