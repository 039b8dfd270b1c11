package kx

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// described returns a signed descriptor of a fresh relay.
func described(t testing.TB, v4, v6 string) wire.Descriptor {
	t.Helper()
	d := wire.Descriptor{Port: simPort, ValidUntil: time.Now().Add(descriptorValid).Unix()}
	if v4 != "" {
		d.V4 = netip.MustParseAddr(v4)
	}
	if v6 != "" {
		d.V6 = netip.MustParseAddr(v6)
	}
	d.Sign(pid.NewKey())
	return d
}

// filled returns a directory with n relays in networks of their own.
func filled(t testing.TB, n int) *Directory {
	t.Helper()
	d, err := OpenDirectory("", false, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		d.Add(described(t, fmt.Sprintf("5.%d.0.1", i), ""))
	}
	return d
}

func TestDirectorySurvivesRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relays")
	d, err := OpenDirectory(file, false, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		d.Add(described(t, fmt.Sprintf("5.%d.0.1", i), fmt.Sprintf("2a0%d::1", i)))
	}
	before, err := d.Path(3, Relay{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}
	again, err := OpenDirectory(file, false, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sortedRelays(again), sortedRelays(d); got != want {
		t.Errorf("relays after a restart:\n%s\nwant\n%s", got, want)
	}
	after, err := again.Path(3, Relay{})
	if err != nil || after[0].Key != before[0].Key {
		t.Errorf("the guard changed with a restart, %v", err)
	}
	// What has not changed is not written.
	os.Remove(file)
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("an unchanged directory was written")
	}
}

