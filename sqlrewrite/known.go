package sqlrewrite

import (
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// known is what the scripts of a folder say of tables up to a statement: the types of columns, the first columns of
// indexes, and constraints that say of columns that they aren't NULL. A table that no script creates is not in it.
type known struct {
	types   map[name]map[string]*pg.TypeName
	leading map[name][]string
	checks  map[name]map[string]notNullCheck // of any table, also of one that no script creates
	marks   *marks
}

func newKnown() *known {
	return &known{types: map[name]map[string]*pg.TypeName{}, leading: map[name][]string{}, checks: map[name]map[string]notNullCheck{}}
}

// made is what the scripts have made that lets rows depend on each other; nil: nothing is known.
func (k *known) made() *marks {
	if k == nil {
		return nil
	}
	return k.marks
}

// learn tells each statement what was made before it.
func learn(scripts []*Script) {
	k := newKnown()
	k.marks = newMarks()
	for _, s := range scripts {
		for _, st := range s.Up {
			st.known = k
			next := k.after(st.node)
			if next == k {
				next = k.clone()
			}
			next.marks = k.marks.after(st.node)
			k = next
		}
	}
}

func (k *known) typeOf(t *pg.RangeVar, column string) *pg.TypeName {
	if k == nil {
		return nil
	}
	return k.types[nameOf(t)][column]
}

// uncovered: the folder has made the table, and no index that begins with the column.
func (k *known) uncovered(t *pg.RangeVar, column string) bool {
	return k != nil && k.types[nameOf(t)] != nil && !slices.Contains(k.leading[nameOf(t)], column)
}

// after is what is known behind a statement. Maps that change are copied: earlier statements keep theirs.
func (k *known) after(n *pg.Node) *known {
	switch v := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		t, next := nameOf(v.CreateStmt.Relation), k.clone()
		next.types[t] = map[string]*pg.TypeName{}
		if !v.CreateStmt.IfNotExists {
			delete(next.checks, t)
		}
		for _, e := range v.CreateStmt.TableElts {
			next.column(t, e.GetColumnDef())
			next.constraint(t, e.GetConstraint())
		}
		return next
	case *pg.Node_AlterTableStmt:
		return k.altered(nameOf(v.AlterTableStmt.Relation), v.AlterTableStmt.Cmds)
	case *pg.Node_IndexStmt:
		next := k.clone()
		if p := v.IndexStmt.IndexParams; len(p) > 0 && v.IndexStmt.WhereClause == nil {
			next.leads(nameOf(v.IndexStmt.Relation), p[0].GetIndexElem().GetName())
		}
		return next
	case *pg.Node_RenameStmt:
		return k.renamed(v.RenameStmt)
	case *pg.Node_DropStmt:
		next := k.clone()
		for _, o := range v.DropStmt.Objects {
			delete(next.types, nameOf(rangeVar(o)))
			delete(next.leading, nameOf(rangeVar(o)))
			delete(next.checks, nameOf(rangeVar(o)))
		}
		return next
	case *pg.Node_DoStmt:
		return newKnown() // it can have changed anything
	}
	return k
}

func (k *known) clone() *known {
	return &known{types: maps.Clone(k.types), leading: maps.Clone(k.leading), checks: maps.Clone(k.checks), marks: k.marks}
}

func (k *known) leads(t name, column string) {
	k.leading[t] = append(slices.Clone(k.leading[t]), column)
}

func (k *known) column(t name, d *pg.ColumnDef) {
	if d == nil {
		return
	}
	k.types[t][d.Colname] = d.TypeName
	for _, c := range d.Constraints {
		switch c.GetConstraint().GetContype() {
		case pg.ConstrType_CONSTR_PRIMARY, pg.ConstrType_CONSTR_UNIQUE:
			k.leads(t, d.Colname)
		}
	}
}

func (k *known) constraint(t name, c *pg.Constraint) {
	if keys := texts(c.GetKeys()); len(keys) > 0 {
		k.leads(t, keys[0])
	}
}

