package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hushbell/cross/board/rig"
	"hushbell/device/control"
)

// stranger lets A call B, which does not know it any more: B rings, and is not
// answered.
func (s *story) stranger(ctx context.Context) (string, error) {
	if _, err := s.b.Run(ctx, "hushbell contact remove far"); err != nil {
		return "", err
	}
	if err := press(ctx, s.a); err != nil {
		return "", err
	}
	state := func(want string) func(*control.Status) bool {
		return func(s *control.Status) bool { return s.State == want }
	}
	rings := func() error {
		_, err := until(ctx, s.b, answerLimit, "rings", state("ringing here"))
		if err == nil {
			_, err = until(ctx, s.a, answerLimit, "rings at the far end", state("ringing far"))
		}
		return err
	}
	if err := rings(); err != nil {
		return "", err
	}
	blinks := make(map[*rig.Board]int)
	for _, b := range []*rig.Board{s.b, s.a} {
		high, _, err := b.Levels(ctx, ledLine, 80, 50*time.Millisecond)
		if err == nil && (high < 16 || high > 64) {
			err = fmt.Errorf("board %s: its LED is lit %d times of 80: that is no blinking", b.Name, high)
		}
		if err != nil {
			return "", err
		}
		blinks[b] = high
	}
	if err := rings(); err != nil { // 8 s later
		return "", fmt.Errorf("it does not go on ringing: %w", err)
	}
	if err := press(ctx, s.a); err != nil {
		return "", err
	}
	for _, b := range []*rig.Board{s.a, s.b} {
		st, err := until(ctx, b, endLimit, "stops ringing", ended)
		if err == nil && !st.Call.Answered.IsZero() {
			err = fmt.Errorf("board %s: the call was answered", b.Name)
		}
		if err != nil {
			return "", err
		}
	}
	_, err := s.b.Run(ctx, "hushbell contact add --answer far "+s.pids[s.a])
	return fmt.Sprintf("B rings and nobody answers; of 80 looks at the LEDs A was lit in %d, B in %d", blinks[s.a], blinks[s.b]), err
}

// backLimit is for a box to be callable again, from the moment of what happened
// to it: what the owner is promised.
const backLimit = 15 * time.Second

// kill kills B's program in a call: systemd starts it again, and it answers.
func (s *story) kill(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	began := time.Now()
	if _, err := s.b.Run(ctx, "kill -9 $(systemctl show -P MainPID hushbell)"); err != nil {
		return "", err
	}
	if _, err := until(ctx, s.b, backLimit, "is callable again", fresh); err != nil {
		return "", err
	}
	took := time.Since(began)
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("callable %.1f s after the kill; %s", took.Seconds(), again), err
}

// fresh is a box that can be called and remembers no call.
func fresh(s *control.Status) bool { return s.Online && s.Call == nil }

