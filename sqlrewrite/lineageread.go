package sqlrewrite

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// tablesIn are the relations that a statement names, without those of its WITH and of Postgres' own.
func tablesIn(m proto.Message) (found []*pg.RangeVar) {
	with := withNames(m)
	real := map[*pg.RangeVar]bool{} // the query of a name that isn't RECURSIVE means another table by it
	walk(m, func(m any) {
		if w, ok := m.(*pg.WithClause); ok && !w.Recursive {
			for _, c := range w.Ctes {
				walk(c, func(m any) {
					if r, ok := m.(*pg.RangeVar); ok && r.Relname == c.GetCommonTableExpr().GetCtename() {
						real[r] = true
					}
				})
			}
		}
	})
	walk(m, func(m any) {
		if r, ok := m.(*pg.RangeVar); ok && (r.Schemaname != "" || !with[r.Relname] || real[r]) && !ofPostgres(r) {
			found = append(found, r)
		}
	})
	return found
}

// withNames are the names that the WITH clauses of a statement give.
func withNames(m proto.Message) map[string]bool {
	with := map[string]bool{}
	walk(m, func(m any) {
		if c, ok := m.(*pg.CommonTableExpr); ok {
			with[c.Ctename] = true
		}
	})
	return with
}

// writes reads a statement that writes rows, and those in its WITH.
func (l *lineage) writes(n *pg.Node) {
	var with *pg.WithClause
	var target *pg.RangeVar
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		with, target = v.InsertStmt.WithClause, v.InsertStmt.Relation
	case *pg.Node_UpdateStmt:
		with, target = v.UpdateStmt.WithClause, v.UpdateStmt.Relation
	case *pg.Node_DeleteStmt:
		with, target = v.DeleteStmt.WithClause, v.DeleteStmt.Relation
	case *pg.Node_MergeStmt:
		with, target = v.MergeStmt.WithClause, v.MergeStmt.Relation
	}
	for _, c := range with.GetCtes() {
		l.within(c.GetCommonTableExpr().GetCtequery())
	}
	l.calls(n)
	l.placed(n)
	if l.fires[l.key(target)] {
		l.unread("a trigger of the migrations may write other rows", "make the trigger at the end, behind what writes rows")
	}
	l.written(n, target)
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		var columns []string
		for _, c := range v.InsertStmt.Cols {
			columns = append(columns, c.GetResTarget().GetName())
		}
		l.inserted(target, columns, n, v.InsertStmt.GetSelectStmt().GetSelectStmt(), v.InsertStmt.OnConflictClause)
		return
	case *pg.Node_UpdateStmt:
		l.depends(n, target)
		for _, t := range v.UpdateStmt.TargetList {
			l.overwritten(target, t.GetResTarget().GetName())
		}
	case *pg.Node_DeleteStmt:
		l.depends(n, target)
		l.deleted(target)
	case *pg.Node_MergeStmt:
		l.depends(n, target)
		for _, w := range v.MergeStmt.MergeWhenClauses {
			c := w.GetMergeWhenClause()
			for _, t := range c.GetTargetList() {
				if c.CommandType == pg.CmdType_CMD_UPDATE {
					l.overwritten(target, t.GetResTarget().GetName())
				}
			}
			if c.CommandType == pg.CmdType_CMD_DELETE {
				l.deleted(target)
			}
			if c.CommandType == pg.CmdType_CMD_INSERT {
				l.derive(target, l.origins(l.sources(n, target)), nil, Derived{})
			}
		}
	}
}

// written notes what a statement does to rows of a table of before.
func (l *lineage) written(n *pg.Node, target *pg.RangeVar) {
	a := l.table(target)
	if !a.own || a.view {
		return
	}
	put := func(event string, sets []*pg.Node) {
		w := Write{Place: l.at, Table: l.moved[a], Event: event, Asleep: slices.Clone(a.asleep)}
		for _, t := range sets {
			name := t.GetResTarget().GetName()
			if c := l.cell(target, name); c != nil && c.origin != nil {
				name = c.origin.Column
			}
			w.Columns = append(w.Columns, name)
		}
		l.found.Written = append(l.found.Written, w)
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		put("INSERT", nil)
		if c := v.InsertStmt.OnConflictClause; c != nil && c.Action == pg.OnConflictAction_ONCONFLICT_UPDATE {
			put("UPDATE", c.TargetList)
		}
	case *pg.Node_UpdateStmt:
		put("UPDATE", v.UpdateStmt.TargetList)
	case *pg.Node_DeleteStmt:
		put("DELETE", nil)
	case *pg.Node_MergeStmt:
		for _, w := range v.MergeStmt.MergeWhenClauses {
			c := w.GetMergeWhenClause()
			switch c.CommandType {
			case pg.CmdType_CMD_INSERT:
				put("INSERT", nil)
			case pg.CmdType_CMD_UPDATE:
				put("UPDATE", c.TargetList)
			case pg.CmdType_CMD_DELETE:
				put("DELETE", nil)
			}
		}
	}
}

