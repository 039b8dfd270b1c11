package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hushbell/alsa"
)

// needBoard skips what needs the sound cards and the GPIO chip of the emulated
// board.
func needBoard(t *testing.T) {
	t.Helper()
	if os.Getenv("HUSHBELL_BOARD") != "1" {
		t.Skip("runs inside the emulated board only: go run ./cross/board ./device/cmd/hushbell -- -test.run=OnBoard")
	}
	t.Setenv("PULSE_SERVER", "")
	t.Setenv("PULSE_RUNTIME_PATH", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
}

// hush runs the program with a configuration of the emulated board.
func hush(t *testing.T, args string) (status int, out string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hushbell.toml")
	text := "[board]\nname = \"pi-4\"\nspeaker = \"Loopback\"\nmicrophone = \"Loopback,1\"\n"
	check(t, os.WriteFile(file, []byte(text), 0o600))
	var b bytes.Buffer
	status = run(t.Context(), append(strings.Fields(args), "--config", file), strings.NewReader(""), &b, &b)
	return status, b.String()
}

func TestOnBoard(t *testing.T) {
	needBoard(t)
	for _, tt := range []struct {
		args   string
		status int
		want   []string
	}{
		{"devices --lines", 0, []string{"pi-4", "line 17 of pinctrl-bcm2711", "active low, free", "Loopback,1", "Dummy", "58 lines", "  25  GPIO25"}},
		{"test loop", 0, []string{"chirp 5: after", "Round trip: "}},
		{"test speaker --for 1s", 0, []string{"on Loopback", "took 1s of sound"}},
		{"test mic --for 2s", 1, []string{"dead silence"}},
		{"test led --for 1s", 0, []string{"line 22 of pinctrl-bcm2711", "heartbeat", "could be switched"}},
		{"test button --for 2s", 1, []string{"Press the button", "no press on line 17"}},
	} {
		status, out := hush(t, tt.args)
		t.Logf("hushbell %s:\n%s", tt.args, out)
		if status != tt.status {
			t.Errorf("hushbell %s: status %d, want %d", tt.args, status, tt.status)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("hushbell %s: nothing of %q", tt.args, want)
			}
		}
	}
}

// A finger at the button's line is seen by the test of the button.
func TestOnBoardPress(t *testing.T) {
	needBoard(t)
	wire := wireOf(t, 17)
	pull := func(how string) { check(t, os.WriteFile(wire, []byte(how), 0)) }
	pull("pull-up")
	over := make(chan struct{})
	var finger sync.WaitGroup
	finger.Go(func() {
		for down := true; ; down = !down {
			select {
			case <-over:
				return
			case <-time.After(300 * time.Millisecond):
			}
			if os.WriteFile(wire, []byte(map[bool]string{true: "pull-down", false: "pull-up"}[down]), 0) != nil {
				t.Error("the line cannot be pulled")
			}
		}
	})
	status, out := hush(t, "test button --for 4s")
	close(over)
	finger.Wait()
	pull("pull-up")
	t.Log(out)
	if status != 0 || !strings.Contains(out, "press 3") || !strings.Contains(out, "The button works") {
		t.Errorf("status %d", status)
	}
}