func sortedRelays(d *Directory) string {
	var lines []string
	for _, r := range d.Relays() {
		lines = append(lines, fmt.Sprint(r))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// A Save that failed is done again.
func TestDirectorySaveFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	d, err := OpenDirectory(filepath.Join(dir, "relays"), false, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	d.Add(described(t, "5.1.0.1", ""))
	if err := d.Save(); err == nil {
		t.Fatal("Save into a folder that does not exist works")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if again, err := OpenDirectory(filepath.Join(dir, "relays"), false, pid.ID{}); err != nil || again.Len() != 1 {
		t.Errorf("%d relays after the second Save, %v", again.Len(), err)
	}
}

// A damaged file costs the lines that are damaged.
func TestDirectoryReadsDamagedFile(t *testing.T) {
	good, old, forged := described(t, "5.1.0.1", ""), described(t, "5.2.0.1", ""), described(t, "5.3.0.1", "")
	old.ValidUntil = 1000 // long ago: its address is better than none
	old.Sign(pid.NewKey())
	forged.Port++
	line := func(d wire.Descriptor) string {
		return "relay " + base64.StdEncoding.EncodeToString(d.Append(nil)) + "\n"
	}
	file := filepath.Join(t.TempDir(), "relays")
	text := line(forged) + "relay\nrelay %%%\nguard AAAA\nnonsense\n\x00\xff\n" + line(good)[:50] + "\n" +
		strings.Repeat("x", 100_000) + "\n" + line(old) + line(good) + line(good)[:100]
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDirectory(file, false, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != 2 || !d.Knows(addrs("5.1.0.1:7000")[0], time.Now()) {
		t.Errorf("%d relays were read, want 2", d.Len())
	}
	if d.Knows(addrs("5.2.0.1:7000")[0], time.Now()) {
		t.Error("a descriptor that is out of date counts as known")
	}
	if _, err := OpenDirectory(t.TempDir(), false, pid.ID{}); err == nil {
		t.Error("a folder was read as a file")
	}
}

func FuzzDirectoryFile(f *testing.F) {
	d := described(f, "5.1.0.1", "2a01::1")
	f.Add([]byte("relay " + base64.StdEncoding.EncodeToString(d.Append(nil)) + "\nguard " + base64.StdEncoding.EncodeToString(d.Key[:])))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &Directory{relays: map[pid.ID]*known{}}
		d.read(b)
		if len(d.relays) > directorySize || len(d.guards) > maxGuards {
			t.Errorf("%d relays, %d guards", len(d.relays), len(d.guards))
		}
		d.Path(3, Relay{})
	})
}

func TestDirectoryIsBounded(t *testing.T) {
	d := filled(t, 200)
	path, err := d.Path(3, Relay{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		d.Add(described(t, fmt.Sprintf("6.%d.%d.1", i/256, i%256), ""))
	}
	if d.Len() != directorySize {
		t.Errorf("%d relays, want %d", d.Len(), directorySize)
	}
	if again, err := d.Path(3, Relay{}); err != nil || again[0].Key != path[0].Key {
		t.Errorf("a flood of relays pushed the guard out, %v", err)
	}
}

// An older descriptor does not take the place of a newer one.
func TestDirectoryKeepsTheNewest(t *testing.T) {
	k := pid.NewKey()
	descriptor := func(port uint16, until int64) wire.Descriptor {
		d := wire.Descriptor{Port: port, V4: netip.MustParseAddr("5.1.0.1"), ValidUntil: until}
		d.Sign(k)
		return d
	}
	d := filled(t, 0)
	d.Add(descriptor(2, 2000))
	d.Add(descriptor(1, 1000))
	if got := d.Relays()[0].Addrs[0].Port(); got != 2 {
		t.Errorf("the older descriptor won")
	}
	d.Add(descriptor(3, 3000))
	if got := d.Relays()[0].Addrs[0].Port(); got != 3 || d.Len() != 1 {
		t.Errorf("the newer descriptor lost")
	}
}

// No two relays of a path share a key or a network, in either family, and its
// end is what was asked for.
func TestPathsHaveDistinctNetworks(t *testing.T) {
	d := filled(t, 0)
	for i := range 12 { // three relays in each of four networks
		d.Add(described(t, fmt.Sprintf("5.%d.%d.1", i%4, i), fmt.Sprintf("2a0%d:0:%d::1", i%4, i)))
	}
	end := Relay{pid.NewKey().ID(), addrs("[2a03:0:99::1]:7000")}
	for _, last := range []Relay{{}, end} {
		for range 200 {
			p, err := d.Path(3, last)
			if err != nil {
				t.Fatal(err)
			}
			if last.Key != (pid.ID{}) && p[2].Key != last.Key {
				t.Fatalf("the path ends at another relay")
			}
			seen := map[netip.AddrPort]bool{}
			for _, r := range p {
				for _, a := range r.Addrs {
					if n := network(a, false); seen[n] {
						t.Fatalf("path %v has two relays in %v", p, n)
					} else {
						seen[n] = true
					}
				}
			}
		}
	}
	// Four networks, one of them the end's: a longer path than there are
	// networks cannot be drawn.
	few := filled(t, 0)
	few.Add(described(t, "5.1.0.1", ""))
	few.Add(described(t, "5.1.9.1", ""))
	if p, err := few.Path(2, Relay{}); !errors.Is(err, ErrFewRelays) {
		t.Errorf("two relays of one network make a path: %v, %v", p, err)
	}
	for _, hops := range []int{-1, 0, 4} {
		if _, err := d.Path(hops, Relay{}); err == nil {
			t.Errorf("a path of %d hops was drawn", hops)
		}
	}
}

func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"5.1.2.3:1", "5.1.9.9:2", true}, {"5.1.2.3:1", "5.2.2.3:1", false},
		{"[2a01:1::1]:1", "[2a01:1:9::1]:2", true}, {"[2a01:1::1]:1", "[2a01:2::1]:1", false},
	} {
		a, b := netip.MustParseAddrPort(c.a), netip.MustParseAddrPort(c.b)
		if got := network(a, false) == network(b, false); got != c.same {
			t.Errorf("%v and %v share a network: %v", a, b, got)
		}
		if network(a, true) == network(b, true) {
			t.Errorf("%v and %v share a test network", a, b)
		}
	}
}

