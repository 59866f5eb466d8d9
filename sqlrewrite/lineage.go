package sqlrewrite

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Lineage is what a folder's migrations make of one row by way of others, by the names that tables and columns have before
// the migrations. What isn't in it becomes of each row what that row says alone.
//
// It is read from the scripts. What they leave open is told so that whoever asks is on the safe side: rows are taken to depend
// on each other where it isn't shown that they don't.
type Lineage struct {
	Dependences []Dependence
	Derived     []Derived
	Deleted     []Mention // rows of a table are deleted; foreign keys may act on others
	Overwritten []Overwrite
	Written     []Write
	Calls       []Call
	Operators   []Call // each but those that are said to be Postgres' own
	Unread      []Unread
	Temporary   []Mention // temporary tables; one with the name of another table hides it
}

// Place is where a statement stands.
type Place struct {
	File string
	Line int
}

// Dependence says that what becomes of a row of Table depends on rows of On.
type Dependence struct {
	Place
	Table, On string // the same where a row depends on others of its table
	// Joined: the rows are found by columns with equal values. Otherwise any row of On may count.
	Joined bool
	// By are pairs of columns, of Table and of On, that are equal in the rows that are joined, as far as both were there before.
	By [][2]string
	// Asked are the columns of On that the statement looks at. nil: any. Without a column the rows themselves count.
	Asked []string
	// Same: Table and On are one table of before, once as it is and once as what the migrations have made of it. Asked are the columns
	// that were copied to both and by which they are joined: where they are the table's key, a row depends on itself.
	Same bool
}

// Derived are rows that a statement makes of rows of other tables.
type Derived struct {
	Place
	Table string   // that has them when the migrations are done
	From  []string // whose rows they are made of, together
	// Copies says which columns of Table have, when the migrations are done, the value of which column of a table of From.
	Copies map[string]Origin
	// Merged: several rows of From can make one. They are those with the same values in By.
	Merged bool
	By     []Origin
	Mixed  bool // Table is one of before the migrations, and has rows of its own
}

// Origin is a column before the migrations.
//
// The Column is "*" where all columns of the table have the same names on both sides, and "#3" for the third of Table.
type Origin struct{ Table, Column string }

// Mention is a table that a statement names.
type Mention struct {
	Place
	Table string
}

// Overwrite says that a column of a table gets another value.
type Overwrite struct {
	Place
	Origin
}

// Write says that rows of a table of before are written: triggers fire, and foreign keys act.
type Write struct {
	Place
	Table   string
	Event   string   // INSERT, UPDATE or DELETE
	Columns []string // that an UPDATE sets, by their names of before
	Asleep  []string // triggers that the migrations have switched off or dropped; "*" is all of them
}

// Call is a function that isn't Postgres' own, called by a statement that writes rows.
type Call struct {
	Place
	Schema, Function string
	Made             bool // by the migrations, and not said to be IMMUTABLE
}

// Unread is a statement of which it can't be told what rows it writes.
type Unread struct {
	Place
	Why, Way string
}

// LineageOf reads the scripts that are to be run, in their order. Tables of the schema have no prefix in what it tells; those of
// another schema have. columns are those of each table before; without them, one that is written without a prefix is not known to
// be of either table.
func LineageOf(scripts []*Script, schema string, columns map[string][]string) Lineage {
	l := &lineage{schema: schema, before: columns, tables: map[string]*ancestry{}, moved: map[*ancestry]string{}, made: map[string]bool{}, writing: map[string]bool{}, fires: map[string]bool{}}
	for _, s := range scripts {
		for _, st := range s.Up {
			l.at = Place{File: st.File, Line: st.Line}
			l.statement(st.node)
		}
	}
	return l.end()
}

// lineage is a [Lineage] in the making.
type lineage struct {
	schema string
	before map[string][]string // columns
	at     Place
	tables map[string]*ancestry // by the name of now; a table that is not in it is as it was before
	moved  map[*ancestry]string
	// partitions are parts and heirs of other tables, by their names.
	partitions map[string]bool
	rows       []pending
	made       map[string]bool // functions that may look at rows
	// writing are functions that may write rows; fires are tables with triggers that call one.
	writing, fires map[string]bool
	with           map[string]bool // names that the statement's own WITH gives
	found          Lineage
}

// pending are rows that were made, in a table that may yet be renamed or dropped.
type pending struct {
	Derived
	in     *ancestry
	copies map[*cell]Origin
}

