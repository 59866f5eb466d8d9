package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/plan"
)

// auditPass goes through all tables once.
func auditPass(t testing.TB, a *Audit) error {
	t.Helper()
	for passes := a.Coverage().Passes; a.Coverage().Passes == passes; {
		if _, err := a.Page(t.Context()); err != nil {
			return err
		}
	}
	return nil
}

// auditAll expects nothing in two passes: in the second it knows which tables have their rows from one table alone.
func auditAll(t testing.TB, a *Audit) {
	t.Helper()
	for range 2 {
		if err := auditPass(t, a); err != nil {
			t.Error(err)
		}
	}
}

// corruptions are what could go wrong with one row of green and be seen by nobody. %d is the row.
var corruptions = []struct {
	name, sql, table, column string
	kind                     DifferenceKind
}{
	{name: "a trigger fires", sql: `UPDATE session SET updated_at = updated_at + interval '1 us' WHERE id = %d`, table: "session", column: "updated_at"},
	{name: "day and month swap", sql: `UPDATE session SET day = '2024-03-02' WHERE id = %d`, table: "session", column: "day"},
	{name: "equal, not the same number", sql: `UPDATE session SET amount = 1.00 WHERE id = %d`, table: "session", column: "amount"},
	{name: "equal, not the same name", sql: `UPDATE session SET name = 'ALICE' WHERE id = %d`, table: "session", column: "name"},
	{name: "a value is lost", sql: `UPDATE session SET note = NULL WHERE id = %d`, table: "session", column: "note"},
	{name: "an old value stays", sql: `UPDATE session SET note = 'before' WHERE id = %d`, table: "session", column: "note"},
	{name: "another parent", sql: `UPDATE session SET holder = 2 WHERE id = %d`, table: "session", column: "holder"},
	{name: "another document", sql: `UPDATE session SET doc = '{"a": 1.00}' WHERE id = %d`, table: "session", column: "doc"},
	{name: "a column of the migrations", sql: `UPDATE session SET state = 'odd' WHERE id = %d`, table: "session", column: "state"},
	{name: "another number", sql: `UPDATE session SET seq = DEFAULT WHERE id = %d`, table: "session", column: "seq"},
	{name: "a row is lost", sql: `DELETE FROM session WHERE id = %d`, table: "session", kind: RowMissing},
	{name: "a deleted row stays", sql: `INSERT INTO session OVERRIDING SYSTEM VALUE SELECT (s).* FROM (SELECT s #= hstore('id', (20000 + s.id)::text) AS s FROM session s WHERE id = %d) made`, table: "session", kind: RowExtra},
	{name: "a row without a key is doubled", sql: `INSERT INTO log SELECT * FROM log WHERE at = %d`, table: "log", kind: RowExtra},
}

const auditedSQL = `
CREATE EXTENSION citext;
CREATE TABLE owner (id int PRIMARY KEY); INSERT INTO owner VALUES (1), (2);
CREATE TABLE token (id bigint PRIMARY KEY, owner int NOT NULL REFERENCES owner, updated_at timestamptz, day date, amount numeric, name citext, note text, doc jsonb,
	seq bigint GENERATED ALWAYS AS IDENTITY);
INSERT INTO token SELECT n, 1, '2024-02-03 04:05:06+00', '2024-02-03', 1.0, 'Alice', 'after', '{"a": 1.0}' FROM generate_series(1, 10000) n;
CREATE TABLE log (at bigint NOT NULL, line text); INSERT INTO log SELECT n, 'x' FROM generate_series(1, 3000) n;`

const auditedMigration = `ALTER TABLE token RENAME TO session; ALTER TABLE session RENAME COLUMN owner TO holder; ALTER TABLE session ADD COLUMN state text NOT NULL DEFAULT 'new'`

