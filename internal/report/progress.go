package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/journal"
)

// Progress says in one line how far a step is that counts bytes: 42%, 1.2 GB of 2.9 GB, 1,204,331 rows, ETA 3m05s; then what is
// under way, and the note.
func Progress(p journal.ProgressData) string {
	parts := []string{HowFar(p.Done, p.Total, p.Rows, p.LeftS)}
	for _, t := range p.Parts {
		parts = append(parts, Plain(t.Name)+" "+HowFar(t.Done, t.Total, t.Rows, t.LeftS))
	}
	if note := Plain(p.Note); note != "" {
		parts = append(parts, note)
	}
	return strings.Join(parts, "; ")
}

// HowFar is how many of so many bytes are over, with how many rows and for how many seconds more; 0: not known.
func HowFar(done, total, rows, leftS int64) string {
	s := ""
	if total > 0 {
		s = fmt.Sprintf("%d%%, %s of %s", min(100, int(float64(done)/float64(total)*100)), Bytes(done), Bytes(total))
	} else {
		s = Bytes(done)
	}
	if rows > 0 {
		s += ", " + Thousands(rows) + " rows"
	}
	if leftS > 0 {
		s += ", ETA " + Took(time.Duration(leftS)*time.Second)
	}
	return s
}
