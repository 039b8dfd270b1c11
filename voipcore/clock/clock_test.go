package clock

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// In a bubble time starts at midnight of 2000-01-01 UTC and stands still but
// for Sleep, so that times can be compared exactly.

// relay returns the address of the nth relay, each in another network.
func relay(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(n >> 8), byte(n), 1, 1}), 7000)
}

func skewed(by time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(by) }
}

func assertNow(t *testing.T, c *Clock, want time.Time) {
	t.Helper()
	if got := c.Now(); !got.Equal(want) {
		t.Errorf("Now() = %v, want %v (off by %v)", got, want, got.Sub(want))
	}
}

func TestWithoutRelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early, late := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		for _, tt := range []struct {
			name             string
			build, lastWrite time.Time
			want             time.Time
		}{
			{"system clock alone", time.Time{}, time.Time{}, time.Now()},
			{"system clock is the latest", early, early, time.Now()},
			{"build is the latest", late, early, late},
			{"last write is the latest", early, late, late},
		} {
			c := New(Config{Build: tt.build, LastWrite: tt.lastWrite})
			assertNow(t, c, tt.want)
			if got, want := c.Offset(), time.Until(tt.want); got != want || c.Trusted() {
				t.Errorf("%s: Offset %v, Trusted %v, want %v, false", tt.name, got, c.Trusted(), want)
			}
		}
		c := New(Config{LastWrite: late})
		time.Sleep(time.Minute)
		assertNow(t, c, late.Add(time.Minute)) // it does not stand still
	})
}

// A board without a clock learns the time from the network after it was
// started: the system clock is stepped.
func TestSystemClockIsStepped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		wall := time.Unix(100, 0)
		c := New(Config{Build: now.Add(-24 * time.Hour), Wall: func() time.Time { return wall }})
		assertNow(t, c, now.Add(-24*time.Hour))
		wall = now
		assertNow(t, c, now)
		for n := range 3 {
			c.Told(relay(n), now.Add(time.Second))
		}
		wall = now.Add(50 * 365 * 24 * time.Hour)
		assertNow(t, c, now.Add(time.Second))
		wall = time.Unix(0, 0)
		assertNow(t, c, now.Add(time.Second))
	})
}

// While a machine is suspended protocol time goes on, before relays have told it
// and afterwards.
func TestTimeGoesOnAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asleep := time.Hour // before the clock was made: does not count
		start := time.Now()
		c := New(Config{Build: start, Wall: func() time.Time { return time.Unix(0, 0) }, Asleep: func() time.Duration { return asleep }})
		assertNow(t, c, start)
		asleep += 8 * time.Hour
		assertNow(t, c, start.Add(8*time.Hour))
		for n := range 3 {
			c.Told(relay(n), start.Add(9*time.Hour))
		}
		assertNow(t, c, start.Add(9*time.Hour))
		time.Sleep(time.Minute)
		asleep += 24 * time.Hour
		assertNow(t, c, start.Add(33*time.Hour+time.Minute))
		if c.Trusted() {
			t.Error("trusted, and it was told a day ago")
		}
	})
}

// What the kernel says: this machine was not asleep for longer than it is up.
func TestAsleep(t *testing.T) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	if got := Asleep(); got < 0 || got > time.Duration(info.Uptime)*time.Second || got%time.Second != 0 {
		t.Errorf("asleep for %v, up for %d s", got, info.Uptime)
	}
	if n := testing.AllocsPerRun(100, func() { Asleep() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSkewedClocksAgree(t *testing.T) {
	for name, wall := range map[string]func() time.Time{
		"12 hours behind": skewed(-12 * time.Hour),
		"12 hours ahead":  skewed(12 * time.Hour),
		"1970":            func() time.Time { return time.Unix(7, 0) },
		"right":           time.Now,
		"year 2200":       skewed(200 * 365 * 24 * time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := New(Config{
					Build:     time.Now().Add(-90 * 24 * time.Hour),
					LastWrite: wall(), // written while the clock was wrong already
					Wall:      wall,
				})
				truth := time.Now()
				c.Told(relay(1), truth)
				c.Told(relay(2), truth)
				if c.Trusted() {
					t.Error("two networks are trusted")
				}
				before := New(Config{Build: truth.Add(-90 * 24 * time.Hour), LastWrite: wall(), Wall: wall})
				assertNow(t, c, before.Now())
				c.Told(relay(3), truth)
				if !c.Trusted() {
					t.Error("three networks are not trusted")
				}
				assertNow(t, c, truth)
				if got, want := c.Offset(), truth.Sub(wall()); got != want {
					t.Errorf("Offset() = %v, want %v", got, want)
				}
				time.Sleep(time.Hour)
				assertNow(t, c, truth.Add(time.Hour))
			})
		})
	}
}

