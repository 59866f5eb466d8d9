package sqlrewrite

import (
	"maps"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// notNullCheck is a constraint that the scripts have made, which says of columns that they aren't NULL.
type notNullCheck struct {
	columns []string
	valid   bool
}

// proves: a constraint says already that a column isn't NULL, so that SET NOT NULL needn't read the table (manual, ALTER TABLE, SET NOT NULL).
// A statement that drops a constraint too may drop that one first.
func (k *known) proves(a *pg.AlterTableStmt, column string) bool {
	if k == nil || slices.ContainsFunc(a.GetCmds(), func(n *pg.Node) bool {
		return n.GetAlterTableCmd().GetSubtype() == pg.AlterTableType_AT_DropConstraint
	}) {
		return false
	}
	for _, c := range k.checks[nameOf(a.GetRelation())] {
		if c.valid && slices.Contains(c.columns, column) {
			return true
		}
	}
	return false
}

// check notes what becomes of a table's constraints.
func (k *known) check(t name, c *pg.AlterTableCmd) {
	had := k.checks[t]
	next := maps.Clone(had)
	if next == nil {
		next = map[string]notNullCheck{}
	}
	switch c.GetSubtype() {
	case pg.AlterTableType_AT_AddConstraint:
		x := c.GetDef().GetConstraint()
		if x.GetContype() != pg.ConstrType_CONSTR_CHECK || x.GetConname() == "" || x.GetIsNoInherit() {
			return
		}
		if columns := notNullColumns(x.GetRawExpr()); len(columns) > 0 {
			next[x.Conname] = notNullCheck{columns, !x.SkipValidation}
		}
	case pg.AlterTableType_AT_ValidateConstraint:
		x, ok := next[c.Name]
		if !ok {
			return
		}
		x.valid = true
		next[c.Name] = x
	case pg.AlterTableType_AT_DropConstraint:
		delete(next, c.Name)
	case pg.AlterTableType_AT_DropColumn:
		maps.DeleteFunc(next, func(_ string, x notNullCheck) bool { return slices.Contains(x.columns, c.Name) })
	default:
		return
	}
	k.checks[t] = next
}

// notNullColumns are the columns of which an expression says that they aren't NULL, and maybe more.
func notNullColumns(n *pg.Node) []string {
	if b := n.GetBoolExpr(); b.GetBoolop() == pg.BoolExprType_AND_EXPR {
		var all []string
		for _, a := range b.Args {
			all = append(all, notNullColumns(a)...)
		}
		return all
	}
	t := n.GetNullTest()
	if t == nil || t.GetNulltesttype() != pg.NullTestType_IS_NOT_NULL || len(t.GetArg().GetColumnRef().GetFields()) != 1 {
		return nil
	}
	if s := t.GetArg().GetColumnRef().GetFields()[0].GetString_(); s != nil {
		return []string{s.Sval}
	}
	return nil
}
