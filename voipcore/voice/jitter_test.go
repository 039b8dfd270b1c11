package voice

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// script drives a jitter: a number pushes that frame with a copy of the one
// before it, "-n" without, P pulls. What the pulls give is noted as: the
// frame's number, with ' if it is the copy; c concealed, . nothing, a+b merged.
func script(j *jitter, first uint32, s string) string {
	var out []string
	for _, f := range strings.Fields(s) {
		if f == "P" {
			out = append(out, pull(j))
			continue
		}
		var n int
		alone := strings.HasPrefix(f, "-")
		fmt.Sscan(strings.TrimPrefix(f, "-"), &n)
		push(j, first, n, !alone)
	}
	return strings.Join(out, " ")
}

func push(j *jitter, first uint32, n int, withCopy bool) {
	var copied []byte
	if withCopy {
		copied = fmt.Appendf(nil, "%d'", n-1)
	}
	j.push(first+uint32(n*FrameSamples), fmt.Append(nil, n), copied)
}

func pull(j *jitter) string {
	var a, b [MaxPackets]byte
	switch v, na, nb := j.pull(&a, &b); v {
	case playNothing:
		return "."
	case playConceal:
		return "c"
	case playBoth:
		return string(a[:na]) + "+" + string(b[:nb])
	default:
		return string(a[:na])
	}
}

func TestJitter(t *testing.T) {
	tests := []struct {
		name, script, want string
		count              Counters
	}{
		{"in order", "0 1 P 2 P 3 P", "0 1 2", Counters{Received: 4}},
		{"waits for two", "P 0 P 1 P P", ". . 0 1", Counters{Received: 2}},
		{"a stream of one frame", "0 P P P", ". . 0", Counters{Received: 1}},
		{"swapped", "0 1 P 3 2 P P P", "0 1 2 3", Counters{Received: 4}},
		{"swapped at the very beginning", "1 0 P P", "0 1", Counters{Received: 2}},
		{"repeated", "0 1 P 1 1 P 2 0 P", "0 1 2", Counters{Received: 3, Repeated: 3}},
		{"lost, repaired from the copy", "0 1 P 3 P P P", "0 1 2' 3", Counters{Received: 3, Lost: 1, Repaired: 1}},
		{"lost, without copies", "-0 -1 P -3 P P P", "0 1 c 3", Counters{Received: 3, Lost: 1, Concealed: 1}},
		{"two lost, one repaired", "0 1 P 4 P P P P", "0 1 c 3' 4", Counters{Received: 3, Lost: 2, Repaired: 1, Concealed: 1}},
		{"late", "0 1 P P 3 4 P 2 P P", "0 1 2' 3 4", Counters{Received: 4, Late: 1, Repaired: 1}},
		{"late, without copies", "-0 -1 P P -3 P -2 P", "0 1 c 3", Counters{Received: 3, Late: 1, Concealed: 1}},
		{"late twice", "-0 -1 P P -3 P -2 -2 P", "0 1 c 3", Counters{Received: 3, Late: 1, Repeated: 1, Concealed: 1}},
		{"from long before the stream", "50 51 P 3 P", "50 51", Counters{Received: 2, Late: 1}},
		{"runs empty and waits", "0 1 P P P 2 P 3 P", "0 1 c 2 3", Counters{Received: 4, Concealed: 1}},
		{"an outage is not played twice", "0 1 P P P P P P P 7 P 8 P", "0 1 c c c c c 6' 7", Counters{Received: 4, Lost: 5, Repaired: 1, Concealed: 5}},
		{"an outage longer than the ring", "0 1 P P P P 900 P 901 P", "0 1 c c 900 901", Counters{Received: 4, Lost: 898, Concealed: 2}},
		{"given up before playing began, and late then", "-0 -20 -15 P P P P", ". . 20 c", Counters{Received: 2, Late: 1, Lost: 18, Dropped: 1, Concealed: 1}},
		{"all at once: the oldest go", "0 1 P 2 3 4 5 6 7 8 9 10 11 12 13 14 P P", "0 3 4", Counters{Received: 15, Dropped: 2}},
	}
	for _, tt := range tests {
		for _, first := range []uint32{0, math.MaxUint32 - 2*FrameSamples, 77} {
			var j jitter
			if got := script(&j, first, tt.script); got != tt.want {
				t.Errorf("%s: %s from timestamp %d gives\n%s, want\n%s", tt.name, tt.script, first, got, tt.want)
			}
			if j.count != tt.count {
				t.Errorf("%s: counted %+v, want %+v", tt.name, j.count, tt.count)
			}
		}
	}
}

func TestJitterTimestampOffRaster(t *testing.T) {
	var j jitter
	script(&j, 0, "0 1 P")
	j.push(2*FrameSamples+1, []byte("x"), nil)
	if want := (Counters{Received: 2, Malformed: 1}); j.count != want {
		t.Errorf("counted %+v, want %+v", j.count, want)
	}
}

