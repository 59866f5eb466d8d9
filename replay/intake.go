package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// What blue's triggers write is no change of the queue yet. The server's own transactions pay for it, so that it is the
// least that a change can be made of: a row of few columns in a table without an index, values without names. We move it
// into the queue afterwards, where it costs the server's clients nothing.

// intakeSQL makes the table that the triggers write to, and the names of its values.
//
// The first element of a captured change is its op and the number of its shape, such as I5; then come the values of the
// key and, except for an insert, of what the profile keeps; then, for an update, those of the key as it is now. Each
// column costs as much as calling a function, which is why it is an array. The columns have no constraints, since to
// look for them has a price even where there is nothing to be found.
//
// The place in the log (lsn) orders the changes of a row: each is behind the one before, within a transaction too, since
// a record of the one before lies between them. Unlike a number from a sequence it is there for the asking. The moment at
// which its transaction began (at) says which changes belong together, and costs less than the transaction's number, of
// which the row itself (xmin) has half.
const intakeSQL = `
CREATE TABLE IF NOT EXISTS tideover.shape (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	table_name text NOT NULL,
	key text[] NOT NULL,
	kept text[] NOT NULL,
	UNIQUE (table_name, key, kept)
);
CREATE TABLE IF NOT EXISTS tideover.captured (
	lsn pg_lsn,
	at timestamptz,
	change text[]
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_insert_threshold = -1);
-- Nothing ever asks what its values are like, and to find out costs more than to move them.
ALTER TABLE tideover.captured ALTER lsn SET STATISTICS 0, ALTER at SET STATISTICS 0, ALTER change SET STATISTICS 0,
	REPLICA IDENTITY FULL;
-- How many changes could not be recorded: a number that stays when their transaction is rolled back, and needs no table.
CREATE SEQUENCE IF NOT EXISTS tideover.missed;
CREATE OR REPLACE VIEW tideover.recorded AS
SELECT at, txid, table_name, op, key, kept FROM tideover.change
UNION ALL
SELECT c.at, (` + numberSQL + `)::text::xid8 AS txid` + namedSQL + `FROM (SELECT *, xmin AS xid FROM tideover.captured) c ` + shapesSQL

// namedSQL is what the queue has of captured changes c, once shapesSQL has found their shapes s and what each of them is
// in the queue (o): an update that moves a row to another key is a delete and an insert. A change without a shape has no
// name, which the queue refuses.
//
// numberSQL is the number in 64 bits of the transaction that wrote c, or of the savepoint, which is higher.
const (
	numberSQL = `next.number - ((next.number - c.xid::text::bigint) & 4294967295)`
	namedSQL  = `, s.table_name, o.op, pg_catalog.jsonb_object(s.key, o.key) AS key,
	CASE WHEN o.op <> 'I' AND s.kept <> '{}' THEN pg_catalog.jsonb_object(s.kept, w.kept) END AS kept
`
	shapesSQL = `LEFT JOIN (
	SELECT id, table_name, key, kept, pg_catalog.cardinality(key) AS k, pg_catalog.cardinality(key) + pg_catalog.cardinality(kept) AS n
	FROM tideover.shape
) s ON s.id = pg_catalog.substr(c.change[1], 2)::int
CROSS JOIN (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint AS number) next
CROSS JOIN LATERAL (
	SELECT pg_catalog.left(c.change[1], 1) AS op, c.change[2:1 + s.k] AS key, c.change[2 + s.k:1 + s.n] AS kept, c.change[2 + s.n:] AS moved
) w
CROSS JOIN LATERAL (
	SELECT w.op, w.key WHERE w.op <> 'U' OR w.key IS NOT DISTINCT FROM w.moved
	UNION ALL SELECT 'D', w.key WHERE w.op = 'U' AND w.key <> w.moved
	UNION ALL SELECT 'I', w.moved WHERE w.op = 'U' AND w.key <> w.moved
) o `
)

// shapeOf gives a table's shape a number, the one that it has already if it was captured like this before.
func shapeOf(ctx context.Context, tx pgx.Tx, s recorded) (id int, err error) {
	const sql = `
WITH made AS (
	INSERT INTO tideover.shape (table_name, key, kept) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM made UNION ALL SELECT id FROM tideover.shape WHERE table_name = $1 AND key = $2 AND kept = $3`
	if err := tx.QueryRow(ctx, sql, s.table, s.key, append([]string{}, s.keep...)).Scan(&id); err != nil {
		return 0, fmt.Errorf("table %q: %w", s.table, err)
	}
	return id, nil
}

// captured is the SQL that records a change of a row in the intake.
func captured(r *relation, s recorded, shape int, op, row string) string {
	values := []string{fmt.Sprintf("'%s%d'", op, shape)}
	add := func(row string, columns []string) {
		for _, c := range columns {
			values = append(values, text(r, row, c))
		}
	}
	add(row, s.key)
	if op != "I" {
		add(row, s.keep)
	}
	if op == "U" {
		add("NEW", s.key)
	}
	return "INSERT INTO tideover.captured (lsn, at, change) SELECT pg_catalog.pg_current_wal_insert_lsn(), CURRENT_TIMESTAMP, ARRAY[" +
		strings.Join(values, ", ") + "]"
}

