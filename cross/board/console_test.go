package main

import (
	"strings"
	"testing"
)

func TestWatch(t *testing.T) {
	tests := []struct {
		name, console, want string // want: a part of the result's line
		ok, up              bool
	}{
		{"passed", "board: up 1.5\r\n\r\nboard: begin gpio\r\n=== RUN   TestA\r\n--- PASS: TestA (0.1s)\r\n" +
			"    --- PASS: TestA/b (0.1s)\r\n--- SKIP: TestC (0.0s)\r\nPASS\r\n\r\nboard: end gpio 0\r\n",
			"ok   board/gpio  2 passed, 0 failed, 1 skipped", true, true},
		{"failed", "board: up 1\nboard: begin gpio\n--- FAIL: TestA (0.1s)\nFAIL\nboard: end gpio 1\n",
			"0 passed, 1 failed, 0 skipped, 0.0 s, exit status 1", false, true},
		{"crashed after a pass", "board: up 1\nboard: begin gpio\n--- PASS: TestA (0.1s)\npanic: x\nboard: end gpio 2\n",
			"exit status 2", false, true},
		{"all skipped", "board: up 1\nboard: begin gpio\n--- SKIP: TestA (0.0s)\nPASS\nboard: end gpio 0\n",
			"nothing ran", false, true},
		{"kernel died under it", "board: up 1\nboard: begin gpio\n--- PASS: TestA (0.1s)\nKernel panic",
			"did not end", false, true},
		{"another's end", "board: up 1\nboard: begin gpio\n--- PASS: TestA (0.1s)\nboard: end alsa 0\n",
			"did not end", false, true},
		{"no status", "board: up 1\nboard: begin gpio\n--- PASS: TestA (0.1s)\nboard: end gpio \n",
			"did not end", false, true},
		{"never came up", "\x1bc\x1b[?7l\x1b[2J no device\n", "did not end", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			results, up := watch(strings.NewReader(tt.console), &out, []string{"gpio"}, false)
			if up != tt.up {
				t.Errorf("up = %v, want %v", up, tt.up)
			}
			if len(results) != 1 || results[0].ok() != tt.ok || !strings.Contains(results[0].String(), tt.want) {
				t.Errorf("results = %v, want one, ok = %v, with %q", results, tt.ok, tt.want)
			}
			if strings.ContainsAny(out.String(), "\x1b\r") || strings.Contains(out.String(), "=== RUN") {
				t.Errorf("output is not readable: %q", out.String())
			}
		})
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote("-test.run=a b", "it's"), `'-test.run=a b' 'it'\''s'`; got != want {
		t.Errorf("quote = %s, want %s", got, want)
	}
}
