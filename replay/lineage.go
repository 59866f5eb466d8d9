package replay

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/sqlrewrite"
)

// Lineal is a [Migrator] that can tell what its migrations make of one row by way of others. A delta has some rows alone: what
// becomes of them must not hang on any that it has not.
type Lineal interface {
	// Lineage reads the migrations that the database at dsn has yet to take.
	Lineage(ctx context.Context, dsn string) (sqlrewrite.Lineage, error)
}

// ruled is what the rules that are run before the migrations look at, one by one: whether a row is repaired, or goes to quarantine,
// must not hang on rows that its delta has not. What goes to quarantine is deleted.
func (r *Replayer) ruled() (found []sqlrewrite.Dependence, err error) {
	columns := map[string][]string{}
	for name, rel := range r.blue {
		for _, c := range rel.columns {
			columns[name] = append(columns[name], c.name)
		}
	}
	for i, rule := range r.Profile.Rules {
		if rule.Phase != "before" {
			continue
		}
		sql := strings.Join(rule.Fix, ";\n")
		if rule.Quarantine {
			sql = fmt.Sprintf("DELETE FROM %s t WHERE (%s\n)", r.Profile.Schemas().Ident(rule.Table), rule.Where)
		}
		s, err := sqlrewrite.Parse("rule "+rule.Name, sql)
		if err != nil {
			return nil, r.Profile.At(fmt.Sprintf("rules[%d]", i), err.Error(), "mend the rule's SQL")
		}
		for _, d := range sqlrewrite.LineageOf([]*sqlrewrite.Script{s}, schemaOf(r.Profile), columns).Dependences {
			if r.blue[d.Table] != nil && r.blue[d.On] != nil {
				found = append(found, d)
			}
		}
	}
	return found, nil
}

// LineageError says what migrations make of rows that a delta would get wrong.
type LineageError struct{ Objections []LineageObjection }

// LineageObjection is one statement.
type LineageObjection struct {
	File, Text, Way string
	Line            int
}

const mostLineageObjections = 5

func (e *LineageError) Error() string {
	parts := make([]string, 0, mostLineageObjections)
	for _, o := range e.Objections[:min(len(e.Objections), mostLineageObjections)] {
		parts = append(parts, fmt.Sprintf("%s:%d: %s", o.File, o.Line, o.Text))
	}
	if more := len(e.Objections) - mostLineageObjections; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return "what a row becomes hangs on others that a delta would not have: " + strings.Join(parts, "; ")
}

// Hint says what can be done.
func (e *LineageError) Hint() string {
	return e.Objections[0].Way + "; where it can't go wrong during this upgrade, say so in the profile (settled)"
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *LineageError) ExitCode() int { return 4 }

// lineal holds what the migrations make of rows against what goes into a delta together, and finds where else than in its home
// rows of green are made of a row. Migrations that can't be read are taken as they are.
type lineal struct {
	*Replayer
	objections []LineageObjection
}

// descend looks at the lineage of the migrations. defined are the functions that were there before them or behind them, triggers
// those of blue.
func (r *Replayer) descend(lineage sqlrewrite.Lineage, defined map[string]bool, triggers []firing) error {
	l := &lineal{Replayer: r}
	r.derived = make(map[string][]home)
	for _, u := range lineage.Unread {
		l.object(u.Place, "", "", u.Why, u.Way)
	}
	for _, c := range lineage.Calls {
		if defined[c.Function] || c.Made {
			l.object(c.Place, "", "", fmt.Sprintf("the function %s may look at other rows", c.Function), "write out what the function does, or make it IMMUTABLE if it looks at its arguments alone")
		}
	}
	for _, o := range lineage.Operators {
		if defined[o.Function] {
			l.object(o.Place, "", "", fmt.Sprintf("the operator %s calls a function that may look at other rows", o.Function), "write out what the function does, or make it IMMUTABLE if it looks at its arguments alone")
		}
	}
	for _, name := range sortedNames(defined) {
		if strings.HasPrefix(name, castPrefix) && len(lineage.Written) > 0 {
			l.object(lineage.Written[0].Place, lineage.Written[0].Table, "", fmt.Sprintf("the cast %s, which any value may take, calls a function that may look at other rows", strings.TrimPrefix(name, castPrefix)),
				"make the function IMMUTABLE if it looks at its argument alone, or drop the cast")
		}
	}
	for _, d := range lineage.Temporary {
		if l.blue[d.Table] != nil {
			l.object(d.Place, d.Table, "", fmt.Sprintf("a temporary table has the name of table %q", d.Table), "give it a name of its own")
		}
	}
	rules, err := r.ruled()
	if err != nil {
		return err
	}
	for _, d := range append(rules, lineage.Dependences...) {
		l.depends(d)
	}
	for _, d := range lineage.Deleted {
		l.deletes(d, map[string]bool{})
	}
	for _, o := range lineage.Overwritten {
		l.overwrites(o)
	}
	for _, w := range lineage.Written {
		l.fires(w, triggers, defined)
	}
	for _, d := range lineage.Derived {
		l.derives(d)
	}
	l.promote()
	if len(l.objections) > 0 {
		return &LineageError{l.objections}
	}
	return nil
}

