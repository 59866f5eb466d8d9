package migrate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/migrate"
)

// TestPartitionsAndNames: what Postgres has for ordinary tables alone stays as it is, behind a gate, and what would fail half way on a
// name is refused; nothing is begun.
func TestPartitionsAndNames(t *testing.T) {
	t.Parallel()
	const base = `CREATE TABLE u (id bigint PRIMARY KEY, n int); CREATE TABLE t (id bigint, k int, u bigint, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t_d PARTITION OF t DEFAULT; CREATE INDEX old ON t (u); CREATE INDEX u_n ON u (n);
		INSERT INTO t SELECT i, i % 3, NULL FROM generate_series(1, 100) i;`
	for _, c := range []struct {
		name, up string
		gate     string // a hazard, with its reason
		refused  string // whatever is allowed
		asked    string // true in the end
	}{
		{name: "an index", up: "CREATE INDEX i ON t (u);", gate: "blocks-writes", asked: `SELECT count(*) = 3 FROM pg_index WHERE indexrelid::regclass::text ~ '^(i|t_1_u_idx1|t_d_u_idx1)$'`},
		{name: "an index of the parent only", up: "CREATE INDEX i ON ONLY t (u);", gate: "blocks-writes", asked: `SELECT NOT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass`},
		{name: "an index that goes", up: "DROP INDEX old;", gate: "", asked: `SELECT to_regclass('old') IS NULL`},
		{name: "a foreign key", up: "ALTER TABLE t ADD FOREIGN KEY (u) REFERENCES u;", gate: "blocks-writes", asked: `SELECT count(*) = 3 FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'f' AND convalidated`},
		{name: "a unique key", up: "ALTER TABLE t ADD UNIQUE (u, k);", gate: "blocks-reads", asked: `SELECT count(*) = 3 FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'u'`},
		{name: "a check", up: "ALTER TABLE t ADD CHECK (id > 0);", asked: `SELECT bool_and(convalidated) AND count(*) = 3 FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'c'`},
		{name: "NOT NULL", up: "ALTER TABLE t ALTER COLUMN id SET NOT NULL;", asked: `SELECT true`},
		{name: "a column with a volatile default", up: "ALTER TABLE t ADD COLUMN r uuid DEFAULT gen_random_uuid();", gate: "rewrites-table", asked: `SELECT count(DISTINCT r) = 100 FROM t`},
		{name: "a foreign key to it", up: "ALTER TABLE ONLY u ADD COLUMN k int, ADD FOREIGN KEY (id, k) REFERENCES t;", gate: "blocks-writes", asked: `SELECT bool_and(convalidated) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'f'`},
		{name: "a partition made by the migration", up: "CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (7);", asked: `SELECT to_regclass('t_2') IS NOT NULL`},
		{name: "a name that is taken", up: "CREATE INDEX u_n ON u (id);", refused: "the name \"u_n\" is taken"},
		{name: "a name that is taken, and passed over", up: "CREATE INDEX IF NOT EXISTS u_n ON t_1 (id);", refused: "builds no index, since something else has the name"},
		{name: "a table's name", up: "CREATE INDEX IF NOT EXISTS u ON t_1 (id);", refused: "builds no index"},
		{name: "an index that is there", up: "CREATE INDEX IF NOT EXISTS u_n ON u (n);", asked: `SELECT true`},
		{name: "a name that comes free", up: "DROP INDEX u_n;\nCREATE INDEX u_n ON u (n, id);", asked: `SELECT pg_get_indexdef('u_n'::regclass) LIKE '%(n, id)'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.NewDatabase(t)
			conn := connect(t, dsn)
			must(t, conn, base)
			folder := files("1_a.sql", up+c.up+"\n")
			err := liveGoose(folder).LiveHazardsAt(t.Context(), dsn)
			var hazards *migrate.HazardError
			is := errors.As(err, &hazards)
			switch {
			case c.refused != "":
				for what, err := range map[string]error{"plan": err, "run": liveGoose(folder, migrate.Allow("blocks-writes", "blocks-reads")).Migrate(t.Context(), dsn)} {
					if err == nil || !strings.Contains(err.Error(), c.refused) {
						t.Errorf("%s: %v, want %s", what, err, c.refused)
					}
				}
				return
			case c.gate != "" && (!is || fmt.Sprint(hazards.Names()) != "["+c.gate+"]" || !strings.Contains(err.Error(), "partitions")):
				t.Fatalf("%v; want %s, with the reason", err, c.gate)
			case c.gate == "" && err != nil && !strings.Contains(c.up, "DROP INDEX old"):
				t.Fatal(err)
			}
			allowed := []string{"blocks-writes", "blocks-reads", "rewrites-table"}
			if err := liveGoose(folder, migrate.Allow(allowed...)).LiveHazardsAt(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			if err := liveGoose(folder, migrate.Allow(allowed...)).Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			if !ask[bool](t, conn, c.asked) {
				t.Errorf("not so: %s", c.asked)
			}
		})
	}
}
