package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

const tryConcurrently = "build it CONCURRENTLY"

func (r *reader) createIndex(x *pg.IndexStmt) {
	l := Share
	if x.Concurrent {
		l = ShareUpdateExclusive
	}
	r.because("rows must not change while the index is built", "sql-createindex")
	if !r.touch(x.Relation, "table", l) {
		return
	}
	r.a.Scan = true
	if !x.Concurrent {
		r.long(l, false, fmt.Sprintf("an index is built on %s", x.GetRelation().GetRelname()), tryConcurrently)
	}
}

func (r *reader) reindex(x *pg.ReindexStmt) {
	l := Share
	if option(x.Params, "concurrently") {
		l = ShareUpdateExclusive
	}
	r.because("the index is built again", "sql-reindex")
	what := x.Name
	switch x.Kind {
	case pg.ReindexObjectType_REINDEX_OBJECT_TABLE:
		what = x.GetRelation().GetRelname()
		if !r.touch(x.Relation, "table", l) {
			return
		}
	case pg.ReindexObjectType_REINDEX_OBJECT_INDEX:
		what = x.GetRelation().GetRelname()
		if !r.touchIndex(x.Relation, l) {
			return
		}
	default:
		r.indirect(x.Name, l)
	}
	r.a.Scan = true
	if l == Share {
		// The index itself is locked ACCESS EXCLUSIVE, and every query that is planned wants a lock on each index.
		r.hazard(BlocksReads, "REINDEX of "+what+": writes wait, and so do reads that are planned meanwhile", "REINDEX … CONCURRENTLY")
	}
}

// touchIndex notes a lock that reaches a table through its index. Which table that is, only the script can tell us.
func (r *reader) touchIndex(x *pg.RangeVar, l Level) (inUse bool) {
	o := Object{Schema: x.GetSchemaname(), Name: x.GetRelname(), Kind: "index", Lock: l}
	if t, ok := r.scope.indexes[nameOf(x)]; ok {
		o.New = r.scope.tables[t]
		r.a.Objects = append(r.a.Objects, o)
		return r.touch(&pg.RangeVar{Schemaname: t.schema, Relname: t.name}, "table", l)
	}
	r.a.Objects = append(r.a.Objects, o)
	r.a.Lock = max(r.a.Lock, l)
	return true
}

// indirect notes a lock on tables that the statement doesn't name.
func (r *reader) indirect(what string, l Level) {
	r.a.Objects = append(r.a.Objects, Object{Name: what, Kind: "database", Lock: l})
	r.a.Lock = max(r.a.Lock, l)
}

func (r *reader) dropIndex(d *pg.DropStmt) {
	r.because("the planner must not use the index any more", "sql-dropindex")
	l := AccessExclusive
	if d.Concurrent {
		l = ShareUpdateExclusive
	}
	for _, o := range d.Objects {
		if r.touchIndex(rangeVar(o), l) && !d.Concurrent {
			r.hazard(BlocksReads, fmt.Sprintf("DROP INDEX %s locks its table until the transaction ends", rangeVar(o).Relname), "drop it CONCURRENTLY")
		}
	}
	if d.Behavior == pg.DropBehavior_DROP_CASCADE {
		r.hazard(LosesData, "CASCADE drops constraints of other tables that are not named", "drop them by name first")
	}
}

// option: a parenthesised option without a value, or with one that means yes.
func option(params []*pg.Node, name string) bool {
	for _, p := range params {
		if d := p.GetDefElem(); d.GetDefname() == name {
			switch {
			case d.GetArg() == nil:
				return true
			case d.GetArg().GetInteger() != nil:
				return d.GetArg().GetInteger().GetIval() != 0
			case d.GetArg().GetBoolean() != nil:
				return d.GetArg().GetBoolean().GetBoolval()
			default:
				v := d.GetArg().GetString_().GetSval()
				return v != "false" && v != "off"
			}
		}
	}
	return false
}
