package sqlrewrite

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// marks are what the scripts of a folder have made, up to a statement, that makes one row's fate depend on another's. Tables are
// known by their names alone: one of the same name in another schema counts too.
type marks struct {
	why      map[string]string              // of a table: why no statement of its rows is cut into batches
	triggers map[string]map[string]bool     // of a table: names
	unique   map[string]map[string]bool     // of a table: columns of unique and exclusion keys
	itself   map[string]map[string]bool     // of a table: the columns of foreign keys to itself
	referred map[string]map[string]bool     // of a table: columns that foreign keys reference
	acts     map[string]map[string]struct{} // of a table: the tables whose foreign keys act on its deletes
	defaults map[string]map[string]*pg.Node // of a table that a script has made: its columns' defaults; "*": they are not all known
	filled   map[string]map[string]bool     // of a table: whether columns have a default
	named    map[string]bool                // functions and operators
	calls    map[string]map[string]bool     // of a table: functions that its checks, indexes and generated columns call
	casts    bool
	// partitioned are tables that have partitions.
	partitioned map[string]bool
	domains     map[string]Domain // that a script has made or changed
	deferred    map[string]Writes // of tables: what sets something off that is looked at when a transaction ends
}

func newMarks() *marks {
	return &marks{why: map[string]string{}, triggers: map[string]map[string]bool{}, unique: map[string]map[string]bool{}, itself: map[string]map[string]bool{},
		referred: map[string]map[string]bool{}, acts: map[string]map[string]struct{}{}, defaults: map[string]map[string]*pg.Node{}, filled: map[string]map[string]bool{}, calls: map[string]map[string]bool{}, named: map[string]bool{}, partitioned: map[string]bool{}, domains: map[string]Domain{}, deferred: map[string]Writes{}}
}

// clone shares the maps of each table, which [put] copies before it writes: folders have thousands of statements, and of tables.
func (m *marks) clone() *marks {
	return &marks{why: maps.Clone(m.why), triggers: maps.Clone(m.triggers), unique: maps.Clone(m.unique), itself: maps.Clone(m.itself), referred: maps.Clone(m.referred),
		acts: maps.Clone(m.acts), defaults: maps.Clone(m.defaults), filled: maps.Clone(m.filled), calls: maps.Clone(m.calls), named: maps.Clone(m.named), casts: m.casts, partitioned: maps.Clone(m.partitioned), domains: maps.Clone(m.domains), deferred: maps.Clone(m.deferred)}
}

func put[V any](m map[string]map[string]V, table string, v V, names ...string) {
	if own := maps.Clone(m[table]); own != nil {
		m[table] = own
	} else {
		m[table] = map[string]V{}
	}
	for _, n := range names {
		m[table][n] = v
	}
}

// after is what is there behind a statement.
func (m *marks) after(n *pg.Node) *marks {
	switch v := n.GetNode().(type) {
	case *pg.Node_CreateStmt, *pg.Node_AlterTableStmt, *pg.Node_IndexStmt, *pg.Node_CreateTrigStmt, *pg.Node_RuleStmt, *pg.Node_ViewStmt,
		*pg.Node_CreateFunctionStmt, *pg.Node_DefineStmt, *pg.Node_CreateCastStmt, *pg.Node_RenameStmt, *pg.Node_DropStmt, *pg.Node_CreateTableAsStmt,
		*pg.Node_CreateForeignTableStmt, *pg.Node_CreateDomainStmt, *pg.Node_AlterDomainStmt:
		next := m.clone()
		next.note(v)
		return next
	}
	return m
}

