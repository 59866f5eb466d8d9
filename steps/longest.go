package steps

import (
	"cmp"
	"slices"
	"time"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/migrate"
)

// mostTimes is how many statements of a migration the report names.
const mostTimes = 20

// longest collects what took longest in a migration: statements, or whole files where statements aren't timed.
type longest struct {
	step  string
	timed map[string]bool // files whose statements were
	times []journal.StatementTime
}

func (l *longest) statement(t migrate.Timing) {
	if l.timed == nil {
		l.timed = map[string]bool{}
	}
	l.timed[t.Name] = true
	l.times = append(l.times, journal.StatementTime{Step: l.step, File: t.File, Line: t.Line, What: t.What, Seconds: t.Took.Seconds()})
}

func (l *longest) file(name string, took time.Duration) {
	if !l.timed[name] {
		l.times = append(l.times, journal.StatementTime{Step: l.step, File: name, Seconds: took.Seconds()})
	}
}

func (l *longest) list() []journal.StatementTime {
	slices.SortStableFunc(l.times, func(a, b journal.StatementTime) int { return cmp.Compare(b.Seconds, a.Seconds) })
	return l.times[:min(len(l.times), mostTimes)]
}
