package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

func aliasOf(r *pg.RangeVar) string {
	if a := r.GetAlias().GetAliasname(); a != "" {
		return a
	}
	return r.GetRelname()
}

// equality is a condition that holds for all rows of a query: two columns are equal.
type equality struct {
	scope       *pg.SelectStmt // the query whose WHERE or ON has it; nil: the statement itself
	left, right []string       // the columns as written
}

// equalities are those that stand alone or under AND. One under OR restricts nothing.
func equalities(n *pg.Node) (found []equality) {
	var scope *pg.SelectStmt
	add := func(c *pg.Node) {
		conjuncts(c, func(e *pg.Node) {
			x := e.GetAExpr()
			if x == nil || x.Kind != pg.A_Expr_Kind_AEXPR_OP || len(x.Name) == 0 || x.Name[len(x.Name)-1].GetString_().GetSval() != "=" {
				return
			}
			left, right := []*pg.Node{x.Lexpr}, []*pg.Node{x.Rexpr}
			if a, b := x.Lexpr.GetRowExpr(), x.Rexpr.GetRowExpr(); a != nil && b != nil && len(a.Args) == len(b.Args) {
				left, right = a.Args, b.Args
			}
			for i := range left {
				a, b := texts(left[i].GetColumnRef().GetFields()), texts(right[i].GetColumnRef().GetFields())
				if len(a) > 0 && len(b) > 0 {
					found = append(found, equality{scope, a, b})
				}
			}
		})
	}
	joins := func(from []*pg.Node) {
		for _, f := range from {
			walk(f, func(m any) {
				if j, ok := m.(*pg.JoinExpr); ok {
					inner := inFrom([]*pg.Node{j.Larg, j.Rarg})
					before := len(found)
					add(j.Quals)
					if j.Jointype != pg.JoinType_JOIN_INNER { // no restriction of what the outer side has
						found = append(found[:before], slices.DeleteFunc(slices.Clone(found[before:]), func(e equality) bool {
							return !ofThese(inner, e.left) || !ofThese(inner, e.right)
						})...)
					}
				}
			})
		}
	}
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.SelectStmt:
			scope = v
			add(v.WhereClause)
			joins(v.FromClause)
			scope = nil
		case *pg.UpdateStmt:
			add(v.WhereClause)
			joins(v.FromClause)
		case *pg.DeleteStmt:
			add(v.WhereClause)
			joins(v.UsingClause)
		case *pg.MergeStmt:
			add(v.JoinCondition)
		}
	})
	return found
}

// ofThese says that a column is written as one of these relations.
func ofThese(relations []*pg.RangeVar, ref []string) bool {
	return len(ref) > 1 && slices.ContainsFunc(relations, func(r *pg.RangeVar) bool { return aliasOf(r) == ref[len(ref)-2] })
}

func conjuncts(c *pg.Node, f func(*pg.Node)) {
	if b := c.GetBoolExpr(); b != nil && b.Boolop == pg.BoolExprType_AND_EXPR {
		for _, a := range b.Args {
			conjuncts(a, f)
		}
		return
	}
	if c != nil {
		f(c)
	}
}

// joins are the relations of a statement, by their aliases, that equal columns lead to from one another.
type joins struct {
	*lineage
	statement *pg.Node
	next      map[string]string
	home      string
	first     *pg.RangeVar
	count     map[string]int // of relations with an alias
}

func (j *joins) root(a string) string {
	for j.next[a] != "" && j.next[a] != a {
		a = j.next[a]
	}
	return a
}

func (j *joins) unite(a, b string) {
	if a, b = j.root(a), j.root(b); a != b {
		j.next[a] = b
	}
}

// joined says whether a relation is joined to the statement's target, or to the first that its query names.
// Where an alias stands for several relations, each must be joined in its own query.
func (j *joins) joined(r *pg.RangeVar) bool {
	alias := aliasOf(r)
	if j.count[alias] < 2 || r == j.first {
		return j.root(alias) == j.root(j.home)
	}
	scope := scopeOf(j.statement, r)
	outer := nameOfQuery(j.statement, scope)
	return scope != nil && slices.ContainsFunc(equalities(j.statement), func(e equality) bool {
		a, b := j.owner(e, e.left, e.right), j.owner(e, e.right, e.left)
		return a != b && a != "" && b != "" && (e.scope == scope && (a == alias || b == alias) || e.scope != scope && outer != "" && (a == outer || b == outer))
	})
}

// nameOfQuery is what the rest of a statement calls a query of its FROM or WITH.
func nameOfQuery(n *pg.Node, q *pg.SelectStmt) (name string) {
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.RangeSubselect:
			if v.Subquery.GetSelectStmt() == q {
				name = v.GetAlias().GetAliasname()
			}
		case *pg.CommonTableExpr:
			if v.Ctequery.GetSelectStmt() == q {
				name = v.Ctename
			}
		}
	})
	return name
}

