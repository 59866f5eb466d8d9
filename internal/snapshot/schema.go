package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// SchemaOptions say what Schema copies beside the schema itself.
type SchemaOptions struct {
	Profile    *plan.Profile // its schema's bookkeeping tables are copied with their rows; nil: no rows at all
	Rows       *postgres.DB  // a database of the same schema whose rows and numbers come along in place of blue's; nil: see above
	BinDir     string        // folder of pg_dump and pg_restore; "": PATH, then the usual places
	Privileges bool          // owners and grants too; their roles must exist
}

// Schema gives the empty database at intoDSN the schema of blue, without rows but for those of the migration tool's
// bookkeeping tables, or with those of another database of the same schema, and with the values of the sequences. It happens in one transaction: on an error, nothing is
// left. It is the start of every scratch database that a delta is migrated in.
func Schema(ctx context.Context, blueDSN, intoDSN string, o SchemaOptions) error {
	blue, snapshot, err := export(ctx, blueDSN)
	if err != nil {
		return err
	}
	defer func() { postgres.HangUp(ctx, blue.Conn) }()
	into, err := connect(ctx, "the copy", intoDSN)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, into.Conn)
	if err := Admit(ctx, blue.Conn, into.Conn); err != nil {
		return err
	}
	a, err := dump(ctx, blue.Conn, blueDSN, snapshot, o.BinDir, o.Privileges)
	if err != nil {
		return err
	}
	defer a.remove()
	rows := blue
	if o.Rows != nil {
		if rows, err = connect(ctx, o.Rows.Name(), o.Rows.DSN()); err != nil {
			return err
		}
		defer postgres.HangUp(ctx, rows.Conn)
	}
	tables, err := relations(ctx, rows.Conn)
	if err != nil {
		return err
	}
	tx, err := into.Begin(ctx)
	if err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	path, err := pathOf(ctx, blue.Conn, schemaOf(o.Profile))
	if err != nil {
		return err
	}
	if err := restoreSection(ctx, into.Conn, a, "pre-data", ""); err != nil {
		return err
	}
	if err := script(ctx, into.Conn, setPath(path)); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	for _, t := range tables {
		if o.Rows == nil && !o.bookkeeping(t) {
			continue
		}
		if _, err := stream(ctx, rows, into, t.transfer("", false)); err != nil {
			return err
		}
	}
	if err := restoreSection(ctx, into.Conn, a, "post-data", path); err != nil {
		return err
	}
	if err := setSequences(ctx, rows.Conn, into.Conn); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	return nil
}

func (o SchemaOptions) bookkeeping(t relation) bool {
	return o.Profile != nil && slices.Contains(o.Profile.Bookkeeping, o.Profile.Schemas().Called(t.schema, t.name))
}

func schemaOf(p *plan.Profile) string {
	if p == nil || p.Schema == "" {
		return "public"
	}
	return p.Schema
}

// export opens a session on blue whose transaction exports its snapshot. The snapshot can be taken over by others for
// as long as the session lives.
func export(ctx context.Context, dsn string) (*session, string, error) {
	conn, err := connect(ctx, "blue", dsn)
	if err != nil {
		return nil, "", err
	}
	var snapshot string
	_, err = conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT pg_catalog.pg_export_snapshot()`).Scan(&snapshot)
	}
	if err != nil {
		postgres.HangUp(ctx, conn.Conn)
		return nil, "", fmt.Errorf("export a snapshot of blue: %w", err)
	}
	return conn, snapshot, nil
}

// restoreSection restores a section. What is worked out on the way, an index of an expression, looks names up in path.
func restoreSection(ctx context.Context, conn *pgx.Conn, a *archive, section, path string) error {
	entries, err := a.entries(ctx, section)
	if err != nil {
		return err
	}
	sql, err := a.sql(ctx, entries)
	if err != nil {
		return err
	}
	if err := script(ctx, conn, within(sql, path)); err != nil {
		return fmt.Errorf("restore blue's %s: %w", section, err)
	}
	return nil
}

// script runs SQL of many statements. Within a transaction it takes part in it.
func script(ctx context.Context, conn *pgx.Conn, sql string) error {
	if sql == "" {
		return nil
	}
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
