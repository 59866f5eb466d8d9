package sqlrewrite

import (
	"maps"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// name is a relation's name as written: without a schema it stays so, since search_path is not known here.
type name struct{ schema, name string }

func nameOf(r *pg.RangeVar) name { return name{r.GetSchemaname(), r.GetRelname()} }

// scope is what a script has created so far: nobody else uses it yet.
type scope struct {
	tables  map[name]bool
	indexes map[name]name           // index to its table, for indexes that the script has made
	targets map[name][]*pg.RangeVar // what the foreign keys of its tables reference: each INSERT looks there
}

func newScope() *scope {
	return &scope{tables: map[name]bool{}, indexes: map[name]name{}, targets: map[name][]*pg.RangeVar{}}
}

func (s *scope) clone() *scope {
	return &scope{tables: maps.Clone(s.tables), indexes: maps.Clone(s.indexes), targets: maps.Clone(s.targets)}
}

// fresh: the script has created the relation, or it is a temporary one.
func (s *scope) fresh(r *pg.RangeVar) bool {
	return r.GetRelpersistence() == "t" || r.GetSchemaname() == "pg_temp" || s.tables[nameOf(r)]
}

// after is the scope behind a statement. IF NOT EXISTS creates nothing that one could rely on.
func (s *scope) after(n *pg.Node) *scope {
	next := s.clone()
	switch v := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		if !v.CreateStmt.IfNotExists {
			next.tables[nameOf(v.CreateStmt.Relation)] = true
			next.refer(v.CreateStmt.Relation, v.CreateStmt)
		}
	case *pg.Node_AlterTableStmt:
		next.refer(v.AlterTableStmt.Relation, v.AlterTableStmt)
	case *pg.Node_CreateTableAsStmt:
		if !v.CreateTableAsStmt.IfNotExists {
			next.tables[nameOf(v.CreateTableAsStmt.GetInto().GetRel())] = true
		}
	case *pg.Node_SelectStmt:
		if into := v.SelectStmt.GetIntoClause().GetRel(); into != nil {
			next.tables[nameOf(into)] = true
		}
	case *pg.Node_ViewStmt:
		if !v.ViewStmt.Replace {
			next.tables[nameOf(v.ViewStmt.View)] = true
		}
	case *pg.Node_IndexStmt:
		x := v.IndexStmt
		if x.Idxname != "" && !x.IfNotExists {
			next.indexes[name{x.GetRelation().GetSchemaname(), x.Idxname}] = nameOf(x.Relation)
		}
	case *pg.Node_RenameStmt:
		r := v.RenameStmt
		if r.RenameType == pg.ObjectType_OBJECT_TABLE && next.tables[nameOf(r.Relation)] {
			delete(next.tables, nameOf(r.Relation))
			next.tables[name{r.GetRelation().GetSchemaname(), r.Newname}] = true
		}
	case *pg.Node_DropStmt:
		for _, o := range v.DropStmt.Objects {
			r := rangeVar(o)
			delete(next.tables, nameOf(r))
			delete(next.indexes, nameOf(r))
		}
	}
	return next
}

// refer notes the tables that a statement makes foreign keys to.
func (s *scope) refer(from *pg.RangeVar, m proto.Message) {
	walk(m, func(m any) {
		if c, ok := m.(*pg.Constraint); ok && c.Contype == pg.ConstrType_CONSTR_FOREIGN {
			list := s.targets[nameOf(from)]
			s.targets[nameOf(from)] = append(list[:len(list):len(list)], c.Pktable)
		}
	})
}

func setScopes(list []*Statement) {
	s := newScope()
	for _, st := range list {
		st.scope = s
		s = s.after(st.node)
	}
}

// rangeVar is a dotted name, as DROP and COMMENT have it, as a relation.
func rangeVar(n *pg.Node) *pg.RangeVar {
	parts := n.GetList().GetItems()
	r := &pg.RangeVar{Inh: true, Relpersistence: "p"}
	if len(parts) > 0 {
		r.Relname = parts[len(parts)-1].GetString_().GetSval()
	}
	if len(parts) > 1 {
		r.Schemaname = parts[len(parts)-2].GetString_().GetSval()
	}
	return r
}