// All hops but the first are drawn evenly: the rarest and the most frequent
// relay differ by what chance makes them differ.
func TestChoiceIsNotSkewed(t *testing.T) {
	const relays, draws = 40, 8000
	d := filled(t, relays)
	middle, end := map[pid.ID]int{}, map[pid.ID]int{}
	for range draws {
		p, err := d.Path(3, Relay{})
		if err != nil {
			t.Fatal(err)
		}
		middle[p[1].Key]++
		end[p[2].Key]++
	}
	for name, count := range map[string]map[pid.ID]int{"middle": middle, "end": end} {
		if len(count) != relays-1 {
			t.Errorf("%d relays were drawn as %s, want all but the guard", len(count), name)
		}
		// 205 each; the standard deviation is 14, and 6 of them are chance
		// once in a million years.
		mean := float64(draws) / (relays - 1)
		for key, n := range count {
			if float64(n) < mean-6*14 || float64(n) > mean+6*14 {
				t.Errorf("%s: relay %x was drawn %d times, the mean is %.0f", name, key[:4], n, mean)
			}
		}
	}
}

func TestPathAvoids(t *testing.T) {
	d := filled(t, 6)
	p, err := d.Path(3, Relay{})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		q, err := d.Path(3, Relay{}, p[1].Key, p[2].Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range q {
			if r.Key == p[1].Key || r.Key == p[2].Key {
				t.Fatal("a relay that was to be avoided was drawn")
			}
		}
	}
	var all []pid.ID
	for _, r := range d.Relays() {
		all = append(all, r.Key)
	}
	if _, err := d.Path(3, Relay{}, all...); err != nil {
		t.Errorf("with nothing else to take, what is to be avoided is taken: %v", err)
	}
}

// The end of a path is in another network than the relays that are avoided, as
// those of two lookups are, while there is one; the guard is not changed for it.
func TestPathEndsInAnotherNetwork(t *testing.T) {
	for hops := 1; hops <= 3; hops++ {
		d := filled(t, 0)
		for i := range 20 { // two relays in each of ten networks
			d.Add(described(t, fmt.Sprintf("5.%d.%d.1", i%10, i), ""))
		}
		guards := map[pid.ID]bool{}
		for range 300 {
			p, err := d.Path(hops, Relay{})
			if err != nil {
				t.Fatal(err)
			}
			q, err := d.Path(hops, Relay{}, p[hops-1].Key)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := p[hops-1].Addrs[0], q[hops-1].Addrs[0]; network(a, false) == network(b, false) {
				t.Fatalf("%d hops: the ends %v and %v are in one network", hops, a, b)
			}
			guards[p[0].Key], guards[q[0].Key] = true, true
		}
		if hops > 1 && len(guards) != 1 {
			t.Errorf("%d hops: %d guards in use, want one", hops, len(guards))
		}
	}
	one := filled(t, 0)
	one.Add(described(t, "5.1.0.1", ""))
	one.Add(described(t, "5.1.9.1", ""))
	p, err := one.Path(1, Relay{})
	if err != nil {
		t.Fatal(err)
	}
	if q, err := one.Path(1, Relay{}, p[0].Key); err != nil || q[0].Key == p[0].Key {
		t.Errorf("where there is one network, another relay of it is taken: %v, %v", q, err)
	}
}

// The first hop stays the same while it works, through hundreds of paths.
func TestGuardStays(t *testing.T) {
	d := filled(t, 50)
	first, err := d.Path(3, Relay{})
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		p, err := d.Path(3, Relay{})
		if err != nil || p[0].Key != first[0].Key {
			t.Fatalf("another first hop, %v", err)
		}
	}
}

// A guard that is dead makes place for another one; when it lives again, it is
// the first one again.
func TestDeadGuardMakesPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := filled(t, 50)
		first, _ := d.Path(3, Relay{})
		d.Failed(first[0])
		second, _ := d.Path(3, Relay{})
		if second[0].Key == first[0].Key {
			t.Error("the dead guard is drawn")
		}
		time.Sleep(failurePause + time.Second)
		if p, _ := d.Path(3, Relay{}); p[0].Key != first[0].Key {
			t.Error("the guard is not tried again after the pause")
		}
	})
}

