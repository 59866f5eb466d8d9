package sqlrewrite

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A copy is INSERT … SELECT of a table in use into a table of the script's own, behind which the script takes away what it
// has copied: columns that move to another table. While a server goes on writing the old place, triggers write the new one
// too. They are there before the batches that copy the rows, and go in the transaction that removes the old place, so that
// no write is missed. A row that the batches find there already is newer than what they read.
type rowCopy struct {
	insert *pg.InsertStmt // as the script has it
	source *pg.RangeVar
	key    []string // the target's
}

// copySuffix ends the job of a back-fill whose rows are kept up to date by triggers.
const copySuffix = ":copy"

// withCopies puts triggers around the copies of a script.
func (l *live) withCopies(list []*Statement) []*Statement {
	found := copies(list)
	for _, st := range list {
		c, ok := found[st]
		if !ok {
			continue
		}
		end := l.text(st, c.endSQL())
		for i, other := range list {
			if c.endsWith(other) && i > slices.Index(list, st) {
				if other.node.GetDropStmt() != nil {
					i++ // the triggers go with their table
				}
				list = slices.Insert(slices.Clone(list), i, end)
				break
			}
		}
		i := slices.Index(list, st)
		fill := l.made(st, c.fill())
		fill.copied = true
		list = slices.Replace(slices.Clone(list), i, i+1, l.text(st, c.beginSQL()), fill)
	}
	setScopes(list)
	return list
}

// copies finds the copies of a script.
func copies(list []*Statement) map[*Statement]rowCopy {
	found, taken := map[*Statement]rowCopy{}, map[string]bool{}
	for i, st := range list {
		c, ok := copyOf(st, list[:i])
		if ok && taken[c.name()] {
			return nil // rows of two tables in one: whose row it is can't be told
		}
		end := slices.IndexFunc(list[i+1:], c.endsWith)
		if ok && end >= 0 && !slices.ContainsFunc(list[i+1:][:end], c.meets) {
			found[st], taken[c.name()] = c, true
		}
	}
	return found
}

func copyOf(st *Statement, before []*Statement) (c rowCopy, ok bool) {
	i := st.node.GetInsertStmt()
	q := i.GetSelectStmt().GetSelectStmt()
	if i == nil || q == nil || i.OnConflictClause != nil || len(q.FromClause) != 1 || q.WhereClause != nil || !st.scope.fresh(i.Relation) || !pureCalls(st.node) {
		return c, false
	}
	if _, why := inBatches(st); why != "" {
		return c, false
	}
	c = rowCopy{insert: i, source: q.FromClause[0].GetRangeVar(), key: primaryKey(before, nameOf(i.Relation))}
	if c.source == nil || c.source.GetAlias() != nil || st.scope.fresh(c.source) {
		return c, false
	}
	_, ok = c.from()
	return c, ok
}

// primaryKey is that of a table that one of the statements creates.
func primaryKey(list []*Statement, t name) []string {
	for _, st := range list {
		create := st.node.GetCreateStmt()
		if create == nil || nameOf(create.Relation) != t {
			continue
		}
		for _, e := range create.TableElts {
			if k := e.GetConstraint(); k.GetContype() == pg.ConstrType_CONSTR_PRIMARY {
				return texts(k.Keys)
			}
			for _, k := range e.GetColumnDef().GetConstraints() {
				if k.GetConstraint().GetContype() == pg.ConstrType_CONSTR_PRIMARY {
					return []string{e.GetColumnDef().Colname}
				}
			}
		}
	}
	return nil
}

// endsWith: the statement takes away all that was copied, but for the key: nobody can write the old place from then on.
func (c rowCopy) endsWith(st *Statement) bool {
	if d := st.node.GetDropStmt(); d.GetRemoveType() == pg.ObjectType_OBJECT_TABLE {
		return slices.ContainsFunc(d.Objects, func(o *pg.Node) bool { return nameOf(rangeVar(o)) == nameOf(c.source) })
	}
	a := st.node.GetAlterTableStmt()
	if a == nil || nameOf(a.Relation) != nameOf(c.source) {
		return false
	}
	var gone []string
	for _, n := range a.Cmds {
		if cmd := n.GetAlterTableCmd(); cmd.GetSubtype() == pg.AlterTableType_AT_DropColumn {
			gone = append(gone, cmd.Name)
		}
	}
	key, _ := c.from()
	return len(gone) > 0 && !slices.ContainsFunc(c.reads(), func(column string) bool { return !slices.Contains(key, column) && !slices.Contains(gone, column) })
}

