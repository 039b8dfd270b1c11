package deb

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

// noSound is the box of the system on a machine whose cards belong to the sound
// server of a user: it hears nothing there, and says why. A machine of namespaces
// has no cards, so that they are missing here instead of busy; what the box says
// of a busy one is tried on an emulated board (cross/story, busy-card).
func noSound(t *testing.T, s *system) {
	s.run(`sed -i 's/^name = "sim"/name = "auto"/' /etc/hushbell/hushbell.toml && systemctl restart hushbell`)
	s.until("the box of the system says why it is silent", "hushbell status", func(out string) bool {
		return strings.Contains(out, "no sound card that plays, and no sound server") && strings.Contains(out, "plug a sound card in")
	})
}

// A desktop is a user, with the units of the sound server of their session.
type desktop struct {
	server, user string
	units        []string
	says         string // of itself
}

var desktops = []desktop{
	{"PulseAudio", "on-pulse", []string{"pulseaudio.socket", "pulseaudio.service"}, "pulseaudio"},
	{"PipeWire", "on-pipewire", []string{"pipewire.socket", "pipewire.service", "pipewire-pulse.socket", "pipewire-pulse.service", "wireplumber.service"}, "PulseAudio (on PipeWire"},
}

// try is the box of a user who is logged in: as the README says, then with a sound
// server that comes later and goes in a call, and all that without being started again.
func (d desktop) try(t *testing.T, s *system) {
	as := s.as(d.user)
	user := as + "systemctl --user "
	d.prepare(s)

	s.login(d.user)
	s.run(user + "enable --now hushbell.service")
	d.hasSound(s, as) // by the server's socket, to which the box is the first who comes
	if out := s.run(as + "systemd-analyze --user verify --man=no hushbell.service 2>&1"); out != "" {
		t.Errorf("systemd-analyze verify says of the user's unit: %s", out)
	}
	// Who has left the box of the system running is told by its doctor.
	s.run("systemctl start hushbell && hushbell doctor | grep -F 'that of " + d.user + " runs, and the box runs as hushbell'; systemctl disable --now hushbell")
	s.logout(d.user)

	// A server that is not there at the login.
	s.run(d.links("ln -sf /dev/null", d.units))
	s.login(d.user)
	s.until("the box of the user runs since the login", user+"is-active hushbell.service", func(out string) bool { return out == "active" })
	s.until("it misses the sound server", as+"hushbell status", func(out string) bool { return strings.Contains(out, "no sound server") })
	s.run(d.links("rm -f", d.units) + user + "daemon-reload && " + user + "start " + strings.Join(d.units, " "))
	d.hasSound(s, as)
	d.sinks(s, as)

	s.run(as + "hushbell pid show | head -1 | hushbell contact add " + d.user + " --answer --state /var/lib/far --socket /var/lib/far/far.sock && " + as + "hushbell contact add far </var/lib/far/pid")
	s.until("the box of the user is online", user+"show -P StatusText hushbell.service", func(out string) bool { return strings.HasPrefix(out, "Can be called.") })
	s.run(as + "hushbell call far")
	d.talks(s, as)
	s.run(user + "restart " + strings.Join(d.units, " "))
	d.sinks(s, as)
	d.talks(s, as)
	s.stops(user, "hushbell.service")
	s.toldHangUp()
	s.want(user+"show -P NRestarts hushbell.service", "0")
	s.run(user + "disable hushbell.service")
	s.logout(d.user)
}

// noDesktop has the box of the system as it was before.
func noDesktop(t *testing.T, s *system) {
	s.run("cp -p /root/good.toml /etc/hushbell/hushbell.toml && systemctl stop far && hushbell contact remove far && systemctl enable --now hushbell")
}

// prepare makes the user, for whom the other server is masked: Debian starts
// every one that is installed.
func (d desktop) prepare(s *system) {
	s.t.Helper()
	s.run("useradd --create-home " + d.user)
	for _, other := range desktops {
		if other.server != d.server {
			s.run(d.links("ln -s /dev/null", other.units))
		}
	}
}

// links is a command for each of the user's links that stand for units.
func (d desktop) links(command string, units []string) string {
	line := "install -d -o " + d.user + " /home/" + d.user + "/.config /home/" + d.user + "/.config/systemd /home/" + d.user + "/.config/systemd/user\n"
	for _, unit := range units {
		line += command + " /home/" + d.user + "/.config/systemd/user/" + unit + "\n"
	}
	return line
}