// within reads statements that write rows inside another one.
func (l *lineage) within(n *pg.Node) {
	walk(n, func(m any) {
		if in, ok := m.(*pg.Node); ok {
			switch in.GetNode().(type) {
			case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
				l.writes(in)
			}
		}
	})
}

func (l *lineage) overwritten(r *pg.RangeVar, column string) {
	a := l.table(r)
	if c := l.cell(r, column); c != nil {
		if a.own && c.origin != nil {
			l.found.Overwritten = append(l.found.Overwritten, Overwrite{l.at, *c.origin})
		}
		a.cells[column] = c.changed()
	}
	a.touched = true
}

func (l *lineage) deleted(r *pg.RangeVar) {
	if a := l.table(r); a.own {
		l.found.Deleted = append(l.found.Deleted, Mention{l.at, l.moved[a]})
	}
}

// ofThePlace are functions of Postgres' own that say in which database, session or transaction a statement runs, or how tables lie there.
var ofThePlace = strings.Fields(`current_database pg_backend_pid txid_current txid_current_if_assigned pg_current_xact_id pg_current_xact_id_if_assigned txid_current_snapshot
	pg_current_snapshot inet_client_port pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size pg_relation_filenode pg_relation_filepath
	pg_current_wal_lsn pg_current_wal_insert_lsn lastval current_query`)

// runsText are functions of Postgres' own that run SQL from a text, or read a whole table by its name.
var runsText = regexp.MustCompile(`^((query|cursor|table|schema|database)_to_xml(schema|_and_xmlschema)?|ts_stat|ts_rewrite)$`)

// sameInAll are catalogs that say in each database of one schema the same of what the schema has.
func sameInAll(r *pg.RangeVar) bool {
	return r.GetSchemaname() == "information_schema" || slices.Contains([]string{"pg_enum", "pg_tables", "pg_views", "pg_timezone_names"}, r.GetRelname())
}

// placed refuses values that a statement that fills rows takes from where it runs.
func (l *lineage) placed(n *pg.Node) {
	const way = "write the value itself"
	walk(n, func(m any) {
		if v, is := m.(*pg.SQLValueFunction); is && v.GetOp() == pg.SQLValueFunctionOp_SVFOP_CURRENT_CATALOG {
			l.unread("current_catalog says where the migrations run, and a delta is migrated elsewhere", way)
		}
		if r, is := m.(*pg.RangeVar); is && ofPostgres(r) && !sameInAll(r) {
			l.unread(r.GetRelname()+" says how things are where the migrations run, and a delta is migrated elsewhere", way)
		}
		c, ok := m.(*pg.FuncCall)
		if !ok || len(c.Funcname) == 0 || len(c.Funcname) > 1 && c.Funcname[0].GetString_().GetSval() != "pg_catalog" {
			return
		}
		switch name := c.Funcname[len(c.Funcname)-1].GetString_().GetSval(); {
		case slices.Contains(ofThePlace, name):
			l.unread(name+"() says where the migrations run, and a delta is migrated elsewhere", way)
		case runsText.MatchString(name) && (name != "ts_rewrite" || len(c.Args) == 2):
			l.unread(name+"() reads rows that can't be told from the statement", "write a query in its place")
		}
	})
}

// calls notes the functions that aren't known to be Postgres' own, and the operators, which are functions.
func (l *lineage) calls(n *pg.Node) {
	walk(n, func(m any) {
		if o, is := m.(*pg.A_Expr); is && len(o.Name) > 0 {
			call := Call{Place: l.at, Function: o.Name[len(o.Name)-1].GetString_().GetSval()}
			if len(o.Name) > 1 {
				call.Schema = o.Name[0].GetString_().GetSval()
			}
			if call.Schema != "pg_catalog" && !slices.Contains(l.found.Operators, call) {
				l.found.Operators = append(l.found.Operators, call)
			}
			return
		}
		c, ok := m.(*pg.FuncCall)
		if !ok || len(c.Funcname) == 0 {
			return
		}
		call := Call{Place: l.at, Function: c.Funcname[len(c.Funcname)-1].GetString_().GetSval()}
		if len(c.Funcname) > 1 {
			call.Schema = c.Funcname[0].GetString_().GetSval()
		}
		call.Made = l.made[call.Function]
		if call.Function == "set_config" && slices.ContainsFunc(c.Args, func(a *pg.Node) bool { return a.GetSubLink() != nil }) {
			l.unread("a setting takes what rows say along", "write the query where its value is used")
		}
		if call.Schema != "pg_catalog" && !slices.Contains(l.found.Calls, call) {
			l.found.Calls = append(l.found.Calls, call)
		}
	})
}

