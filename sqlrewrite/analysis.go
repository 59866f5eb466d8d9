package sqlrewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Object is something that a statement touches.
type Object struct {
	Schema string // as written; empty: found by search_path
	Name   string
	Kind   string // "table", "view", "index", "function", …
	Lock   Level
	New    bool // the script has created it: nobody waits for it
}

// Analysis is what a statement does to others while it runs.
type Analysis struct {
	Objects []Object
	// Lock is the strongest lock on any table, view or materialized view that was there before the script.
	Lock Level
	// BlocksReads and BlocksWrites say who waits for Lock.
	BlocksReads, BlocksWrites bool
	// Scan: it reads a whole table, or builds an index, while it holds Lock. Rewrite: it writes the whole table again.
	// With neither, a lock is held for a moment only.
	Scan, Rewrite bool
	Reason        string // why this lock
	Manual        string // the page of the Postgres manual
	// Hazards is what live traffic suffers if the statement runs as it is.
	Hazards []Hazard
	// Notes are worth knowing, and harm no traffic now.
	Notes []Note
}

// Analyze says what a statement locks, in the light of what its script has created before it.
func Analyze(st *Statement) Analysis { return analyze(st, st.scope) }

func analyze(st *Statement, sc *scope) Analysis {
	if sc == nil {
		sc = newScope()
	}
	r := &reader{st: st, scope: sc}
	r.statement(st.node)
	for _, look := range rules {
		look(r, st.node)
	}
	return r.done()
}

// reader collects the analysis of one statement.
type reader struct {
	st    *Statement
	scope *scope
	a     Analysis
}

// touch notes a lock on a relation and tells whether somebody else may use it.
func (r *reader) touch(v *pg.RangeVar, kind string, l Level) (inUse bool) {
	if v.GetRelname() == "" {
		return false
	}
	o := Object{Schema: v.GetSchemaname(), Name: v.GetRelname(), Kind: kind, Lock: l, New: r.scope.fresh(v)}
	i := slices.IndexFunc(r.a.Objects, func(p Object) bool { return p.Schema == o.Schema && p.Name == o.Name && p.Kind == kind })
	if i < 0 {
		r.a.Objects = append(r.a.Objects, o)
	} else {
		r.a.Objects[i].Lock = max(r.a.Objects[i].Lock, l)
	}
	return !o.New
}

// creates notes a relation that did not exist before.
func (r *reader) creates(v *pg.RangeVar, kind string) {
	r.a.Objects = append(r.a.Objects, Object{Schema: v.GetSchemaname(), Name: v.GetRelname(), Kind: kind, Lock: AccessExclusive, New: true})
}

func (r *reader) hazard(name, text, hint string) {
	switch {
	case r.st.whole == "":
	case name == WritesTable || name == RewritesTable || name == MovesData:
		text += "; it isn't done in batches: " + r.st.whole
	case name == BlocksReads || name == BlocksWrites:
		text += "; it stays as it is: " + r.st.whole
	}
	if slices.ContainsFunc(r.a.Hazards, func(h Hazard) bool { return h.Name == name && h.Text == text }) {
		return
	}
	r.a.Hazards = append(r.a.Hazards, Hazard{Name: name, File: r.st.File, Line: r.st.Line, Statement: r.st.SQL, Text: text, Hint: hint})
}

// because sets the reason and the manual's page, unless a stronger lock has set them.
func (r *reader) because(reason, page string) {
	if r.a.Reason == "" {
		r.a.Reason, r.a.Manual = reason, manual(page)
	}
}

func manual(page string) string { return "https://www.postgresql.org/docs/current/" + page + ".html" }

// long notes work on a whole table behind a lock that blocks somebody.
func (r *reader) long(l Level, rewrite bool, what, hint string) {
	if rewrite {
		r.a.Rewrite = true
	} else {
		r.a.Scan = true
	}
	switch {
	case rewrite && l == AccessExclusive:
		r.hazard(RewritesTable, what+": reads and writes wait until every row is written again", hint)
	case l.BlocksReads():
		r.hazard(BlocksReads, what+": reads and writes wait meanwhile", hint)
	case l.BlocksWrites():
		r.hazard(BlocksWrites, what+": writes wait meanwhile", hint)
	}
}

func (r *reader) done() Analysis {
	for _, o := range r.a.Objects {
		switch o.Kind {
		case "table", "view", "materialized view":
			if !o.New {
				r.a.Lock = max(r.a.Lock, o.Lock)
			}
		}
	}
	r.a.BlocksReads, r.a.BlocksWrites = r.a.Lock.BlocksReads(), r.a.Lock.BlocksWrites()
	return r.a
}

// statement sends a statement to the part that knows its kind.
func (r *reader) statement(n *pg.Node) {
	switch v := n.GetNode().(type) {
	case *pg.Node_IndexStmt:
		r.createIndex(v.IndexStmt)
	case *pg.Node_ReindexStmt:
		r.reindex(v.ReindexStmt)
	case *pg.Node_AlterTableStmt:
		r.alterTable(v.AlterTableStmt)
	case *pg.Node_RenameStmt:
		r.rename(v.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		r.setSchema(v.AlterObjectSchemaStmt)
	case *pg.Node_CreateStmt:
		r.createTable(v.CreateStmt)
	case *pg.Node_CreateTableAsStmt:
		r.createTableAs(v.CreateTableAsStmt)
	case *pg.Node_ViewStmt:
		r.createView(v.ViewStmt)
	case *pg.Node_DropStmt:
		r.drop(v.DropStmt)
	case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt, *pg.Node_SelectStmt,
		*pg.Node_TruncateStmt, *pg.Node_CopyStmt, *pg.Node_LockStmt, *pg.Node_ExplainStmt:
		r.rows(n)
	default:
		r.other(n)
	}
}
