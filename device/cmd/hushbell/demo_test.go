package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hushbell/device/control"
	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/heard"
)

// What the demo refuses, with exit status 2 and a word about what is wrong.
func TestDemoUsedWrongly(t *testing.T) {
	dir := t.TempDir()
	text, silent, short := filepath.Join(dir, "text.wav"), filepath.Join(dir, "silent.wav"), filepath.Join(dir, "short.wav")
	check(t, os.WriteFile(text, []byte("no sound"), 0o600))
	check(t, writeWAV(silent, make([]int16, 2*voice.RateHz)))
	check(t, writeWAV(short, speechSamples(t)[:voice.RateHz/2]))
	notMade := filepath.Join(dir, "none")
	for _, tt := range []struct{ args, want string }{
		{"demo --relays 1", "--relays 1: 2 to 50"},
		{"demo --relays 2", "--relays 2: 3 hops"},
		{"demo --relays 51", "--relays 51"},
		{"demo --hops 0", "--hops 0"},
		{"demo --hops 4 --relays 99", "--hops 4"},
		{"demo --speech /nothing.wav", "/nothing.wav"},
		{"demo --speech " + dir, "is a directory"},
		{"demo --speech-back " + text, "sox IN"},
		{"demo --speech-back " + text, "not a WAV file"},
		{"demo --speech " + silent, "is not silence"},
		{"demo --speech " + short, "is not silence"},
		{"demo now", "takes no arguments"},
		{"demo --loud", "--loud"},
	} {
		var out, errOut bytes.Buffer
		args := append(strings.Fields(tt.args), "--json", "--out", notMade)
		if status := run(t.Context(), args, nil, &out, &errOut); status != 2 || !strings.Contains(errOut.String(), tt.want) || out.Len() > 0 {
			t.Errorf("%s: status %d, want 2; printed %q, said %q, want %q in it", tt.args, status, out.String(), errOut.String(), tt.want)
		}
	}
	if _, err := os.Stat(notMade); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was begun before all was checked: %v", err)
	}
}

// What cannot be done is said, with the remedy, and status 1.
func TestDemoCannot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	fails(t, 1, "--out: mkdir "+file, "", "demo", "--out", file)
	long := filepath.Join(dir, strings.Repeat("x", 100))
	check(t, os.Mkdir(long, 0o700))
	t.Setenv("TMPDIR", long)
	status, out, errOut := hushbell(t, "", "demo", "--json", "--out", dir)
	var r demoReport
	if err := json.Unmarshal([]byte(out), &r); status != 1 || err != nil || r.OK || !strings.Contains(r.Failure, "set TMPDIR") || !strings.Contains(errOut, "set TMPDIR") {
		t.Errorf("status %d, %v, printed %s, said %s", status, err, out, errOut)
	}
}

func speechSamples(t *testing.T) []int16 {
	t.Helper()
	s, err := loadSpeech("", "", "speech")
	check(t, err)
	return s.samples
}

