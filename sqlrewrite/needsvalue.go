package sqlrewrite

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Column is a column of a table in use.
type Column struct {
	Table  string // quoted as SQL
	Column string
}

// needsValue: from then on the server in use must give the column a value. NOT NULL is in force as soon as our CHECK is there.
func (r *reader) needsValue(t *pg.RangeVar, c *pg.AlterTableCmd) {
	if r.scope.fresh(t) {
		return
	}
	column := ""
	switch c.GetSubtype() {
	case pg.AlterTableType_AT_SetNotNull:
		column = c.Name
	case pg.AlterTableType_AT_AddConstraint:
		if arg := c.GetDef().GetConstraint().GetRawExpr().GetNullTest().GetArg().GetColumnRef(); len(arg.GetFields()) == 1 {
			column = arg.Fields[0].GetString_().GetSval()
		}
		if c.GetDef().GetConstraint().GetConname() != notNullName(t.GetRelname(), column) {
			return
		}
	}
	if why := r.st.bare[Column{ident(nameOf(t)), column}]; why != "" {
		r.hazard(NeedsValue, fmt.Sprintf("%s.%s gets NOT NULL, and has no default (%s): an INSERT of the server in use that doesn't give it a value fails from then on", t.GetRelname(), column, why),
			"give it a default first, or put it off until the old server is gone (defer)")
	}
}

// notNulls are the columns in use that a script makes NOT NULL; why says of those that have no default, as far as the script and
// those before it tell, how it is known. Those that are in neither are left to the catalog.
func notNulls(list []*Statement) (why map[Column]string, asked []Column) {
	why = map[Column]string{}
	said := map[Column]bool{} // a script gives it a default, or none
	for _, st := range list {
		a := st.node.GetAlterTableStmt()
		if a == nil || a.Objtype != pg.ObjectType_OBJECT_TABLE || st.scope.fresh(a.Relation) {
			continue
		}
		of := func(column string) Column { return Column{ident(nameOf(a.Relation)), column} }
		for _, n := range a.Cmds {
			switch c := n.GetAlterTableCmd(); c.GetSubtype() {
			case pg.AlterTableType_AT_AddColumn:
				if d := c.GetDef().GetColumnDef(); !c.MissingOk {
					said[of(d.GetColname())] = hasValue(d)
				}
			case pg.AlterTableType_AT_ColumnDefault:
				said[of(c.Name)] = c.Def != nil && !isNull(c.Def)
			case pg.AlterTableType_AT_AddIdentity:
				said[of(c.Name)] = true
			}
		}
		for _, column := range madeNotNull(a) {
			c := of(column)
			has, known := said[c]
			if !known {
				has, known = st.known.made().hasDefault(a.GetRelation().GetRelname(), column)
			}
			switch {
			case known && !has:
				why[c] = "as the scripts show"
			case !known && !slices.Contains(asked, c):
				asked = append(asked, c)
			}
		}
	}
	return why, asked
}

// madeNotNull are the columns that an ALTER TABLE makes NOT NULL, but for new ones.
func madeNotNull(a *pg.AlterTableStmt) []string {
	var list []string
	for _, n := range a.Cmds {
		switch c := n.GetAlterTableCmd(); c.GetSubtype() {
		case pg.AlterTableType_AT_SetNotNull:
			list = append(list, c.Name)
		case pg.AlterTableType_AT_AddConstraint:
			if k := c.GetDef().GetConstraint(); k.GetContype() == pg.ConstrType_CONSTR_PRIMARY {
				list = append(list, texts(k.Keys)...)
			}
		}
	}
	return list
}

// hasValue: rows get a value in a new column that nobody gives one.
func hasValue(d *pg.ColumnDef) bool {
	return serial(d.GetTypeName()) || slices.ContainsFunc(d.GetConstraints(), func(n *pg.Node) bool {
		switch k := n.GetConstraint(); k.GetContype() {
		case pg.ConstrType_CONSTR_DEFAULT:
			return !isNull(k.RawExpr)
		case pg.ConstrType_CONSTR_GENERATED, pg.ConstrType_CONSTR_IDENTITY:
			return true
		}
		return false
	})
}
