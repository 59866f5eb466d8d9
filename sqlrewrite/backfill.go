package sqlrewrite

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// BackfillTable holds how far the batches of back-fills are, in the first schema of search_path: a row for each job. It is
// dropped when its last job is done. Columns: job text, last text[] (the last key, as text), rows bigint, done boolean.
const BackfillTable = "tideover_backfill"

// batchSQL is a DO block that runs a statement for a stretch of keys at a time, each in a transaction of its own with its
// checkpoint, so that it happens once for every row, whatever crashes.
//
//go:embed backfill.sql
var batchSQL string

// batchDoneSQL forgets a finished job. It stands in a file of its own: only then has goose noted that the file before it
// is done.
const batchDoneSQL = `DECLARE
    v_job constant text := %s;
BEGIN
    IF pg_catalog.to_regclass('tideover_backfill') IS NOT NULL THEN
        PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
        DELETE FROM tideover_backfill WHERE job = v_job;
        IF NOT EXISTS (SELECT FROM tideover_backfill) THEN
            DROP TABLE tideover_backfill;
        END IF;
    END IF;
END`

// placeholder stands in a statement where the stretch of keys goes.
const placeholder = "tideover_keys_go_here"

// batch is a statement made ready for batches.
type batch struct {
	job      string
	table    name
	alias    string
	head     string   // the statement up to the condition on keys
	tail     string   // and behind it
	assigned []string // the columns that it writes: no key
}

func (b batch) sql() string {
	list := "ARRAY[]::pg_catalog.name[]"
	if len(b.assigned) > 0 {
		var q []string
		for _, c := range b.assigned {
			q = append(q, quoted(c))
		}
		list = "ARRAY[" + strings.Join(q, ", ") + "]::pg_catalog.name[]"
	}
	return block(strings.NewReplacer("@job", quoted(b.job), "@table", quoted(ident(b.table)), "@alias", quoted(ident(name{name: b.alias})),
		"@head", quoted(b.head), "@tail", quoted(b.tail), "@assigned", list).Replace(strings.TrimSpace(batchSQL)))
}

func (b batch) doneSQL() string { return block(fmt.Sprintf(batchDoneSQL, quoted(b.job))) }

// block is a DO block around a body in PL/pgSQL. Its quotes are such that no text in the body ends them.
func block(body string) string {
	tag := "$tideover$"
	for strings.Contains(body, tag) {
		tag = tag[:len(tag)-1] + "_$"
	}
	return "DO " + tag + "\n" + body + " " + tag
}

// backfill gives the batches of a statement that writes a whole table; nil: it stays as it is.
func (l *live) backfill(st *Statement, sc *scope) []unit {
	a := analyze(st, sc)
	if !st.copied && !slices.ContainsFunc(a.Hazards, func(h Hazard) bool { return h.Name == WritesTable || h.Name == MovesData }) {
		return nil
	}
	b, ok := inBatches(st.node)
	if !ok {
		return nil
	}
	l.jobs++
	b.job = fmt.Sprintf("%s:%d:%d", l.script, st.Line, l.jobs)
	if st.copied {
		b.job += copySuffix
	}
	return []unit{{[]*Statement{l.text(st, b.sql())}, outside}, {[]*Statement{l.text(st, b.doneSQL())}, alone}}
}

// inBatches: a statement whose effect on a row depends on no other row of the table, and so may be done in stretches.
func inBatches(n *pg.Node) (b batch, ok bool) {
	n = clone(n)
	here := pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(placeholder)}, 0)
	narrow := func(where *pg.Node) *pg.Node {
		if where == nil {
			return here
		}
		return pg.MakeBoolExprNode(pg.BoolExprType_AND_EXPR, []*pg.Node{where, here}, 0)
	}
	var table *pg.RangeVar
	switch v := n.GetNode().(type) {
	case *pg.Node_UpdateStmt:
		u := v.UpdateStmt
		if u.WithClause != nil || len(u.ReturningList) > 0 {
			return b, false
		}
		for _, t := range u.TargetList {
			b.assigned = append(b.assigned, t.GetResTarget().GetName())
		}
		table, u.WhereClause = u.Relation, narrow(u.WhereClause)
	case *pg.Node_DeleteStmt:
		d := v.DeleteStmt
		if d.WithClause != nil || len(d.ReturningList) > 0 {
			return b, false
		}
		table, d.WhereClause = d.Relation, narrow(d.WhereClause)
	case *pg.Node_InsertStmt:
		i := v.InsertStmt
		q := i.GetSelectStmt().GetSelectStmt()
		if i.WithClause != nil || len(i.ReturningList) > 0 || !rowByRow(unlocked(i)) || len(q.FromClause) != 1 {
			return b, false
		}
		if table = leftmost(q.FromClause[0]); table == nil || nameOf(table) == nameOf(i.Relation) {
			return b, false
		}
		q.WhereClause = narrow(q.WhereClause)
	default:
		return b, false
	}
	if !table.GetInh() || mentions(n, nameOf(table)) > 1 || currentOf(n) {
		return b, false
	}
	b.table, b.alias = nameOf(table), table.GetRelname()
	if a := table.GetAlias().GetAliasname(); a != "" {
		b.alias = a
	}
	sql, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: n}}})
	if err != nil || strings.Count(sql, placeholder) != 1 {
		return b, false
	}
	b.head, b.tail, _ = strings.Cut(sql, placeholder)
	return b, true
}

