package sqlrewrite

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// bound says why a script must stay whole; nil if it need not.
func (s *Script) bound() *Hazard {
	whole := func(st *Statement, text, hint string) *Hazard {
		return &Hazard{Name: NotSplit, File: st.File, Line: st.Line, Statement: st.SQL, Text: "the script stays as it is: " + text, Hint: hint}
	}
	if s.blocks {
		return whole(s.Up[0], "a StatementBegin block has several statements", "one statement in each block")
	}
	var written *Statement
	copied := copies(s.Up)
	for _, st := range s.Up {
		if _, ok := copied[st]; ok && !s.NoTransaction || st.limits() {
			continue
		}
		a := Analyze(st)
		switch v := st.node.GetNode().(type) {
		case *pg.Node_VariableSetStmt, *pg.Node_DiscardStmt:
			return whole(st, "it sets parameters for the statements behind", "qualify names with their schema, and leave the time limits to tideover")
		case *pg.Node_TransactionStmt, *pg.Node_LockStmt, *pg.Node_ConstraintsSetStmt, *pg.Node_DeclareCursorStmt, *pg.Node_PrepareStmt:
			return whole(st, "it manages its transactions itself", "leave that to goose")
		case *pg.Node_CreateStmt:
			if v.CreateStmt.GetRelation().GetRelpersistence() == "t" {
				return whole(st, "a temporary table lives in one session", "use an ordinary table")
			}
		}
		if s.NoTransaction {
			continue
		}
		names := func(name string) bool {
			return slices.ContainsFunc(a.Hazards, func(h Hazard) bool { return h.Name == name })
		}
		if names(MovesData) {
			if _, why := inBatches(st); why != "" {
				return whole(st, "it copies rows in a way that batches can't ("+why+"), and may rely on the locks taken before", "split it by hand")
			}
		}
		if written != nil && (names(BreaksOldServer) || names(LosesData)) && !keepsData(st) {
			return whole(st, "rows are written before it removes something", "remove it in a later migration")
		}
		switch st.node.GetNode().(type) {
		case *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_InsertStmt, *pg.Node_MergeStmt:
			written = st
		}
	}
	return nil
}

// oneMoment says why a script must stay whole whose parts would each have their own now(): rows that it writes have one and the same.
func (s *Script) oneMoment(parts []part) *Hazard {
	if s.NoTransaction {
		return nil
	}
	var found []*Statement
	for _, p := range parts {
		if i := slices.IndexFunc(p.list, func(st *Statement) bool { return !st.records && asksForTheTime(st) }); i >= 0 {
			found = append(found, p.list[i])
		}
	}
	if len(found) < 2 {
		return nil
	}
	st := found[1]
	return &Hazard{Name: NotSplit, File: st.File, Line: st.Line, Statement: st.SQL,
		Text: "the script stays as it is: several of its statements ask for the time, or set off what may ask for it, which is one and the same in a transaction", Hint: "put them into migrations of their own"}
}

// asksForTheTime: rows that the statement writes get the transaction's time.
func asksForTheTime(st *Statement) bool {
	if b, _, ok := batched(st); ok {
		return strings.Contains(b.head+b.tail, momentPlaceholder)
	}
	switch v := st.node.GetNode().(type) {
	case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt, *pg.Node_SelectStmt, *pg.Node_CreateTableAsStmt:
		if st.whole != "" {
			return true // what it sets off, such as triggers, may
		}
	case *pg.Node_AlterTableStmt: // a new column gets it in every row
		if !slices.ContainsFunc(v.AlterTableStmt.Cmds, func(c *pg.Node) bool {
			return c.GetAlterTableCmd().GetSubtype() == pg.AlterTableType_AT_AddColumn
		}) {
			return false
		}
	default:
		return false
	}
	found := false
	walk(st.node, func(m any) {
		switch v := m.(type) {
		case *pg.FuncCall:
			found = found || moments[v.Funcname[len(v.Funcname)-1].GetString_().GetSval()]
		case *pg.SQLValueFunction:
			found = found || v.Op <= pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N
		}
	})
	return found
}

// keepsData: whatever else the statement does, the rows and columns that were read before it are still there.
func keepsData(st *Statement) bool {
	switch v := st.node.GetNode().(type) {
	case *pg.Node_GrantStmt, *pg.Node_GrantRoleStmt, *pg.Node_AlterPolicyStmt, *pg.Node_CreatePolicyStmt, *pg.Node_AlterSeqStmt:
		return true
	case *pg.Node_AlterTableStmt:
		return !slices.ContainsFunc(v.AlterTableStmt.Cmds, func(n *pg.Node) bool {
			return n.GetAlterTableCmd().GetSubtype() != pg.AlterTableType_AT_ColumnDefault
		})
	}
	return false
}

