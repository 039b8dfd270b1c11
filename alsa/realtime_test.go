package alsa

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// policies are the scheduling policies of the process's threads, and how many
// have each.
func policies(t *testing.T) map[string]int {
	t.Helper()
	count := map[string]int{}
	stats, _ := filepath.Glob("/proc/self/task/*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		// The name, in brackets, may have blanks. Policy is the 41st field (proc(5)).
		_, rest, _ := strings.Cut(string(b), ") ")
		count[strings.Fields(rest)[41-3]]++
	}
	return count
}

// mayRaise skips a test where real-time priority is not to be had, which the
// emulated board lets root have.
func mayRaise(t *testing.T) {
	t.Helper()
	th, err := Raise()
	if err == nil {
		th.Lower()
		return
	}
	if os.Getenv("HUSHBELL_BOARD") == "1" {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENOSYS) {
		t.Errorf("refused with %v, want EPERM", err)
	}
	if n := policies(t)["2"]; n != 0 {
		t.Errorf("refused, and yet %d threads have it", n)
	}
	t.Skipf("not here: %v", err)
}

// One thread has priority, and only while it is to have it.
func TestRaise(t *testing.T) {
	mayRaise(t)
	const rr = "2" // SCHED_RR
	before := policies(t)[rr]
	for range 3 {
		th, err := Raise()
		if err != nil {
			t.Fatal(err)
		}
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil || a.Policy != unix.SCHED_RR || a.Priority != Priority || th.Priority != Priority {
			t.Errorf("raised to %+v, %v, tells %d, want round robin at %d", a, err, th.Priority, Priority)
		}
		// Threads that come now are not to have it: the runtime needs some.
		var others sync.WaitGroup
		for range 4 {
			others.Go(func() {
				syscall.Nanosleep(&syscall.Timespec{Nsec: 20e6}, nil) // each needs a thread
				th.Lower()                                            // not theirs
			})
		}
		others.Wait()
		if n := policies(t)[rr]; n != before+1 {
			t.Errorf("%d threads have priority, want %d", n, before+1)
		}
		th.Lower()
		th.Lower()
		if n := policies(t)[rr]; n != before {
			t.Errorf("%d threads have priority after Lower, want %d", n, before)
		}
	}
	// Who forgets, and ends, takes it along.
	ended := make(chan Thread)
	go func() {
		th, err := Raise()
		if err != nil {
			t.Error(err)
		}
		ended <- th
	}()
	if th := <-ended; th.id == os.Getpid() {
		t.Log("the first thread of the process stays")
		return
	}
	for range 1000 {
		if policies(t)[rr] == before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the thread of a goroutine that ended still has priority")
}

// A user may have what RLIMIT_RTPRIO says, which a unit's LimitRTPRIO sets.
func TestRaiseLimits(t *testing.T) {
	if want := os.Getenv("HUSHBELL_RAISE_CHILD"); want != "" {
		th, err := Raise()
		if got := fmt.Sprint(th.Priority, errors.Is(err, syscall.EPERM)); got != want {
			t.Errorf("raised: %s (%v), want %s", got, err, want)
		}
		return
	}
	mayRaise(t)
	if os.Getenv("HUSHBELL_BOARD") != "1" {
		t.Skip("runs inside the emulated board only: it sets limits and becomes somebody else")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTPRIO, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_RTPRIO, &old)
	for _, tt := range []struct {
		limit unix.Rlimit
		want  string
	}{
		{unix.Rlimit{Cur: 0, Max: 0}, "0 true"},
		{unix.Rlimit{Cur: 3, Max: 3}, "3 false"},
		{unix.Rlimit{Cur: 0, Max: 99}, "10 false"},
		{unix.Rlimit{Cur: 99, Max: 99}, "10 false"},
	} {
		if err := unix.Setrlimit(unix.RLIMIT_RTPRIO, &tt.limit); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run=^TestRaiseLimits$")
		cmd.Dir = "/"
		cmd.Env = []string{"HUSHBELL_RAISE_CHILD=" + tt.want}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("limit %+v: %v: %s", tt.limit, err, out)
		}
	}
}

// Beside programs that never rest, a thread with priority moves the sound in time.
func TestBoardBesideBusyPrograms(t *testing.T) {
	if os.Getenv("HUSHBELL_BUSY_CHILD") == "1" {
		for n := 0; ; n++ {
		}
	}
	needCard(t, "Loopback")
	mayRaise(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raiseSoftIRQs(t)
	for range 8 {
		cmd := exec.Command(exe, "-test.run=^TestBoardBesideBusyPrograms$")
		cmd.Env = []string{"HUSHBELL_BUSY_CHILD=1"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
	}
	try := func(raised bool) (xruns int) {
		p, c := loopback(t, Options{})
		defer c.Close()
		var both sync.WaitGroup
		for _, move := range []func([]int16) error{p.Write, c.Read} {
			both.Go(func() {
				if raised {
					th, err := Raise()
					if err != nil {
						t.Error(err)
					}
					defer th.Lower()
				}
				frame := make([]int16, FrameSamples/2)
				for range 4 * 100 { // 4 s
					if err := move(frame); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		both.Wait()
		p.Close()
		return p.Xruns() + c.Xruns()
	}
	// Once in twenty runs there is one: a thread of the runtime without priority can
	// hold what ours waits for. And the emulator of a board has to stand aside now and
	// then: beside a compiler it was three times in a row. Eight would be another thing.
	without := try(false)
	for range 8 {
		with := try(true)
		t.Logf("in 4 s beside 8 busy programs: %d xruns with priority, %d without", with, without)
		if with == 0 {
			return
		}
	}
	t.Error("the sound never went on for 4 s with priority")
}

// raiseSoftIRQs gives the kernel's threads for what interrupts have left to do
// priority. The timer of snd-aloop is such; that of a real card is an interrupt.
func raiseSoftIRQs(t *testing.T) {
	t.Helper()
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, f := range names {
		b, _ := os.ReadFile(f)
		var id int
		if fmt.Sscanf(f, "/proc/%d/", &id); !strings.HasPrefix(string(b), "ksoftirqd/") {
			continue
		}
		before, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			t.Fatal(err)
		}
		after := *before
		after.Policy, after.Priority = unix.SCHED_FIFO, 50
		if err := unix.SchedSetAttr(id, &after, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.SchedSetAttr(id, before, 0) })
	}
}
