package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hushbell/alsa"
	"hushbell/cross/board/rig"
)

// What hushbell.service asks for.
const (
	memoryMax  = 128 << 20
	slowestEnd = 2 * time.Second
)

// granted looks at what systemd and udev give to B's service in a call: devices,
// real-time priority, a bound of its memory. Then it stops it in the call.
func (s *story) granted(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	// The drivers were loaded at the boot, and the rules came with the package:
	// apt has to have them applied.
	out, err := s.b.Run(ctx, "stat -c '%U:%G %a %n' /dev/gpiochip* /dev/snd/pcm* /dev/snd/control*")
	if err != nil {
		return "", err
	}
	seen := map[string]int{}
	for l := range strings.Lines(out) {
		group := "audio"
		if strings.Contains(l, "/dev/gpiochip") {
			group = "gpio"
		}
		if !strings.HasPrefix(l, "root:"+group+" 660 ") {
			return "", fmt.Errorf("a device is not that of the group %s: %s", group, l)
		}
		seen[group]++
	}
	if seen["gpio"] == 0 || seen["audio"] == 0 {
		return "", fmt.Errorf("there are no devices to look at: %s", out)
	}
	// Two threads move sound: one records, one plays.
	out, err = s.b.Run(ctx, "ps -L -o cls=,rtprio= -p $(systemctl show -P MainPID hushbell)")
	if err != nil {
		return "", err
	}
	var raised int
	for l := range strings.Lines(out) {
		if slices.Equal(strings.Fields(l), []string{"RR", strconv.Itoa(alsa.Priority)}) {
			raised++
		}
	}
	if raised < 2 {
		return "", fmt.Errorf("%d threads have real-time priority %d, want two that move sound: %s", raised, alsa.Priority, out)
	}
	var memory [3]int
	out, err = s.b.Run(ctx, "cd /sys/fs/cgroup/system.slice/hushbell.service && cat memory.max memory.current memory.peak")
	if err == nil {
		if _, err = fmt.Sscan(out, &memory[0], &memory[1], &memory[2]); err != nil {
			err = fmt.Errorf("a bound and uses of memory are not %q: %w", out, err)
		}
	}
	if err == nil && (memory[0] != memoryMax || memory[2] > memoryMax/2) {
		err = fmt.Errorf("of %d bytes %d are in use, %d at the most: want half of %d", memory[0], memory[1], memory[2], memoryMax)
	}
	if err != nil {
		return "", err
	}
	took, err := s.stop(ctx)
	return fmt.Sprintf("%d GPIO and %d sound devices are the groups'; %d threads at real-time priority %d; %.1f MB in use, %.1f at the most of %.1f; stopped in the call after %v",
		seen["gpio"], seen["audio"], raised, alsa.Priority, mb(memory[1]), mb(memory[2]), mb(memory[0]), took), err
}

func mb(n int) float64 { return float64(n) / 1e6 }

// stop stops B's service in a call, and starts it again. A must be told that the
// call ends; that it was lost is what A takes a box for that is silent.
func (s *story) stop(ctx context.Context) (time.Duration, error) {
	out, err := s.b.Run(ctx, `before=$(cut -d' ' -f1 /proc/uptime)
systemctl stop hushbell
echo $before $(cut -d' ' -f1 /proc/uptime) $(systemctl show -P Result hushbell)`)
	if err != nil {
		return 0, err
	}
	var from, to float64
	var result string
	if _, err := fmt.Sscan(out, &from, &to, &result); err != nil {
		return 0, fmt.Errorf("%q: %w", out, err)
	}
	took := time.Duration((to - from) * float64(time.Second)).Round(10 * time.Millisecond)
	if result != "success" {
		return 0, fmt.Errorf("stopped after %v with the result %s", took, result)
	}
	// Twice that, for an emulator that was stopped: below the 5 s after which systemd
	// kills.
	if took > 2*slowestEnd {
		return 0, fmt.Errorf("it took %v to stop, want %v at most", took, 2*slowestEnd)
	}
	st, err := until(ctx, s.a, endLimit, "hears that the call has ended", ended)
	if err == nil && st.Call.Reason != "ended" {
		err = fmt.Errorf("board A takes the call for %q", st.Call.Reason)
	}
	if err != nil {
		return 0, err
	}
	if high, _, err := s.b.Levels(ctx, ledLine, 20, 50*time.Millisecond); err != nil || high != 0 {
		return 0, errors.Join(fmt.Errorf("the LED of B is lit %d times of 20 while the service is stopped", high), err)
	}
	if _, err := s.b.Run(ctx, "systemctl start hushbell"); err != nil {
		return 0, err
	}
	_, err = until(ctx, s.b, onlineLimit, "is callable again", fresh)
	return took, err
}

