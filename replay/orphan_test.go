package replay

import (
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

// What refers to a row that went while blue's foreign keys were off would be changed by green's, which are on: its change waits, and
// passes once the rows are mended.
func TestOrphansOfBlueAreParked(t *testing.T) {
	t.Parallel()
	const schema = `
CREATE TABLE parent (id int PRIMARY KEY, tag text UNIQUE, n int NOT NULL DEFAULT 0);
CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent ON DELETE %[1]s, up_tag text REFERENCES parent (tag) ON DELETE %[1]s ON UPDATE CASCADE);
INSERT INTO parent SELECT n, 't' || n FROM generate_series(1, 4) n;
INSERT INTO child VALUES (1, 1, NULL), (2, 2, NULL), (3, NULL, 't3'), (4, NULL, 't4')`
	for _, action := range quick.First(t, 1, []string{"SET NULL", "CASCADE", "SET DEFAULT"}) {
		for _, c := range quick.First(t, 1, []struct{ name, sql, mend string }{
			{"a delete", `DELETE FROM parent WHERE id = 1`, `DELETE FROM child WHERE id = 1`},
			{"a delete, by a value that is not the key", `DELETE FROM parent WHERE id = 3`, `UPDATE child SET up_tag = NULL WHERE id = 3`},
			{"another key", `UPDATE parent SET id = 10 WHERE id = 2`, `UPDATE child SET up = 10 WHERE id = 2`},
			{"another value", `UPDATE parent SET tag = 'other' WHERE id = 4`, `UPDATE parent SET tag = 't4' WHERE id = 4`},
		}) {
			t.Run(action+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				w := newTwin(t, &plan.Profile{Tables: tables("parent", "child")}, strings.ReplaceAll(schema, "%[1]s", action))
				r := w.replayer(t)
				w.as(t, `SET session_replication_role = replica; `+c.sql+`; RESET session_replication_role`)
				drain(t, r)
				parked, err := r.Retry(t.Context())
				if err != nil || len(parked) == 0 || !strings.Contains(parked[0], `table "child" of blue has rows that foreign key`) {
					t.Errorf("parked: %q, %v; green differs by %v", parked, err, w.differences(t))
				}
				w.as(t, c.mend)
				if still, err := r.Retry(t.Context()); err != nil || len(still) > 0 {
					t.Errorf("mended, and still parked: %q, %v", still, err)
				}
				if d := w.differences(t); len(d) > 0 {
					t.Error(d)
				}
			})
		}
	}
}

// Rows that went with their parent are no orphans, whatever they were in.
func TestCascadesOfBlueAreNoOrphans(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	w := newTwin(t, &plan.Profile{Tables: tables("parent", "child")}, `
CREATE TABLE parent (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE);
INSERT INTO parent SELECT n, n / 2 FROM generate_series(1, 40) n WHERE n <> 1 UNION ALL SELECT 1, NULL; INSERT INTO child SELECT n, n FROM generate_series(1, 40) n`)
	r := w.replayer(t)
	w.as(t, `DELETE FROM parent WHERE id IN (5, 9); BEGIN; DELETE FROM parent WHERE id = 4; INSERT INTO parent VALUES (4, 2); COMMIT; UPDATE parent SET up = 1 WHERE id = 6; DELETE FROM parent WHERE id = 3`)
	if a := drain(t, r); len(a.Parked) > 0 {
		t.Errorf("parked: %q", a.Parked)
	}
	if d := w.differences(t); len(d) > 0 {
		t.Error(d)
	}
}
