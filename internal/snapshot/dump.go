package snapshot

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/tideover/tideover/internal/postgres"
)

// Dump writes a whole database into a file, to be looked at later with pg_restore. binDir is a folder with pg_dump; ""
// looks for one. The error is a *ProgramError where none can read the server.
func Dump(ctx context.Context, name, dsn, binDir, file string) error {
	conn, err := postgres.Connect(ctx, name, dsn)
	if err != nil {
		return err
	}
	version := 0
	err = conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version)
	if closed := conn.Close(ctx); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", name, err)
	}
	bin, err := programs(ctx, binDir, version)
	if err != nil {
		return err
	}
	conninfo, env, err := libpq(dsn)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := run(ctx, env, filepath.Join(bin, "pg_dump"), "--dbname="+conninfo, "--format=custom", "--no-password", "--file="+file); err != nil {
		return fmt.Errorf("dump %s: %w", name, err)
	}
	return nil
}
