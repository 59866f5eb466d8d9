package sqlrewrite

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// fillSQL adds a column with the value that each row gets. Postgres keeps it in the catalog, and writes no row (manual, ALTER
// TABLE, Notes). The default goes away again: rows that come later have none, as the scripts have it.
const fillSQL = `DECLARE
    v_value pg_catalog.%[1]s;
BEGIN
    IF EXISTS (SELECT FROM %[4]s) THEN -- where there is no row, nobody works it out
        v_value := %[2]s;
    END IF;
    EXECUTE pg_catalog.concat(%[3]s, ' DEFAULT ', pg_catalog.quote_nullable(v_value));
    ALTER TABLE %[4]s ALTER COLUMN %[5]s DROP DEFAULT;
END`

// fill finds ALTER TABLE t ADD COLUMN c, and later UPDATE t SET c = one value for all rows.
func (b *bulk) fill() {
	for i, it := range b.items {
		column, value, ok := b.constantUpdate(it)
		if !ok {
			continue
		}
		table, _ := b.local(it.st.node.GetUpdateStmt().Relation)
		at := b.addition(i, table, column)
		if at < 0 {
			continue
		}
		add := b.items[at]
		typ := add.before.after(add.st.node).tables[table].Types[column]
		text, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: value}}})
		if err != nil || !assignable(b.kindOfValue(it, value), typ) || !b.quietBetween(at, i, table, column, b.reads(value, nil)) {
			continue
		}
		body := fmt.Sprintf(fillSQL, typ, "("+text+")", quoted(add.st.SQL), b.bare(table), ident(name{name: column}))
		add.sql, add.note = "DO "+dollar(body), "the column comes with its value"
		it.gone = true
	}
}

// constantUpdate: every row of a plain table gets the same value in one column. value is a SELECT that gives it.
func (b *bulk) constantUpdate(it *item) (column string, value *pg.Node, ok bool) {
	u := it.st.node.GetUpdateStmt()
	if u == nil || u.WhereClause != nil || len(u.FromClause)+len(u.ReturningList) > 0 || u.WithClause != nil || len(u.TargetList) != 1 {
		return "", nil, false
	}
	_, t, plain := it.before.table(u.Relation)
	target := u.TargetList[0].GetResTarget()
	if !plain || len(target.GetIndirection()) > 0 || t.Referenced[target.GetName()] {
		return "", nil, false
	}
	v := target.GetVal()
	switch {
	case constant(v):
		value = &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{TargetList: []*pg.Node{pg.MakeResTargetNodeWithVal(v, 0)},
			LimitOption: pg.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg.SetOperation_SETOP_NONE}}}
	case v.GetSubLink().GetSubLinkType() == pg.SubLinkType_EXPR_SUBLINK && v.GetSubLink().GetTestexpr() == nil:
		if value = v.GetSubLink().GetSubselect(); !b.alone(it.before, value.GetSelectStmt()) {
			return "", nil, false
		}
	default:
		return "", nil, false
	}
	return target.Name, value, true
}

// kindOfValue is the type of what a SELECT gives, which an UPDATE puts into a column. A text of no type in a query of a table's is text.
func (b *bulk) kindOfValue(it *item, value *pg.Node) string {
	q := value.GetSelectStmt()
	var types map[string]string
	if len(q.FromClause) == 1 {
		_, t, _ := it.before.table(q.FromClause[0].GetRangeVar())
		types = t.Types
	}
	if len(q.TargetList) != 1 {
		return ""
	}
	kind := kindOf(q.TargetList[0].GetResTarget().GetVal(), types)
	if kind == literal && len(q.FromClause) > 0 {
		return "text"
	}
	return kind
}

// alone: the query names columns of its one table only, so that it means the same wherever it stands, and calls nothing.
func (b *bulk) alone(s *shape, q *pg.SelectStmt) bool {
	if q == nil || len(q.FromClause) != 1 || q.Op != pg.SetOperation_SETOP_NONE {
		return false
	}
	from, t, ok := s.table(q.FromClause[0].GetRangeVar())
	if !ok || q.FromClause[0].GetRangeVar().GetAlias() != nil {
		return false
	}
	walk(q, func(m any) {
		switch v := m.(type) {
		case *pg.ColumnRef:
			fields := texts(v.Fields)
			_, has := t.Types[fields[len(fields)-1]]
			ok = ok && has && (len(fields) == 1 || len(fields) == 2 && fields[0] == from)
		case *pg.RangeVar:
			ok = ok && v == q.FromClause[0].GetRangeVar()
		case *pg.FuncCall, *pg.SubLink, *pg.CommonTableExpr, *pg.LockingClause, *pg.IntoClause, *pg.SQLValueFunction, *pg.ParamRef:
			ok = false
		}
	})
	return ok
}

