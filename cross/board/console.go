package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Lines by which the board tells where it is.
const (
	upMark    = "board: up "
	beginMark = "board: begin "
	endMark   = "board: end "
)

// A result is what the console told of one package.
type result struct {
	name                string
	passed, failed, cut int // tests, cut: skipped
	status              int // of the test binary, -1: it never ended
	took                time.Duration
}

// ok tells whether the package is right. One without a passed test is not: a
// run that skips everything would look the same.
func (r result) ok() bool { return r.status == 0 && r.failed == 0 && r.passed > 0 }

func (r result) String() string {
	word, why := "ok  ", ""
	if !r.ok() {
		word = "FAIL"
		switch {
		case r.status < 0:
			why = ", did not end"
		case r.status > 0:
			why = fmt.Sprintf(", exit status %d", r.status)
		case r.failed == 0:
			why = ", nothing ran"
		}
	}
	return fmt.Sprintf("%s board/%s  %d passed, %d failed, %d skipped, %.1f s%s",
		word, r.name, r.passed, r.failed, r.cut, r.took.Seconds(), why)
}

var escapes = regexp.MustCompile("\x1b(c|\\[[?0-9;]*[a-zA-Z])")

// watch reads the console to its end, copies it to w in readable form, and
// returns one result for each of names. up tells whether the board's own
// programs ran at all.
func watch(console io.Reader, w io.Writer, names []string, verbose bool) (results []result, up bool) {
	for _, n := range names {
		results = append(results, result{name: n, status: -1})
	}
	var now *result
	var began time.Time
	lines := bufio.NewReader(console)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(escapes.ReplaceAllString(line, ""), "\r\n\x00")
		line = strings.TrimLeft(line, "\r")
		if name, ok := strings.CutPrefix(line, beginMark); ok {
			if now = find(results, name); now != nil {
				began = time.Now()
			}
		}
		if rest, ok := strings.CutPrefix(line, endMark); ok && now != nil {
			name, status, _ := strings.Cut(rest, " ")
			if n, err := strconv.Atoi(status); err == nil && name == now.name {
				now.status, now.took = n, time.Since(began)
				now = nil
			}
		}
		up = up || strings.HasPrefix(line, upMark)
		if now != nil {
			switch trimmed := strings.TrimLeft(line, " "); {
			case strings.HasPrefix(trimmed, "--- PASS"):
				now.passed++
			case strings.HasPrefix(trimmed, "--- FAIL"):
				now.failed++
			case strings.HasPrefix(trimmed, "--- SKIP"):
				now.cut++
			}
		}
		if line != "" && (verbose || !strings.HasPrefix(line, "=== ")) {
			fmt.Fprintln(w, line)
		}
		if err != nil {
			return results, up
		}
	}
}

func find(results []result, name string) *result {
	for i := range results {
		if results[i].name == name {
			return &results[i]
		}
	}
	return nil
}