// One row in ten thousand that is wrong on green is found in the first pass, by its table, key and column; and nothing is
// found where nothing is wrong, while blue is written.
func TestAuditFindsOneWrongRow(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	w := newTwin(t, &plan.Profile{Tables: tables("owner id", "token id", "log at")}, auditedSQL)
	m := script(auditedMigration)
	if err := m.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	exec(t, w.green, `CREATE EXTENSION hstore SCHEMA pg_catalog`)
	w.config.Migrator, w.config.Schema = m, nil
	r := w.replayer(t)
	a := NewAudit(r, 1)
	rng := slice.Chance(t)
	for i := range 10 {
		w.as(t, fmt.Sprintf(`UPDATE token SET note = 'busy' || %d WHERE id %% 100 = %d; DELETE FROM token WHERE id = %d; INSERT INTO token (id, owner) VALUES (%d, 2)`, i, i, 9000+i, 11000+i))
		if _, err := a.Page(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	auditAll(t, a)
	exec(t, w.green, `CREATE SCHEMA kept; CREATE TABLE kept.session AS SELECT * FROM session; CREATE TABLE kept.log AS SELECT * FROM log`)
	found := make(map[string]int)
	const tries = 20
	numbers := slice.Of(t, 0, tries)
	for _, c := range corruptions {
		for range numbers {
			id := 1 + rng.IntN(2999)
			exec(t, w.green, fmt.Sprintf(c.sql, id))
			err := auditPass(t, NewAudit(r, 1))
			var wrong *AuditError
			switch {
			case !errors.As(err, &wrong):
				t.Errorf("%s, row %d: the audit says %v", c.name, id, err)
			case !slices.ContainsFunc(wrong.Differences, func(d Difference) bool {
				return d.Table == c.table && d.Kind == c.kind && strings.HasSuffix(d.Key, fmt.Sprint(id)) && (c.column == "" || slices.Equal(d.Columns, []string{c.column}))
			}):
				t.Errorf("%s, row %d: the audit says %v", c.name, id, err)
			default:
				found[c.name]++
			}
			exec(t, w.green, `DELETE FROM session; INSERT INTO session OVERRIDING SYSTEM VALUE SELECT * FROM kept.session; TRUNCATE log; INSERT INTO log SELECT * FROM kept.log`)
		}
	}
	for _, c := range corruptions {
		t.Logf("%-32s found %d of %d times", c.name, found[c.name], len(numbers))
	}
}

// On a blue that nobody writes to an audit looks all the same, also in a process that took the run over; and beside a change
// that is parked it says nothing.
func TestAuditOfAQuietBlue(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	w := newTwin(t, &plan.Profile{Tables: tables("owner id", "token id", "log at")}, auditedSQL)
	m := script(auditedMigration)
	if err := m.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	w.config.Migrator = m
	r := w.replayer(t)
	a := NewAudit(r, 1)
	for pages := 0; a.Coverage().Passes == 0; pages++ {
		if _, err := a.Page(t.Context()); err != nil || pages > 100 {
			t.Fatalf("after %d pages of a blue that nobody writes to: %v, %+v", pages, err, a.Coverage())
		}
	}
	exec(t, w.green, `ALTER TABLE session ADD CHECK (note <> 'never')`)
	w.as(t, `UPDATE token SET note = 'never' WHERE id = 5`)
	drain(t, r)
	if parked, err := r.Retry(t.Context()); err != nil || len(parked) != 1 {
		t.Fatalf("parked: %q, %v", parked, err)
	}
	exec(t, w.green, `UPDATE session SET note = 'wrong' WHERE id = 7`)
	for range 5 {
		if n, err := a.Page(t.Context()); n != 0 || err != nil {
			t.Fatalf("beside a parked change: %d rows, %v", n, err)
		}
	}
}

// Writers beside it, on few rows too, are no reason to find anything: what is under way is not what is wrong.
func TestAuditBesideWriters(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	w := newTwin(t, &plan.Profile{Tables: tables("owner id", "token id", "log at")}, auditedSQL)
	m := script(auditedMigration)
	if err := m.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	w.config.Migrator = m
	r := w.replayer(t)
	a := NewAudit(r, 1)
	ctx, stop := context.WithCancel(t.Context())
	var writers errgroup.Group
	var written atomic.Int64
	for n := range 3 {
		conn := stranger(t, w.blue)
		writers.Go(func() error {
			pace := time.NewTicker(5 * time.Millisecond) // replay has to keep up
			defer pace.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				<-pace.C
				id := 1 + i%5 // hot
				if i%3 == 0 {
					id = 1 + (i*7919)%10000
				}
				sql := fmt.Sprintf(`UPDATE token SET note = 'w%d %d' WHERE id = %d`, n, i, id)
				switch i % 10 {
				case 1:
					sql = fmt.Sprintf(`INSERT INTO token (id, owner) VALUES (%d, 2) ON CONFLICT (id) DO UPDATE SET owner = 1`, 20000+i%50)
				case 2:
					sql = fmt.Sprintf(`DELETE FROM token WHERE id = %d`, 20000+(i+7)%50)
				}
				if _, err := conn.Exec(context.WithoutCancel(ctx), sql); err != nil {
					return err
				}
				written.Add(1)
			}
			return nil
		})
	}
	for a.Coverage().Passes < 2 {
		if _, err := r.Batch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Page(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	c := a.Coverage()
	if c.Rows["token"] < 20000 || written.Load() == 0 {
		t.Errorf("%d writes, %+v", written.Load(), c)
	}
	t.Logf("%d writes beside %d rows audited; unsettled: %d", written.Load(), c.Total(), c.Unsettled)
	drain(t, r)
	exec(t, w.green, `UPDATE session SET note = 'wrong' WHERE id = 3`)
	if err := auditPass(t, a); !errors.As(err, new(*AuditError)) {
		t.Errorf("after all that: %v", err)
	}
}