// text is the SQL of a column's value as text that means the value in every session of ours. The form of some types,
// such as a date, is the session's choice; JSON's is not, and reads in any session. Of what is left the functions of the
// triggers choose the form (formSQL): that is dear, and seldom wanted.
func text(r *relation, row, name string) string {
	c, _ := r.column(name)
	return c.text(row + "." + pgx.Identifier{name}.Sanitize())
}

func (c column) text(value string) string {
	if c.asJSON() {
		return "(pg_catalog.to_jsonb(" + value + ") OPERATOR(pg_catalog.#>>) '{}'::pg_catalog.text[])"
	}
	return value + "::pg_catalog.text"
}

// asJSON says whether a column's values are written as JSON has them: times, for which it has a form of its own, and what a
// cast to text would cut the spaces off.
func (c column) asJSON() bool {
	switch c.typ {
	case "date", "timestamp without time zone", "timestamp with time zone", "character", "bpchar":
		return true
	}
	return false
}

// formSQL has a function write values in one form, where the form of a recorded column's values is the session's choice.
func formSQL(r *relation, s recorded) string {
	for _, name := range slices.Concat(s.key, s.keep) {
		if c, _ := r.column(name); !c.stable && !c.asJSON() {
			return " SET DateStyle = 'ISO, MDY' SET IntervalStyle = 'postgres' SET TimeZone = 'UTC' SET extra_float_digits = 3" +
				" SET bytea_output = 'hex' SET lc_monetary = 'C' SET xmlbinary = 'base64'"
		}
	}
	return ""
}

// Sync moves what the triggers have written into the queue, all of it in one transaction: a claim takes transactions
// whole. All changes of a transaction get the highest number among them; two transactions that began in the same
// microsecond are taken for one. Two that do so at once move each row once. The queue numbers changes in the order of the log; a later Sync only
// brings such changes of a row as are behind those that an earlier one has brought, since rows are locked by who changes
// them. The error is a [*LostError] where a change was not recorded.
func (c *Capture) Sync(ctx context.Context) error {
	if c.side != plan.Blue {
		return nil // green's triggers write into the queue
	}
	if err := c.complete(ctx); err != nil {
		return err
	}
	const move = `
WITH moved AS (
	DELETE FROM tideover.captured RETURNING *, xmin AS xid
)
INSERT INTO tideover.change (at, txid, table_name, op, key, kept)
SELECT c.at, (max(` + numberSQL + `) OVER (PARTITION BY c.at))::text::xid8` + namedSQL + `FROM moved c ` + shapesSQL + `ORDER BY c.lsn, o.op`
	err := pgx.BeginTxFunc(ctx, c.db.Pool(), pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_catalog.set_config('statement_timeout', '0', true)`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, move)
		return err
	})
	if postgres.Code(err) == "42P01" {
		err = errors.Join(ErrNoCapture, err)
	}
	if err != nil {
		return fmt.Errorf("read what was captured on %s: %w", c.db.Name(), err)
	}
	return nil
}

// complete returns a [*LostError] once a change was let through without a record.
func (c *Capture) complete(ctx context.Context) error {
	if c.side != plan.Blue {
		return nil
	}
	var missed int64
	err := c.db.Pool().QueryRow(ctx, `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tideover.missed`).Scan(&missed)
	if postgres.Code(err) == "42P01" {
		err = errors.Join(ErrNoCapture, err)
	}
	if err != nil {
		return fmt.Errorf("ask whether all was captured on %s: %w", c.db.Name(), err)
	}
	if missed > 0 {
		return &LostError{c.db.Name(), fmt.Sprintf("%d could not be recorded and went through, as on_error: mark-incomplete says; the server's log names the tables", missed)}
	}
	return nil
}

const (
	tidyEvery = 10 * time.Second
	tidyAbove = 16 << 20 // bytes
)

// Run keeps the intake small until ctx ends: each Sync reads all of it, and what a long copy lets it grow to would
// otherwise stay. It passes over a moment in which that is not possible.
func (c *Capture) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tidyEvery):
		}
		if err := c.tidy(ctx); err != nil && ctx.Err() == nil && !passes(err) {
			return err
		}
	}
}

func (c *Capture) tidy(ctx context.Context) error {
	if c.side != plan.Blue {
		return nil
	}
	var large bool
	const size = `SELECT coalesce(pg_catalog.pg_relation_size(pg_catalog.to_regclass('tideover.captured')), 0) > $1`
	err := c.db.Pool().QueryRow(ctx, size, tidyAbove).Scan(&large)
	if err == nil && large {
		_, err = c.db.Pool().Exec(ctx, `VACUUM (SKIP_LOCKED) tideover.captured`)
	}
	if err != nil {
		return fmt.Errorf("tidy what was captured on %s: %w", c.db.Name(), err)
	}
	return nil
}
