package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// What blue's triggers write is no change of the queue yet. The server's own transactions pay for it, so that it is the
// least that a change can be made of: a narrow row in a table without an index, values without names. We move it into the
// queue afterwards, where it costs the server's clients nothing.

// intakeSQL makes the table that the triggers write to, and the names of its values. A row's key is its first key
// column, rest the other ones and then, except for an insert, what the profile keeps. Numbers are the queue's own.
const intakeSQL = `
CREATE TABLE IF NOT EXISTS tideover.shape (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	table_name text NOT NULL,
	key text[] NOT NULL,
	kept text[] NOT NULL,
	UNIQUE (table_name, key, kept)
);
CREATE TABLE IF NOT EXISTS tideover.captured (
	id bigint NOT NULL DEFAULT pg_catalog.nextval('tideover.change_id_seq'),
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
	shape int NOT NULL,
	op "char" NOT NULL,
	key text NOT NULL,
	rest text[]
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_insert_threshold = -1);
-- Nothing ever asks what its values are like, and to find out costs more than to move them.
ALTER TABLE tideover.captured ALTER id SET STATISTICS 0, ALTER at SET STATISTICS 0, ALTER txid SET STATISTICS 0,
	ALTER shape SET STATISTICS 0, ALTER op SET STATISTICS 0, ALTER key SET STATISTICS 0, ALTER rest SET STATISTICS 0,
	REPLICA IDENTITY FULL;
CREATE OR REPLACE VIEW tideover.recorded AS
SELECT id, at, txid, table_name, op, key, kept FROM tideover.change
UNION ALL
SELECT ` + namedSQL + ` FROM tideover.captured c LEFT JOIN tideover.shape s ON s.id = c.shape`

// namedSQL is a captured row c, with the names of its shape s, as the queue has it.
const namedSQL = `c.id, c.at, c.txid, s.table_name, c.op::text,
	pg_catalog.jsonb_object(s.key, ARRAY[c.key] || c.rest[1:pg_catalog.cardinality(s.key) - 1]),
	CASE WHEN c.op <> 'I' AND s.kept <> '{}' THEN pg_catalog.jsonb_object(s.kept, c.rest[pg_catalog.cardinality(s.key):]) END`

// shapeOf gives a table's shape a number, the one that it has already if it was captured like this before.
func shapeOf(ctx context.Context, tx pgx.Tx, s source) (id int, err error) {
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

// captured is the SQL that records a change of a row in the intake, without its condition.
func captured(r *relation, s source, shape int, op, row string) string {
	var rest []string
	columns := s.key[1:]
	if op != "I" {
		columns = append(append([]string{}, columns...), s.keep...)
	}
	for _, c := range columns {
		rest = append(rest, text(r, row, c))
	}
	values := "NULL"
	if len(rest) > 0 {
		values = "ARRAY[" + strings.Join(rest, ", ") + "]"
	}
	return fmt.Sprintf("INSERT INTO tideover.captured (shape, op, key, rest) SELECT %d, '%s', %s, %s", shape, op, text(r, row, s.key[0]), values)
}

// text is the SQL of a column's value as text, as the value of a JSON object would be. Most types have but one; the form
// of others, such as a time, is the session's choice, and JSON's is not.
func text(r *relation, row, name string) string {
	value := row + "." + pgx.Identifier{name}.Sanitize()
	c, _ := r.column(name)
	switch c.typ {
	case "text", "character varying", "uuid", "smallint", "integer", "bigint", "boolean":
		return value + "::pg_catalog.text"
	}
	return "(pg_catalog.to_jsonb(" + value + ") OPERATOR(pg_catalog.#>>) '{}'::pg_catalog.text[])"
}

// Sync moves what the triggers have written into the queue, all of it in one transaction: a claim takes transactions
// whole. Two that do so at once move each row once.
func (c *Capture) Sync(ctx context.Context) error {
	if c.side != Blue {
		return nil // green's triggers write into the queue
	}
	const move = `
WITH c AS (
	DELETE FROM tideover.captured RETURNING *
)
INSERT INTO tideover.change (id, at, txid, table_name, op, key, kept) OVERRIDING SYSTEM VALUE
SELECT ` + namedSQL + ` FROM c LEFT JOIN tideover.shape s ON s.id = c.shape`
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
	if c.side != Blue {
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