// Who has a device is named, and nothing waits for it.
func TestOnBoardBusy(t *testing.T) {
	needBoard(t)
	p, err := alsa.OpenPlayback("Loopback", alsa.Options{})
	check(t, err)
	defer p.Close()
	began := time.Now()
	for _, args := range []string{"test speaker", "test loop"} {
		if status, out := hush(t, args); status != 1 || !strings.Contains(out, "held by") {
			t.Errorf("hushbell %s: status %d, %s", args, status, out)
		}
	}
	if status, out := hush(t, "devices"); status != 0 || !strings.Contains(out, "Loopback does not work: playback: ") {
		t.Errorf("hushbell devices: status %d, %s", status, out)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
}

// From the contact of the button to LED, click and start of the lookup, through all
// of the program and a real kernel, by the board's clock: 30 ms above the settle
// time at most.
func TestOnBoardReaction(t *testing.T) {
	needBoard(t)
	const settle, limit = 20 * time.Millisecond, 30 * time.Millisecond
	far, h := newHousehold(t, nil), newHousehold(t, []string{"127.0.0.1:9"})
	text := "bootstrap = [\"127.0.0.1:9\"]\nlisten = \"127.0.0.1:0\"\ntest_network = true\n[button]\ncall = \"far\"\n" +
		"[board]\nname = \"pi-4\"\nspeaker = \"Loopback\"\nmicrophone = \"Dummy\"\nsettle = \"20ms\"\n"
	check(t, os.WriteFile(h.config, []byte(text), 0o600))
	succeeds(t, "", "contact", "add", "far", far.pid, "--state", h.state, "--socket", h.socket)
	wire := simWire(t)
	pull := func(how string) { check(t, os.WriteFile(wire(17)+"/pull", []byte(how), 0)) }
	lit := func() bool {
		b, err := os.ReadFile(wire(22) + "/value")
		check(t, err)
		return b[0] == '1'
	}
	pull("pull-up")
	box := h.run(t)
	for !strings.Contains(box.log.String(), "button is ready") {
		time.Sleep(10 * time.Millisecond)
	}
	events, err := h.client.Events(t.Context(), 0)
	check(t, err)
	defer events.Close()
	next := func(kind string) time.Time {
		for {
			e, err := events.Next()
			check(t, err)
			if e.Kind == kind {
				return e.At
			}
		}
	}
	ear, err := alsa.OpenCapture("Loopback,1", alsa.Options{Period: 2 * time.Millisecond, Buffer: 200 * time.Millisecond})
	check(t, err)
	defer ear.Close()
	var slowest [3]time.Duration
	for range 5 {
		// The box is offline and blinks: a pause of it is what nothing else lights.
		for dark := 0; dark < 400; dark++ {
			if time.Sleep(time.Millisecond); lit() {
				dark = 0
			}
		}
		began := time.Now()
		pull("pull-down")
		var took [3]time.Duration
		var both sync.WaitGroup
		both.Go(func() {
			for !lit() {
				time.Sleep(200 * time.Microsecond)
			}
			took[0] = time.Since(began) - settle
		})
		both.Go(func() {
			var ms [96]int16
			for silent := true; silent; {
				if err := ear.Read(ms[:]); err != nil {
					t.Error(err)
					return
				}
				for _, s := range ms {
					silent = silent && s == 0
				}
			}
			took[1] = time.Since(began) - settle
			ear.Stop()
		})
		took[2] = next("calling").Sub(began) - settle
		both.Wait()
		pull("pull-up")
		for i, d := range took {
			slowest[i] = max(slowest[i], d)
		}
		next("ended")
		time.Sleep(time.Second)
	}
	t.Logf("slowest of 5 above the settle time: LED %v, click %v, lookup %v", slowest[0], slowest[1], slowest[2])
	for i, what := range []string{"LED", "click", "lookup"} {
		if slowest[i] > limit {
			t.Errorf("%s %v above the settle time, want %v at most", what, slowest[i], limit)
		}
	}
}

// simWire returns where the lines of the emulated board's chip are seen and pulled
// from outside.
func simWire(t *testing.T) func(line int) string {
	t.Helper()
	const chip = "/sys/kernel/config/gpio-sim/pi/"
	dev, err := os.ReadFile(chip + "dev_name")
	check(t, err)
	name, err := os.ReadFile(chip + "bank0/chip_name")
	check(t, err)
	dir := filepath.Join("/sys/devices/platform", strings.TrimSpace(string(dev)), strings.TrimSpace(string(name)))
	return func(line int) string { return fmt.Sprintf("%s/sim_gpio%d", dir, line) }
}
