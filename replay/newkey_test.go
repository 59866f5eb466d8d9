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
