package sqlrewrite

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// tablesIn are the relations that a statement names, without those of its WITH and of Postgres' own.
func tablesIn(m proto.Message) (found []*pg.RangeVar) {
	with := withNames(m)
	real := map[*pg.RangeVar]bool{} // the query of a name that isn't RECURSIVE means another table by it
	walk(m, func(m any) {
		if w, ok := m.(*pg.WithClause); ok && !w.Recursive {
			for _, c := range w.Ctes {
				walk(c, func(m any) {
					if r, ok := m.(*pg.RangeVar); ok && r.Relname == c.GetCommonTableExpr().GetCtename() {
						real[r] = true
					}
				})
			}
		}
	})
	walk(m, func(m any) {
		if r, ok := m.(*pg.RangeVar); ok && (r.Schemaname != "" || !with[r.Relname] || real[r]) && !ofPostgres(r) {
			found = append(found, r)
		}
	})
	return found
}

// withNames are the names that the WITH clauses of a statement give.
func withNames(m proto.Message) map[string]bool {
	with := map[string]bool{}
	walk(m, func(m any) {
		if c, ok := m.(*pg.CommonTableExpr); ok {
			with[c.Ctename] = true
		}
	})
	return with
}

// writes reads a statement that writes rows, and those in its WITH.
func (l *lineage) writes(n *pg.Node) {
	var with *pg.WithClause
	var target *pg.RangeVar
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		with, target = v.InsertStmt.WithClause, v.InsertStmt.Relation
	case *pg.Node_UpdateStmt:
		with, target = v.UpdateStmt.WithClause, v.UpdateStmt.Relation
	case *pg.Node_DeleteStmt:
		with, target = v.DeleteStmt.WithClause, v.DeleteStmt.Relation
	case *pg.Node_MergeStmt:
		with, target = v.MergeStmt.WithClause, v.MergeStmt.Relation
	}
	for _, c := range with.GetCtes() {
		l.within(c.GetCommonTableExpr().GetCtequery())
	}
	l.calls(n)
	if l.fires[l.key(target)] {
		l.unread("a trigger of the migrations may write other rows", "make the trigger at the end, behind what writes rows")
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt:
		var columns []string
		for _, c := range v.InsertStmt.Cols {
			columns = append(columns, c.GetResTarget().GetName())
		}
		l.inserted(target, columns, n, v.InsertStmt.GetSelectStmt().GetSelectStmt(), v.InsertStmt.OnConflictClause)
		return
	case *pg.Node_UpdateStmt:
		l.depends(n, target)
		for _, t := range v.UpdateStmt.TargetList {
			l.overwritten(target, t.GetResTarget().GetName())
		}
	case *pg.Node_DeleteStmt:
		l.depends(n, target)
		l.deleted(target)
	case *pg.Node_MergeStmt:
		l.depends(n, target)
		for _, w := range v.MergeStmt.MergeWhenClauses {
			c := w.GetMergeWhenClause()
			for _, t := range c.GetTargetList() {
				if c.CommandType == pg.CmdType_CMD_UPDATE {
					l.overwritten(target, t.GetResTarget().GetName())
				}
			}
			if c.CommandType == pg.CmdType_CMD_DELETE {
				l.deleted(target)
			}
			if c.CommandType == pg.CmdType_CMD_INSERT {
				l.derive(target, l.origins(l.sources(n, target)), nil, Derived{})
			}
		}
	}
}

// within reads statements that write rows inside another one.
func (l *lineage) within(n *pg.Node) {
	walk(n, func(m any) {
		if in, ok := m.(*pg.Node); ok {
			switch in.GetNode().(type) {
			case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
				l.writes(in)
			}
		}
	})
}

func (l *lineage) overwritten(r *pg.RangeVar, column string) {
	a := l.table(r)
	if c := l.cell(r, column); c != nil {
		if a.own && c.origin != nil {
			l.found.Overwritten = append(l.found.Overwritten, Overwrite{l.at, *c.origin})
		}
		a.cells[column] = c.changed()
	}
	a.touched = true
}

func (l *lineage) deleted(r *pg.RangeVar) {
	if a := l.table(r); a.own {
		l.found.Deleted = append(l.found.Deleted, Deletion{l.at, l.moved[a]})
	}
}

