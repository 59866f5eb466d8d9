package replay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

// TestKeyThatTheMigrationsChoose: where they give a table another primary key, a row whose value of it changes on blue is not there twice.
func TestKeyThatTheMigrationsChoose(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, tt := range map[string]struct{ migration, plant string }{
		"another column": {"ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (a)", "INSERT INTO t VALUES (3, 'left', 3)"},
		"a generated one": {"ALTER TABLE t ADD COLUMN h text GENERATED ALWAYS AS (md5(a)) STORED; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (h)",
			"INSERT INTO t VALUES (3, 'left', 3)"},
		"no key of blue's": {"ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD UNIQUE (a)", "INSERT INTO t VALUES (3, 'left', 3)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMigrated(t, &plan.Profile{Tables: tables("t id"), Bookkeeping: []string{"goose_db_version"}},
				`CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b int); INSERT INTO t SELECT n, 'a' || n, n FROM generate_series(1, 9) n`, tt.migration)
			r := w.replayer(t)
			w.as(t, `UPDATE t SET a = 'zz' WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET b = 5 WHERE id = 3; INSERT INTO t VALUES (10, 'n');
				BEGIN; UPDATE t SET a = 'tmp' WHERE id = 4; UPDATE t SET a = 'a4' WHERE id = 5; UPDATE t SET a = 'a5' WHERE id = 4; COMMIT`)
			if a := drain(t, r); len(a.Parked) > 0 {
				t.Fatalf("parked: %v", a.Parked)
			}
			if found := w.off(t); len(found) > 0 {
				t.Errorf("%s", strings.Join(found, "\n"))
			}
			auditAll(t, NewAudit(r, 1))
			exec(t, w.green, tt.plant)
			if err := auditPass(t, NewAudit(r, 1)); err == nil || !strings.Contains(err.Error(), "id=3") {
				t.Errorf("the audit finds %v, want the row that is left", err)
			}
		})
	}
}

// kinCase is a migration that makes one key of two.
type kinCase struct {
	schema, migration string
	deeds             []string // brought over one after the other
	parked            bool     // at the end
}

const kinTexts = `CREATE TABLE t (id text PRIMARY KEY, a text); INSERT INTO t SELECT n, 'a' || n FROM generate_series(1, 9) n`

