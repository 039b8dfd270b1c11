package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"hushbell/voipcore/durable"
	"hushbell/voipcore/pid"
)

// A Contact is somebody whom this box knows.
type Contact struct {
	Name   string `toml:"name"`
	PID    pid.ID `toml:"pid"`
	Answer bool   `toml:"answer"` // a call from them is answered by itself
}

// Contacts are all of them, in the order in which they were added. Names and
// pids are there once only; names that differ in case are the same.
type Contacts []Contact

// maxContacts bounds the file, and what a box compares a caller with.
const maxContacts = 1000

// ReadContacts reads the contacts that WriteContacts wrote. No file is no
// contacts.
func ReadContacts(path string) (Contacts, error) {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ParseContacts(path, text)
}

// ParseContacts is ReadContacts of a text; name stands for the file in errors,
// which tell everything that is wrong, but no pid.
func ParseContacts(name, text string) (Contacts, error) {
	// The pid is text here, so that one that is wrong does not hide the others.
	var file struct {
		Contact []struct {
			Name, PID string
			Answer    bool
		}
	}
	md, err := toml.Decode(text, &file)
	if parse := (toml.ParseError{}); errors.As(err, &parse) {
		return nil, fmt.Errorf("config: %s:%d: %s", name, max(1, parse.Position.Line), parse.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w", name, err)
	}
	var errs []error
	for _, k := range md.Undecoded() {
		errs = append(errs, fmt.Errorf("%s: there is no %s in a contact: name, pid and answer are", name, k))
	}
	var all Contacts
	for i, c := range file.Contact {
		id, err := pid.Parse(c.PID)
		if err == nil {
			all, err = all.Add(Contact{c.Name, id, c.Answer})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: contact %d, %q: %w", name, i+1, c.Name, err))
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("config: %w", errors.Join(errs...))
	}
	return all, nil
}

const contactsHead = "# Who may be called by name, and whose calls are answered by themselves.\n" +
	"# Written by \"hushbell contact\", which also tells a running box.\n"

// Format returns the text that ParseContacts takes.
func (cs Contacts) Format() (string, error) {
	var b strings.Builder
	b.WriteString(contactsHead)
	for _, c := range cs {
		b.WriteString("\n[[contact]]\n")
		e := toml.NewEncoder(&b)
		e.Indent = ""
		if err := e.Encode(c); err != nil {
			return "", fmt.Errorf("config: contact %q: %w", c.Name, err)
		}
	}
	return b.String(), nil
}

// WriteContacts makes cs the contacts in a file that only its owner can read:
// it says who knows whom. A power cut leaves the old ones or the new ones.
func WriteContacts(path string, cs Contacts) error {
	text, err := cs.Format()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// Add returns cs with one more. It refuses a name or pid that is there.
func (cs Contacts) Add(c Contact) (Contacts, error) {
	if err := CheckName(c.Name); err != nil {
		return cs, err
	}
	if len(cs) >= maxContacts {
		return cs, fmt.Errorf("there are %d contacts: remove some first", maxContacts)
	}
	if old, ok := cs.ByName(c.Name); ok {
		return cs, fmt.Errorf("there is a contact %q: remove it first, or take another name", old.Name)
	}
	if old, ok := cs.ByPID(c.PID); ok {
		return cs, fmt.Errorf("%q has this pid: remove it first", old.Name)
	}
	return append(slices.Clone(cs), c), nil
}

// Remove returns cs without the one of that name.
func (cs Contacts) Remove(name string) (Contacts, error) {
	i := slices.IndexFunc(cs, func(c Contact) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return cs, fmt.Errorf("there is no contact %q", name)
	}
	return slices.Delete(slices.Clone(cs), i, i+1), nil
}

// ByName returns the contact of a name, whatever its case.
func (cs Contacts) ByName(name string) (Contact, bool) {
	return cs.find(func(c Contact) bool { return strings.EqualFold(c.Name, name) })
}

// ByPID returns the contact who has a pid.
func (cs Contacts) ByPID(id pid.ID) (Contact, bool) {
	return cs.find(func(c Contact) bool { return c.PID == id })
}

func (cs Contacts) find(f func(Contact) bool) (Contact, bool) {
	if i := slices.IndexFunc(cs, f); i >= 0 {
		return cs[i], true
	}
	return Contact{}, false
}

// CheckName reports whether a name can be that of a contact. What looks like a
// pid cannot: one could not tell which of the two is called.
func CheckName(name string) error {
	switch {
	case name == "" || utf8.RuneCountInString(name) > 40:
		return fmt.Errorf("%q cannot be a name: take 1 to 40 letters", name)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%q cannot be a name: it has letters that cannot be shown", name)
	case strings.TrimSpace(name) != name || strings.HasPrefix(name, "-"):
		return fmt.Errorf("%q cannot be a name: it begins or ends with a blank, or begins with -", name)
	}
	if _, err := pid.Parse(name); err == nil {
		return errors.New("a pid cannot be a name")
	}
	return nil
}
