package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hushbell/voipcore"
)

// mostRelays is how many bootstrap relays are asked: the first ones.
const mostRelays = 16

// probes are what the bootstrap relays have shown.
type probes struct {
	err     error // why none could be asked
	answers []voipcore.Probed
}

// relaysAsked are those that Probe asks.
func (e *exam) relaysAsked() []netip.AddrPort {
	return e.cfg.Bootstrap[:min(len(e.cfg.Bootstrap), mostRelays)]
}

func (e *exam) network(context.Context) []Finding {
	const check = "network"
	to := e.relaysAsked()
	if len(to) == 0 { // any: no packet is sent, the kernel looks for a way
		to = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:9"), netip.MustParseAddrPort("[2001:db8::1]:9")}
	}
	var why error
	for _, a := range to {
		c, err := net.Dial("udp", a.String())
		if err == nil {
			c.Close()
			e.connected = true
			return ok(check, "%s", strings.Join(interfaces(), ", "))
		}
		why = err
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			why = op.Err
		}
	}
	up := strings.Join(interfaces(), ", ")
	if up == "" {
		up = "no interface is up"
	} else {
		up += " is up"
	}
	return found(Fault, check, fmt.Sprintf("there is no way to the relays (%v), %s", why, up), "nobody can be called, and nobody can call",
		"plug the cable in, or join the Wi-Fi; ip address and ip route show what there is")
}

// interfaces are those that are up, without the loopback, unless it is alone.
func interfaces() []string {
	list, _ := net.Interfaces()
	var up, loopback []string
	for _, i := range list {
		addrs, _ := i.Addrs()
		switch {
		case i.Flags&net.FlagRunning == 0 || len(addrs) == 0:
		case i.Flags&net.FlagLoopback != 0:
			loopback = append(loopback, i.Name)
		default:
			up = append(up, i.Name)
		}
	}
	if up == nil {
		return loopback
	}
	return up
}

// probe asks the relays, once.
func (e *exam) probe(ctx context.Context) *probes {
	if e.probed == nil {
		e.probed = new(probes)
		e.probed.answers, e.probed.err = voipcore.Probe(ctx, voipcore.Config{TestNetwork: e.cfg.TestNetwork}, e.relaysAsked())
	}
	return e.probed
}

// relaysKnown counts the relays that the box has learned of.
func (e *exam) relaysKnown() int {
	if e.runs() {
		return e.status.Relays
	}
	b, _ := os.ReadFile(filepath.Join(e.State, "relays"))
	return bytes.Count(b, []byte("relay "))
}

func (e *exam) relays(ctx context.Context) []Finding {
	const check, why = "relays", "all calls go through relays, and the first ones are found through these"
	switch {
	case e.cfgErr != nil:
		return found(Unknown, check, "not asked: which they are is in the configuration", "", "mend that first")
	case len(e.cfg.Bootstrap) == 0 && e.relaysKnown() > 0:
		return found(Warning, check, fmt.Sprintf("none to begin with; %d are known from before", e.relaysKnown()),
			"should the state folder be lost, the box finds no relay any more", "name some as bootstrap in the configuration")
	case len(e.cfg.Bootstrap) == 0:
		return found(Fault, check, "none to begin with, and none known from before", why, "name some as bootstrap in the configuration")
	case !e.connected:
		return found(Unknown, check, "not asked: there is no network", "", "mend that first")
	}
	p := e.probe(ctx)
	if p.err != nil {
		return found(Fault, check, oneLine(p.err), why, "look at the limits of this user (ulimit -n), and at the log of the kernel (dmesg)")
	}
	var dead []string
	private := false
	for _, a := range p.answers {
		if a.Err != nil {
			dead = append(dead, fmt.Sprintf("%v: %s", a.Addr, reason(a.Err)))
			private = private || errors.Is(a.Err, voipcore.ErrPrivate)
		}
	}
	remedy := "look whether the relay runs there, whether address and port are right, and whether the firewall lets TCP out to that port"
	if private {
		remedy = "for a swarm in a home network or on one machine: test_network = true; else name public addresses"
	}
	level := Warning
	switch {
	case len(dead) == 0:
		return ok(check, "%d of %d answer, %d are known", len(p.answers), len(p.answers), e.relaysKnown())
	case len(dead) == len(p.answers) && !(e.runs() && e.status.Online):
		level = Fault
	}
	return found(level, check, fmt.Sprintf("%d of %d do not answer: %s", len(dead), len(p.answers), strings.Join(dead, "; ")), why, remedy)
}

