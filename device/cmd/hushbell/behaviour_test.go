package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hushbell/device"
	"hushbell/device/config"
	"hushbell/device/control"
	"hushbell/device/tone"
)

// configure writes more of a configuration, and has the box take it.
func (h *household) configure(t *testing.T, more string) error {
	t.Helper()
	text, err := os.ReadFile(h.config)
	check(t, err)
	check(t, os.WriteFile(h.config, append(text, more...), 0o600))
	return h.client.Reload(t.Context())
}

// add makes somebody a contact of a box.
func (h *household) add(t *testing.T, name, pid string, flags ...string) {
	t.Helper()
	args := append([]string{"contact", "add", name, pid, "--state", h.state, "--socket", h.socket}, flags...)
	succeeds(t, "", args...)
}

// hears waits until a box that is in a call hears the far end.
func (h *household) hears(t *testing.T) {
	t.Helper()
	var s control.Status
	var err error
	for limit := time.Now().Add(40 * time.Second); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		s, err = h.client.Status(t.Context())
		if err == nil && s.State == "in call" && s.Call.Report.Voice.Received >= 20 {
			return
		}
	}
	t.Fatalf("hears nobody: %v, %+v, %v", s.State, s.Call, err)
}

// after returns what until wants, of the events after one.
func after(e control.Event, kind string) func(control.Event) bool {
	return func(n control.Event) bool { return n.Seq > e.Seq && n.Kind == kind }
}

// run --help shows all that the configuration in the package has, but for a relay; and
// the keys that are in no table as they are without one.
func TestHelpHasAllKeys(t *testing.T) {
	text, err := os.ReadFile("../../../cross/deb/hushbell.toml")
	check(t, err)
	box, _, _ := strings.Cut(string(text), "[relay]")
	help := succeeds(t, "", "run", "--help")
	keys := regexp.MustCompile(`(?m)^#([a-z_]+) = `).FindAllStringSubmatch(box, -1)
	if len(keys) < 30 {
		t.Errorf("the package's configuration has %d keys", len(keys))
	}
	inProse := []string{"ringback", "busy", "unreachable", "call_waiting", "beep", "hang_up"}
	for _, key := range keys {
		pattern := `(?m)^ +` + key[1] + ` = `
		if slices.Contains(inProse, key[1]) {
			pattern = `\b` + key[1] + `\b`
		}
		if !regexp.MustCompile(pattern).MatchString(help) {
			t.Errorf("run --help does not show %s", key[1])
		}
	}
	cfg, err := config.Parse("example", exampleGeneral)
	check(t, err)
	cfg.Bootstrap, cfg.Listen = nil, netip.AddrPort{} // left out, it is any, too
	if want, err := config.Parse("none", ""); err != nil || !reflect.DeepEqual(cfg, want) {
		t.Errorf("the example is %+v, without it %+v, %v", cfg, want, err)
	}
}