// calls notes the functions that aren't known to be Postgres' own.
func (l *lineage) calls(n *pg.Node) {
	walk(n, func(m any) {
		c, ok := m.(*pg.FuncCall)
		if !ok || len(c.Funcname) == 0 {
			return
		}
		call := Call{Place: l.at, Function: c.Funcname[len(c.Funcname)-1].GetString_().GetSval()}
		if len(c.Funcname) > 1 {
			call.Schema = c.Funcname[0].GetString_().GetSval()
		}
		call.Made = l.made[call.Function]
		if call.Function == "set_config" && slices.ContainsFunc(c.Args, func(a *pg.Node) bool { return a.GetSubLink() != nil }) {
			l.unread("a setting takes what rows say along", "write the query where its value is used")
		}
		if call.Schema != "pg_catalog" && !slices.Contains(l.found.Calls, call) {
			l.found.Calls = append(l.found.Calls, call)
		}
	})
}

// source is a relation that a statement reads.
type source struct {
	*pg.RangeVar
	*ancestry
	joined bool
	asked  []string // as it is called now
}

// sources are the relations with rows of before the migrations that a statement reads, beside its target.
func (l *lineage) sources(n *pg.Node, target *pg.RangeVar) (found []source) {
	j := l.joinsOf(n, target)
	for _, r := range tablesIn(n) {
		if r == target {
			continue
		}
		if a := l.table(r); len(a.from) > 0 {
			found = append(found, source{RangeVar: r, ancestry: a, joined: !a.view && !a.gathers && j.joined(r) && !cutOff(n, r), asked: askedOf(n, r)})
		}
	}
	return found
}

// origins are the tables of before that sources have rows of.
func (l *lineage) origins(sources []source) map[string]bool {
	from := map[string]bool{}
	for _, s := range sources {
		maps.Copy(from, s.from)
	}
	return from
}

// asked gives what the columns of a source were called that it looks at, without those that the migrations have given each row
// whatever it has; nil where that can't be told.
func (l *lineage) asked(s source) []string {
	if !s.own || s.asked == nil {
		return nil
	}
	names := []string{}
	for _, c := range s.asked {
		x := l.cell(s.RangeVar, c)
		if x != nil && x.fresh {
			continue
		}
		if x == nil || x.origin == nil {
			return nil
		}
		names = append(names, x.origin.Column)
	}
	return names
}

// depends: what becomes of the target's rows depends on those of the sources.
func (l *lineage) depends(n *pg.Node, target *pg.RangeVar) {
	t := l.table(target)
	l.with = withNames(n)
	for _, s := range l.sources(n, target) {
		itself := l.sameRow(n, target, s)
		if !s.joined {
			itself = nil
		}
		for _, a := range t.names() {
			for _, b := range s.names() {
				if a == b && (s.ancestry != t && !s.own || itself[a] != nil) {
					l.found.Dependences = append(l.found.Dependences, Dependence{Place: l.at, Table: a, On: b, Joined: s.joined, Asked: itself[a], Same: true})
					continue
				}
				l.found.Dependences = append(l.found.Dependences, Dependence{Place: l.at, Table: a, On: b, Joined: s.joined, By: l.pairs(n, target, s, a, b), Asked: l.asked(s)})
			}
		}
		if len(t.from) == 0 { // rows that the migrations make of nothing take something of these
			l.derive(target, l.origins([]source{s}), nil, Derived{})
		}
	}
}

// sameRow gives, by table of before, the columns that are copied to both the target and a source and by which these are joined.
func (l *lineage) sameRow(n *pg.Node, target *pg.RangeVar, s source) map[string][]string {
	same := map[string][]string{}
	for _, e := range equalities(n) {
		for _, e := range []equality{e, {e.scope, e.right, e.left}} {
			a, b := l.origin(target, e.left), l.origin(s.RangeVar, e.right)
			if a != nil && b != nil && *a == *b {
				same[a.Table] = append(same[a.Table], a.Column)
			}
		}
	}
	return same
}

// pairs are the columns of two tables of before that are equal in rows of a relation and a source that are joined.
func (l *lineage) pairs(n *pg.Node, r *pg.RangeVar, s source, table, on string) (found [][2]string) {
	for _, e := range equalities(n) {
		for _, e := range []equality{e, {e.scope, e.right, e.left}} {
			a, b := l.origin(r, e.left), l.origin(s.RangeVar, e.right)
			if a != nil && b != nil && a.Table == table && b.Table == on {
				found = append(found, [2]string{a.Column, b.Column})
			}
		}
	}
	return found
}