// meets: the statement writes rows of one of the two places, or it can't be seen whether it does: what it does to the old one must
// not reach the new one, and the other way round. Or it takes away, or calls otherwise, what the triggers name.
func (c rowCopy) meets(st *Statement) bool {
	found := false
	walk(st.node, func(m any) {
		var t *pg.RangeVar
		switch v := m.(type) {
		case *pg.UpdateStmt:
			t = v.Relation
		case *pg.DeleteStmt:
			t = v.Relation
		case *pg.InsertStmt:
			t = v.Relation
		case *pg.MergeStmt:
			t = v.Relation
		case *pg.CopyStmt:
			t = v.Relation
		case *pg.CreateTrigStmt:
			t = v.Relation
		case *pg.RenameStmt:
			t = v.Relation
		case *pg.AlterObjectSchemaStmt:
			t = v.Relation
		case *pg.AlterTableStmt:
			if slices.ContainsFunc(v.Cmds, func(n *pg.Node) bool { return takesAway[n.GetAlterTableCmd().GetSubtype()] }) {
				t = v.Relation
			}
		case *pg.DropStmt:
			for _, o := range v.Objects {
				found = found || rangeVar(o).Relname == c.insert.GetRelation().GetRelname()
			}
		case *pg.RuleStmt:
			t = v.Relation
		case *pg.TruncateStmt, *pg.DoStmt, *pg.CallStmt:
			found = true
		case *pg.SelectStmt:
			found = found || !pureCalls(st.node)
		}
		found = found || t != nil && (t.Relname == c.source.GetRelname() || t.Relname == c.insert.GetRelation().GetRelname())
	})
	return found
}

// takesAway are the parts of ALTER TABLE after which a trigger may not find what it writes, or which one that is there forbids.
var takesAway = map[pg.AlterTableType]bool{pg.AlterTableType_AT_DropColumn: true, pg.AlterTableType_AT_AlterColumnType: true, pg.AlterTableType_AT_DropConstraint: true,
	pg.AlterTableType_AT_AddIdentity: true, pg.AlterTableType_AT_SetIdentity: true, pg.AlterTableType_AT_SetExpression: true}

// from are the source's columns that the key is made of; false: it is made of something else.
func (c rowCopy) from() (columns []string, ok bool) {
	q := c.insert.GetSelectStmt().GetSelectStmt()
	if len(c.insert.Cols) != len(q.TargetList) {
		return nil, false
	}
	for _, k := range c.key {
		i := slices.IndexFunc(c.insert.Cols, func(n *pg.Node) bool { return n.GetResTarget().GetName() == k })
		if i < 0 {
			return nil, false
		}
		fields := q.TargetList[i].GetResTarget().GetVal().GetColumnRef().GetFields()
		if len(fields) == 0 || fields[len(fields)-1].GetString_() == nil {
			return nil, false
		}
		columns = append(columns, fields[len(fields)-1].GetString_().GetSval())
	}
	return columns, len(columns) > 0
}

// reads are the source's columns that the copy is made of.
func (c rowCopy) reads() []string {
	var columns []string
	walk(c.insert.SelectStmt, func(m any) {
		if r, ok := m.(*pg.ColumnRef); ok && len(r.Fields) > 0 {
			if n := r.Fields[len(r.Fields)-1].GetString_().GetSval(); n != "" && !slices.Contains(columns, n) {
				columns = append(columns, n)
			}
		}
	})
	return columns
}

// fill copies the rows that are there. The locks keep a row from being deleted until its copy is committed.
func (c rowCopy) fill() *pg.Node {
	i := clone(c.insert)
	i.OnConflictClause = &pg.OnConflictClause{Action: pg.OnConflictAction_ONCONFLICT_NOTHING}
	q := i.GetSelectStmt().GetSelectStmt()
	q.LockingClause = []*pg.Node{{Node: &pg.Node_LockingClause{LockingClause: &pg.LockingClause{
		Strength: pg.LockClauseStrength_LCS_FORKEYSHARE, WaitPolicy: pg.LockWaitPolicy_LockWaitBlock}}}}
	return &pg.Node{Node: &pg.Node_InsertStmt{InsertStmt: i}}
}

func (c rowCopy) name() string {
	return objectName("tideover_"+c.insert.GetRelation().GetRelname(), "", "copy")
}

