package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Window is a time of day, on some days of the week, in which something may happen.
type Window struct {
	Days     []time.Weekday // empty: every day; the day on which the window begins
	From, To time.Duration  // since midnight; To before From: it ends on the next day
	Zone     *time.Location
}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// ParseWindow reads "22:00-04:00", "Sat,Sun 01:00-05:00" or "Mon,Tue 22:00-04:00 Europe/Berlin". Without a zone it is
// UTC.
func ParseWindow(text string) (Window, error) {
	w := Window{Zone: time.UTC}
	words := strings.Fields(text)
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		for name := range strings.SplitSeq(words[0], ",") {
			day, ok := weekdays[strings.ToLower(name)]
			if !ok {
				return w, fmt.Errorf("%q is no day: want Mon, Tue, Wed, Thu, Fri, Sat or Sun", name)
			}
			w.Days = append(w.Days, day)
		}
		words = words[1:]
	}
	if len(words) < 1 || len(words) > 2 {
		return w, fmt.Errorf("%q is no window: want days, times and a zone, as in Sat,Sun 01:00-05:00 Europe/Berlin", text)
	}
	from, to, ok := strings.Cut(words[0], "-")
	var err error
	if w.From, err = clock(from); err != nil {
		return w, err
	}
	if w.To, err = clock(to); err != nil || !ok {
		return w, fmt.Errorf("%q has no end: want 22:00-04:00", words[0])
	}
	if w.From == w.To {
		return w, fmt.Errorf("%q begins and ends at the same time", words[0])
	}
	if len(words) == 2 {
		if w.Zone, err = time.LoadLocation(words[1]); err != nil {
			return w, fmt.Errorf("time zone %q is not known", words[1])
		}
	}
	return w, nil
}

func clock(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of day: want 22:00", text)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// Contains reports whether t lies in the window.
func (w Window) Contains(t time.Time) bool {
	t = t.In(w.Zone)
	at := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	on := func(day time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, day) }
	if w.From < w.To {
		return on(t.Weekday()) && at >= w.From && at < w.To
	}
	yesterday := (t.Weekday() + 6) % 7
	return on(t.Weekday()) && at >= w.From || on(yesterday) && at < w.To
}
