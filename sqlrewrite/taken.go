package sqlrewrite

import pg "github.com/pganalyze/pg_query_go/v6"

// Naming is what a statement does to the names of relations: it builds an index, or gives names free.
type Naming struct {
	Line        int
	Index       string // that is built in a table in use, quoted as SQL; "": none
	Name        string // its own
	Table       string
	Unique      bool
	IfNotExists bool
	Frees       []string // names that are free behind it; "" is any
	Drops       []string // indexes, quoted as SQL, that must be there
	Makes       []string // names that an index may have behind it; "" is any
}

// Names are what a script's statements do to names, in their order.
func (s *Script) Names() []Naming {
	var list []Naming
	for _, st := range s.Up {
		n := Naming{Line: st.Line, Makes: makesIndexes(st.node)}
		switch v := st.node.GetNode().(type) {
		case *pg.Node_IndexStmt:
			x := v.IndexStmt
			if x.Idxname == "" || st.scope.fresh(x.Relation) {
				break
			}
			n.Name, n.Index, n.Table = x.Idxname, ident(name{x.GetRelation().GetSchemaname(), x.Idxname}), ident(nameOf(x.Relation))
			n.Unique, n.IfNotExists = x.Unique, x.IfNotExists
		case *pg.Node_DropStmt:
			if v.DropStmt.RemoveType != pg.ObjectType_OBJECT_INDEX {
				n.Frees = []string{""} // what goes with it has names too
				break
			}
			for _, o := range v.DropStmt.Objects {
				n.Frees = append(n.Frees, rangeVar(o).GetRelname())
				if !v.DropStmt.MissingOk {
					n.Drops = append(n.Drops, ident(nameOf(rangeVar(o))))
				}
			}
		case *pg.Node_RenameStmt:
			n.Frees = []string{v.RenameStmt.GetRelation().GetRelname(), v.RenameStmt.Subname}
		case *pg.Node_AlterTableStmt:
			n.Frees = frees(st.node)
			list = append(list, n)
			if st.scope.fresh(v.AlterTableStmt.Relation) {
				continue
			}
			for _, cmd := range v.AlterTableStmt.Cmds {
				k := cmd.GetAlterTableCmd().GetDef().GetConstraint()
				if k.GetConname() == "" || k.Indexname != "" || k.Contype != pg.ConstrType_CONSTR_PRIMARY && k.Contype != pg.ConstrType_CONSTR_UNIQUE {
					continue
				}
				t := v.AlterTableStmt.Relation
				list = append(list, Naming{Line: st.Line, Name: k.Conname, Index: ident(name{t.GetSchemaname(), k.Conname}), Table: ident(nameOf(t)), Unique: true})
			}
			continue
		case *pg.Node_DoStmt, *pg.Node_CallStmt, *pg.Node_SelectStmt, *pg.Node_AlterObjectSchemaStmt:
			n.Frees = frees(st.node)
		default:
			if len(n.Makes) == 0 {
				continue
			}
		}
		list = append(list, n)
	}
	return list
}

// makesIndexes are the names of indexes that may be there behind a statement, but for those of constraints, which aren't dropped as
// indexes; "" is any.
func makesIndexes(n *pg.Node) []string {
	switch v := n.GetNode().(type) {
	case *pg.Node_IndexStmt:
		return []string{v.IndexStmt.Idxname}
	case *pg.Node_RenameStmt:
		return []string{v.RenameStmt.Newname}
	case *pg.Node_CreateStmt:
		for _, e := range v.CreateStmt.TableElts {
			if e.GetTableLikeClause() != nil {
				return []string{""}
			}
		}
	case *pg.Node_DoStmt, *pg.Node_CallStmt, *pg.Node_AlterObjectSchemaStmt, *pg.Node_CreateExtensionStmt, *pg.Node_CreateSchemaStmt, *pg.Node_ExecuteStmt:
		return []string{""}
	case *pg.Node_SelectStmt:
		if !pureCalls(n) {
			return []string{""}
		}
	}
	return nil
}

// frees: a constraint that goes takes its index along, a column its own; what code does can't be seen.
func frees(n *pg.Node) []string {
	a := n.GetAlterTableStmt()
	if a == nil {
		if n.GetSelectStmt() != nil && pureCalls(n) {
			return nil
		}
		return []string{""}
	}
	for _, c := range a.Cmds {
		switch c.GetAlterTableCmd().GetSubtype() {
		case pg.AlterTableType_AT_DropConstraint, pg.AlterTableType_AT_DropColumn, pg.AlterTableType_AT_AlterColumnType:
			return []string{""}
		}
	}
	return nil
}