// network plays frames that are sent every 20 ms, first at 0, and arrive after
// delay(n) milliseconds, or never if that is negative. Pulls happen every
// 20 ms, at 7 ms past. It returns what was played, and for every pull that
// played a frame how many pulls after it was sent.
func network(t *testing.T, j *jitter, frames int, copies bool, delay func(n int) float64) (played []string, age []int) {
	t.Helper()
	const ms = 20
	var due [][]int
	for n := range frames {
		d := delay(n)
		if d < 0 {
			continue
		}
		at := int(math.Ceil((float64(n*ms) + d - 7) / ms)) // the pull that sees it first
		for len(due) <= max(at, 0) {
			due = append(due, nil)
		}
		due[max(at, 0)] = append(due[max(at, 0)], n)
	}
	last := -1
	for at := range frames {
		if at < len(due) {
			for _, n := range due[at] {
				push(j, 5, n, copies)
			}
		}
		if depth := int32(j.newest - j.next); j.started && depth >= maxDepth {
			t.Fatalf("%d frames deep, more than %d", depth, maxDepth)
		}
		s := pull(j)
		played = append(played, s)
		for _, one := range strings.Split(s, "+") {
			var n int
			if _, err := fmt.Sscanf(one, "%d", &n); err == nil {
				if n <= last {
					t.Fatalf("frame %d is played after %d", n, last)
				}
				last = n
				age = append(age, at-n)
			}
		}
	}
	return played, age
}

// On a network without jitter the delay settles at what the start takes, and
// nothing is made up.
func TestJitterQuietNetwork(t *testing.T) {
	for _, ms := range []float64{0, 3, 6.9, 7.1, 13, 130} {
		var j jitter
		_, age := network(t, &j, 1000, true, func(int) float64 { return ms })
		fastest := int(math.Ceil((ms - 7) / 20))
		if got := age[len(age)-1] - max(fastest, 0); got > 1 {
			t.Errorf("delay %v ms: frames are played %d pulls after they came, want 1 at most", ms, got)
		}
		if c := j.count; c.Lost+c.Late+c.Concealed+c.Merged+c.Dropped != 0 {
			t.Errorf("delay %v ms: counted %+v, want nothing but Received", ms, c)
		}
	}
}

// A network that is slow for a while makes the buffer deep. When it is quick
// again, the delay goes back to what it was.
func TestJitterShrinks(t *testing.T) {
	var j jitter
	slow := func(n int) float64 {
		if n > 200 && n < 260 {
			return 160
		}
		return 5
	}
	_, age := network(t, &j, 1500, true, slow)
	deepest := 0
	for _, a := range age {
		deepest = max(deepest, a)
	}
	if deepest < 8 {
		t.Errorf("160 ms more delay made frames %d pulls old at most, want at least 8", deepest)
	}
	if end := age[len(age)-1]; end > 1 {
		t.Errorf("at the end frames are %d pulls old, want 1 at most", end)
	}
	if c := j.count; c.Merged == 0 || c.Lost != 0 || c.Concealed > 12 {
		t.Errorf("counted %+v, want some merged, none lost, at most 12 concealed", c)
	}
}

// Frames that vary by less than 40 ms are all played once the depth has
// adapted: an occasional late one may still have to be waited for.
func TestJitterAdapts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var j jitter
	_, age := network(t, &j, 5000, true, func(int) float64 { return 20 + 40*rng.Float64() })
	if c := j.count; c.Concealed+c.Lost+c.Dropped > 100 || c.Merged > 100 {
		t.Errorf("counted %+v over 5000 frames, want under 2 %% made up or merged", c)
	}
	if end := age[len(age)-1]; end > 5 {
		t.Errorf("at the end frames are %d pulls old, want at most 5", end)
	}
}

// Whatever a network does, frames come in order and once, the buffer is never
// deeper than its limit (both in network), and every frame is accounted for.
func TestJitterAnyNetwork(t *testing.T) {
	const frames = 800
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		loss, spread, stall := rng.Float64()*0.4, rng.Float64()*200, 0.0
		var sent []int
		var j jitter
		played, _ := network(t, &j, frames+100, rng.IntN(2) == 0, func(n int) float64 {
			if n >= frames || rng.Float64() < loss {
				return -1
			}
			if stall > 0 {
				stall -= 20
			} else if rng.IntN(100) == 0 {
				stall = rng.Float64() * 600
			}
			sent = append(sent, n)
			return math.Max(stall, 0) + rng.Float64()*spread
		})
		c := j.count
		if c.Received+c.Late != uint64(len(sent)) {
			t.Errorf("seed %d: %d frames came, counted %+v", seed, len(sent), c)
		}
		// All have come in the end, so that only those lost are missing
		// between the first one and the last one played.
		if all := c.Received + c.Late + c.Lost; all > frames || all < frames-100 {
			t.Errorf("seed %d: of %d frames %d are accounted for: %+v", seed, frames, all, c)
		}
		heard := 0
		for _, s := range played {
			if s != "." && s != "c" {
				heard += 1 + strings.Count(s, "+")
			}
		}
		if want := c.Received - c.Dropped + c.Repaired; uint64(heard) > want {
			t.Errorf("seed %d: %d frames heard, %d could be: %+v", seed, heard, want, c)
		}
	}
}

// A timestamp far ahead, as only a broken sender has it, costs no time.
func TestJitterLeap(t *testing.T) {
	var j jitter
	n := 0
	for i := range 20000 {
		n += 1 << 20 // 6 h at a time
		push(&j, 0, n%(1<<31/FrameSamples)+i, true)
		pull(&j)
	}
}

func TestJitterWipes(t *testing.T) {
	var j jitter
	script(&j, 0, "0 1 2 3 P P P P")
	for i, s := range j.slots {
		if s.packet != [MaxPackets]byte{} {
			t.Errorf("slot %d still holds voice after it was played", i)
		}
	}
}
