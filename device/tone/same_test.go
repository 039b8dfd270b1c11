package tone

import (
	"testing"

	"hushbell/voipcore/voice"
)

// Two players are the same if nobody can tell them apart by ear.
func TestSame(t *testing.T) {
	player := func(o Options) *Player {
		p, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	clip, other := Clip{[]int16{1, 2, 3}}, Clip{[]int16{1, 2, 4}}
	soft := player(Options{})
	soft.SetVolume(Full, 90)
	all := []*Player{player(Options{}), player(Options{Country: "us"}), soft,
		player(Options{Clips: map[Sound]Clip{Ring: clip}}), player(Options{Clips: map[Sound]Clip{Ring: other}}),
		player(Options{Clips: map[Sound]Clip{Beep: clip}})}
	again := []*Player{player(Options{Country: DefaultCountry}), player(Options{Country: "us"}), player(Options{}),
		player(Options{Clips: map[Sound]Clip{Ring: {[]int16{1, 2, 3}}}}), player(Options{Clips: map[Sound]Clip{Ring: other}}),
		player(Options{Clips: map[Sound]Clip{Beep: clip}})}
	again[2].SetVolume(Full, 90)
	again[0].Play(Ring)
	for i, p := range all {
		for j, o := range again {
			if p.Same(o) != (i == j) {
				t.Errorf("players %d and %d: same %v", i, j, p.Same(o))
			}
		}
	}
}

// What plays is known from Play on, until it was heard to its end.
func TestPlaying(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pcm [voice.FrameSamples]int16
	for _, s := range []Sound{None, Beep, Click} {
		if p.Play(s); p.Playing() != s {
			t.Errorf("%v is to be played, and %v plays", s, p.Playing())
		}
		for range 50 {
			if p.Fill(&pcm); p.Sounding() && p.Playing() != s {
				t.Errorf("while %v plays %v does", s, p.Playing())
			}
		}
		if p.Playing() != None {
			t.Errorf("after its end %v plays", p.Playing())
		}
	}
}
