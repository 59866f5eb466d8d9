package sqlrewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"
)

const offline = "migrate a copy of the database (target: offline)"

// relationKinds are the things that ALTER TABLE's grammar is also used for.
var relationKinds = map[pg.ObjectType]string{
	pg.ObjectType_OBJECT_TABLE: "table", pg.ObjectType_OBJECT_VIEW: "view", pg.ObjectType_OBJECT_MATVIEW: "materialized view",
	pg.ObjectType_OBJECT_INDEX: "index", pg.ObjectType_OBJECT_SEQUENCE: "sequence", pg.ObjectType_OBJECT_TYPE: "type",
	pg.ObjectType_OBJECT_FOREIGN_TABLE: "table",
}

func (r *reader) alterTable(a *pg.AlterTableStmt) {
	kind := relationKinds[a.Objtype]
	if kind == "" {
		kind = "table"
	}
	for _, c := range a.Cmds {
		cmd := c.GetAlterTableCmd()
		l := subcommandLock(cmd)
		inUse := r.touch(a.Relation, kind, l)
		r.because("ALTER TABLE takes the strongest lock that one of its parts needs", "sql-altertable")
		r.subcommand(a.Relation, cmd, inUse)
		r.needsValue(a.Relation, cmd)
	}
}

// subcommandLock is AlterTableGetLockLevel of Postgres' tablecmds.c.
func subcommandLock(c *pg.AlterTableCmd) Level {
	switch c.Subtype {
	case pg.AlterTableType_AT_SetStatistics, pg.AlterTableType_AT_ClusterOn, pg.AlterTableType_AT_DropCluster,
		pg.AlterTableType_AT_SetOptions, pg.AlterTableType_AT_ResetOptions, pg.AlterTableType_AT_ValidateConstraint,
		pg.AlterTableType_AT_DetachPartitionFinalize, pg.AlterTableType_AT_AttachPartition:
		return ShareUpdateExclusive
	case pg.AlterTableType_AT_SetRelOptions, pg.AlterTableType_AT_ResetRelOptions:
		for _, o := range c.GetDef().GetList().GetItems() {
			switch o.GetDefElem().GetDefname() {
			case "user_catalog_table", "security_barrier", "security_invoker", "check_option", "buffering":
				return AccessExclusive
			}
		}
		return ShareUpdateExclusive
	case pg.AlterTableType_AT_DetachPartition:
		if c.GetDef().GetPartitionCmd().GetConcurrent() {
			return ShareUpdateExclusive
		}
	case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig,
		pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_EnableTrigUser, pg.AlterTableType_AT_DisableTrig,
		pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_DisableTrigUser:
		return ShareRowExclusive
	case pg.AlterTableType_AT_AddConstraint:
		if c.GetDef().GetConstraint().GetContype() == pg.ConstrType_CONSTR_FOREIGN {
			return ShareRowExclusive
		}
	}
	return AccessExclusive
}

