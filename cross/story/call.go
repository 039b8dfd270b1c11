package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"hushbell/cross/board/rig"
	"hushbell/device/control"
	"hushbell/voipcore/voice/heard"
)

// Limits of what is waited for; on an idle machine a box is online after 5 s, a
// call is answered after 0.6 s, and its end is known at once.
const (
	onlineLimit = 2 * time.Minute
	answerLimit = time.Minute
	endLimit    = 20 * time.Second
)

// A finger holds the button so long, and is so long away from it. An emulated
// processor may stand still for longer than 200 ms, and then the press was none; a
// long press begins at 1 s.
const fingerTime = 400 * time.Millisecond

// press presses a board's button when a press means something: for a second after a
// call it does not.
func press(ctx context.Context, b *rig.Board) error {
	_, err := until(ctx, b, endLimit, "takes a press", func(s *control.Status) bool { return s.State != "ended" && s.State != "hung up" })
	if err != nil {
		return err
	}
	err = b.Pull(ctx, buttonLine, true)
	time.Sleep(fingerTime)
	err = errors.Join(err, b.Pull(ctx, buttonLine, false))
	time.Sleep(fingerTime)
	return err
}

func online(s *control.Status) bool { return s.Online }
func idle(s *control.Status) bool   { return s.Online && s.State == "idle" }
func answered(s *control.Status) bool {
	return s.Call != nil && !s.Call.Answered.IsZero() && s.Call.Ended.IsZero()
}
func ended(s *control.Status) bool { return s.Call != nil && !s.Call.Ended.IsZero() }
func over(s *control.Status) bool  { return ended(s) && idle(s) }

