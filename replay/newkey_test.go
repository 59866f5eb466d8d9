package replay

import (
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