func (m *marks) note(n any) {
	switch v := n.(type) {
	case *pg.Node_CreateStmt:
		c, t := v.CreateStmt, v.CreateStmt.GetRelation().GetRelname()
		if !c.IfNotExists {
			m.forget(t)
		}
		if len(c.InhRelations) > 0 {
			m.why[t] = "it is a partition or inherits from another table"
			for _, p := range c.InhRelations {
				m.why[p.GetRangeVar().GetRelname()] = "it has partitions or children"
			}
		}
		if c.Partspec != nil {
			m.why[t], m.partitioned[t] = "it has partitions", true
		}
		put[*pg.Node](m.defaults, t, nil) // it has some, or none
		for _, e := range c.TableElts {
			m.constraint(t, e.GetConstraint(), "")
			m.defers(t, []*pg.Node{e})
			m.defers(t, e.GetColumnDef().GetConstraints())
			if d := e.GetColumnDef(); d != nil && !c.IfNotExists {
				put(m.filled, t, hasValue(d), d.Colname)
			}
			if e.GetTableLikeClause() != nil {
				put[*pg.Node](m.defaults, t, nil, "*")
			}
			for _, k := range e.GetColumnDef().GetConstraints() {
				m.constraint(t, k.GetConstraint(), e.GetColumnDef().GetColname())
			}
			if v := m.valueOf(e.GetColumnDef()); v != nil {
				put(m.defaults, t, v, e.GetColumnDef().GetColname())
			}
		}
	case *pg.Node_CreateForeignTableStmt:
		m.why[v.CreateForeignTableStmt.GetBaseStmt().GetRelation().GetRelname()] = "it is a foreign table"
	case *pg.Node_AlterTableStmt:
		m.altered(v.AlterTableStmt)
	case *pg.Node_IndexStmt:
		x := v.IndexStmt
		m.called(x.GetRelation().GetRelname(), x)
		if x.Unique {
			put(m.unique, x.GetRelation().GetRelname(), true, columnsOf(x)...)
		}
	case *pg.Node_CreateTrigStmt:
		put(m.triggers, v.CreateTrigStmt.GetRelation().GetRelname(), true, v.CreateTrigStmt.Trigname)
		if v.CreateTrigStmt.Initdeferred {
			m.deferred[v.CreateTrigStmt.GetRelation().GetRelname()] |= Writes(v.CreateTrigStmt.Events)
		}
	case *pg.Node_RuleStmt:
		m.why[v.RuleStmt.GetRelation().GetRelname()] = "it has the rule " + v.RuleStmt.Rulename
	case *pg.Node_ViewStmt:
		m.why[v.ViewStmt.GetView().GetRelname()] = "it is a view"
	case *pg.Node_CreateTableAsStmt:
		m.forget(v.CreateTableAsStmt.GetInto().GetRel().GetRelname())
	case *pg.Node_CreateFunctionStmt:
		if f := v.CreateFunctionStmt.Funcname; len(f) > 0 {
			m.named[f[len(f)-1].GetString_().GetSval()] = true
		}
	case *pg.Node_DefineStmt:
		if f := v.DefineStmt.Defnames; len(f) > 0 {
			m.named[f[len(f)-1].GetString_().GetSval()] = true
		}
	case *pg.Node_CreateCastStmt:
		m.casts = true
	case *pg.Node_CreateDomainStmt:
		m.domain(v.CreateDomainStmt)
	case *pg.Node_AlterDomainStmt:
		m.alteredDomain(v.AlterDomainStmt)
	case *pg.Node_RenameStmt:
		m.renamed(v.RenameStmt)
	case *pg.Node_DropStmt:
		m.dropped(v.DropStmt)
	}
}

func (m *marks) forget(t string) {
	delete(m.why, t)
	delete(m.partitioned, t)
	delete(m.triggers, t)
	delete(m.unique, t)
	delete(m.itself, t)
	delete(m.referred, t)
	delete(m.acts, t)
	delete(m.defaults, t)
	delete(m.filled, t)
	delete(m.calls, t)
	delete(m.deferred, t)
}

func (m *marks) constraint(t string, c *pg.Constraint, column string) {
	keys := texts(c.GetKeys())
	if column != "" {
		keys = append(keys, column)
	}
	switch c.GetContype() {
	case pg.ConstrType_CONSTR_CHECK, pg.ConstrType_CONSTR_GENERATED:
		m.called(t, c)
	case pg.ConstrType_CONSTR_PRIMARY, pg.ConstrType_CONSTR_UNIQUE:
		put(m.unique, t, true, keys...)
	case pg.ConstrType_CONSTR_EXCLUSION:
		m.called(t, c)
		walk(c, func(x any) {
			if e, ok := x.(*pg.IndexElem); ok && e.Name != "" {
				put(m.unique, t, true, e.Name)
			} else if r, ok := x.(*pg.ColumnRef); ok && len(r.Fields) > 0 {
				put(m.unique, t, true, r.Fields[len(r.Fields)-1].GetString_().GetSval())
			}
		})
	case pg.ConstrType_CONSTR_FOREIGN:
		own := texts(c.FkAttrs)
		if column != "" {
			own = []string{column}
		}
		to, at := c.GetPktable().GetRelname(), texts(c.PkAttrs)
		if len(at) == 0 {
			at = []string{"*"} // its primary key
		}
		put(m.referred, to, true, at...)
		if to == t {
			put(m.itself, t, true, append(own, at...)...)
		}
		if c.FkDelAction != "" && c.FkDelAction != "a" && c.FkDelAction != "r" {
			put(m.acts, to, struct{}{}, t)
		}
	}
}

