package sqlrewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// alteration rewrites one ALTER TABLE.
type alteration struct {
	*live
	st    *Statement
	table *pg.RangeVar
	rest  []*pg.Node // the parts that stay
	// first makes what a new column needs, owned ties it to the column, and fills fills the column.
	first, owned, fills []unit
	defaults            []*pg.Node // what follows the part at hand
	// Postgres runs the parts of an ALTER TABLE in passes, not as written: columns, NOT NULL, indexes, other constraints.
	notNull, indexes, others []unit
	set                      map[string]bool // the columns that notNull has
	redefined                map[string]bool // the columns whose default a part of its own sets
}

func (l *live) alter(st *Statement, a *pg.AlterTableStmt, sc *scope) []unit {
	if a.Objtype != pg.ObjectType_OBJECT_TABLE || a.MissingOk || sc.fresh(a.Relation) {
		return nil
	}
	a = clone(a) // parts of it are taken out
	x := &alteration{live: l, st: st, table: a.Relation, set: map[string]bool{}, redefined: map[string]bool{}}
	for _, n := range a.Cmds {
		if cmd := n.GetAlterTableCmd(); cmd.GetSubtype() == pg.AlterTableType_AT_ColumnDefault {
			x.redefined[cmd.Name] = true
		}
	}
	for _, n := range a.Cmds {
		if cmd := n.GetAlterTableCmd(); !x.command(cmd) {
			x.rest = append(append(x.rest, n), x.defaults...)
			x.defaults = nil
		}
	}
	late := slices.Concat(x.owned, x.fills, x.notNull, x.indexes, x.others)
	if len(late) == 0 {
		return nil
	}
	if len(x.rest) > 0 {
		late = append([]unit{x.unit(auto, x.rest...)}, late...)
	}
	return append(x.first, late...)
}

// unit is ALTER TABLE with these parts.
func (x *alteration) unit(m mode, cmds ...*pg.Node) unit {
	return unit{[]*Statement{x.statement(cmds...)}, m}
}

func (x *alteration) statement(cmds ...*pg.Node) *Statement {
	return x.made(x.st, &pg.Node{Node: &pg.Node_AlterTableStmt{AlterTableStmt: &pg.AlterTableStmt{
		Relation: clone(x.table), Cmds: cmds, Objtype: pg.ObjectType_OBJECT_TABLE}}})
}

func command(t pg.AlterTableType, name string, def *pg.Node) *pg.Node {
	return &pg.Node{Node: &pg.Node_AlterTableCmd{AlterTableCmd: &pg.AlterTableCmd{
		Subtype: t, Name: name, Def: def, Behavior: pg.DropBehavior_DROP_RESTRICT}}}
}

func constraintNode(c *pg.Constraint) *pg.Node {
	return &pg.Node{Node: &pg.Node_Constraint{Constraint: c}}
}

// command takes a part over; false: it stays.
func (x *alteration) command(c *pg.AlterTableCmd) bool {
	switch c.Subtype {
	case pg.AlterTableType_AT_SetNotNull:
		if !x.table.GetInh() && x.inParts(x.st, x.table) {
			return false // what ONLY means there, Postgres decides
		}
		if x.st.known.proves(x.st.node.GetAlterTableStmt(), c.Name) {
			return false // Postgres believes the constraint
		}
		x.setNotNull(c.Name)
		return true
	case pg.AlterTableType_AT_AddConstraint:
		k := clone(c.GetDef().GetConstraint())
		return k != nil && x.constraint(k)
	case pg.AlterTableType_AT_AddColumn:
		x.column(c)
	}
	return false
}

// setNotNull lets a validated CHECK prove what SET NOT NULL would read the table for, behind ACCESS EXCLUSIVE. The CHECK
// goes in a statement of its own: in one with SET NOT NULL it would be dropped first.
func (x *alteration) setNotNull(column string) {
	if x.set[column] {
		return
	}
	x.set[column] = true
	n := notNullName(x.table.GetRelname(), column)
	test := &pg.Node{Node: &pg.Node_NullTest{NullTest: &pg.NullTest{Nulltesttype: pg.NullTestType_IS_NOT_NULL,
		Arg: pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(column)}, 0)}}}
	check := &pg.Constraint{Contype: pg.ConstrType_CONSTR_CHECK, Conname: n, RawExpr: test, SkipValidation: true, IsNoInherit: !x.table.GetInh()}
	x.notNull = append(x.notNull,
		x.unit(auto, command(pg.AlterTableType_AT_AddConstraint, "", constraintNode(check))),
		x.unit(alone, command(pg.AlterTableType_AT_ValidateConstraint, n, nil)),
		unit{[]*Statement{x.statement(command(pg.AlterTableType_AT_SetNotNull, column, nil)),
			x.statement(command(pg.AlterTableType_AT_DropConstraint, n, nil))}, alone})
}

// isNotNull: the two statements are the last step of setNotNull.
func isNotNull(st, next *Statement) bool {
	if next == nil {
		return false
	}
	a, b := st.node.GetAlterTableStmt(), next.node.GetAlterTableStmt()
	if len(a.GetCmds()) != 1 || len(b.GetCmds()) != 1 || nameOf(a.Relation) != nameOf(b.Relation) {
		return false
	}
	set, drop := a.Cmds[0].GetAlterTableCmd(), b.Cmds[0].GetAlterTableCmd()
	return set.GetSubtype() == pg.AlterTableType_AT_SetNotNull && drop.GetSubtype() == pg.AlterTableType_AT_DropConstraint &&
		drop.GetName() == notNullName(a.GetRelation().GetRelname(), set.GetName())
}

