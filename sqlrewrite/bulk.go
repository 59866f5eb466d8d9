package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Catalog is what a database says of itself before a bulk migration, as far as the migrations' names reach: one schema.
type Catalog struct {
	Schema string
	Tables map[string]Table
	// Indexes maps the name of an index to its table's.
	Indexes map[string]string
	// Overloads names functions and operators that are not Postgres' own. Nothing is known of them.
	Overloads map[string]bool
	// Watched: an event trigger sees each DDL statement, so that none may be left out or added.
	Watched bool
}

// Table is a table in a [Catalog].
type Table struct {
	// Plain: nothing happens to rows but what a statement says. There is no trigger, rule, row security, generated column,
	// partition or child, and no default, check or index that calls code of the database's own.
	Plain bool
	// Types are the columns' types as pg_type names them; "" for one with a modifier or a collation of its column's own, an array, or one
	// that isn't Postgres' own.
	Types map[string]string
	// Referenced are the columns that foreign keys of other tables point to.
	Referenced map[string]bool
}

// Command is a statement of a bulk migration. Source and Line say which statement of the scripts it is, or is the first of
// several that became one.
type Command struct {
	SQL    string `json:"sql"`
	Source string `json:"source"`
	Line   int    `json:"line"`
	Note   string `json:"note,omitempty"` // what was made of the original, "" for nothing
}

// Task is a transaction of a bulk migration.
type Task struct {
	Commands []Command `json:"commands"`
	// Late tasks wait until all others are done. They may run side by side, in any order.
	Late bool `json:"late,omitempty"`
	// Table is what a late task works on.
	Table string `json:"table,omitempty"`
}

// Bulk arranges scripts for a database that nobody uses, such that they end as they would one after the other, sooner:
//
//	fill      a new column that gets one value in every row is added with that value, which writes no row
//	fuse      updates of a whole table that follow each other become one
//	postpone  indexes are built, and foreign keys validated, at the end and side by side; an index that the scripts
//	          themselves drop again is not built, unless it is unique and so a check
//
// Where something isn't understood, the statements around it stay in their order and as they are. What fails as written
// fails so too, at its own or a later place; with two exceptions, in which only a state in between would have been
// refused: a constraint that an update breaks and the next mends, and a key too long for an index that isn't kept.
func Bulk(scripts []*Script, c Catalog) []Task {
	b := &bulk{catalog: c}
	s := newShape(c)
	for i, script := range scripts {
		for _, st := range script.statements() {
			b.items = append(b.items, &item{st: st, script: i, before: s})
			s = s.after(st.node)
		}
	}
	if !c.Watched {
		b.fill()
		b.fuse()
	}
	return b.postpone()
}

// statements leaves out the record for the vendor's own table, which is written when all is done.
func (s *Script) statements() []*Statement {
	if s.note == "" {
		return s.Up
	}
	return s.Up[:len(s.Up)-1]
}

// Record is the SQL that notes a script as done in the vendor's own table; "" where goose's is the only one.
func (s *Script) Record() string { return s.note }

// Joinable: the script may run in a transaction together with others. One that sets parameters or begins a transaction
// itself may not, nor one with statements that want none.
func (s *Script) Joinable() bool {
	return !slices.ContainsFunc(s.Up, func(st *Statement) bool { return !canBeInside(st.node) || concurrent(st.node) || setsState(st.node) })
}

// setsState: what the statement does outlives it in the session, or depends on the transaction that it is in.
func setsState(n *pg.Node) bool {
	switch v := n.GetNode().(type) {
	case *pg.Node_LockStmt, *pg.Node_PrepareStmt, *pg.Node_ConstraintsSetStmt, *pg.Node_ListenStmt, *pg.Node_LoadStmt, *pg.Node_AlterEnumStmt,
		*pg.Node_DeclareCursorStmt:
		return true
	case *pg.Node_CreateStmt:
		return v.CreateStmt.GetRelation().GetRelpersistence() == "t"
	case *pg.Node_CreateTableAsStmt:
		return v.CreateTableAsStmt.GetInto().GetRel().GetRelpersistence() == "t"
	case *pg.Node_SelectStmt:
		set := false
		walk(n, func(m any) {
			if c, ok := m.(*pg.FuncCall); ok && c.Funcname[len(c.Funcname)-1].GetString_().GetSval() == "set_config" {
				set = true
			}
		})
		return set || v.SelectStmt.GetIntoClause().GetRel().GetRelpersistence() == "t"
	}
	return false
}

// bulk is a migration being arranged.
type bulk struct {
	catalog Catalog
	items   []*item
}

// item is a statement and what became of it.
type item struct {
	st     *Statement
	script int
	before *shape // the tables as the statement finds them
	gone   bool   // others do its work
	sql    string // in its place; "": as written
	note   string
	writes map[string]bool // the columns that it assigns to, where it does others' work
}

func (it *item) command() Command {
	c := Command{SQL: it.st.SQL, Source: it.st.File, Line: it.st.Line, Note: it.note}
	if it.sql != "" {
		c.SQL = it.sql
	}
	return c
}

// local is the relation's name in the catalog's schema; ok is false for one of another.
func (b *bulk) local(r *pg.RangeVar) (_ string, ok bool) { return local(b.catalog.Schema, r) }

func local(schema string, r *pg.RangeVar) (_ string, ok bool) {
	if s := r.GetSchemaname(); s != "" && s != schema || r.GetRelpersistence() == "t" || r.GetCatalogname() != "" {
		return "", false
	}
	return r.GetRelname(), r.GetRelname() != ""
}

// bare is a name in the catalog's schema as SQL text.
func (b *bulk) bare(table string) string { return ident(name{schema: b.catalog.Schema, name: table}) }

// reads are the relations that a statement's queries mention, leaving out its target. A name of WITH counts as one: that only
// makes us more careful.
func (b *bulk) reads(n *pg.Node, target *pg.RangeVar) map[string]bool {
	m := map[string]bool{}
	walk(n, func(x any) {
		if r, ok := x.(*pg.RangeVar); ok && r != target {
			m[r.GetRelname()] = true
		}
	})
	return m
}

// dollar quotes a body such that nothing in it ends the quotes.
func dollar(body string) string {
	tag := "$do$"
	for strings.Contains(body, tag) {
		tag = tag[:len(tag)-1] + "_$"
	}
	return tag + body + tag
}
