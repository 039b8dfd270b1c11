package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"hushbell/voipcore/wire"
)

const root = "../.." // voipcore

// folder returns where a package that the texts name lies.
func folder(pkg string) string {
	switch pkg {
	case "voipcore":
		return root
	case "conformance":
		return "."
	case "keytls", "simnet":
		return filepath.Join(root, "internal", pkg)
	}
	return filepath.Join(root, pkg)
}

// parsed returns the declarations of a package's folder, tests or not.
func parsed(t *testing.T, pkg string, tests bool) (decls []ast.Decl) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder(pkg), "*.go"))
	check(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		check(t, err)
		decls = append(decls, f.Decls...)
	}
	return decls
}

// testsOf returns the names of the tests of a package.
func testsOf(t *testing.T, pkg string) map[string]bool {
	names := map[string]bool{}
	for _, d := range parsed(t, pkg, true) {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			names[f.Name.Name] = true
		}
	}
	return names
}

// constantsOf returns the constants of a package as they are written.
func constantsOf(t *testing.T, pkg string) map[string]string {
	values := map[string]string{}
	for _, d := range parsed(t, pkg, false) {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, x := range v.Values {
				var b strings.Builder
				check(t, printer.Fprint(&b, token.NewFileSet(), x))
				values[v.Names[i].Name] = b.String()
			}
		}
	}
	return values
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	check(t, err)
	return string(b)
}

var named = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)`")

// testsExist reports the tests that a text names and that there are not.
func testsExist(t *testing.T, name string) {
	t.Helper()
	known := map[string]map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(text(t, name), -1) {
		pkg, test := m[1], m[2]
		if known[pkg] == nil {
			known[pkg] = testsOf(t, pkg)
		}
		if !known[pkg][test] {
			t.Errorf("%s names %s.%s, which is not in %s", name, pkg, test, folder(pkg))
		}
	}
	if len(known) < 5 {
		t.Errorf("%s names tests of %d packages: is the text still as it is read here?", name, len(known))
	}
}

func TestThreatsText(t *testing.T) { testsExist(t, "THREATS.md") }

// TestProtocolText holds PROTOCOL.md against the code: the tests that it names
// exist, each section names one, and its tables say what the code does.
func TestProtocolText(t *testing.T) {
	testsExist(t, "PROTOCOL.md")
	page := text(t, "PROTOCOL.md")
	sections := strings.Split(page, "\n## ")[1:]
	for _, s := range sections {
		title, _, _ := strings.Cut(s, "\n")
		if !named.MatchString(s) {
			t.Errorf("section %q names no test", title)
		}
	}
	var rows [][]string
	for line := range strings.Lines(page) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| ") && strings.HasSuffix(line, " |") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	constants(t, rows)
	types(t, rows)
	commands(t, rows)
	reasons(t, rows)
}

// sizes are the constants that the text gives as numbers.
var sizes = map[string]int{
	"wire.CellSize": wire.CellSize, "wire.CellDataSize": wire.CellDataSize, "wire.Credit": wire.Credit,
	"wire.VoiceCellSize": wire.VoiceCellSize, "wire.BodySize": wire.BodySize, "wire.FrameSize": wire.FrameSize,
	"wire.PayloadSize": wire.PayloadSize, "wire.MaxLayers": wire.MaxLayers, "wire.DescriptorSize": wire.DescriptorSize,
	"wire.RecordSize": wire.RecordSize, "wire.MaxItemValue": wire.MaxItemValue, "wire.MaxHopMessageSize": wire.MaxHopMessageSize,
	"wire.MaxMessageSize": wire.MaxMessageSize, "wire.MaxTraceHops": wire.MaxTraceHops,
	"wire.MaxExchangePoints": wire.MaxExchangePoints, "wire.MaxTTL": wire.MaxTTL,
}

func constants(t *testing.T, rows [][]string) {
	found := 0
	for _, r := range rows {
		name, ok := strings.CutPrefix(r[0], "`")
		name = strings.TrimSuffix(name, "`")
		pkg, short, dotted := strings.Cut(name, ".")
		if !ok || !dotted || len(r) < 3 {
			continue
		}
		if want, ok := sizes[name]; ok {
			found++
			if r[1] != strconv.Itoa(want) {
				t.Errorf("%s is %d, the text says %s", name, want, r[1])
			}
			continue
		}
		if want, ok := constantsOf(t, pkg)[short]; !ok || r[1] != "`"+want+"`" {
			t.Errorf("%s is %q, the text says %s", name, want, r[1])
		}
	}
	if found != len(sizes) {
		t.Errorf("the text has %d of %d sizes", found, len(sizes))
	}
}

