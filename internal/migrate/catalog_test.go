package migrate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/sqlrewrite"
)

// TestPartitionsAndNames: what Postgres has for ordinary tables alone stays as it is, behind a gate, and what would fail half way on a
// name is refused; nothing is begun.
func TestPartitionsAndNames(t *testing.T) {
	t.Parallel()
	const base = `CREATE TABLE u (id bigint PRIMARY KEY, n int); CREATE TABLE t (id bigint, k int, u bigint, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t_d PARTITION OF t DEFAULT; CREATE INDEX old ON t (u); CREATE INDEX u_n ON u (n);
		INSERT INTO t SELECT i, i % 3, NULL FROM generate_series(1, 100) i;`
	for _, c := range quick.First(t, 1, []struct {
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
		{name: "a key whose name an index has", up: "ALTER TABLE u ADD CONSTRAINT u_n UNIQUE (id, n);", refused: "the name \"u_n\" is taken"},
		{name: "one name for two indexes", up: "CREATE INDEX x ON u (n);\nCREATE INDEX x ON u (id);", refused: "is taken by an index that the migrations have built before"},
		{name: "a name that is taken, and passed over", up: "CREATE INDEX IF NOT EXISTS u_n ON t_1 (id);", refused: "builds no index, since something else has the name"},
		{name: "a table's name", up: "CREATE INDEX IF NOT EXISTS u ON t_1 (id);", refused: "builds no index"},
		{name: "an index that is there", up: "CREATE INDEX IF NOT EXISTS u_n ON u (n);", asked: `SELECT true`},
		{name: "an index that isn't there", up: "CREATE INDEX x ON u (n);\nDROP INDEX nosuch;", refused: "line 3 fails as written: there is no index \"nosuch\""},
		{name: "an index that goes twice", up: "DROP INDEX u_n;\nDROP INDEX u_n;", refused: "line 3 fails as written: there is no index \"u_n\""},
		{name: "an index that may be there", up: "DROP INDEX IF EXISTS nosuch;", asked: `SELECT true`},
		{name: "an index that the migration has made", up: "CREATE INDEX x ON u (n);\nALTER INDEX x RENAME TO y;\nDROP INDEX y;\nCREATE INDEX ON u (n);\nDROP INDEX u_n_idx;", asked: `SELECT to_regclass('y') IS NULL AND to_regclass('x') IS NULL`},
		{name: "an index made anew", up: "DROP INDEX u_n;\nCREATE INDEX u_n ON u (id);\nDROP INDEX u_n;", asked: `SELECT to_regclass('u_n') IS NULL`},
		{name: "a name that comes free", up: "DROP INDEX u_n;\nCREATE INDEX u_n ON u (n, id);", asked: `SELECT pg_get_indexdef('u_n'::regclass) LIKE '%(n, id)'`},
	}) {
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

// TestChosenNames: names that Postgres chooses around others are chosen alike, also those that an earlier migration takes, and those
// that the script gives free by what it drops.
func TestChosenNames(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const base = `CREATE TABLE u (id bigint PRIMARY KEY, n int, m int, CONSTRAINT u_n_check CHECK (id > 0), CONSTRAINT u_m_check CHECK (m > id), CONSTRAINT u_check CHECK (n < m));
		CREATE SEQUENCE u_s_seq; CREATE TABLE u_n_key (); CREATE TABLE u_n_check1 (); CREATE TABLE u_n_idx (); CREATE INDEX u_id_m_idx ON u (n) WHERE m > 0;
		CREATE TABLE other (a int CONSTRAINT u_n_fkey CHECK (a > 0), b int, CONSTRAINT u_n_id_idx CHECK (b > 0));`
	const names = `SELECT (SELECT string_agg(conname::text, ' ' ORDER BY conname) FROM pg_constraint WHERE conrelid::regclass::text IN ('u', 'v')) || ' ' ||
		(SELECT string_agg(c.relname::text, ' ' ORDER BY c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE indrelid = 'u'::regclass) || ' ' ||
		coalesce((SELECT string_agg(relname::text, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'S' AND relname NOT LIKE 'goose%'), '')`
	for _, c := range quick.First(t, 2, []struct {
		name   string
		change []string
	}{
		{"taken before", []string{"ALTER TABLE u ADD CHECK (n > 0);\nALTER TABLE u ADD UNIQUE (n);\nALTER TABLE u ADD FOREIGN KEY (n) REFERENCES u (n);\nCREATE INDEX ON u (n);\nCREATE INDEX ON u (n, id);\n" +
			"ALTER TABLE u ADD COLUMN s serial;\nALTER TABLE u DROP CONSTRAINT u_n_check;\n"}},
		{"given free by name", []string{"ALTER TABLE u DROP CONSTRAINT u_n_check;\nALTER TABLE u ADD CHECK (n > 0);\nDROP TABLE u_n_key;\nALTER TABLE public.u ADD UNIQUE (n);\nDROP SEQUENCE u_s_seq;\nALTER TABLE u ADD COLUMN s serial;\n"}},
		{"given free by a column", []string{"ALTER TABLE u RENAME m TO k;\nALTER TABLE u DROP COLUMN k;\nALTER TABLE u ADD COLUMN m int;\nALTER TABLE u ADD CHECK (m > 0);\nALTER TABLE u ADD CHECK (n > id);\nCREATE INDEX ON u (id, m);\n"}},
		{"in one statement", []string{"ALTER TABLE u DROP COLUMN m, ADD CHECK (n < id);\nALTER TABLE u ADD CHECK (n > 5 AND id > 5);\n"}},
		{"renamed away", []string{"ALTER TABLE u RENAME CONSTRAINT u_n_check TO mine;\nALTER TABLE u ADD CHECK (n > 0);\nALTER SEQUENCE u_s_seq RENAME TO mine_too;\nALTER TABLE u ADD COLUMN s serial;\n"}},
		{"taken by the script", []string{"CREATE INDEX u_n_idx1 ON u (m);\nCREATE INDEX ON u (n);\nALTER INDEX u_n_idx1 RENAME TO u_n_idx3;\nCREATE INDEX ON u (n);\nCREATE INDEX ON u (n);\n" +
			"CREATE TABLE made (id int, CONSTRAINT u_id_n_key UNIQUE (id));\nALTER TABLE u ADD UNIQUE (id, n);\nCREATE SEQUENCE u_r_seq;\nALTER TABLE u ADD COLUMN r serial;\n"}},
		{"an index of a new foreign key", []string{"ALTER TABLE u ADD COLUMN o bigint, ADD CONSTRAINT fk FOREIGN KEY (o) REFERENCES u (id);\nCREATE INDEX u_o ON u (o);\nALTER TABLE u ADD FOREIGN KEY (n) REFERENCES u (id);\n" +
			"ALTER TABLE u RENAME COLUMN n TO p;\nCREATE INDEX u_p ON u (p);\n"}},
		{"of new tables", []string{"CREATE TABLE u_o (k serial PRIMARY KEY, key int UNIQUE, n int CHECK (n > 0) REFERENCES u_o (k), UNIQUE (n, key));\nALTER TABLE u ADD COLUMN o_k int, ADD COLUMN o_key int, ADD COLUMN o int;\n" +
			"ALTER TABLE u ADD UNIQUE (o);\nCREATE INDEX ON u (o_k);\nALTER TABLE u ADD UNIQUE (o_key);\nALTER TABLE u ADD CHECK (o_k > 0);\nALTER TABLE u ADD COLUMN o_n int CHECK (o_n > 0);\nALTER TABLE u ADD FOREIGN KEY (o_n) REFERENCES u_o;\nALTER TABLE u ADD COLUMN o_k_s serial;\n"}},
		{"of sequences of new tables", []string{"CREATE TABLE u_o (k serial, i int GENERATED ALWAYS AS IDENTITY);\nALTER TABLE u ADD COLUMN o_k serial;\nALTER TABLE u ADD COLUMN o_i bigserial;\n"}},
		{"taken and given free by the script", []string{"ALTER TABLE u ADD CHECK (id > 1);\nALTER TABLE u DROP CONSTRAINT u_id_check;\nALTER TABLE u ADD CHECK (id > 2);\nCREATE INDEX ON u (m);\nDROP INDEX u_m_idx;\nCREATE INDEX ON u (m);\nCREATE INDEX ON u (m);\n"}},
		{"on one line", []string{"CREATE SEQUENCE u_r_seq; ALTER TABLE u ADD COLUMN r serial; ALTER TABLE u ADD CHECK (id > 1); ALTER TABLE u ADD CHECK (id > 2); CREATE INDEX ON u (m); CREATE INDEX ON u (m);\n"}},
		{"of what goes with a column", []string{"ALTER TABLE u ADD COLUMN w int UNIQUE, ADD CHECK (w > 0);\nCREATE INDEX ON u (w);\nALTER TABLE u DROP COLUMN w;\nALTER TABLE u ADD COLUMN w int;\nALTER TABLE u ADD UNIQUE (w);\nALTER TABLE u ADD CHECK (w > 1);\nCREATE INDEX ON u (w);\n"}},
		{"of the row", []string{"ALTER TABLE u ADD CHECK (u IS NOT NULL OR u IS NULL);\nALTER TABLE u ADD CHECK (u.* IS NOT NULL OR true);\nALTER TABLE u ADD CHECK (num_nulls(u.*) < 100 AND id > 0);\n"}},
		{"of the row of a table that is known", []string{"CREATE TABLE v (id int);\n", "ALTER TABLE v ADD CHECK (v IS NOT NULL OR v IS NULL);\nALTER TABLE v ADD COLUMN v int;\n", "ALTER TABLE v ADD CHECK (v > 0);\n"}},
		{"taken by the migration before", []string{"ALTER TABLE u ADD CHECK (n IS NOT NULL OR m > 0);\nCREATE INDEX ON u (m);\nALTER TABLE u DROP CONSTRAINT u_m_check;\n",
			"ALTER TABLE u ADD CHECK (n > 1 OR m > 1);\nCREATE INDEX ON u (m);\nALTER TABLE u ADD CHECK (m > 0);\n", "ALTER TABLE u ADD CHECK (m < 100);\n"}},
	}) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			written, dsn := connect(t, pgtest.NewDatabase(t)), pgtest.NewDatabase(t)
			live := connect(t, dsn)
			must(t, live, base)
			must(t, written, base)
			var list []string
			for i, sql := range c.change {
				must(t, written, sql)
				list = append(list, fmt.Sprintf("%d_a.sql", i+1), up+sql)
			}
			if err := liveGoose(files(list...), migrate.Allow(slices.DeleteFunc(sqlrewrite.HazardNames(), func(n string) bool { return n == sqlrewrite.ColumnOrder })...)).Migrate(t.Context(), dsn); err != nil {
				t.Fatal(err)
			}
			if want, got := ask[string](t, written, names), ask[string](t, live, names); want != got {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}