// noPriority forbids B's service real-time priority: it says so, and calls work.
func (s *story) noPriority(ctx context.Context) (string, error) {
	const dropIns = "/run/systemd/system/hushbell.service.d"
	if _, err := s.b.Run(ctx, "mkdir -p "+dropIns+" && printf '[Service]\nLimitRTPRIO=0\n' >"+dropIns+"/story.conf"); err != nil {
		return "", err
	}
	said := func(want string) error {
		out, err := s.b.Run(ctx, `systemctl daemon-reload && systemctl restart hushbell &&
journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID hushbell) | grep -c 'sound has no real-time priority' || true`)
		if err == nil && out != want {
			err = fmt.Errorf("the log speaks %s times of no real-time priority, want %s", out, want)
		}
		return err
	}
	if err := said("1"); err != nil {
		return "", err
	}
	if _, err := until(ctx, s.b, onlineLimit, "can be called", fresh); err != nil {
		return "", err
	}
	again, err := s.callsAgain(ctx)
	if err != nil {
		return "", err
	}
	if _, err := s.b.Run(ctx, "rm -r "+dropIns); err != nil {
		return "", err
	}
	if err := said("0"); err != nil {
		return "", err
	}
	_, err = until(ctx, s.b, onlineLimit, "can be called", fresh)
	return again, err
}

// clockLooks is for how long the clock is set in a call: links are looked at every
// 15 s.
const clockLooks = 20 * time.Second

// clock sets B's clock in a call, as happens to a board without one when it finds the
// time: the call stands. It is set on a month each second, for what comes over a link
// after that hides from the next look that the clock was set, and then years back.
func (s *story) clock(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	for end := time.Now().Add(clockLooks); time.Now().Before(end); time.Sleep(time.Second) {
		if _, err := s.b.Run(ctx, "date -s 'now + 1 month'"); err != nil {
			return "", err
		}
		if err := s.both(func(b *rig.Board) error {
			st, err := b.Status(ctx)
			if err == nil && !answered(&st) {
				err = fmt.Errorf("the clock of B was set, and board %s is no longer in the call", b.Name)
			}
			return err
		}); err != nil {
			return "", err
		}
	}
	if _, err := s.b.Run(ctx, "date -s 2020-01-01"); err != nil {
		return "", err
	}
	there, err := s.says(ctx, s.a, s.b, s.there, s.back)
	if err == nil {
		err = s.hangUp(ctx)
	}
	if err != nil {
		return "", err
	}
	// Booted in the past, and with its clock set later.
	if _, err := s.b.Run(ctx, "systemctl restart hushbell"); err != nil {
		return "", err
	}
	began := time.Now()
	if _, err := until(ctx, s.b, onlineLimit, "can be called in the year 2020", fresh); err != nil {
		return "", err
	}
	took := time.Since(began)
	_, err = s.b.Run(ctx, fmt.Sprintf("date -s @%d", time.Now().Unix()))
	return fmt.Sprintf("the call stood, and B hears A: %s; callable %.1f s after a start in the year 2020", there, took.Seconds()), err
}

// address gives B another address in a call. The tunnels are those of the old one:
// they are built anew.
func (s *story) address(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	out, err := s.b.Run(ctx, `old=$(ip -4 -o addr show dev eth0 | awk '{print $4; exit}')
gateway=$(ip -4 route show default | awk '{print $3; exit}')
ip addr add 10.0.2.77/24 dev eth0 && ip addr del $old dev eth0
ip route replace default via $gateway dev eth0
ip -4 -o addr show dev eth0`)
	if err == nil && (strings.Count(out, "inet ") != 1 || !strings.Contains(out, "10.0.2.77/24")) {
		err = fmt.Errorf("the address has not changed: %s", out)
	}
	if err != nil {
		return "", err
	}
	began := time.Now()
	if _, err := until(ctx, s.b, onlineLimit, "is out of the call, and can be called", over); err != nil {
		return "", err
	}
	back := time.Since(began)
	st, err := until(ctx, s.a, onlineLimit, "loses the call", ended)
	if err != nil {
		return "", err
	}
	lost := time.Since(began)
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("B callable after %.1f s, and A knew after %.1f s (%s); %s", back.Seconds(), lost.Seconds(), st.Call.Reason, again), err
}
