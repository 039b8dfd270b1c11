package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Asleep returns for how long this machine has been suspended since it was
// started, in whole seconds. Timers and the monotonic clock stand still then,
// and say nothing of it afterwards.
func Asleep() time.Duration {
	// CLOCK_BOOTTIME is CLOCK_MONOTONIC with the time asleep, clock_gettime(2).
	var awake, all unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil {
		return 0
	}
	// Whole seconds, for some time passes between the two calls, too.
	return time.Duration(all.Nano() - awake.Nano()).Truncate(time.Second)
}
