// Command man writes the manual page of hushbell from what the program says of
// itself: the help of each command is a section.
//
//	man -date 2026-01-31 -version 1.0 BINARY >hushbell.1
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	date := flag.String("date", "", "of the page")
	version := flag.String("version", "", "of the program")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	text, err := page(flag.Arg(0), *date, *version)
	if err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
	os.Stdout.WriteString(text)
}

func page(binary, date, version string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH HUSHBELL 1 %q \"hushbell %s\" \"Hushbell\"\n", date, version)
	root, err := help(binary)
	if err != nil {
		return "", err
	}
	b.WriteString(".SH NAME\nhushbell \\- intercom that nobody can listen to and nobody can trace\n")
	b.WriteString(".SH SYNOPSIS\n.B hushbell\n.I command\n[\\fIflags\\fR]\n")
	b.WriteString(".SH DESCRIPTION\n" + prose(root.text))
	b.WriteString(".SH COMMANDS\n")
	if err := commands(&b, binary, nil, root); err != nil {
		return "", err
	}
	b.WriteString(files)
	return b.String(), nil
}

// commands writes a section for each command below one.
func commands(b *strings.Builder, binary string, above []string, h sections) error {
	for _, name := range h.commands() {
		path := append(above[:len(above):len(above)], name)
		below, err := help(binary, path...)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, ".SS hushbell %s\n%s", strings.Join(path, " "), prose(below.text))
		for _, s := range []string{"Usage", "Examples", "Flags"} {
			if body := below.named[s]; body != "" {
				fmt.Fprintf(b, ".PP\n%s:\n%s", s, verbatim(body))
			}
		}
		if err := commands(b, binary, path, below); err != nil {
			return err
		}
	}
	return nil
}

// sections are the parts of a help text.
type sections struct {
	text  string            // before the first heading, which is Usage
	named map[string]string // by heading
	order []string          // of the headings
}

// skipped are commands that the program has from its library, and says enough
// of by itself.
var skipped = map[string]bool{"help": true, "completion": true}

// commands are what all sections list that are not about the command itself.
func (s sections) commands() (names []string) {
	for _, heading := range s.order {
		if own[heading] {
			continue
		}
		for line := range strings.Lines(s.named[heading]) {
			if f := strings.Fields(line); len(f) > 0 && !skipped[f[0]] {
				names = append(names, f[0])
			}
		}
	}
	return names
}

func help(binary string, command ...string) (sections, error) {
	c := exec.Command(binary, append(command, "--help")...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return sections{}, fmt.Errorf("%v: %w", c.Args, err)
	}
	s := sections{named: map[string]string{}}
	heading := ""
	for line := range strings.Lines(string(out)) {
		switch name, ok := strings.CutSuffix(line, ":\n"); {
		case ok && (heading != "" || name == "Usage") && !strings.HasPrefix(name, " "):
			heading = name
			s.order = append(s.order, name)
		case strings.HasPrefix(line, `Use "`):
		case heading == "":
			s.text += line
		default:
			s.named[heading] += line
		}
	}
	return s, nil
}

// own are the headings that list no commands.
var own = map[string]bool{"Usage": true, "Examples": true, "Flags": true, "Global Flags": true}

// prose fills paragraphs, and leaves lines that are indented as they are.
func prose(text string) string {
	var b strings.Builder
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, " ") || strings.Contains(p, "  ") {
			b.WriteString(verbatim(p))
		} else {
			b.WriteString(escape(p) + "\n")
		}
	}
	return b.String()
}

func verbatim(text string) string { return ".nf\n" + escape(strings.Trim(text, "\n")) + "\n.fi\n" }

// escape keeps roff from taking text for requests.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

const files = `.SH FILES
.TP
.I /etc/hushbell/hushbell.toml
Configuration of the box; each line is explained there.
.TP
.I /etc/hushbell/relay.toml
Configuration of a relay alone, for hushbell\-relay.service.
.TP
.I /var/lib/hushbell
Keys, contacts and caches of the box. Keep a copy of pids/ where only you can read it.
.TP
.I /var/lib/hushbell\-relay
Key and caches of a relay alone.
.TP
.I /run/hushbell/control.sock
Control socket of the box, for root and the group hushbell.
.TP
.I /etc/credstore/hushbell.pid, hushbell.relay, hushbell.contacts
Key of the box, key of the relay and contacts, for who keeps them there (systemd.exec(5), CREDENTIALS) and has no place for them in the state folder.
.SH EXIT STATUS
0 if all went well, 1 if something failed, 2 if the command is wrong, 78 if the configuration is.
`