// sizeOf is wire's judgement of a size for a type.
func sizeOf(typ wire.Type, size int) error {
	head := [4]byte(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(size)), uint16(typ)))
	_, err := wire.MessageSize(&head)
	if errors.Is(err, wire.ErrType) {
		_, err = wire.HopMessageSize(&head)
	}
	return err
}

// types compares the tables of types: number, name, and for which sizes wire
// takes a message. All types that wire knows must be there.
func types(t *testing.T, rows [][]string) {
	told := map[wire.Type]bool{}
	for _, r := range rows {
		n, err := strconv.Atoi(r[0])
		if err != nil || len(r) < 4 || !strings.HasPrefix(r[1], "MSG_") {
			continue
		}
		typ := wire.Type(n)
		told[typ] = true
		if typ.String() != r[1] {
			t.Errorf("type %d is %v, the text says %s", n, typ, r[1])
		}
		var lo, hi int
		step := 1
		if k, _ := fmt.Sscanf(r[2], "%d-%d step %d", &lo, &hi, &step); k == 1 {
			hi = lo
		} else if k == 0 {
			t.Errorf("type %d has no size in the text, but %q", n, r[2])
			continue
		}
		for size := range 2048 {
			want := size >= lo && size <= hi && (size-lo)%step == 0
			if err := sizeOf(typ, size); (err == nil) != want {
				t.Errorf("%v of %d bytes: %v, the text says %s", typ, size, err, r[2])
				break
			}
		}
	}
	for n := range 1 << 16 {
		typ := wire.Type(n)
		if !errors.Is(sizeOf(typ, 0), wire.ErrType) && !told[typ] {
			t.Errorf("the text does not have %v", typ)
		}
	}
}

var commandNames = map[string]wire.Command{
	"PADDING": wire.CellPadding, "HELLO": wire.CellHello, "CREATE": wire.CellCreate, "DATA": wire.CellData,
	"CREDIT": wire.CellCredit, "DESTROY": wire.CellDestroy, "VOICE": wire.CellVoice,
}

func commands(t *testing.T, rows [][]string) {
	told := map[wire.Command]bool{}
	for _, r := range rows {
		cmd, ok := commandNames[at(r, 1)]
		if !ok || len(r) != 5 {
			continue
		}
		told[cmd] = true
		if r[0] != strconv.Itoa(int(cmd)) {
			t.Errorf("%s is %d, the text says %s", r[1], cmd, r[0])
		}
		var lo, hi int
		if k, _ := fmt.Sscanf(r[2], "%d-%d", &lo, &hi); k == 1 {
			hi = lo
		}
		tunnel := uint32(1)
		if r[3] == "0" {
			tunnel = 0
		}
		for n := range wire.CellDataSize + 2 {
			if want := n >= lo && n <= hi; want == errors.Is(decoded(tunnel, byte(cmd), n), wire.ErrSize) {
				t.Errorf("%s with %d bytes of data: %v, the text says %s", r[1], n, decoded(tunnel, byte(cmd), n), r[2])
				break
			}
		}
		if err := decoded(1-tunnel, byte(cmd), lo); !errors.Is(err, wire.ErrValue) {
			t.Errorf("%s on tunnel %d: %v, the text says %s", r[1], 1-tunnel, err, r[3])
		}
	}
	for n := range 256 {
		if !errors.Is(decoded(1, byte(n), 0), wire.ErrType) && !told[wire.Command(n)] {
			t.Errorf("the text does not have command %d", n)
		}
	}
}

// decoded is wire's judgement of a cell with n zero bytes of data.
func decoded(tunnel uint32, command byte, n int) error {
	var raw [wire.CellSize]byte
	binary.BigEndian.PutUint32(raw[:], tunnel)
	raw[4] = command
	binary.BigEndian.PutUint16(raw[5:], uint16(n))
	var c wire.Cell
	return c.Decode(&raw)
}

func reasons(t *testing.T, rows [][]string) {
	told := 0
	for _, r := range rows {
		n, err := strconv.Atoi(r[0])
		if err != nil || len(r) != 2 {
			continue
		}
		told++
		if got := wire.Reason(n).String(); got != r[1] {
			t.Errorf("reason %d is %q, the text says %q", n, got, r[1])
		}
	}
	if next := wire.Reason(told).String(); next != fmt.Sprintf("reason %d", told) {
		t.Errorf("the text has %d reasons, but there is also %q", told, next)
	}
}

func at(r []string, i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}
