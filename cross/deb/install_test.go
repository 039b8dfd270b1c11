package deb

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// relays is how many make a swarm that works.
const relays = 5

// The life of a package on a Debian that runs, as its owner sees it. The parts
// are in order, each from where the one before has left the system.
func TestLife(t *testing.T) {
	deb, newer := built(t, "amd64"), newerPackage(t)
	s := newSystem(t)
	output(t, append(s.sudo, "cp", deb, filepath.Join(s.root, "root/hushbell.deb"))...)
	output(t, append(s.sudo, "cp", newer, filepath.Join(s.root, "root/newer.deb"))...)

	part := func(name string, f func(t *testing.T, s *system)) {
		if !t.Failed() {
			outer := s.t
			t.Run(name, func(t *testing.T) { s.t = t; f(t, s) })
			s.t = outer
		}
	}
	part("into an image, where nothing runs", imageInstall)
	part("first boot", firstBoot)
	part("hardening", hardening)
	part("who may ask", whoMayAsk)
	part("online, with relays that are services", online)
	part("network that comes late", lateNetwork)
	part("stopped in a call", stoppedInCall)
	part("killed", killed)
	part("frozen", frozen)
	part("wrong configuration", wrongConfiguration)
	part("start that fails", failingStart)
	part("upgrade", upgrade)
	part("desktop, where it has no sound", noSound)
	for _, d := range desktops {
		part("desktop with "+d.server, d.try)
	}
	part("no desktop any more", noDesktop)
	part("power cut", powerCut)
	part("remove and install", removeAndInstall)
	part("credentials, read-only root and no state", readOnly)
	part("purge", purge)
}

// newerPackage is the same package as a later version, with other words in its
// configuration.
func newerPackage(t *testing.T) string {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "newer.deb")
	output(t, "dpkg-deb", "-R", built(t, "amd64"), dir)
	output(t, "sed", "-i", `s/^Version: .*/&+newer/`, filepath.Join(dir, "DEBIAN/control"))
	output(t, "sed", "-i", "1i # A newer comment.", filepath.Join(dir, "etc/hushbell/hushbell.toml"))
	output(t, "dpkg-deb", "--root-owner-group", "-Znone", "-b", dir, file)
	return file
}

// Images are made by chroot, with no systemd to talk to. Their first boot, which
// the machine id is empty for, applies presets to all units.
func imageInstall(t *testing.T, s *system) {
	s.write("etc/machine-id", "uninitialized\n", 0o444)
	output(t, append(s.sudo, "chroot", s.root, "systemctl", "mask", "systemd-firstboot.service")...) // has nobody to ask here
	output(t, append(s.sudo, "chroot", s.root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "-y", "/root/hushbell.deb")...)
}

func firstBoot(t *testing.T, s *system) {
	s.up()
	s.has("hushbell", "ActiveState", "active")
	s.has("hushbell", "StatusText", "Cannot be called") // there is neither a network nor a relay
	s.want("stat -c '%a %U' /var/lib/hushbell /var/lib/hushbell/pids /var/lib/hushbell/pids/box.key", "700 hushbell\n700 hushbell\n600 hushbell")
	s.want("systemctl is-enabled hushbell", "enabled")
	s.run("hushbell pid show --qr")
	s.run("journalctl -u hushbell -p warning --no-pager | grep 'the box had no pid'")
	s.run("systemctl --global preset hushbell.service") // as the makers of some images do
	s.want("systemctl is-enabled hushbell-relay || true", "disabled")
	s.want("systemctl --global is-enabled hushbell || true", "disabled")
	if out := s.run("journalctl -b --no-pager | grep -iE 'unknown (key|lvalue|section)|hushbell.*ignoring' || true"); out != "" {
		t.Errorf("systemd does not understand: %s", out)
	}
}

func hardening(t *testing.T, s *system) {
	for _, unit := range []string{"hushbell.service", "hushbell-relay.service"} {
		if out := s.run("systemd-analyze verify --man=no " + unit + " 2>&1"); out != "" {
			t.Errorf("systemd-analyze verify says of %s: %s", unit, out)
		}
		s.run("systemd-analyze security --no-pager --offline=true --threshold=20 /lib/systemd/system/" + unit)
		// Hanging up needs the network: it goes after the service.
		after := strings.Fields(s.property(unit, "After"))
		for _, want := range []string{"network.target", "nss-lookup.target"} {
			if !slices.Contains(after, want) {
				t.Errorf("%s is not ordered after %s: %q", unit, want, after)
			}
		}
	}
	status := s.run("cat /proc/$(systemctl show -P MainPID hushbell)/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(status, want) {
			t.Errorf("the box runs without %q:\n%s", want, status)
		}
	}
	s.want("id -nG hushbell | tr ' ' '\\n' | sort | xargs", "audio gpio hushbell")
	s.want("id -nG hushbell-relay", "hushbell-relay")
	s.want("systemctl show -P LimitRTPRIO hushbell", "10") // alsa.Priority; whether the kernel obeys is for a board to tell
}

