package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hushbell/voipcore/pid"
)

func TestContacts(t *testing.T) {
	a, b := pid.NewKey().ID(), pid.NewKey().ID()
	path := filepath.Join(t.TempDir(), "contacts.toml")
	none, err := ReadContacts(path)
	if err != nil || len(none) != 0 {
		t.Fatalf("ReadContacts of no file = %v, %v", none, err)
	}
	cs, err := none.Add(Contact{Name: "Großmutter \"Oma\"", PID: a, Answer: true})
	if err != nil {
		t.Fatal(err)
	}
	if cs, err = cs.Add(Contact{Name: "workshop", PID: b}); err != nil {
		t.Fatal(err)
	}
	if err := WriteContacts(path, cs); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("the contacts have mode %v, want 0600", fi.Mode())
	}
	got, err := ReadContacts(path)
	if err != nil || !reflect.DeepEqual(got, cs) {
		t.Errorf("read back %v, %v", got, err)
	}
	if c, ok := got.ByName("WORKSHOP"); !ok || c.PID != b {
		t.Errorf("ByName = %v, %v", c.Name, ok)
	}
	if c, ok := got.ByPID(a); !ok || !c.Answer {
		t.Errorf("ByPID = %v, %v", c.Name, ok)
	}
	for name, c := range map[string]Contact{
		"a name that is taken": {Name: "Workshop", PID: pid.NewKey().ID()},
		"a pid that is taken":  {Name: "shop", PID: b},
		"no name":              {PID: pid.NewKey().ID()},
		"a line break":         {Name: "a\nb", PID: pid.NewKey().ID()},
		"not UTF-8":            {Name: "\xff", PID: pid.NewKey().ID()},
		"a pid as a name":      {Name: a.String(), PID: pid.NewKey().ID()},
	} {
		if _, err := got.Add(c); err == nil {
			t.Errorf("Add takes %s", name)
		}
	}
	if got, err = got.Remove("Workshop"); err != nil || len(got) != 1 || len(cs) != 2 {
		t.Errorf("Remove = %v, %v; and from what it was called on, %v", got, err, cs)
	}
	if _, err := got.Remove("workshop"); err == nil {
		t.Error("Remove of nobody is no error")
	}
}

func TestParseContactsWrong(t *testing.T) {
	id := pid.NewKey().ID()
	text := `[[contact]]
name = "a"
pid = "` + id.String() + `"
number = 7
[[contact]]
name = "a"
pid = "` + pid.NewKey().ID().String() + `"
[[contact]]
name = "c"
pid = "hush1nonsense"
`
	_, err := ParseContacts("f", text)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"contact.number", `contact 2, "a": there is a contact "a"`, `contact 3, "c": `} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not tell %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hush1") {
		t.Errorf("the error shows a pid: %v", err)
	}
}

func FuzzContacts(f *testing.F) {
	text, _ := Contacts{{"workshop", pid.KeyFromSeed([32]byte{1}).ID(), true}, {"Ω \"\\", pid.KeyFromSeed([32]byte{2}).ID(), false}}.Format()
	f.Add(text)
	f.Add("[[contact]]\nname = 3")
	f.Add("contact = 1")
	f.Fuzz(func(t *testing.T, text string) {
		cs, err := ParseContacts("f", text)
		if err != nil {
			return
		}
		again, err := cs.Format()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseContacts("f", again)
		if err != nil || !reflect.DeepEqual(back, cs) {
			t.Errorf("%q\nbecame %q: %v", text, again, err)
		}
	})
}