// origin is that of a column, if it is written as one of r.
func (l *lineage) origin(r *pg.RangeVar, ref []string) *Origin {
	if len(ref) < 2 || ref[len(ref)-2] != aliasOf(r) {
		return nil
	}
	if c := l.cell(r, ref[len(ref)-1]); c != nil {
		return c.origin
	}
	return nil
}

// inserted: rows of the target are made of what a query gives.
func (l *lineage) inserted(target *pg.RangeVar, columns []string, n *pg.Node, q *pg.SelectStmt, conflict *pg.OnConflictClause) {
	if q.GetOp() != pg.SetOperation_SETOP_NONE && q != nil {
		for _, arm := range []*pg.SelectStmt{q.Larg, q.Rarg} {
			if arm.WithClause == nil && q.WithClause != nil {
				arm.WithClause = q.WithClause
			}
			l.inserted(target, columns, &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: arm}}, arm, conflict)
		}
		return
	}
	l.with = withNames(n)
	sources := l.sources(n, target)
	if len(sources) == 0 {
		return
	}
	for i, s := range sources {
		for k, o := range sources {
			if i == k {
				continue
			}
			for _, a := range s.names() {
				for _, b := range o.names() {
					if s.ancestry != o.ancestry || a == b {
						l.found.Dependences = append(l.found.Dependences, Dependence{Place: l.at, Table: a, On: b, Joined: s.joined && o.joined, By: l.pairs(n, s.RangeVar, o, a, b), Asked: l.asked(o)})
					}
				}
			}
		}
	}
	t := l.table(target)
	if columns == nil {
		columns = t.columns
	}
	if columns == nil && !t.own {
		for _, x := range q.TargetList {
			if name := outputName(x.GetResTarget()); name != "" {
				columns = append(columns, name)
				t.add(name)
			}
		}
	}
	copies := map[*cell]Origin{}
	star := l.starOf(q)
	switch {
	case star != nil && len(columns) == 1 && columns[0] == "*"+l.moved[l.table(star)] && l.moved[l.table(star)] != "", star != nil && !t.own && len(columns) == 0 && l.table(star).own:
		copies[t.everything()] = Origin{l.moved[l.table(star)], "*"}
	case star != nil && slices.Equal(columns, l.table(star).columns):
		for _, name := range columns {
			if c := l.cell(star, name); c != nil && c.origin != nil {
				copies[l.cell(target, name)] = *c.origin
			}
		}
	case star != nil && l.table(star).own && !l.table(star).touched && !slices.ContainsFunc(columns, func(c string) bool { return strings.HasPrefix(c, "*") }):
		for i, name := range columns {
			if c := l.cell(target, name); c != nil {
				copies[c] = Origin{l.moved[l.table(star)], "#" + strconv.Itoa(i+1)}
			}
		}
	case star == nil && len(columns) >= len(q.TargetList):
		for i, x := range q.TargetList {
			if o := l.copied(q, x.GetResTarget().GetVal()); o != nil {
				if c := l.cell(target, columns[i]); c != nil {
					copies[c] = *o
				}
			}
		}
	}
	d := Derived{}
	d.Merged, d.By = l.merged(q, copies, conflict)
	l.derive(target, l.origins(sources), copies, d)
}

