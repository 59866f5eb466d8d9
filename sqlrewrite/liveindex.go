package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// expand gives the lock-safe form of a statement; nil: it stays as it is.
func (l *live) expand(st *Statement, sc *scope, noTx bool) []unit {
	switch v := st.node.GetNode().(type) {
	case *pg.Node_IndexStmt:
		x := v.IndexStmt
		if sc.fresh(x.Relation) || x.Concurrent && noTx || l.inParts(st, x.Relation) {
			return nil
		}
		c := clone(x)
		if c.Idxname == "" {
			for taken := 0; c.Idxname == "" || !l.choose(st, c.Relation, c.Idxname, true, false); taken++ {
				var ok bool
				if c.Idxname, ok = indexName(x, taken); !ok {
					return nil
				}
			}
		}
		return []unit{l.buildIndex(st, c)}
	case *pg.Node_DropStmt:
		return l.dropIndexes(st, v.DropStmt, sc, noTx)
	case *pg.Node_AlterTableStmt:
		if units := l.detach(st, v.AlterTableStmt, sc, noTx); units != nil {
			return units
		}
		return l.alter(st, v.AlterTableStmt, sc)
	case *pg.Node_ReindexStmt:
		return l.reindex(st, v.ReindexStmt, sc, noTx)
	case *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_InsertStmt:
		return l.backfill(st, sc)
	}
	return nil
}

// choose notes a name that we choose; false: it is taken, and Postgres would choose another. An index or a sequence is a relation, a
// CHECK or a foreign key a constraint, a key both. What statements before have chosen, and given free, the chooser knows.
func (l *live) choose(st *Statement, t *pg.RangeVar, n string, relation, constraint bool) bool {
	key := naming{st.place(), l.schemaOf(t), n}
	if l.names[key] || l.taken(st, t, n, relation, constraint) {
		return false
	}
	l.names[key] = true
	return true
}

// naming is a name that we have chosen for something in a statement.
type naming struct {
	place        int
	schema, name string
}

// buildIndex builds an index concurrently. It may be run again after a crash at any point: what an interrupted build
// leaves is dropped first, and an index that is complete is kept.
func (l *live) buildIndex(st *Statement, x *pg.IndexStmt) unit {
	x.Concurrent, x.IfNotExists = true, true
	create := l.made(st, &pg.Node{Node: &pg.Node_IndexStmt{IndexStmt: x}})
	return unit{[]*Statement{l.text(st, guard(x)), create}, outside}
}

// guard drops what an interrupted CREATE INDEX CONCURRENTLY has left: an index that is not valid, but slows every write
// (manual, CREATE INDEX, "Building Indexes Concurrently"). DROP INDEX CONCURRENTLY can't run in a block, so that the lock
// is waited for a quarter of a second at most. Another relation of that name is an error, as it would be without IF NOT EXISTS.
func guard(x *pg.IndexStmt) string {
	index := name{x.GetRelation().GetSchemaname(), x.Idxname}
	return block(fmt.Sprintf(`DECLARE
    wanted constant oid := pg_catalog.to_regclass(%[1]s);
    owner constant oid := pg_catalog.to_regclass(%[2]s);
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = wanted AND indrelid = owner AND NOT indisvalid) THEN
        PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
        EXECUTE %[3]s;
    ELSIF wanted IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index WHERE indexrelid = wanted AND indrelid = owner AND indisunique = %[4]t
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conindid = wanted AND contype IN ('p', 'u', 'x'))) THEN
        RAISE EXCEPTION 'relation %% is there and is not the index that is to be built', %[1]s USING ERRCODE = 'duplicate_table';
    END IF;
END`, quoted(ident(index)), quoted(ident(nameOf(x.Relation))), quoted("DROP INDEX "+ident(index)), x.Unique))
}

// isGuard: st is the guard of the index that the next statement builds.
func isGuard(st, next *Statement) bool {
	x := next.indexStmt()
	return x != nil && x.Concurrent && x.IfNotExists && x.Idxname != "" && st.SQL == guard(x)
}

func (st *Statement) indexStmt() *pg.IndexStmt {
	if st == nil {
		return nil
	}
	return st.node.GetIndexStmt()
}

// dropIndexes drops one index a file, as CONCURRENTLY demands. IF EXISTS lets it be run again after a crash.
func (l *live) dropIndexes(st *Statement, d *pg.DropStmt, sc *scope, noTx bool) []unit {
	if d.RemoveType != pg.ObjectType_OBJECT_INDEX || d.Behavior == pg.DropBehavior_DROP_CASCADE || d.Concurrent && noTx {
		return nil
	}
	var units []unit
	for _, o := range d.Objects {
		if t, ok := sc.indexes[nameOf(rangeVar(o))]; ok && sc.tables[t] || l.inParts(st, rangeVar(o)) {
			return nil
		}
		c := clone(d)
		c.Objects, c.Concurrent, c.MissingOk = []*pg.Node{o}, true, true
		units = append(units, unit{[]*Statement{l.made(st, &pg.Node{Node: &pg.Node_DropStmt{DropStmt: c}})}, outside})
	}
	return units
}

// isPair: the two statements of a file without a transaction that belong together.
func isPair(st, next *Statement) bool {
	return next != nil && (isGuard(st, next) || isDetach(st, next) || isLeftOver(st, next))
}
