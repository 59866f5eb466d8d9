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
	since int // the place of the statement that takes it; 0: it was there
	until int // of the statement that gives it free, or may do so; 0: none
}

// place orders the statements of a script.
func (st *Statement) place() int { return st.Line<<20 + st.Column }

// chooserOf looks which of the names the statements give free, and which they take: those that they give, and those that Postgres will
// choose for what they leave without one.
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
			for _, cmd := range v.AlterTableStmt.Cmds { // Postgres drops first, too
				name := cmd.GetAlterTableCmd().GetName()
				switch cmd.GetAlterTableCmd().GetSubtype() {
				case pg.AlterTableType_AT_DropConstraint:
					c.free(st, func(n TakenName) bool { return c.of(n, t) && n.Name == name })
				case pg.AlterTableType_AT_DropColumn:
					c.free(st, func(n TakenName) bool { return c.of(n, t) && slices.Contains(n.Columns, name) })
				}
			}
			var elements []*pg.Node
			for _, cmd := range v.AlterTableStmt.Cmds {
				switch cmd.GetAlterTableCmd().GetSubtype() {
				case pg.AlterTableType_AT_AddConstraint, pg.AlterTableType_AT_AddColumn:
					elements = append(elements, cmd.GetAlterTableCmd().GetDef())
				}
			}
			c.elements(st, t, elements)
		case *pg.Node_DropStmt:
			for _, o := range v.DropStmt.Objects {
				t := rangeVar(o)
				c.free(st, func(n TakenName) bool { return c.of(n, t) || c.is(n, t) })
			}
		case *pg.Node_RenameStmt:
			c.rename(st, v.RenameStmt)
		case *pg.Node_IndexStmt:
			c.index(st, v.IndexStmt)
		case *pg.Node_CreateSeqStmt:
			c.take(st, v.CreateSeqStmt.Sequence, TakenName{Name: v.CreateSeqStmt.GetSequence().GetRelname()})
		case *pg.Node_ViewStmt:
			c.take(st, v.ViewStmt.View, TakenName{Name: v.ViewStmt.GetView().GetRelname()})
		case *pg.Node_CreateTableAsStmt:
			c.take(st, v.CreateTableAsStmt.GetInto().GetRel(), TakenName{Name: v.CreateTableAsStmt.GetInto().GetRel().GetRelname()})
		case *pg.Node_CreateStmt:
			t := v.CreateStmt.Relation
			if v.CreateStmt.IfNotExists && c.taken(st, t, t.GetRelname(), true, false) {
				break
			}
			c.take(st, t, TakenName{Name: t.GetRelname(), Table: t.GetRelname()})
			c.elements(st, t, v.CreateStmt.TableElts)
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
	c.names = append(c.names, leaving{TakenName: n, since: st.place()})
}

// elements notes the names of what comes with a table or into it: sequences, then constraints, in Postgres' order.
func (c *chooser) elements(st *Statement, t *pg.RangeVar, list []*pg.Node) {
	var all []*pg.Constraint
	for _, e := range list {
		d := e.GetColumnDef()
		if k := e.GetConstraint(); k != nil {
			all = append(all, k)
		}
		if serial(d.GetTypeName()) || hasIdentity(d) {
			c.implied(st, t, TakenName{Table: t.GetRelname(), Columns: []string{d.Colname}}, false, func(taken int) string {
				return objectName(t.GetRelname(), d.Colname, numbered("seq", taken))
			})
		}
		for _, n := range d.GetConstraints() {
			all = append(all, ofColumn(n.GetConstraint(), d.Colname))
		}
	}
	row := c.isRow(st, t, list)
	for _, kinds := range [][]pg.ConstrType{{pg.ConstrType_CONSTR_CHECK}, {pg.ConstrType_CONSTR_PRIMARY}, {pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_EXCLUSION}, {pg.ConstrType_CONSTR_FOREIGN}} {
		for _, k := range all {
			if slices.Contains(kinds, k.GetContype()) {
				c.constrain(st, t, k, row)
			}
		}
	}
}

func hasIdentity(d *pg.ColumnDef) bool {
	return slices.ContainsFunc(d.GetConstraints(), func(n *pg.Node) bool { return n.GetConstraint().GetContype() == pg.ConstrType_CONSTR_IDENTITY })
}

// ofColumn is a column's constraint as one of its table.
func ofColumn(k *pg.Constraint, column string) *pg.Constraint {
	k = clone(k)
	switch k.GetContype() {
	case pg.ConstrType_CONSTR_FOREIGN:
		k.FkAttrs = []*pg.Node{pg.MakeStrNode(column)}
	case pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_PRIMARY:
		k.Keys = []*pg.Node{pg.MakeStrNode(column)}
	}
	return k
}

// isRow: in an expression, a table's own name means its row: no column of it has that name.
func (c *chooser) isRow(st *Statement, t *pg.RangeVar, elements []*pg.Node) bool {
	own := func(e *pg.Node) bool {
		return e.GetColumnDef() != nil && e.GetColumnDef().GetColname() == t.GetRelname()
	}
	return !slices.ContainsFunc(elements, own) && st.known.typeOf(t, t.GetRelname()) == nil
}

// constrain notes the name of a constraint; a key's index has it, too.
func (c *chooser) constrain(st *Statement, t *pg.RangeVar, k *pg.Constraint, row bool) {
	if k.Indexname != "" {
		return // it has the index's
	}
	n := TakenName{Name: k.Conname, Table: t.GetRelname(), Constraint: true, Columns: slices.Concat(texts(k.Keys), texts(k.Including), texts(k.FkAttrs), columnsIn(k.RawExpr))}
	key := k.Contype != pg.ConstrType_CONSTR_CHECK && k.Contype != pg.ConstrType_CONSTR_FOREIGN
	switch {
	case n.Name == "" && k.Contype == pg.ConstrType_CONSTR_EXCLUSION:
		return
	case n.Name == "":
		n.Name = c.implied(st, t, n, key, func(taken int) string { return constraintName(t.GetRelname(), k, taken, row) })
	default:
		c.take(st, t, n)
	}
	if key {
		n.Constraint = false
		c.take(st, t, n)
	}
}

// index notes the name of an index.
func (c *chooser) index(st *Statement, x *pg.IndexStmt) {
	n := TakenName{Name: x.Idxname, Table: x.GetRelation().GetRelname(), Columns: columnsOf(x)}
	if _, ok := indexName(x, 0); n.Name == "" && ok {
		c.implied(st, x.Relation, n, false, func(taken int) string { s, _ := indexName(x, taken); return s })
		return
	}
	c.take(st, x.Relation, n)
}

// implied takes the first name that is free, as Postgres does. both: of a key, which has an index and a constraint.
func (c *chooser) implied(st *Statement, t *pg.RangeVar, n TakenName, both bool, label func(taken int) string) string {
	for taken := 0; ; taken++ {
		n.Name = label(taken)
		if !c.at(st.place()+1, t, n.Name, !n.Constraint || both, n.Constraint || both) {
			c.take(st, t, n)
			return n.Name
		}
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
		if n := &c.names[i]; n.until == 0 && which(n.TakenName) {
			n.until = st.place()
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
	return c.at(st.place(), t, name, relation, constraint)
}

func (c *chooser) at(place int, t *pg.RangeVar, name string, relation, constraint bool) bool {
	return slices.ContainsFunc(c.names, func(n leaving) bool {
		return n.Name == name && n.Schema == c.schemaOf(t) && (n.Constraint && constraint || !n.Constraint && relation) && n.since < place && (n.until == 0 || n.until > place)
	})
}