// merged says whether several rows can become one, and which.
func (l *lineage) merged(q *pg.SelectStmt, copies map[*cell]Origin, conflict *pg.OnConflictClause) (bool, []Origin) {
	all := slices.Collect(maps.Values(copies))
	by := func(list []*pg.Node) (found []Origin) {
		for _, x := range list {
			if i := int(x.GetAConst().GetIval().GetIval()); i > 0 && i <= len(q.TargetList) { // GROUP BY 1
				x = q.TargetList[i-1].GetResTarget().GetVal()
			}
			if o := l.copied(q, x); o != nil {
				found = append(found, *o)
			}
		}
		return found
	}
	several := func(m any) bool {
		c, ok := m.(*pg.FuncCall)
		return ok && gathers(c)
	}
	switch {
	case q.LimitCount != nil || q.LimitOffset != nil:
		return true, nil
	case len(q.GroupClause) > 0:
		return true, by(q.GroupClause)
	case len(q.DistinctClause) > 0 && q.DistinctClause[0].GetNode() != nil:
		return true, by(q.DistinctClause)
	case len(q.DistinctClause) > 0:
		return true, all
	}
	whole := false
	for _, x := range q.TargetList {
		walk(x, func(m any) { whole = whole || several(m) })
	}
	if whole {
		return true, nil
	}
	if conflict == nil {
		return false, nil
	}
	var found []Origin
	for _, e := range conflict.GetInfer().GetIndexElems() {
		for c, o := range copies {
			if c.name == e.GetIndexElem().GetName() {
				found = append(found, o)
			}
		}
	}
	return true, found
}

// derive notes that a table has rows of others.
func (l *lineage) derive(target *pg.RangeVar, from map[string]bool, copies map[*cell]Origin, d Derived) {
	if len(from) == 0 {
		return
	}
	t := l.table(target)
	d.Place, d.From, d.Mixed = l.at, slices.Sorted(maps.Keys(from)), t.own
	for _, c := range t.cells {
		if t.own {
			continue
		}
		switch o, ok := copies[c]; {
		case !ok:
			c.origin = nil
		case len(t.from) == 0:
			c.origin = &o
		case c.origin != nil && *c.origin != o:
			c.origin = nil
		}
	}
	maps.Copy(t.from, from)
	t.gathers = t.gathers || d.Merged
	l.rows = append(l.rows, pending{Derived: d, in: t, copies: copies})
}

// copied is where a value of a query comes from, if it is a column of one of the relations that stand in its FROM.
func (l *lineage) copied(q *pg.SelectStmt, value *pg.Node) *Origin {
	ref := texts(value.GetColumnRef().GetFields())
	if len(ref) == 0 || ref[len(ref)-1] == "" {
		return nil
	}
	relations := slices.DeleteFunc(inFrom(q.FromClause), func(r *pg.RangeVar) bool { return r.Schemaname == "" && l.with[r.Relname] })
	if len(ref) == 1 && len(relations) == 1 && onlyBeside(q.FromClause, ref[0]) {
		if c := l.cell(relations[0], ref[0]); c != nil {
			return c.origin
		}
		return nil
	}
	for _, r := range relations {
		if o := l.origin(r, ref); o != nil {
			return o
		}
	}
	return nil
}

