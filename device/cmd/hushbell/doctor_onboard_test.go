package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hushbell/alsa"
	"hushbell/device/control"
	"hushbell/device/doctor"
)

// onPi is a box on the emulated board.
func onPi(t *testing.T, board string) *clinic {
	t.Helper()
	c := newClinic(t, "127.0.0.1:1")
	c.board = "name = \"pi-4\"\n" + board
	c.configure("")
	return c
}

const loopback = "speaker = \"Loopback\"\nmicrophone = \"Loopback,1\"\n"

// squat has another program take something of the board, and waits until it has
// it. It is this one under another name.
func squat(t *testing.T, says string, args ...string) {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	other := filepath.Join(t.TempDir(), "squatter")
	check(t, os.Symlink(self, other))
	startProgram(t, other, args...).expect(says)
}

// wireOf is the file that pulls a line of the board to plus or to ground.
func wireOf(t *testing.T, line int) string {
	t.Helper()
	const chip = "/sys/kernel/config/gpio-sim/pi/"
	read := func(name string) string { return strings.TrimSpace(string(must(os.ReadFile(chip + name)))) }
	return filepath.Join("/sys/devices/platform", read("dev_name"), read("bank0/chip_name"), fmt.Sprintf("sim_gpio%d/pull", line))
}

func pullLine(t *testing.T, line int, how string) {
	t.Helper()
	check(t, os.WriteFile(wireOf(t, line), []byte(how), 0))
}

// The faults of sound cards and lines, on a real kernel.
func TestOnBoardDoctor(t *testing.T) {
	needBoard(t)
	pullLine(t, 17, "pull-up")
	mute := func(yes bool) {
		t.Helper()
		mixer, err := alsa.OpenMixer("Dummy")
		check(t, err)
		defer mixer.Close()
		check(t, mixer.SetMute("Mic", yes))
		check(t, mixer.SetMute("Line", yes))
	}

	t.Run("nothing", func(t *testing.T) {
		c := onPi(t, loopback)
		o := c.examine("")
		o.sound("board", "sound cards", "microphone", "speaker", "button", "led", "rights")
		o.says("button", doctor.OK, "line 17 of pinctrl-bcm2711", "")
	})
	t.Run("wrong card id", func(t *testing.T) {
		c := onPi(t, "speaker = \"loopbak\"\nmicrophone = \"Loopback,1\"\n")
		c.examine("").says("speaker", doctor.Fault, "no sound card of that name", `write speaker = "Loopback"`)
	})
	t.Run("card busy", func(t *testing.T) {
		c := onPi(t, loopback)
		squat(t, "on Loopback", "test", "speaker", "--config", c.file, "--for", "10m")
		c.examine("").says("speaker", doctor.Fault, "held by squatter (process ", "end the program")
	})
	t.Run("capture muted", func(t *testing.T) {
		mute(true)
		defer mute(false)
		c := onPi(t, "speaker = \"Dummy\"\nmicrophone = \"Dummy\"\n")
		c.examine("").says("microphone", doctor.Fault, "muted: Mic Capture Switch is off", "board.microphone_volume")
		c.board += "microphone_volume = 80\n"
		c.configure("")
		c.examine("").says("microphone", doctor.Warning, "muted", "start hushbell")
	})
	t.Run("no sound card", func(t *testing.T) {
		turn := func(how string) { // unbind waits until nobody has the card open
			for driver, card := range map[string]string{"snd_aloop": "snd_aloop.0", "snd_dummy": "snd_dummy.0"} {
				check(t, os.WriteFile(filepath.Join("/sys/bus/platform/drivers", driver, how), []byte(card), 0))
			}
		}
		turn("unbind")
		defer turn("bind")
		onPi(t, loopback).examine("").says("sound cards", doctor.Fault, "there is none", "plug a sound card in")
	})
	t.Run("line missing", func(t *testing.T) {
		o := onPi(t, loopback+"button_line = \"GPIO99\"\nled_line = 77\n").examine("")
		o.says("button", doctor.Fault, "no such line", "board.button_line")
		o.says("led", doctor.Fault, "no such line", "board.led_line")
	})
	t.Run("chip missing", func(t *testing.T) {
		onPi(t, loopback+"chip = \"pinctrl-rp1\"\n").examine("").says("button", doctor.Fault, "no such GPIO chip", "board.chip")
	})
	t.Run("line busy", func(t *testing.T) {
		c := onPi(t, loopback)
		squat(t, "Press the button", "test", "button", "--config", c.file, "--for", "10m")
		c.examine("").says("button", doctor.Fault, "in use by \"squatter", "take the line from who has it")
	})
	t.Run("button stuck", func(t *testing.T) {
		// Who opens a simulated line with a resistor pulls it, which no resistor
		// does to a contact that is stuck: so it is pulled again and again.
		wire, stuck := wireOf(t, 17), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stuck:
					return
				case <-time.After(20 * time.Millisecond):
					if os.WriteFile(wire, []byte("pull-down"), 0) != nil {
						t.Error("the line cannot be pulled")
					}
				}
			}
		})
		o := onPi(t, loopback).examine("")
		close(stuck)
		wg.Wait()
		pullLine(t, 17, "pull-up")
		o.says("button", doctor.Fault, "contact is stuck", "look at the contact")
	})
	t.Run("no rights", func(t *testing.T) {
		c := onPi(t, loopback)
		o := c.asNobody()
		o.says("speaker", doctor.Fault, "permission denied", "group audio")
		o.says("button", doctor.Fault, "permission denied", "group gpio")
		o.says("rights", doctor.Fault, "may not use sound cards", "")
		o.says("rights", doctor.Fault, "may not use GPIO lines", "")
	})
}

// A running box keeps what it has, and tells of it.
func TestOnBoardDoctorOfRunningBox(t *testing.T) {
	needBoard(t)
	pullLine(t, 17, "pull-up")
	c := onPi(t, loopback)
	p := start(t, "", "run", "--state", c.state, "--config", c.file, "--socket", c.socket)
	p.expect("button is ready")
	p.expect("box is ready") // and what it prints about the socket
	for range 2 {
		o := c.examine("")
		o.sound("box", "board", "rights")
		for _, part := range []string{"microphone", "speaker", "button", "led"} {
			o.says(part, doctor.OK, "the running box has it", "")
		}
		s, err := control.NewClient(c.socket).Status(t.Context())
		if err != nil || len(s.Board.Problems) > 0 {
			t.Errorf("the box has trouble now: %+v, %v", s.Board.Problems, err)
		}
	}
	pullLine(t, 17, "pull-down")
	time.Sleep(70 * time.Second) // of the board's: nobody leans on a button for so long
	c.examine("").says("button", doctor.Fault, "contact is stuck", "look at the contact")
	pullLine(t, 17, "pull-up")
}