// ancestry is where the rows of a table come from.
type ancestry struct {
	from    map[string]bool
	own     bool // it was there before the migrations, with rows
	view    bool
	columns []string         // in their order; only where a script has made the table
	cells   map[string]*cell // by the name of now
	gone    bool
	touched bool     // some column isn't what it was when the table was made
	gathers bool     // what a row has may hang on several of those that it was made of
	asleep  []string // triggers that are switched off or dropped; "*" is all
}

// cell is a column that may yet be renamed.
type cell struct {
	name   string
	origin *Origin // what its values were copied from; nil: they are its own
	fresh  bool    // each row has its default, whatever else the row has
	gone   bool
}

func (l *lineage) key(r *pg.RangeVar) string {
	if s := r.GetSchemaname(); s != "" && s != l.schema && s != "pg_temp" {
		return s + "." + r.GetRelname()
	}
	return r.GetRelname()
}

// table is what is known of a relation; one that no script has touched is blue's own.
func (l *lineage) table(r *pg.RangeVar) *ancestry {
	k := l.key(r)
	a := l.tables[k]
	if a == nil {
		a = &ancestry{from: map[string]bool{k: true}, own: true, cells: map[string]*cell{}}
		l.tables[k] = a
		l.moved[a] = k
	}
	return a
}

// column is a column as it is now. Of a table that was there before, each column that no script has touched is its own origin.
func (a *ancestry) column(before, name string) *cell {
	c := a.cells[name]
	if c == nil && a.own {
		c = &cell{name: name, origin: &Origin{before, name}}
		a.cells[name] = c
	}
	return c
}

func (l *lineage) cell(r *pg.RangeVar, name string) *cell {
	a := l.table(r)
	return a.column(l.moved[a], name)
}

func (a *ancestry) names() []string { return slices.Sorted(maps.Keys(a.from)) }

// schemas are of Postgres' own.
func ofPostgres(r *pg.RangeVar) bool {
	s := r.GetSchemaname()
	return s == "pg_catalog" || s == "information_schema" || s == "" && strings.HasPrefix(r.GetRelname(), "pg_")
}

func (l *lineage) statement(n *pg.Node) {
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		l.writes(n)
	case *pg.Node_SelectStmt:
		if into := v.SelectStmt.GetIntoClause().GetRel(); into != nil {
			l.calls(n)
			l.placed(n)
			l.create(into, true)
			l.inserted(into, nil, n, v.SelectStmt, nil)
			return
		}
		l.calls(n)
		l.within(n)
	case *pg.Node_CreateTableAsStmt:
		c := v.CreateTableAsStmt
		if c.Objtype == pg.ObjectType_OBJECT_MATVIEW {
			l.viewOf(c.GetInto().GetRel(), c.Query)
			if !c.GetInto().GetSkipData() && len(l.table(c.GetInto().GetRel()).from) > 0 {
				l.unread("the materialized view "+c.GetInto().GetRel().GetRelname()+" is filled once, with rows that change", "make it WITH NO DATA, and REFRESH it after the switch")
			}
			return
		}
		l.calls(n)
		l.placed(n)
		l.create(c.GetInto().GetRel(), c.IfNotExists)
		if !c.GetInto().GetSkipData() {
			l.inserted(c.GetInto().GetRel(), texts(c.GetInto().GetColNames()), n, c.Query.GetSelectStmt(), nil)
		}
	case *pg.Node_ViewStmt:
		l.viewOf(v.ViewStmt.View, v.ViewStmt.Query)
	case *pg.Node_CreateStmt:
		l.calls(n)
		l.created(v.CreateStmt)
	case *pg.Node_AlterTableStmt:
		l.calls(n)
		l.placed(n)
		l.altered(v.AlterTableStmt)
	case *pg.Node_CreateFunctionStmt:
		l.function(v.CreateFunctionStmt)
	case *pg.Node_CreateTrigStmt:
		f := v.CreateTrigStmt.Funcname
		if len(f) > 0 && l.writing[f[len(f)-1].GetString_().GetSval()] {
			l.fires[l.key(v.CreateTrigStmt.Relation)] = true
		}
	case *pg.Node_RuleStmt:
		if v.RuleStmt.Event != pg.CmdType_CMD_SELECT {
			l.unread("a rule says what else a statement does", "make the rule after the switch, or write out what it does")
		}
	case *pg.Node_PrepareStmt, *pg.Node_ExecuteStmt:
		l.unread("a statement is prepared under a name", "write the statement itself")
	case *pg.Node_ExplainStmt:
		l.unread("EXPLAIN may run what it explains", "take EXPLAIN out")
	case *pg.Node_RenameStmt:
		l.renamed(v.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		if s := v.AlterObjectSchemaStmt; s.ObjectType == pg.ObjectType_OBJECT_TABLE {
			l.move(s.Relation, &pg.RangeVar{Schemaname: s.Newschema, Relname: s.GetRelation().GetRelname()})
		}
	case *pg.Node_DropStmt:
		switch v.DropStmt.RemoveType {
		case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW:
			for _, o := range v.DropStmt.Objects {
				if l.partitions[l.key(rangeVar(o))] {
					continue
				}
				l.table(rangeVar(o)).gone = true
				l.tables[l.key(rangeVar(o))] = &ancestry{from: map[string]bool{}, cells: map[string]*cell{}, gone: true}
			}
		case pg.ObjectType_OBJECT_TRIGGER: // its last name is the trigger's own
			for _, o := range v.DropStmt.Objects {
				if names := o.GetList().GetItems(); len(names) > 1 {
					on := &pg.Node{Node: &pg.Node_List{List: &pg.List{Items: names[:len(names)-1]}}}
					l.table(rangeVar(on)).asleep = append(l.table(rangeVar(on)).asleep, names[len(names)-1].GetString_().GetSval())
				}
			}
		}
	case *pg.Node_DoStmt:
		l.block(v.DoStmt)
	case *pg.Node_CallStmt:
		l.unread("a procedure is called", "write out what the procedure does")
	case *pg.Node_CopyStmt:
		if v.CopyStmt.IsFrom && (v.CopyStmt.IsProgram || v.CopyStmt.Filename != "") {
			l.unread("rows come from a file of the server's", "write them as INSERT … VALUES, or copy them after the switch")
		}
	}
}