func whoMayAsk(t *testing.T, s *system) {
	s.run("useradd --create-home --groups hushbell member; useradd --create-home stranger")
	s.run("runuser -u member -- hushbell status")
	s.fails("runuser -u stranger -- hushbell status", "become one of its group")
	s.fails("runuser -u member -- cat /var/lib/hushbell/pids/box.key", "Permission denied")
}

// online is a swarm in the system, one of it the packaged relay, and the box
// that finds it.
func online(t *testing.T, s *system) {
	var addrs []string
	for i := range relays {
		addrs = append(addrs, fmt.Sprintf("%q", relayAddr(i)))
	}
	bootstrap := "test_network = true\nbootstrap = [" + strings.Join(addrs[:3], ", ") + "]\n"
	s.write("etc/hushbell/relay.toml", bootstrap+"[relay]\nlisten = "+addrs[0]+"\n", 0o644)
	s.run("systemctl enable --now hushbell-relay")
	s.has("hushbell-relay", "ActiveState", "active")
	s.has("hushbell-relay", "StatusText", "Passes on calls of others.")
	s.otherRelays()
	// There is no card here, so the box plays and records files.
	s.run(`sed -i '/^#bootstrap/d; /^#test_network/d; s/^#name = .*/name = "sim"/' /etc/hushbell/hushbell.toml`)
	s.write("root/head", bootstrap, 0o644)
	s.run("sed -i '1r /root/head' /etc/hushbell/hushbell.toml && systemctl restart hushbell")
	s.has("hushbell", "StatusText", "Can be called.")
	s.run("systemctl reload hushbell")
	s.until("the configuration is read again", "journalctl -u hushbell --no-pager", func(out string) bool { return strings.Contains(out, "were read again") })
	s.stops("systemctl", "hushbell")
	s.run("systemctl start hushbell")
	s.has("hushbell", "StatusText", "Can be called.")
	s.stops("systemctl", "hushbell-relay")
	s.run("systemctl start hushbell-relay")
}

func relayAddr(i int) string { return fmt.Sprintf("127.0.0.1:%d", 4710+i) }

// otherRelays starts those beside the packaged one.
func (s *system) otherRelays() {
	s.t.Helper()
	for i := range relays - 1 {
		s.run(fmt.Sprintf("systemd-run --quiet --unit=other-relay-%d --property=Type=notify hushbell relay --state /tmp/relay-%d --test-network --listen %s --bootstrap %s",
			i, i, relayAddr(i+1), relayAddr(0)))
	}
}

// lateNetwork is one that is not there yet when the box starts: nobody has to
// start it again.
func lateNetwork(t *testing.T, s *system) {
	s.network("down")
	s.run("rm /var/lib/hushbell/relays && systemctl restart hushbell") // as at a first start
	s.has("hushbell", "StatusText", "Cannot be called")
	s.network("up")
	s.has("hushbell", "StatusText", "Can be called.")
	s.want("systemctl show -P NRestarts hushbell", "0")
}

// stoppedInCall has the service call another box, which it leaves behind, and
// stops it while they talk: the other one is told that it hangs up.
func stoppedInCall(t *testing.T, s *system) {
	s.write("var/lib/far/tone.wav", toneWAV(farHz), 0o644)
	s.run(`cd /var/lib/far
		{ head -3 /etc/hushbell/hushbell.toml | grep -E 'bootstrap|test_network'
		printf 'listen = "127.0.0.1:0"\n[board]\nname = "sim"\nmicrophone = "tone.wav"\nspeaker = "heard.wav"\n'; } >hushbell.toml
		hushbell pid new --state . | head -1 >pid
		hushbell pid show | head -1 | hushbell contact add near --answer --state . --socket far.sock
		hushbell contact add far <pid
		systemd-run --quiet --unit=far --property=Type=notify hushbell run --state /var/lib/far --config /var/lib/far/hushbell.toml --socket /var/lib/far/far.sock`)
	s.has("far", "StatusText", "Can be called.")
	s.run("hushbell call far")
	s.has("hushbell", "StatusText", "In a call.")
	s.stops("systemctl", "hushbell")
	s.toldHangUp()
	s.run("systemctl start hushbell")
}

