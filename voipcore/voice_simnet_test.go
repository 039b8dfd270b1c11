package voipcore

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"hushbell/voipcore/call"
	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/wire"
)

// A call over a network that delays, loses, repeats and disorders: it comes
// about, most frames arrive, and the counters say what became of the others.
func TestSimCallOverBadNetwork(t *testing.T) {
	bad := simnet.Link{Delay: 40 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.02, Duplicate: 0.02, Reorder: 0.02}
	inWorld(t, 8, bad, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		id, _ := connect(t, a, b)
		const seconds = 30
		talk20ms(seconds*50, a, b)
		time.Sleep(time.Second)
		ra, rb := hangUp(t, a, b, id)
		for who, r := range map[string][2]Report{"caller": {ra, rb}, "callee": {rb, ra}} {
			v, sent := r[0].Voice, r[1].Sent
			// Six links that lose 2 % each let 88.6 % through.
			if sent != seconds*50 || v.Received+v.Late < sent*82/100 || v.Received+v.Late > sent*95/100 {
				t.Errorf("%s: of %d frames %+v", who, sent, v)
			}
			if all := v.Received + v.Late + v.Lost; all > sent || all < sent-20 {
				t.Errorf("%s: the counters account for %d of %d frames: %+v", who, all, sent, v)
			}
			if v.Repaired < (v.Lost+v.Late)*6/10 || v.Repeated > 0 || v.Malformed > 0 {
				t.Errorf("%s: %+v", who, v)
			}
		}
	})
}

// An attacker on any link of a call, in either direction, alters, repeats and
// disorders its voice cells: what was not sent is never heard, nothing is heard
// twice, each bad cell is counted where it arrives, and the call goes on.
func TestSimVoiceTamperedWith(t *testing.T) {
	inWorld(t, 8, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		a, b := w.pair(t)
		ida, idb := connect(t, a, b)
		talk20ms(100, a, b) // UDP is found to be up everywhere
		time.Sleep(time.Second)
		nodes := append(slices.Clone(w.relays), a.Core, b.Core)
		dropped := func() (n uint64) {
			for _, c := range nodes {
				n += c.node.Traffic.VoiceDropped.Load()
			}
			return n
		}
		// From here on it is our own payloads that go through the sessions: a
		// payload is a function of its timestamp.
		fill := func(from, timestamp uint32) (p [wire.PayloadSize]byte) {
			for i := 0; i < len(p); i += 8 {
				binary.BigEndian.PutUint32(p[i:], from)
				binary.BigEndian.PutUint32(p[i+4:], timestamp*2654435761+uint32(i))
			}
			return p
		}
		var mu sync.Mutex
		got := [2]map[uint32]int{{}, {}}
		ends := [2]*leg{a.leg(ida), b.leg(idb)}
		for i, l := range ends {
			l.session.OnVoice(func(timestamp uint32, payload []byte) {
				mu.Lock()
				defer mu.Unlock()
				got[i][timestamp]++
				if want := fill(uint32(1-i), timestamp); !slices.Equal(payload, want[:]) {
					t.Errorf("end %d heard a frame that nobody spoke", i)
				}
			})
		}
		var timestamp uint32
		speak := func(frames int) (first uint32) {
			first = timestamp
			for range frames {
				for i, l := range ends {
					p := fill(uint32(i), timestamp)
					if err := l.session.SendVoice(timestamp, p[:]); err != nil {
						t.Fatal(err)
					}
				}
				timestamp++
				time.Sleep(20 * time.Millisecond)
			}
			time.Sleep(time.Second)
			return first
		}
		hosts := [2]*simnet.Host{a.cfg.Network.(simHost).Host, b.cfg.Network.(simHost).Host}
		for side, l := range ends {
			for hop := range l.tunnel.Path() {
				near, far := w.link(hosts[side], l.tunnel, hop)
				for _, dir := range [][2]netip.Addr{{near.Addr(), far.Addr()}, {far.Addr(), near.Addr()}} {
					a := attacker{Net: w.Net, from: dir[0], to: dir[1]}
					before := dropped()
					w.Intercept(a.tamper)
					first := speak(60)
					w.Intercept(nil)
					speak(10)
					if a.altered < 10 || a.repeated < 10 || a.delayed < 10 {
						t.Fatalf("the attacker met too few cells: %+v", a)
					}
					if n := dropped() - before; n != uint64(a.altered+a.repeated) {
						t.Errorf("%d altered and %d repeated cells: %d were counted as dropped", a.altered, a.repeated, n)
					}
					mu.Lock()
					for end := range got {
						lost := 0
						for ts := first; ts < timestamp; ts++ {
							switch got[end][ts] {
							case 0:
								lost++
							case 1:
							default:
								t.Errorf("a frame was heard %d times", got[end][ts])
							}
						}
						if lost > a.altered {
							t.Errorf("%d frames were lost, %d cells altered", lost, a.altered)
						}
					}
					mu.Unlock()
				}
			}
		}
		for i, l := range ends {
			if n := l.session.VoiceDropped(); n != 0 {
				t.Errorf("%d bad frames got as far as session %d: whoever is on a link must not get past it", n, i)
			}
		}
		if a.legs() != 1 || b.legs() != 1 {
			t.Error("the call did not go on")
		}
		hangUp(t, a, b, ida)
	})
}

// An attacker on one link, in one direction, alters every fourth cell, repeats
// the next, and holds the other two back so that they come in another order.
type attacker struct {
	*simnet.Net
	from, to netip.Addr

	seen, altered, repeated, delayed int
}

// tamper is for simnet's Intercept.
func (a *attacker) tamper(from, to netip.AddrPort, b []byte) []byte {
	if from.Addr() != a.from || to.Addr() != a.to || len(b) != wire.VoiceCellSize || b[0] == wire.FirstByteKRPC {
		return b
	}
	a.seen++
	cell := slices.Clone(b)
	later := func(d time.Duration) { time.AfterFunc(d, func() { a.Inject(from, to, cell) }) }
	switch a.seen % 4 {
	case 0:
		a.altered++
		b[a.seen*7%len(b)] ^= 1 << (a.seen % 8)
		if b[0] == wire.FirstByteKRPC {
			b[0] ^= 0x80
		}
		return b
	case 1:
		a.repeated++
		later(50 * time.Millisecond)
		return b
	case 2:
		a.delayed++
		later(200 * time.Millisecond)
	case 3:
		a.delayed++
		later(90 * time.Millisecond)
	}
	return nil
}

// leg returns a call of a box.
func (b *box) leg(id call.ID) (l *leg) {
	b.board.do(func() { l = b.board.legs[id] })
	return l
}
