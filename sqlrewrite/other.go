package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// other: the statements that are neither about rows nor about a table's shape.
func (r *reader) other(n *pg.Node) {
	switch v := n.GetNode().(type) {
	case *pg.Node_CreateTrigStmt:
		r.because("rows written from now on fire the trigger", "sql-createtrigger")
		r.touch(v.CreateTrigStmt.Constrrel, "table", ShareRowExclusive)
		if r.touch(v.CreateTrigStmt.Relation, "table", ShareRowExclusive) {
			r.hazard(Opaque, "what the trigger's function does to every write of the server in use can't be seen here", "look at the function")
		}
	case *pg.Node_RuleStmt:
		r.because("queries are rewritten from now on", "sql-createrule")
		if r.touch(v.RuleStmt.Relation, "table", AccessExclusive) {
			r.hazard(BreaksOldServer, "the rule changes what the server's queries do", offline)
		}
	case *pg.Node_CreatePolicyStmt:
		r.because("what rows can be seen changes", "sql-createpolicy")
		if r.touch(v.CreatePolicyStmt.Table, "table", AccessExclusive) && !v.CreatePolicyStmt.Permissive {
			r.hazard(BreaksOldServer, "a restrictive policy hides rows from the server in use", "add it after the switch")
		}
	case *pg.Node_AlterPolicyStmt:
		r.because("what rows can be seen changes", "sql-alterpolicy")
		if r.touch(v.AlterPolicyStmt.Table, "table", AccessExclusive) {
			r.hazard(BreaksOldServer, "the server in use may see other rows than before", "change the policy after the switch")
		}
	case *pg.Node_CommentStmt:
		r.comment(v.CommentStmt)
	case *pg.Node_SecLabelStmt, *pg.Node_GrantStmt, *pg.Node_GrantRoleStmt, *pg.Node_AlterDefaultPrivilegesStmt:
		r.because("privileges are in the catalog", "sql-grant")
		if g := n.GetGrantStmt(); g != nil && !g.IsGrant || n.GetGrantRoleStmt() != nil && !n.GetGrantRoleStmt().IsGrant {
			r.hazard(BreaksOldServer, "the server in use may need the privilege", "revoke it after the switch")
		}
	case *pg.Node_CreateStatsStmt:
		r.because("statistics are in the catalog", "sql-createstatistics")
		for _, t := range v.CreateStatsStmt.Relations {
			r.touch(t.GetRangeVar(), "table", ShareUpdateExclusive)
		}
	case *pg.Node_VacuumStmt:
		r.vacuum(v.VacuumStmt)
	case *pg.Node_ClusterStmt:
		r.because("the table is written again in the order of an index", "sql-cluster")
		if v.ClusterStmt.Relation == nil {
			r.indirect("every clustered table", AccessExclusive)
			r.long(AccessExclusive, true, "CLUSTER", "leave it out, or use pg_repack")
		} else if r.touch(v.ClusterStmt.Relation, "table", AccessExclusive) {
			r.long(AccessExclusive, true, "CLUSTER of "+v.ClusterStmt.Relation.Relname, "leave it out, or use pg_repack")
		}
	case *pg.Node_RefreshMatViewStmt:
		l := AccessExclusive
		if v.RefreshMatViewStmt.Concurrent {
			l = Exclusive
		}
		r.because("the view is filled again", "sql-refreshmaterializedview")
		if r.touch(v.RefreshMatViewStmt.Relation, "materialized view", l) {
			r.a.Scan = true
			if l == AccessExclusive && !v.RefreshMatViewStmt.SkipData {
				r.hazard(BlocksReads, "reads of "+v.RefreshMatViewStmt.Relation.Relname+" wait until it is filled", "REFRESH … CONCURRENTLY")
			}
		}
	case *pg.Node_DoStmt:
		if r.ours() {
			return
		}
		r.because("the code in it can do anything", "sql-do")
		r.hazard(Opaque, "what the DO block does can't be seen", "write its statements out")
	case *pg.Node_CallStmt:
		r.because("the procedure can do anything", "sql-call")
		r.hazard(Opaque, "what the procedure does can't be seen", "write its statements out")
	case *pg.Node_CreateFunctionStmt:
		r.because("a function is in the catalog", "sql-createfunction")
		if v.CreateFunctionStmt.Replace {
			r.hazard(Opaque, "CREATE OR REPLACE: if the server in use calls the function, its next call runs the new body", "give the new one another name")
		}
	case *pg.Node_CreateExtensionStmt:
		r.because("an extension's script can do anything", "sql-createextension")
		r.hazard(Opaque, "what the extension's script does can't be seen", "create it beforehand, and look at it")
	case *pg.Node_CreateSchemaStmt, *pg.Node_CreateSeqStmt, *pg.Node_CreateEnumStmt, *pg.Node_CompositeTypeStmt, *pg.Node_CreateRangeStmt,
		*pg.Node_CreateDomainStmt, *pg.Node_AlterEnumStmt, *pg.Node_DefineStmt, *pg.Node_CreateRoleStmt, *pg.Node_CreateCastStmt,
		*pg.Node_CreateOpClassStmt, *pg.Node_CreateOpFamilyStmt:
		r.because("something new is put into the catalog", "sql-commands")
		for _, e := range n.GetCreateSchemaStmt().GetSchemaElts() {
			r.statement(e)
		}
	case *pg.Node_VariableSetStmt, *pg.Node_VariableShowStmt, *pg.Node_ConstraintsSetStmt, *pg.Node_TransactionStmt, *pg.Node_NotifyStmt,
		*pg.Node_ListenStmt, *pg.Node_UnlistenStmt, *pg.Node_CheckPointStmt:
		r.because("only the session is concerned", "sql-commands")
	case *pg.Node_AlterSeqStmt:
		r.because("only the sequence is concerned", "sql-altersequence")
		r.touch(v.AlterSeqStmt.Sequence, "sequence", ShareRowExclusive)
		for _, o := range v.AlterSeqStmt.Options {
			if o.GetDefElem().GetDefname() == "restart" {
				r.hazard(LosesData, "numbers that were given out already come again", "leave the sequence where it is")
			}
			if of := o.GetDefElem().GetArg().GetList().GetItems(); o.GetDefElem().GetDefname() == "owned_by" && len(of) > 1 {
				r.touch(rangeVar(&pg.Node{Node: &pg.Node_List{List: &pg.List{Items: of[:len(of)-1]}}}), "table", AccessShare)
			}
		}
	default:
		r.because("we don't know this statement", "explicit-locking")
		r.hazard(Unknown, "which locks it takes is not known to tideover", "look it up in the manual, and try it on a copy")
	}
}

