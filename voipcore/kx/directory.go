package kx

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"hushbell/voipcore/durable"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

const (
	directorySize = 200 // descriptors kept, at most
	maxGuards     = 6   // first hops that we keep to, the later ones in place of dead ones
	// failurePause is how long a relay that could not be reached is left out.
	failurePause = 5 * time.Minute
	// maxFailures in a row make us forget a relay that is no guard.
	maxFailures = 5
)

// A Directory is a node's cache of relays. Paths and exchange points are drawn
// from it alone, never fetched for one use: whoever we asked would know what
// for. It survives restarts in a file, so a dead bootstrap is not a dead box.
// Its methods are safe for concurrent use.
type Directory struct {
	file string // "" keeps it in memory
	test bool   // every address is a network of its own
	self pid.ID // our own relay's; zero if there is none

	saving sync.Mutex // held by who writes the file, over mu

	mu     sync.Mutex // guards what follows
	relays map[pid.ID]*known
	guards []pid.ID  // in order of preference
	dirty  bool      // differs from the file
	worked time.Time // when a relay was last reached
	added  time.Time // when a relay last told its descriptor
}

// known is what we know of one relay.
type known struct {
	wire.Descriptor
	failed   time.Time // when it could last not be reached
	failures int       // in a row, not counting those while nothing worked
}

// down reports whether it could last not be reached, a short time ago.
func (k *known) down() bool { return !k.failed.IsZero() && time.Since(k.failed) < failurePause }

func (k *known) relay() Relay {
	r := Relay{Key: k.Key}
	if k.V4.IsValid() {
		r.Addrs = append(r.Addrs, netip.AddrPortFrom(k.V4, k.Port))
	}
	if k.V6.IsValid() {
		r.Addrs = append(r.Addrs, netip.AddrPortFrom(k.V6, k.Port))
	}
	return r
}

// OpenDirectory reads the cache from file, which need not exist. Lines that do
// not decode are skipped: relays are found again. In a test network addresses
// of one host count as different networks. self is the key of this node's own
// relay, zero if it is none.
func OpenDirectory(file string, testNetwork bool, self pid.ID) (*Directory, error) {
	d := &Directory{file: file, test: testNetwork, self: self, relays: map[pid.ID]*known{}}
	if file == "" {
		return d, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kx: relay cache: %w", err)
	}
	d.read(b)
	return d, nil
}

func (d *Directory) read(file []byte) {
	for line := range strings.Lines(string(file)) {
		d.readLine(strings.TrimSuffix(line, "\n"))
	}
}

// readLine reads "relay BASE64" or "guard BASE64".
func (d *Directory) readLine(line string) {
	kind, text, _ := strings.Cut(line, " ")
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return
	}
	switch {
	case kind == "relay" && len(b) == wire.DescriptorSize && len(d.relays) < directorySize:
		// Also one that is out of date: its key and address are probably still
		// right, and may be all that a box has after a long time off.
		desc, err := wire.DecodeDescriptor((*[wire.DescriptorSize]byte)(b))
		if err == nil && desc.Verify(time.Unix(0, 0)) == nil {
			d.relays[desc.Key] = &known{Descriptor: desc}
		}
	case kind == "guard" && len(b) == len(pid.ID{}) && pid.ID(b) != d.self && len(d.guards) < maxGuards:
		d.guards = append(d.guards, pid.ID(b))
	}
}

// Save writes the cache to its file if it has changed.
func (d *Directory) Save() error {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	var b bytes.Buffer
	for _, g := range d.guards {
		fmt.Fprintf(&b, "guard %s\n", base64.StdEncoding.EncodeToString(g[:]))
	}
	for _, k := range d.relays {
		fmt.Fprintf(&b, "relay %s\n", base64.StdEncoding.EncodeToString(k.Append(nil)))
	}
	dirty := d.dirty && d.file != ""
	d.dirty = false
	d.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := durable.WriteFile(d.file, b.Bytes(), 0o600); err != nil {
		d.mu.Lock()
		d.dirty = true
		d.mu.Unlock()
		return fmt.Errorf("kx: relay cache: %w", err)
	}
	return nil
}

