package sqlrewrite

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// detach takes a partition off without blocking its siblings. DETACH CONCURRENTLY leaves a CHECK of the partition's bounds
// behind unless there is one already, and would choose its name: so that ours goes before it, and is dropped behind it.
// Source: manual, ALTER TABLE, DETACH PARTITION.
func (l *live) detach(st *Statement, a *pg.AlterTableStmt, sc *scope, noTx bool) []unit {
	if noTx || len(a.Cmds) != 1 || sc.fresh(a.Relation) {
		return nil
	}
	c := a.Cmds[0].GetAlterTableCmd()
	p := c.GetDef().GetPartitionCmd()
	if c.GetSubtype() != pg.AlterTableType_AT_DetachPartition || p.GetConcurrent() || sc.fresh(p.GetName()) {
		return nil
	}
	own := clone(a)
	own.Cmds[0].GetAlterTableCmd().GetDef().GetPartitionCmd().Concurrent = true
	detach := l.made(st, &pg.Node{Node: &pg.Node_AlterTableStmt{AlterTableStmt: own}})
	x := &alteration{live: l, st: st, table: p.Name}
	check := boundsName(p.Name)
	return []unit{
		{[]*Statement{l.text(st, boundsSQL(p.Name))}, alone},
		x.unit(alone, command(pg.AlterTableType_AT_ValidateConstraint, check, nil)),
		{[]*Statement{l.text(st, finalizeSQL(a.Relation, p.Name)), detach}, outside},
		x.unit(alone, command(pg.AlterTableType_AT_DropConstraint, check, nil)),
	}
}

func boundsName(t *pg.RangeVar) string { return objectName("tideover_"+t.GetRelname(), "", "bounds") }

// boundsSQL adds the partition's bounds as a CHECK, not validated yet. Run again it does nothing.
func boundsSQL(t *pg.RangeVar) string {
	return block(fmt.Sprintf(`DECLARE
    v_part constant text := %s;
    v_check constant pg_catalog.name := %s;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = v_part::pg_catalog.regclass AND conname = v_check) THEN
        EXECUTE pg_catalog.format('ALTER TABLE %%s ADD CONSTRAINT %%I CHECK (%%s) NOT VALID', v_part, v_check,
            pg_catalog.pg_get_partition_constraintdef(v_part::pg_catalog.regclass));
    END IF;
END`, quoted(ident(nameOf(t))), quoted(boundsName(t))))
}

// finalizeSQL ends a DETACH CONCURRENTLY that was interrupted; the one behind it then finds nothing to do.
func finalizeSQL(parent, t *pg.RangeVar) string {
	return block(fmt.Sprintf(`DECLARE
    v_parent constant text := %s;
    v_part constant text := %s;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = v_part::pg_catalog.regclass AND i.inhdetachpending) THEN
        PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
        EXECUTE 'ALTER TABLE ' || v_parent || ' DETACH PARTITION ' || v_part || ' FINALIZE';
    END IF;
END`, quoted(ident(nameOf(parent))), quoted(ident(nameOf(t)))))
}

// isDetach: st is the first of the two statements that take a partition off.
func isDetach(st, next *Statement) bool {
	parent, p, ok := next.Detached()
	return ok && st.SQL == finalizeSQL(parent, p)
}

// Detached tells of a DETACH PARTITION CONCURRENTLY which partition it takes off: run again after it was done, it would
// be an error.
func (st *Statement) Detached() (parent, part *pg.RangeVar, ok bool) {
	if st == nil {
		return nil, nil, false
	}
	a := st.node.GetAlterTableStmt()
	if len(a.GetCmds()) != 1 {
		return nil, nil, false
	}
	c := a.Cmds[0].GetAlterTableCmd()
	p := c.GetDef().GetPartitionCmd()
	return a.Relation, p.GetName(), c.GetSubtype() == pg.AlterTableType_AT_DetachPartition && p.GetConcurrent()
}

// isBounds: the statement adds a partition's bounds as a CHECK.
func isBounds(st *Statement) bool {
	if st.node.GetDoStmt() == nil || !strings.Contains(st.SQL, "pg_get_partition_constraintdef") {
		return false
	}
	part, ok := declared(st.SQL, "v_part")
	if !ok {
		return false
	}
	t, ok := table(part)
	return ok && boundsSQL(t) == st.SQL
}

// table reads a quoted name.
func table(text string) (*pg.RangeVar, bool) {
	tree, err := pg.Parse("TABLE " + text)
	if err != nil || len(tree.Stmts) != 1 {
		return nil, false
	}
	from := tree.Stmts[0].GetStmt().GetSelectStmt().GetFromClause()
	if len(from) != 1 || from[0].GetRangeVar() == nil {
		return nil, false
	}
	return from[0].GetRangeVar(), true
}

// inParts: a table or an index has partitions, as the scripts before show, or the catalog. The statement stays as it is then.
func (l *live) inParts(st *Statement, t *pg.RangeVar) bool {
	n := ident(nameOf(t))
	if !slices.Contains(l.relations, n) {
		l.relations = append(l.relations, n)
	}
	m := st.known.made()
	if !l.partitioned[n] && (m == nil || !m.partitioned[t.GetRelname()]) {
		return false
	}
	st.whole = t.GetRelname() + " has partitions, which Postgres does this for in one go alone"
	return true
}
