package sqlrewrite

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// longestUpdate bounds the text of one fused UPDATE: each expression is written out where a later one reads its column.
const longestUpdate = 64 << 10

// fuse makes one of UPDATEs of a table that directly follow each other.
func (b *bulk) fuse() {
	var f *fused
	var last *item
	for _, it := range b.items {
		if it.gone {
			continue
		}
		if f != nil && f.add(b, it) {
			it.gone = true
			last.sql, last.writes, last.note = f.sql, set(f.order), fmt.Sprintf("%d updates in one", f.count)
			continue
		}
		f, last = newFused(b, it), it
	}
}

// fused is the composition of UPDATEs: each column's value as an expression of the row before all of them.
type fused struct {
	name   string
	table  *pg.RangeVar
	types  map[string]string
	values map[string]*pg.Node
	order  []string   // of values
	where  []*pg.Node // a row that none of them chooses is not written
	whole  bool       // one chooses every row
	count  int
	sql    string
}

// newFused begins with an UPDATE; nil if it isn't one that could be fused.
func newFused(b *bulk, it *item) *fused {
	u := it.st.node.GetUpdateStmt()
	if u == nil {
		return nil
	}
	name, t, plain := it.before.table(u.Relation)
	if !plain {
		return nil
	}
	f := &fused{name: name, types: t.Types, values: map[string]*pg.Node{},
		table: &pg.RangeVar{Schemaname: u.Relation.Schemaname, Relname: u.Relation.Relname, Inh: u.Relation.Inh, Relpersistence: "p"}}
	if !f.compose(b, u) || f.acts(t) {
		return nil
	}
	return f
}

// acts says whether what is written is referred to: what a foreign key does with each of several values is not what it does with the
// last one.
func (f *fused) acts(t Table) bool {
	for c := range f.values {
		if t.Referenced[c] {
			return true
		}
	}
	return false
}

// add takes one more UPDATE in; false leaves everything as it was.
func (f *fused) add(b *bulk, it *item) bool {
	u := it.st.node.GetUpdateStmt()
	name, t, plain := it.before.table(u.GetRelation())
	if u == nil || !plain || name != f.name || len(t.Types) != len(f.types) {
		return false
	}
	next := *f
	next.values, next.order, next.where = map[string]*pg.Node{}, slices.Clone(f.order), slices.Clone(f.where)
	for c, v := range f.values {
		next.values[c] = v
	}
	if !next.compose(b, u) || next.acts(t) {
		return false
	}
	sql, err := next.text()
	if err != nil || len(sql) > longestUpdate {
		return false
	}
	next.sql = sql
	*f = next
	return true
}

// compose puts an UPDATE behind those that are there. What it reads are their values.
func (f *fused) compose(b *bulk, u *pg.UpdateStmt) bool {
	if len(u.FromClause)+len(u.ReturningList) > 0 || u.WithClause != nil || u.WhereClause != nil && !f.ofRow(b, u.WhereClause, u.Relation) {
		return false
	}
	var where *pg.Node
	if u.WhereClause != nil {
		where = f.asOf(u.WhereClause)
	}
	set := map[string]*pg.Node{}
	for _, n := range u.TargetList {
		t := n.GetResTarget()
		typ := f.types[t.Name]
		if typ == "" || len(t.Indirection) > 0 || set[t.Name] != nil || !f.ofRow(b, t.Val, u.Relation) || !assignable(kindOf(t.Val, f.types), typ) {
			return false
		}
		v := typeCast(f.asOf(t.Val), typ)
		if where != nil {
			before := f.values[t.Name]
			if before == nil {
				before = column(t.Name)
			}
			v = caseWhen(where, v, before)
		}
		set[t.Name] = v
	}
	for _, n := range u.TargetList { // all of them read the row before any of them
		c := n.GetResTarget().Name
		if f.values[c] == nil {
			f.order = append(f.order, c)
		}
		f.values[c] = set[c]
	}
	f.whole = f.whole || where == nil
	f.where = append(f.where, where)
	f.count++
	return true
}

func column(name string) *pg.Node { return pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(name)}, 0) }

func typeCast(n *pg.Node, typ string) *pg.Node {
	return &pg.Node{Node: &pg.Node_TypeCast{TypeCast: &pg.TypeCast{Arg: n, TypeName: &pg.TypeName{
		Names: []*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode(typ)}, Typemod: -1}}}}
}

