// Package snapshot copies a live Postgres database into another one, from one consistent snapshot, in parallel, and in
// a way that a killed copy can go on from.
//
// The order of things is that of pg_dump's sections (Postgres manual, pg_dump --section):
//
//  1. pre-data: types, functions and bare tables, in one transaction;
//  2. the rows, table by table, largest first, streamed from blue's socket to green's by COPY. Each table is emptied,
//     filled and recorded in one transaction on green, so that a table is there whole or not at all;
//  3. post-data: indexes and constraints in parallel, then the rest, foreign keys last;
//  4. the values of sequences, materialized views, ANALYZE.
//
// All workers and pg_dump read one exported snapshot (manual 9.27.5, pg_export_snapshot). A copy that goes on after a
// crash takes a new snapshot for the tables that are left, so that its tables are of different moments. That is right
// only because capture was on before the first snapshot: whatever changed between them is in the change queue, and replay
// brings every changed row to its present state. Without capture, resume would be wrong: clear green and start over.
//
// What is left out: schema tideover, the triggers of its functions on the server's tables, publications, subscriptions,
// tablespaces, and (unless Options.Privileges) owners and grants. Large objects come along, but no trigger can capture
// their changes: preflight says so where there are any.
//
// For as long as a copy runs it holds back vacuum on blue (its snapshot) and one ACCESS SHARE lock per table, which
// blocks only ALTER, DROP, TRUNCATE and their like.
package snapshot

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// own is the schema that all of our objects live in.
const own = "tideover"

// settings make COPY's text the same on both sides and let no timeout of the role or database cut a long copy.
// row_security off means an error rather than rows that a policy hides.
const settings = `
SET search_path = ''; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET client_encoding = 'UTF8';
SET row_security = off; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0;`

func connect(ctx context.Context, side, dsn string) (*pgx.Conn, error) {
	conn, err := postgres.Connect(ctx, side, dsn)
	if err != nil {
		return nil, err
	}
	if err := script(ctx, conn, settings); err != nil {
		hang(ctx, conn)
		return nil, fmt.Errorf("%s: prepare a session: %w", side, err)
	}
	return conn, nil
}

// hang ends a session whatever became of the context that it worked under.
func hang(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server ends the session anyway once the socket is closed
}