// as begins a command of a user who is logged in.
func (s *system) as(user string) string {
	return "runuser -u " + user + " -- env XDG_RUNTIME_DIR=/run/user/$(id -u " + user + ") "
}

// login begins a session as a login does, and logout ends it, and with it the
// user's services.
func (s *system) login(user string) {
	s.t.Helper()
	s.run("systemd-run --quiet --unit=session-of-" + user + " --property=PAMName=login --property=User=" + user + " sleep infinity")
	s.until("the session of "+user+" is up", s.as(user)+"systemctl --user is-system-running", func(out string) bool {
		return out == "running" || out == "degraded"
	})
}

func (s *system) logout(user string) {
	s.t.Helper()
	s.run("loginctl terminate-user " + user)
	s.until(user+" is gone", "systemctl is-active user@$(id -u "+user+") || true", func(out string) bool { return out == "inactive" })
}

func (d desktop) hasSound(s *system, as string) {
	s.t.Helper()
	s.until("the box of the user has sound", as+"hushbell status", func(out string) bool {
		return strings.Contains(out, "\nsound ") && !strings.Contains(out, "speaker     does not work") && !strings.Contains(out, "microphone  does not work")
	})
}

// The two ends of a call speak tones of whole waves in 100 ms.
const (
	farHz  = 500
	nearHz = 700
)

// sinks gives the server a speaker whose monitor tells what is played, and a
// microphone that hears a tone.
func (d desktop) sinks(s *system, as string) {
	s.t.Helper()
	s.until("the server answers", as+"pactl info", func(out string) bool { return strings.Contains(out, "Server Name: "+d.says) })
	s.write("home/"+d.user+"/tone.wav", toneWAV(nearHz), 0o644)
	s.run(as + `sh -ec '
		pactl load-module module-null-sink sink_name=loud rate=48000 channels=1
		pactl load-module module-null-sink sink_name=quiet rate=48000 channels=1
		pactl set-default-sink loud
		pactl set-default-source quiet.monitor
		systemd-run --user --quiet --collect paplay --device=quiet ~/tone.wav'`)
}

// talks waits until both ends of the call hear each other's tone by way of the
// sound server, which lists the box's streams.
func (d desktop) talks(s *system, as string) {
	s.t.Helper()
	for _, kind := range []string{"sink-inputs", "source-outputs"} {
		s.until("the server has a stream of the box", as+"pactl list "+kind, func(out string) bool { return strings.Contains(out, `application.name = "Hushbell"`) })
	}
	hears := func(hz int) func(string) bool {
		return func(out string) bool { return tenths(out, hz) >= 8 }
	}
	s.until("the user hears the far end", as+"parec --raw --device=loud.monitor --rate=48000 --channels=1 --format=s16le | head -c 96000 | base64", hears(farHz))
	s.until("the far end hears the user", "tail -c 96000 /var/lib/far/heard.wav | base64", hears(nearHz))
}

// tenths is in how many tenths of the second of sound the tone is most of it.
func tenths(sound string, hz int) (n int) {
	data, _ := base64.StdEncoding.DecodeString(strings.ReplaceAll(sound, "\n", ""))
	for ; len(data) >= 9600; data = data[9600:] {
		var sin, cos, all float64
		for i := range 4800 {
			v := float64(int16(binary.LittleEndian.Uint16(data[2*i:])))
			a := 2 * math.Pi * float64(hz*i) / 48000
			sin, cos, all = sin+v*math.Sin(a), cos+v*math.Cos(a), all+v*v
		}
		if tone := 2 * (sin*sin + cos*cos) / 4800; all > 4800*100*100 && tone > 0.8*all {
			n++
		}
	}
	return n
}

// toneWAV is four minutes of a tone, 8000 mono samples of 16 bits a second.
func toneWAV(hz int) string {
	const rate, size = 8000, 240 * 8000 * 2
	b := []byte("RIFF----WAVEfmt ")
	binary.LittleEndian.PutUint32(b[4:], 36+size)
	for _, v := range []uint32{16, 1<<16 | 1, rate, rate * 2, 16<<16 | 2} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), size)
	for i := range size / 2 {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*float64(hz*i)/rate))))
	}
	return string(b)
}