// stretch finds the first and the last statement that depend on being seen together by everybody else, such as a DROP
// VIEW and the CREATE VIEW behind it. What stands between them stays there.
func stretch(list []*Statement) (from, to int) {
	from, to = -1, -1
	sc := newScope()
	for i, st := range list {
		if together(st, sc) {
			if from < 0 {
				from = i
			}
			to = i
		}
		sc = sc.after(st.node)
	}
	return from, to
}

func together(st *Statement, sc *scope) bool {
	a := analyze(st, sc)
	if len(a.Objects) > 0 && !slices.ContainsFunc(a.Objects, func(o Object) bool { return !o.New }) {
		return false // only things of its own
	}
	switch v := st.node.GetNode().(type) {
	case *pg.Node_DoStmt:
		_, begins := isCopyBegin(st)
		_, ends := isCopyEnd(st)
		_, retypes := retypes(st)
		return !begins && !ends && retypes == ""
	case *pg.Node_DropStmt:
		return v.DropStmt.RemoveType != pg.ObjectType_OBJECT_INDEX || v.DropStmt.Behavior == pg.DropBehavior_DROP_CASCADE
	case *pg.Node_AlterTableStmt:
		if v.AlterTableStmt.Objtype == pg.ObjectType_OBJECT_SEQUENCE {
			return false
		}
		for _, c := range v.AlterTableStmt.Cmds {
			if !additive[c.GetAlterTableCmd().GetSubtype()] {
				return true
			}
		}
		return false
	case *pg.Node_IndexStmt, *pg.Node_CreateStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_InsertStmt, *pg.Node_SelectStmt,
		*pg.Node_CommentStmt, *pg.Node_GrantStmt, *pg.Node_CreateSeqStmt, *pg.Node_CreateEnumStmt, *pg.Node_CreateSchemaStmt,
		*pg.Node_CreateExtensionStmt, *pg.Node_VacuumStmt, *pg.Node_CreateStatsStmt, *pg.Node_AlterEnumStmt, *pg.Node_ReindexStmt:
		return false
	}
	return true
}

// additive are the parts of ALTER TABLE that stand for themselves.
var additive = map[pg.AlterTableType]bool{
	pg.AlterTableType_AT_AddColumn: true, pg.AlterTableType_AT_ColumnDefault: true, pg.AlterTableType_AT_SetNotNull: true,
	pg.AlterTableType_AT_DropNotNull: true, pg.AlterTableType_AT_AddConstraint: true, pg.AlterTableType_AT_ValidateConstraint: true,
	pg.AlterTableType_AT_DropConstraint: true, pg.AlterTableType_AT_DropColumn: true, pg.AlterTableType_AT_SetStatistics: true,
	pg.AlterTableType_AT_SetStorage: true, pg.AlterTableType_AT_SetRelOptions: true, pg.AlterTableType_AT_ResetRelOptions: true,
	pg.AlterTableType_AT_DetachPartition: true,
}

// hazards lists what the statements of a file do, and what they do to each other.
func (p part) hazards() []Hazard {
	var all []Hazard
	var holder *Statement
	var held Level
	for i, st := range p.list {
		var next *Statement
		if i+1 < len(p.list) {
			next = p.list[i+1]
		}
		if isPair(st, next) || isBatchDone(st) {
			continue
		}
		a := Analyze(st)
		for _, h := range a.Hazards {
			if (h.Name == BlocksReads || h.Name == NeedsValue) && isNotNull(st, next) {
				continue // a valid CHECK says it already (manual, ALTER TABLE, SET NOT NULL)
			}
			all = append(all, h)
		}
		if !p.noTx && holder != nil && (a.Scan || a.Rewrite) && !isNotNull(st, next) {
			all = append(all, Hazard{Name: HoldsLock, File: st.File, Line: st.Line, Statement: st.SQL,
				Text: "it takes its time while " + held.String() + " of the statement above is held: " + first(holder.SQL),
				Hint: "put the two into two migrations"})
		}
		if a.Lock.BlocksWrites() && a.Lock > held {
			holder, held = st, a.Lock
		}
	}
	return all
}

// first is the beginning of a statement, for a message.
func first(sql string) string {
	r := []rune(sql)
	if len(r) <= 60 {
		return sql
	}
	return string(r[:60]) + "…"
}
