package alsa

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// An Element is one setting of a card's mixer, as the kernel has it.
type Element struct {
	// Name is the kernel's: "Speaker Playback Volume", "Mic Capture Switch".
	Name string
	// Index tells elements of the same name apart; mostly 0.
	Index int
	// Switch is true for one that is on or off, false for one that has a level.
	Switch bool
	// Channels is how many values it has: 2 for left and right.
	Channels int
	// Min and Max are the ends of a level in the card's own steps.
	Min, Max int
	// Values are the levels now, or 0 and 1 for a switch.
	Values []int
	// Writable is false for what the card only shows.
	Writable bool

	id elemID
}

// Percent is the first channel's level between Min and Max, 0 to 100.
func (e Element) Percent() int {
	if len(e.Values) == 0 || e.Max <= e.Min {
		return 0
	}
	span := e.Max - e.Min
	return ((e.Values[0]-e.Min)*100 + span/2) / span
}

// ErrNoElement says that a mixer has no element of that name and kind.
var ErrNoElement = errors.New("no such mixer element")

// A Mixer sets the levels and switches of one card. Its methods may be called
// from several goroutines; each is one look at the card and leaves nothing.
type Mixer struct {
	card string
	ctl  *controlFile
}

// OpenMixer opens the mixer of a card by its id. Opening does not disturb who
// plays on the card.
func OpenMixer(card string) (*Mixer, error) {
	fail := func(err error) (*Mixer, error) { return nil, &Error{Op: "open mixer of", Device: card, Err: err} }
	id, _, err := parseName(card)
	if err != nil {
		return fail(err)
	}
	number, err := system.number(id)
	if err != nil {
		return fail(err)
	}
	ctl, err := openControl(fmt.Sprintf("%s/controlC%d", system.dev, number))
	if err != nil {
		return fail(err)
	}
	return &Mixer{card: id, ctl: ctl}, nil
}