// Fewer than half of the networks cannot move the time out of the span of what
// the honest ones say, whatever they say and in whatever order they come.
func TestMinorityMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for round := range 2000 {
			c := New(Config{Wall: skewed(time.Duration(rng.Int64N(int64(48*time.Hour))) - 24*time.Hour)})
			total := 3 + rng.IntN(maxNetworks-2)
			liars := rng.IntN((total + 1) / 2)
			lie := time.Duration(rng.Int64N(int64(2000*time.Hour))) - 1000*time.Hour
			truth := time.Now()
			for _, n := range rng.Perm(total) {
				if n < liars {
					for range 1 + rng.IntN(3) { // telling it often changes nothing
						c.Told(relay(n), truth.Add(lie))
					}
				} else {
					c.Told(relay(n), truth.Add(time.Duration(rng.IntN(2001)-1000)*time.Millisecond))
				}
			}
			if off := c.Now().Sub(truth).Abs(); off > time.Second {
				t.Fatalf("round %d: %d liars of %d networks moved the time by %v", round, liars, total, off)
			}
		}
	})
}

// Half of the networks can keep the time where the system clock has it, but not
// move it away from both the truth and the system clock.
func TestHalfOnlyHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		truth := time.Now()
		for _, skew := range []time.Duration{0, -12 * time.Hour, 12 * time.Hour} {
			for _, lie := range []time.Duration{-1000 * time.Hour, -13 * time.Hour, -6 * time.Hour, 6 * time.Hour, 13 * time.Hour, 1000 * time.Hour} {
				c := New(Config{Wall: skewed(skew)})
				for n := range 8 {
					c.Told(relay(n), truth.Add(time.Duration(n%2)*lie))
				}
				off := c.Now().Sub(truth)
				if off.Abs() > skew.Abs()*2 {
					t.Errorf("system clock %v off, half of the networks say %v: time %v off", skew, lie, off)
				}
				if skew == 0 && off != 0 {
					t.Errorf("half of the networks moved a right clock by %v", off)
				}
			}
		}
	})
}

func TestOneVotePerNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		truth := time.Now()
		tell := func(c *Clock, addrs ...string) {
			for _, a := range addrs {
				c.Told(netip.MustParseAddrPort(a), truth.Add(time.Hour))
			}
		}
		for _, tt := range []struct {
			name  string
			addrs []string
			want  int
		}{
			{"one /16", []string{"10.1.0.1:1", "10.1.255.2:1", "10.1.3.4:5"}, 1},
			{"three /16", []string{"10.1.0.1:1", "10.2.0.1:1", "11.1.0.1:1"}, 3},
			{"one /32 of IPv6", []string{"[2001:db8::1]:1", "[2001:db8:ffff::1]:1", "[2001:db8:1:2:3:4:5:6]:9"}, 1},
			{"three /32", []string{"[2001:db8::1]:1", "[2001:db9::1]:1", "[2a00:db8::1]:1"}, 3},
			{"v4 and v4-mapped", []string{"10.1.0.1:1", "[::ffff:10.1.0.2]:1", "[::ffff:10.2.0.2]:1"}, 2},
			{"zones", []string{"[fe80::1%eth0]:1", "[fe80::1%eth1]:1"}, 1},
			{"families differ", []string{"1.2.0.0:1", "[102::]:1"}, 2},
		} {
			c := New(Config{})
			tell(c, tt.addrs...)
			if got := c.Status().Networks; got != tt.want {
				t.Errorf("%s: %d networks, want %d", tt.name, got, tt.want)
			}
		}
		addrs := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:3", "[::ffff:127.0.0.1]:2"}
		c := New(Config{TestNetworks: true})
		tell(c, addrs...)
		if s := c.Status(); s.Networks != 3 || !s.Trusted {
			t.Errorf("test networks: %+v, want 3 and trusted", s)
		}
		c = New(Config{})
		tell(c, addrs...)
		if s := c.Status(); s.Networks != 1 || s.Trusted {
			t.Errorf("real networks: %+v, want 1 and not trusted", s)
		}
	})
}

func TestNewestOfANetworkCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{})
		for _, off := range []time.Duration{time.Hour, time.Minute} {
			for n := range 3 {
				c.Told(relay(n), time.Now().Add(off))
			}
		}
		assertNow(t, c, time.Now().Add(time.Minute))
	})
}

func TestSamplesAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Wall: skewed(-12 * time.Hour)})
		for n := range 3 {
			c.Told(relay(n), time.Now())
		}
		time.Sleep(maxAge)
		if !c.Trusted() {
			t.Error("not trusted at the age of maxAge")
		}
		time.Sleep(time.Second)
		if s := c.Status(); s.Trusted || s.Networks != 0 {
			t.Errorf("after maxAge: %+v, want no networks and not trusted", s)
		}
		assertNow(t, c, time.Now()) // it does not fall back by 12 hours
		// Old samples have no vote any more.
		for n := range 3 {
			c.Told(relay(10+n), time.Now().Add(time.Minute))
		}
		assertNow(t, c, time.Now().Add(time.Minute))
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{})
		for n := range 10 * maxNetworks {
			c.Told(relay(n), time.Now())
		}
		if got := c.Status().Networks; got != maxNetworks {
			t.Errorf("%d networks kept, want %d", got, maxNetworks)
		}
		// The oldest went: the last ones are still there and replaced.
		for n := 9 * maxNetworks; n < 10*maxNetworks; n++ {
			c.Told(relay(n), time.Now().Add(time.Minute))
		}
		assertNow(t, c, time.Now().Add(time.Minute))
	})
}

func TestAbsurdTimesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		build := time.Now().Add(-time.Hour)
		c := New(Config{Build: build})
		for n, when := range []time.Time{{}, time.Unix(0, 0), build.Add(-1), latest.Add(time.Second), time.Unix(1<<62, 0), time.Unix(-1<<62, 0)} {
			c.Told(relay(n), when)
		}
		c.Told(netip.AddrPort{}, time.Now())
		if s := c.Status(); s.Networks != 0 {
			t.Errorf("%+v, want nothing taken", s)
		}
		// Even the majority cannot bring the time before the build.
		time.Sleep(time.Hour)
		for n := range 3 {
			c.Told(relay(n), build)
		}
		if now := c.Now(); now.Before(build) {
			t.Errorf("Now() = %v, before the build at %v", now, build)
		}
		// Nor can extremes overflow the arithmetic.
		far := New(Config{})
		for n := range 4 {
			far.Told(relay(n), []time.Time{time.Unix(0, 0), latest}[n%2])
		}
		if s := far.Status(); !s.Trusted || s.Now.Year() > 9999 || s.Now.Year() < 1970 {
			t.Errorf("with extremes: %+v", s)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	c := New(Config{TestNetworks: true})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := range 500 {
				c.Told(netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", 1+n%100+g)), time.Now())
				c.Now()
				c.Status()
			}
		})
	}
	wg.Wait()
	if off := time.Until(c.Now()).Abs(); off > time.Minute || !c.Trusted() {
		t.Errorf("%v off, trusted %v", off, c.Trusted())
	}
}
