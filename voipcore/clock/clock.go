// Package clock keeps protocol time: the time by which records of the DHT are
// dated and judged, on boards that have no clock of their own.
//
// Boards before the Raspberry Pi 5 wake up in the past, and nobody who owns one
// should have to know. So the time is at first the latest of three that cannot
// be in the future by themselves: the system clock, the time of the build, and
// the time of the last state file. As soon as relays in at least three different
// networks have told their times, it is the median of those, counted on with the
// monotonic clock and the time that the machine was suspended: then the system
// clock does not matter any more, nor what sets it. The system clock is never set.
//
// Who controls fewer than half of the networks asked cannot move the time
// beyond what some honest relay said. Who controls exactly half can hold a
// correction back towards the uncorrected time, and no more. Who controls the
// majority decides.
//
// The package asks nobody: whoever talks to relays calls Told.
package clock

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// quorum is the number of networks that a correction needs: the least of
	// which one may lie.
	quorum = 3

	// maxNetworks bounds memory; 64 networks are more than a node talks to
	// in the time of maxAge.
	maxNetworks = 64

	// maxAge is how long a sample counts. A crystal of 100 ppm drifts 9 s in
	// that time; records are judged by minutes.
	maxAge = 24 * time.Hour
)

// latest is the last time that is taken as one: the end of the year 9999, up to
// which the time package can print it.
var latest = time.Unix(253402300799, 0)

// A Config says where a clock starts. Its zero value is the system clock alone.
type Config struct {
	// Build is when the program was built, a time that has surely passed.
	// What a relay tells is not taken if it is earlier.
	Build time.Time

	// LastWrite is the protocol time at which state was last written, that is
	// a Now of an earlier run. It gives way to what relays tell: a clock that
	// was once far ahead may have written it.
	LastWrite time.Time

	// TestNetworks makes every address and port a network of its own, so that
	// relays on one machine can be told apart.
	TestNetworks bool

	// Wall is the system clock; nil means time.Now. Tests skew it.
	Wall func() time.Time

	// Asleep is for how long the machine was suspended until now; nil means
	// Asleep of this package. Tests lengthen it.
	Asleep func() time.Duration
}

// A Clock tells protocol time. Its methods are safe for concurrent use. It has
// no goroutine.
type Clock struct {
	build        time.Time
	testNetworks bool
	wall         func() time.Time
	asleep       func() time.Duration
	started      time.Time     // of the real clock, for its monotonic reading only
	slept        time.Duration // asleep at started
	floor        time.Time     // the later of Build and LastWrite, at started

	mu        sync.Mutex
	samples   []sample  // at most one per network; guarded by mu
	corrected bool      // there has been a median; guarded by mu
	origin    time.Time // protocol time at started, if corrected; guarded by mu
}

// A sample is what a network told, as the time that it would have told at
// started.
type sample struct {
	network netip.AddrPort // of the prefix; the port is 0 except for tests
	origin  time.Time
	at      time.Duration // when, since started
}

// New returns a clock that starts as c says.
func New(c Config) *Clock {
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Asleep == nil {
		c.Asleep = Asleep
	}
	floor := c.Build
	if c.LastWrite.After(floor) {
		floor = c.LastWrite
	}
	return &Clock{
		build:        c.Build.Round(0),
		testNetworks: c.TestNetworks,
		wall:         c.Wall,
		asleep:       c.Asleep,
		started:      time.Now(),
		slept:        c.Asleep(),
		floor:        floor.Round(0), // without a monotonic reading of some other moment
	}
}

// Now returns the protocol time. It can go backwards when a correction comes,
// but never before Build.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked(c.elapsed())
}

// elapsed returns the time since started, also that spent asleep. Whatever sets
// the system clock does not change it.
func (c *Clock) elapsed() time.Duration {
	return time.Since(c.started) + c.asleep() - c.slept
}

// Asleep returns for how long the machine was suspended until now.
func (c *Clock) Asleep() time.Duration { return c.asleep() }

func (c *Clock) nowLocked(elapsed time.Duration) time.Time {
	now := c.uncorrected(elapsed)
	if c.corrected {
		now = c.origin.Add(elapsed)
	}
	if now.Before(c.build) {
		now = c.build
	}
	return now
}

// uncorrected returns the time as it is without relays. The floor moves on, so
// that time passes also on a board whose clock is behind it.
func (c *Clock) uncorrected(elapsed time.Duration) time.Time {
	now := c.wall().Round(0)
	if floor := c.floor.Add(elapsed); now.Before(floor) {
		now = floor
	}
	return now
}

// Told takes note that the relay at from says that it is t. Only what relays
// say that this node has chosen itself may be told: others could come from as
// many networks as they like. A later call for the same network (/16 of IPv4,
// /32 of IPv6) replaces the earlier one. Times before Build are ignored.
func (c *Clock) Told(from netip.AddrPort, t time.Time) {
	network, ok := c.network(from)
	if !ok || t.Before(c.build) || t.After(latest) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := c.elapsed()
	c.samples = slices.DeleteFunc(c.samples, func(s sample) bool {
		return s.network == network || elapsed-s.at > maxAge
	})
	if len(c.samples) == maxNetworks {
		c.samples = slices.Delete(c.samples, 0, 1) // the oldest: they are in order of time
	}
	c.samples = append(c.samples, sample{network, t.Round(0).Add(-elapsed), elapsed})
	if len(c.samples) >= quorum {
		c.origin, c.corrected = c.medianLocked(elapsed), true
	}
}

// medianLocked returns the middle one of the samples' origins. Of two in the
// middle it takes the one nearer to the uncorrected time, so that half of the
// networks cannot push the time away from where it would be without them.
func (c *Clock) medianLocked(elapsed time.Duration) time.Time {
	origins := make([]time.Time, len(c.samples))
	for i, s := range c.samples {
		origins[i] = s.origin
	}
	slices.SortFunc(origins, time.Time.Compare)
	low, high := origins[(len(origins)-1)/2], origins[len(origins)/2]
	base := c.uncorrected(elapsed).Add(-elapsed)
	if high.Sub(base).Abs() < low.Sub(base).Abs() {
		return high
	}
	return low
}

// A Status is what a person wants to know of a clock.
type Status struct {
	Now      time.Time
	Offset   time.Duration // protocol time less system clock
	Trusted  bool          // three networks or more have told their time within a day
	Networks int           // that have
}

// Status returns the state of the clock.
func (c *Clock) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := c.elapsed()
	fresh := 0
	for _, s := range c.samples {
		if elapsed-s.at <= maxAge {
			fresh++
		}
	}
	now := c.nowLocked(elapsed)
	return Status{now, now.Sub(c.wall().Round(0)), fresh >= quorum, fresh}
}

// Offset returns how far protocol time is ahead of the system clock.
func (c *Clock) Offset() time.Duration { return c.Status().Offset }

// Trusted reports whether relays in three networks or more have told their
// times within the last day. A correction stays when it grows older than that.
func (c *Clock) Trusted() bool { return c.Status().Trusted }

// network returns the network of an address: who has one address there can
// easily have others.
func (c *Clock) network(from netip.AddrPort) (netip.AddrPort, bool) {
	addr := from.Addr().Unmap().WithZone("")
	if c.testNetworks {
		return netip.AddrPortFrom(addr, from.Port()), addr.IsValid()
	}
	bits := 16
	if addr.Is6() {
		bits = 32
	}
	prefix, err := addr.Prefix(bits)
	return netip.AddrPortFrom(prefix.Addr(), 0), err == nil && addr.IsValid()
}
