package board

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Auto is the name that stands for the model that Detect finds. So does "".
const Auto = "auto"

// FindModel returns the model of that name, or for Auto and "" the one that
// tree, the machine's device tree, tells of.
func FindModel(name string, tree fs.FS) (Model, error) {
	if name == "" || name == Auto {
		return Detect(tree), nil
	}
	var names []string
	for _, m := range models {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Model{}, fmt.Errorf("board: there is no model %q: there is %s, or %s", name, strings.Join(names, ", "), Auto)
}

// Detect returns the model of the machine whose device tree is in tree, which
// is os.DirFS("/proc/device-tree") on a real one. It does not fail: without a
// device tree, or with one that is not known or not readable, the model is the
// generic one. Boards that only have a processor of ours are not known either:
// their pins may be anywhere.
func Detect(tree fs.FS) Model {
	// What the kernel goes by comes first; the model is a text that firmware
	// and overlays write.
	for _, c := range property(tree, "compatible") {
		for _, m := range models {
			for _, own := range m.Compatible {
				if c == own {
					return m
				}
			}
		}
	}
	for _, text := range property(tree, "model") {
		for _, m := range models {
			if m.Prefix != "" && (text == m.Prefix || strings.HasPrefix(text, m.Prefix+" ")) {
				return m
			}
		}
	}
	return models[len(models)-1]
}

// maxProperty bounds what is read of a file: a real one has a hundred bytes.
const maxProperty = 4096

// property reads a property of the tree's root: strings that end with NUL. It
// is nil if there is none.
func property(tree fs.FS, name string) []string {
	if tree == nil {
		return nil
	}
	f, err := tree.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	// What was read before an error may do.
	b, _ := io.ReadAll(io.LimitReader(f, maxProperty))
	var list []string
	for part := range bytes.SplitSeq(b, []byte{0}) {
		if s := strings.TrimSpace(string(part)); s != "" {
			list = append(list, s)
		}
	}
	return list
}