func (l *lineage) unread(why, way string) {
	l.found.Unread = append(l.found.Unread, Unread{l.at, why, way})
}

func (l *lineage) create(r *pg.RangeVar, perhaps bool) {
	k := l.key(r)
	if r.GetRelpersistence() == "t" || r.GetSchemaname() == "pg_temp" {
		l.found.Temporary = append(l.found.Temporary, Mention{l.at, k})
	}
	if old := l.tables[k]; perhaps && old != nil && !old.gone {
		return
	}
	a := &ancestry{from: map[string]bool{}, cells: map[string]*cell{}}
	l.tables[k] = a
}

func (l *lineage) created(c *pg.CreateStmt) {
	if len(c.InhRelations) > 0 { // who reads a part or an heir reads rows of the whole
		l.tables[l.key(c.Relation)] = l.table(c.InhRelations[0].GetRangeVar())
		if l.partitions == nil {
			l.partitions = map[string]bool{}
		}
		l.partitions[l.key(c.Relation)] = true
		return
	}
	l.create(c.Relation, c.IfNotExists)
	a := l.table(c.Relation)
	if a.own || a.columns != nil {
		return // IF NOT EXISTS, and it does
	}
	for _, e := range c.TableElts {
		switch {
		case e.GetColumnDef() != nil:
			a.add(e.GetColumnDef().Colname)
		case e.GetTableLikeClause() != nil:
			like := l.table(e.GetTableLikeClause().Relation)
			for _, name := range like.columns {
				a.add(name)
			}
			if like.own { // its columns are not known by name
				a.columns = []string{"*" + l.moved[like]}
			}
		}
	}
}

func (a *ancestry) add(name string) *cell {
	c := &cell{name: name, fresh: a.own}
	if old := a.cells[name]; old != nil {
		old.gone = true
	}
	a.cells[name] = c
	if !a.own {
		a.columns = append(a.columns, name)
	}
	return c
}

func (l *lineage) altered(v *pg.AlterTableStmt) {
	switch v.Objtype {
	case pg.ObjectType_OBJECT_TABLE:
	default:
		return
	}
	for _, n := range v.Cmds {
		c := n.GetAlterTableCmd()
		a := l.table(v.Relation)
		a.touched = true
		switch c.Subtype {
		case pg.AlterTableType_AT_AddColumn:
			if !c.MissingOk || a.cells[c.GetDef().GetColumnDef().GetColname()] == nil && !a.own {
				added := a.add(c.GetDef().GetColumnDef().GetColname())
				for _, k := range c.GetDef().GetColumnDef().GetConstraints() {
					added.fresh = added.fresh && k.GetConstraint().GetContype() != pg.ConstrType_CONSTR_GENERATED
				}
			}
		case pg.AlterTableType_AT_DropColumn:
			if x := l.cell(v.Relation, c.Name); x != nil {
				x.gone = true
				a.cells[c.Name] = &cell{name: c.Name, gone: true}
			}
			a.columns = slices.DeleteFunc(a.columns, func(s string) bool { return s == c.Name })
		case pg.AlterTableType_AT_AlterColumnType:
			if x := l.cell(v.Relation, c.Name); x != nil && c.GetDef().GetColumnDef().GetRawDefault() != nil {
				if a.own && x.origin != nil && !castAlone(c.GetDef().GetColumnDef().GetRawDefault()) {
					l.found.Overwritten = append(l.found.Overwritten, Overwrite{l.at, *x.origin})
				}
				a.cells[c.Name] = x.changed()
			}
		case pg.AlterTableType_AT_DisableTrig:
			a.asleep = append(a.asleep, c.Name)
		case pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_DisableTrigUser:
			a.asleep = append(a.asleep, "*")
		case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_EnableTrigUser, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig:
			a.asleep = nil
		case pg.AlterTableType_AT_AttachPartition, pg.AlterTableType_AT_DetachPartition, pg.AlterTableType_AT_AddInherit:
			l.unread("rows come to or leave table "+v.GetRelation().GetRelname()+" by its partitions or children", "copy the rows into the partitioned table (INSERT … SELECT), or attach and detach after the switch")
		}
	}
}

