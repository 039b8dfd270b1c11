// Package cross holds the checks that look at the whole tree at once.
package cross

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers says which of our packages each package may import. It is the
// architecture: a new arrow is a reviewed line here.
var layers = map[string]string{
	"alsa":                      "alsa/pulse",
	"alsa/pulse":                "",
	"alsa/internal/soundserver": "",
	"gpio":                      "",
	"systemd":                   "",
	"board":                     "alsa gpio voipcore/voice voipcore/voice/wav",

	"voipcore/durable":         "",
	"voipcore/internal/keytls": "voipcore/pid",
	"voipcore/internal/simnet": "",

	"voipcore/pid":                   "voipcore/durable",
	"voipcore/clock":                 "",
	"voipcore/wire":                  "voipcore/pid",
	"voipcore/dht":                   "voipcore/pid voipcore/durable",
	"voipcore/kx":                    "voipcore/pid voipcore/wire voipcore/durable voipcore/internal/keytls",
	"voipcore/session":               "voipcore/pid voipcore/wire voipcore/internal/keytls",
	"voipcore/call":                  "",
	"voipcore/voice":                 "voipcore/wire",
	"voipcore/voice/celt":            "",
	"voipcore/voice/celt/celtenc":    "voipcore/voice voipcore/voice/celt voipcore/voice/wav",
	"voipcore/voice/heard":           "",
	"voipcore/voice/wav":             "",
	"voipcore/voice/internal/metric": "",
	"voipcore": "voipcore/pid voipcore/wire voipcore/clock voipcore/dht voipcore/kx voipcore/session" +
		" voipcore/call voipcore/voice voipcore/durable",

	"device":              "device/tone voipcore voipcore/call voipcore/pid voipcore/voice",
	"device/config":       "voipcore/pid voipcore/durable",
	"device/tone":         "voipcore/voice voipcore/voice/wav",
	"device/control":      "",
	"device/missed":       "voipcore/durable",
	"device/doctor":       "alsa board gpio device device/config device/control voipcore voipcore/pid",
	"device/cmd/hushbell": "alsa board device device/config device/control device/doctor device/missed device/tone gpio systemd voipcore voipcore/call voipcore/pid voipcore/voice voipcore/voice/celt voipcore/voice/heard voipcore/voice/wav voipcore/durable",
}

// topLevel are the names that the tree may have at its top, beside dotfiles.
var topLevel = strings.Fields("device board voipcore alsa gpio systemd cross go.mod go.sum Makefile README.md LICENSE")

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		// bin and out are where builds and the demo write; git ignores them.
		if !strings.HasPrefix(name, ".") && name != "bin" && name != "out" && !slices.Contains(topLevel, name) {
			t.Errorf("%s does not belong at the top of the tree", name)
		}
	}
}

// The test reads the sources itself: had it asked go list, the test cache
// would not notice a new import and repeat yesterday's "ok".
func TestLayers(t *testing.T) {
	const module = "hushbell/"
	root, seen := os.DirFS(".."), map[string]bool{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name == "cross" || name != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir // checks and tools of the tree, nothing of the product
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		may, ok := layers[pkg]
		if !ok && !seen[pkg] {
			t.Errorf("%s has no row in layers", pkg)
		}
		seen[pkg] = true
		for _, imp := range file.Imports {
			dep, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
			if ours && !slices.Contains(strings.Fields(may), dep) {
				t.Errorf("%s must not import %s", name, dep)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("layers has a row for %s, which does not exist", pkg)
		}
	}
}
