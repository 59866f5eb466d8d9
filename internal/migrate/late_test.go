package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
)

// moves is a migration that moves a column to a table of its own.
const moves = `CREATE TABLE detail (id int PRIMARY KEY REFERENCES a (id) ON DELETE CASCADE, secret text);
INSERT INTO detail (id, secret) SELECT id, n::text || 'x' FROM a;
ALTER TABLE a DROP COLUMN n;
`

// TestMovedColumns: while a column moves, an old server inserts, changes and deletes, also what is being copied, and a new
// one writes both tables. Nothing is lost; what the old server needs goes at Finish, and the version is there before.
func TestMovedColumns(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn := connect(t, dsn)
	must(t, conn, `CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a SELECT i, i FROM generate_series(1, 30000) i`)
	folder := files("1_a.sql", up+moves, "2_b.sql", up+"ALTER TABLE a ADD COLUMN other text;")
	g := liveGoose(folder, migrate.Defer("breaks-old-server"))

	ctx, stop := context.WithCancel(t.Context())
	var old sync.WaitGroup
	failed := make(chan error, 4)
	for w := range 4 {
		server := connect(t, dsn)
		old.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := 30001 + 4*i + w
				for _, sql := range []string{
					fmt.Sprintf(`INSERT INTO a (id, n) VALUES (%d, 1)`, id),
					fmt.Sprintf(`UPDATE a SET n = n + 1 WHERE id = %d`, 1+(i*7919+w)%30000),
					fmt.Sprintf(`BEGIN; INSERT INTO a VALUES (-%[1]d, 5); UPDATE a SET n = 6 WHERE id = -%[1]d; DELETE FROM a WHERE id = -%[1]d; COMMIT`, id),
					fmt.Sprintf(`DELETE FROM a WHERE id = %d`, 1+(i*104729+w)%30000),
				} {
					if _, err := server.PgConn().Exec(context.WithoutCancel(ctx), sql).ReadAll(); err != nil {
						failed <- fmt.Errorf("%s: %w", sql, err)
						return
					}
				}
			}
		})
	}
	if err := g.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	// The new server is there beside the old one: it writes a client and its details, as it wants them.
	must(t, conn, `BEGIN`)
	must(t, conn, `INSERT INTO a (id, other) VALUES (0, 'new')`)
	must(t, conn, `INSERT INTO detail VALUES (0, 'its own')`)
	must(t, conn, `COMMIT`)
	stop()
	old.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	const differ = `SELECT (SELECT count(*) FROM a FULL JOIN detail d USING (id) WHERE id <> 0 AND (a.n::text || 'x') IS DISTINCT FROM d.secret)`
	if n := ask[int](t, conn, differ); n != 0 {
		t.Errorf("%d rows differ", n)
	}
	if ask[string](t, conn, `SELECT secret FROM detail WHERE id = 0`) != "its own" {
		t.Error("what the new server wrote was overwritten")
	}
	if n := ask[int](t, conn, `SELECT count(*)::int FROM a WHERE n > id AND id BETWEEN 1 AND 30000`); n == 0 {
		t.Error("the old server wrote nothing: nothing was tested")
	}
	if !ask[bool](t, conn, `SELECT array_agg(version_id ORDER BY id) = '{0,1,2}' FROM goose_db_version`) {
		t.Error("the versions are not reached")
	}
	if n, err := g.Pending(t.Context(), dsn); err != nil || n != 0 {
		t.Errorf("%d pending, %v", n, err)
	}
	if err := g.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Late(t.Context(), dsn); err != nil || n != 1 {
		t.Errorf("%d put off, %v", n, err)
	}
	for range 2 {
		if err := g.Finish(t.Context(), dsn, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !ask[bool](t, conn, leftNothing) {
		t.Error("something is left behind")
	}
	if ask[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'a'::regclass AND attname = 'n') OR EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'tideover%')`) {
		t.Error("the column or the triggers are left")
	}
}

// TestLateIsRefused: a migration that meets what was put off is refused before anything is done.
func TestLateIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range quick.First(t, 2, []struct {
		name, first, then string
		want              string // "": it goes
	}{
		{"another column", "ALTER TABLE a DROP COLUMN n;", "ALTER TABLE a ADD COLUMN other int;", ""},
		{"another table", "DROP TABLE b;", "CREATE INDEX a_n_idx ON a (n);", ""},
		{"the same column", "ALTER TABLE a DROP COLUMN n;", "ALTER TABLE a ADD COLUMN n text;", "to: 1"},
		{"the table", "ALTER TABLE a RENAME TO c;", "CREATE INDEX c_n_idx ON a (n);", "to: 1"},
		{"code", "ALTER TABLE a DROP COLUMN n;", "DO $$ BEGIN PERFORM 1; END $$;", "to: 1"},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.NewDatabase(t)
			conn := connect(t, dsn)
			must(t, conn, `CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int)`)
			g := liveGoose(files("1_a.sql", up+c.first, "2_b.sql", up+c.then), migrate.Defer("breaks-old-server"), migrate.Allow("loses-data", "opaque"))
			err := g.Migrate(t.Context(), dsn)
			var refused *migrate.FolderError
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Hint(), c.want)) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if c.want != "" && ask[bool](t, conn, `SELECT to_regclass('goose_db_version') IS NOT NULL AND (SELECT count(*) FROM pg_class WHERE relname = 'tideover_migration' AND reltuples > 0) > 0`) {
				t.Error("something was done")
			}
			if c.want == "" {
				if err := g.Finish(t.Context(), dsn, nil); err != nil {
					t.Fatal(err)
				}
				if !ask[bool](t, conn, leftNothing) {
					t.Error("something is left behind")
				}
			}
		})
	}
}