// subcommand notes what one part does beyond its lock, on a table in use.
func (r *reader) subcommand(t *pg.RangeVar, c *pg.AlterTableCmd, inUse bool) {
	table := t.GetRelname()
	switch c.Subtype {
	case pg.AlterTableType_AT_AddColumn:
		r.addColumn(t, c.GetDef().GetColumnDef(), inUse)
	case pg.AlterTableType_AT_AddConstraint:
		r.addConstraint(t, c.GetDef().GetConstraint(), inUse)
	case pg.AlterTableType_AT_AttachPartition, pg.AlterTableType_AT_DetachPartition:
		p := c.GetDef().GetPartitionCmd()
		if r.touch(p.GetName(), "table", AccessExclusive) && c.Subtype == pg.AlterTableType_AT_AttachPartition {
			r.long(AccessExclusive, false, "every row of "+p.GetName().GetRelname()+" is compared with the partition's bounds",
				"add a CHECK of the same bounds and validate it first")
		}
		if inUse && c.Subtype == pg.AlterTableType_AT_DetachPartition && !p.GetConcurrent() {
			r.note(DetachesAtOnce, fmt.Sprintf("whoever uses %s or one of its partitions waits for it, and it for them; tideover sql rewrite detaches concurrently", table))
		}
	case pg.AlterTableType_AT_AddInherit, pg.AlterTableType_AT_DropInherit:
		l := ShareUpdateExclusive
		r.touch(c.GetDef().GetRangeVar(), "table", l)
	}
	if !inUse {
		return
	}
	switch c.Subtype {
	case pg.AlterTableType_AT_SetNotNull:
		if r.st.known.proves(r.st.node.GetAlterTableStmt(), c.Name) {
			return
		}
		r.long(AccessExclusive, false, fmt.Sprintf("every row of %s is read for NULL in %s", table, c.Name),
			"add CHECK ("+c.Name+" IS NOT NULL) NOT VALID and validate it first")
	case pg.AlterTableType_AT_AlterColumnType:
		d := c.GetDef().GetColumnDef()
		if d.GetRawDefault() == nil && d.GetCollClause() == nil && keepsRows(r.st.known.typeOf(t, c.Name), d.GetTypeName()) {
			return // only the catalog changes
		}
		r.long(AccessExclusive, true, fmt.Sprintf("the type of %s.%s changes (some changes, such as a longer varchar, need no rewriting; which type it was is not in the script)", table, c.Name),
			"allow "+ColumnOrder+" instead: a second column is filled in batches, and takes its place at the end of the table")
		r.hazard(BreaksOldServer, fmt.Sprintf("the server in use expects the old type of %s.%s", table, c.Name), offline)
	case pg.AlterTableType_AT_DropColumn:
		r.hazard(BreaksOldServer, fmt.Sprintf("a server that still uses %s.%s fails", table, c.Name), "put it off until the old server is gone (defer)")
	case pg.AlterTableType_AT_SetLogged, pg.AlterTableType_AT_SetUnLogged, pg.AlterTableType_AT_SetTableSpace, pg.AlterTableType_AT_SetAccessMethod,
		pg.AlterTableType_AT_SetExpression:
		r.long(AccessExclusive, true, table+" is written again", offline)
	case pg.AlterTableType_AT_ValidateConstraint:
		r.a.Scan = true
	case pg.AlterTableType_AT_EnableRowSecurity, pg.AlterTableType_AT_ForceRowSecurity:
		r.hazard(BreaksOldServer, "row security hides every row of "+table+" that no policy shows", "add the policies first")
	case pg.AlterTableType_AT_EnableTrig, pg.AlterTableType_AT_EnableAlwaysTrig, pg.AlterTableType_AT_EnableReplicaTrig,
		pg.AlterTableType_AT_EnableTrigAll, pg.AlterTableType_AT_EnableTrigUser:
		r.hazard(Opaque, "what the triggers of "+table+" do can't be seen here", "look at their functions")
	case pg.AlterTableType_AT_DisableTrig, pg.AlterTableType_AT_DisableTrigAll, pg.AlterTableType_AT_DisableTrigUser:
		r.hazard(LosesData, "triggers of "+table+" are off: foreign keys, capture and the fence may depend on them", "leave them on")
	case pg.AlterTableType_AT_ColumnDefault:
		if c.Def == nil {
			r.hazard(BreaksOldServer, fmt.Sprintf("the server in use may leave %s.%s to its default", table, c.Name), "drop the default after the switch")
		}
	case pg.AlterTableType_AT_SetIdentity, pg.AlterTableType_AT_DropIdentity, pg.AlterTableType_AT_DropExpression:
		r.hazard(BreaksOldServer, fmt.Sprintf("the server in use relies on how %s.%s gets its values", table, c.Name), "change it after the switch")
	case pg.AlterTableType_AT_DropInherit:
		r.hazard(BreaksOldServer, "rows of "+table+" are missing where the parent is read", "take it out after the switch")
	case pg.AlterTableType_AT_AddIdentity:
		r.hazard(FailsOnRows, table+"."+c.Name+" must be NOT NULL already", "set it NOT NULL first")
	}
}

func (r *reader) rename(x *pg.RenameStmt) {
	r.because("nobody may use the old name meanwhile", "sql-altertable")
	switch x.RenameType {
	case pg.ObjectType_OBJECT_INDEX:
		r.a.Objects = append(r.a.Objects, Object{Schema: x.GetRelation().GetSchemaname(), Name: x.GetRelation().GetRelname(), Kind: "index", Lock: ShareUpdateExclusive})
		return
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW,
		pg.ObjectType_OBJECT_FOREIGN_TABLE:
		kind := relationKinds[x.RenameType]
		if x.RenameType == pg.ObjectType_OBJECT_COLUMN {
			kind = relationKinds[x.RelationType]
		}
		if kind == "" {
			kind = "table"
		}
		if r.touch(x.Relation, kind, AccessExclusive) {
			r.hazard(BreaksOldServer, "a server that uses the old name fails", "keep the old name, or let the step compat-views keep it for the old server, and allow this")
		}
	case pg.ObjectType_OBJECT_TABCONSTRAINT, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY:
		r.touch(x.Relation, "table", AccessExclusive)
	case pg.ObjectType_OBJECT_SEQUENCE:
		r.touch(x.Relation, "sequence", AccessExclusive)
	default:
		r.hazard(BreaksOldServer, "a server that uses the old name fails", "keep the old name")
	}
}

func (r *reader) setSchema(x *pg.AlterObjectSchemaStmt) {
	r.because("nobody may use the old name meanwhile", "sql-altertable")
	kind := relationKinds[x.ObjectType]
	inUse := true
	if kind != "" {
		inUse = r.touch(x.Relation, kind, AccessExclusive)
	}
	if inUse {
		r.hazard(BreaksOldServer, "a server that looks in the old schema fails", "put a view of that name in its place")
	}
}