func (l *lineal) object(at sqlrewrite.Place, table, on, text, way string) {
	for _, s := range l.Profile.Settled {
		if (s.File == "" || s.File == at.File) && (s.Table == "" || s.Table == table) && (s.On == "" || s.On == on) {
			return
		}
	}
	o := LineageObjection{File: at.File, Line: at.Line, Text: text, Way: way}
	if !slices.ContainsFunc(l.objections, func(old LineageObjection) bool { return old.Text == text }) {
		l.objections = append(l.objections, o)
	}
}

// depends: a row of d.Table takes rows of d.On along, and is taken along by them.
func (l *lineal) depends(d sqlrewrite.Dependence) {
	if slices.Contains(l.Profile.Bookkeeping, d.On) || l.unseen(d.Table) {
		return
	}
	if d.Same && contains(d.Asked, l.keys[d.Table]) {
		return // by its own row
	}
	if d.Table == d.On {
		l.recorded(d, d.Table)
		if !d.Joined || !l.bothWays(d.Table) {
			l.object(d.Place, d.Table, d.On, fmt.Sprintf("a row of table %q becomes what other rows of that table say", d.Table),
				fmt.Sprintf("name under follow which rows of %s belong together, both ways, as {from: %[1]s, from_columns: […], to: %[1]s, to_columns: […]}; or write the statement with columns that are joined", d.Table))
		}
		return
	}
	way := fmt.Sprintf("name under follow how the rows of %s and %s find each other, both ways, as {from: %[2]s, from_columns: […], to: %[1]s, to_columns: […]}", d.Table, d.On)
	text := fmt.Sprintf("a row of table %q becomes what rows of table %q say", d.Table, d.On)
	switch {
	case !d.Joined:
		l.object(d.Place, d.Table, d.On, text+", which are not found by equal columns", "leave the statement to after the switch, or join the tables by columns that are equal")
	case d.Asked != nil && contains(l.keys[d.On], d.Asked) && !l.leads(d.Table, d.On):
		l.object(d.Place, d.Table, d.On, text+", and doesn't bring them along", fmt.Sprintf("name under follow which row of %s one of %s looks for, as {from: %[2]s, from_columns: […], to: %[1]s, to_columns: [%[3]s]}",
			d.On, d.Table, strings.Join(d.Asked, ", ")))
	case !l.leads(d.Table, d.On), !l.along(d.Table, d.On, d.By, 0):
		l.object(d.Place, d.Table, d.On, text+", and doesn't bring them along", way)
	case l.leads(d.On, d.Table) && l.along(d.On, d.Table, d.By, 1), !l.changes(d.On), l.noticed(d):
		l.recorded(d, d.Table)
		l.recorded(d, d.On)
	default:
		l.object(d.Place, d.Table, d.On, text+", and is not brought along when these change", way)
	}
}