// number is where a card is today. A card may have a mixer and no PCM.
func (r roots) number(id string) (int, error) {
	entries, err := os.ReadDir(r.sys)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for _, e := range entries {
		var n int
		if k, _ := fmt.Sscanf(e.Name(), "card%d", &n); k == 1 && r.cardID(n) == id {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: %w", syscall.ENODEV, ErrNoCard)
}

// maxElements bounds what is asked of a card; the largest HATs have some 200.
const maxElements = 4096

// Elements lists the levels and switches of the card.
func (m *Mixer) Elements() ([]Element, error) {
	ids, err := m.ids()
	if err != nil {
		return nil, &Error{Op: "list mixer of", Device: m.card, Err: err}
	}
	var list []Element
	for _, id := range ids {
		e, ok, err := m.element(id)
		if err != nil {
			return nil, &Error{Op: "list mixer of", Device: m.card, Err: fmt.Errorf("%s: %w", text(id.name[:]), err)}
		}
		if ok {
			list = append(list, e)
		}
	}
	return list, nil
}

// ids asks for the names of all elements.
func (m *Mixer) ids() ([]elemID, error) {
	var l elemList
	if err := m.ctl.control(reqElemList, unsafe.Pointer(&l)); err != nil {
		return nil, err
	}
	if l.count == 0 {
		return nil, nil
	}
	ids := make([]elemID, min(l.count, maxElements))
	l = elemList{space: uint32(len(ids)), ids: unsafe.Pointer(unsafe.SliceData(ids))}
	err := m.ctl.control(reqElemList, unsafe.Pointer(&l))
	runtime.KeepAlive(ids)
	if err != nil {
		return nil, err
	}
	return ids[:min(int(l.used), len(ids))], nil
}

// element reads one; ok is false for a kind that is neither level nor switch, and for
// one that cannot be read: it left meanwhile, or the card has it and answers for it with
// an error, as many with USB do.
func (m *Mixer) element(id elemID) (e Element, ok bool, err error) {
	info := elemInfo{id: id}
	if err := m.ctl.control(reqElemInfo, unsafe.Pointer(&info)); err != nil {
		return Element{}, false, gone(err)
	}
	if id.iface != ifaceMixer || info.typ != elemBoolean && info.typ != elemInteger {
		return Element{}, false, nil
	}
	e = Element{
		Name: text(id.name[:]), Index: int(id.index), Switch: info.typ == elemBoolean,
		Channels: int(min(info.count, 128)), Min: info.min, Max: info.max,
		Writable: info.access&elemWritable != 0, id: id,
	}
	if info.access&elemReadable == 0 {
		return e, true, nil
	}
	v := elemValue{id: id}
	if err := m.ctl.control(reqElemRead, unsafe.Pointer(&v)); err != nil {
		return Element{}, false, gone(err)
	}
	e.Values = append(e.Values, v.value[:e.Channels]...)
	return e, true, nil
}

// gone is the error of an element that is one of the whole card; nil if there is none.
func gone(err error) error {
	if errors.Is(err, syscall.ENODEV) || errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// Volume returns the level of an element, 0 to 100 of its range. The name is the
// kernel's, or the short one that amixer shows: "Speaker" finds "Speaker Playback
// Volume", then "Speaker Volume", then "Speaker Capture Volume".
func (m *Mixer) Volume(name string) (percent int, err error) {
	e, err := m.find(name, false)
	if err != nil {
		return 0, err
	}
	return e.Percent(), nil
}

// SetVolume sets all channels of an element to 0 to 100 of its range.
func (m *Mixer) SetVolume(name string, percent int) error {
	e, err := m.find(name, false)
	if err != nil {
		return err
	}
	if percent < 0 || percent > 100 {
		return &Error{Op: "set mixer of", Device: m.card, Err: fmt.Errorf("%s to %d %%: %w", e.Name, percent, syscall.EINVAL)}
	}
	return m.write(e, e.Min+((e.Max-e.Min)*percent+50)/100)
}

// Muted tells whether the switch of an element is off. Names are as for Volume,
// with Switch for Volume.
func (m *Mixer) Muted(name string) (bool, error) {
	e, err := m.find(name, true)
	if err != nil {
		return false, err
	}
	for _, v := range e.Values {
		if v != 0 {
			return false, nil
		}
	}
	return true, nil
}

// SetMute turns the switch of an element off, or on again.
func (m *Mixer) SetMute(name string, mute bool) error {
	e, err := m.find(name, true)
	if err != nil {
		return err
	}
	if mute {
		return m.write(e, 0)
	}
	return m.write(e, 1)
}

// find looks an element up by the kernel's name or the short one.
func (m *Mixer) find(name string, isSwitch bool) (Element, error) {
	list, err := m.Elements()
	if err != nil {
		return Element{}, err
	}
	kind := "Volume"
	if isSwitch {
		kind = "Switch"
	}
	for _, want := range []string{name, name + " Playback " + kind, name + " " + kind, name + " Capture " + kind} {
		for _, e := range list {
			if e.Name == want && e.Switch == isSwitch {
				return e, nil
			}
		}
	}
	return Element{}, &Error{Op: "mixer of", Device: m.card, Err: fmt.Errorf("%w: %s %s", ErrNoElement, name, strings.ToLower(kind))}
}

func (m *Mixer) write(e Element, value int) error {
	v := elemValue{id: e.id}
	for i := range e.Channels {
		v.value[i] = value
	}
	if err := m.ctl.control(reqElemWrite, unsafe.Pointer(&v)); err != nil {
		return &Error{Op: "set mixer of", Device: m.card, Err: fmt.Errorf("%s: %w", e.Name, err)}
	}
	return nil
}

// Close closes the mixer. Safe twice.
func (m *Mixer) Close() error { return m.ctl.Close() }

// controlFile is an open /dev/snd/controlC*.
type controlFile struct {
	f   *os.File
	raw syscall.RawConn
}

func openControl(path string) (*controlFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bare(err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &controlFile{f, raw}, nil
}

func (c *controlFile) control(req uintptr, arg unsafe.Pointer) error { return control(c.raw, req, arg) }

func (c *controlFile) Close() error {
	if err := c.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// control runs one ioctl that does not wait.
func control(raw syscall.RawConn, req uintptr, arg unsafe.Pointer) error {
	var errno syscall.Errno
	err := raw.Control(func(fd uintptr) { errno = ioctl(fd, req, arg) })
	if err != nil {
		return ErrClosed
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// bare strips a path error to its errno: whoever reports it names the device.
func bare(err error) error {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
