package alsa

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Where the kernel shows its cards; tests lay out their own.
type roots struct{ sys, proc, dev string }

var system = roots{sys: "/sys/class/sound", proc: "/proc", dev: "/dev/snd"}

// direction tells playing from recording.
type direction byte

const (
	plays   direction = 'p' // as in pcmC0D0p
	records direction = 'c'
)

// node is one PCM of a card.
type node struct {
	card     int    // today's number, never shown
	id       string // of the card
	device   int    // number of the PCM on the card, fixed by its driver
	playback bool
	capture  bool
}

// name is what opens the node again: the card's id, and the PCM if not the first.
func (n node) name() string {
	if n.device == 0 {
		return n.id
	}
	return n.id + "," + strconv.Itoa(n.device)
}

func (n node) can(d direction) bool {
	if d == plays {
		return n.playback
	}
	return n.capture
}

func (n node) path(r roots, d direction) string {
	return fmt.Sprintf("%s/pcmC%dD%d%c", r.dev, n.card, n.device, d)
}

// nodes lists all PCMs, in the order in which the kernel found the cards.
func (r roots) nodes() ([]node, error) {
	entries, err := os.ReadDir(r.sys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no sound in this kernel, or none loaded
	}
	if err != nil {
		return nil, fmt.Errorf("alsa: list cards: %w", err)
	}
	ids := map[int]string{}
	found := map[[2]int]*node{}
	for _, e := range entries {
		var card, device int
		var d direction
		if n, _ := fmt.Sscanf(e.Name(), "pcmC%dD%d%c", &card, &device, &d); n != 3 {
			continue
		}
		id, ok := ids[card]
		if !ok {
			id = r.cardID(card)
			ids[card] = id
		}
		if id == "" {
			continue // left while we looked
		}
		key := [2]int{card, device}
		if found[key] == nil {
			found[key] = &node{card: card, id: id, device: device}
		}
		switch d {
		case plays:
			found[key].playback = true
		case records:
			found[key].capture = true
		}
	}
	var list []node
	for _, n := range found {
		list = append(list, *n)
	}
	slices.SortFunc(list, func(a, b node) int {
		return cmp.Or(cmp.Compare(a.card, b.card), cmp.Compare(a.device, b.device))
	})
	return list, nil
}

// cardID reads the id of a card, "" when there is no such card.
func (r roots) cardID(card int) string {
	b, err := os.ReadFile(filepath.Join(r.sys, fmt.Sprintf("card%d", card), "id"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// parseName splits "Device" or "Device,1", with or without "hw:" before it, into
// the id of a card and the number of a PCM on it.
func parseName(name string) (id string, device int, err error) {
	id, dev, has := strings.Cut(strings.TrimPrefix(name, "hw:"), ",")
	if has {
		if device, err = strconv.Atoi(dev); err != nil || device < 0 || device > 255 {
			return "", 0, fmt.Errorf("%q is no PCM of a card", dev)
		}
	}
	digits := true
	for _, c := range []byte(id) {
		// What the kernel lets an id be made of.
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return "", 0, fmt.Errorf("no card is called %q", id)
		}
		digits = digits && c >= '0' && c <= '9'
	}
	switch {
	case id == "":
		return "", 0, errors.New("a name without a card")
	case digits:
		return "", 0, fmt.Errorf("cards are named by id, not by number: %q", id)
	}
	return id, device, nil
}

// find looks a named PCM up that can do d.
func (r roots) find(name string, d direction) (node, error) {
	id, device, err := parseName(name)
	if err != nil {
		return node{}, err
	}
	list, err := r.nodes()
	if err != nil {
		return node{}, err
	}
	var have []string
	for _, n := range list {
		if n.id != id || n.device != device {
			have = append(have, n.name())
			continue
		}
		if !n.can(d) {
			return node{}, fmt.Errorf("it %s: %w", map[direction]string{plays: "only records", records: "only plays"}[d], ErrNoCard)
		}
		return n, nil
	}
	if len(have) == 0 {
		return node{}, fmt.Errorf("%w: %w, there is none", syscall.ENODEV, ErrNoCard)
	}
	return node{}, fmt.Errorf("%w: %w of that name among %s", syscall.ENODEV, ErrNoCard, strings.Join(have, " "))
}

// holder tells which process has a PCM open, "" if the kernel does not say. The
// kernel notes the thread that opened it.
func (r roots) holder(n node, d direction) string {
	files, _ := filepath.Glob(fmt.Sprintf("%s/asound/card%d/pcm%d%c/sub*/status", r.proc, n.card, n.device, d))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if pid := field(b, "owner_pid"); pid != "" {
			return r.process(pid)
		}
	}
	return ""
}

// process names the process of a thread.
func (r roots) process(thread string) string {
	b, err := os.ReadFile(filepath.Join(r.proc, filepath.Base(thread), "status"))
	if err != nil {
		return "process " + thread
	}
	pid := field(b, "Tgid")
	if pid == strconv.Itoa(os.Getpid()) {
		return "this process"
	}
	return fmt.Sprintf("%s (process %s)", field(b, "Name"), pid)
}

// field reads one "name : value" line of a /proc file.
func field(b []byte, name string) string {
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && string(bytes.TrimSpace(key)) == name {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// title is the card's name for people, "" when the card cannot be asked.
func (r roots) title(card int) string {
	m, err := openControl(fmt.Sprintf("%s/controlC%d", r.dev, card))
	if err != nil {
		return ""
	}
	defer m.Close()
	var info cardInfo
	if m.control(reqCardInfo, unsafe.Pointer(&info)) != nil {
		return ""
	}
	return text(info.name[:])
}

// text is a C string in a field.
func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
