package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hushbell/board"
	"hushbell/device/control"
)

// freshStart is how long a box may take until it can be called.
const freshStart = time.Minute

func (e *exam) running(context.Context) []Finding {
	const check = "box"
	switch {
	case errors.Is(e.statusErr, control.ErrNotRunning):
		return found(Warning, check, "none runs at "+e.Socket, "nobody can call, and the button does nothing",
			e.systemctl("start")+", or by hand hushbell run")
	case errors.Is(e.statusErr, fs.ErrPermission):
		return found(Unknown, check, e.Socket+" belongs to another user, so that the box could not be asked", "", asRoot)
	case e.statusErr != nil:
		return found(Fault, check, oneLine(e.statusErr), "a box that does not answer does not ring either", e.systemctl("restart"))
	case e.status.Version != e.Version:
		return found(Warning, check, fmt.Sprintf("runs, version %s; this program is %s", e.status.Version, e.Version),
			"an update counts from the next start", e.systemctl("restart"))
	}
	return ok(check, "runs as %s, %s for %v", e.user.name, e.status.State, time.Since(e.status.Since).Round(time.Second))
}

// A unit is what systemd knows of the service.
type unit struct {
	LoadState, ActiveState, SubState, UnitFileState, Result, User, Restarts string
	Groups                                                                  []string // SupplementaryGroups
}

const unitName = "hushbell.service"

// there reports whether there is such a unit.
func (u *unit) there() bool { return u.LoadState == "loaded" }

// ofUser reports whether it is the user's own systemd that would run the box.
func (e *exam) ofUser() bool { return !e.System && os.Geteuid() != 0 }

// systemctl is the command that does something with the service.
func (e *exam) systemctl(do string) string {
	if e.ofUser() {
		return "systemctl --user " + do + " hushbell"
	}
	return "sudo systemctl " + do + " hushbell"
}

// askSystemd asks for the unit; the zero unit is that there is nobody to ask.
func (e *exam) askSystemd(ctx context.Context) (u unit) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return u
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	args := []string{"show", unitName, "-p", "LoadState,ActiveState,SubState,UnitFileState,Result,User,NRestarts,SupplementaryGroups"}
	if e.ofUser() {
		args = append(args, "--user")
	}
	out, err := exec.CommandContext(ctx, "systemctl", args...).Output()
	if err != nil {
		return u
	}
	return parseUnit(out)
}

// parseUnit reads the KEY=VALUE lines of systemctl show.
func parseUnit(out []byte) (u unit) {
	fields := map[string]*string{"LoadState": &u.LoadState, "ActiveState": &u.ActiveState, "SubState": &u.SubState,
		"UnitFileState": &u.UnitFileState, "Result": &u.Result, "User": &u.User, "NRestarts": &u.Restarts}
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		if at := fields[key]; at != nil {
			*at = value
		} else if key == "SupplementaryGroups" {
			u.Groups = strings.Fields(value)
		}
	}
	return u
}

func (e *exam) service(context.Context) []Finding {
	const check, silent = "service", "nobody can call, and the button does nothing"
	journal := "see why: journalctl -b -u hushbell"
	if e.ofUser() {
		journal = "see why: journalctl --user -b -u hushbell"
	}
	u := &e.unit
	switch {
	case u.LoadState == "":
		return ok(check, "there is no systemd to ask: whoever starts the box has to see to it")
	case !u.there():
		return found(Warning, check, fmt.Sprintf("there is no %s (%s)", unitName, u.LoadState), "after a power cut nobody starts the box again",
			"install the package of hushbell, or write a unit")
	case u.ActiveState == "failed":
		return found(Fault, check, "has failed ("+u.Result+")", silent, journal)
	case u.ActiveState == "activating" && (u.SubState == "auto-restart" || u.Restarts != "" && u.Restarts != "0"):
		return found(Fault, check, "does not last: it was started again, so often: "+u.Restarts, silent, journal)
	case u.ActiveState == "activating" && !e.runs():
		return found(Warning, check, "is starting", silent+" yet", "look again in a minute")
	case u.ActiveState != "active" && e.runs():
		return found(Warning, check, "a box runs, but not as the service", "after a power cut, or when its terminal is closed, nobody starts it again",
			"end that one, then "+e.systemctl("enable --now"))
	case u.ActiveState != "active":
		return found(Warning, check, "is "+u.ActiveState, "no box runs", e.systemctl("enable --now"))
	case !strings.HasPrefix(u.UnitFileState, "enabled"):
		return found(Warning, check, "is active, but "+u.UnitFileState, "it does not start after a power cut", e.systemctl("enable"))
	case e.ofUser() && !e.lingers():
		return ok(check, "is active, and starts when %s logs in (at boot after sudo loginctl enable-linger %s)", e.user.name, e.user.name)
	}
	return ok(check, "is active and starts at boot")
}