// Add takes a descriptor whose signature and time were checked. In a full
// cache it takes the place of a random relay that is no guard.
func (d *Directory) Add(desc wire.Descriptor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.relays[desc.Key]; old != nil && old.ValidUntil > desc.ValidUntil {
		return
	}
	if d.relays[desc.Key] == nil && len(d.relays) >= directorySize {
		for key := range d.relays { // Go's order of a map is random enough here
			if !slices.Contains(d.guards, key) {
				delete(d.relays, key)
				break
			}
		}
	}
	d.relays[desc.Key] = &known{Descriptor: desc}
	d.dirty, d.added = true, time.Now()
}

// Len returns how many relays are known.
func (d *Directory) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.relays)
}

// Relays returns all that are known, in random order.
func (d *Directory) Relays() []Relay {
	d.mu.Lock()
	defer d.mu.Unlock()
	rs := make([]Relay, 0, len(d.relays))
	for _, k := range d.relays {
		rs = append(rs, k.relay())
	}
	rand.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
	return rs
}

// Knows reports whether a relay at a is known whose descriptor is valid for
// longer than now.
func (d *Directory) Knows(a netip.AddrPort, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.relays {
		if k.Port == a.Port() && (k.V4 == a.Addr() || k.V6 == a.Addr()) && k.ValidUntil > now.Unix() {
			return true
		}
	}
	return false
}

// Failed notes that a relay could not be reached: it is left out for a while,
// and forgotten after several times unless it is a guard. Failures in a row
// count once until something works again: it may be our own network that is
// down, and who could cut us off for an hour must not wear out our guards. A
// failure at an address that is not the relay's, as a stranger's record may name
// one, says nothing of it.
func (d *Directory) Failed(r Relay) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.relays[r.Key]
	if k == nil || !slices.ContainsFunc(k.relay().Addrs, func(a netip.AddrPort) bool { return slices.Contains(r.Addrs, a) }) {
		return
	}
	if k.failures == 0 || d.worked.After(k.failed) {
		k.failures++
	}
	k.failed = time.Now()
	if k.failures >= maxFailures && !slices.Contains(d.guards, r.Key) {
		delete(d.relays, r.Key)
		d.dirty = true
	}
}

// Down reports whether a relay is left out since it could not be reached.
func (d *Directory) Down(key pid.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.relays[key]
	return k != nil && k.down()
}

// Worked notes that a relay was reached.
func (d *Directory) Worked(key pid.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.worked = time.Now()
	if k := d.relays[key]; k != nil {
		k.failed, k.failures = time.Time{}, 0
	}
}

// RenewGuards drops the guards if every one of them could last not be reached,
// though another relay has told its descriptor since a time: so it is not our
// own network that is down. Guards are kept for good otherwise.
func (d *Directory) RenewGuards(since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.added.Before(since) {
		return
	}
	for _, g := range d.guards {
		if k := d.relays[g]; k != nil && k.failed.IsZero() {
			return
		}
	}
	d.guards, d.dirty = nil, true
}

