package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// SchemaOptions say what Schema copies beside the schema itself.
type SchemaOptions struct {
	Profile    *plan.Profile // its schema's bookkeeping tables are copied with their rows; nil: no rows at all
	BinDir     string        // folder of pg_dump and pg_restore; "": PATH, then the usual places
	Privileges bool          // owners and grants too; their roles must exist
}

// Schema gives the empty database at intoDSN the schema of blue, without rows but for those of the migration tool's
// bookkeeping tables, and with the values of blue's sequences. It happens in one transaction: on an error, nothing is
// left. It is the start of every scratch database that a delta is migrated in.
func Schema(ctx context.Context, blueDSN, intoDSN string, o SchemaOptions) error {
	blue, snapshot, err := export(ctx, blueDSN)
	if err != nil {
		return err
	}
	defer func() { hang(ctx, blue.Conn) }()
	a, err := dump(ctx, blue.Conn, blueDSN, snapshot, o.BinDir, o.Privileges)
	if err != nil {
		return err
	}
	defer a.remove()
	into, err := connect(ctx, "the copy", intoDSN)
	if err != nil {
		return err
	}
	defer hang(ctx, into.Conn)
	tables, err := relations(ctx, blue.Conn)
	if err != nil {
		return err
	}
	tx, err := into.Begin(ctx)
	if err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	if err := restoreSection(ctx, into.Conn, a, "pre-data"); err != nil {
		return err
	}
	for _, t := range tables {
		if o.Profile == nil || t.schema != schemaOf(o.Profile) || !slices.Contains(o.Profile.Bookkeeping, t.name) {
			continue
		}
		if _, err := stream(ctx, blue, into, t.transfer("", false)); err != nil {
			return err
		}
	}
	if err := restoreSection(ctx, into.Conn, a, "post-data"); err != nil {
		return err
	}
	if err := setSequences(ctx, blue.Conn, into.Conn); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	return nil
}

// preData restores types, functions and bare tables, and returns a sum of blue's whole schema.
func (c *copying) preData(ctx context.Context, green *pgx.Conn, a *archive) (sum string, err error) {
	sum, pre, err := a.sum(ctx)
	if err != nil {
		return "", err
	}
	name := "schema " + sum
	if c.marks.names[name] {
		return sum, nil
	}
	if c.marks.names["schema"] {
		return "", schemaChangedError{}
	}
	c.meter.say("schema")
	return sum, pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if err := script(ctx, green, pre); err != nil {
			return fmt.Errorf("restore blue's tables on green: %w", err)
		}
		for _, part := range []string{"schema", name} {
			if _, err := tx.Exec(ctx, mark, part, 0); err != nil {
				return fmt.Errorf("record the schema: %w", err)
			}
		}
		return nil
	})
}

// sameSchema looks whether blue's schema is still the one of the copy: no lock of ours has kept it so.
func (c *copying) sameSchema(ctx context.Context, sum string) error {
	blue, snapshot, err := export(ctx, c.Blue.DSN())
	if err != nil {
		return err
	}
	defer hang(ctx, blue.Conn)
	a, err := dump(ctx, blue.Conn, c.Blue.DSN(), snapshot, c.BinDir, c.Privileges)
	if err != nil {
		return err
	}
	defer a.remove()
	now, _, err := a.sum(ctx)
	if err == nil && now != sum {
		err = schemaChangedError{}
	}
	return err
}

// sum is a hash of the archive's SQL, and the SQL of its pre-data section.
func (a *archive) sum(ctx context.Context) (sum, pre string, err error) {
	hash := sha256.New()
	for _, section := range []string{"pre-data", "post-data"} {
		entries, err := a.entries(ctx, section)
		if err != nil {
			return "", "", err
		}
		sql, err := a.sql(ctx, entries)
		if err != nil {
			return "", "", err
		}
		if section == "pre-data" {
			pre = sql
		}
		hash.Write([]byte(withoutComments(sql)))
	}
	return hex.EncodeToString(hash.Sum(nil)), pre, nil
}

// withoutComments takes out the comment lines of a script, which name the dump's time and version.
func withoutComments(sql string) string {
	var b strings.Builder
	for line := range strings.Lines(sql) {
		if !strings.HasPrefix(line, "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func schemaOf(p *plan.Profile) string {
	if p.Schema == "" {
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
		hang(ctx, conn.Conn)
		return nil, "", fmt.Errorf("export a snapshot of blue: %w", err)
	}
	return conn, snapshot, nil
}

func restoreSection(ctx context.Context, conn *pgx.Conn, a *archive, section string) error {
	entries, err := a.entries(ctx, section)
	if err != nil {
		return err
	}
	sql, err := a.sql(ctx, entries)
	if err != nil {
		return err
	}
	if err := script(ctx, conn, sql); err != nil {
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
