package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
)

// maxFile is more than a configuration needs, and what is read at most.
const maxFile = 1 << 20

// Read reads and checks a configuration file. The error names everything that
// is wrong with it, a line each; without a file it matches fs.ErrNotExist.
func Read(path string) (Config, error) {
	text, err := readFile(path)
	if err != nil {
		return Config{}, err
	}
	return Parse(path, text)
}

func readFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe would wait for a writer
	if err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.Mode()&fs.ModeNamedPipe != 0 && len(b) == 0 {
		return "", fmt.Errorf("config: nobody writes to the pipe %s", path)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("config: %s has more than %d bytes", path, maxFile)
	}
	return string(b), nil
}

// Parse is Read of a text; name stands for the file in errors.
func Parse(name, text string) (Config, error) {
	c := Default()
	doc, err := decode(name, text)
	if err != nil {
		return Config{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(doc.values)) { // a table before what is in it
		doc.take(&c, key)
	}
	for _, p := range c.Check() {
		if !doc.faulty[p.Key] { // of that we have complained already
			doc.wrong(p.Key, "%s: %s", p.Key, p.Text)
		}
	}
	if len(doc.errs) > 0 {
		return Config{}, doc.err()
	}
	return c, nil
}

// A document is a decoded TOML text, with what is wrong with it so far.
type document struct {
	name   string
	md     toml.MetaData
	values map[string]toml.Primitive // by dotted key: tables, and what is in them
	faulty map[string]bool           // keys whose value could not be taken
	errs   []lineError
}

type lineError struct {
	line int // 0: the file as a whole
	text string
}

// decode reads TOML. What breaks the language itself is the one error that
// comes alone, since nothing after it can be trusted.
func decode(name, text string) (*document, error) {
	d := &document{name: name, values: map[string]toml.Primitive{}, faulty: map[string]bool{}}
	var top map[string]toml.Primitive
	var err error
	d.md, err = toml.Decode(text, &top)
	if parse := (toml.ParseError{}); errors.As(err, &parse) {
		return nil, fmt.Errorf("config: %s:%d: %s", name, max(1, parse.Position.Line), parse.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w", name, err)
	}
	d.spread("", top)
	return d, nil
}

// spread enters what is in a table, and in the tables in it.
func (d *document) spread(prefix string, table map[string]toml.Primitive) {
	for k, v := range table {
		key := prefix + toml.Key{k}.String()
		d.values[key] = v
		d.spread(key+".", d.table(v))
	}
}

// table returns what is in a table, nil if v is none. That it is none is no
// error to PrimitiveDecode (v1.6.0): it leaves the map as it was.
func (d *document) table(v toml.Primitive) (inner map[string]toml.Primitive) {
	if d.md.PrimitiveDecode(v, &inner) != nil {
		return nil
	}
	return inner
}

// take puts the value of a key into c.
func (d *document) take(c *Config, key string) {
	for table := key; strings.Contains(table, "."); {
		table = table[:strings.LastIndexByte(table, '.')]
		if d.faulty[table] {
			return // with all that is in it
		}
	}
	if strings.HasPrefix(key, "groups.") {
		return // is what groups has
	}
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		d.refuse(key)
		return
	}
	var v any
	if err := d.md.PrimitiveDecode(d.values[key], &v); err != nil {
		d.wrong(key, "%s: %v", key, err)
		return
	}
	for _, p := range set(settings[i].at(c), v) {
		d.faulty[key] = true
		d.wrong(key, "%s: %s", key, p)
	}
}

// refuse complains of a key that is not known, unless it is the header of a
// table that is.
func (d *document) refuse(key string) {
	if slices.ContainsFunc(settings, func(s setting) bool { return strings.HasPrefix(s.key, key+".") }) {
		if d.table(d.values[key]) == nil {
			d.faulty[key] = true
			d.wrong(key, "%s is a table: write [%s] on a line of its own, and its keys below", key, key)
		}
		return
	}
	d.faulty[key] = true
	table, _, _ := strings.Cut(key, ".")
	known := slices.ContainsFunc(settings, func(s setting) bool { return strings.HasPrefix(s.key, table+".") })
	if n, ok := strings.CutPrefix(table, "button"); ok && !known && n != "" && strings.Trim(n, "0123456789") == "" {
		d.wrong(key, "there is no %s: there are button, and button2 to button%d", table, MaxButtons)
		return
	}
	if near := nearest(key); near != "" {
		d.wrong(key, "there is no %s: do you mean %s?", key, near)
		return
	}
	d.wrong(key, "there is no %s", key)
}

// where is decoded into to learn the line of a value: TOML's errors know it.
type where struct{}

var errHere = errors.New("here")

func (where) UnmarshalTOML(any) error { return errHere }

func (d *document) line(key string) int {
	for { // a table that is missing a key stands for it
		if v, ok := d.values[key]; ok {
			var parse toml.ParseError
			errors.As(d.md.PrimitiveDecode(v, &where{}), &parse)
			return parse.Position.Line
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
}

func (d *document) wrong(key, format string, a ...any) {
	d.errs = append(d.errs, lineError{d.line(key), fmt.Sprintf(format, a...)})
}

// err is all that is wrong, in the order of the file.
func (d *document) err() error {
	slices.SortStableFunc(d.errs, func(a, b lineError) int { return cmp.Compare(a.line, b.line) })
	errs := make([]error, len(d.errs))
	for i, e := range d.errs {
		if e.line == 0 {
			errs[i] = fmt.Errorf("%s: %s", d.name, e.text)
		} else {
			errs[i] = fmt.Errorf("%s:%d: %s", d.name, e.line, e.text)
		}
	}
	return fmt.Errorf("config: %w", errors.Join(errs...))
}

// set puts a TOML value to where it belongs and returns what is wrong with it.
func set(at, v any) (wrong []string) {
	say := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	switch at := at.(type) {
	case *bool:
		b, ok := v.(bool)
		if !ok {
			say("want true or false")
		}
		*at = b
	case *int:
		n, ok := v.(int64)
		if !ok || int64(int32(n)) != n {
			say("want a whole number")
		}
		*at = int(int32(n))
	case *string:
		s, ok := v.(string)
		if !ok {
			say("want a text in quotes")
		}
		*at = s
	case **bool:
		*at = new(bool)
		wrong = set(*at, v)
	case *Unknown:
		var s string
		wrong = set(&s, v)
		*at = Unknown(s)
	case *Action:
		var s string
		wrong = set(&s, v)
		*at = Action(s)
	case *Schedule:
		list, ok := v.([]any)
		if !ok {
			say(`want a list of times, such as ["22:00-07:00", "sat-sun 13:00-15:00"]`)
		}
		for _, v := range list {
			s, _ := v.(string)
			w, err := ParseWindow(s)
			if err != nil {
				say("%v", err)
			}
			*at = append(*at, w)
		}
	case *map[string][]string:
		table, ok := v.(map[string]any)
		if !ok {
			say("want names of groups, each with a list of contacts: write [groups] on a line of its own, and below it house = [\"kitchen\", \"workshop\"]")
		}
		*at = map[string][]string{}
		for name, v := range table {
			(*at)[name] = nil
			list, ok := v.([]any)
			for _, v := range list {
				s, isText := v.(string)
				ok = ok && isText
				(*at)[name] = append((*at)[name], s)
			}
			if !ok {
				say("%s: want a list of contacts, such as [\"kitchen\", \"workshop\"]", name)
			}
		}
	case *Bias:
		var s string
		wrong = set(&s, v)
		*at = Bias(s)
	case *Line:
		switch v := v.(type) {
		case string:
			*at = Line(v)
		case int64:
			*at = Line(strconv.FormatInt(v, 10))
		default:
			say(`want the name of a line in quotes, such as "GPIO17", or its number`)
		}
	case *time.Duration:
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			say(`want a time in quotes, such as "20ms"`)
		}
		*at = d
	case *netip.AddrPort:
		a, err := parseAddr(v)
		if err != nil {
			say("%v", err)
		}
		*at = a
	case *[]netip.AddrPort:
		list, ok := v.([]any)
		if !ok {
			say(`want a list of addresses, such as ["192.0.2.7:4710", "[2001:db8::7]:4710"]`)
		}
		for _, v := range list {
			if a, err := parseAddr(v); err != nil {
				say("%v", err)
			} else {
				*at = append(*at, a)
			}
		}
	default:
		panic(fmt.Sprintf("config: a setting of type %T", at))
	}
	return wrong
}

func parseAddr(v any) (netip.AddrPort, error) {
	s, ok := v.(string)
	if !ok {
		return netip.AddrPort{}, errors.New(`want an address in quotes, such as "192.0.2.7:4710"`)
	}
	a, err := ParseAddr(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf(`%q is no address with port, such as "192.0.2.7:4710" or "[2001:db8::7]:4710"`, s)
	}
	return a, nil
}

// ParseAddr reads an address with its port. ":4710" is that port of all addresses.
func ParseAddr(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = "[::]" + s
	}
	return netip.ParseAddrPort(s)
}

// nearest returns the setting whose name is so close to key that key is most
// likely a slip, "" if there is none.
func nearest(key string) string {
	best, at := "", 0
	last := func(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
	try := func(name string) {
		// A key in the wrong table, or in none, has its last part right.
		n := min(Distance(key, name), 1+Distance(last(key), last(name)))
		if n <= max(1, len(last(name))/3) && (best == "" || n < at) {
			best, at = name, n
		}
	}
	for _, s := range settings {
		if table, _, ok := strings.Cut(s.key, "."); ok {
			try(table)
		}
		try(s.key)
	}
	return best
}

// Distance is how many letters must be put in, left out or changed to make a
// into b (Levenshtein); of a name that nobody writes by hand it is its length.
func Distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
