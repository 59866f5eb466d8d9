package migrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Defer names hazards whose statements are put off until [Goose.Finish]: what only the old server needs is removed when it
// is gone. A version counts as reached when nothing else of it is left, so that the new server finds the schema it wants.
func Defer(names ...string) Option {
	return func(g *Goose) { g.deferred = append(g.deferred, names...) }
}

// checkLate refuses a folder in which a later migration meets what an earlier one has put off.
func (g *Goose) checkLate(files []file, rewritten map[int64]sqlrewrite.Rewritten, scripts map[int64]*sqlrewrite.Script) error {
	if len(g.deferred) == 0 {
		return nil
	}
	if g.vendorRecords() {
		return &FolderError{Text: string(g.scripts.Format) + " notes a version with its last statement, so that nothing of it can be put off", Way: "leave out `defer`, and stop before such files with `to`"}
	}
	for i, f := range files {
		late := rewritten[f.version].Late(g.deferred)
		if len(late) == 0 {
			continue
		}
		for _, later := range files[i+1:] {
			st, err := scripts[later.version].MeetsLate(late)
			if err != nil {
				return err
			}
			if st != nil {
				return &FolderError{File: later.name, Text: fmt.Sprintf("line %d may need what %s does only after the old server is gone", st.Line, f.name),
					Way: fmt.Sprintf("stop before it with `to: %d`, and go on from there with another runbook", f.version)}
			}
		}
	}
	return nil
}

// Late counts the versions of which something was put off.
func (g *Goose) Late(ctx context.Context, dsn string) (int, error) {
	const there = `SELECT pg_catalog.to_regclass('` + LedgerTable + `') IS NOT NULL`
	const count = `SELECT count(*) FROM ` + LedgerTable + ` WHERE reached`
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer postgres.HangUp(ctx, conn)
	var is bool
	if err := conn.QueryRow(ctx, there).Scan(&is); err != nil || !is {
		return 0, err
	}
	var n int
	err = conn.QueryRow(ctx, count).Scan(&n)
	return n, err
}

// Finish runs what was put off, as it was rewritten then. Where there is nothing it does nothing; it may be called again.
func (g *Goose) Finish(ctx context.Context, dsn string, applied Applied) error {
	if n, err := g.Late(ctx, dsn); err != nil || n == 0 {
		return err
	}
	e, closed, err := g.executor(ctx, dsn)
	if err != nil {
		return err
	}
	defer closed()
	l, err := openLedger(ctx, e.Conn, g.schema, g.vendorRecords())
	if err != nil {
		return err
	}
	var late []*entry
	for _, m := range l.entries {
		if m.Reached {
			late = append(late, m)
		}
	}
	slices.SortFunc(late, func(a, b *entry) int { return int(a.Version - b.Version) })
	for _, m := range late {
		if err := timed(applied, m.Version, m.Name, func() error { return e.parts(ctx, l, m, nil) }); err != nil {
			return err
		}
		if err := l.own.restore(ctx, e.Conn); err != nil {
			return err
		}
	}
	return l.drop(ctx)
}

// putOff notes that a version is reached although something of it is left.
func (l *ledger) putOff(ctx context.Context, db postgres.Execer, e *entry) error {
	const reach = `WITH e AS (UPDATE ` + LedgerTable + ` SET reached = true WHERE version = $1 AND NOT reached RETURNING version)
		INSERT INTO goose_db_version (version_id, is_applied) SELECT version, true FROM e`
	if _, err := db.Exec(ctx, reach, e.Version); err != nil {
		return fmt.Errorf("note that %s is reached: %w", e.Name, err)
	}
	e.Reached = true
	return nil
}