// called notes what is called whenever a row of a table is written.
func (m *marks) called(t string, in proto.Message) {
	walk(in, func(x any) {
		if f, ok := x.(*pg.FuncCall); ok && len(f.Funcname) > 0 && f.Funcname[0].GetString_().GetSval() != "pg_catalog" {
			put(m.calls, t, true, f.Funcname[len(f.Funcname)-1].GetString_().GetSval())
		}
	})
}

// callsOf are the functions that are called when a row of a table, quoted as SQL, is written.
func (m *marks) callsOf(table string) []string {
	if m == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(m.calls[plain(table)]))
}

func (m *marks) altered(a *pg.AlterTableStmt) {
	t := a.GetRelation().GetRelname()
	for _, n := range a.Cmds {
		c := n.GetAlterTableCmd()
		m.defers(t, []*pg.Node{c.GetDef()})
		m.defers(t, c.GetDef().GetColumnDef().GetConstraints())
		switch c.GetSubtype() {
		case pg.AlterTableType_AT_AddConstraint:
			m.constraint(t, c.GetDef().GetConstraint(), "")
		case pg.AlterTableType_AT_AddColumn:
			if d := c.GetDef().GetColumnDef(); !c.MissingOk {
				put(m.filled, t, hasValue(d), d.GetColname())
			}
			for _, k := range c.GetDef().GetColumnDef().GetConstraints() {
				m.constraint(t, k.GetConstraint(), c.GetDef().GetColumnDef().GetColname())
			}
			if v := m.valueOf(c.GetDef().GetColumnDef()); v != nil && m.defaults[t] != nil {
				put(m.defaults, t, v, c.GetDef().GetColumnDef().GetColname())
			}
		case pg.AlterTableType_AT_AddIdentity:
			put(m.filled, t, true, c.Name)
		case pg.AlterTableType_AT_ColumnDefault:
			put(m.filled, t, c.Def != nil && !isNull(c.Def), c.Name)
			if m.defaults[t] != nil {
				put(m.defaults, t, c.GetDef(), c.Name)
			}
		case pg.AlterTableType_AT_AddInherit, pg.AlterTableType_AT_AttachPartition:
			m.why[t] = "it has a parent, children or partitions"
			walk(c, func(x any) {
				if r, ok := x.(*pg.RangeVar); ok {
					m.why[r.Relname] = "it has a parent, children or partitions"
				}
			})
		case pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_ForceRowSecurity:
			m.why[t] = "it has row security"
		}
	}
}

func (m *marks) renamed(r *pg.RenameStmt) {
	t := r.GetRelation().GetRelname()
	switch r.RenameType {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW:
		if w, ok := m.why[t]; ok {
			m.why[r.Newname], m.partitioned[r.Newname] = w, m.partitioned[t]
		}
		m.deferred[r.Newname] = m.deferred[t]
		for _, list := range []map[string]map[string]bool{m.triggers, m.unique, m.itself, m.referred, m.calls} {
			for k := range list[t] {
				put(list, r.Newname, true, k)
			}
		}
		if m.defaults[t] != nil {
			m.defaults[r.Newname] = m.defaults[t]
		}
		if m.filled[t] != nil {
			m.filled[r.Newname] = m.filled[t]
		}
		for k := range m.acts[t] {
			put(m.acts, r.Newname, struct{}{}, k)
		}
	case pg.ObjectType_OBJECT_DOMAIN, pg.ObjectType_OBJECT_TYPE:
		if names := texts(r.GetObject().GetList().GetItems()); len(names) > 0 {
			if d, is := m.domains[names[len(names)-1]]; is {
				m.domains[r.Newname] = d
			}
		}
	case pg.ObjectType_OBJECT_COLUMN:
		if has, known := m.filled[t][r.Subname]; known {
			put(m.filled, t, has, r.Newname)
			delete(m.filled[t], r.Subname)
		}
		for _, list := range []map[string]map[string]bool{m.unique, m.itself, m.referred} {
			if list[t][r.Subname] {
				put(list, t, true, r.Newname)
			}
		}
	}
}

