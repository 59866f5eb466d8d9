package sqlrewrite

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// createTable: nobody waits for a new table, but its foreign keys lock those that they point to.
func (r *reader) createTable(c *pg.CreateStmt) {
	r.creates(c.Relation, "table")
	r.because("a new table; its foreign keys put triggers on the tables that they reference", "sql-createtable")
	own := nameOf(c.Relation)
	references := func(k *pg.Constraint) {
		if k.GetContype() == pg.ConstrType_CONSTR_FOREIGN && nameOf(k.GetPktable()) != own {
			r.touch(k.Pktable, "table", ShareRowExclusive)
		}
	}
	for _, e := range c.TableElts {
		references(e.GetConstraint())
		for _, k := range e.GetColumnDef().GetConstraints() {
			references(k.GetConstraint())
		}
		if l := e.GetTableLikeClause(); l != nil {
			r.touch(l.Relation, "table", AccessShare)
		}
	}
	for _, k := range c.Constraints {
		references(k.GetConstraint())
	}
	for _, p := range c.InhRelations {
		l := ShareUpdateExclusive
		if c.Partbound != nil {
			l = AccessExclusive
		}
		r.touch(p.GetRangeVar(), "table", l)
	}
}

func (r *reader) createTableAs(c *pg.CreateTableAsStmt) {
	kind := "table"
	if c.Objtype == pg.ObjectType_OBJECT_MATVIEW {
		kind = "materialized view"
	}
	r.because("the source is read", "sql-createtableas")
	r.creates(c.GetInto().GetRel(), kind)
	if r.reads(c.Query, c.GetInto().GetRel()) && !c.GetInto().GetSkipData() {
		r.a.Scan = true
		if kind == "table" {
			r.moves()
		}
	}
}

func (r *reader) createView(v *pg.ViewStmt) {
	r.because("the view's tables are looked up", "sql-createview")
	if v.Replace {
		r.touch(v.View, "view", AccessExclusive)
	} else {
		r.creates(v.View, "view")
	}
	r.reads(v.Query, nil)
}

// drop: everything that DROP removes.
func (r *reader) drop(d *pg.DropStmt) {
	switch d.RemoveType {
	case pg.ObjectType_OBJECT_INDEX:
		r.dropIndex(d)
		return
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW, pg.ObjectType_OBJECT_SEQUENCE,
		pg.ObjectType_OBJECT_FOREIGN_TABLE:
		kind := relationKinds[d.RemoveType]
		r.because("it is removed, and the tables that its foreign keys reference are locked too", "sql-droptable")
		for _, o := range d.Objects {
			v := rangeVar(o)
			if !r.touch(v, kind, AccessExclusive) {
				continue
			}
			if kind == "table" || kind == "sequence" {
				r.hazard(LosesData, "DROP removes "+kind+" "+v.Relname, "drop it after the switch")
			}
			r.hazard(BreaksOldServer, "a server that still uses "+v.Relname+" fails", "put it off until the old server is gone (defer)")
		}
	case pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY:
		r.because("what happens to rows changes for everybody at once", "sql-droptrigger")
		for _, o := range d.Objects {
			items := o.GetList().GetItems()
			if len(items) < 2 {
				continue
			}
			t := rangeVar(&pg.Node{Node: &pg.Node_List{List: &pg.List{Items: items[:len(items)-1]}}})
			if r.touch(t, "table", AccessExclusive) {
				r.hazard(BreaksOldServer, "a server that relies on it behaves differently", "drop it after the switch")
			}
		}
	default:
		r.because("it is removed from the catalog", "sql-commands")
		r.hazard(BreaksOldServer, "a server that still uses it fails", "drop it after the switch")
	}
	if d.Behavior == pg.DropBehavior_DROP_CASCADE && len(r.a.Hazards) > 0 {
		r.hazard(LosesData, "CASCADE drops what depends on it, and locks tables that are not named", "drop it by name first")
	}
}