// The demo as others script it: nothing but the report on standard output, all
// that it promises in its folder, and no process and no folder left behind.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector slows ten processes down")
	}
	dir, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	said := filepath.Join(dir, "said.wav")
	check(t, os.WriteFile(said, stereo24k(speechSamples(t)), 0o600))
	stale := filepath.Join(dir, "heard-by-caller.wav")
	check(t, os.WriteFile(stale, []byte("of another demo"), 0o600))
	var status int
	var out, errOut string
	// Sound is real time: a machine that stalls for 200 ms again and again loses
	// some of it, as it would with a sound card, and is given another chance.
	for range 3 {
		status, out, errOut = hushbell(t, "", "demo", "--relays", "5", "--hops", "2", "--speech", said, "--json", "--out", dir)
		if !strings.Contains(errOut, "has not heard what") {
			break
		}
		t.Logf("once more: %s", errOut)
	}
	if status != 0 || errOut != "" {
		t.Fatalf("status %d: %s\n%s", status, errOut, out)
	}
	var r demoReport
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	check(t, d.Decode(&r))
	if d.More() {
		t.Errorf("more than the report is printed: %s", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "report.json")); err != nil || string(b) != out {
		t.Errorf("report.json is %s, %v; printed was %s", b, err, out)
	}
	for name, n := range map[string]perSide{"sent": r.VoiceSent, "received": r.VoiceReceived} {
		if n.Caller < 250 || n.Callee < 250 { // 5 s of speech and more
			t.Errorf("voice_%s is %+v", name, n)
		}
	}
	if !r.OK || r.Failure != "" || r.HopsCaller != 2 || r.HopsCallee != 2 || r.KeyExchange != "X25519MLKEM768" || r.Relays != 5 ||
		r.LookupMS <= 0 || r.TunnelMS <= 0 || r.SetupMS < r.LookupMS+r.TunnelMS ||
		r.MouthToEarMS <= 20 || r.MouthToEarBackMS <= 20 || // a frame has to be full before it is sent
		r.AllocsPerFrame <= 0 || r.BoxRSSKB == 0 || r.RelayRSSKB == 0 ||
		!r.HeardByCallee.Heard || !r.HeardByCaller.Heard {
		t.Errorf("report %s", out)
	}
	for _, name := range []string{"heard-by-callee.wav", "heard-by-caller.wav"} {
		head := make([]byte, 44)
		f, err := os.Open(filepath.Join(dir, name))
		check(t, err)
		_, err = io.ReadFull(f, head)
		f.Close()
		check(t, err)
		le := binary.LittleEndian
		if string(head[:4]) != "RIFF" || le.Uint16(head[20:]) != 1 || le.Uint16(head[22:]) != 1 || le.Uint32(head[24:]) != 48000 || le.Uint16(head[34:]) != 16 {
			t.Errorf("%s is not 48 kHz, mono, 16 bit: % x", name, head)
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	if left := processesOf(t, tmp); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

// Ctrl-C in the middle of it stops all that was started, and says so.
func TestDemoInterrupted(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p := start(t, "", "demo", "--relays", "3", "--out", dir)
	p.expect("starting two boxes")
	if left := processesOf(t, tmp); len(left) < 3 {
		t.Errorf("only %q run: the count is wrong", left)
	}
	check(t, p.Process.Signal(os.Interrupt))
	p.expect("demo: interrupted (logs are in " + filepath.Join(dir, "logs") + ")")
	p.Wait()
	if status := p.ProcessState.ExitCode(); status != 1 {
		t.Errorf("status %d", status)
	}
	if left := processesOf(t, tmp); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
}

// A process that dies in the middle of the talk ends the demo at once, and it is
// said which one it was.
func TestDemoLosesABox(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p := start(t, "", "demo", "--relays", "3", "--json", "--out", t.TempDir())
	var callee int
	for limit := time.Now().Add(30 * time.Second); callee == 0 && time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		callee = runningBox(t, tmp, "callee")
	}
	if callee == 0 {
		t.Fatal("the callee does not run")
	}
	c := control.NewClient(boxSocket(t, tmp, "callee"))
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if s, err := c.Status(t.Context()); err == nil && s.Call != nil && s.Call.Report.Voice.Received > 60 {
			break
		}
	}
	check(t, syscall.Kill(callee, syscall.SIGKILL))
	p.expect("callee: signal: killed")
	p.Wait()
	var r demoReport
	out := p.output()
	check(t, json.NewDecoder(strings.NewReader(out[strings.Index(out, "{"):])).Decode(&r))
	if status := p.ProcessState.ExitCode(); status != 1 || r.OK || !strings.Contains(r.Failure, "callee: signal: killed") {
		t.Errorf("status %d, failure %q", status, r.Failure)
	}
	if left := processesOf(t, tmp); len(left) > 0 {
		t.Errorf("still running: %q", left)
	}
}

// boxSocket returns the control socket of a box of the demo that works in tmp.
func boxSocket(t *testing.T, tmp, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(tmp, "*", name, "control.sock"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("sockets of the %s: %q", name, files)
	}
	return files[0]
}

// runningBox returns the process of a box of the demo that works in tmp, once
// its socket is there; 0 before.
func runningBox(t *testing.T, tmp, name string) (process int) {
	t.Helper()
	sockets, err := filepath.Glob(filepath.Join(tmp, "*", name, "control.sock"))
	check(t, err)
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if len(sockets) == 1 && bytes.Contains(b, []byte("run\x00")) && bytes.Contains(b, []byte(sockets[0])) {
			process, err = strconv.Atoi(filepath.Base(filepath.Dir(f)))
			check(t, err)
		}
	}
	return process
}

