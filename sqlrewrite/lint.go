package sqlrewrite

// Finding is something about a statement that its author should know.
type Finding struct {
	Rule   string // the hazard's name, or "note"
	File   string
	Line   int
	Column int
	Text   string
	Hint   string
	// Fixed: rewriting takes it away. What is neither fixed nor a note must be allowed by name.
	Fixed bool
	Note  bool
}

// Lint compares what each statement of the scripts does as written with what is left of it after rewriting, by [LiveWith].
func Lint(scripts []*Script, allowed []string) ([]Finding, error) {
	var all []Finding
	for _, s := range scripts {
		if s.keep {
			continue
		}
		r, err := LiveWith(s, Given{Allowed: allowed})
		if err != nil {
			return nil, err
		}
		columns := map[int]int{}
		for _, st := range s.Up {
			if columns[st.Line] == 0 {
				columns[st.Line] = st.Column
			}
		}
		left := map[[2]any]bool{}
		add := func(h Hazard, fixed bool) {
			all = append(all, Finding{Rule: h.Name, File: h.File, Line: h.Line, Column: max(columns[h.Line], 1), Text: h.Text, Hint: h.Hint, Fixed: fixed})
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
			all = append(all, Finding{Rule: "note", File: s.Name, Line: a.Line, Column: max(columns[a.Line], 1), Note: true,
				Text: "it is done in batches, unless the catalog shows triggers, rules, keys, partitions or functions that let rows depend on each other: tideover plan --connect looks"})
		}
		for _, st := range s.Up {
			for _, n := range Analyze(st).Notes {
				all = append(all, Finding{Rule: "note", File: st.File, Line: st.Line, Column: st.Column, Text: n, Note: true})
			}
		}
	}
	return all, nil
}
