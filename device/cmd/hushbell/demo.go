package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"hushbell/voipcore/voice"
	"hushbell/voipcore/voice/heard"
	"hushbell/voipcore/voice/wav"
)

// The speech of both ends; demo/README.md says where it comes from.
//
//go:embed demo/speech.opus demo/speech-back.opus
var speeches embed.FS

// A demo is what the command line asks for, and what becomes of it.
type demo struct {
	speech, speechBack string // WAV files; "" is what is embedded
	relays, hops       int
	out                string
	json               bool

	there, back *speech // what they hold

	began    time.Time
	progress io.Writer // what happens, for a person
	report   demoReport
}

// Limits of demo's flags. A box has two exchange points, and a path as many
// relays as hops; more than fifty are no demo but a load test.
const (
	minDemoRelays = 2
	maxDemoRelays = 50
	maxDemoSpeech = 5 * time.Minute
	// fewDemoRelays cannot keep lookups and calls apart.
	fewDemoRelays = 4
)

func demoCommand() *cobra.Command {
	d := &demo{relays: 8, hops: 3}
	c := &cobra.Command{
		Use:   "demo",
		Short: "A call with real speech between two boxes on this machine",
		Long: `Starts relays and two boxes as processes of their own on this machine, presses
the button of the first, lets the second answer by itself, has both speak, and
hangs up. Network, tunnels, session and codec are the real ones; only button and
sound card are simulated.

The speech counts as heard if nearly all of it is found again in what the other
side's speaker played: 85 of 100 segments of 200 ms at the right time, each with
a correlation of 0.7 or more and about as loud. The exit status is 0 only if both
were heard, 1 if not or if something failed, 2 for a wrong command line.

Speech of your own are WAV files of 16 bits with one channel or two, of any usual
rate from 8 to 192 kHz and 5 minutes at most. They need a second that is not
silence. What is not such a file can be made one: sox IN -b 16 -c 1 OUT.wav

The folder gets heard-by-callee.wav, heard-by-caller.wav (48 kHz, mono, 16 bit),
report.json and, in logs, what each process said.`,
		Example: `  hushbell demo
  hushbell demo --speech a.wav --speech-back b.wav --out /tmp/call
  hushbell demo --relays 12 --hops 2 --json`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := d.check(); err != nil {
				return usageError{err}
			}
			return d.run(c.Context(), c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&d.speech, "speech", "", "what the caller says: a WAV `file`, 16 bit, 1 or 2 channels")
	f.StringVar(&d.speechBack, "speech-back", "", "what the callee says: a WAV `file`")
	f.IntVar(&d.relays, "relays", d.relays, "how many relays to start, 2 to 50 and not fewer than hops")
	f.IntVar(&d.hops, "hops", d.hops, "hops of each side's tunnel, 1 to 3")
	f.StringVar(&d.out, "out", "", "`folder` for the heard files and report.json (default: a new one in the temporary folder)")
	f.BoolVar(&d.json, "json", false, "print the report as JSON, in place of progress and table")
	return c
}

// check looks at all that the command line says before anything is started.
func (d *demo) check() error {
	var errs []error
	if d.relays < minDemoRelays || d.relays > maxDemoRelays {
		errs = append(errs, fmt.Errorf("--relays %d: %d to %d are possible", d.relays, minDemoRelays, maxDemoRelays))
	}
	if d.hops < 1 || d.hops > 3 {
		errs = append(errs, fmt.Errorf("--hops %d: 1 to 3 are possible", d.hops))
	} else if d.relays >= minDemoRelays && d.relays < d.hops {
		errs = append(errs, fmt.Errorf("--relays %d: %d hops take as many relays, each another one", d.relays, d.hops))
	}
	var err error
	if d.there, err = loadSpeech("--speech", d.speech, "speech"); err != nil {
		errs = append(errs, err)
	}
	if d.back, err = loadSpeech("--speech-back", d.speechBack, "speech-back"); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// run makes the call and writes the report, also that of a call that failed.
func (d *demo) run(ctx context.Context, out io.Writer) error {
	d.began, d.progress = time.Now(), out
	if d.json {
		d.progress = io.Discard
	}
	if err := d.makeOut(); err != nil {
		return err
	}
	err := d.call(ctx)
	if err == nil {
		err = d.report.verdict()
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	d.report.OK = err == nil
	if err != nil {
		d.report.Failure = err.Error()
	}
	if e := d.writeReport(out); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("demo: %w (logs are in %s)", err, filepath.Join(d.out, "logs"))
	}
	return nil
}

// makeOut makes the folder for what stays.
func (d *demo) makeOut() (err error) {
	if d.out == "" {
		d.out, err = os.MkdirTemp("", "hushbell-demo-")
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(d.out, "logs"), 0o755)
	}
	if err == nil {
		d.out, err = filepath.Abs(d.out)
	}
	// What a demo before has left is no result of this one.
	for _, name := range []string{heardByCallee, heardByCaller, reportFile} {
		if e := os.Remove(filepath.Join(d.out, name)); err == nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("demo: --out: %w", err)
	}
	return nil
}

// say prints one line of progress.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.progress, "%7.2f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// A speech is something to say: its samples at 48 kHz, and the file that a
// simulated microphone plays; "" if there is none yet.
type speech struct {
	file    string
	samples []int16
}

func (s *speech) length() time.Duration {
	return time.Duration(len(s.samples)) * time.Second / voice.RateHz
}

// loadSpeech reads the WAV file of a flag, or what is embedded if there is none.
func loadSpeech(flag, file, embedded string) (*speech, error) {
	if file == "" {
		f, err := speeches.Open("demo/" + embedded + ".opus")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		samples, err := voice.ReadOpus(f)
		if err != nil {
			return nil, err
		}
		return &speech{samples: samples}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	sound, err := wav.Read(f)
	if errors.Is(err, wav.ErrFormat) {
		return nil, fmt.Errorf("%s %s: %w; sox IN -b 16 -c 1 OUT.wav makes one", flag, file, err)
	}
	var r *voice.Resampler
	if err == nil {
		r, err = voice.NewResampler(sound.RateHz)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, file, err)
	}
	s := &speech{samples: r.Flush(r.Append(nil, sound.Samples))}
	switch {
	case s.length() > maxDemoSpeech:
		return nil, fmt.Errorf("%s %s lasts %v: %v at most", flag, file, s.length().Round(time.Second), maxDemoSpeech)
	case !heard.Enough(s.samples):
		return nil, fmt.Errorf("%s %s: less than a second of it is not silence: too little to tell whether it is heard", flag, file)
	}
	s.file, err = filepath.Abs(file)
	return s, err
}

func writeWAV(file string, samples []int16) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w, err := wav.NewWriter(f, voice.RateHz)
	if err == nil {
		err = errors.Join(w.Write(samples), w.Close())
	}
	return errors.Join(err, f.Close())
}

// compare looks for what was spoken in the file of what was heard.
func compare(spoken *speech, file string) (heard.Result, error) {
	f, err := os.Open(file)
	if err != nil {
		return heard.Result{}, err
	}
	defer f.Close()
	sound, err := wav.Read(f)
	if err != nil {
		return heard.Result{}, fmt.Errorf("%s: %w", file, err)
	}
	return heard.Compare(spoken.samples, sound.Samples), nil
}
