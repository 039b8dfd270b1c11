package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/heard"
)

// What the demo refuses, with exit status 2 and a word about what is wrong.
func TestDemoUsedWrongly(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.wav")
	check(t, os.WriteFile(text, []byte("no sound"), 0o600))
	for _, tt := range []struct{ args, want string }{
		{"demo --relays 4", "--relays 4"},
		{"demo --hops 4 --relays 99", "--hops 4"},
		{"demo --speech /nothing.wav", "/nothing.wav"},
		{"demo --speech-back " + text, "not a WAV file"},
		{"demo now", "takes 0 arguments"},
		{"demo --loud", "--loud"},
	} {
		var out, errOut bytes.Buffer
		args := append(strings.Fields(tt.args), "--out", t.TempDir())
		if status := run(t.Context(), args, nil, &out, &errOut); status != 2 || !strings.Contains(errOut.String(), tt.want) {
			t.Errorf("%s: status %d, want 2; said %q, want %q in it", tt.args, status, errOut.String(), tt.want)
		}
	}
}

// The embedded speech is speech: long enough for the verdict, and unlike the
// other one.
func TestDemoSpeech(t *testing.T) {
	dir := t.TempDir()
	a, err := loadSpeech("--speech", "", "speech", dir)
	check(t, err)
	b, err := loadSpeech("--speech-back", "", "speech-back", dir)
	check(t, err)
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
	dir := t.TempDir()
	a, err := loadSpeech("--speech", "", "speech", dir)
	check(t, err)
	stereo := filepath.Join(dir, "stereo.wav")
	check(t, os.WriteFile(stereo, stereo24k(a.samples), 0o600))
	b, err := loadSpeech("--speech", stereo, "", dir)
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
