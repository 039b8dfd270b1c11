package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"hushbell/voipcore/voice/heard"
)

// A perSide holds one figure for each end.
type perSide struct {
	Caller uint64 `json:"caller"`
	Callee uint64 `json:"callee"`
}

// A demoReport is report.json. Others script it: names and units stay.
type demoReport struct {
	OK      bool   `json:"ok"`
	Failure string `json:"failure,omitempty"`

	SetupMS  float64 `json:"setup_ms"`  // button pressed to answered
	LookupMS float64 `json:"lookup_ms"` // of the callee's record
	TunnelMS float64 `json:"tunnel_ms"` // to the exchange point, with the splice

	MouthToEarMS     float64 `json:"mouth_to_ear_ms"`      // caller's microphone to callee's speaker
	MouthToEarBackMS float64 `json:"mouth_to_ear_back_ms"` // the other way

	VoiceSent     perSide `json:"voice_sent"` // frames of 20 ms
	VoiceReceived perSide `json:"voice_received"`
	VoiceLost     perSide `json:"voice_lost"`
	VoiceLate     perSide `json:"voice_late"`

	// Stalls are how often a box did not come for its sound for 200 ms, so that
	// some of it was lost before the call or behind it.
	Stalls perSide `json:"stalls"`

	HopsCaller  int    `json:"hops_caller"`
	HopsCallee  int    `json:"hops_callee"`
	KeyExchange string `json:"key_exchange"`

	// AllocsPerFrame is what the caller's whole process allocates in steady
	// talk, divided by its frames: the voice path itself allocates nothing.
	AllocsPerFrame float64 `json:"allocs_per_frame"`

	HeardByCallee heardReport `json:"heard_by_callee"`
	HeardByCaller heardReport `json:"heard_by_caller"`

	Relays     int    `json:"relays"`
	BoxRSSKB   uint64 `json:"box_rss_kb"`   // the caller's box, idle before the call
	RelayRSSKB uint64 `json:"relay_rss_kb"` // the first relay, idle before the call
	Version    string `json:"version"`
}

// A heardReport says what was found of one speech in what the other end's
// speaker played.
type heardReport struct {
	Heard    bool    `json:"heard"`
	Score    float64 `json:"score"`    // mean correlation of the segments, 0 to 1
	Segments int     `json:"segments"` // of 200 ms with speech in them
	Found    int     `json:"found"`    // of these
}

func heardOf(r heard.Result) heardReport {
	return heardReport{Heard: r.Heard, Score: r.Score, Segments: r.Active, Found: r.Found}
}

// verdict is an error unless both have heard the other.
func (r *demoReport) verdict() error {
	var errs []error
	for _, side := range []struct {
		listener, speaker string
		heardReport
	}{{"callee", "caller", r.HeardByCallee}, {"caller", "callee", r.HeardByCaller}} {
		if !side.Heard {
			errs = append(errs, fmt.Errorf("%s has not heard what %s said: %d of %d segments are in what its speaker played, likeness %.2f",
				side.listener, side.speaker, side.Found, side.Segments, side.Score))
		}
	}
	if n := r.Stalls.Caller + r.Stalls.Callee; n > 0 && len(errs) > 0 {
		errs = append(errs, fmt.Errorf("this machine was too busy for sound in real time: %d times it stood still for 200 ms or more; try again when it has less to do", n))
	}
	return errors.Join(errs...)
}

// What the demo leaves in its folder.
const (
	heardByCallee = "heard-by-callee.wav"
	heardByCaller = "heard-by-caller.wav"
	reportFile    = "report.json"
)

// writeReport leaves the report in its file and prints it: as JSON, or as a
// table. It is printed even if the disk is full.
func (d *demo) writeReport(out io.Writer) error {
	b, err := json.MarshalIndent(&d.report, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	left := os.WriteFile(filepath.Join(d.out, reportFile), b, 0o644)
	if d.json {
		_, err = out.Write(b)
		return errors.Join(left, err)
	}
	if !d.report.OK {
		return left
	}
	r := &d.report
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\npress to answered\t%.0f ms\tlookup %.0f ms, tunnel and splice %.0f ms\n", r.SetupMS, r.LookupMS, r.TunnelMS)
	fmt.Fprintf(w, "mouth to ear\t%.0f ms\tand %.0f ms back\n", r.MouthToEarMS, r.MouthToEarBackMS)
	fmt.Fprintf(w, "tunnels\t%d + %d hops\tof %d relays; keys by %s\n", r.HopsCaller, r.HopsCallee, r.Relays, r.KeyExchange)
	fmt.Fprintf(w, "memory\t%.1f MB\tidle box; idle relay %.1f MB\n", float64(r.BoxRSSKB)/1024, float64(r.RelayRSSKB)/1024)
	fmt.Fprintf(w, "allocations\t%.2f\tper frame of the whole process in steady talk\n", r.AllocsPerFrame)
	fmt.Fprintf(w, "\nvoice frames\tsent\treceived\tlost\tlate\theard\n")
	row := func(name string, side func(perSide) uint64, h heardReport) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d of %d segments, likeness %.2f\n", name,
			side(r.VoiceSent), side(r.VoiceReceived), side(r.VoiceLost), side(r.VoiceLate), h.Found, h.Segments, h.Score)
	}
	row("caller", func(p perSide) uint64 { return p.Caller }, r.HeardByCaller)
	row("callee", func(p perSide) uint64 { return p.Callee }, r.HeardByCallee)
	fmt.Fprintf(w, "\nheard files and report\t%s\n", d.out)
	return errors.Join(left, w.Flush())
}
