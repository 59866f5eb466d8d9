package preflight

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/report"
)

// space holds what the copy needs on green's disk against what is free there. A migration that writes every row anew leaves the old
// ones behind until vacuum: as much again. The write-ahead log takes its own.
//
// No function of Postgres says how much is free. Where our role may run programs on the server, df is asked.
func (c *check) space(ctx context.Context) error {
	const size = `SELECT pg_catalog.pg_database_size(pg_catalog.current_database())
		- coalesce((SELECT sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.to_regnamespace('tideover') AND c.relkind = 'r'), 0)::bigint`
	const log = `SELECT setting::bigint << 20 FROM pg_catalog.pg_settings WHERE name = 'max_wal_size'`
	var rows, wal int64
	if err := c.blue.QueryRow(ctx, size).Scan(&rows); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if err := c.green.QueryRow(ctx, log).Scan(&wal); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	need := 2*rows + wal
	free, known, err := FreeSpace(ctx, c.green)
	if err := lost(ctx, err); err != nil {
		return fmt.Errorf("green: %w", err)
	}
	needs := fmt.Sprintf("green needs about %s (twice blue's %s for copy and migrations, %s of write-ahead log)", report.Bytes(need), report.Bytes(rows), report.Bytes(wal))
	switch {
	case err != nil || !known:
		c.add(OK, "disk", needs+"; our role cannot see what is free on its server", "", 0)
	case free < need:
		c.add(Fail, "disk", fmt.Sprintf("%s, and %s are free", needs, report.Bytes(free)), "give green's server more disk: when it is full in the middle of the copy, the run stops there", 0)
	default:
		c.add(OK, "disk", fmt.Sprintf("%s, and %s are free", needs, report.Bytes(free)), "", 0)
	}
	return nil
}

// Beginner is a session or a pool of them.
type Beginner interface {
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
}

// FreeSpace is how many bytes are free where a database lives, by df on its server. known is false where nobody can say: our role
// may run no programs there, or the server has no df, as in a container without one.
func FreeSpace(ctx context.Context, db Beginner) (free int64, known bool, err error) {
	const mayAsk = `SELECT pg_catalog.pg_has_role(current_user, 'pg_execute_server_program', 'USAGE'),
		coalesce(nullif(pg_catalog.pg_tablespace_location(dattablespace), ''), pg_catalog.current_setting('data_directory'))
		FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`
	tx, err := db.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite})
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // the temporary table goes with it
	var may bool
	var folder string
	if err := tx.QueryRow(ctx, mayAsk).Scan(&may, &folder); err != nil || !may {
		return 0, false, cannotSay(err)
	}
	program := "df -Pk '" + strings.ReplaceAll(folder, "'", `'\''`) + "'"
	ask := "CREATE TEMPORARY TABLE tideover_df (line text); COPY pg_temp.tideover_df FROM PROGRAM '" + strings.ReplaceAll(program, "'", "''") + "'"
	if _, err := tx.Exec(ctx, ask, pgx.QueryExecModeSimpleProtocol); err != nil {
		return 0, false, cannotSay(err)
	}
	var line string
	if err := tx.QueryRow(ctx, `SELECT line FROM pg_temp.tideover_df OFFSET 1`).Scan(&line); err != nil {
		return 0, false, err
	}
	fields := strings.Fields(line) // file system, size, used, available, … (POSIX, df -P)
	if len(fields) < 4 {
		return 0, false, nil
	}
	kilobytes, err := strconv.ParseInt(fields[3], 10, 64)
	return kilobytes << 10, err == nil, nil
}

// cannotSay leaves the errors that are no answer: neither a missing program nor a missing privilege is one.
func cannotSay(err error) error {
	switch postgres.Code(err) {
	case pgerrcode.ExternalRoutineException, pgerrcode.InsufficientPrivilege:
		return nil
	}
	return err
}