func caseWhen(when, then, otherwise *pg.Node) *pg.Node {
	arm := &pg.Node{Node: &pg.Node_CaseWhen{CaseWhen: &pg.CaseWhen{Expr: clone(when), Result: then}}}
	return &pg.Node{Node: &pg.Node_CaseExpr{CaseExpr: &pg.CaseExpr{Args: []*pg.Node{arm}, Defresult: clone(otherwise)}}}
}

// asOf is an expression with each column replaced by what the updates so far have made of it.
func (f *fused) asOf(n *pg.Node) *pg.Node {
	n = clone(n)
	var refs []*pg.Node
	walk(n, func(m any) {
		if c, ok := m.(*pg.Node); ok && c.GetColumnRef() != nil {
			refs = append(refs, c)
		}
	})
	for _, r := range refs {
		fields := texts(r.GetColumnRef().Fields)
		name := fields[len(fields)-1]
		if v := f.values[name]; v != nil {
			r.Node = clone(v).Node
		} else {
			r.Node = column(name).Node
		}
	}
	return n
}

// text is the one UPDATE.
func (f *fused) text() (string, error) {
	u := &pg.UpdateStmt{Relation: f.table}
	for _, c := range f.order {
		u.TargetList = append(u.TargetList, pg.MakeResTargetNodeWithNameAndVal(c, f.values[c], 0))
	}
	if !f.whole {
		u.WhereClause = pg.MakeBoolExprNode(pg.BoolExprType_OR_EXPR, f.where, 0)
	}
	sql, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: &pg.Node{Node: &pg.Node_UpdateStmt{UpdateStmt: u}}}}})
	if err == nil {
		_, err = pg.Parse(sql)
	}
	return sql, err
}

// ofRow: an expression's value depends on the row alone, and working it out does nothing. Its columns are of types for which
// an assignment is a cast, so that one may stand for the other.
func (f *fused) ofRow(b *bulk, n *pg.Node, table *pg.RangeVar) bool {
	alias := table.GetRelname()
	if a := table.GetAlias().GetAliasname(); a != "" {
		alias = a
	}
	ok := true
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.Node, *pg.A_Const, *pg.Integer, *pg.Float, *pg.Boolean, *pg.String, *pg.BitString, *pg.BoolExpr, *pg.NullTest, *pg.BooleanTest,
			*pg.CaseExpr, *pg.CaseWhen, *pg.CoalesceExpr, *pg.MinMaxExpr, *pg.TypeCast, *pg.List:
		case *pg.TypeName:
			ok = ok && internalType(v) != ""
		case *pg.ColumnRef:
			fields := v.Fields
			if len(fields) == 2 && fields[0].GetString_().GetSval() == alias {
				fields = fields[1:]
			}
			ok = ok && len(fields) == 1 && f.types[fields[0].GetString_().GetSval()] != ""
		case *pg.A_Expr:
			ok = ok && len(v.Name) == 1 && operators[v.Name[0].GetString_().GetSval()] && !b.catalog.Overloads[v.Name[0].GetString_().GetSval()]
		case *pg.FuncCall:
			function := v.Funcname[len(v.Funcname)-1].GetString_().GetSval()
			own := len(v.Funcname) == 1 && !b.catalog.Overloads[function] || len(v.Funcname) == 2 && v.Funcname[0].GetString_().GetSval() == "pg_catalog"
			ok = ok && own && rowFunctions[function] && v.Over == nil && v.AggFilter == nil && !v.AggDistinct && !v.AggStar && len(v.AggOrder) == 0
		default:
			ok = false
		}
	})
	return ok
}

// operators of Postgres' own, none of which is volatile. Source: manual 9.1 to 9.16.
var operators = map[string]bool{"=": true, "<>": true, "!=": true, "<": true, ">": true, "<=": true, ">=": true, "+": true, "-": true, "*": true,
	"/": true, "%": true, "||": true, "~~": true, "!~~": true, "~~*": true, "!~~*": true, "~": true, "!~": true, "->": true, "->>": true,
	"BETWEEN": true, "NOT BETWEEN": true}

// rowFunctions are immutable functions of Postgres' own. Source: manual 9.4 and 9.16.
var rowFunctions = map[string]bool{"replace": true, "lower": true, "upper": true, "btrim": true, "ltrim": true, "rtrim": true, "substr": true,
	"substring": true, "left": true, "right": true, "length": true, "md5": true, "split_part": true, "translate": true, "abs": true, "round": true,
	"regexp_replace": true, "repeat": true, "strpos": true, "starts_with": true, "initcap": true, "reverse": true}
