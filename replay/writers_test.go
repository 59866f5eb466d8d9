package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// writers is a crowd of sessions on one side that one goroutine plays in an order drawn by chance: what overlaps and
// who commits first is the seed's choice, not the machine's.
type writers struct {
	rng    *rand.Rand
	model  *authorities
	do     func(*txn) // one action of a server
	free   []*pgx.Conn
	open   []*txn
	n      int
	prefix string // of the names that it gives
	wrote  int    // actions that went through

	impasse *impasse
}

// txn is an open transaction of a session.
type txn struct {
	pgx.Tx
	w     *writers
	ctx   context.Context
	conn  *pgx.Conn
	facts []fact
	late  bool // has read, and writes when everybody else has ended
}

// gaveUp is what an action panics with when the server would answer with an error: a lock that another session of the crowd
// has, a snapshot that is too old, a constraint, or the fence.
type gaveUp struct{ code string }

var expected = []string{pgerrcode.QueryCanceled, "40001", "23502", "23503", "23505", "40P01", FencedCode}

// rows runs a statement and gives its rows as text. NULL is "".
func (x *txn) rows(sql string, args ...any) (all [][]string) {
	var err error
	x.w.impasse.run(x.ctx, x.Conn(), func() {
		var rows pgx.Rows
		rows, err = x.Query(x.ctx, sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
		if err != nil {
			return
		}
		for rows.Next() {
			row := make([]string, len(rows.FieldDescriptions()))
			for i, v := range rows.RawValues() {
				row[i] = string(v)
			}
			all = append(all, row)
		}
		err = rows.Err()
	})
	if code := postgres.Code(err); slices.Contains(expected, code) {
		panic(gaveUp{code})
	}
	if err != nil {
		panic(trouble{fmt.Errorf("%s %v: %w", sql, args, err)})
	}
	return all
}

// pick draws a value of a table's column; "" where there is none.
func (x *txn) pick(column, table, where string) string {
	sql := fmt.Sprintf(`SELECT %s FROM %s WHERE %s ORDER BY md5(%s || $1) LIMIT 1`, column, table, where, column)
	if found := x.rows(sql, fmt.Sprint(x.w.rng.IntN(1000))); len(found) > 0 {
		return found[0][0]
	}
	return ""
}

// tell runs a statement whose rows name what a kind of fact happened to.
func (x *txn) tell(kind, sql string, args ...any) {
	for _, row := range x.rows(sql, args...) {
		x.facts = append(x.facts, fact{kind: kind, id: row[0]})
	}
}

// give runs an INSERT of tokens that returns tokenColumns.
func (x *txn) give(sql string, args ...any) {
	for _, row := range x.rows(sql+` RETURNING `+tokenColumns, args...) {
		x.facts = append(x.facts, fact{"token", row[0], token{row[1], row[2], row[3], row[4] == "t"}})
	}
}

const tokenColumns = `signature, request_id, consent_challenge, client_id, expires_at > clock_timestamp()`

func (w *writers) name(kind string) string {
	w.n++
	return fmt.Sprintf("%s%s%04d", w.prefix, kind, w.n)
}

// begin opens a transaction of a free session.
func (w *writers) begin(ctx context.Context, level pgx.TxIsoLevel) *txn {
	i := w.rng.IntN(len(w.free))
	conn := w.free[i]
	w.free = slices.Delete(w.free, i, i+1)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	must(err)
	x := &txn{Tx: tx, w: w, ctx: ctx, conn: conn}
	w.open = append(w.open, x)
	return x
}

// step begins, goes on with, or ends one of the transactions.
func (w *writers) step(ctx context.Context) {
	if len(w.free) > 0 && (len(w.open) == 0 || w.rng.IntN(3) == 0) {
		levels := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.ReadCommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.RepeatableRead, pgx.Serializable}
		w.begin(ctx, levels[w.rng.IntN(len(levels))])
	}
	x := w.open[w.rng.IntN(len(w.open))]
	switch w.rng.IntN(7) {
	case 0, 1, 2:
		if w.act(x) != "" {
			w.end(x, false)
		}
	case 3: // a part of it is taken back, or kept
		w.part(x, w.rng.IntN(3) == 0)
	default:
		w.end(x, w.rng.IntN(5) > 0)
	}
}

func (w *writers) steps(ctx context.Context, n int) {
	for range n {
		w.step(ctx)
	}
}

// act does an action. Where it gave up, it says why, and the transaction can only be rolled back.
func (w *writers) act(x *txn) (code string) {
	defer func() {
		switch e := recover().(type) {
		case nil:
			w.wrote++
		case gaveUp:
			code = e.code
		default:
			panic(e)
		}
	}()
	w.do(x)
	return ""
}

// part does an action in a savepoint.
func (w *writers) part(x *txn, keep bool) {
	inner, err := x.Begin(x.ctx)
	must(err)
	y := &txn{Tx: inner, w: w, ctx: x.ctx}
	if w.act(y) == "" && keep {
		must(inner.Commit(x.ctx))
		x.facts = append(x.facts, y.facts...)
		return
	}
	must(inner.Rollback(x.ctx))
}

// end commits or rolls back. A commit can be refused: then nothing of it happened.
func (w *writers) end(x *txn, commit bool) {
	w.open = slices.DeleteFunc(w.open, func(o *txn) bool { return o == x })
	w.free = append(w.free, x.conn)
	if !commit {
		must(x.Rollback(x.ctx))
		return
	}
	var err error
	w.impasse.run(x.ctx, x.conn, func() { err = x.Commit(x.ctx) })
	switch {
	case err == nil:
		w.model.commit(x.facts)
	case errors.Is(err, pgx.ErrTxCommitRollback), slices.Contains(expected, postgres.Code(err)):
	default:
		must(err)
	}
}

// endAll ends what is open, in an order drawn by chance; the late ones stay.
func (w *writers) endAll(commitOf int) {
	for {
		var rest []*txn
		for _, x := range w.open {
			if !x.late {
				rest = append(rest, x)
			}
		}
		if len(rest) == 0 {
			return
		}
		w.end(rest[w.rng.IntN(len(rest))], w.rng.IntN(commitOf) > 0)
	}
}
