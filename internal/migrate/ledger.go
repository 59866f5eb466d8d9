package migrate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// LedgerTable is where a live migration keeps what it is at: for each version begun its rewritten files, and how many parts
// and steps are done. It stands beside goose_db_version, and is dropped at the end, or with what was put off.
const LedgerTable = "tideover_migration"

// ledger knows which part of which migration comes next.
type ledger struct {
	conn    *pgx.Conn
	schema  string
	own     session
	vendor  bool // the files note their versions in the vendor's own table, and nowhere else
	entries map[int64]*entry
}

type entry struct {
	Version int64
	Name    string
	Part    int  // parts done
	Step    int  // steps of the next part done
	Reached bool // what is left was put off
	Files   []sqlrewrite.File
}

func openLedger(ctx context.Context, conn *pgx.Conn, schema string, vendor bool) (*ledger, error) {
	const create = `CREATE TABLE IF NOT EXISTS ` + LedgerTable + ` (
		version bigint PRIMARY KEY, name text NOT NULL, part integer NOT NULL DEFAULT 0, step integer NOT NULL DEFAULT 0,
		reached boolean NOT NULL DEFAULT false, files jsonb NOT NULL)`
	if _, err := conn.Exec(ctx, create); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", LedgerTable, err)
	}
	if !vendor {
		if err := ensureVersions(ctx, conn); err != nil {
			return nil, err
		}
	}
	own, err := sessionOf(ctx, conn)
	if err != nil {
		return nil, err
	}
	l := &ledger{conn: conn, schema: schema, own: own, vendor: vendor, entries: map[int64]*entry{}}
	list, err := begunEntries(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		l.entries[e.Version] = e
	}
	return l, nil
}

// begunEntries are the migrations that are under way.
func begunEntries(ctx context.Context, conn *pgx.Conn) ([]*entry, error) {
	const exists = `SELECT pg_catalog.to_regclass('` + LedgerTable + `') IS NOT NULL`
	const entries = `SELECT version, name, part, step, reached, files FROM ` + LedgerTable
	var there bool
	if err := conn.QueryRow(ctx, exists).Scan(&there); err != nil || !there {
		return nil, err
	}
	rows, err := conn.Query(ctx, entries)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", LedgerTable, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*entry, error) {
		var e entry
		var files []byte
		if err := row.Scan(&e.Version, &e.Name, &e.Part, &e.Step, &e.Reached, &files); err != nil {
			return nil, err
		}
		return &e, json.Unmarshal(files, &e.Files)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", LedgerTable, err)
	}
	return list, nil
}

// begunVersions are the versions of those that are under way.
func begunVersions(ctx context.Context, conn *pgx.Conn) (map[int64]bool, error) {
	list, err := begunEntries(ctx, conn)
	begun := map[int64]bool{}
	for _, e := range list {
		begun[e.Version] = true
	}
	return begun, err
}

// entry is where a migration goes on; a new one is stored before it begins.
func (l *ledger) entry(ctx context.Context, f file, files []sqlrewrite.File) (*entry, error) {
	const begin = `INSERT INTO ` + LedgerTable + ` (version, name, files) VALUES ($1, $2, $3)`
	if e, ok := l.entries[f.version]; ok {
		return e, nil
	}
	b, err := encode(files)
	if err != nil {
		return nil, err
	}
	if _, err := l.conn.Exec(ctx, begin, f.version, f.name, b); err != nil {
		return nil, fmt.Errorf("note in %s that %s begins: %w", LedgerTable, f.name, err)
	}
	e := &entry{Version: f.version, Name: f.name, Files: files}
	l.entries[f.version] = e
	return e, nil
}

// done notes that a step is done, in its transaction if it has one; the last step of the last part reaches the version. What the step
// has set is still in force, its search_path and its role too; but it is we who note it.
func (l *ledger) done(ctx context.Context, db postgres.Execer, e *entry, lastStep bool) error {
	ours := func(tx postgres.Execer) error {
		if err := l.own.act(ctx, tx); err != nil {
			return err
		}
		return l.note(ctx, tx, e, lastStep)
	}
	switch {
	case db != postgres.Execer(l.conn):
		return ours(db)
	case l.conn.PgConn().TxStatus() == 'I':
		return pgx.BeginFunc(ctx, l.conn, func(tx pgx.Tx) error { return ours(tx) })
	}
	return l.note(ctx, db, e, lastStep) // in a transaction that the file itself has begun, and goes on with
}

func (l *ledger) note(ctx context.Context, db postgres.Execer, e *entry, lastStep bool) error {
	table, versions := pgx.Identifier{l.schema, LedgerTable}.Sanitize(), pgx.Identifier{l.schema, "goose_db_version"}.Sanitize()
	next := `UPDATE ` + table + ` SET part = $2, step = $3 WHERE version OPERATOR(pg_catalog.=) $1`
	gone := `DELETE FROM ` + table + ` WHERE version OPERATOR(pg_catalog.=) $1`
	reached := `WITH gone AS (` + gone + `) INSERT INTO ` + versions + ` (version_id, is_applied) SELECT $1, true WHERE NOT $2::boolean`
	var err error
	switch {
	case lastStep && l.vendor && e.Part == len(e.Files)-1:
		_, err = db.Exec(ctx, gone, e.Version)
	case lastStep && e.Part == len(e.Files)-1:
		_, err = db.Exec(ctx, reached, e.Version, e.Reached)
	case lastStep:
		_, err = db.Exec(ctx, next, e.Version, e.Part+1, 0)
	default:
		_, err = db.Exec(ctx, next, e.Version, e.Part, e.Step+1)
	}
	if err != nil {
		return fmt.Errorf("note how far %s is: %w", e.Name, err)
	}
	if !lastStep {
		e.Step++
	}
	return nil
}

// drop removes the table if nothing is under way.
func (l *ledger) drop(ctx context.Context) error {
	const under = `SELECT EXISTS (SELECT FROM ` + LedgerTable + `)`
	const drop = `DROP TABLE ` + LedgerTable
	var some bool
	if err := l.conn.QueryRow(ctx, under).Scan(&some); err != nil || some {
		return err
	}
	_, err := l.conn.Exec(ctx, drop)
	return err
}