// onlyBeside says that a FROM has one relation, and beside it nothing but functions that don't give a column of this name.
func onlyBeside(from []*pg.Node, column string) bool {
	for _, f := range from {
		switch v := f.GetNode().(type) {
		case *pg.Node_RangeVar:
		case *pg.Node_JoinExpr:
			if !onlyBeside([]*pg.Node{v.JoinExpr.Larg, v.JoinExpr.Rarg}, column) {
				return false
			}
		case *pg.Node_RangeFunction:
			if a := v.RangeFunction.Alias; a == nil || a.Aliasname == column || slices.Contains(texts(a.Colnames), column) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// inFrom are the relations of a FROM, joined or not, without those of its subqueries.
func inFrom(from []*pg.Node) (found []*pg.RangeVar) {
	for _, f := range from {
		switch v := f.GetNode().(type) {
		case *pg.Node_RangeVar:
			found = append(found, v.RangeVar)
		case *pg.Node_JoinExpr:
			found = append(found, inFrom([]*pg.Node{v.JoinExpr.Larg, v.JoinExpr.Rarg})...)
		}
	}
	return found
}

// starOf is the relation of SELECT * FROM r, whatever the condition.
func (l *lineage) starOf(q *pg.SelectStmt) *pg.RangeVar {
	if len(q.TargetList) != 1 || len(q.FromClause) != 1 {
		return nil
	}
	fields := q.TargetList[0].GetResTarget().GetVal().GetColumnRef().GetFields()
	if len(fields) == 0 || fields[len(fields)-1].GetAStar() == nil {
		return nil
	}
	r := q.FromClause[0].GetRangeVar()
	if r == nil || r.Schemaname == "" && l.with[r.Relname] {
		return nil
	}
	return r
}

func outputName(t *pg.ResTarget) string {
	if t.GetName() != "" {
		return t.GetName()
	}
	fields := t.GetVal().GetColumnRef().GetFields()
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1].GetString_().GetSval()
}

// everything stands for all columns of a table that is made like another one.
func (a *ancestry) everything() *cell {
	if a.cells["*"] == nil {
		a.cells["*"] = &cell{name: "*"}
	}
	return a.cells["*"]
}

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

// writing finds words of statements that write rows or decide by them, in SQL that is put together while it runs.
var writing = regexp.MustCompile(`(?i)\b(insert|update|delete|merge|truncate|copy|select|call)\b`)

const outOfTheBlock = "take the statement out of the block; INSERT … VALUES … ON CONFLICT DO NOTHING puts a row in where it is missing"

// block reads a DO block of PL/pgSQL: its statements by themselves, if none of them decides by rows what others do.
func (l *lineage) block(d *pg.DoStmt) {
	var body, language string
	for _, a := range d.Args {
		switch e := a.GetDefElem(); e.GetDefname() {
		case "as":
			body = e.GetArg().GetString_().GetSval()
		case "language":
			language = e.GetArg().GetString_().GetSval()
		}
	}
	if language != "" && language != "plpgsql" {
		l.unread("a block in "+language, outOfTheBlock)
		return
	}
	queries, dynamic, reads, err := inBlock(body)
	if err != nil {
		l.unread("a DO block that can't be read", outOfTheBlock)
		return
	}
	var writes []*pg.Node
	for _, q := range queries {
		tree, err := pg.Parse(q)
		if err != nil {
			_, value, _ := strings.Cut(q, "=") // of an assignment
			if tree, err = pg.Parse("SELECT " + q); err != nil {
				if tree, err = pg.Parse("SELECT " + value); err != nil {
					l.unread("a DO block that can't be read", outOfTheBlock)
					return
				}
			}
		}
		walk(tree, func(m any) {
			c, ok := m.(*pg.ColumnRef)
			reads = reads || ok && len(c.Fields) == 1 && c.Fields[0].GetString_().GetSval() == "found"
		})
		for _, s := range tree.Stmts {
			switch s.Stmt.GetNode().(type) {
			case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
				writes = append(writes, s.Stmt)
				reads = reads || len(s.Stmt.GetInsertStmt().GetReturningList())+len(s.Stmt.GetUpdateStmt().GetReturningList())+len(s.Stmt.GetDeleteStmt().GetReturningList()) > 0
			case *pg.Node_SelectStmt:
				l.calls(s.Stmt)
				for _, r := range tablesIn(s.Stmt) {
					reads = reads || len(l.table(r).from) > 0
				}
			default:
				l.statement(s.Stmt)
			}
		}
	}
	switch {
	case dynamic:
		l.unread("a DO block puts SQL together that may write rows", "write the statements out, each for its table")
	case reads && len(writes) > 0:
		l.unread("a DO block writes rows by what it finds in others", outOfTheBlock)
	default:
		for _, w := range writes {
			l.writes(w)
		}
	}
}

// changing finds words of statements that change no rows.
var changing = regexp.MustCompile(`(?i)\b(alter|create|drop|comment|grant|revoke|analyze|reindex|refresh|vacuum)\b`)

// inBlock gives the SQL of a block, whether it puts some together that may write rows, and whether it asks how many were written.
func inBlock(body string) (queries []string, dynamic, counts bool, err error) {
	tree, err := pg.ParsePlPgSqlToJSON("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS " + quoted(body))
	if err != nil {
		return nil, false, false, err
	}
	var parsed any
	if err := json.Unmarshal([]byte(tree), &parsed); err != nil {
		return nil, false, false, err
	}
	var visit func(any)
	visit = func(x any) {
		switch v := x.(type) {
		case []any:
			for _, e := range v {
				visit(e)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				switch k {
				case "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors":
					text, _ := json.Marshal(v[k])
					dynamic = dynamic || writing.Match(text) || !changing.Match(text)
					continue
				case "PLpgSQL_stmt_getdiag":
					counts = true
				case "query":
					if s, ok := v[k].(string); ok {
						queries = append(queries, s)
					}
				}
				visit(v[k])
			}
		}
	}
	visit(parsed)
	return queries, dynamic, counts, nil
}
