package sqlrewrite

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

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