// beginSQL makes the triggers. What is inserted and changed is written to the new place at COMMIT: if the new server
// writes both places itself, its own row is there by then, and stays. The function has its owner's rights: the old
// server need not know the new table.
func (c rowCopy) beginSQL() string {
	insert, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: &pg.Node{Node: &pg.Node_InsertStmt{InsertStmt: c.insert}}}}})
	if err != nil {
		return "" // it was deparsed before, for the batches
	}
	from, _ := c.from()
	list := func(of string, columns []string) string {
		var all []string
		for _, column := range columns {
			all = append(all, of+ident(name{name: column}))
		}
		return strings.Join(all, ", ")
	}
	row := func(of string, columns []string) string { return "(" + list(of, columns) + ")" }
	target := ident(nameOf(c.insert.Relation))
	var set []string
	for _, n := range c.insert.Cols {
		if column := n.GetResTarget().GetName(); !slices.Contains(c.key, column) {
			q := ident(name{name: column})
			set = append(set, q+" = excluded."+q)
		}
	}
	changed := "NOTHING"
	if len(set) > 0 {
		changed = "UPDATE SET " + strings.Join(set, ", ")
	}
	one := insert + " WHERE " + row(ident(nameOf(c.source))+".", from) + " = " + row("NEW.", from) + " ON CONFLICT " + row("", c.key) + " DO "
	gone := "DELETE FROM " + target + " WHERE " + row("", c.key) + " = " + row("OLD.", from)
	function := fmt.Sprintf(`BEGIN
    IF TG_OP = 'DELETE' THEN
        %[1]s;
        RETURN OLD;
    ELSIF TG_OP = 'INSERT' THEN
        %[2]sNOTHING;
    ELSE
        IF %[4]s IS DISTINCT FROM %[5]s THEN
            %[1]s;
        END IF;
        %[2]s%[3]s;
    END IF;
    RETURN NEW;
END`, gone, one, changed, "ROW"+row("OLD.", from), "ROW"+row("NEW.", from))
	return block(fmt.Sprintf(`DECLARE
    v_copy constant text := %[1]s;
    v_table constant text := %[2]s;
    v_key constant text := %[3]s;
    v_insert constant text := %[4]s;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
    EXECUTE pg_catalog.format('CREATE FUNCTION %%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER `+asOurs+` AS %%L', v_copy, %[5]s);
    EXECUTE pg_catalog.format('CREATE CONSTRAINT TRIGGER %%I AFTER INSERT OR UPDATE OF %%s ON %%s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION %%1$I()', v_copy, %[6]s, v_table);
    EXECUTE pg_catalog.format('CREATE TRIGGER %%I BEFORE DELETE ON %%s FOR EACH ROW EXECUTE FUNCTION %%I()', v_copy || '_del', v_table, v_copy);
END`, quoted(c.name()), quoted(ident(nameOf(c.source))), quoted(list("", c.key)), quoted(insert), quoted(function), quoted(list("", c.reads()))))
}

// endSQL takes the triggers away.
func (c rowCopy) endSQL() string { return copyEnd(c.name(), ident(nameOf(c.source))) }

func copyEnd(copied, table string) string {
	return block(fmt.Sprintf(`DECLARE
    v_copy constant text := %s;
    v_table constant text := %s;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
    IF pg_catalog.to_regclass(v_table) IS NOT NULL THEN
        EXECUTE pg_catalog.format('DROP TRIGGER %%I ON %%s', v_copy, v_table);
        EXECUTE pg_catalog.format('DROP TRIGGER %%I ON %%s', v_copy || '_del', v_table);
    END IF;
    EXECUTE pg_catalog.format('DROP FUNCTION %%I()', v_copy);
END`, quoted(copied), quoted(table)))
}

// isCopyBegin and isCopyEnd recognize our blocks, and give the table that they lock.
func isCopyBegin(st *Statement) (t *pg.RangeVar, ok bool) {
	if st.node.GetDoStmt() == nil {
		return nil, false
	}
	insert, okInsert := declared(st.SQL, "v_insert")
	key, okKey := declared(st.SQL, "v_key")
	if !okInsert || !okKey {
		return nil, false
	}
	tree, err := pg.Parse(insert)
	if err != nil || len(tree.Stmts) != 1 {
		return nil, false
	}
	keys, err := pg.Parse("SELECT " + key)
	if err != nil || len(keys.Stmts) != 1 {
		return nil, false
	}
	c := rowCopy{insert: tree.Stmts[0].Stmt.GetInsertStmt()}
	q := c.insert.GetSelectStmt().GetSelectStmt()
	if len(q.GetFromClause()) != 1 {
		return nil, false
	}
	c.source = q.FromClause[0].GetRangeVar()
	for _, n := range keys.Stmts[0].Stmt.GetSelectStmt().GetTargetList() {
		if f := n.GetResTarget().GetVal().GetColumnRef().GetFields(); len(f) == 1 {
			c.key = append(c.key, f[0].GetString_().GetSval())
		}
	}
	if _, ok := c.from(); !ok || c.source == nil {
		return nil, false
	}
	return c.source, c.beginSQL() == st.SQL
}

func isCopyEnd(st *Statement) (t *pg.RangeVar, ok bool) {
	if st.node.GetDoStmt() == nil {
		return nil, false
	}
	copied, okCopied := declared(st.SQL, "v_copy")
	of, okOf := declared(st.SQL, "v_table")
	if !okCopied || !okOf || copyEnd(copied, of) != st.SQL {
		return nil, false
	}
	return table(of)
}
