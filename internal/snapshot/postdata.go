package snapshot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
)

// stage is a part of the post-data section.
type stage struct {
	name     string
	descs    []string // of the table of contents; the stage without any takes all that no other does
	parallel bool
}

// stages are in the order in which they are restored. Within one that is not parallel the dump's order counts. A
// foreign key needs the unique index that it refers to, and its check needs all rows.
var stages = []stage{
	{"indexes", []string{"INDEX", "CONSTRAINT"}, true},
	{"partition indexes", []string{"INDEX ATTACH"}, false},
	{"rules, policies and views", nil, false},
	{"triggers", []string{"TRIGGER", "EVENT TRIGGER"}, false},
	{"foreign keys", []string{"FK CONSTRAINT"}, true},
}

func stageOf(e entry) int {
	rest := 0
	for i, s := range stages {
		if s.descs == nil {
			rest = i
		}
		for _, d := range s.descs {
			if d == e.desc {
				return i
			}
		}
	}
	return rest
}

// postData restores the entries that green does not record as restored.
func (c *copying) postData(ctx context.Context, green *pgx.Conn, a *archive) error {
	entries, err := a.entries(ctx, "post-data")
	if err != nil {
		return err
	}
	for i, s := range stages {
		var todo []entry
		for _, e := range entries {
			if stageOf(e) == i && !c.marks[markOf(e)] {
				todo = append(todo, e)
			}
		}
		if len(todo) == 0 {
			continue
		}
		c.note(s.name)
		jobs := 1
		if s.parallel {
			jobs = min(c.Jobs, len(todo))
		}
		if err := c.restore(ctx, a, todo, jobs); err != nil {
			return fmt.Errorf("restore blue's %s: %w", s.name, err)
		}
	}
	return nil
}

// markOf names an entry on green. The dump id differs between two dumps; catalog, oid and text do not.
func markOf(e entry) string {
	_, text, _ := strings.Cut(e.line, "; ")
	return "post " + text
}

func (c *copying) restore(ctx context.Context, a *archive, entries []entry, jobs int) error {
	queue := make(chan entry, len(entries))
	for _, e := range entries {
		queue <- e
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	for range jobs {
		group.Go(func() error {
			conn, err := connect(ctx, c.Green.Name(), c.Green.DSN())
			if err != nil {
				return err
			}
			defer hang(ctx, conn)
			for e := range queue {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := restoreEntry(ctx, conn, a, e); err != nil {
					return fmt.Errorf("%s: %w", entryName(e), err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// restoreEntry restores one entry and records it, in one transaction. Two foreign keys that lock the same two tables
// the other way round deadlock when they are made at the same time: the loser tries again.
func restoreEntry(ctx context.Context, conn *pgx.Conn, a *archive, e entry) error {
	sql, err := a.sql(ctx, []entry{e})
	if err != nil {
		return err
	}
	return postgres.Retry(ctx, postgres.Budget{Timeout: time.Minute, Retry: 10 * time.Minute}, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := script(ctx, conn, sql); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, mark, markOf(e), 0)
			return err
		})
	})
}

// entryName is "INDEX public oauth_access_pkey owner", as the table of contents says it.
func entryName(e entry) string {
	fields := strings.SplitN(e.line, " ", 4)
	return fields[len(fields)-1]
}

const matviewsQuery = `
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname <> $1
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
	AND d.objid = c.oid AND d.deptype = 'e') ORDER BY c.oid`

// notPopulated is the SQLSTATE of reading a materialized view that has not been filled (object_not_in_prerequisite_state).
const notPopulated = "55000"

// refresh fills the materialized views that are filled on blue. One that reads another waits for it.
func refresh(ctx context.Context, blue, green *pgx.Conn) error {
	rows, err := blue.Query(ctx, matviewsQuery, own)
	if err != nil {
		return fmt.Errorf("list the materialized views: %w", err)
	}
	todo, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pgx.Identifier, error) {
		var schema, name string
		err := row.Scan(&schema, &name)
		return pgx.Identifier{schema, name}, err
	})
	if err != nil {
		return fmt.Errorf("list the materialized views: %w", err)
	}
	for len(todo) > 0 {
		var later []pgx.Identifier
		var failed error
		for _, view := range todo {
			if _, err := green.Exec(ctx, "REFRESH MATERIALIZED VIEW "+view.Sanitize()); err != nil {
				if postgres.Code(err) != notPopulated {
					return fmt.Errorf("refresh %s: %w", view.Sanitize(), err)
				}
				later, failed = append(later, view), err
			}
		}
		if len(later) == len(todo) {
			return fmt.Errorf("refresh %s: %w", later[0].Sanitize(), failed)
		}
		todo = later
	}
	return nil
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