// until asks a box for its status until it is as wanted, and returns it.
func until(ctx context.Context, b *rig.Board, limit time.Duration, what string, ok func(*control.Status) bool) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		st, err := b.Status(ctx)
		if err == nil && ok(&st) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, errors.Join(fmt.Errorf("board %s: not so that it %s, within %v (state %q)", b.Name, what, limit, st.State), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dial presses A's button and waits until both are in the call.
func (s *story) dial(ctx context.Context) error {
	if err := press(ctx, s.a); err != nil {
		return err
	}
	return s.both(func(b *rig.Board) error {
		_, err := until(ctx, b, answerLimit, "is in the call", answered)
		return err
	})
}

// hangUp presses A's button and waits until both are out of the call.
func (s *story) hangUp(ctx context.Context) error {
	if err := press(ctx, s.a); err != nil {
		return err
	}
	return s.both(func(b *rig.Board) error {
		st, err := until(ctx, b, endLimit, "hears that the call has ended", ended)
		if err == nil && st.Call.Reason != "ended" {
			err = fmt.Errorf("board %s takes the call for %q", b.Name, st.Call.Reason)
		}
		return err
	})
}

// call is what the box is for: a button, a far box that answers by itself, what
// is said at either end heard at the other, and the button again.
func (s *story) call(ctx context.Context) (string, error) {
	if err := s.leds(ctx, "before the call", 0); err != nil {
		return "", err
	}
	took, beeps, err := s.dialAndHear(ctx)
	if err != nil {
		return "", err
	}
	if err := s.leds(ctx, "in the call", 100); err != nil {
		return "", err
	}
	busy := []time.Duration{s.a.CPU(), s.b.CPU()}
	talk := time.Now()
	there, err := s.says(ctx, s.a, s.b, s.there, s.back)
	if err != nil {
		return "", err
	}
	back, err := s.says(ctx, s.b, s.a, s.back, s.there)
	if err != nil {
		return "", err
	}
	of := func(b *rig.Board, before time.Duration) float64 {
		return 100 * (b.CPU() - before).Seconds() / time.Since(talk).Seconds()
	}
	load := fmt.Sprintf("the emulators took %.0f and %.0f %% of a processor", of(s.a, busy[0]), of(s.b, busy[1]))
	if err := s.hangUp(ctx); err != nil {
		return "", err
	}
	if err := s.leds(ctx, "after the call", 0); err != nil {
		return "", err
	}
	return fmt.Sprintf("in the call %.1f s after the press; B beeped for %s; B hears A: %s; A hears B: %s; %s", took.Seconds(), beeps, there, back, load), nil
}

// dialAndHear is dial, and listens to B's speaker for the beep of a box that
// answers by itself. As with what is said, it may take more than one call.
func (s *story) dialAndHear(ctx context.Context) (took time.Duration, beeps string, err error) {
	beeps, err = s.insist(func() (string, bool, error) {
		var wg sync.WaitGroup
		var recording []int16
		var listened error
		wg.Go(func() { recording, listened = s.b.Listen(ctx, 6*time.Second) })
		time.Sleep(time.Second)
		began := time.Now()
		err := s.dial(ctx)
		took = time.Since(began)
		wg.Wait()
		if err = errors.Join(err, listened); err != nil {
			return "", false, err
		}
		// Windows that the beep does not fill do not count.
		beep := beeped(recording)
		if beep > beepLong/2 && beep < 2*beepLong {
			return beep.String(), true, nil
		}
		if err := s.hangUp(ctx); err != nil {
			return "", false, err
		}
		return beep.String(), false, s.atRest(ctx)
	})
	if err != nil {
		err = fmt.Errorf("board B: it must beep for about %v when it answers: %w", beepLong, err)
	}
	return took, beeps, err
}

// atRest waits until both boxes show nothing of a call any more.
func (s *story) atRest(ctx context.Context) error {
	return s.both(func(b *rig.Board) error {
		_, err := until(ctx, b, answerLimit, "is at rest", idle)
		return err
	})
}

// leds wants both LEDs to be lit for so many percent of a while, within a time
// in which what is shown of a result ends.
func (s *story) leds(ctx context.Context, when string, percent int) error {
	return s.both(func(b *rig.Board) error {
		var high int
		for end := time.Now().Add(endLimit); time.Now().Before(end); {
			var err error
			if high, _, err = b.Levels(ctx, ledLine, 20, 50*time.Millisecond); err != nil {
				return err
			}
			if high*100/20 == percent {
				return nil
			}
		}
		return fmt.Errorf("board %s: %s its LED is lit for %d %% of the time, want %d", b.Name, when, high*100/20, percent)
	})
}

// maxRepeats is how often something may be said once more, for not having been
// understood, in the whole story. On a machine that has others to serve the emulator
// is stopped now and then for longer than a sound card's buffer lasts, which real
// boards are not. What is lost oftener is lost by us.
const maxRepeats = 4

// insist tries until what is said is understood, and returns what came of each try.
func (s *story) insist(try func() (came string, understood bool, err error)) (string, error) {
	var all []string
	for {
		came, understood, err := try()
		if err != nil {
			return "", err
		}
		all = append(all, came)
		told := fmt.Sprintf("%s (tries: %d)", strings.Join(all, ", then "), len(all))
		if understood {
			return told, nil
		}
		if s.repeats == maxRepeats {
			return "", fmt.Errorf("%s; the story has been through all of its %d repeats", told, maxRepeats)
		}
		s.repeats++
	}
}

// says speaks at one board until it is heard at the other, and what is heard
// must not be taken for something else.
func (s *story) says(ctx context.Context, from, to *rig.Board, sound, other []int16) (string, error) {
	length := time.Duration(len(sound)) * time.Second / heard.RateHz
	told, err := s.insist(func() (string, bool, error) {
		var wg sync.WaitGroup
		var listened error
		var recording []int16
		wg.Go(func() { recording, listened = to.Listen(ctx, length+4*time.Second) })
		time.Sleep(time.Second)
		spoken := from.Speak(ctx, sound)
		wg.Wait()
		if err := errors.Join(spoken, listened); err != nil {
			return "", false, err
		}
		r := heard.Compare(sound, recording)
		if r.Heard {
			if wrong := heard.Compare(other, recording); wrong.Heard {
				return "", false, fmt.Errorf("the other speech is heard, too: %+v", wrong)
			}
		}
		return fmt.Sprintf("%d of %d segments at %.2f", r.Found, r.Active, r.Score), r.Heard, nil
	})
	if err != nil {
		err = fmt.Errorf("what is said at %s is to be heard at %s: %w", from.Name, to.Name, err)
	}
	return told, err
}
