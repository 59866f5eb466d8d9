package sqlrewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// indexFirst moves an index before the foreign key that it covers: until it is there, every DELETE of a referenced row
// reads the whole table. An index that the script doesn't make isn't made by us either, or the schema would be another.
func indexFirst(list []*Statement) []*Statement {
	list = slices.Clone(list)
	for j := 1; j < len(list); j++ {
		x := list[j].indexStmt()
		if x == nil || x.Concurrent {
			continue
		}
		for i := range j {
			if covers(x, list[i]) && !slices.ContainsFunc(list[i:j], func(st *Statement) bool { return !keepsApart(x, st) }) {
				st := list[j]
				list = slices.Insert(slices.Delete(list, j, j+1), i, st)
				break
			}
		}
	}
	setScopes(list)
	return list
}

// keepsApart: the index may as well be built before the statement, which only adds constraints, or builds an index of another name.
func keepsApart(x *pg.IndexStmt, st *Statement) bool {
	if other := st.indexStmt(); other != nil {
		return other.Idxname != x.Idxname && other.Idxname != "" && x.Idxname != "" && !other.Unique && !x.Unique
	}
	a := st.node.GetAlterTableStmt()
	if a == nil {
		return false
	}
	for _, n := range a.Cmds {
		if c := n.GetAlterTableCmd(); c.GetSubtype() != pg.AlterTableType_AT_AddConstraint || c.GetDef().GetConstraint().GetContype() != pg.ConstrType_CONSTR_FOREIGN {
			return false
		}
	}
	return true
}

// covers: the index has only columns of a foreign key that the statement adds, its first among them.
func covers(x *pg.IndexStmt, st *Statement) bool {
	a := st.node.GetAlterTableStmt()
	if a == nil || nameOf(a.Relation) != nameOf(x.Relation) || x.WhereClause != nil || st.scope.fresh(a.Relation) {
		return false
	}
	for _, n := range a.Cmds {
		c := n.GetAlterTableCmd()
		k := c.GetDef().GetConstraint()
		if c.Subtype != pg.AlterTableType_AT_AddConstraint || k.GetContype() != pg.ConstrType_CONSTR_FOREIGN {
			continue
		}
		columns := texts(k.FkAttrs)
		if !slices.ContainsFunc(x.IndexParams, func(p *pg.Node) bool { return !slices.Contains(columns, p.GetIndexElem().GetName()) }) {
			return true
		}
	}
	return false
}
