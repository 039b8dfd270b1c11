package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"hushbell/cross/board/rig"
	"hushbell/device/tone"
	"hushbell/voipcore/voice/heard"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct{ only, want string }{
		{"", "boot install start call"},
		{"cable,kill", "boot install start cable kill"},
		{"nonsense", ""},
		{"call,", ""},
	} {
		told, err := choose(tt.only)
		var got []string
		for _, st := range told {
			got = append(got, st.name)
		}
		if (err != nil) != (tt.want == "") || !strings.HasPrefix(strings.Join(got, " "), tt.want) {
			t.Errorf("choose(%q) = %v, %v, want %q", tt.only, got, err, tt.want)
		}
	}
}

// The two speeches are long enough for a verdict, and not taken for each other.
func TestSpeech(t *testing.T) {
	tree, err := rig.FindTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sounds [2][]int16
	for i, name := range []string{"speech.opus", "speech-back.opus"} {
		if sounds[i], err = speech(tree, name); err != nil {
			t.Fatal(err)
		}
	}
	for i, said := range sounds {
		if r := heard.Compare(said, said); !r.Heard {
			t.Errorf("speech %d is not heard in itself: %+v", i, r)
		}
		if r := heard.Compare(said, sounds[1-i]); r.Heard {
			t.Errorf("speech %d is heard in the other: %+v", i, r)
		}
	}
}

// The beep that boxes have is recognised wherever it begins, and no other sound
// is taken for it.
func TestBeeped(t *testing.T) {
	play := func(sound tone.Sound) []int16 {
		p, err := tone.New(tone.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.Play(sound)
		recording := make([]int16, 0, heard.RateHz)
		for len(recording) < heard.RateHz {
			var frame [heard.RateHz / 50]int16
			p.Fill(&frame)
			recording = append(recording, frame[:]...)
		}
		return recording
	}
	beep := play(tone.Beep)
	for _, skip := range []int{0, 1, 333, 700} {
		if d := beeped(beep[skip:]); d < beepLong-60*time.Millisecond || d > beepLong+20*time.Millisecond {
			t.Errorf("%d samples later there are %v of a beep, want about %v", skip, d, beepLong)
		}
	}
	tree, err := rig.FindTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said, err := speech(tree, "speech.opus")
	if err != nil {
		t.Fatal(err)
	}
	for name, sound := range map[string][]int16{"ring": play(tone.Ring), "connected": play(tone.Connected), "speech": said, "silence": make([]int16, 4800)} {
		if d := beeped(sound); d >= beepLong/2 {
			t.Errorf("%v of a beep in %s", d, name)
		}
	}
}

// What is not understood is said again, and how often is counted in all of the
// story.
func TestInsist(t *testing.T) {
	var s story
	understoodAt := func(n int) func() (string, bool, error) {
		said := 0
		return func() (string, bool, error) {
			said++
			return "try " + strconv.Itoa(said), said == n, nil
		}
	}
	for _, tt := range []struct {
		at   int
		want string
	}{
		{1, "try 1 (tries: 1)"},
		{3, "try 1, then try 2, then try 3 (tries: 3)"},
		{3, "try 1, then try 2, then try 3 (tries: 3)"},
		{1, "try 1 (tries: 1)"},
	} {
		if told, err := s.insist(understoodAt(tt.at)); err != nil || told != tt.want {
			t.Errorf("understood at try %d: %q, %v, want %q", tt.at, told, err, tt.want)
		}
	}
	if told, err := s.insist(understoodAt(2)); err == nil || !strings.Contains(err.Error(), "try 1 (tries: 1)") {
		t.Errorf("one repeat more than %d: %q, %v, want an error", maxRepeats, told, err)
	}
	if _, err := new(story).insist(func() (string, bool, error) { return "", false, errors.New("no board") }); err == nil {
		t.Error("a try that fails was taken for one that was not understood")
	}
}

// What boards have to tell is kept, even that they tell nothing.
func TestAutopsy(t *testing.T) {
	s := story{tree: rig.Tree{Root: t.TempDir()}, a: &rig.Board{Name: "A"}, b: &rig.Board{Name: "B"}, relays: &relays{}}
	s.autopsy(t.Context())
	for _, name := range []string{"A.log", "B.log", "A.goroutines", "B.goroutines"} {
		if text, err := os.ReadFile(s.tree.Cache("log", "story", name)); err != nil || !strings.Contains(string(text), "it is off") {
			t.Errorf("%s says %q, %v, want that the board is off", name, text, err)
		}
	}
}