// When our own network is down every relay fails. That must not wear out the
// guards: who could cut us off for an hour would choose our first hop.
func TestOwnOutageKeepsGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := filled(t, 50)
		first, _ := d.Path(3, Relay{})
		d.Worked(first[0].Key)
		seen := map[pid.ID]bool{}
		for range 500 { // an attempt every half minute, for four hours
			p, err := d.Path(3, Relay{})
			if err != nil {
				t.Fatal(err)
			}
			seen[p[0].Key] = true
			d.Failed(p[0])
			time.Sleep(30 * time.Second)
		}
		if len(seen) > maxGuards {
			t.Errorf("%d relays were first hops in one outage, want at most %d", len(seen), maxGuards)
		}
		if d.Len() != 50 {
			t.Errorf("%d of 50 relays are still known", d.Len())
		}
		time.Sleep(failurePause)
		if p, _ := d.Path(3, Relay{}); p[0].Key != first[0].Key {
			t.Error("after the outage the first hop is another one")
		}
	})
}

// A relay is down from a failure until it works, or its pause is over.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := filled(t, 2)
		r := d.Relays()[0]
		k := r.Key
		down := func(want bool) {
			t.Helper()
			if d.Down(k) != want {
				t.Errorf("down: %v", !want)
			}
		}
		down(false)
		d.Failed(r)
		down(true)
		d.Worked(k)
		down(false)
		d.Failed(r)
		time.Sleep(failurePause - time.Second)
		down(true)
		time.Sleep(time.Second)
		down(false)
		if d.Down(pid.ID{1}) {
			t.Error("a relay that is not known is down")
		}
		// Whoever names it at an address of his own gets it no bad name.
		d.Failed(Relay{k, []netip.AddrPort{netip.MustParseAddrPort("99.1.0.1:4433")}})
		down(false)
	})
}

// One that fails again and again, while others work, is forgotten.
func TestDeadRelaysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := filled(t, 20)
		rs := d.Relays()
		dead, other := rs[0], pid.ID{2} // some relay works, none of these
		for i := range maxFailures {
			if d.Len() != 20 {
				t.Errorf("forgotten after %d failures", i)
			}
			d.Failed(dead)
			for range 50 {
				if p, _ := d.Path(1, Relay{}); p[0].Key == dead.Key {
					t.Fatal("a relay that has just failed is drawn")
				}
			}
			time.Sleep(time.Minute)
			d.Worked(other)
		}
		if d.Len() != 19 {
			t.Errorf("%d relays are known, want 19", d.Len())
		}
		// All dead guards in turn make place, when the sample is full.
		seen := map[pid.ID]bool{}
		for range 200 {
			p, err := d.Path(3, Relay{})
			if err != nil {
				t.Fatal(err)
			}
			seen[p[0].Key] = true
			d.Failed(p[0])
			time.Sleep(30 * time.Second)
			d.Worked(other)
		}
		if len(seen) <= maxGuards {
			t.Errorf("with all guards dead only %d were ever tried", len(seen))
		}
		d.Failed(Relay{Key: pid.ID{1}}) // one that is not known
		d.Worked(pid.ID{1})
	})
}

// Our own relay is the end of paths as others are, and nothing else in them, though
// it was a guard of an earlier file.
func TestPathsThroughOurselves(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relays")
	k := pid.NewKey()
	self := k.ID()
	if err := os.WriteFile(file, fmt.Appendf(nil, "guard %s\n", base64.StdEncoding.EncodeToString(self[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDirectory(file, false, self)
	if err != nil {
		t.Fatal(err)
	}
	own := described(t, "5.1.0.1", "")
	own.Sign(k)
	d.Add(own)
	for i := range 4 {
		d.Add(described(t, fmt.Sprintf("5.%d.0.1", i+2), ""))
	}
	ends := 0
	for range 300 {
		path, err := d.Path(3, Relay{})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range path {
			switch {
			case r.Key == self && i < len(path)-1:
				t.Fatalf("our own relay is hop %d of a path", i+1)
			case r.Key == self:
				ends++
			}
		}
	}
	if ends < 30 { // 100 are to come
		t.Errorf("our own relay is the end of %d of 300 paths", ends)
	}
}

// Each pid of a box saves the cache when it is published, at midnight all at once.
func TestDirectorySavedByTwoAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relays")
	d, err := OpenDirectory(file, true, pid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 30 {
				d.Add(described(t, "5.5.0.1", ""))
				if err := d.Save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	again, err := OpenDirectory(file, true, pid.ID{})
	if err != nil || again.Len() != d.Len() {
		t.Errorf("the file has %d relays, want %d, %v", again.Len(), d.Len(), err)
	}
}