// lingers reports whether systemd starts the user's own services at boot.
func (e *exam) lingers() bool {
	_, err := os.Stat("/var/lib/systemd/linger/" + e.user.name)
	return err == nil
}

// rights looks at who may open sound cards and GPIO chips.
func (e *exam) rights(context.Context) []Finding {
	const check = "rights"
	if e.cfg.Board.Name == board.Sim {
		return ok(check, "the simulated board needs none")
	}
	sound, _ := filepath.Glob("/dev/snd/pcm*")
	chips, _ := filepath.Glob("/dev/gpiochip*")
	var all []Finding
	for _, d := range []struct {
		files []string
		what  string
	}{{sound, "sound cards"}, {chips, "GPIO lines"}} {
		if f := e.deviceRights(check, d.what, d.files); f != nil {
			all = append(all, f...)
		}
	}
	switch {
	case len(sound)+len(chips) == 0:
		return ok(check, "there is no sound card and no GPIO chip that would need any")
	case len(all) == 0:
		return ok(check, "%s may use the %d devices of sound cards and GPIO chips", e.user.name, len(sound)+len(chips))
	}
	return all
}

// deviceRights looks at devices of one kind; nil if all may be used.
func (e *exam) deviceRights(check, what string, files []string) []Finding {
	for _, file := range files {
		fi, err := os.Stat(file)
		if err != nil || e.user.may(fi, canUse) || e.self && unix.Access(file, unix.R_OK|unix.W_OK) == nil {
			continue
		}
		why := "what cannot be opened cannot ring"
		gid := gidOf(fi)
		if fi.Mode().Perm()>>3&canUse != canUse || gid == 0 {
			return found(Fault, check, fmt.Sprintf("%s may not use %s: only root may open %s", e.user.name, what, file), why,
				"install the udev rules of hushbell, which give them to a group, and start the machine again")
		}
		group := groupName(gid)
		a := byUID(e.user.uid)
		if slices.Contains(a.groups, gid) {
			return found(Fault, check, fmt.Sprintf("%s may not use %s yet: it was put into the group %s after this began", e.user.name, what, group), why,
				"log in again, or start the box again")
		}
		return found(Fault, check, fmt.Sprintf("%s may not use %s: it is not in the group %s of %s", e.user.name, what, group, file), why,
			fmt.Sprintf("sudo usermod -aG %s %s, and start the box (or log in) again", group, e.user.name))
	}
	return nil
}

// priority looks at whether the box may have its sound served in time.
func (e *exam) priority(context.Context) []Finding {
	const check = "priority"
	if e.user.process == 0 {
		return ok(check, "can be seen while the box runs")
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", e.user.process))
	if err != nil {
		return unseen(check, "the limits of the box may not be read by this user")
	}
	for line := range bytes.Lines(b) {
		limit, is := bytes.CutPrefix(line, []byte("Max realtime priority"))
		if fields := strings.Fields(string(limit)); is && len(fields) > 0 {
			if fields[0] == "0" && e.user.uid != 0 {
				return found(Warning, check, "the box may have no real-time priority", "sound may stutter when the machine is busy",
					"run it as the service, or set LimitRTPRIO= in its unit (rtprio in /etc/security/limits.d)")
			}
			return ok(check, "the box may have real-time priority")
		}
	}
	return unseen(check, "the kernel does not tell the limits of the box")
}