// Path draws a path of so many hops that ends at last: a guard, then random
// relays. No two of them share a key or a network. avoid names relays that are
// not taken, unless there are too few others; the same goes for relays that
// failed of late, for it may have been our own network that failed. With last's
// key zero the end is drawn too, in other networks than those of avoid if it can
// be: relays of one network are likely to have one owner.
//
// Our own relay can be the end, as any other one, for who watches which ends are
// never taken would learn where we are. It is no hop before: the next one would see
// our address as that of the hop before it, and there is a hop less than it seems.
func (d *Directory) Path(hops int, last Relay, avoid ...pid.ID) ([]Relay, error) {
	if hops < 1 || hops > wire.MaxLayers {
		return nil, fmt.Errorf("kx: a path of %d hops: 1 to %d can be built", hops, wire.MaxLayers)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var apart []Relay
	for _, key := range avoid {
		if k := d.relays[key]; k != nil {
			apart = append(apart, k.relay())
		}
	}
	for _, w := range []draw{{avoid: avoid, apart: apart}, {avoid: avoid}, {}, {failed: true}} {
		if path, ok := d.pathLocked(hops, last, w); ok {
			return path, nil
		}
	}
	return nil, fmt.Errorf("%w: %d, for a path of %d hops in different networks", ErrFewRelays, len(d.relays), hops)
}

// A draw says which relays are not to be drawn.
type draw struct {
	avoid  []pid.ID
	apart  []Relay // whose networks the end must not share
	taken  []Relay // whose keys and networks no other hop must share
	failed bool    // take those that failed of late, too
}

// but returns w without the relays keys.
func (w draw) but(keys []pid.ID) draw {
	w.avoid = append(slices.Clone(w.avoid), keys...)
	return w
}

func (d *Directory) pathLocked(hops int, last Relay, w draw) ([]Relay, bool) {
	var path []Relay
	ends := last.Key != (pid.ID{})
	if ends {
		w.taken = append(w.taken, last)
	}
	for len(path) < hops {
		end, here := len(path) == hops-1, w
		if end {
			here.taken = append(slices.Clone(w.taken), w.apart...)
		} else {
			here.taken = append(slices.Clone(w.taken), Relay{Key: d.self})
		}
		var r Relay
		var ok bool
		switch {
		case end && ends:
			r, ok = last, true
		case !end && len(path) == 0:
			r, ok = d.guardLocked(here)
		default: // not another guard, if it can be: guards know who we are
			if r, ok = d.randomLocked(here.but(d.guards)); !ok {
				r, ok = d.randomLocked(here)
			}
		}
		if !ok {
			return nil, false
		}
		path, w.taken = append(path, r), append(w.taken, r)
	}
	return path, true
}

// guardLocked returns the first guard that fits. When none does, one is added
// to the sample; when that is full, in place of one that is dead for sure. Else
// it is the one whose failure is the longest ago, before a relay that is none.
func (d *Directory) guardLocked(w draw) (Relay, bool) {
	for _, g := range d.guards {
		if k := d.relays[g]; k != nil && d.fitsLocked(k, w) {
			return k.relay(), true
		}
	}
	if len(d.guards) == maxGuards {
		dead := slices.IndexFunc(d.guards, func(g pid.ID) bool {
			k := d.relays[g]
			return k == nil || k.failures >= maxFailures
		})
		if dead < 0 {
			return d.oldFailureLocked(w)
		}
		d.guards = slices.Delete(d.guards, dead, dead+1)
	}
	r, ok := d.randomLocked(w.but(d.guards))
	if !ok {
		return r, false
	}
	d.guards = append(d.guards, r.Key)
	d.dirty = true
	return r, true
}

// oldFailureLocked returns the guard that failed first, of those that fit
// beside what is taken; if none fits it is any relay, for once.
func (d *Directory) oldFailureLocked(w draw) (Relay, bool) {
	anyway := w
	anyway.failed = true
	var best *known
	for _, g := range d.guards {
		if k := d.relays[g]; k != nil && d.fitsLocked(k, anyway) && (best == nil || k.failed.Before(best.failed)) {
			best = k
		}
	}
	if best == nil {
		return d.randomLocked(w)
	}
	return best.relay(), true
}

func (d *Directory) randomLocked(w draw) (Relay, bool) {
	var fit []*known
	for _, k := range d.relays {
		if d.fitsLocked(k, w) {
			fit = append(fit, k)
		}
	}
	if len(fit) == 0 {
		return Relay{}, false
	}
	return fit[rand.IntN(len(fit))].relay(), true
}

func (d *Directory) fitsLocked(k *known, w draw) bool {
	if slices.Contains(w.avoid, k.Key) || !w.failed && k.down() {
		return false
	}
	for _, r := range w.taken {
		if r.Key == k.Key {
			return false
		}
		for _, a := range r.Addrs {
			for _, b := range k.relay().Addrs {
				if a.Addr().Is4() == b.Addr().Is4() && network(a, d.test) == network(b, d.test) {
					return false
				}
			}
		}
	}
	return true
}
