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
	job   string
	table name
	alias string
	head  string // the statement up to the condition on keys
	tail  string // and behind it
	ask   Ask    // but for its place
}

func (b batch) sql() string {
	// The longer names first: a replacer takes the first that fits.
	return block(strings.NewReplacer("@job", quoted(b.job), "@table", quoted(ident(b.table)), "@alias", quoted(ident(name{name: b.alias})),
		"@head", quoted(b.head), "@tail", quoted(b.tail), "@kind", quoted(b.ask.Kind), "@moment", quoted(momentPlaceholder),
		"@why", indented(b.ask.SQL()), "@key", indented(b.ask.KeySQL())).Replace(strings.TrimSpace(batchSQL)))
}

func indented(sql string) string { return strings.ReplaceAll(sql, "\n", "\n        ") }

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
	b, why := inBatches(st)
	if why == "" {
		b.job = fmt.Sprintf("%s:%d:%d", l.script, st.Line, st.Column)
		if b.ask.Kind == Fill { // one statement may add several columns
			b.job += ":" + strings.Join(b.ask.Assigned, ",")
		}
		if st.copied {
			b.job += copySuffix
		}
		why = l.unproved[b.job]
	}
	if why != "" {
		st.whole = why
		return nil
	}
	return []unit{{[]*Statement{l.text(st, b.sql())}, outside}, {[]*Statement{l.text(st, b.doneSQL())}, alone}}
}

// inBatches: a statement whose effect on a row depends on nothing that its effect on another row changes, and so may be done in
// stretches; else why not. What only the catalog can say of it is left in the batch's [Ask].
func inBatches(st *Statement) (b batch, why string) {
	n := clone(st.node)
	pinned(n)
	here := pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(placeholder)}, 0)
	narrow := func(where *pg.Node) *pg.Node {
		if where == nil {
			return here
		}
		return pg.MakeBoolExprNode(pg.BoolExprType_AND_EXPR, []*pg.Node{where, here}, 0)
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_UpdateStmt:
		u := v.UpdateStmt
		if u.WithClause != nil || len(u.ReturningList) > 0 {
			return b, "it has WITH or RETURNING"
		}
		u.WhereClause = narrow(u.WhereClause)
	case *pg.Node_DeleteStmt:
		d := v.DeleteStmt
		if d.WithClause != nil || len(d.ReturningList) > 0 {
			return b, "it has WITH or RETURNING"
		}
		d.WhereClause = narrow(d.WhereClause)
	case *pg.Node_InsertStmt:
		i := v.InsertStmt
		q := i.GetSelectStmt().GetSelectStmt()
		switch {
		case i.WithClause != nil || len(i.ReturningList) > 0:
			return b, "it has WITH or RETURNING"
		case i.OnConflictClause != nil && !st.copied:
			return b, "it has ON CONFLICT: which of two rows is kept depends on their order"
		case i.Override != pg.OverridingKind_OVERRIDING_NOT_SET && i.Override != pg.OverridingKind_OVERRIDING_KIND_UNDEFINED:
			return b, "it overrides an identity"
		case !rowByRow(unlocked(i)) || len(q.FromClause) != 1:
			return b, "its query joins, groups, sorts or limits rows of the table"
		}
		q.WhereClause = narrow(q.WhereClause)
	default:
		return b, "a statement of its kind is not done in batches"
	}
	b, ok := readBatch(n)
	if !ok {
		return b, "the table whose rows it goes along can't be told"
	}
	if why := b.unfit(n, st.copied); why != "" {
		return b, why
	}
	if why := st.known.made().against(b.ask); why != "" {
		return b, why
	}
	if b.ask.Kind == Insert {
		if why := st.known.made().unlike(b.ask); why != "" {
			return b, why
		}
	}
	sql, err := pg.Deparse(&pg.ParseResult{Version: 170007, Stmts: []*pg.RawStmt{{Stmt: n}}})
	if err != nil || strings.Count(sql, placeholder) != 1 {
		return b, "it can't be written with a condition on keys"
	}
	b.head, b.tail, _ = strings.Cut(sql, placeholder)
	return b, ""
}

// unfit says why a statement, with its condition on keys, is not cut, and fills in what is asked of the catalog.
func (b *batch) unfit(n *pg.Node, copied bool) string {
	ours := copied || b.ask.Kind == Fill
	switch {
	case currentOf(n):
		return "it is about the row of a cursor"
	case mentions(n, b.table) > 1:
		return "it reads the table that it goes along once more"
	}
	u, why := rowLocal(n, ours)
	if why != "" {
		return why
	}
	b.ask.Functions, b.ask.Operators, b.ask.Columns = u.functions, u.operators, u.columns
	return ""
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
	return localFunctions[last] || last == "nextval"
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
	if !ok || b.unfit(tree.Stmts[0].Stmt, strings.HasSuffix(job, copySuffix)) != "" {
		return batch{}, nil, false
	}
	b.job, b.head, b.tail = job, head, tail
	return b, whole.Stmts[0].Stmt, b.sql() == st.SQL
}

// readBatch finds out what a statement with the placeholder in it is about.
func readBatch(n *pg.Node) (b batch, ok bool) {
	var table, into *pg.RangeVar
	var written []*pg.Node
	switch v := n.GetNode().(type) {
	case *pg.Node_UpdateStmt:
		table, written, b.ask.Kind = v.UpdateStmt.Relation, v.UpdateStmt.TargetList, Update
		if len(written) == 1 {
			t := written[0].GetResTarget()
			if t.GetVal().GetSetToDefault() != nil && v.UpdateStmt.WhereClause != nil || isShadow(t.GetName()) {
				b.ask.Kind = Fill
			}
		}
	case *pg.Node_DeleteStmt:
		table, b.ask.Kind = v.DeleteStmt.Relation, Delete
	case *pg.Node_InsertStmt:
		into, written, b.ask.Kind = v.InsertStmt.Relation, v.InsertStmt.Cols, Insert
		if q := v.InsertStmt.GetSelectStmt().GetSelectStmt(); q != nil && len(q.FromClause) == 1 {
			table = leftmost(q.FromClause[0])
		}
		b.ask.Into = ident(nameOf(into))
	}
	if table == nil || !table.GetInh() || into != nil && nameOf(into).name == nameOf(table).name {
		return b, false
	}
	for _, t := range written {
		b.ask.Assigned = append(b.ask.Assigned, t.GetResTarget().GetName())
	}
	b.table, b.alias = nameOf(table), table.GetRelname()
	if a := table.GetAlias().GetAliasname(); a != "" {
		b.alias = a
	}
	b.ask.Table = ident(b.table)
	walk(n, func(m any) {
		if r, is := m.(*pg.RangeVar); is && r != table && r != into && !slices.Contains(b.ask.Reads, ident(nameOf(r))) {
			b.ask.Reads = append(b.ask.Reads, ident(nameOf(r)))
		}
	})
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