// reason is an error of a relay without the names of packages and the addresses,
// which are said already.
func reason(err error) string {
	text := oneLine(err)
	if i := strings.LastIndex(text, "connect: "); i >= 0 {
		return text[i+len("connect: "):]
	}
	return strings.TrimPrefix(text, "kx: ")
}

// answered are the relays that answer.
func (e *exam) answered(ctx context.Context) []voipcore.Probed {
	if !e.connected || len(e.cfg.Bootstrap) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(e.probe(ctx).answers), func(a voipcore.Probed) bool { return a.Err != nil })
}

func (e *exam) udp(ctx context.Context) []Finding {
	const check = "UDP"
	answered := e.answered(ctx)
	if len(answered) == 0 {
		return found(Unknown, check, "not tried: no relay answers", "", "mend that first")
	}
	var blocked []string
	for _, a := range answered {
		if !a.UDP {
			blocked = append(blocked, a.Addr.String())
		}
	}
	const why = "voice takes TCP instead: calls work, and what is said comes late when the network is bad"
	const remedy = "let UDP out to the ports of relays, and answers in: look at the firewall of this machine (nft list ruleset) and of the router"
	switch len(blocked) {
	case 0:
		return ok(check, "passes, there and back")
	case len(answered):
		return found(Fault, check, "does not pass: relays that answer by TCP do not by UDP", why, remedy)
	}
	return found(Warning, check, "does not pass to "+strings.Join(blocked, ", "), why, remedy)
}

// maxAhead is how wrong a clock may be without being wrong: relays tell whole
// seconds, and records are judged by minutes.
const maxAhead = time.Minute

func (e *exam) clock(ctx context.Context) []Finding {
	const check = "clock"
	const why = "the times in the log are wrong; and until three relays have told it the time, the box takes what others publish for out of date"
	const remedy = "sudo timedatectl set-ntp true, or set it with date -s; a board without a battery has the wrong time until the network is there"
	now := time.Now()
	if now.Before(e.Build) {
		return found(Fault, check, fmt.Sprintf("it shows %s, and this program was made later", now.Format(time.RFC1123)), why, remedy)
	}
	var ahead []time.Duration
	for _, a := range e.answered(ctx) {
		ahead = append(ahead, a.Ahead)
	}
	by := fmt.Sprintf("%d relays", len(ahead))
	if len(ahead) == 0 && e.runs() && e.status.Clock.Trusted {
		ahead = []time.Duration{time.Duration(e.status.Clock.OffsetMS * float64(time.Millisecond))}
		by = fmt.Sprintf("relays in %d networks", e.status.Clock.Networks)
	}
	if len(ahead) == 0 {
		return found(Unknown, check, fmt.Sprintf("it shows %s, and no relay tells whether that is right", now.Format(time.RFC1123)), "", "")
	}
	slices.Sort(ahead)
	off := ahead[len(ahead)/2].Round(time.Second)
	switch {
	case off > maxAhead:
		return found(Fault, check, fmt.Sprintf("it is %v behind what %s tell", off, by), why, remedy)
	case off < -maxAhead:
		return found(Fault, check, fmt.Sprintf("it is %v ahead of what %s tell", -off, by), why, remedy)
	}
	return ok(check, "right within a minute, by %s", by)
}

// online is what the running box says of itself in the end.
func (e *exam) online(context.Context) []Finding {
	const check = "online"
	switch {
	case !e.runs():
		return nil
	case e.status.Online:
		return ok(check, "the box can be called")
	case time.Since(e.status.Since) < freshStart:
		return found(Warning, check, "the box cannot be called yet", "it has just been started", "look again in a minute")
	}
	return found(Fault, check, "the box cannot be called at present, and tries again", "nobody reaches it", "mend what is said of network, relays and clock; the log tells more, from journalctl -u hushbell")
}
