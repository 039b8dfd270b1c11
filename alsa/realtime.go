package alsa

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Priority is the real-time priority that Raise asks for: above PulseAudio's (5),
// far below that of the threads that serve interrupts (50).
const Priority = 10

// A Thread is one that was raised. The zero value is none.
type Thread struct {
	id       int
	before   unix.SchedAttr
	Priority int // that it has now
}

// Raise gives the calling goroutine a thread of its own, and the thread real-time
// priority (SCHED_RR, Priority or as much as RLIMIT_RTPRIO lets it have), so that
// Read and Write, which wait in their caller's thread, are served first on a busy
// machine. A goroutine that ends without Lower takes its thread along, but for the
// first thread of the process, which waits for ever then.
//
// A garbage collection while such a thread wakes up can hold up the whole process for a
// second and more, as Go's runtime then waits at the thread's priority for one of lower:
// have none while it works (debug.SetGCPercent).
//
// The error unwraps to EPERM if it is not allowed; then nothing has changed.
func Raise() (Thread, error) {
	runtime.LockOSThread()
	t, err := raise()
	if err != nil {
		runtime.UnlockOSThread()
		return Thread{}, fmt.Errorf("alsa: real-time priority: %w", err)
	}
	return t, nil
}

func raise() (Thread, error) {
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return Thread{}, err
	}
	t := Thread{id: unix.Gettid(), before: *before, Priority: Priority}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTPRIO, &limit); err != nil {
		return Thread{}, err
	}
	if limit.Cur < Priority && limit.Max > limit.Cur { // the soft limit is ours to move
		limit.Cur = min(limit.Max, Priority)
		if err := unix.Setrlimit(unix.RLIMIT_RTPRIO, &limit); err != nil {
			return Thread{}, err
		}
	}
	// Who has CAP_SYS_NICE is not limited: the limit counts only when it hurts.
	err = t.set(unix.SCHED_RR, t.Priority)
	if errors.Is(err, syscall.EPERM) && limit.Cur > 0 && limit.Cur < Priority {
		t.Priority = int(limit.Cur)
		err = t.set(unix.SCHED_RR, t.Priority)
	}
	return t, err
}

// set gives the calling thread a policy. What it starts is not to inherit that.
func (t *Thread) set(policy, priority int) error {
	a := t.before
	a.Policy, a.Priority = uint32(policy), uint32(priority)
	a.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
	return unix.SchedSetAttr(0, &a, 0)
}

// Lower undoes Raise. It does so on the goroutine that was raised only; anywhere
// else, and on the zero Thread, it does nothing.
func (t Thread) Lower() {
	if t.id == 0 || t.id != unix.Gettid() {
		return
	}
	// This cannot be refused; were it so, the thread would end with its goroutine.
	if t.set(int(t.before.Policy), int(t.before.Priority)) == nil {
		runtime.UnlockOSThread()
	}
}
