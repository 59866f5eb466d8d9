package sqlrewrite

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// The names of notes. They harm no traffic now.
const (
	AsksCatalog         = "asks-catalog"          // whether it is done in batches, the catalog decides
	DetachesAtOnce      = "detaches-at-once"      // a partition goes behind ACCESS EXCLUSIVE of all
	UnindexedForeignKey = "unindexed-foreign-key" // deletes of the referenced table read the whole of this one
	UnusedSilence       = "unused-silence"        // a tideover:allow that accepts nothing
)

// NoteNames lists the names of notes.
func NoteNames() []string {
	return []string{AsksCatalog, DetachesAtOnce, UnindexedForeignKey, UnusedSilence}
}

// RuleNames lists the names that findings have: those of hazards, and those of notes.
func RuleNames() []string { return append(HazardNames(), NoteNames()...) }

// Finding is something about a statement that its author should know.
type Finding struct {
	// ID is the same as long as the statement and its file's name are, wherever in the file it stands.
	ID     string
	Rule   string // one of [RuleNames]
	File   string
	Line   int
	Column int
	Text   string
	Hint   string
	// Fixed: rewriting takes it away. What is neither fixed nor a note must be allowed by name.
	Fixed bool
	Note  bool
	// Allowed: by name, or by a comment in the file (Silenced), whose reason is Reason.
	Allowed, Silenced bool
	Reason            string

	statement string
}

// Lint compares what each statement of the scripts does as written with what is left of it after rewriting, by [LiveWith]. allowed are
// names of findings that a person accepts; those of comments in the files are added.
func Lint(scripts []*Script, allowed []string) ([]Finding, error) {
	var all []Finding
	for _, s := range scripts {
		if s.keep {
			continue
		}
		list, err := s.lint(allowed)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func (s *Script) lint(allowed []string) ([]Finding, error) {
	silences, err := s.silences()
	if err != nil {
		return nil, err
	}
	given := Given{Allowed: slices.Clone(allowed)}
	for _, q := range silences {
		given.Allowed = append(given.Allowed, q.names...) // a column's order: rewriting is another one then
	}
	s = s.trusting()
	r, err := LiveWith(s, given)
	if err != nil {
		return nil, err
	}
	var all []Finding
	left := map[[2]any]bool{}
	add := func(h Hazard, fixed bool) {
		all = append(all, Finding{Rule: h.Name, File: h.File, Line: h.Line, Text: h.Text, Hint: h.Hint, Fixed: fixed, statement: h.Statement})
	}
	for _, h := range r.Hazards {
		left[[2]any{h.Name, h.Line}] = true
		add(h, false)
	}
	for _, h := range (part{s.Up, s.NoTransaction}).hazards() {
		if key := [2]any{h.Name, h.Line}; !left[key] {
			left[key] = true
			add(h, true)
		}
	}
	for _, a := range r.Asks() {
		all = append(all, Finding{Rule: AsksCatalog, File: s.Name, Line: a.Line, Note: true,
			Text: "it is done in batches, unless the catalog shows triggers, rules, keys, partitions or functions that let rows depend on each other: tideover plan --connect looks"})
	}
	for _, st := range s.Up {
		for _, n := range Analyze(st).Notes {
			all = append(all, Finding{Rule: n.Name, File: st.File, Line: st.Line, Text: n.Text, Note: true, statement: st.SQL})
		}
	}
	s.locate(all)
	for i := range all {
		all[i].accept(allowed, silences)
	}
	for _, q := range silences {
		for _, f := range q.unused(s.Name) {
			f.accept(allowed, nil)
			all = append(all, f)
		}
	}
	identify(all)
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return all, nil
}

// trusting takes tables that are made if they aren't there for new, unless an earlier script has made them: that is what their author means.
func (s *Script) trusting() *Script {
	own := *s
	own.Up = slices.Clone(s.Up)
	changed := false
	for i, st := range own.Up {
		c := st.node.GetCreateStmt()
		if !c.GetIfNotExists() || st.known != nil && st.known.types[nameOf(c.GetRelation())] != nil {
			continue
		}
		other := *st
		other.node = clone(st.node)
		other.node.GetCreateStmt().IfNotExists = false
		own.Up[i], changed = &other, true
	}
	if !changed {
		return s
	}
	for i, st := range own.Up {
		other := *st
		own.Up[i] = &other
	}
	setScopes(own.Up)
	return &own
}

// locate gives findings the columns of their statements, and the statements as they are written.
func (s *Script) locate(list []Finding) {
	for i := range list {
		f := &list[i]
		f.Column = 1
		var first *Statement
		for _, st := range s.Up {
			if st.Line == f.Line && !st.records && (first == nil || st.SQL == f.statement && first.SQL != f.statement) {
				first = st
			}
		}
		if first != nil {
			f.Column, f.statement = first.Column, first.SQL
		}
	}
}

// accept notes who accepts a finding. All silences that do are in use.
func (f *Finding) accept(allowed []string, silences []*silence) {
	f.Allowed = slices.Contains(allowed, f.Rule)
	for _, q := range silences {
		if q.accepts(f.Rule, f.Line) {
			q.used[f.Rule], f.Allowed, f.Silenced = true, true, true
			if f.Reason == "" {
				f.Reason = q.reason
			}
		}
	}
}

// identify gives findings their IDs: what they say of which statement of which file, and the how manieth of those that are alike.
func identify(list []Finding) {
	had := map[string]int{}
	for i := range list {
		f := &list[i]
		key := strings.Join([]string{f.Rule, f.File, strings.Join(strings.Fields(f.statement), " ")}, "\x00")
		had[key]++
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", key, had[key]))
		f.ID = hex.EncodeToString(sum[:16])
	}
}
