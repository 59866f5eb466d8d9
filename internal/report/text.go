package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Longest lists that Text prints, and the width that it keeps to: the report fits one screen.
const (
	maxFindings  = 5
	maxNotes     = 3
	maxStepLines = 4
	textWidth    = 100
)

// mark is the verdict on one line of the report. The marks differ in shape, so that nothing depends on colour.
type mark string

const (
	kept    mark = "✓"
	broken  mark = "✗"
	unasked mark = "·" // not measured: neither proved nor refuted
)

// Text writes the report for people, at most 40 lines: the outcome first, then what was proved and what was held
// against the run, then times and sizes. What nobody measured says so, and is never shown as kept. The color is ANSI's.
func Text(w io.Writer, r Report, color bool) {
	t := &text{w: w, color: color}
	t.outcome(r)
	t.proved(r)
	t.list("findings", broken, r.Findings, maxFindings)
	t.steps(r.Steps)
	t.servers(r.Servers)
	t.database(r)
	t.list("notes", unasked, r.Notes, maxNotes)
	if r.Kept != "" {
		t.line("\nkept in %s", r.Kept)
	}
}

type text struct {
	w     io.Writer
	color bool
}

func (t *text) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// paint puts an SGR code (ECMA-48, 8.3.117) around s.
func (t *text) paint(code, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *text) mark(m mark) string {
	switch m {
	case kept:
		return t.paint("32", string(m))
	case broken:
		return t.paint("1;31", string(m))
	}
	return string(m)
}

func (t *text) head(s string) { t.line("\n%s", t.paint("1", s)) }

func (t *text) outcome(r Report) {
	words := map[string]string{
		"completed":   "every step is done",
		"aborted":     "blue serves, as it did before the run",
		"rolled_back": "blue serves again",
		"failed":      "the run did not end as it should",
	}
	code := "1;32"
	if r.Outcome != "completed" || broke(r) {
		code = "1;31"
	}
	outcome, word := r.Outcome, words[r.Outcome]
	if outcome == "failed" && r.Stopped != "" {
		outcome, word = "stopped", Plain(r.Stopped)
	}
	s := t.paint(code, strings.ToUpper(strings.ReplaceAll(outcome, "_", " ")))
	if word != "" {
		s += "  " + word
	}
	if r.Outcome == "completed" && broke(r) {
		s += ", but look at what is marked " + string(broken)
	}
	if r.Run != "" {
		s += "  (run " + r.Run + ")"
	}
	t.line("%s", s)
	if r.Reason != "" {
		t.line("  %s", cut(Plain(r.Reason), 3*textWidth))
	}
}

func (t *text) proved(r Report) {
	t.head("what was proved")
	row := func(m mark, name, format string, args ...any) {
		t.line("  %s %-15s %s", t.mark(m), name, fmt.Sprintf(format, args...))
	}
	q := r.Requests
	if q.Total == 0 {
		row(unasked, "requests", "not measured: no traffic of ours")
	} else {
		row(verdict(q.Failed == 0), "requests", "%s answered, %s failed; p95 %s before, %s after",
			Thousands(q.Total), Thousands(q.Failed), millis(q.P95MSBefore), millis(q.P95MSAfter))
		row(unasked, "held", "%s requests waited: half of them %s or less, the longest %s; no read longer than %s",
			Thousands(q.Held), millis(q.HoldMSP50), millis(q.HoldMSMax), millis(q.ReadWaitMSMax))
	}
	t.revocations(r.Revocations, q.Total > 0, row)
	if a := r.Authorizations; a.Issued == 0 && a.Lost == 0 {
		row(unasked, "authorizations", "not measured")
	} else {
		row(verdict(a.Lost == 0), "authorizations", "%s issued, %s lost", Thousands(a.Issued), Thousands(a.Lost))
	}
	if o := r.Oracle; o.Tables == 0 {
		row(unasked, "oracle", "not asked")
	} else {
		row(verdict(o.Differences == 0), "oracle", "%s tables, %s rows compared with an offline migration, %s differences",
			Thousands(o.Tables), Thousands(o.RowsCompared), Thousands(o.Differences))
		if len(o.Unseen) > 0 {
			row(unasked, "", "by its form alone, or not: %s", strings.Join(slices.Sorted(maps.Keys(o.Unseen)), ", "))
		}
	}
	if a := r.Audit; a != nil {
		var rows int64
		for _, n := range a.Rows {
			rows += n
		}
		row(unasked, "audit", "%s rows of %s tables held against green before the switch; whole passes: %d", Thousands(rows), Thousands(len(a.Rows)), a.Passes)
	}
	if c := r.Cutover; c.HoldMS == 0 && len(c.Participants) == 0 {
		row(unasked, "cutover", "none")
	} else if c.CalledOff {
		row(unasked, "cutover", "called off before the point of no return; nothing was switched")
	} else {
		row(unasked, "cutover", "writes waited %s ms, %s ms of them fenced; switched: %s", Thousands(c.HoldMS), Thousands(c.FenceMS), strings.Join(c.Participants, ", "))
	}
	if r.LongestBlockMS == 0 {
		row(unasked, "locks", "the live server was not seen to wait for a lock of ours")
	} else {
		row(unasked, "locks", "the live server waited %s ms at most for a lock of ours", Thousands(r.LongestBlockMS))
	}
}

