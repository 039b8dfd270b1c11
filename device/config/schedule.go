package config

import (
	"fmt"
	"strings"
	"time"
)

// A Schedule is when nothing may ring: any of its windows.
type Schedule []Window

// A Window is a time of the day, on some days: "22:00-07:00", or
// "sat-sun 13:00-15:00". One that ends before it begins goes on to the next day;
// the days are those on which it begins.
type Window struct {
	Days     [7]bool // by time.Weekday
	From, To int     // minutes of the day
}

// Active reports whether t, as the clock on the wall shows it, is in the schedule.
func (s Schedule) Active(t time.Time) bool {
	at, today := t.Hour()*60+t.Minute(), t.Weekday()
	yesterday := (today + 6) % 7
	for _, w := range s {
		switch {
		case w.From < w.To && w.Days[today] && at >= w.From && at < w.To,
			w.From >= w.To && w.Days[today] && at >= w.From,
			w.From >= w.To && w.Days[yesterday] && at < w.To:
			return true
		}
	}
	return false
}

// ParseWindow reads a Window.
func ParseWindow(text string) (w Window, err error) {
	fields := strings.Fields(strings.ToLower(text))
	if len(fields) == 0 || len(fields) > 2 {
		return w, badWindow(text)
	}
	from, to, ok := strings.Cut(fields[len(fields)-1], "-")
	if w.From, err = parseMinute(from); err != nil || !ok {
		return w, badWindow(text)
	}
	if w.To, err = parseMinute(to); err != nil {
		return w, badWindow(text)
	}
	if len(fields) == 1 {
		for d := range w.Days {
			w.Days[d] = true
		}
		return w, nil
	}
	for part := range strings.SplitSeq(fields[0], ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, b := weekday(first), weekday(last)
		if a < 0 || b < 0 {
			return w, badWindow(text)
		}
		for d := a; ; d = (d + 1) % 7 {
			w.Days[d] = true
			if d == b {
				break
			}
		}
	}
	return w, nil
}

func badWindow(text string) error {
	return fmt.Errorf(`%q is no time, such as "22:00-07:00" or "sat-sun 13:00-15:00"`, text)
}

func parseMinute(s string) (int, error) {
	if s == "24:00" { // the end of a day is the beginning of the next
		return 0, nil
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err
}

// weekday returns the day of a name such as "mon", -1 if there is none.
func weekday(name string) int {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.ToLower(d.String()[:3]) == name {
			return int(d)
		}
	}
	return -1
}
