// Package estimate says before a run how long its copy will take about, and how much disk it needs: from the sizes in blue's catalog, and
// from rates that are measured on the very servers for a second or two. It is arithmetic on a short look; Assumptions says what it rests
// on.
package estimate

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/report"
)

// Table is what the copy takes of one table.
type Table struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"` // rows and what is stored aside of them; bloat counts
	Rows    int64  `json:"rows"`  // by statistics; 0: nobody has counted them
	Indexes int64  `json:"index_bytes"`
	sample  bool   // our role may read it
}

// Rates are what one session has done, in bytes a second; 0: not known.
type Rates struct {
	Read    float64 `json:"read"`    // of blue's largest table
	From    string  `json:"from"`    // that table
	Sample  int64   `json:"sample"`  // bytes that were read of it
	Write   float64 `json:"write"`   // to green, with its log
	Index   float64 `json:"index"`   // of an index that was built there
	Changes float64 `json:"changes"` // rows that blue's clients write, a second
}

// Facts are what was found.
type Facts struct {
	Tables   []Table // the largest first
	Rates    Rates
	Writer   time.Duration // the age of blue's oldest transaction that has written
	Unseen   bool          // our role can't see the transactions of others
	WAL      int64         // max_wal_size of green
	Jobs     int           // of step snapshot
	MaxRate  int64         // bytes a second that blue may be asked for; 0: no limit
	Deadline time.Duration // of the cutover; 0: there is none
}

// Span is a length of time of which the ends are known.
type Span struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Estimate is what follows from the facts.
type Estimate struct {
	Tables   int           `json:"tables"`
	Bytes    int64         `json:"bytes"`
	Rows     int64         `json:"rows"`
	Indexes  int64         `json:"index_bytes"`
	Largest  []Table       `json:"largest"`
	Rates    Rates         `json:"rates"`
	Copy     *Span         `json:"copy,omitempty"`     // rows alone; nil: nobody can say
	Building *Span         `json:"building,omitempty"` // the indexes, some of it while rows are copied
	Changes  int64         `json:"changes"`            // that come meanwhile, at the pace of now
	Hold     time.Duration `json:"hold_ns"`
	Deadline time.Duration `json:"deadline_ns"`
	Green    int64         `json:"green_bytes"` // that green's disk needs
	Blue     int64         `json:"blue_bytes"`  // that what is captured takes on blue
	Assumes  []string      `json:"assumes"`

	wal    int64
	writer time.Duration
	jobs   int
}

const (
	usualHold   = time.Second // of rehearsals on small machines, at a few hundred requests a second
	changeBytes = 400         // of a captured change, with its index
	mostTables  = 5
	leastSample = 1 << 20 // bytes: what is read faster than a clock can tell says nothing
)

// Of is the arithmetic.
func Of(f Facts) Estimate {
	e := Estimate{Tables: len(f.Tables), Rates: f.Rates, Largest: f.Tables[:min(len(f.Tables), mostTables)], Deadline: f.Deadline,
		wal: f.WAL, writer: f.Writer, jobs: max(1, f.Jobs)}
	for _, t := range f.Tables {
		e.Bytes, e.Rows, e.Indexes = e.Bytes+t.Bytes, e.Rows+t.Rows, e.Indexes+t.Indexes
	}
	e.Green = 2*(e.Bytes+e.Indexes) + f.WAL
	if one := slower(f.Rates.Read, f.Rates.Write); one > 0 {
		limit := func(rate float64) float64 { return slower(rate, float64(f.MaxRate)) }
		e.Copy = &Span{over(e.Bytes, limit(one*float64(e.jobs))), over(e.Bytes, limit(one))}
	}
	if f.Rates.Index > 0 {
		e.Building = &Span{over(e.Indexes, f.Rates.Index*float64(e.jobs)), over(e.Indexes, f.Rates.Index)}
	}
	if all := e.all(); all != nil {
		e.Changes = twoDigits(f.Rates.Changes * all.To.Seconds())
		e.Blue = e.Changes * changeBytes
	}
	if f.Deadline > 0 {
		e.Hold = min(usualHold, f.Deadline)
	}
	e.Assumes = e.assumes(f)
	return e
}

// all is copy and indexes together: they overlap, or they don't.
func (e *Estimate) all() *Span {
	if e.Copy == nil || e.Building == nil {
		return nil
	}
	return &Span{max(e.Copy.From, e.Building.From), e.Copy.To + e.Building.To}
}

