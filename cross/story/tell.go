package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hushbell/cross/board/rig"
	"hushbell/voipcore/voice"
)

// A step is a part of the story. What it says is shown with its result.
type step struct {
	name  string
	limit time.Duration // about five times what it takes on an idle machine
	do    func(s *story, ctx context.Context) (said string, err error)
}

// setUp is what all other steps need.
var setUp = []step{
	{"boot", 4 * time.Minute, (*story).boot},
	{"install", 5 * time.Minute, (*story).install},
	{"start", 4 * time.Minute, (*story).start},
}

var steps = []step{
	{"call", 4 * time.Minute, (*story).call},
	{"doctor", 3 * time.Minute, (*story).doctor},
	{"granted", 4 * time.Minute, (*story).granted},
	{"no-priority", 5 * time.Minute, (*story).noPriority},
	{"stranger", 3 * time.Minute, (*story).stranger},
	{"kill", 4 * time.Minute, (*story).kill},
	{"freeze", 4 * time.Minute, (*story).freeze},
	{"power-cut", 6 * time.Minute, (*story).cut},
	{"sound-card", 5 * time.Minute, (*story).sound},
	{"busy-card", 4 * time.Minute, (*story).busy},
	{"cable", 6 * time.Minute, (*story).cable},
	{"suspend", 6 * time.Minute, (*story).suspend},
	{"clock", 6 * time.Minute, (*story).clock},
	{"address", 6 * time.Minute, (*story).address},
	{"armv6", 10 * time.Minute, (*story).armv6},
}

// names lists the steps after those that set up.
func names() string {
	var all []string
	for _, st := range steps {
		all = append(all, st.name)
	}
	return strings.Join(all, ", ")
}

// choose returns the steps to tell: those that set up, and those named in a
// list, or all others.
func choose(only string) ([]step, error) {
	if only == "" {
		return slices.Concat(setUp, steps), nil
	}
	told := slices.Clone(setUp)
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(steps, func(st step) bool { return st.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no step %q: there are %s", name, names())
		}
		told = append(told, steps[i])
	}
	return told, nil
}

// A story is what the steps share.
type story struct {
	o      options
	ctx    context.Context // as long as boards are on
	tree   rig.Tree
	dir    string
	a, b   *rig.Board // A has the button that is pressed
	relays *relays
	pids   map[*rig.Board]string
	there  []int16 // what is spoken at A
	back   []int16 // and at B

	repeats int // how often something had to be said once more
}

// tell runs the steps until one fails.
func tell(ctx context.Context, t rig.Tree, o options, told []step) (err error) {
	began := time.Now()
	s := &story{o: o, ctx: ctx, tree: t, pids: map[*rig.Board]string{}}
	if s.dir, err = os.MkdirTemp("", "story"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if s.there, err = speech(t, "speech.opus"); err != nil {
		return err
	}
	if s.back, err = speech(t, "speech-back.opus"); err != nil {
		return err
	}
	if s.relays, err = startRelays(ctx, filepath.Join(t.Root, "bin", "hushbell"), filepath.Join(s.dir, "relays")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.relays.stop()) }()
	if s.a, err = rig.New(ctx, t, rig.ARM64, "A", filepath.Join(s.dir, "A")); err != nil {
		return err
	}
	defer func() { s.a.Cut() }() // the one that is A then
	if s.b, err = rig.New(ctx, t, rig.ARM64, "B", filepath.Join(s.dir, "B")); err != nil {
		return err
	}
	defer s.b.Cut()
	for _, st := range told {
		t := time.Now()
		limited, cancel := context.WithTimeout(ctx, st.limit)
		said, err := st.do(s, limited)
		cancel()
		word := "ok  "
		if err != nil {
			word = "FAIL"
		}
		fmt.Printf("%s story/%s  %.1f s%s\n", word, st.name, time.Since(t).Seconds(), line(said))
		if err != nil {
			s.autopsy(ctx)
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	fmt.Printf("ok   story  %.1f s in all, with %d repeats of at most %d\n", time.Since(began).Seconds(), s.repeats, maxRepeats)
	return nil
}

func line(said string) string {
	if said == "" {
		return ""
	}
	return ": " + said
}

// What a board is asked when a step has failed: the threads of the program, and how
// they wait, then all else.
const askAll = "ps -L -o tid,cls,rtprio,stat,wchan:32,time,comm -C hushbell; journalctl --no-pager -b -o short-monotonic; " +
	"systemctl status --no-pager -n 0 hushbell; hushbell status; ip addr; true"

// And at the very end, for it is the end of the program: its goroutines, which it
// tells when it quits.
const askGoroutines = `run=$(systemctl show -P InvocationID hushbell)
systemctl kill --kill-who=main --signal=QUIT hushbell
timeout 20 sh -c 'until journalctl -o cat _SYSTEMD_INVOCATION_ID="$0" | grep -q "^SIGQUIT"; do sleep 1; done' "$run"
sleep 1
journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID="$run" | sed -n '/^SIGQUIT/,$p'`

// autopsy keeps what the boards have to tell, and shows the end of it.
func (s *story) autopsy(ctx context.Context) {
	kept := s.tree.Cache("log", "story")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	keep := func(name, text string, err error) string {
		file := filepath.Join(kept, name)
		if err != nil {
			text += err.Error() + "\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "story:", err)
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		return fmt.Sprintf("the end of %s\n%s", file, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
	for _, b := range []*rig.Board{s.a, s.b} {
		console, err := os.ReadFile(b.Console)
		said, err2 := b.Run(ctx, askAll)
		end := keep(b.Name+".log", fmt.Sprintf("%s\n--- what %s says\n%s\n", console, b.Name, said), errors.Join(err, err2))
		fmt.Fprintf(os.Stderr, "--- board %s, %s\n", b.Name, end)
	}
	for _, b := range []*rig.Board{s.a, s.b} {
		said, err := b.Run(ctx, askGoroutines)
		keep(b.Name+".goroutines", said, err)
	}
	s.relays.keep(kept)
}

func speech(t rig.Tree, name string) ([]int16, error) {
	f, err := os.Open(filepath.Join(t.Root, "device", "cmd", "hushbell", "demo", name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return voice.ReadOpus(f)
}