// constraint adds a constraint of its own; false: it stays as it is.
func (x *alteration) constraint(c *pg.Constraint) bool {
	switch c.Contype {
	case pg.ConstrType_CONSTR_FOREIGN, pg.ConstrType_CONSTR_CHECK:
		if c.SkipValidation || c.Contype == pg.ConstrType_CONSTR_FOREIGN && (x.inParts(x.st, x.table) || x.inParts(x.st, c.Pktable)) {
			return false
		}
		if c.Conname == "" && slices.Contains(columnsIn(c.RawExpr), x.table.GetRelname()) && !x.told() {
			x.st.whole = "its name depends on whether " + x.table.GetRelname() + " is a column or the row"
			return false
		}
		x.name(c)
		c.SkipValidation, c.InitiallyValid = true, false
		x.others = append(x.others,
			x.unit(auto, command(pg.AlterTableType_AT_AddConstraint, "", constraintNode(c))),
			x.unit(alone, command(pg.AlterTableType_AT_ValidateConstraint, c.Conname, nil)))
		return true
	case pg.ConstrType_CONSTR_UNIQUE, pg.ConstrType_CONSTR_PRIMARY:
		if c.Indexname != "" || x.inParts(x.st, x.table) {
			return false
		}
		x.name(c)
		if c.Contype == pg.ConstrType_CONSTR_PRIMARY {
			for _, column := range texts(c.Keys) {
				x.setNotNull(column)
			}
		}
		index := &pg.IndexStmt{Idxname: c.Conname, Relation: clone(x.table), AccessMethod: "btree", Unique: true,
			IndexParams: elements(c.Keys), IndexIncludingParams: elements(c.Including), Options: c.Options,
			TableSpace: c.Indexspace, NullsNotDistinct: c.NullsNotDistinct}
		using := &pg.Constraint{Contype: c.Contype, Conname: c.Conname, Indexname: c.Conname,
			Deferrable: c.Deferrable, Initdeferred: c.Initdeferred}
		x.indexes = append(x.indexes, x.buildIndex(x.st, index),
			x.unit(auto, command(pg.AlterTableType_AT_AddConstraint, "", constraintNode(using))))
		return true
	}
	return false
}

// told: the scripts have made the table, and so tell whether a column has its name.
func (x *alteration) told() bool {
	return x.st.known != nil && x.st.known.types[nameOf(x.table)] != nil
}

// name gives a constraint the name that Postgres would.
func (x *alteration) name(c *pg.Constraint) {
	if c.Conname != "" {
		x.choose(x.st, x.table, c.Conname, false, false)
		return
	}
	key := c.Contype == pg.ConstrType_CONSTR_UNIQUE || c.Contype == pg.ConstrType_CONSTR_PRIMARY
	for taken := 0; ; taken++ {
		if n := constraintName(x.table.GetRelname(), c, taken, x.isRow(x.st, x.table, nil)); x.choose(x.st, x.table, n, key, true) {
			c.Conname = n
			return
		}
	}
}

func elements(keys []*pg.Node) []*pg.Node {
	var list []*pg.Node
	for _, k := range texts(keys) {
		list = append(list, &pg.Node{Node: &pg.Node_IndexElem{IndexElem: &pg.IndexElem{Name: k,
			Ordering: pg.SortByDir_SORTBY_DEFAULT, NullsOrdering: pg.SortByNulls_SORTBY_NULLS_DEFAULT}}})
	}
	return list
}

// column adds the constraints of a new column afterwards. The column itself is left to the parts that stay.
func (x *alteration) column(cmd *pg.AlterTableCmd) {
	d := cmd.GetDef().GetColumnDef()
	if d == nil || cmd.MissingOk {
		return
	}
	for _, n := range d.Constraints {
		switch n.GetConstraint().GetContype() {
		case pg.ConstrType_CONSTR_ATTR_DEFERRABLE, pg.ConstrType_CONSTR_ATTR_NOT_DEFERRABLE, pg.ConstrType_CONSTR_ATTR_DEFERRED,
			pg.ConstrType_CONSTR_ATTR_IMMEDIATE, pg.ConstrType_CONSTR_PRIMARY:
			return // it belongs to the constraint before it, or decides what the column is
		}
	}
	own := clone(d)
	filled := x.fill(own)
	var stay []*pg.Node
	for _, n := range own.Constraints {
		k := clone(n.GetConstraint())
		switch k.GetContype() {
		case pg.ConstrType_CONSTR_NOTNULL:
			if filled {
				x.setNotNull(d.Colname)
				continue
			}
		case pg.ConstrType_CONSTR_FOREIGN:
			k.FkAttrs = []*pg.Node{pg.MakeStrNode(d.Colname)}
		case pg.ConstrType_CONSTR_UNIQUE:
			k.Keys = []*pg.Node{pg.MakeStrNode(d.Colname)}
		}
		if k == nil || !x.constraint(k) {
			stay = append(stay, n)
		}
	}
	own.Constraints = stay
	cmd.Def = &pg.Node{Node: &pg.Node_ColumnDef{ColumnDef: own}}
}