// twoDigits rounds to what an estimate can say.
func twoDigits(f float64) int64 {
	unit := int64(1)
	for f >= 100 {
		f, unit = f/10, unit*10
	}
	return int64(f+.5) * unit
}

// slower is the lower of two rates, of which 0 says nothing.
func slower(a, b float64) float64 {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

func over(bytes int64, rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) / rate * float64(time.Second))
}

func (e *Estimate) assumes(f Facts) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if r := f.Rates; e.Copy != nil {
		var seen []string
		if r.Read > 0 {
			seen = append(seen, fmt.Sprintf("one session read %s of %s at %s a second, much of it perhaps from memory", report.Bytes(r.Sample), r.From, report.Bytes(int64(r.Read))))
		}
		if r.Write > 0 {
			seen = append(seen, fmt.Sprintf("one wrote to green at %s a second and built an index at %s a second", report.Bytes(int64(r.Write)), report.Bytes(int64(r.Index))))
		}
		add("%s", strings.Join(seen, "; "))
		if e.jobs > 1 {
			add("the lower end is for %d jobs that each reach the lower of these rates, the upper end for all of them together", e.jobs)
		} else {
			add("the one job reaches the lower of these rates")
		}
	} else {
		add("nothing could be measured: our role may read no table of blue, or make none on green")
	}
	if f.MaxRate > 0 {
		add("max_rate of step snapshot lets the copy have %d MB a second at most", f.MaxRate/1_000_000)
	}
	add("not counted are the validation of foreign keys, the profile's rules and the migrations: one that writes a table anew takes about as long as its copy")
	if e.Hold > 0 {
		add("rehearsals on small machines held for about %s, with no long transaction in the way", report.Took(usualHold))
		if f.Unseen {
			add("our role can't see the transactions of others on blue (pg_read_all_stats): whether one would be in the way is not known")
		}
	}
	add("disk is twice blue's tables and indexes, for migrations that write all of them anew, and max_wal_size of green, %s", report.Bytes(e.wal))
	add("a change that is captured takes %d bytes on blue until the run is over; changes come as they do now", changeBytes)
	return list
}

// Text is the estimate for people.
func Text(w io.Writer, e Estimate) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w, "estimate:")
	line("size", "%s in %s, %s rows, and %s of indexes", report.Bytes(e.Bytes), number(e.Tables, "table"), report.Thousands(e.Rows), report.Bytes(e.Indexes))
	var largest []string
	for _, t := range e.Largest {
		largest = append(largest, fmt.Sprintf("%s %s", report.Plain(t.Name), report.Bytes(t.Bytes+t.Indexes)))
	}
	if len(largest) > 0 {
		line("", "the largest with their indexes: %s", strings.Join(largest, ", "))
	}
	if all := e.all(); all != nil {
		line("copy", "%s; rows %s, indexes %s, partly at the same time", span(all), span(e.Copy), span(e.Building))
		line("changes", "%.0f rows a second are written on blue now: about %s wait for replay after the copy", e.Rates.Changes, report.Thousands(e.Changes))
	} else {
		line("copy", "nobody can say")
	}
	if e.Hold > 0 {
		waits := ""
		if e.writer > e.Hold {
			waits = fmt.Sprintf("; it would wait for a transaction on blue that has written, and is %s old now", report.Took(e.writer))
		}
		line("hold", "about %s; past %s (deadline) it is called off%s", report.Took(e.Hold), report.Took(e.Deadline), waits)
	}
	blue := ""
	if e.Blue > 0 {
		blue = fmt.Sprintf("; blue about %s for what is captured until the copy is done", report.Bytes(e.Blue))
	}
	line("disk", "green about %s%s", report.Bytes(e.Green), blue)
	line("rests on", "%s", strings.Join(e.Assumes, ";\n            "))
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return report.Thousands(n) + " " + what + "s"
}

// span writes a range without false precision.
func span(s *Span) string {
	const least = 10 * time.Second
	switch {
	case s.To < least:
		return "less than 10s"
	case s.From < least:
		return "up to " + coarse(s.To)
	case coarse(s.From) == coarse(s.To):
		return "about " + coarse(s.From)
	}
	return coarse(s.From) + " to " + coarse(s.To)
}

// coarse rounds to what such an estimate can say.
func coarse(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Round(5*time.Second).Seconds())
	case d < 10*time.Minute:
		d = d.Round(10 * time.Second)
		return fmt.Sprintf("%d:%02d min", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