// scopeOf is the query that has a relation in its FROM; nil where it is the statement itself.
func scopeOf(n *pg.Node, r *pg.RangeVar) (scope *pg.SelectStmt) {
	walk(n, func(m any) {
		if q, ok := m.(*pg.SelectStmt); ok && slices.Contains(inFrom(q.FromClause), r) {
			scope = q
		}
	})
	return scope
}

func (l *lineage) joinsOf(n *pg.Node, target *pg.RangeVar) *joins {
	j := &joins{lineage: l, statement: n, next: map[string]string{}, count: map[string]int{}, first: target}
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.RangeVar:
			j.count[aliasOf(v)]++
		case *pg.CommonTableExpr:
			if first := inFrom(v.Ctequery.GetSelectStmt().GetFromClause()); len(first) > 0 {
				j.unite(v.Ctename, aliasOf(first[0]))
			}
		case *pg.RangeSubselect:
			if first := inFrom(v.Subquery.GetSelectStmt().GetFromClause()); len(first) > 0 && v.Alias != nil {
				j.unite(v.Alias.Aliasname, aliasOf(first[0]))
			}
		case *pg.JoinExpr:
			if len(v.UsingClause) > 0 || v.IsNatural {
				both := inFrom([]*pg.Node{v.Larg, v.Rarg})
				for _, r := range both[min(1, len(both)):] {
					j.unite(aliasOf(r), aliasOf(both[0]))
				}
			}
		case *pg.SubLink:
			j.anyOf(v, target)
		}
	})
	walk(n, func(m any) { // a name of WITH is an alias of it
		if v, ok := m.(*pg.RangeVar); ok && v.Schemaname == "" && j.next[v.Relname] != "" && aliasOf(v) != v.Relname {
			j.unite(aliasOf(v), v.Relname)
		}
	})
	j.home = homeOf(n, target)
	if target == nil || n.GetUpdateStmt() == nil && n.GetDeleteStmt() == nil && n.GetMergeStmt() == nil {
		for _, r := range tablesIn(n) {
			if r != target && aliasOf(r) == j.home {
				j.first = r
				break
			}
		}
	}
	for _, e := range equalities(n) {
		a, b := j.owner(e, e.left, e.right), j.owner(e, e.right, e.left)
		if a != "" && b != "" {
			j.unite(a, b)
		}
	}
	return j
}

// cutOff says that a relation is read by a query in a FROM or WITH, of whose rows each hangs on others than those of its group.
func cutOff(n *pg.Node, r *pg.RangeVar) (is bool) {
	look := func(q *pg.SelectStmt) {
		is = is || q != nil && slices.Contains(inFrom(q.FromClause), r) && !inGroups(q)
	}
	walk(n, func(m any) {
		switch v := m.(type) {
		case *pg.RangeSubselect:
			look(v.Subquery.GetSelectStmt())
		case *pg.SubLink:
			if q := v.Subselect.GetSelectStmt(); v.SubLinkType != pg.SubLinkType_EXISTS_SUBLINK && v.SubLinkType != pg.SubLinkType_EXPR_SUBLINK && (q.GetLimitCount() != nil || q.GetLimitOffset() != nil) {
				look(q)
			}
		case *pg.CommonTableExpr:
			look(v.Ctequery.GetSelectStmt())
		}
	})
	return is
}

// inGroups says that what a query within gives of a row hangs at most on the rows of its group: it is not cut off or counted over all.
func inGroups(q *pg.SelectStmt) bool {
	if q.LimitCount != nil || q.LimitOffset != nil || q.Op != pg.SetOperation_SETOP_NONE || len(q.DistinctClause) > 0 && q.DistinctClause[0].GetNode() != nil {
		return false
	}
	within := map[any]bool{} // what stands in a query of its own
	walk(q, func(m any) {
		if s, ok := m.(*pg.SubLink); ok {
			walk(s, func(m any) { within[m] = true })
		}
	})
	whole := false
	for _, x := range q.TargetList {
		walk(x, func(m any) {
			c, ok := m.(*pg.FuncCall)
			if !ok || within[m] {
				return
			}
			if c.Over != nil {
				whole = whole || len(c.Over.PartitionClause) == 0
			} else if gathers(c) {
				whole = whole || len(q.GroupClause) == 0
			}
		})
	}
	return !whole
}

// gathers says whether a call makes one value of several rows.
func gathers(c *pg.FuncCall) bool {
	return c.Over != nil || aggregates[c.Funcname[len(c.Funcname)-1].GetString_().GetSval()] || c.AggStar || c.AggDistinct || c.AggFilter != nil || c.AggWithinGroup || len(c.AggOrder) > 0
}

