package sqlrewrite_test

import (
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/sqlrewrite"
)

// lockModes are pg_locks' names, by level.
var lockModes = []string{"", "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
	"ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}

// TestLockLevels runs each statement of the corpus in a transaction and asks Postgres which locks it took on the
// relations that were there before the script.
func TestLockLevels(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const locks = `SELECT coalesce(max(array_position($2::text[], mode)), 1) - 1 FROM pg_catalog.pg_locks
		WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND relation::oid = ANY ($1::oid[])`
	const relations = `SELECT coalesce(array_agg(c.oid), '{}') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('r', 'p', 'v', 'm') AND nspname IN ('public', 'other')`
	checked := 0
	played := slice.Pick(t, 20, corpus(t))
	for _, m := range played {
		t.Run(m.name, func(t *testing.T) {
			s, err := sqlrewrite.Parse(m.file, m.sql)
			if err != nil {
				t.Fatal(err)
			}
			conn := connect(t, prepared(t, m.before))
			var before []uint32
			if err := conn.QueryRow(t.Context(), relations).Scan(&before); err != nil {
				t.Fatal(err)
			}
			for _, st := range s.Up {
				if strings.Contains(st.SQL, "CONCURRENTLY") && !strings.HasPrefix(st.SQL, "REFRESH") || strings.HasPrefix(st.SQL, "VACUUM") {
					if _, err := conn.Exec(t.Context(), st.SQL); err != nil { // in no transaction; TestConcurrentLocks looks from outside
						t.Fatal(err)
					}
					continue
				}
				tx, err := conn.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec(t.Context(), st.SQL); err != nil {
					t.Fatalf("%s: %v", st.SQL, err)
				}
				var level int
				if err := tx.QueryRow(t.Context(), locks, before, lockModes).Scan(&level); err != nil {
					t.Fatal(err)
				}
				if got := sqlrewrite.Analyze(st); got.Lock != sqlrewrite.Level(level) {
					t.Errorf("%s: Postgres takes %s, the analysis says %s (%+v)", st.SQL, sqlrewrite.Level(level), got.Lock, got.Objects)
				} else if got.Reason == "" || got.Manual == "" {
					t.Errorf("%s: no reason", st.SQL)
				}
				if err := tx.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				checked++
			}
		})
	}
	if checked < len(played)/2 { // few have no statement that may run in a transaction
		t.Errorf("%d statements of %d scripts were checked", checked, len(played))
	}
}