// broke says that something is held against the run, whatever its outcome.
func broke(r Report) bool {
	return r.Requests.Failed > 0 || r.Authorizations.Lost > 0 || r.Oracle.Differences > 0 || len(r.Findings) > 0 || !whole(r.Revocations)
}

func whole(v Revocations) bool {
	return v.Captured == v.Replayed && v.Replayed == v.Verified && v.Lost == 0
}

func (t *text) revocations(v Revocations, asked bool, row func(mark, string, string, ...any)) {
	if v.Captured == 0 && v.Acknowledged == 0 && v.Lost == 0 {
		row(unasked, "revocations", "none was captured")
		return
	}
	s := fmt.Sprintf("%s captured %s %s replayed %s %s verified", Thousands(v.Captured), equals(v.Captured, v.Replayed),
		Thousands(v.Replayed), equals(v.Replayed, v.Verified), Thousands(v.Verified))
	good := whole(v)
	if !asked {
		row(verdict(good), "revocations", "%s", s)
		return
	}
	row(verdict(good), "revocations", "%s, %s lost", s, Thousands(v.Lost))
	row(unasked, "", "%s told to clients, %s of them during the replay or the hold", Thousands(v.Acknowledged), Thousands(v.InWindow))
}

func equals(a, b int64) string {
	if a == b {
		return "="
	}
	return "≠"
}

func verdict(good bool) mark {
	if good {
		return kept
	}
	return broken
}

func (t *text) list(title string, m mark, items []string, most int) {
	if len(items) == 0 {
		return
	}
	t.head(title)
	for i, item := range items {
		if i == most-1 && len(items) > most {
			t.line("  %s and %s more, in the report of --json", t.mark(m), Thousands(len(items)-i))
			return
		}
		t.line("  %s %s", t.mark(m), cut(Plain(item), 2*textWidth))
	}
}

// steps flows the times into as few lines as they need.
func (t *text) steps(steps []StepTime) {
	if len(steps) == 0 {
		return
	}
	t.head("steps")
	var lines []string
	var current string
	for _, st := range steps {
		item := st.ID + " " + seconds(st.Seconds)
		if current != "" && len(current)+len(item)+3 > textWidth-2 {
			lines, current = append(lines, current), ""
		}
		if current != "" {
			current += " · "
		}
		current += item
	}
	lines = append(lines, current)
	if len(lines) > maxStepLines {
		lines = append(lines[:maxStepLines-1], "…")
	}
	for _, l := range lines {
		t.line("  %s", l)
	}
}

func (t *text) servers(s Servers) {
	if s == (Servers{}) {
		return
	}
	t.head("servers")
	w := tabwriter.NewWriter(t.w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tp95\tmemory\theap\tgoroutines\tCPU cores\t")
	for _, side := range []struct {
		name string
		Server
	}{{"before", s.Before}, {"after", s.After}} {
		fmt.Fprintf(w, "%s\t%s\t%.0f MB\t%.0f MB\t%s\t%.2f\t\n",
			side.name, millis(side.P95MS), side.RSSMB, side.HeapMB, Thousands(side.Goroutines), side.CPUCores)
	}
	w.Flush()
}

func (t *text) database(r Report) {
	if r.Rows == (Rows{}) && r.Database == (Database{}) {
		return
	}
	t.head("database")
	if n := r.Rows; n != (Rows{}) {
		t.line("  rows    %s copied, %s updated, %s inserted, %s repaired, %s quarantined", Thousands(n.Copied),
			Thousands(n.Updated), Thousands(n.Inserted), Thousands(n.Repaired), Thousands(n.Quarantined))
	}
	if d := r.Database; d != (Database{}) {
		t.line("  green   %s rows updated, %s inserted, %s commits, %s of temporary files",
			Thousands(d.RowsUpdated), Thousands(d.RowsInserted), Thousands(d.Commits), Bytes(d.TempBytes))
	}
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