// processesOf returns the command lines of processes that have their things in
// a folder.
func processesOf(t *testing.T, dir string) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	for _, f := range files {
		b, _ := os.ReadFile(f) // it may have ended meanwhile
		if bytes.Contains(b, []byte(dir)) {
			lines = append(lines, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return lines
}

// Only when both have heard the other all is well.
func TestDemoVerdict(t *testing.T) {
	yes, no := heardReport{Heard: true}, heardReport{Segments: 20, Found: 3}
	for _, tt := range []struct {
		callee, caller heardReport
		say            []string
	}{
		{yes, yes, nil},
		{no, yes, []string{"callee has not heard what caller said: 3 of 20"}},
		{yes, no, []string{"caller has not heard what callee said"}},
		{no, no, []string{"callee has not heard", "caller has not heard"}},
	} {
		err := (&demoReport{HeardByCallee: tt.callee, HeardByCaller: tt.caller, Stalls: perSide{1, 2}}).verdict()
		if (err == nil) != (tt.say == nil) {
			t.Errorf("%+v: %v", tt, err)
		}
		for _, say := range tt.say {
			if !strings.Contains(err.Error(), "too busy for sound in real time: 3 times") {
				t.Errorf("%v, without the reason", err)
			}
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%v, want %q in it", err, say)
			}
		}
	}
}

// The embedded speech is speech: long enough for the verdict, and unlike the
// other one.
func TestDemoSpeech(t *testing.T) {
	a, err := loadSpeech("--speech", "", "speech")
	check(t, err)
	b, err := loadSpeech("--speech-back", "", "speech-back")
	check(t, err)
	dir := t.TempDir()
	for name, s := range map[string]*speech{"a.wav": a, "b.wav": b} {
		s.file = filepath.Join(dir, name)
		check(t, writeWAV(s.file, s.samples))
	}
	size := 0
	for _, name := range []string{"demo/speech.opus", "demo/speech-back.opus"} {
		b, err := speeches.ReadFile(name)
		check(t, err)
		size += len(b)
	}
	if size > 80_000 { // the program is to stay small
		t.Errorf("the speech takes %d bytes", size)
	}
	if a.length() < 3*time.Second || a.length() > 10*time.Second {
		t.Errorf("the speech lasts %v", a.length())
	}
	for _, tt := range []struct {
		name         string
		spoken, file *speech
		want         bool
	}{{"itself", a, a, true}, {"the other speech", a, b, false}} {
		r, err := compare(tt.spoken, tt.file.file)
		check(t, err)
		if r.Heard != tt.want {
			t.Errorf("%s: heard = %v, %d of %d", tt.name, r.Heard, r.Found, r.Active)
		}
	}
}

// A WAV file of another rate with two channels is brought to the form inside.
func TestDemoTakesAnyWAV(t *testing.T) {
	a, err := loadSpeech("--speech", "", "speech")
	check(t, err)
	stereo := filepath.Join(t.TempDir(), "stereo.wav")
	check(t, os.WriteFile(stereo, stereo24k(a.samples), 0o600))
	b, err := loadSpeech("--speech", stereo, "")
	check(t, err)
	if d := b.length() - a.length(); d < -time.Millisecond || d > time.Millisecond {
		t.Errorf("it lasts %v, want %v", b.length(), a.length())
	}
	if r := heard.Compare(a.samples, b.samples); !r.Heard {
		t.Errorf("it is another speech: %+v", r)
	}
}

// stereo24k is a WAV file of every second sample, on both channels.
func stereo24k(samples []int16) []byte {
	le := func(b []byte, n int, v uint32) []byte {
		for i := range n {
			b = append(b, byte(v>>(8*i)))
		}
		return b
	}
	var data []byte
	for i := 0; i+1 < len(samples); i += 2 {
		v := uint32(uint16((int(samples[i]) + int(samples[i+1])) / 2))
		data = le(le(data, 2, v), 2, v)
	}
	b := le([]byte("RIFF"), 4, uint32(36+len(data)))
	b = le(append(b, "WAVEfmt "...), 4, 16)
	for _, f := range []struct {
		n int
		v uint32
	}{{2, 1}, {2, 2}, {4, voice.RateHz / 2}, {4, voice.RateHz / 2 * 4}, {2, 4}, {2, 16}} {
		b = le(b, f.n, f.v)
	}
	b = le(append(b, "data"...), 4, uint32(len(data)))
	return append(b, data...)
}

// The names in report.json are fixed: others script them.
func TestDemoReportNames(t *testing.T) {
	b, err := json.Marshal(demoReport{})
	check(t, err)
	var got map[string]any
	check(t, json.Unmarshal(b, &got))
	for _, name := range strings.Fields("ok setup_ms lookup_ms tunnel_ms mouth_to_ear_ms voice_sent voice_received" +
		" voice_lost voice_late hops_caller hops_callee key_exchange allocs_per_frame") {
		if _, ok := got[name]; !ok {
			t.Errorf("report.json has no %s", name)
		}
	}
	for _, name := range []string{"voice_sent", "voice_received", "voice_lost", "voice_late"} {
		side, ok := got[name].(map[string]any)
		if !ok || side["caller"] == nil || side["callee"] == nil {
			t.Errorf("%s is %v, want an object with caller and callee", name, got[name])
		}
	}
}