// The example that run --help shows is right, has every key, and what it says is
// what the device is told.
func TestExampleBehaviour(t *testing.T) {
	state, folder := t.TempDir(), t.TempDir()
	file := filepath.Join(folder, configName)
	cfg, err := config.Parse("example", exampleBehaviour)
	check(t, err)
	for _, key := range []string{"unknown", "max_call", "groups", "dnd.schedule", "sounds.country", "sounds.ring_volume",
		"sounds.tone_volume", "door.active_low", "door.far_pin_file", "button.call", "button.long", "button.double", "button2.press"} {
		if name := key[strings.LastIndexByte(key, '.')+1:]; !strings.Contains(exampleBehaviour, name) {
			t.Errorf("the example does not show %s", key)
		}
	}
	open := func(time.Duration) error { return nil }
	if _, err := policyOf(&cfg, state, file, open); err == nil || !strings.Contains(err.Error(), "bell.wav") || !strings.Contains(err.Error(), "door.pin") {
		t.Errorf("without the files: %v", err)
	}
	check(t, writeWAV(filepath.Join(folder, "bell.wav"), make([]int16, 4800)))
	check(t, os.WriteFile(filepath.Join(folder, "door.pin"), []byte("4711\n"), 0o644))
	check(t, os.WriteFile(filepath.Join(folder, "far.pin"), []byte(" 12345 "), 0o600))
	if _, err := policyOf(&cfg, state, file, open); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("with a PIN that everybody can read: %v", err)
	}
	check(t, os.Chmod(filepath.Join(folder, "door.pin"), 0o600))
	p, err := policyOf(&cfg, state, file, open)
	check(t, err)
	first, second := p.Buttons[""], p.Buttons["2"]
	if first.Press != (device.Action{Do: device.DoCall, Who: "house"}) || first.Long != (device.Action{Do: device.DoPage, Who: "house"}) ||
		first.Double != (device.Action{Do: device.DoQuiet}) || second.Press != first.Long || !p.PushToTalk || p.MaxCall != time.Hour ||
		string(p.Door.PIN[:5]) != "4711\x00" || string(p.FarPIN[:6]) != "12345\x00" || len(p.Groups) != 1 || p.Tones == nil {
		t.Errorf("%+v", p)
	}
	night := time.Date(2026, 3, 4, 23, 0, 0, 0, time.Local)
	if !p.Quiet(night) || p.Quiet(night.Add(12*time.Hour)) {
		t.Error("the schedule is not that of the example")
	}
	for text, want := range map[string]string{
		"[sounds]\ncountry = \"xx\"":                  configName + `: sounds.country: tone: there are no tones of "xx"`,
		"[sounds]\nbeep = \"bell.wav\"":               "too soft",
		"[sounds]\nring = \"door.pin\"":               "sounds.ring: ",
		"[door]\nline=\"X\"\npin_file = \"bell.wav\"": configName + ": door.pin_file: everybody",
	} {
		cfg, err := config.Parse("f", text)
		check(t, err)
		if _, err := policyOf(&cfg, state, file, open); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Every sound of the tone package that is the owner's to change has a key.
func TestSoundKeys(t *testing.T) {
	for _, c := range tone.Countries() {
		tonesOf(&config.Sounds{Country: c.Code, RingVolume: 1, ToneVolume: 100}, "", func(key string, err error) {
			if err != nil {
				t.Errorf("%s: %s: %v", c.Code, key, err)
			}
		})
	}
}

// Every state has a word for systemctl status.
func TestSummaries(t *testing.T) {
	for s := device.Offline; !strings.HasPrefix(s.String(), "state "); s++ {
		if summaries[s] == "" {
			t.Errorf("no summary of %v", s)
		}
	}
}

// Three boxes: a ring group and a page, do-not-disturb, silence for strangers,
// missed calls, a door, and a new configuration by signal in the middle of a call;
// all by the commands that their owners have.
func TestHouseByCommands(t *testing.T) {
	boot := localSwarm(t, 6)
	a, b, c := newHousehold(t, boot[:3]), newHousehold(t, boot[:3]), newHousehold(t, boot[:3])
	text, err := os.ReadFile(a.config)
	check(t, err)
	check(t, os.WriteFile(a.config, append(text, "[door]\npin_file = \"pin\"\n"...), 0o600))
	check(t, os.WriteFile(filepath.Join(a.dir, "pin"), []byte("4711"), 0o600))
	a.run(t)
	b.run(t)
	rc := c.run(t)
	for _, h := range []*household{a, b, c} {
		h.until(t, "online", kind("online"))
	}
	a.add(t, "far", b.pid)
	a.add(t, "kitchen", c.pid)
	b.add(t, "door", a.pid)
	c.add(t, "door", a.pid)
	check(t, a.configure(t, "[groups]\nhouse = [\"far\", \"kitchen\"]\n"))

	// Of a group the first to answer gets the call.
	succeeds(t, "", "call", "house", "--socket", a.socket)
	b.until(t, "ringing", kind("ringing-here"))
	c.until(t, "ringing", kind("ringing-here"))
	time.Sleep(500 * time.Millisecond) // of ringing that is heard
	succeeds(t, "", "answer", "--socket", c.socket)
	answered := a.until(t, "answered", kind("answered"))
	if answered.Peer != "kitchen" || answered.PID != c.pid {
		t.Errorf("answered: %+v", answered)
	}
	missed := b.until(t, "missed", func(e control.Event) bool { return e.Kind == "ended" && e.Reason == "missed" })

	// b has heard it ring: that is what its speaker has played.
	if loud := loudest(t, filepath.Join(b.dir, "out.wav")); loud < 8000 {
		t.Errorf("the loudest sample of the ring is %d", loud)
	}

	// The door of a opens for c with the right PIN, and the call goes on while the
	// configuration is read again by signal.
	if out := succeeds(t, "4711\n", "door", "--socket", c.socket); out != "the door is open\n" {
		t.Errorf("door prints %q", out)
	}
	a.until(t, "door opened", kind("door"))
	fails(t, 1, "did not open", "4712", "door", "--socket", c.socket)
	fails(t, 1, "did not open", "4711", "door", "--socket", c.socket) // too soon
	fails(t, 1, "did not open", "4711", "door", "--socket", a.socket) // c has none
	check(t, os.WriteFile(c.config, []byte("hops = 9\n"), 0o600))
	check(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	waitLog(t, rc, "9 hops")
	a.until(t, "still talking", kind("answered"))
	a.hears(t)
	succeeds(t, "", "hangup", "--socket", c.socket)
	a.until(t, "the end", after(answered, "ended"))

	// What was missed is shown, and forgotten.
	if out := succeeds(t, "", "missed", "--socket", b.socket, "--clear"); !strings.Contains(out, "  door") {
		t.Errorf("missed prints %q", out)
	}
	if out := succeeds(t, "", "missed", "--socket", b.socket); out != "" {
		t.Errorf("missed prints %q after --clear", out)
	}

	// Do-not-disturb: a hears it ring, and b is told only when a has gone.
	succeeds(t, "", "dnd", "on", "--socket", b.socket)
	fails(t, 2, "say on, off, scheduled", "", "dnd", "perhaps", "--socket", b.socket)
	if out := succeeds(t, "", "dnd", "status", "--socket", b.socket); out != "on (switch: on)\n" {
		t.Errorf("dnd status prints %q", out)
	}
	if out := succeeds(t, "", "status", "--socket", b.socket); !strings.Contains(out, "do not disturb") {
		t.Errorf("status prints %q", out)
	}
	succeeds(t, "", "call", "far", "--socket", a.socket)
	rings := a.until(t, "ringing", func(e control.Event) bool {
		return e.Seq > answered.Seq && e.Kind == "ringing-far"
	})
	succeeds(t, "", "hangup", "--socket", a.socket)
	a.until(t, "the end", after(rings, "ended"))
	quiet := b.until(t, "missed unheard", func(e control.Event) bool { return e.Seq > missed.Seq && e.Kind == "ended" })
	if quiet.Reason != "missed" || quiet.Peer != "door" {
		t.Errorf("told %+v", quiet)
	}
	succeeds(t, "", "dnd", "off", "--socket", b.socket)
	check(t, b.configure(t, "[button2]\nlong = \"dnd\"\n"))
	succeeds(t, "", "press", "--button", "2", "--gesture", "long", "--socket", b.socket)
	if out := succeeds(t, "", "dnd", "status", "--socket", b.socket); out != "on (switch: on)\n" {
		t.Errorf("after a long press dnd status prints %q", out)
	}
	succeeds(t, "", "press", "--button", "2", "--gesture", "long", "--socket", b.socket)
	fails(t, 1, "no button 9", "", "press", "--button", "9", "--socket", b.socket)
	fails(t, 2, `"lick" is nothing`, "", "press", "--gesture", "lick", "--socket", b.socket)

	// A page: both answer by themselves, and both hear.
	for _, h := range []*household{b, c} {
		check(t, os.WriteFile(h.config, []byte("test_network = true\n[board]\nname = \"sim\"\n"), 0o600))
		succeeds(t, "", "contact", "remove", "door", "--state", h.state, "--socket", h.socket)
		h.add(t, "door", a.pid, "--answer")
	}
	succeeds(t, "", "call", "house", "--page", "--socket", a.socket)
	b.hears(t)
	c.hears(t)
	if out := succeeds(t, "", "status", "--socket", a.socket); !strings.Contains(out, "to house (all hear)") {
		t.Errorf("status of a page prints %q", out)
	}
	succeeds(t, "", "hangup", "--socket", a.socket)
}

// The switch of do-not-disturb, missed calls and a door's PIN survive a new start.
func TestRememberedAtStart(t *testing.T) {
	h := newHousehold(t, nil)
	text, err := os.ReadFile(h.config)
	check(t, err)
	check(t, os.WriteFile(h.config, append(text, "[door]\npin_file = \"pin\"\n"...), 0o600))
	fails(t, 78, filepath.Join(h.dir, "pin"), "", "run", "--state", h.state, "--config", h.config, "--socket", h.socket)
	check(t, os.WriteFile(filepath.Join(h.dir, "pin"), []byte("47"), 0o600))
	fails(t, 78, "a PIN has 4 to 16 characters", "", "run", "--state", h.state, "--config", h.config, "--socket", h.socket)
	check(t, os.WriteFile(filepath.Join(h.dir, "pin"), []byte("4711"), 0o600))
	r := h.run(t)
	succeeds(t, "", "dnd", "on", "--socket", h.socket)
	fails(t, 1, "there is none", "4711", "door", "--socket", h.socket)
	fails(t, 2, "standard input", "", "door", "--socket", h.socket)
	if st := r.end(); st != 0 {
		t.Errorf("it ends with %d", st)
	}
	check(t, os.WriteFile(filepath.Join(h.state, "missed.json"), []byte(`[{"at":"2026-01-02T03:04:05Z","pid":"p","count":3}]`), 0o600))
	r = h.run(t)
	if s, err := h.client.Status(t.Context()); err != nil || !s.DND.Active || s.DND.Switch != "on" || s.Missed != 3 {
		t.Errorf("after a new start: %+v, %+v, %d missed", err, s.DND, s.Missed)
	}
	r.end()
	for _, file := range []string{"dnd", "missed.json"} {
		check(t, os.WriteFile(filepath.Join(h.state, file), []byte("{"), 0o600))
	}
	r = h.run(t)
	for _, want := range []string{"how its switch stood", "missed calls of before are lost"} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, r.log.String())
		}
	}
}