// deletes: what foreign keys of blue do when rows of a table are deleted becomes of the rows that refer to them.
func (l *lineal) deletes(d sqlrewrite.Mention, seen map[string]bool) {
	seen[d.Table] = true
	for _, child := range sortedNames(l.blue) {
		for _, e := range slices.Concat(l.blue[child].parents, l.bound) {
			if e.from != child || e.to != d.Table || !e.acts || child == d.Table && seen[child+" "] {
				continue
			}
			if child == d.Table {
				seen[child+" "] = true
			}
			l.depends(sqlrewrite.Dependence{Place: d.Place, Table: child, On: d.Table, Joined: true})
			if !seen[child] {
				l.deletes(sqlrewrite.Mention{Place: d.Place, Table: child}, seen)
			}
		}
	}
}

// overwrites: a row whose key is changed is not found again by the key that it has on blue.
func (l *lineal) overwrites(o sqlrewrite.Overwrite) {
	if t := l.Profile.Table(o.Table); t == nil || t.OnDelete != "" || !slices.Contains(l.keys[o.Table], o.Column) {
		return
	}
	l.object(o.Place, o.Table, "", fmt.Sprintf("column %q of table %q gets another value, and is of the key by which its rows are found again", o.Column, o.Table),
		fmt.Sprintf("name another key of %s in the profile (tables: key), or what removes what became of a row (on_delete)", o.Table))
}

// recorded: where a row stood before it was changed or deleted is known by the columns that are recorded with its changes. Triggers of
// ours record what is wanted; the log and an outbox have what the profile keeps.
func (l *lineal) recorded(d sqlrewrite.Dependence, table string) {
	t := l.Profile.Table(table)
	if !l.KeptOnly || t == nil || !t.Captured() {
		return
	}
	missing := slices.DeleteFunc(linking(l.blue, l.Profile, table), func(c string) bool { return slices.Contains(l.keys[table], c) || slices.Contains(t.Keep, c) })
	if len(missing) > 0 {
		l.object(d.Place, d.Table, d.On, fmt.Sprintf("rows of %s and %s hang on each other, and changes of %q are recorded without %s, by which it is known where a row stood before", d.Table, d.On, table, strings.Join(missing, ", ")),
			fmt.Sprintf("name %s under keep of table %s in the profile, or capture by triggers", strings.Join(missing, ", "), table))
	}
}

// unseen: a table of blue that isn't there any more, in a way that nobody sees.
func (l *lineal) unseen(table string) bool {
	h, ok := l.homes[table]
	return ok && slices.Contains(l.Profile.Green.Ignore, h.table)
}

// changes says whether rows of a table of blue may change during the run. One that the profile doesn't name is watched.
func (l *lineal) changes(table string) bool {
	t := l.Profile.Table(table)
	return t != nil && t.Captured()
}

// noticed: a row of d.Table hangs only on whether there is a row of d.On with some key. One that comes or goes takes along what
// refers to it where no foreign key holds; where one does, it can't.
func (l *lineal) noticed(d sqlrewrite.Dependence) bool {
	return d.Asked != nil && contains(l.keys[d.On], d.Asked) && slices.ContainsFunc(l.edges[d.Table], func(e edge) bool {
		return e.to == d.On && contains(e.toColumns, d.Asked)
	})
}

// along says whether an edge between two tables asks for nothing that a join doesn't, so that it brings all that is joined. Where no
// edge leads straight, others do by way of a third.
func (l *lineal) along(from, to string, by [][2]string, side int) bool {
	straight := false
	for _, e := range l.edges[from] {
		if e.to != to {
			continue
		}
		straight = true
		asks := false
		for i, c := range e.fromColumns {
			asks = asks || !slices.ContainsFunc(by, func(p [2]string) bool { return p[side] == c && p[1-side] == e.toColumns[i] })
		}
		if !asks {
			return true
		}
	}
	return !straight || len(by) == 0
}

// bothWays says whether rows of a table that belong together take each other along.
func (l *lineal) bothWays(table string) bool {
	for _, e := range l.edges[table] {
		if e.to != table {
			continue
		}
		if slices.Equal(e.fromColumns, e.toColumns) || slices.ContainsFunc(l.edges[table], func(back edge) bool {
			return back.to == table && slices.Equal(back.fromColumns, e.toColumns) && slices.Equal(back.toColumns, e.fromColumns)
		}) {
			return true
		}
	}
	return false
}