// addition finds the statement that adds the column and does nothing else, before item i.
func (b *bulk) addition(i int, table, column string) int {
	for at := i - 1; at >= 0; at-- {
		a := b.items[at].st.node.GetAlterTableStmt()
		name, ok := b.local(a.GetRelation())
		if !ok || name != table || b.items[at].sql != "" {
			continue
		}
		for _, n := range a.Cmds {
			c := n.GetAlterTableCmd()
			if c.GetSubtype() != pg.AlterTableType_AT_AddColumn || c.GetDef().GetColumnDef().GetColname() != column {
				continue
			}
			if d := c.GetDef().GetColumnDef(); len(a.Cmds) > 1 || c.MissingOk || len(d.Constraints) > 0 || d.CollClause != nil || d.Identity != "" {
				return -1
			}
			return at
		}
	}
	return -1
}

// quietBetween: what stands between items from and to neither looks at the column nor writes the table, nor anything that the
// value is read from.
func (b *bulk) quietBetween(from, to int, table, column string, source map[string]bool) bool {
	for _, it := range b.items[from+1 : to] {
		n := it.st.node
		switch v := n.GetNode().(type) {
		case *pg.Node_AlterTableStmt:
			if name, ok := b.local(v.AlterTableStmt.Relation); !ok || source[name] || !quietAlter(v.AlterTableStmt, name == table, column) {
				return false
			}
		case *pg.Node_IndexStmt:
			if name, ok := b.local(v.IndexStmt.Relation); !ok || name == table && (v.IndexStmt.Unique || indexColumns(v.IndexStmt)[column]) {
				return false
			}
		case *pg.Node_DropStmt:
			if v.DropStmt.RemoveType != pg.ObjectType_OBJECT_INDEX {
				return false
			}
		case *pg.Node_UpdateStmt:
			name, _, plain := it.before.table(v.UpdateStmt.Relation)
			if !plain || source[name] || name == table && !it.gone || !b.seesOthers(it, v.UpdateStmt.Relation, table) || b.reaches(it, v.UpdateStmt.Relation, v.UpdateStmt.TargetList) {
				return false
			}
		case *pg.Node_InsertStmt:
			name, _, plain := it.before.table(v.InsertStmt.Relation)
			if !plain || source[name] || name == table || !b.seesOthers(it, v.InsertStmt.Relation, table) || v.InsertStmt.OnConflictClause != nil {
				return false
			}
		case *pg.Node_CreateStmt:
			if len(v.CreateStmt.InhRelations) > 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// seesOthers: what a statement reads are tables, and none of them is the one; what it calls is Postgres' own.
func (b *bulk) seesOthers(it *item, target *pg.RangeVar, table string) bool {
	ok := ownCalls(it.st.node)
	walk(it.st.node, func(m any) {
		if r, is := m.(*pg.RangeVar); is && r != target {
			name, _, plain := it.before.table(r)
			ok = ok && plain && name != table
		}
		if c, is := m.(*pg.FuncCall); is {
			ok = ok && !b.catalog.Overloads[c.Funcname[len(c.Funcname)-1].GetString_().GetSval()]
		}
	})
	return ok
}

// reaches: a foreign key may carry what is written on into another table.
func (b *bulk) reaches(it *item, r *pg.RangeVar, targets []*pg.Node) bool {
	_, t, _ := it.before.table(r)
	return slices.ContainsFunc(targets, func(n *pg.Node) bool { return t.Referenced[n.GetResTarget().GetName()] })
}

// quietAlter: the statement means the same whether the column is filled or not. A foreign key does: it is asked of the rows
// when it comes, or when they are written.
func quietAlter(a *pg.AlterTableStmt, same bool, column string) bool {
	if a.Objtype != pg.ObjectType_OBJECT_TABLE {
		return false
	}
	return !slices.ContainsFunc(a.Cmds, func(n *pg.Node) bool {
		c := n.GetAlterTableCmd()
		switch c.GetSubtype() {
		case pg.AlterTableType_AT_AddConstraint:
			return c.GetDef().GetConstraint().GetContype() != pg.ConstrType_CONSTR_FOREIGN && same
		case pg.AlterTableType_AT_AddColumn:
			return generated(c.GetDef().GetColumnDef())
		case pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_DropNotNull, pg.AlterTableType_AT_ColumnDefault, pg.AlterTableType_AT_DropColumn:
			return same && c.Name == column
		case pg.AlterTableType_AT_DropConstraint:
			return false
		}
		return true
	})
}