// source is a relation that a statement reads.
type source struct {
	*pg.RangeVar
	*ancestry
	joined bool
	asked  []string // as it is called now
}

// sources are the relations with rows of before the migrations that a statement reads, beside its target.
func (l *lineage) sources(n *pg.Node, target *pg.RangeVar) (found []source) {
	j := l.joinsOf(n, target)
	for _, r := range tablesIn(n) {
		if r == target {
			continue
		}
		if a := l.table(r); len(a.from) > 0 {
			found = append(found, source{RangeVar: r, ancestry: a, joined: !a.view && !a.gathers && j.joined(r) && !cutOff(n, r), asked: askedOf(n, r)})
		}
	}
	return found
}

// origins are the tables of before that sources have rows of.
func (l *lineage) origins(sources []source) map[string]bool {
	from := map[string]bool{}
	for _, s := range sources {
		maps.Copy(from, s.from)
	}
	return from
}

// asked gives what the columns of a source were called that it looks at, without those that the migrations have given each row
// whatever it has; nil where that can't be told.
func (l *lineage) asked(s source) []string {
	if !s.own || s.asked == nil {
		return nil
	}
	names := []string{}
	for _, c := range s.asked {
		x := l.cell(s.RangeVar, c)
		if x != nil && x.fresh {
			continue
		}
		if x == nil || x.origin == nil {
			return nil
		}
		names = append(names, x.origin.Column)
	}
	return names
}

// depends: what becomes of the target's rows depends on those of the sources.
func (l *lineage) depends(n *pg.Node, target *pg.RangeVar) {
	t := l.table(target)
	l.with = withNames(n)
	for _, s := range l.sources(n, target) {
		itself := l.sameRow(n, target, s)
		if !s.joined {
			itself = nil
		}
		for _, a := range t.names() {
			for _, b := range s.names() {
				if a == b && (s.ancestry != t && !s.own || itself[a] != nil) {
					l.found.Dependences = append(l.found.Dependences, Dependence{Place: l.at, Table: a, On: b, Joined: s.joined, Asked: itself[a], Same: true})
					continue
				}
				l.found.Dependences = append(l.found.Dependences, Dependence{Place: l.at, Table: a, On: b, Joined: s.joined, By: l.pairs(n, target, s, a, b), Asked: l.asked(s)})
			}
		}
		if len(t.from) == 0 { // rows that the migrations make of nothing take something of these
			l.derive(target, l.origins([]source{s}), nil, Derived{})
		}
	}
}

// sameRow gives, by table of before, the columns that are copied to both the target and a source and by which these are joined.
func (l *lineage) sameRow(n *pg.Node, target *pg.RangeVar, s source) map[string][]string {
	same := map[string][]string{}
	for _, e := range equalities(n) {
		for _, e := range []equality{e, {e.scope, e.right, e.left}} {
			a, b := l.origin(target, e.left), l.origin(s.RangeVar, e.right)
			if a != nil && b != nil && *a == *b {
				same[a.Table] = append(same[a.Table], a.Column)
			}
		}
	}
	return same
}

// pairs are the columns of two tables of before that are equal in rows of a relation and a source that are joined.
func (l *lineage) pairs(n *pg.Node, r *pg.RangeVar, s source, table, on string) (found [][2]string) {
	for _, e := range equalities(n) {
		for _, e := range []equality{e, {e.scope, e.right, e.left}} {
			a, b := l.origin(r, e.left), l.origin(s.RangeVar, e.right)
			if a != nil && b != nil && a.Table == table && b.Table == on {
				found = append(found, [2]string{a.Column, b.Column})
			}
		}
	}
	return found
}

// origin is that of a column, if it is written as one of r.
func (l *lineage) origin(r *pg.RangeVar, ref []string) *Origin {
	if len(ref) < 2 || ref[len(ref)-2] != aliasOf(r) {
		return nil
	}
	if c := l.cell(r, ref[len(ref)-1]); c != nil {
		return c.origin
	}
	return nil
}