func contains(all, some []string) bool {
	return len(some) > 0 && !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// leads says whether edges lead from rows of one table to those of another.
func (r *Replayer) leads(from, to string) bool {
	seen := map[string]bool{from: true}
	for next := []string{from}; len(next) > 0; next = next[1:] {
		for _, e := range r.edges[next[0]] {
			if e.to == to {
				return true
			}
			if !seen[e.to] {
				seen[e.to] = true
				next = append(next, e.to)
			}
		}
	}
	return false
}

// derives finds by which columns rows of green are known that were made of a row of blue. They are written anew when it changes,
// and go with it.
func (l *lineal) derives(d sqlrewrite.Derived) {
	rel := l.green[d.Table]
	if rel == nil {
		return
	}
	var known []string // tables of blue
	homes := map[string]home{}
	for _, from := range d.From {
		t := l.Profile.Table(from)
		if t != nil && (t.OnDelete != "" || t.Green.Table == d.Table) {
			known = append(known, from)
		}
		if t != nil && t.Green.Table == d.Table {
			continue
		}
		if h, ok := l.copied(rel, d, from); ok {
			homes[from] = h
			known = append(known, from)
		}
	}
	of := strings.Join(d.From, ", ")
	if d.Mixed && len(d.From) == 1 && d.From[0] == d.Table && len(known) == 0 {
		l.object(d.Place, d.Table, d.Table, fmt.Sprintf("whether a row is put into table %q hangs on what rows it has", d.Table), "write it as INSERT … VALUES … ON CONFLICT DO NOTHING")
		return
	}
	declare := fmt.Sprintf("say in the profile where rows of %s live (tables: green: {table: %s, key: […]}) or what removes what became of one (on_delete)", d.From[0], d.Table)
	switch {
	case len(known) == 0 && (d.Merged || len(d.Copies) == 0):
		l.object(d.Place, d.Table, d.From[0], fmt.Sprintf("rows of table %q are made of several of %s, and which of them is not seen in any", d.Table, of), "leave the statement to after the switch")
		return
	case len(known) == 0:
		l.object(d.Place, d.Table, d.From[0], fmt.Sprintf("rows of table %q are made of rows of %s, whose key they don't have: they would stay when those change", d.Table, of), "copy the key of "+d.From[0]+" into a column of "+d.Table+"; or "+declare)
		return
	case d.Merged && (d.Mixed || !l.apart(d)):
		l.object(d.Place, d.Table, d.From[0], fmt.Sprintf("a row of table %q is made of several rows of %s", d.Table, of), "leave the statement to after the switch")
		return
	}
	if number := l.numbered(rel, d); number != "" {
		l.object(d.Place, d.Table, d.From[0], fmt.Sprintf("rows of table %q are told apart by column %q, which has another value each time that they are made", d.Table, number),
			fmt.Sprintf("name %s.%s under green.volatile and give %[1]s another unique key; or copy the key of %[3]s", d.Table, number, d.From[0]))
		return
	}
	for _, from := range sortedNames(homes) {
		h := homes[from]
		if slices.ContainsFunc(l.derived[from], func(o home) bool { return o.table == h.table && slices.Equal(o.key, h.key) }) {
			continue
		}
		if other := l.feeder(d, from, h); other != "" {
			l.object(d.Place, d.Table, from, fmt.Sprintf("table %q has rows of %s and of %s, which are not told apart by column %s", d.Table, from, other, strings.Join(h.key, ", ")), declare)
			return
		}
		l.derived[from] = append(l.derived[from], h)
	}
}

// promote gives a table whose own was taken away by the migrations a home where all that they make of its rows is one table.
func (l *lineal) promote() {
	for from, list := range l.derived {
		if _, ok := l.homes[from]; !ok && len(list) == 1 && l.green[list[0].table].keyed(list[0].key) {
			l.homes[from] = list[0]
			delete(l.derived, from)
		}
	}
}

// copied is where rows that were made of a row of blue have its key.
func (l *lineal) copied(rel *relation, d sqlrewrite.Derived, from string) (home, bool) {
	h := home{table: rel.name}
	for _, k := range l.keys[from] {
		place := "#" + strconv.Itoa(1+slices.IndexFunc(l.blue[from].columns, func(c column) bool { return c.name == k }))
		i := slices.IndexFunc(rel.columns, func(c column) bool {
			o, ok := d.Copies[c.name]
			if !ok && c.name == k {
				o, ok = d.Copies["*"]
				o.Column = c.name
			}
			return ok && o.Table == from && (o.Column == k || o.Column == place)
		})
		if i < 0 {
			return home{}, false
		}
		h.key = append(h.key, rel.columns[i].name)
	}
	return h, len(h.key) > 0
}

// apart says whether rows that are made of several, such as those of a group, are all made of one row of blue.
func (l *lineal) apart(d sqlrewrite.Derived) bool {
	for _, from := range d.From {
		var by []string
		for _, o := range d.By {
			if o.Table == from && o.Column == "*" {
				by = l.keys[from]
			} else if o.Table == from {
				by = append(by, o.Column)
			}
		}
		if contains(by, l.keys[from]) {
			return true
		}
	}
	return false
}

// numbered is a column of the key of derived rows whose default is another value each time.
func (l *lineal) numbered(rel *relation, d sqlrewrite.Derived) string {
	s := newStage(rel, l.green, l.Profile.Green.Volatile)
	if s.identify(l.declared(rel.name)) != nil {
		return ""
	}
	for _, name := range s.match {
		c, _ := rel.column(name)
		if _, copied := d.Copies[name]; !copied && d.Copies["*"].Table == "" && (c.next != "" || c.identity || c.varies) {
			return name
		}
	}
	return ""
}

// feeder is another table of blue that rows with the same columns are made of, or live in.
func (l *lineal) feeder(d sqlrewrite.Derived, from string, h home) string {
	overlap := func(o home) bool {
		return o.table == h.table && slices.ContainsFunc(o.key, func(c string) bool { return slices.Contains(h.key, c) })
	}
	if d.Mixed {
		return "its own"
	}
	for _, table := range sortedNames(l.homes) {
		if table != from && l.homes[table].table == h.table {
			return table
		}
	}
	for _, table := range sortedNames(l.derived) {
		if table != from && slices.ContainsFunc(l.derived[table], overlap) {
			return table
		}
	}
	return ""
}

const castPrefix = "CAST "

// functionsOfRowsSQL lists functions whose code may look at rows: none of Postgres' own, of C, or that say that they don't. Aggregates,
// operators and casts are what calls one.
const functionsOfRowsSQL = `
WITH looking AS (
	SELECT p.oid, p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
	WHERE n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' AND l.lanname NOT IN ('c', 'internal') AND p.provolatile <> 'i' AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
)
SELECT proname::text FROM looking
UNION SELECT p.proname FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid JOIN looking f ON f.oid IN (a.aggtransfn, a.aggfinalfn)
UNION SELECT o.oprname FROM pg_catalog.pg_operator o JOIN looking f ON f.oid = o.oprcode
UNION SELECT pg_catalog.format('` + castPrefix + `(%s AS %s)', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL)) FROM pg_catalog.pg_cast c JOIN looking f ON f.oid = c.castfunc`

func functionsOfRows(ctx context.Context, q queryer, into map[string]bool) error {
	rows, err := q.Query(ctx, functionsOfRowsSQL)
	if err != nil {
		return fmt.Errorf("list the functions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the functions: %w", err)
	}
	for _, f := range found {
		into[f] = true
	}
	return nil
}

// linking are the columns of a table by which its rows lead to others that may hang on them: where a row stood before it was
// changed or deleted is known by these alone.
func linking(all map[string]*relation, p *plan.Profile, table string) (columns []string) {
	edges := make(map[string][]edge)
	for _, rel := range all {
		edges[rel.name] = append(edges[rel.name], rel.parents...)
	}
	for _, f := range p.Follow {
		edges[f.From] = append(edges[f.From], edge{from: f.From, to: f.To, fromColumns: f.FromColumns})
	}
	r := &Replayer{edges: edges}
	for _, e := range edges[table] {
		if e.to != table && r.leads(e.to, table) || e.to == table && e.foreignKey == "" {
			columns = append(columns, e.fromColumns...)
		}
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}