// loudest returns the loudest sample of a WAV file, that may still be written.
func loudest(t *testing.T, path string) (peak int16) {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	for i := 44; i+1 < len(b); i += 2 {
		peak = max(peak, int16(binary.LittleEndian.Uint16(b[i:])))
	}
	return peak
}

// waitLog waits until a box has logged something.
func waitLog(t *testing.T, r *running, what string) {
	t.Helper()
	for range 1000 {
		if strings.Contains(r.log.String(), what) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not logged: %s\n%s", what, r.log.String())
}

// The LED of a box that cannot be called says why: without a network, and with one
// but no relay.
func TestDiagnosis(t *testing.T) {
	needNamespaces(t)
	for letter, want := range map[string]device.State{"x": device.NoNetwork, "y": device.NoRelays} {
		t.Run(want.String(), func(t *testing.T) {
			t.Parallel()
			netns := fmt.Sprintf("hb%d%s", os.Getpid()%100000, letter)
			ip(t, "netns add "+netns)
			t.Cleanup(func() { exec.Command("ip", "netns", "del", netns).Run() })
			ip(t, "-n "+netns+" link set lo up")
			if want == device.NoRelays {
				ip(t, "-n "+netns+" link add wan type veth peer name far")
				ip(t, "-n "+netns+" link set far up")
				ip(t, "-n "+netns+" addr add 192.168.70.2/24 dev wan")
				ip(t, "-n "+netns+" link set wan up")
			}
			b := newTestBox(t, netns, "127.0.0.1", &swarm{addrs: []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"}})
			b.process = start(t, netns, "run", "--state", b.state, "--config", b.file, "--socket", filepath.Join(b.state, "control.sock"))
			b.until(t, want.String(), func(s *control.Status) bool { return s.State == want.String() && s.Lamp == want.Lamp() })
			b.stop()
		})
	}
}

// A box that does nothing sleeps: under five times a second does any of its threads
// wake up, with its tunnels, heartbeats and sound devices.
func TestIdleWakeUps(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	s := startSwarm(t, "", "127.0.0.1", 6)
	b := newTestBox(t, "", "127.0.0.1", s)
	b.run(t)
	const period = 5 * time.Second
	// Of three periods the quietest counts: now and then there is something to do.
	best := math.Inf(1)
	for range 3 {
		time.Sleep(2 * time.Second)
		before := wakeUps(t, b.Process.Pid)
		time.Sleep(period)
		best = min(best, float64(wakeUps(t, b.Process.Pid)-before)/period.Seconds())
		if best < 5 {
			break
		}
	}
	t.Logf("%.1f wake-ups per second", best)
	if best >= 5 {
		t.Errorf("%.1f wake-ups per second of an idle box, want under 5", best)
	}
}

// wakeUps returns how often the threads of a process went to sleep so far.
func wakeUps(t *testing.T, process int) (n int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", process))
	check(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has ended
		}
		_, rest, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		var of int
		fmt.Sscan(rest, &of)
		n += of
	}
	return n
}

// A talk button that comes with a reload cannot be held before the next start, so the
// microphone stays on until then; one that goes can be held until then.
func TestReloadOfPushToTalk(t *testing.T) {
	const plain, talk = "[button]\ncall = \"far\"\n", "[button]\ncall = \"far\"\ntalk = true\n"
	read := func(text string) config.Config {
		cfg, err := config.Parse("f", text)
		check(t, err)
		return cfg
	}
	for _, start := range []string{plain, talk} {
		b := &box{places: &places{config: filepath.Join(t.TempDir(), configName)}, dir: t.TempDir(), cfg: read(start)}
		for _, now := range []string{plain, talk} {
			cfg := read(now)
			p, err := b.policy(&cfg)
			check(t, err)
			if p.PushToTalk != (start == talk) {
				t.Errorf("started with %q and told %q, push to talk is %v", start, now, p.PushToTalk)
			}
		}
	}
}