// toldHangUp waits for the far box to know that its last call is over because
// the other side has hung up.
func (s *system) toldHangUp() {
	s.t.Helper()
	s.until("the far box is told", "hushbell status --json --socket /var/lib/far/far.sock", func(out string) bool {
		var st struct{ Call struct{ Reason string } }
		return json.Unmarshal([]byte(out), &st) == nil && st.Call.Reason == "ended"
	})
}

// units are the services, with what they say when all is well.
var units = map[string]string{"hushbell": "Can be called.", "hushbell-relay": "Passes on calls of others."}

func killed(t *testing.T, s *system) {
	before := s.run("hushbell pid list")
	for unit, well := range units {
		s.run("systemctl reset-failed " + unit + " && systemctl kill --signal=KILL " + unit)
		s.has(unit, "NRestarts", "1")
		s.has(unit, "StatusText", well)
	}
	s.want("hushbell pid list", before)
}

// frozen are a box and a relay that live, and do nothing.
func frozen(t *testing.T, s *system) {
	old := map[string]string{}
	for unit := range units {
		s.dropIn(unit, "WatchdogSec=2s", "TimeoutStopSec=1s")
		s.run("systemctl restart " + unit + " && systemctl reset-failed " + unit)
		old[unit] = s.property(unit, "MainPID")
	}
	// Longer than the watchdog waits: it is fed while they turn.
	s.run("sleep 3")
	for unit := range units {
		s.want("systemctl show -P NRestarts "+unit, "0")
		s.run("kill -STOP " + old[unit])
	}
	for unit := range units {
		s.has(unit, "NRestarts", "1")
		s.has(unit, "ActiveState", "active")
		if now := s.property(unit, "MainPID"); now == old[unit] {
			t.Errorf("the frozen %s still is", unit)
		}
		if out := s.run("journalctl -u " + unit + " --no-pager | grep -ci 'watchdog timeout'"); out != "1" {
			t.Errorf("the journal has %s watchdog timeouts of %s, want 1", out, unit)
		}
		s.run("rm -r /run/systemd/system/" + unit + ".service.d && systemctl daemon-reload && systemctl restart " + unit)
	}
}

// dropIn changes a service until the next boot, from its next start on.
func (s *system) dropIn(unit string, lines ...string) {
	s.t.Helper()
	dir := "/run/systemd/system/" + unit + ".service.d"
	s.run("mkdir -p " + dir + " && printf '[Service]\\n" + strings.Join(lines, "\\n") + "\\n' >" + dir + "/test.conf && systemctl daemon-reload")
}

func wrongConfiguration(t *testing.T, s *system) {
	s.run("cp -p /etc/hushbell/hushbell.toml /root/good.toml && echo 'hops = 9' >/etc/hushbell/hushbell.toml")
	s.fails("systemctl restart hushbell", "failed")
	s.has("hushbell", "ActiveState", "failed") // and is not tried again and again
	s.want("systemctl show -P ExecMainStatus hushbell", "78")
	s.run("journalctl -u hushbell --no-pager | grep -F 'hushbell.toml:1: hops: 9 hops'")
	s.run("dpkg -i /root/hushbell.deb 2>&1 | grep -x 'hushbell did not start: systemctl status hushbell'")
	s.run("cp -p /root/good.toml /etc/hushbell/hushbell.toml && systemctl start hushbell")
	s.has("hushbell", "StatusText", "Can be called.")
}

// failingStart is one that may heal: it is tried again, and not all the time.
func failingStart(t *testing.T, s *system) {
	s.run("chmod 644 /var/lib/hushbell/pids/box.key; systemctl restart hushbell || true")
	s.has("hushbell", "StatusText", "Ended 3 times in a row: waits 2s")
	s.run("journalctl -u hushbell --no-pager | grep -F 'is open to other users'")
	s.run("chmod 600 /var/lib/hushbell/pids/box.key")
	s.has("hushbell", "StatusText", "Can be called.")
}