// homeOf is what the others of a statement are to be joined to.
func homeOf(n *pg.Node, target *pg.RangeVar) string {
	q := n.GetSelectStmt()
	if i := n.GetInsertStmt(); i != nil {
		q = i.GetSelectStmt().GetSelectStmt()
	} else if c := n.GetCreateTableAsStmt(); c != nil {
		q = c.Query.GetSelectStmt()
	} else if q == nil {
		return aliasOf(target)
	}
	if first := inFrom(q.GetFromClause()); len(first) > 0 {
		return aliasOf(first[0])
	}
	for _, f := range q.GetFromClause() {
		if s := f.GetRangeSubselect(); s != nil {
			return s.GetAlias().GetAliasname()
		}
	}
	return ""
}

// owner is the alias that a column of an equality belongs to, as far as that can be told without a catalog: one without a prefix
// is the innermost query's, unless that has the other one.
func (j *joins) owner(e equality, ref, other []string) string {
	if len(ref) > 1 {
		return ref[len(ref)-2]
	}
	inner := inFrom(e.scope.GetFromClause())
	switch {
	case len(inner) == 1 && j.has(inner[0], ref[0]) == yes:
		return aliasOf(inner[0])
	case len(inner) == 1 && j.has(inner[0], ref[0]) == no:
		return j.home
	case len(other) > 1 && len(inner) == 1 && aliasOf(inner[0]) != other[len(other)-2]:
		return aliasOf(inner[0])
	case len(inner) == 0 && j.first != nil && j.has(j.first, ref[0]) == yes:
		return j.home
	}
	return ""
}

type answer int

const (
	unknown answer = iota
	yes
	no
)

// has says whether a relation has a column.
func (l *lineage) has(r *pg.RangeVar, column string) answer {
	if r.Schemaname == "" && l.with[r.Relname] {
		return unknown
	}
	a := l.table(r)
	if c := a.cells[column]; c != nil {
		if c.gone {
			return no
		}
		return yes
	}
	known := a.columns
	if a.own {
		known = l.before[l.moved[a]]
	}
	switch {
	case len(known) == 0 || strings.HasPrefix(known[0], "*"):
		return unknown
	case slices.Contains(known, column):
		return yes
	}
	return no
}

// anyOf: x IN (SELECT y FROM s …).
func (j *joins) anyOf(s *pg.SubLink, target *pg.RangeVar) {
	if s.SubLinkType != pg.SubLinkType_ANY_SUBLINK || len(s.OperName) > 0 && s.OperName[len(s.OperName)-1].GetString_().GetSval() != "=" {
		return
	}
	q := s.Subselect.GetSelectStmt()
	from := inFrom(q.GetFromClause())
	if len(from) == 0 || len(q.GetTargetList()) == 0 || q.GetTargetList()[0].GetResTarget().GetVal().GetColumnRef() == nil {
		return
	}
	tested := s.Testexpr
	if r := tested.GetRowExpr(); r != nil && len(r.Args) > 0 {
		tested = r.Args[0]
	}
	ref := texts(tested.GetColumnRef().GetFields())
	switch {
	case len(ref) > 1:
		j.unite(aliasOf(from[0]), ref[len(ref)-2])
	case len(ref) == 1 && target != nil:
		j.unite(aliasOf(from[0]), aliasOf(target))
	}
}

// askedOf are the columns of a relation that a statement may look at; nil where that can't be told.
func askedOf(n *pg.Node, r *pg.RangeVar) (columns []string) {
	var in proto.Message = n // the query that has it in its FROM: only there its columns can be named
	walk(n, func(m any) {
		if q, ok := m.(*pg.SelectStmt); ok && slices.Contains(inFrom(q.FromClause), r) {
			in = q
		}
	})
	columns = []string{}
	all := false
	walk(in, func(m any) {
		c, ok := m.(*pg.ColumnRef)
		if !ok {
			return
		}
		ref := texts(c.Fields)
		switch last := ref[len(ref)-1]; {
		case len(ref) > 1 && ref[len(ref)-2] != aliasOf(r):
		case c.Fields[len(ref)-1].GetAStar() != nil, last == aliasOf(r):
			all = true
		default:
			columns = append(columns, last)
		}
	})
	walk(in, func(m any) {
		if x, ok := m.(*pg.JoinExpr); ok {
			all = all || x.IsNatural
			columns = append(columns, texts(x.UsingClause)...)
		}
	})
	if e, ok := in.(*pg.SelectStmt); ok && all && exists(n, e) { // SELECT * FROM … of EXISTS gives nothing
		all = false
	}
	if all {
		return nil
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}

// exists says whether a query is only asked whether it has rows.
func exists(n *pg.Node, q *pg.SelectStmt) (is bool) {
	walk(n, func(m any) {
		s, ok := m.(*pg.SubLink)
		is = is || ok && s.SubLinkType == pg.SubLinkType_EXISTS_SUBLINK && s.Subselect.GetSelectStmt() == q
	})
	return is
}