// unlocked is an INSERT's query without the locks that our copies take.
func unlocked(i *pg.InsertStmt) *pg.SelectStmt {
	q := i.GetSelectStmt().GetSelectStmt()
	if i.GetOnConflictClause().GetAction() != pg.OnConflictAction_ONCONFLICT_NOTHING || len(q.GetLockingClause()) != 1 ||
		q.LockingClause[0].GetLockingClause().GetStrength() != pg.LockClauseStrength_LCS_FORKEYSHARE {
		return q
	}
	q = clone(q)
	q.LockingClause = nil
	return q
}

// rowByRow: each row of the first table gives its rows, whatever the others are.
func rowByRow(q *pg.SelectStmt) bool {
	if q == nil || q.Op != pg.SetOperation_SETOP_NONE || len(q.DistinctClause)+len(q.GroupClause)+len(q.WindowClause)+len(q.SortClause)+len(q.LockingClause) > 0 ||
		q.HavingClause != nil || q.LimitCount != nil || q.LimitOffset != nil || q.WithClause != nil || q.IntoClause != nil {
		return false
	}
	ok := true
	for _, t := range q.TargetList {
		walk(t, func(m any) {
			if c, is := m.(*pg.FuncCall); is && (c.Over != nil || !perRow(c)) {
				ok = false
			}
		})
	}
	return ok
}

// perRow: a function that is known not to be an aggregate.
func perRow(c *pg.FuncCall) bool {
	last := c.Funcname[len(c.Funcname)-1].GetString_().GetSval()
	switch last {
	case "count", "max", "min", "sum":
		return false
	case "gen_random_uuid", "uuid_generate_v4", "random", "clock_timestamp", "nextval", "substr", "substring", "replace", "trim", "btrim", "concat_ws":
		return true
	}
	return stable[last]
}

// leftmost is the first table of a FROM item whose rows all come through: joins to its right may drop or add some.
func leftmost(n *pg.Node) *pg.RangeVar {
	if j := n.GetJoinExpr(); j != nil {
		if j.Jointype != pg.JoinType_JOIN_INNER && j.Jointype != pg.JoinType_JOIN_LEFT || j.Alias != nil {
			return nil
		}
		return leftmost(j.Larg)
	}
	return n.GetRangeVar()
}

// mentions counts where a statement names a table: one that reads itself would see its own earlier batches.
func mentions(n *pg.Node, t name) int {
	count := 0
	walk(n, func(m any) {
		if r, ok := m.(*pg.RangeVar); ok && r.GetRelname() == t.name {
			count++
		}
	})
	return count
}

func currentOf(n *pg.Node) bool {
	found := false
	walk(n, func(m any) {
		if _, ok := m.(*pg.CurrentOfExpr); ok {
			found = true
		}
	})
	return found
}

// batched reads a statement back that was made by [batch.sql]; ok is false for any other.
func batched(st *Statement) (_ batch, original *pg.Node, ok bool) {
	if st == nil || st.node.GetDoStmt() == nil || !strings.Contains(st.SQL, BackfillTable) {
		return batch{}, nil, false
	}
	head, okHead := declared(st.SQL, "v_head")
	tail, okTail := declared(st.SQL, "v_tail")
	job, okJob := declared(st.SQL, "v_job")
	if !okHead || !okTail || !okJob {
		return batch{}, nil, false
	}
	tree, err := pg.Parse(head + placeholder + tail)
	if err != nil || len(tree.Stmts) != 1 {
		return batch{}, nil, false
	}
	whole, err := pg.Parse(head + "true" + tail)
	if err != nil || len(whole.Stmts) != 1 {
		return batch{}, nil, false
	}
	b, ok := readBatch(tree.Stmts[0].Stmt)
	b.job, b.head, b.tail = job, head, tail
	return b, whole.Stmts[0].Stmt, ok && b.sql() == st.SQL
}

// readBatch finds table, alias and columns of a statement that has the placeholder in it.
func readBatch(n *pg.Node) (b batch, ok bool) {
	var table *pg.RangeVar
	switch v := n.GetNode().(type) {
	case *pg.Node_UpdateStmt:
		table = v.UpdateStmt.Relation
		for _, t := range v.UpdateStmt.TargetList {
			b.assigned = append(b.assigned, t.GetResTarget().GetName())
		}
	case *pg.Node_DeleteStmt:
		table = v.DeleteStmt.Relation
	case *pg.Node_InsertStmt:
		if q := v.InsertStmt.GetSelectStmt().GetSelectStmt(); q != nil && len(q.FromClause) == 1 {
			table = leftmost(q.FromClause[0])
		}
	}
	if table == nil {
		return b, false
	}
	b.table, b.alias = nameOf(table), table.GetRelname()
	if a := table.GetAlias().GetAliasname(); a != "" {
		b.alias = a
	}
	return b, true
}

// declared is the text constant that a DO block declares.
func declared(sql, variable string) (string, bool) { return declaredAs(sql, variable, "text") }

func declaredAs(sql, variable, kind string) (string, bool) {
	_, rest, ok := strings.Cut(sql, "\n    "+variable+" constant "+kind+" := '")
	if !ok {
		return "", false
	}
	for i := 0; i < len(rest); i++ {
		if rest[i] != '\'' {
			continue
		}
		if i+1 < len(rest) && rest[i+1] == '\'' {
			i++
			continue
		}
		return strings.ReplaceAll(rest[:i], "''", "'"), true
	}
	return "", false
}

// isBatchDone: the statement forgets a finished job.
func isBatchDone(st *Statement) bool {
	if st.node.GetDoStmt() == nil {
		return false
	}
	job, ok := declared(st.SQL, "v_job")
	return ok && batch{job: job}.doneSQL() == st.SQL
}
