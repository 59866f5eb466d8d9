package sqlrewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// silence is a comment by which a script's author accepts findings:
//
//	-- tideover:allow breaks-old-server,loses-data nobody reads it since release 4
type silence struct {
	names        []string
	reason       string
	line, column int
	file         bool            // it stands at the top, apart from the first statement: it counts for all of them
	statement    int             // the line in which the statements begin that it counts for; 0: none
	used         map[string]bool // names for which there was something to accept
}

var (
	silencing = regexp.MustCompile(`^--\s*tideover:allow(?:\s+(\S+)\s*(.*?))?\s*$`)
	// upMark begins a section, and so parts what is said of the file from what is said of its first statement.
	upMark = regexp.MustCompile(`(?im)^\s*--[\s-]*(\+(goose|migrate)\s+(up|no)\b|migrate:up\b|up\s+migration\b|changeset\b)|^\s*$`)
)

// silences reads a script's comments. Those of the way back are left out.
func (s *Script) silences() ([]*silence, error) {
	scan, err := pg.Scan(s.text)
	if err != nil {
		return nil, nil //nolint:nilerr // what is no SQL has been refused; templates and the like have no comments that we know of
	}
	var list []*silence
	for _, t := range scan.Tokens {
		if t.Token != pg.Token_SQL_COMMENT {
			continue
		}
		m := silencing.FindStringSubmatch(strings.TrimRight(s.text[t.Start:t.End], "\r\n"))
		if m == nil {
			continue
		}
		if m[1] == "" {
			return nil, failure(s.Name, s.text, int(t.Start), "tideover:allow names nothing", "-- tideover:allow NAME reason")
		}
		q := &silence{names: strings.Split(m[1], ","), reason: m[2], used: map[string]bool{}}
		q.line, q.column = place(s.text, int(t.Start))
		for _, n := range q.names {
			if n == UnusedSilence || !slices.Contains(RuleNames(), n) {
				return nil, failure(s.Name, s.text, int(t.Start), fmt.Sprintf("tideover:allow %s: there is no finding of that name to accept", n), "one of "+strings.Join(RuleNames(), ", "))
			}
		}
		if s.aim(q) {
			list = append(list, q)
		}
	}
	return list, nil
}

// aim finds out what a silence counts for. false: it is the way back's.
func (s *Script) aim(q *silence) bool {
	var before, next *Statement // in the file, of both ways
	down := false
	for i, list := range [][]*Statement{s.Up, s.Down} {
		for _, st := range list {
			switch {
			case st.records || st.File != s.Name:
			case st.Line < q.line || st.Line == q.line && st.Column < q.column:
				if before == nil || before.Line <= st.Line {
					before = st
				}
			case next == nil || st.Line < next.Line:
				next, down = st, i == 1
			}
		}
	}
	if before != nil {
		switch end := before.Line + strings.Count(before.SQL, "\n"); {
		case q.line == end && !within(before, q):
			return !slices.Contains(s.Down, before) // behind a statement: nobody could tell which one is meant
		case q.line <= end:
			q.statement = before.Line
			return !slices.Contains(s.Down, before)
		}
	}
	if next == nil {
		return len(s.Down) == 0 || slices.Contains(s.Up, before)
	}
	if before == nil {
		apart := strings.Join(strings.Split(s.text, "\n")[q.line:max(q.line, next.Line-1)], "\n")
		q.file = q.line < next.Line-1 && upMark.MatchString(apart)
	}
	q.statement = next.Line
	return !down
}

// within: a comment stands in the middle of a statement. Both begin in the same line, or the statement ends in the comment's.
func within(st *Statement, q *silence) bool {
	lines := strings.Split(st.SQL, "\n")
	end := len([]rune(lines[len(lines)-1]))
	if len(lines) == 1 {
		end += st.Column - 1
	}
	return q.column <= end
}

// accepts says whether a silence is for findings of a name in a line.
func (q *silence) accepts(name string, line int) bool {
	return slices.Contains(q.names, name) && (q.file || q.statement == line)
}

// unused is a note for each name that there was nothing to accept of.
func (q *silence) unused(file string) []Finding {
	var list []Finding
	for _, n := range q.names {
		if q.used[n] {
			continue
		}
		where := "the file"
		switch {
		case q.statement == 0:
			where = "no statement: it counts for the one that it stands before, in a line of its own"
		case !q.file:
			where = fmt.Sprintf("the statement in line %d", q.statement)
		}
		list = append(list, Finding{Rule: UnusedSilence, File: file, Line: q.line, Column: q.column, Note: true,
			Text: fmt.Sprintf("tideover:allow %s accepts nothing: it stands for %s", n, where), Hint: "take it out", statement: n})
	}
	return list
}