// castAlone says whether an expression is a column, cast, by way of text at most.
func castAlone(n *pg.Node) bool {
	c := n.GetTypeCast()
	if c == nil {
		return false
	}
	for c.GetArg().GetTypeCast() != nil {
		c = c.GetArg().GetTypeCast()
		name := texts(c.GetTypeName().GetNames())
		if len(name) == 0 || len(c.GetTypeName().GetTypmods()) > 0 || !slices.Contains([]string{"text", "varchar"}, name[len(name)-1]) {
			return false
		}
	}
	return c.GetArg().GetColumnRef() != nil
}

// changed is the column with values of its own. What was copied to it before is no copy any more.
func (c *cell) changed() *cell {
	c.gone = true
	return &cell{name: c.name}
}

func (l *lineage) renamed(v *pg.RenameStmt) {
	switch v.RenameType {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW:
		l.move(v.Relation, &pg.RangeVar{Schemaname: v.GetRelation().GetSchemaname(), Relname: v.Newname})
	case pg.ObjectType_OBJECT_COLUMN:
		a := l.table(v.Relation)
		a.touched = true
		if c := l.cell(v.Relation, v.Subname); c != nil {
			c.name = v.Newname
			a.cells[v.Newname] = c
			a.cells[v.Subname] = &cell{name: v.Subname, gone: true}
		}
		for i, s := range a.columns {
			if s == v.Subname {
				a.columns[i] = v.Newname
			}
		}
	}
}

func (l *lineage) move(from, to *pg.RangeVar) {
	a := l.table(from)
	l.tables[l.key(from)] = &ancestry{from: map[string]bool{}, cells: map[string]*cell{}, gone: true}
	l.tables[l.key(to)] = a
}

// looks finds in a function's code what may look at rows or write them.
var looks = regexp.MustCompile(`(?is)\b(insert|update|delete|merge|truncate|copy|execute|perform|call)\b|\bselect\b.*\bfrom\b`)

// function notes one that the migrations make.
func (l *lineage) function(f *pg.CreateFunctionStmt) {
	name := f.Funcname[len(f.Funcname)-1].GetString_().GetSval()
	immutable, body := false, ""
	for _, o := range f.Options {
		switch d := o.GetDefElem(); d.GetDefname() {
		case "volatility":
			immutable = d.GetArg().GetString_().GetSval() == "immutable"
		case "as":
			body += strings.Join(texts(d.GetArg().GetList().GetItems()), " ")
		}
	}
	l.made[name] = !immutable
	l.writing[name] = f.SqlBody != nil || looks.MatchString(body) // a body of statements is not read
}

// viewOf: who reads a view reads its tables, and not by the view's columns.
func (l *lineage) viewOf(view *pg.RangeVar, query *pg.Node) {
	a := &ancestry{from: map[string]bool{}, cells: map[string]*cell{}, view: true}
	for _, r := range tablesIn(query) {
		maps.Copy(a.from, l.table(r).from)
	}
	l.tables[l.key(view)] = a
}

// end gives what was found, with the names that derived tables have by now.
func (l *lineage) end() Lineage {
	now := map[*ancestry]string{}
	for k, a := range l.tables {
		if !a.gone && !l.partitions[k] {
			now[a] = k
		}
	}
	for _, p := range l.rows {
		name, is := now[p.in]
		if !is {
			continue
		}
		p.Table, p.Copies = name, map[string]Origin{}
		for c, o := range p.copies {
			if !c.gone && p.in.cells[c.name] == c && (c.name != "*" || !p.in.touched) {
				p.Copies[c.name] = o
			}
		}
		l.found.Derived = append(l.found.Derived, p.Derived)
	}
	return l.found
}
