package voipcore

import (
	"testing"
	"time"

	"hushbell/voipcore/voice"
)

// A talkRun has one box speak and the other listen, frame by frame.
type talkRun struct {
	from, to *box
	in, out  [voice.FrameSamples]int16
	limit    time.Time
}

// newTalk connects two boxes, in whose call voice takes UDP all the way. The
// relays' DHT, which is busy for a while after its start, is closed: who counts
// what a frame takes is not to count that.
func newTalk(t testing.TB) (a, b *box) {
	s := newSwarm(t, 8, "127.0.0.1")
	a, b = s.newBox(t, "a", nil), s.newBox(t, "b", nil)
	a.call(t, b.key.ID())
	a.wait(t, Answered)
	b.wait(t, Answered)
	overTCP := func() (n uint64) {
		for _, c := range append([]*Core{a.Core, b.Core}, s.relays...) {
			n += c.node.Traffic.VoiceOverTCP.Load()
		}
		return n
	}
	for _, r := range s.relays {
		r.dht.Close()
	}
	there, back := newTalkRun(a, b), newTalkRun(b, a)
	for before := uint64(1); before != overTCP(); {
		before = overTCP()
		for range 10 {
			there.one(t)
			back.one(t)
		}
	}
	return a, b
}

func newTalkRun(from, to *box) *talkRun {
	r := &talkRun{from: from, to: to, limit: time.Now().Add(5 * time.Minute)}
	for i := range r.in {
		r.in[i] = int16(i * 31 % 2000)
	}
	return r
}

// one takes a frame from the microphone of the one to the speaker of the other.
func (r *talkRun) one(t testing.TB) {
	before := r.to.heard()
	if !r.from.Speak(&r.in) {
		t.Fatal("there is no call to speak in")
	}
	for r.to.heard() == before {
		if time.Now().After(r.limit) {
			t.Fatal("a frame does not arrive")
		}
		time.Sleep(20 * time.Microsecond) // not a spin: on one processor the network would never be looked at
	}
	if !r.to.Listen(&r.out) {
		t.Fatal("there is no call to listen to")
	}
}

// From microphone to speaker nothing allocates, neither in the boxes nor in the
// five relays between them: all are in this process, and all of it is counted.
// What else they do now and then (heartbeats, padding) allocates, so of several
// runs it takes one without: a path that allocates does so in each.
func TestTalkDoesNotAllocate(t *testing.T) {
	a, b := newTalk(t)
	for _, r := range []*talkRun{newTalkRun(a, b), newTalkRun(b, a)} {
		least := 1e9
		for try := 0; try < 100 && least > 0; try++ {
			least = min(least, testing.AllocsPerRun(1, func() {
				for range 50 {
					r.one(t)
				}
			}))
		}
		if least > 0 {
			t.Errorf("50 frames allocate %v times, want 0", least)
		}
	}
}

// BenchmarkSpeak is capture to wire: a frame encoded, sealed for the far end,
// three hops and the link, and given to the socket.
func BenchmarkSpeak(b *testing.B) {
	x, y := newTalk(b)
	r := newTalkRun(x, y)
	b.ReportAllocs()
	for b.Loop() {
		if !x.Speak(&r.in) {
			b.Fatal("there is no call to speak in")
		}
	}
}

// BenchmarkTalk is capture to wire, all of the way, and wire to playback: a
// frame from one box over five relays to the other, all in this process.
func BenchmarkTalk(b *testing.B) {
	x, y := newTalk(b)
	r := newTalkRun(x, y)
	b.ReportAllocs()
	for b.Loop() {
		r.one(b)
	}
}