var kinCases = map[string]kinCase{
	"a text becomes a number": {kinTexts, "ALTER TABLE t ALTER id TYPE int USING id::int",
		[]string{"BEGIN; INSERT INTO t VALUES ('07', 'x'); DELETE FROM t WHERE id = '07'; COMMIT", "BEGIN; DELETE FROM t WHERE id = '8'; INSERT INTO t VALUES ('08', 'y'); COMMIT",
			"BEGIN; DELETE FROM t WHERE id = '08'; INSERT INTO t VALUES ('8', 'z'); COMMIT"}, false},
	"a number for whose place there are two": {kinTexts, "ALTER TABLE t ALTER id TYPE int USING id::int", []string{"INSERT INTO t VALUES ('07', 'x')"}, true},
	"zeros in front":                         {`CREATE TABLE t (id text PRIMARY KEY, a text); INSERT INTO t SELECT '0' || n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE int USING id::int", []string{"UPDATE t SET a = 'b'", "DELETE FROM t WHERE id < '05'", "BEGIN; INSERT INTO t VALUES ('5', 'x'); DELETE FROM t WHERE id = '5'; COMMIT"}, false},
	"a text becomes a numeric":               {kinTexts, "ALTER TABLE t ALTER id TYPE numeric USING id::numeric", []string{"BEGIN; INSERT INTO t VALUES ('7.00', 'x'); DELETE FROM t WHERE id = '7.00'; COMMIT"}, false},
	"a number is rounded":                    {`CREATE TABLE t (id numeric(10, 2) PRIMARY KEY, a text); INSERT INTO t SELECT n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE numeric(10, 0)", []string{"BEGIN; INSERT INTO t VALUES (7.2, 'x'); DELETE FROM t WHERE id = 7.2; COMMIT"}, false},
	"a text is cut":                          {`CREATE TABLE t (id text PRIMARY KEY, a text); INSERT INTO t SELECT 'k' || n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE varchar(2) USING id::varchar(2)", []string{"BEGIN; INSERT INTO t VALUES ('k7b', 'x'); DELETE FROM t WHERE id = 'k7b'; COMMIT"}, false},
	"a text becomes a uuid": {`CREATE TABLE t (id text PRIMARY KEY, a text); INSERT INTO t VALUES ('0000000a-0000-0000-0000-000000000000', 'a')`, "ALTER TABLE t ALTER id TYPE uuid USING id::uuid",
		[]string{"BEGIN; INSERT INTO t VALUES ('0000000A-0000-0000-0000-000000000000', 'x'); DELETE FROM t WHERE id = '0000000A-0000-0000-0000-000000000000'; COMMIT"}, false},
	"case counts no more": {`CREATE EXTENSION citext; CREATE TABLE t (id text PRIMARY KEY, a text); INSERT INTO t SELECT 'k' || n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE citext",
		[]string{"BEGIN; INSERT INTO t VALUES ('K7', 'x'); DELETE FROM t WHERE id = 'K7'; COMMIT"}, false},
	"a collation for which case counts no more": {`CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE t (id text PRIMARY KEY, a text); INSERT INTO t SELECT 'k' || n, 'a' FROM generate_series(1, 9) n`,
		"ALTER TABLE t ALTER id TYPE text COLLATE public.ci", []string{"BEGIN; INSERT INTO t VALUES ('K7', 'x'); DELETE FROM t WHERE id = 'K7'; COMMIT", "BEGIN; DELETE FROM t WHERE id = 'k8'; INSERT INTO t VALUES ('K8', 'y'); COMMIT"}, false},
	"a number is rounded, alone": {`CREATE TABLE t (id numeric(10, 2) PRIMARY KEY, a text); INSERT INTO t SELECT n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE numeric(10, 0)",
		[]string{"INSERT INTO t VALUES (99.6, 'x'), (8.7 + 100, 'y')", "DELETE FROM t WHERE id = 99.6", "UPDATE t SET id = 50.2 WHERE id = 108.7"}, false},
	"a number is rounded to tens": {`CREATE TABLE t (id bigint PRIMARY KEY, a text); INSERT INTO t SELECT 10 * n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE numeric(10, -1)",
		[]string{"BEGIN; INSERT INTO t VALUES (51, 'x'); DELETE FROM t WHERE id = 51; COMMIT", "BEGIN; DELETE FROM t WHERE id = 60; INSERT INTO t VALUES (61, 'y'); COMMIT"}, false},
	"a text is cut, alone": {kinTexts, "ALTER TABLE t ALTER id TYPE varchar(2) USING id::varchar(2)", []string{"INSERT INTO t VALUES ('xyz', 'x')", "DELETE FROM t WHERE id = 'xyz'"}, false},
	"a double becomes a numeric": {`CREATE TABLE t (id float8 PRIMARY KEY, a text); INSERT INTO t SELECT n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE numeric",
		[]string{"INSERT INTO t VALUES (0.1::float8 + 0.2::float8, 'x')", "DELETE FROM t WHERE id < 1"}, false},
	"blanks at the end go": {`CREATE TABLE t (id char(5) PRIMARY KEY, a text); INSERT INTO t SELECT n, 'a' FROM generate_series(1, 9) n`, "ALTER TABLE t ALTER id TYPE text",
		[]string{"UPDATE t SET a = 'b' WHERE id = '3'", "DELETE FROM t WHERE id = '4'", "UPDATE t SET id = 'q' WHERE id = '5'"}, false},
	"a domain": {kinTexts, "CREATE DOMAIN no AS int CHECK (VALUE > 0); ALTER TABLE t ALTER id TYPE no USING id::no", []string{"BEGIN; INSERT INTO t VALUES ('07', 'x'); DELETE FROM t WHERE id = '07'; COMMIT", "DELETE FROM t WHERE id = '8'"}, false},
}

// TestKeysOfAnotherTypeAreRefused: which key becomes which must be known without what green's database or the migrations have alone.
func TestKeysOfAnotherTypeAreRefused(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, tt := range map[string]struct{ schema, migration, setting, want string }{
		"a collation that blue has not got": {kinTexts, `CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE t ALTER id TYPE text COLLATE ci`, "",
			"one of type text of collation public.ci, which blue has not got"},
		"a time zone": {"CREATE TABLE t (id timestamp PRIMARY KEY, a text)", "ALTER TABLE t ALTER id TYPE timestamptz", "TimeZone = 'Europe/London'", "hangs on a setting of green's database, the time zone (Europe/London)"},
		"no zone":     {"CREATE TABLE t (id timestamp PRIMARY KEY, a text)", "ALTER TABLE t ALTER id TYPE timestamptz", "TimeZone = 'Etc/UTC'", ""},
		"a style":     {"CREATE TABLE t (id text PRIMARY KEY, a text)", "ALTER TABLE t ALTER id TYPE date USING id::date", "DateStyle = 'ISO, DMY'", "how dates are written (ISO, DMY)"},
		"dates stay":  {"CREATE TABLE t (id date PRIMARY KEY, a text)", "ALTER TABLE t ALTER id TYPE timestamp", "DateStyle = 'ISO, DMY'", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newMigrated(t, &plan.Profile{Tables: tables("t id"), Bookkeeping: []string{"goose_db_version"}}, tt.schema, tt.migration)
			if tt.setting != "" {
				exec(t, w.green, "DO $$ BEGIN EXECUTE pg_catalog.format('ALTER DATABASE %I SET "+strings.ReplaceAll(tt.setting, "'", "''")+"', pg_catalog.current_database()); END $$")
				w.green.Pool().Reset()
			}
			err := w.replayer(t).Prepare(t.Context())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestKeysThatBecomeOne: where the migrations give a key a type by which two keys of blue are one, a row that comes or goes leaves
// alone what the other became, and two that are there together are parked, as the migration would fail offline.
func TestKeysThatBecomeOne(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, tt := range kinCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := tt.play(t); len(found) > 0 {
				t.Error(strings.Join(found, "\n"))
			}
		})
	}
}

// play gives what is wrong in the end.
func (k kinCase) play(t *testing.T) []string {
	w := newMigrated(t, &plan.Profile{Tables: tables("t id"), Bookkeeping: []string{"goose_db_version"}}, k.schema, k.migration)
	r := w.replayer(t)
	var a Applied
	for _, deed := range k.deeds {
		w.as(t, deed)
		a = drain(t, r)
	}
	switch parked := len(a.Parked) > 0; {
	case parked != k.parked:
		return []string{fmt.Sprintf("parked: %v", a.Parked)}
	case parked:
		return nil // nor can blue be migrated anew
	}
	return w.off(t)
}
