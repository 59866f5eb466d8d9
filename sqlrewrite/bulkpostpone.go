package sqlrewrite

import (
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// postponed is the building of an index, or the validation of a foreign key, that waits.
type postponed struct {
	command    Command
	table      string
	name       string
	columns    map[string]bool // that the index or the key is made of
	unique     bool
	computed   bool   // an index of expressions, or with a condition
	foreign    bool   // a foreign key
	parent     string // that it points to
	referenced map[string]bool
}

// verdict is what a statement means for something postponed before it.
type verdict int

const (
	keep   verdict = iota // it may go on waiting
	now                   // it must be done before the statement
	cancel                // neither it nor the statement needs to be done
)

// postpone gives the tasks: one for each script, and behind them the late ones.
func (b *bulk) postpone() []Task {
	p := &postponer{bulk: b, indexes: maps.Clone(b.catalog.Indexes)}
	if p.indexes == nil {
		p.indexes = map[string]string{}
	}
	var tasks []Task
	script := -1
	for _, it := range b.items {
		if it.gone {
			continue
		}
		commands := p.take(it)
		if len(commands) == 0 {
			continue
		}
		if it.script != script || len(tasks) == 0 {
			tasks, script = append(tasks, Task{}), it.script
		}
		t := &tasks[len(tasks)-1]
		t.Commands = append(t.Commands, commands...)
	}
	return append(tasks, p.late()...)
}

type postponer struct {
	*bulk
	waiting []*postponed
	indexes map[string]string // to their tables, at this point
}

// take gives the commands to run for an item: what can't wait any more, and the item itself unless it waits.
func (p *postponer) take(it *item) []Command {
	var commands []Command
	cancelled := false
	p.waiting = slices.DeleteFunc(p.waiting, func(w *postponed) bool {
		switch p.verdict(w, it) {
		case now:
			c := w.command
			if !w.foreign {
				c.Note = "put off"
			}
			commands = append(commands, c)
			return true
		case cancel:
			cancelled = true
			return true
		}
		return false
	})
	defer p.learn(it.st.node)
	if cancelled {
		return commands
	}
	if w, instead := p.wait(it); w != nil {
		p.waiting = append(p.waiting, w)
		if instead != "" {
			c := it.command()
			c.SQL, c.Note = instead, "validated at the end"
			commands = append(commands, c)
		}
		return commands
	}
	return append(commands, it.command())
}

// learn keeps the names of indexes up to date.
func (p *postponer) learn(n *pg.Node) {
	if x := n.GetIndexStmt(); x != nil && x.Idxname != "" {
		if table, ok := p.local(x.Relation); ok {
			p.indexes[x.Idxname] = table
		}
	}
	if d := n.GetDropStmt(); d != nil && d.RemoveType == pg.ObjectType_OBJECT_INDEX {
		for _, o := range d.Objects {
			delete(p.indexes, rangeVar(o).Relname)
		}
	}
}

// wait says whether the item can wait; instead is what is done in its place meanwhile.
func (p *postponer) wait(it *item) (_ *postponed, instead string) {
	if p.catalog.Watched || it.sql != "" {
		return nil, ""
	}
	if x := it.st.node.GetIndexStmt(); x != nil {
		table, _, plain := it.before.table(x.Relation)
		if _, taken := p.indexes[x.Idxname]; !plain || x.Idxname == "" || taken || x.Concurrent {
			return nil, ""
		}
		w := &postponed{command: it.command(), table: table, name: x.Idxname, columns: indexColumns(x), unique: x.Unique, computed: x.WhereClause != nil}
		for _, e := range x.IndexParams {
			w.computed = w.computed || e.GetIndexElem().GetExpr() != nil
		}
		w.command.Note = "at the end"
		return w, ""
	}
	a := it.st.node.GetAlterTableStmt()
	if len(a.GetCmds()) != 1 || a.Objtype != pg.ObjectType_OBJECT_TABLE || a.MissingOk {
		return nil, ""
	}
	table, _, plain := it.before.table(a.Relation)
	c := a.Cmds[0].GetAlterTableCmd()
	k := c.GetDef().GetConstraint()
	if !plain || c.GetSubtype() != pg.AlterTableType_AT_AddConstraint || k.GetContype() != pg.ConstrType_CONSTR_FOREIGN || k.Conname == "" || k.SkipValidation {
		return nil, ""
	}
	parent, ok := p.local(k.Pktable)
	if !ok {
		return nil, ""
	}
	w := &postponed{command: it.command(), table: table, name: k.Conname, columns: set(texts(k.FkAttrs)), foreign: true, parent: parent, referenced: set(texts(k.PkAttrs))}
	w.command.SQL = "ALTER TABLE " + p.bare(table) + " VALIDATE CONSTRAINT " + ident(name{name: k.Conname})
	w.command.Note = "validated"
	instead = it.st.SQL + " NOT VALID"
	if _, err := pg.Parse(instead); err != nil {
		return nil, ""
	}
	return w, instead
}

func set(list []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return m
}

func overlap(a, b map[string]bool) bool {
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}

// indexColumns are all columns that an index is made of, in expressions too.
func indexColumns(x *pg.IndexStmt) map[string]bool {
	m := map[string]bool{}
	walk(x, func(n any) {
		switch v := n.(type) {
		case *pg.IndexElem:
			if v.Name != "" {
				m[v.Name] = true
			}
		case *pg.ColumnRef:
			for _, f := range texts(v.Fields) {
				m[f] = true
			}
		}
	})
	return m
}

// chosen says whether Postgres may choose a name for something of a table, if it is free.
func chosen(name string, t *pg.RangeVar) bool {
	begin := t.GetRelname()
	return strings.HasPrefix(name, begin[:min(len(begin), maxName/2)])
}

// verdict: what isn't known to leave w alone wants it done first.
func (p *postponer) verdict(w *postponed, it *item) verdict {
	n := it.st.node
	switch v := n.GetNode().(type) {
	case *pg.Node_IndexStmt:
		return when(v.IndexStmt.Idxname == w.name || v.IndexStmt.Idxname == "" && (v.IndexStmt.GetRelation().GetRelname() == w.table || chosen(w.name, v.IndexStmt.Relation)))
	case *pg.Node_DropStmt:
		return p.drop(w, v.DropStmt)
	case *pg.Node_AlterTableStmt:
		return p.alter(w, v.AlterTableStmt)
	case *pg.Node_RenameStmt:
		r := v.RenameStmt
		switch r.RenameType {
		case pg.ObjectType_OBJECT_COLUMN:
			mine := r.GetRelation().GetRelname() == w.table
			return when(mine && !w.foreign && w.columns[r.Subname] || r.RelationType != pg.ObjectType_OBJECT_TABLE)
		case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_INDEX:
			from := r.GetRelation().GetRelname()
			return when(from == w.table || from == w.parent || from == w.name || r.Newname == w.name)
		}
		return now
	case *pg.Node_CreateStmt:
		found := false
		walk(v.CreateStmt, func(m any) {
			if k, ok := m.(*pg.Constraint); ok && k.Contype == pg.ConstrType_CONSTR_FOREIGN {
				found = found || p.needs(w, k)
			}
			_, like := m.(*pg.TableLikeClause) // it takes indexes along
			found = found || like
		})
		return when(found || chosen(w.name, v.CreateStmt.Relation) || v.CreateStmt.GetRelation().GetRelname() == w.name || len(v.CreateStmt.InhRelations) > 0)
	case *pg.Node_InsertStmt:
		to, _, plain := it.before.table(v.InsertStmt.Relation)
		reads := p.reads(n, v.InsertStmt.Relation)
		return when(!plain || to == w.table && w.unique || w.foreign && to == w.parent || !w.foreign && reads[w.table])
	case *pg.Node_UpdateStmt:
		return p.update(w, it, v.UpdateStmt)
	}
	return now
}

func when(must bool) verdict {
	if must {
		return now
	}
	return keep
}

func (p *postponer) drop(w *postponed, d *pg.DropStmt) verdict {
	switch d.RemoveType {
	case pg.ObjectType_OBJECT_INDEX:
		for _, o := range d.Objects {
			name, ok := p.local(rangeVar(o))
			if !ok {
				return now
			}
			if name == w.name && !w.foreign {
				if len(d.Objects) == 1 && !w.unique && !w.computed { // or it looks at rows, and may refuse one
					return cancel
				}
				return now
			}
			if of, known := p.indexes[name]; d.Behavior == pg.DropBehavior_DROP_CASCADE && w.foreign && (!known || of == w.parent) {
				return now
			}
		}
		return keep
	case pg.ObjectType_OBJECT_TABLE:
		for _, o := range d.Objects {
			if name := rangeVar(o).Relname; name == w.table || name == w.parent {
				return now
			}
		}
		return when(d.Behavior == pg.DropBehavior_DROP_CASCADE)
	}
	return now
}

func (p *postponer) alter(w *postponed, a *pg.AlterTableStmt) verdict {
	name, ok := p.local(a.Relation)
	if !ok || a.Objtype != pg.ObjectType_OBJECT_TABLE {
		return now
	}
	mine, parents := name == w.table, w.foreign && name == w.parent
	for _, n := range a.Cmds {
		c := n.GetAlterTableCmd()
		must := false
		switch c.GetSubtype() {
		case pg.AlterTableType_AT_ColumnDefault, pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_DropNotNull, pg.AlterTableType_AT_SetStatistics:
		case pg.AlterTableType_AT_AddColumn:
			for _, k := range c.GetDef().GetColumnDef().GetConstraints() {
				switch k.GetConstraint().GetContype() {
				case pg.ConstrType_CONSTR_DEFAULT, pg.ConstrType_CONSTR_NULL, pg.ConstrType_CONSTR_NOTNULL:
				default:
					must = true
				}
			}
		case pg.AlterTableType_AT_AddConstraint:
			k := c.GetDef().GetConstraint()
			switch k.GetContype() {
			case pg.ConstrType_CONSTR_FOREIGN:
				must = p.needs(w, k)
			case pg.ConstrType_CONSTR_CHECK:
			default: // it makes an index, whose name is chosen among those that are free
				must = !w.foreign && (mine && k.Indexname != "" || k.Conname == w.name || strings.HasPrefix(w.name, constraintName(name, k, 0, false)))
			}
		case pg.AlterTableType_AT_DropConstraint:
			must = mine && c.Name == w.name || parents && c.Behavior == pg.DropBehavior_DROP_CASCADE
		case pg.AlterTableType_AT_DropColumn:
			must = mine && w.columns[c.Name] || parents && (w.referenced[c.Name] || len(w.referenced) == 0) || c.Behavior == pg.DropBehavior_DROP_CASCADE
		case pg.AlterTableType_AT_AlterColumnType:
			must = mine && w.columns[c.Name] || parents
		default:
			must = true
		}
		if must {
			return now
		}
	}
	return keep
}

// needs: a new foreign key may rest on the unique index that waits.
func (p *postponer) needs(w *postponed, k *pg.Constraint) bool {
	return w.unique && k.GetPktable().GetRelname() == w.table && maps.Equal(w.columns, set(texts(k.PkAttrs)))
}

func (p *postponer) update(w *postponed, it *item, u *pg.UpdateStmt) verdict {
	name, t, plain := it.before.table(u.Relation)
	if !plain {
		return now
	}
	written := it.writes
	if written == nil {
		written = map[string]bool{}
		for _, n := range u.TargetList {
			written[n.GetResTarget().GetName()] = true
		}
	}
	if overlap(written, t.Referenced) {
		return now // the rows that point here are looked up
	}
	switch {
	case w.foreign:
		return when(name == w.table && overlap(written, w.columns) || name == w.parent && (len(w.referenced) == 0 || overlap(written, w.referenced)))
	case name == w.table:
		return when((w.unique || w.computed) && overlap(written, w.columns) || p.reads(it.st.node, u.Relation)[w.table])
	}
	return when(p.reads(it.st.node, u.Relation)[w.table])
}

// late gives what still waits: a task for each index, and one for the foreign keys of each table, whose validations would
// only wait for each other.
func (p *postponer) late() []Task {
	var tasks []Task
	keys := map[string]int{}
	for _, w := range p.waiting {
		if !w.foreign {
			tasks = append(tasks, Task{Late: true, Table: w.table, Commands: []Command{w.command}})
		}
	}
	for _, w := range p.waiting {
		if !w.foreign {
			continue
		}
		at, ok := keys[w.table]
		if !ok {
			at, keys[w.table] = len(tasks), len(tasks)
			tasks = append(tasks, Task{Late: true, Table: w.table})
		}
		tasks[at].Commands = append(tasks[at].Commands, w.command)
	}
	return tasks
}
