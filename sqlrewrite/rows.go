package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

const batches = "write in batches by key, outside the migration, or migrate a copy (target: offline)"

// rows: statements that read and write rows.
func (r *reader) rows(n *pg.Node) {
	if r.st.records { // of a table that has some hundred rows, and that no server writes
		r.because("the version is noted in the vendor's table", "sql-insert")
		return
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		r.because("rows are written", "sql-insert")
		r.touch(v.InsertStmt.Relation, "table", RowExclusive)
		for _, t := range r.scope.targets[nameOf(v.InsertStmt.Relation)] {
			r.touch(t, "table", RowShare)
		}
		if r.reads(n, v.InsertStmt.Relation) && !r.st.copied {
			r.moves()
		}
	case *pg.Node_UpdateStmt:
		u := v.UpdateStmt
		r.because("rows are written", "sql-update")
		used := r.touch(u.Relation, "table", RowExclusive)
		if r.reads(n, u.Relation) {
			r.moves()
		}
		if used && !byKey(u.WhereClause, u.Relation) {
			r.a.Scan = true
			r.hazard(WritesTable, fmt.Sprintf("UPDATE of %s is not limited to one key: every row that it changes stays locked until it commits", u.GetRelation().GetRelname()), batches)
		}
	case *pg.Node_DeleteStmt:
		d := v.DeleteStmt
		r.because("rows are written", "sql-delete")
		used := r.touch(d.Relation, "table", RowExclusive)
		r.reads(n, d.Relation)
		if used && !byKey(d.WhereClause, d.Relation) {
			r.a.Scan = true
			r.hazard(WritesTable, fmt.Sprintf("DELETE from %s is not limited to one key: every row that it deletes stays locked until it commits", d.GetRelation().GetRelname()), batches)
		}
	case *pg.Node_MergeStmt:
		r.because("rows are written", "sql-merge")
		if r.touch(v.MergeStmt.Relation, "table", RowExclusive) {
			r.a.Scan = true
			r.hazard(WritesTable, "MERGE: every row that it changes stays locked until it commits", batches)
		}
		if r.reads(n, v.MergeStmt.Relation) {
			r.moves()
		}
	case *pg.Node_SelectStmt:
		r.because("rows are read", "sql-select")
		if into := v.SelectStmt.GetIntoClause().GetRel(); into != nil {
			r.creates(into, "table")
			if r.reads(n, into) {
				r.moves()
			}
			return
		}
		r.reads(n, nil)
		if !pureCalls(n) {
			r.hazard(Opaque, "it calls a function whose body is not in the statement", "write out what the function does")
		}
	case *pg.Node_TruncateStmt:
		r.because("TRUNCATE empties the table at once", "sql-truncate")
		for _, t := range v.TruncateStmt.Relations {
			if r.touch(t.GetRangeVar(), "table", AccessExclusive) {
				r.hazard(LosesData, "TRUNCATE removes every row of "+t.GetRangeVar().GetRelname(), "leave it to an offline migration")
			}
		}
		if v.TruncateStmt.Behavior == pg.DropBehavior_DROP_CASCADE {
			r.hazard(LosesData, "TRUNCATE … CASCADE also empties tables that are not named", "name every table")
		}
	case *pg.Node_CopyStmt:
		r.because("rows are copied", "sql-copy")
		l := AccessShare
		if v.CopyStmt.IsFrom {
			l = RowExclusive
		}
		r.touch(v.CopyStmt.Relation, "table", l)
		r.reads(n, v.CopyStmt.Relation)
	case *pg.Node_LockStmt:
		r.because("the statement asks for it", "explicit-locking")
		l := Level(v.LockStmt.Mode)
		for _, t := range v.LockStmt.Relations {
			if r.touch(t.GetRangeVar(), "table", l) && l.BlocksWrites() {
				r.hazard(HoldsLock, fmt.Sprintf("LOCK TABLE holds %s on %s to the end of the transaction", l, t.GetRangeVar().GetRelname()), "leave the lock out")
			}
		}
	case *pg.Node_ExplainStmt:
		r.statement(v.ExplainStmt.Query)
	}
}

func (r *reader) moves() {
	r.a.Scan = true
	r.hazard(MovesData, "it copies rows of tables in use: what is written there after it has read them is missing in the copy",
		"fill the copy by triggers too, or migrate a copy of the database (target: offline)")
}

// reads notes the relations that a statement's queries read, leaving out the target, and tells whether one is in use.
func (r *reader) reads(n *pg.Node, target *pg.RangeVar) (used bool) {
	with := map[string]bool{}
	var read []*pg.RangeVar
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.CommonTableExpr:
			with[v.Ctename] = true
		case *pg.RangeVar:
			read = append(read, v)
		}
	})
	level := AccessShare
	walk(n, func(m any) {
		if _, ok := m.(*pg.LockingClause); ok {
			level = RowShare
		}
	})
	for _, v := range read {
		if v == target || v.Schemaname == "" && with[v.Relname] {
			continue
		}
		if r.touch(v, "table", level) {
			used = true
		}
	}
	walk(n, func(m any) { // WITH can write
		switch v := m.(type) {
		case *pg.InsertStmt:
			r.touch(v.Relation, "table", RowExclusive)
		case *pg.UpdateStmt:
			r.touch(v.Relation, "table", RowExclusive)
		case *pg.DeleteStmt:
			r.touch(v.Relation, "table", RowExclusive)
		}
	})
	return used
}

// byKey: the condition has "id = constant" or "id IN (constants)" among its ANDs. Which columns are keys isn't in the
// script, so that only the name id is believed.
func byKey(where *pg.Node, t *pg.RangeVar) bool {
	if b := where.GetBoolExpr(); b != nil && b.Boolop == pg.BoolExprType_AND_EXPR {
		for _, a := range b.Args {
			if byKey(a, t) {
				return true
			}
		}
		return false
	}
	e := where.GetAExpr()
	if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP && e.Kind != pg.A_Expr_Kind_AEXPR_IN {
		return false
	}
	if len(e.Name) != 1 || e.Name[0].GetString_().GetSval() != "=" {
		return false
	}
	fields := e.GetLexpr().GetColumnRef().GetFields()
	alias := t.GetRelname()
	if a := t.GetAlias().GetAliasname(); a != "" {
		alias = a
	}
	if len(fields) > 1 && fields[len(fields)-2].GetString_().GetSval() != alias {
		return false // another table's
	}
	if len(fields) == 0 || fields[len(fields)-1].GetString_().GetSval() != "id" {
		return false
	}
	if e.Kind == pg.A_Expr_Kind_AEXPR_IN {
		for _, i := range e.GetRexpr().GetList().GetItems() {
			if !constant(i) {
				return false
			}
		}
		return true
	}
	return constant(e.Rexpr)
}
