package replay

import (
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/plan"
)

// TestDeltaReadsAsTheBulk: what green's database sets, and its locale, is in force for a delta as it was for the bulk.
func TestDeltaReadsAsTheBulk(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := &plan.Profile{Tables: tables("t id"), Bookkeeping: []string{"goose_db_version"}}
	w := newTwin(t, p, `CREATE TABLE t (id int PRIMARY KEY, at timestamp, d text); INSERT INTO t SELECT n, '2026-07-01 12:00', '03/04/2026' FROM generate_series(1, 3) n`)
	name := pgx.Identifier{stranger(t, w.green).Config().Database}.Sanitize()
	exec(t, w.green, "ALTER DATABASE "+name+" SET TimeZone = 'Asia/Kathmandu'; ALTER DATABASE "+name+" SET DateStyle = 'ISO, DMY'; ALTER DATABASE "+name+" SET app.tenant = 'acme'")
	w.green = open(t, "green", w.green.DSN())
	m := migrate.NewGoose(fstest.MapFS{"1_m.sql": {Data: []byte(`-- +goose Up
ALTER TABLE t ALTER at TYPE timestamptz, ALTER d TYPE date USING d::date, ADD COLUMN tenant text;
UPDATE t SET tenant = current_setting('app.tenant', true) || at::text;
`)}}, 0)
	if err := m.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	w.config.Green, w.config.Migrator = w.green, m
	r := w.replayer(t)
	w.as(t, `UPDATE t SET d = '05/06/2026' WHERE id = 1; INSERT INTO t VALUES (4, '2026-07-01 12:00', '03/04/2026')`)
	if a := drain(t, r); len(a.Parked) > 0 {
		t.Fatalf("parked: %v", a.Parked)
	}
	const rows = `SELECT string_agg(concat_ws(' ', id, to_char(at AT TIME ZONE 'UTC', 'HH24:MI'), to_char(d, 'DD. Mon'), tenant), '; ' ORDER BY id) FROM t`
	const same = " 06:15 03. Apr acme2026-07-01 12:00:00+05:45"
	want := "1 06:15 05. Jun acme2026-07-01 12:00:00+05:45; 2" + same + "; 3" + same + "; 4" + same
	if got := w.text(t, w.green, rows); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	auditAll(t, NewAudit(r, 1))
}