// upgrade comes in mid-call: that is hung up, and the box is back.
func upgrade(t *testing.T, s *system) {
	s.run("hushbell call far")
	s.has("hushbell", "StatusText", "In a call.")
	pids, old := s.run("hushbell pid list"), s.property("hushbell", "MainPID")
	s.run("apt-get install -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /root/newer.deb")
	s.toldHangUp()
	s.want("cmp /root/good.toml /etc/hushbell/hushbell.toml && echo kept", "kept")
	s.run("grep 'A newer comment' /etc/hushbell/hushbell.toml.dpkg-dist")
	s.want("hushbell pid list", pids)
	s.has("hushbell", "StatusText", "Can be called.")
	if now := s.property("hushbell", "MainPID"); now == old {
		t.Error("the old program still runs")
	}
	s.has("hushbell-relay", "ActiveState", "active")
	// What its owner has switched off stays off.
	s.run("systemctl disable --now hushbell && apt-get install -y --allow-downgrades -o Dpkg::Options::=--force-confold /root/hushbell.deb")
	s.want("systemctl is-enabled hushbell || true", "disabled")
	s.want("systemctl is-active hushbell || true", "inactive")
	s.run("systemctl enable --now hushbell")
}

func powerCut(t *testing.T, s *system) {
	pids := s.run("hushbell pid list")
	s.unplug()
	s.up()
	s.has("hushbell", "ActiveState", "active")
	s.want("hushbell pid list", pids)
	s.has("hushbell-relay", "ActiveState", "active")
}

func removeAndInstall(t *testing.T, s *system) {
	pids := s.run("hushbell pid list")
	s.fails("echo 'hops = 9' >/etc/hushbell/hushbell.toml && systemctl restart hushbell", "failed")
	s.run("cp -p /root/good.toml /etc/hushbell/hushbell.toml && apt-get remove -y hushbell")
	s.want("pgrep -x hushbell || echo none", "none")
	s.run("test -s /var/lib/hushbell/pids/box.key && test -s /var/lib/hushbell-relay/relay.key && cmp /root/good.toml /etc/hushbell/hushbell.toml")
	s.want("systemctl --failed --no-legend --plain", "")
	s.run("apt-get install -y /root/hushbell.deb")
	s.has("hushbell", "ActiveState", "active")
	s.want("hushbell pid list", pids)
	s.want("systemctl is-enabled hushbell hushbell-relay", "enabled\nenabled")
	s.has("hushbell-relay", "ActiveState", "active")
}

// readOnly is a system that keeps nothing: the root cannot be written, /var is
// empty at each boot, and the key is a credential.
func readOnly(t *testing.T, s *system) {
	pids := s.run("hushbell pid list")
	s.run("mkdir -p -m 700 /etc/credstore && cp /var/lib/hushbell/pids/box.key /etc/credstore/hushbell.pid && cp /var/lib/hushbell-relay/relay.key /etc/credstore/hushbell.relay")
	s.run("hushbell contact add far " + strings.Fields(pids)[1] + " && cp /var/lib/hushbell/contacts.toml /etc/credstore/hushbell.contacts && sync")
	s.unplug()
	s.up("read-only")
	s.fails("touch /usr/test", "Read-only")
	s.has("hushbell", "ActiveState", "active")
	s.want("hushbell pid list", pids)
	s.run("hushbell contact list | grep far")
	s.run("journalctl -u hushbell --no-pager | grep -F 'box is ready'")
	s.want("find /var/lib/hushbell /var/lib/hushbell-relay -name '*.key'", "") // it was not copied
	s.has("hushbell-relay", "ActiveState", "active")
	s.otherRelays()
	s.has("hushbell", "StatusText", "Can be called.")
	// Nor can the state folders be written.
	for unit := range units {
		s.dropIn(unit, "TemporaryFileSystem=/var/lib/"+unit+":ro")
	}
	s.run("systemctl restart hushbell-relay hushbell")
	for unit, well := range units {
		s.has(unit, "StatusText", well)
		s.run("journalctl -u " + unit + " --no-pager | grep -F 'state folder is read only'")
	}
	s.want("hushbell pid list", pids)
	for unit := range units {
		s.stops("systemctl", unit)
	}
	s.unplug()
	s.up()
	s.run("rm -r /etc/credstore")
}

func purge(t *testing.T, s *system) {
	s.run("apt-get purge -y hushbell")
	for _, path := range []string{"/etc/hushbell", "/var/lib/hushbell", "/var/lib/hushbell-relay", "/run/hushbell", "/usr/lib/udev/rules.d/60-hushbell.rules"} {
		if out := s.run("ls -d " + path + " 2>/dev/null || true"); out != "" {
			t.Errorf("purge has left %s", out)
		}
	}
	s.want("find /etc/systemd -name '*hushbell*'", "")
	s.want("dpkg-query -W hushbell 2>/dev/null || echo none", "none")
	s.want("systemctl --failed --no-legend --plain", "")
	s.unplug()
	if _, err := os.Stat(filepath.Join(s.root, "usr/bin/hushbell")); err == nil {
		t.Error("purge has left the program")
	}
}