func (m *marks) dropped(d *pg.DropStmt) {
	for _, o := range d.Objects {
		items := o.GetList().GetItems()
		if d.RemoveType == pg.ObjectType_OBJECT_TRIGGER && len(items) > 1 {
			t := items[len(items)-2].GetString_().GetSval()
			m.triggers[t] = maps.Clone(m.triggers[t])
			delete(m.triggers[t], items[len(items)-1].GetString_().GetSval())
		} else if d.RemoveType == pg.ObjectType_OBJECT_TABLE || d.RemoveType == pg.ObjectType_OBJECT_VIEW {
			m.forget(rangeVar(o).GetRelname())
		}
	}
}

// columnsOf are all columns that an index has to do with.
func columnsOf(x *pg.IndexStmt) []string {
	var list []string
	walk(x, func(n any) {
		switch v := n.(type) {
		case *pg.IndexElem:
			if v.Name != "" {
				list = append(list, v.Name)
			}
		case *pg.ColumnRef:
			if len(v.Fields) > 0 {
				list = append(list, v.Fields[len(v.Fields)-1].GetString_().GetSval())
			}
		}
	})
	return list
}

// unlike says why an INSERT in batches may give columns that it doesn't name other values than one in one go: only of tables that a
// script has made, of others the catalog tells.
func (m *marks) unlike(a Ask) string {
	if m == nil {
		return ""
	}
	for column, value := range m.defaults[plain(a.Into)] {
		if column == "*" {
			return "defaults of its table come from another"
		}
		if slices.Contains(a.Assigned, column) || value == nil {
			continue
		}
		same := clone(value)
		pinned(same)
		if _, why := rowLocal(unnumbered(value), false); why != "" || !proto.Equal(same, value) {
			return fmt.Sprintf("the default of %s may differ between batches", column)
		}
	}
	return ""
}

// hasDefault: what the scripts say of a column; known is false where they say nothing.
func (m *marks) hasDefault(table, column string) (has, known bool) {
	if m == nil {
		return false, false
	}
	has, known = m.filled[table][column]
	return has, known
}

// plain is a table's own name, of one that is quoted and perhaps qualified.
func plain(t string) string {
	parts := strings.Split(t, `"."`)
	return strings.ReplaceAll(strings.Trim(parts[len(parts)-1], `"`), `""`, `"`)
}

// against says why a statement isn't cut into batches, as far as the folder's scripts tell.
func (m *marks) against(a Ask) string {
	if m == nil {
		return ""
	}
	changed := plain(a.changed())
	for _, t := range append([]string{changed, plain(a.Table)}, a.Reads...) {
		if t = plain(t); m.why[t] != "" {
			return fmt.Sprintf("of %s: %s", t, m.why[t])
		}
	}
	if a.Kind != Fill && len(m.triggers[changed]) > 0 {
		return fmt.Sprintf("%s has triggers, which may look at other rows", changed)
	}
	for _, c := range a.Assigned {
		if a.Kind == Update && (m.unique[changed][c] || m.itself[changed][c] || m.referred[changed][c] || m.referred[changed]["*"] && m.unique[changed][c]) {
			return fmt.Sprintf("%s.%s is part of a key: rows of two batches may meet in it", changed, c)
		}
	}
	if (a.Kind == Delete || a.Kind == Insert) && len(m.itself[changed]) > 0 {
		return changed + " has a foreign key to itself"
	}
	if a.Kind == Delete {
		for child := range m.acts[changed] {
			if len(m.triggers[child]) > 0 || m.why[child] != "" || len(m.referred[child]) > 0 ||
				slices.ContainsFunc(a.Reads, func(r string) bool { return plain(r) == child }) {
				return fmt.Sprintf("deleting rows of %s changes %s, on which more hangs", changed, child)
			}
		}
	}
	for _, n := range m.callsOf(a.changed()) {
		if m.named[n] {
			return fmt.Sprintf("a constraint, an index or a column of %s calls %s", changed, n)
		}
	}
	for _, n := range slices.Concat(a.Functions, a.Operators, a.Columns) {
		if m.named[n] {
			return n + " is also a function or an operator of a script's own"
		}
	}
	if m.casts {
		return "there is a cast that calls a function"
	}
	return ""
}
