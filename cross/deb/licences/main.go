// Command licences prints the licences of all that is linked into a program,
// each text once, with the modules that are under it:
//
//	licences MODULE-FOLDER PACKAGE
package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: licences MODULE-FOLDER PACKAGE")
		os.Exit(2)
	}
	text, err := licences(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
	os.Stdout.WriteString(text)
}

func licences(dir, program string) (string, error) {
	c := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", program)
	c.Dir, c.Stderr = dir, os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w", c.Args, err)
	}
	goRoot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	under := map[string][]string{} // modules by the text of their licence
	modules := map[string]string{"The Go standard library": strings.TrimSpace(string(goRoot))}
	for line := range strings.Lines(string(out)) {
		if module, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			modules[module] = dir
		}
	}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		text, err := licence(modules[module])
		if err != nil {
			return "", fmt.Errorf("%s: %w", module, err)
		}
		under[text] = append(under[text], module)
	}
	texts := slices.SortedFunc(maps.Keys(under), func(a, b string) int { return strings.Compare(under[a][0], under[b][0]) })
	var b strings.Builder
	b.WriteString("The program contains these works, under the licences that follow their names.\n")
	for _, text := range texts {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s%s", strings.Repeat("=", 72), strings.Join(under[text], "\n"), source(under[text], text), text)
	}
	return b.String(), nil
}

// major ends the path of a module, and not that of its repository.
var major = regexp.MustCompile(`/v[0-9]+$`)

// source says where the source of modules is, if their licence wants that said: the
// Mozilla Public License does, in 3.2 (a).
func source(modules []string, text string) string {
	if !strings.Contains(text, "Mozilla Public License") {
		return ""
	}
	var b strings.Builder
	b.WriteString("Their source, from which nothing was changed, is at\n")
	for _, module := range modules {
		path, version, _ := strings.Cut(module, " ")
		fmt.Fprintf(&b, "https://%s, as its version %s\n", major.ReplaceAllString(path, ""), version)
	}
	return b.String() + "\n"
}

// licence returns the licence and the notices in a module's folder.
func licence(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		all.WriteString(strings.TrimSpace(string(text)) + "\n")
	}
	if all.Len() == 0 {
		return "", fmt.Errorf("%s has no licence", dir)
	}
	return all.String(), nil
}