// ours tells of the blocks that rewriting has written, whose effect is known.
func (r *reader) ours() bool {
	if r.retyped() {
		return true
	}
	if t, ok := isCopyBegin(r.st); ok {
		r.because("triggers are made that write a copy", "sql-createtrigger")
		r.touch(t, "table", ShareRowExclusive)
		return true
	}
	if t, ok := isCopyEnd(r.st); ok {
		r.because("the triggers that wrote a copy are taken away", "sql-droptrigger")
		r.touch(t, "table", AccessExclusive)
		return true
	}
	if b, original, ok := batched(r.st); ok {
		r.because("rows are written in batches, each in a transaction of its own", "sql-update")
		if own := *r.st; strings.HasSuffix(b.job, copySuffix) {
			own.copied = true
			r.st = &own
		}
		r.rows(original)
		r.a.Hazards = slices.DeleteFunc(r.a.Hazards, func(h Hazard) bool { return h.Name == WritesTable })
		return true
	}
	if isBatchDone(r.st) {
		r.because("the checkpoint of a back-fill is forgotten", "sql-delete")
		return true
	}
	if isBounds(r.st) {
		part, _ := declared(r.st.SQL, "v_part")
		t, _ := table(part)
		r.because("a CHECK is added without reading rows", "sql-altertable")
		r.touch(t, "table", AccessExclusive)
		return true
	}
	return false
}

func (r *reader) comment(c *pg.CommentStmt) {
	r.because("comments are in the catalog", "sql-comment")
	items := c.GetObject().GetList().GetItems()
	switch c.Objtype {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW, pg.ObjectType_OBJECT_FOREIGN_TABLE:
		r.touch(rangeVar(c.Object), relationKinds[c.Objtype], ShareUpdateExclusive)
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_TABCONSTRAINT, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY:
		if len(items) < 2 {
			return
		}
		l := AccessShare
		if c.Objtype == pg.ObjectType_OBJECT_COLUMN {
			l = ShareUpdateExclusive
		}
		r.touch(rangeVar(&pg.Node{Node: &pg.Node_List{List: &pg.List{Items: items[:len(items)-1]}}}), "table", l)
	}
}

func (r *reader) vacuum(v *pg.VacuumStmt) {
	l := ShareUpdateExclusive
	if v.IsVacuumcmd && option(v.Options, "full") {
		l = AccessExclusive
	}
	r.because("rows are read, and space is given back", "sql-vacuum")
	inUse := len(v.Rels) == 0
	for _, t := range v.Rels {
		inUse = r.touch(t.GetVacuumRelation().GetRelation(), "table", l) || inUse
	}
	if len(v.Rels) == 0 {
		r.indirect("every table", l)
	}
	if inUse && l == AccessExclusive {
		r.long(l, true, "VACUUM FULL", "leave it out, or use pg_repack")
	} else if inUse {
		r.a.Scan = true
	}
}
