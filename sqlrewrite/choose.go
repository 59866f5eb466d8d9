package sqlrewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Taken are names that a database has. Postgres numbers those that it chooses around them.
type Taken struct {
	Schema string // that a name without one is looked for, and made, in
	Names  []TakenName
}

// TakenName is one of them.
type TakenName struct {
	Schema, Name string
	Constraint   bool     // else of a relation; a key has both
	Table        string   // that it goes with, in the same schema; "": none
	Columns      []string // of the table, with each of which it goes
}

// chooser knows which names are taken at each statement of a script.
type chooser struct {
	schema string
	names  []leaving
}

// leaving is a name that a script may give free, or has taken itself.
type leaving struct {
	TakenName
	since int // the line of the statement that takes it; 0: it was there
	line  int // of the statement that gives it free, or may do so; 0: none
}

// chooserOf looks which of the names the statements give free, and which they take.
func chooserOf(list []*Statement, given Taken) *chooser {
	c := &chooser{schema: given.Schema}
	for _, n := range given.Names {
		n.Columns = slices.Clone(n.Columns)
		c.names = append(c.names, leaving{TakenName: n})
	}
	for _, st := range list {
		switch v := st.node.GetNode().(type) {
		case *pg.Node_AlterTableStmt:
			t := v.AlterTableStmt.Relation
			for _, cmd := range v.AlterTableStmt.Cmds {
				name := cmd.GetAlterTableCmd().GetName()
				switch cmd.GetAlterTableCmd().GetSubtype() {
				case pg.AlterTableType_AT_AddConstraint:
					c.constrain(st, t, cmd.GetAlterTableCmd().GetDef().GetConstraint())
				case pg.AlterTableType_AT_DropConstraint:
					c.free(st, func(n TakenName) bool { return c.of(n, t) && n.Name == name })
				case pg.AlterTableType_AT_DropColumn:
					c.free(st, func(n TakenName) bool { return c.of(n, t) && slices.Contains(n.Columns, name) })
				}
			}
		case *pg.Node_DropStmt:
			for _, o := range v.DropStmt.Objects {
				t := rangeVar(o)
				c.free(st, func(n TakenName) bool { return c.of(n, t) || c.is(n, t) })
			}
		case *pg.Node_RenameStmt:
			c.rename(st, v.RenameStmt)
		case *pg.Node_IndexStmt:
			c.take(st, v.IndexStmt.Relation, TakenName{Name: v.IndexStmt.Idxname, Table: v.IndexStmt.GetRelation().GetRelname()})
		case *pg.Node_CreateSeqStmt:
			c.take(st, v.CreateSeqStmt.Sequence, TakenName{Name: v.CreateSeqStmt.GetSequence().GetRelname()})
		case *pg.Node_ViewStmt:
			c.take(st, v.ViewStmt.View, TakenName{Name: v.ViewStmt.GetView().GetRelname()})
		case *pg.Node_CreateTableAsStmt:
			c.take(st, v.CreateTableAsStmt.GetInto().GetRel(), TakenName{Name: v.CreateTableAsStmt.GetInto().GetRel().GetRelname()})
		case *pg.Node_CreateStmt:
			t := v.CreateStmt.Relation
			c.take(st, t, TakenName{Name: t.GetRelname(), Table: t.GetRelname()})
			for _, e := range v.CreateStmt.TableElts {
				c.constrain(st, t, e.GetConstraint())
				for _, k := range e.GetColumnDef().GetConstraints() {
					c.constrain(st, t, k.GetConstraint())
				}
			}
		case *pg.Node_DoStmt, *pg.Node_CallStmt, *pg.Node_AlterObjectSchemaStmt:
			c.free(st, func(TakenName) bool { return true }) // it can't be told
		case *pg.Node_SelectStmt:
			if !pureCalls(st.node) {
				c.free(st, func(TakenName) bool { return true })
			}
		}
	}
	return c
}

// take notes a name that a statement takes.
func (c *chooser) take(st *Statement, in *pg.RangeVar, n TakenName) {
	if n.Name == "" {
		return
	}
	n.Schema = c.schemaOf(in)
	c.names = append(c.names, leaving{TakenName: n, since: st.Line})
}

// constrain notes the name of a constraint that has one; a key's index has it, too.
func (c *chooser) constrain(st *Statement, t *pg.RangeVar, k *pg.Constraint) {
	if k.GetConname() == "" {
		return
	}
	c.take(st, t, TakenName{Name: k.Conname, Table: t.GetRelname(), Constraint: true})
	switch k.Contype {
	case pg.ConstrType_CONSTR_PRIMARY, pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_EXCLUSION:
		c.take(st, t, TakenName{Name: k.Conname, Table: t.GetRelname()})
	}
}

func (c *chooser) schemaOf(t *pg.RangeVar) string {
	if t.GetSchemaname() == "" {
		return c.schema
	}
	return t.GetSchemaname()
}

// of says whether a name goes with a table, is whether it is that relation's own.
func (c *chooser) of(n TakenName, t *pg.RangeVar) bool {
	return n.Schema == c.schemaOf(t) && n.Table == t.GetRelname() && n.Table != ""
}

func (c *chooser) is(n TakenName, t *pg.RangeVar) bool {
	return n.Schema == c.schemaOf(t) && n.Name == t.GetRelname() && !n.Constraint
}

func (c *chooser) free(st *Statement, which func(TakenName) bool) {
	for i := range c.names {
		if n := &c.names[i]; n.line == 0 && which(n.TakenName) {
			n.line = st.Line
		}
	}
}

func (c *chooser) rename(st *Statement, r *pg.RenameStmt) {
	switch r.RenameType {
	case pg.ObjectType_OBJECT_COLUMN:
		for _, n := range c.names {
			if i := slices.Index(n.Columns, r.Subname); i >= 0 && c.of(n.TakenName, r.Relation) {
				n.Columns[i] = r.Newname
			}
		}
	case pg.ObjectType_OBJECT_TABCONSTRAINT:
		c.free(st, func(n TakenName) bool { return c.of(n, r.Relation) && n.Name == r.Subname })
		c.take(st, r.Relation, TakenName{Name: r.Newname, Table: r.GetRelation().GetRelname(), Constraint: true})
	default:
		c.free(st, func(n TakenName) bool { return c.is(n, r.Relation) })
		for i := range c.names {
			if n := &c.names[i]; c.of(n.TakenName, r.Relation) {
				n.Table = r.Newname
			}
		}
		if r.Relation != nil {
			c.take(st, r.Relation, TakenName{Name: r.Newname})
		}
	}
}

// taken says whether something has a name in a table's schema when a statement is run: a relation, a constraint, or either.
func (c *chooser) taken(st *Statement, t *pg.RangeVar, name string, relation, constraint bool) bool {
	return slices.ContainsFunc(c.names, func(n leaving) bool {
		return n.Name == name && n.Schema == c.schemaOf(t) && (n.Constraint && constraint || !n.Constraint && relation) && n.since < st.Line && (n.line == 0 || n.line > st.Line)
	})
}
