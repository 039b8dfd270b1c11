package device

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hushbell/device/tone"
	"hushbell/voipcore/call"
)

// A stage is where the one call of a house stands, as voipcore sees it.
type stage string

const (
	free    stage = ""
	placed  stage = "placed"
	rings   stage = "rings"
	paused  stage = "between two rings"
	picked  stage = "picked up"
	talks   stage = "talks"
	goodbye stage = "put down" // its end is told later
)

// A house is a Machine with a voipcore that keeps to its rules: one call has the
// line at a time, what is told of it comes in order, and sometimes a call goes
// without a word, which is found out seconds later.
type house struct {
	r     *rand.Rand
	now   time.Duration
	m     Machine
	stage stage
	line  call.ID       // the call that has the line; 0: free
	waits call.ID       // who waits for it
	quiet call.ID       // the last that rings unheard; 0: its end was told
	last  call.ID       //
	lost  time.Duration // when the machine's call went without a word; 0: it has not
	shown time.Duration // when the result that is shown goes; 0: none is
	voice bool
	plays tone.Sound
	log   []string
}

func (h *house) event(k Kind, id call.ID) {
	h.step(Event{Kind: k, Call: id})
}

func (h *house) step(e Event) {
	if h.log = append(h.log, fmt.Sprintf("%v %v of %d, line %d %s", h.now, e.Kind, e.Call, h.line, h.stage)); len(h.log) > 40 {
		h.log = h.log[1:]
	}
	was := h.m.Call
	var do []Do
	h.m, do = h.m.Step(e)
	for _, do := range do {
		switch do {
		case VoiceOn, VoiceOff:
			h.voice = do == VoiceOn
		case ChangeTone:
			h.plays = h.m.State.Tone()
		case ShowResult:
			h.shown = h.now + states[h.m.State].shown
		case StopShowing:
			h.shown = 0
		case PlaceCall:
			if h.line != 0 || h.r.IntN(9) == 0 {
				h.event(EndBusy, 0)
				break
			}
			h.last++
			h.line, h.stage = h.last, placed
			h.event(Placed, h.line)
		case PickUp:
			if h.m.Call == h.line && (h.stage == rings || h.stage == paused) {
				h.stage = picked
			}
		case PutDown:
			if was == h.line {
				h.stage = goodbye
			}
		case Silence:
			if e.Call != 0 {
				was = e.Call
			}
			if h.quiet = was; was == h.line {
				h.line, h.stage = 0, free
			}
		}
	}
}

// person is what somebody does at the box. Commands are refused by the device
// where they mean nothing.
func (h *house) person() {
	switch k := Kind(h.r.IntN(int(WentOnline))); {
	case k == CallCommand && h.m.Alive(), k == HangUpCommand && !h.m.Alive(), k == AnswerCommand && h.m.State != RingingHere:
	default:
		h.event(k, 0)
	}
}

// around is what happens to the box.
func (h *house) around() {
	k := WentOnline + Kind(h.r.IntN(int(TooLong-WentOnline)))
	e := Event{Kind: k}
	if k == Diagnosed && h.r.IntN(2) == 0 {
		e.Trouble = NoNetwork + State(h.r.IntN(4))
	}
	h.step(e)
	if h.m.State.Voice() && h.r.IntN(20) == 0 {
		h.event(TooLong, 0)
	}
}

// far is what voipcore tells next.
func (h *house) far() {
	end := func(kinds ...Kind) {
		id := h.line
		h.line, h.stage = 0, free
		h.event(kinds[h.r.IntN(len(kinds))], id)
	}
	tell := func(k Kind, next stage) {
		h.stage = next
		h.event(k, h.line)
	}
	if h.line != 0 && h.lost == 0 && h.m.Call == h.line && h.stage != goodbye && h.r.IntN(40) == 0 {
		h.line, h.stage, h.lost = 0, free, h.now // without a word
		return
	}
	if id := h.quiet; id != 0 && h.r.IntN(4) == 0 {
		h.quiet = 0
		h.event(EndMissed, id)
		return
	}
	switch h.stage {
	case free:
		h.line = h.waits // the queue goes first
		if h.waits = 0; h.line == 0 {
			h.last++
			h.line = h.last
		}
		if h.r.IntN(3) == 0 {
			tell(Answered, talks)
		} else {
			tell(RingsHere, rings)
		}
	case placed:
		switch h.r.IntN(4) {
		case 0:
			tell(FarRings, placed)
		case 1:
			tell(FarQueues, placed)
		case 2:
			tell(Answered, talks)
		default:
			end(EndDeclined, EndBusy, EndNoAnswer, EndUnreachable, EndLost)
		}
	case rings:
		tell(RingStops, paused)
	case paused:
		if h.r.IntN(2) == 0 {
			tell(RingsHere, rings)
		} else {
			end(EndMissed)
		}
	case picked:
		if h.r.IntN(4) > 0 {
			tell(Answered, talks)
		} else {
			end(EndMissed, EndLost)
		}
	case talks:
		switch h.r.IntN(4) {
		case 0:
			end(EndHungUp, EndLost)
		case 1:
			if h.waits == 0 {
				h.last++
				h.waits = h.last
			}
			h.event(Knocks, h.waits)
		case 2:
			if id := h.waits; id != 0 {
				h.waits = 0
				h.event(EndMissed, id)
			}
		}
	case goodbye:
		end(EndHungUp)
	}
}

// wrong says what must not be, "" if nothing is.
func (h *house) wrong() string {
	row := states[h.m.State]
	switch {
	case h.lost == 0 && h.m.Call != 0 && h.m.Call != h.line:
		return "the state is about a call that is over"
	case h.lost == 0 && h.m.Call == 0 && (h.stage == placed || h.stage == rings || h.stage == picked || h.stage == talks):
		return "a call has no owner"
	case h.m.Quiet && h.m.State == RingingHere:
		return "it rings, and nobody may be disturbed"
	case h.m.State == CallWaiting && h.m.Waits != h.waits:
		return "the tone is for somebody who does not wait"
	case h.voice != row.voice:
		return "the voice is not that of the state"
	case h.plays != row.tone:
		return "the tone is not that of the state"
	case (h.shown != 0) != (row.group == telling):
		return "a result is shown, or is not"
	}
	return ""
}

// A day of calls as voipcore has them: no call without an owner, no state without
// its call, no tone, voice or LED without its state; and calls that go without a
// word are missed within seconds.
func TestRandomDayOfCalls(t *testing.T) {
	seed := rand.Uint64()
	h := &house{r: rand.New(rand.NewPCG(seed, 1))}
	seen := map[State]int{}
	for h.now < 24*time.Hour {
		h.now += time.Duration(h.r.ExpFloat64() * float64(2*time.Second))
		switch {
		case h.shown != 0 && h.now >= h.shown:
			h.shown = 0
			h.event(TimeUp, 0)
		case h.lost != 0 && h.now >= h.lost+auditEvery:
			h.lost = 0
			if h.m.Call != 0 && h.m.Call != h.line {
				h.event(Vanished, h.m.Call)
			}
		case h.r.IntN(3) == 0:
			h.person()
		case h.r.IntN(8) == 0:
			h.around()
		default:
			h.far()
		}
		seen[h.m.State]++
		if text := h.wrong(); text != "" {
			t.Fatalf("seed %d: %s: %+v, line %d %q:\n%s", seed, text, h.m, h.line, h.stage, strings.Join(h.log, "\n"))
		}
	}
	for s := range numStates {
		if seen[s] == 0 {
			t.Errorf("seed %d: never %v", seed, s)
		}
	}
}
