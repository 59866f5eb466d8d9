package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// reindex builds indexes again concurrently.
func (l *live) reindex(st *Statement, x *pg.ReindexStmt, sc *scope, noTx bool) []unit {
	if option(x.Params, "concurrently") && noTx || sc.fresh(x.Relation) || x.Relation == nil || x.GetRelation().GetSchemaname() == "pg_catalog" {
		return nil
	}
	if t, ok := sc.indexes[nameOf(x.Relation)]; ok && sc.tables[t] {
		return nil
	}
	c := clone(x)
	if !option(x.Params, "concurrently") {
		c.Params = append(c.Params, &pg.Node{Node: &pg.Node_DefElem{DefElem: &pg.DefElem{Defname: "concurrently", Defaction: pg.DefElemAction_DEFELEM_UNSPEC}}})
	}
	again := l.made(st, &pg.Node{Node: &pg.Node_ReindexStmt{ReindexStmt: c}})
	return []unit{{[]*Statement{l.text(st, leftOver(c)), again}, outside}}
}

// leftOver drops what an interrupted REINDEX CONCURRENTLY has left: indexes that are not valid, named like the old one with
// _ccnew or _ccold behind it (manual, REINDEX, "Rebuilding Indexes Concurrently").
func leftOver(x *pg.ReindexStmt) string {
	which := "i.indrelid = v_of"
	if x.Kind == pg.ReindexObjectType_REINDEX_OBJECT_INDEX {
		which = "i.indrelid = (SELECT o.indrelid FROM pg_catalog.pg_index o WHERE o.indexrelid = v_of)"
	}
	return block(fmt.Sprintf(`DECLARE
    v_of constant oid := pg_catalog.to_regclass(%s);
    v_index pg_catalog.regclass;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
    FOR v_index IN SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE %s AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
    LOOP
        EXECUTE 'DROP INDEX ' || v_index::text;
    END LOOP;
END`, quoted(ident(nameOf(x.Relation))), which))
}

// isLeftOver: st is what the REINDEX behind it begins with.
func isLeftOver(st, next *Statement) bool {
	if next == nil {
		return false
	}
	x := next.node.GetReindexStmt()
	return x != nil && option(x.Params, "concurrently") && x.Relation != nil && st.SQL == leftOver(x)
}