func (k *known) altered(t name, cmds []*pg.Node) *known {
	next := k.clone()
	if next.types[t] != nil {
		next.types[t] = maps.Clone(next.types[t])
	}
	for _, n := range cmds {
		c := n.GetAlterTableCmd()
		next.check(t, c)
		if c.GetSubtype() == pg.AlterTableType_AT_AddConstraint {
			next.constraint(t, c.GetDef().GetConstraint())
		}
		if next.types[t] == nil {
			continue
		}
		switch c.GetSubtype() {
		case pg.AlterTableType_AT_AddColumn:
			next.column(t, c.GetDef().GetColumnDef())
		case pg.AlterTableType_AT_AlterColumnType:
			next.types[t][c.Name] = c.GetDef().GetColumnDef().GetTypeName()
		case pg.AlterTableType_AT_DropColumn:
			delete(next.types[t], c.Name)
		}
	}
	return next
}

func (k *known) renamed(r *pg.RenameStmt) *known {
	t := nameOf(r.Relation)
	if k.types[t] == nil && k.checks[t] == nil {
		return k
	}
	next := k.clone()
	if k.types[t] == nil || r.RenameType != pg.ObjectType_OBJECT_TABLE {
		delete(next.checks, t) // of its columns, or of others' tables
	}
	if k.types[t] == nil {
		return next
	}
	switch r.RenameType {
	case pg.ObjectType_OBJECT_TABLE:
		to := name{t.schema, r.Newname}
		next.types[to], next.leading[to], next.checks[to] = next.types[t], next.leading[t], next.checks[t]
		delete(next.checks, t)
		delete(next.types, t)
		delete(next.leading, t)
	case pg.ObjectType_OBJECT_COLUMN:
		next.types[t] = maps.Clone(next.types[t])
		next.types[t][r.Newname] = next.types[t][r.Subname]
		delete(next.types[t], r.Subname)
		next.leading[t] = slices.Clone(next.leading[t])
		for i, c := range next.leading[t] {
			if c == r.Subname {
				next.leading[t][i] = r.Newname
			}
		}
	}
	return next
}

// keepsRows: changing a column's type from one to the other only changes the catalog. Source: manual, ALTER TABLE,
// Notes; pg_cast's binary coercible casts, and the length coercions that Postgres knows to be free.
func keepsRows(from, to *pg.TypeName) bool {
	if from == nil || to == nil || len(from.ArrayBounds) != 0 || len(to.ArrayBounds) != 0 {
		return false
	}
	f, t := plainType(from), plainType(to)
	a, b := modifiers(from), modifiers(to)
	if slices.Contains(a, -1) || slices.Contains(b, -1) {
		return false
	}
	switch {
	case f == "varchar" && t == "varchar" || f == "varbit" && t == "varbit":
		return len(b) == 0 || len(a) == 1 && len(b) == 1 && b[0] >= a[0]
	case f == "varchar" && t == "text", f == "text" && t == "varchar" && len(b) == 0, f == "cidr" && t == "inet":
		return true
	case f == "numeric" && t == "numeric":
		return len(b) == 0 || len(a) == 2 && len(b) == 2 && b[0] >= a[0] && b[1] == a[1] || len(a) == 1 && len(b) == 1 && b[0] >= a[0]
	case f == t && (f == "timestamp" || f == "timestamptz" || f == "time" || f == "interval"):
		return len(b) == 0 || len(a) == 1 && len(b) == 1 && b[0] >= a[0]
	}
	return f == t && slices.Equal(a, b)
}

func plainType(t *pg.TypeName) string {
	if len(t.Names) == 0 {
		return ""
	}
	return strings.ToLower(t.Names[len(t.Names)-1].GetString_().GetSval())
}

// modifiers are the numbers behind a type's name; -1 stands for what is no number.
func modifiers(t *pg.TypeName) []int32 {
	var m []int32
	for _, n := range t.Typmods {
		v := int32(-1)
		if c := n.GetAConst(); c != nil && c.GetIval() != nil {
			v = c.GetIval().Ival
		}
		m = append(m, v)
	}
	return m
}