// freeze stops B's program without ending it: the watchdog notices.
func (s *story) freeze(ctx context.Context) (string, error) {
	before, err := s.b.Run(ctx, "systemctl show -P NRestarts hushbell && kill -STOP $(systemctl show -P MainPID hushbell)")
	if err != nil {
		return "", err
	}
	began := time.Now()
	for {
		now, err := s.b.Run(ctx, "systemctl show -P NRestarts hushbell")
		if err != nil {
			return "", fmt.Errorf("the watchdog has not restarted it: %w", err)
		}
		if now != before {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	took := time.Since(began)
	if out, err := s.b.Run(ctx, "journalctl -b --no-pager -u hushbell | grep -i -m1 'watchdog timeout'"); err != nil {
		return "", fmt.Errorf("it was restarted, but not by the watchdog: %w: %s", err, out)
	}
	if _, err := until(ctx, s.b, onlineLimit, "is callable again", fresh); err != nil {
		return "", err
	}
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("restarted %.1f s after it froze; %s", took.Seconds(), again), err
}

// cut takes B's power away. A calls in vain, and its LED shows that it calls;
// then B boots again and is who it was.
func (s *story) cut(ctx context.Context) (string, error) {
	s.b.Cut()
	if err := press(ctx, s.a); err != nil {
		return "", err
	}
	// It blinks four times a second; no other blinking is as fast.
	high, changes, err := s.a.Levels(ctx, ledLine, 40, 25*time.Millisecond)
	if err != nil {
		return "", err
	}
	if high < 8 || high > 32 || changes < 5 {
		return "", fmt.Errorf("the LED of A is lit %d times of 40 while it calls, and changes %d times in a second: that is no fast blinking", high, changes)
	}
	began := time.Now()
	st, err := until(ctx, s.a, 2*time.Minute, "gives up", ended)
	if err == nil && !st.Call.Answered.IsZero() {
		err = errors.New("a board without power has answered")
	}
	if err != nil {
		return "", err
	}
	gaveUp := time.Since(began)
	if err := s.powerOn(ctx, s.b); err != nil {
		return "", err
	}
	began = time.Now()
	if _, err := until(ctx, s.b, onlineLimit, "is callable again", fresh); err != nil {
		return "", err
	}
	back := time.Since(began)
	pid, err := ownPID(ctx, s.b)
	if err == nil && pid != s.pids[s.b] {
		err = fmt.Errorf("another pid of B after the power cut: %s, it was %s", pid, s.pids[s.b])
	}
	if err != nil {
		return "", err
	}
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("A's LED blinked, and A gave up after %.1f s (%s); B has the same pid and was callable %.1f s after it was up; %s",
		gaveUp.Seconds(), st.Call.Reason, back.Seconds(), again), err
}

// sound takes B's sound card away in a call, and gives it back.
func (s *story) sound(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	const driver = "/sys/bus/platform/drivers/snd_aloop/"
	if _, err := s.b.Run(ctx, "echo snd_aloop.0 >"+driver+"unbind"); err != nil {
		return "", err
	}
	gone, err := until(ctx, s.b, answerLimit, "tells that its sound is gone", func(s *control.Status) bool { return len(s.Board.Problems) >= 2 })
	if err != nil {
		return "", err
	}
	if _, err := s.b.Run(ctx, "echo snd_aloop.0 >"+driver+"bind"); err != nil {
		return "", err
	}
	st, err := until(ctx, s.b, answerLimit, "has its sound back", func(s *control.Status) bool { return len(s.Board.Problems) == 0 })
	if err != nil {
		return "", err
	}
	if !answered(&st) {
		return "", fmt.Errorf("the call has ended meanwhile: %s", st.Call.Reason)
	}
	there, err := s.says(ctx, s.a, s.b, s.there, s.back)
	if err != nil {
		return "", err
	}
	back, err := s.says(ctx, s.b, s.a, s.back, s.there)
	if err != nil {
		return "", err
	}
	p := gone.Board.Problems[0]
	return fmt.Sprintf("B said %q; in the same call B hears A: %s; A hears B: %s", strings.Join([]string{p.Part, p.Error, p.Remedy}, ": "), there, back), s.hangUp(ctx)
}

// busy has another program take B's card before the service starts: the service
// says who has it, and what to do, and takes the card when it is free.
func (s *story) busy(ctx context.Context) (string, error) {
	// Under the name of a sound server, whose card is to be left to it.
	// The program wants its own name in the path.
	const holder = "mkdir -p /var/tmp/arecord && cp /usr/bin/arecord /var/tmp/arecord/pipewire && systemd-run -q --unit=holder /var/tmp/arecord/pipewire -q -D hw:Loopback,0 -f S16_LE -r 48000 -c 2 /dev/null"
	if _, err := s.b.Run(ctx, "systemctl stop hushbell && "+holder+" && sleep 1 && systemctl start hushbell"); err != nil {
		return "", err
	}
	pid, err := s.b.Run(ctx, "systemctl show -P MainPID holder")
	if err != nil {
		return "", err
	}
	who := "held by pipewire (process " + pid + ")"
	told := ""
	if _, err := until(ctx, s.b, answerLimit, "says who has its microphone", func(s *control.Status) bool {
		for _, p := range s.Board.Problems {
			if p.Part == "microphone" && strings.Contains(p.Error, who) {
				told = p.Error + ": " + p.Remedy
			}
		}
		return told != ""
	}); err != nil {
		return "", err
	}
	if !strings.Contains(told, "systemctl --user enable --now hushbell") {
		return "", fmt.Errorf("what to do about it is not said: %s", told)
	}
	// The doctor, as whoever asks, and the journal, for who reads that first.
	out, err := s.b.Run(ctx, "hushbell doctor || test $? = 1")
	if err == nil && !strings.Contains(out, "pipewire (process "+pid+")") {
		err = fmt.Errorf("hushbell doctor does not name the holder: %s", out)
	}
	if err == nil {
		if _, err = s.b.Run(ctx, "journalctl -b --no-pager -u hushbell | grep -F '"+who+"'"); err != nil {
			err = fmt.Errorf("the journal does not name the holder: %w", err)
		}
	}
	if err != nil {
		return "", err
	}
	if _, err := s.b.Run(ctx, "systemctl stop holder"); err != nil {
		return "", err
	}
	if _, err := until(ctx, s.b, onlineLimit, "has its sound, and can be called", func(s *control.Status) bool {
		return s.Online && len(s.Board.Problems) == 0
	}); err != nil {
		return "", err
	}
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("B said %q; when the card was free, %s", told, again), err
}

// away is for how long the cable is pulled.
const away = time.Minute

// cable pulls B's network cable in a call, and puts it back.
func (s *story) cable(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	if err := s.b.Cable(false); err != nil {
		return "", err
	}
	pulled := time.Now()
	if _, err := until(ctx, s.b, away, "notices", func(s *control.Status) bool { return !s.Online || !answered(s) }); err != nil {
		return "", err
	}
	noticed := time.Since(pulled)
	if carrier, err := s.b.Run(ctx, "cat /sys/class/net/eth0/carrier"); err != nil || carrier != "0" {
		return "", fmt.Errorf("the cable is not out: %q: %w", carrier, err)
	}
	time.Sleep(time.Until(pulled.Add(away)))
	if err := s.b.Cable(true); err != nil {
		return "", err
	}
	in := time.Now()
	if _, err := until(ctx, s.b, onlineLimit, "is callable again", online); err != nil {
		return "", err
	}
	back := time.Since(in)
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("noticed after %.1f s, callable %.1f s after the cable was back; %s", noticed.Seconds(), back.Seconds(), again), err
}

// suspend stops B for a minute in a call: its links are dead when it goes on, and
// its clocks are late.
func (s *story) suspend(ctx context.Context) (string, error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	if err := s.b.Suspend(); err != nil {
		return "", err
	}
	began := time.Now()
	lost, err := until(ctx, s.a, away, "loses the call", ended)
	if err != nil {
		return "", err
	}
	noticed := time.Since(began)
	time.Sleep(time.Until(began.Add(away)))
	if err := s.b.Resume(); err != nil {
		return "", err
	}
	awake := time.Now()
	if _, err := until(ctx, s.b, onlineLimit, "is out of the call, and can be called", over); err != nil {
		return "", err
	}
	back := time.Since(awake)
	again, err := s.callsAgain(ctx)
	return fmt.Sprintf("A noticed after %.1f s (%s); callable %.1f s after it went on; %s", noticed.Seconds(), lost.Call.Reason, back.Seconds(), again), err
}

// callsAgain makes a call in which A is heard at B, once a call from before is
// over at A.
func (s *story) callsAgain(ctx context.Context) (string, error) {
	st, err := s.a.Status(ctx)
	if err != nil {
		return "", err
	}
	if st.Call != nil && st.Call.Ended.IsZero() {
		if err := press(ctx, s.a); err != nil {
			return "", err
		}
	}
	if err := s.atRest(ctx); err != nil {
		return "", err
	}
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	there, err := s.says(ctx, s.a, s.b, s.there, s.back)
	if err != nil {
		return "", err
	}
	return "in the next call B hears A: " + there, s.hangUp(ctx)
}
