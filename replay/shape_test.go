package replay

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// A schema with everything that makes merging hard: a random primary key that foreign keys refer to, composite keys,
// identity and generated columns, arrays, enums, json, and a partial unique index on an expression.
const (
	oldShape = `
CREATE TYPE color AS ENUM ('red', 'blue');
CREATE TABLE app (id text PRIMARY KEY, tags text[], j json, jb jsonb, b bytea, n numeric, c color, at timestamptz,
	doubled text GENERATED ALWAYS AS (id || id) STORED);
CREATE TABLE item (org int, no bigint, app text REFERENCES app (id) ON DELETE CASCADE, name text, deleted boolean NOT NULL DEFAULT false,
	colors color[], PRIMARY KEY (org, no));
CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);`
	newShape = `
ALTER TABLE item DROP CONSTRAINT item_app_fkey;
ALTER TABLE app DROP CONSTRAINT app_pkey, ADD COLUMN pk uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE app ADD PRIMARY KEY (pk), ADD UNIQUE (id);
ALTER TABLE item ADD COLUMN app_pk uuid;
UPDATE item SET app_pk = a.pk FROM app a WHERE a.id = item.app;
ALTER TABLE item ADD FOREIGN KEY (app_pk) REFERENCES app (pk) ON DELETE CASCADE;
CREATE UNIQUE INDEX item_name ON item (lower(name)) WHERE NOT deleted`
)

type reshape struct{}

func (reshape) Migrate(ctx context.Context, dsn string) error {
	conn, err := postgres.Connect(ctx, "scratch", dsn)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	_, err = conn.Exec(ctx, lookInPublic+newShape, pgx.QueryExecModeSimpleProtocol)
	return err
}

func TestHardShapes(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const rows = `
INSERT INTO app (id, tags, j, jb, b, n, c, at) VALUES ('a', '{x,"y,\"z"}', '{"k": 1,  "k": 2}', '{"a": [1, "\\"]}', '\xdeadbeef', 1.50, 'red', '2020-01-01 00:00:00.123456+02'), ('b', NULL, NULL, NULL, NULL, 'NaN', NULL, 'infinity');
INSERT INTO item (org, no, app, name, colors) VALUES (1, 1, 'a', 'one', '{red,blue}'), (1, 2, 'a', 'two', '{}'), (2, 1, 'b', 'three', NULL);
INSERT INTO log (note) VALUES ('first'), (E'back\\slash and\ttab''quote');`
	p := &pair{blue: open(t, "blue", newDatabase(t)), green: open(t, "green", newDatabase(t))}
	p.profile = &plan.Profile{
		Tables: []plan.Table{{Name: "app"}, {Name: "item", Key: []string{"org", "no"}, Keep: []string{"app"}}, {Name: "log"}},
		Green:  plan.GreenTables{Volatile: []plan.ColumnRef{{Table: "app", Column: "pk"}}},
	}
	p.config = Config{Blue: p.blue, Green: p.green, Profile: p.profile, Migrator: reshape{}, Rules: cleanup.New(nil, cleanup.Options{})}
	for _, db := range []*postgres.DB{p.blue, p.green} {
		exec(t, db, oldShape)
		exec(t, db, rows)
	}
	exec(t, p.green, newShape)
	if err := NewCapture(p.blue, p.profile, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	before := p.text(t, p.green, `SELECT string_agg(id || pk::text, ' ' ORDER BY id) FROM app`)
	r := p.replayer(t) // with snapshot.Schema for the template
	steps := []struct{ name, sql string }{
		{"change a parent", `UPDATE app SET n = n + 1, j = '{"k":3,  "k": 4}' WHERE id = 'a'`},
		{"change a child", `UPDATE item SET colors = '{blue}' WHERE no = 2`},
		{"swap names under the index", `BEGIN; UPDATE item SET name = 'tmp' WHERE no = 2; UPDATE item SET name = 'TWO' WHERE org = 1 AND no = 1; UPDATE item SET name = 'One' WHERE no = 2; COMMIT`},
		{"a deleted one gives its name away", `UPDATE item SET deleted = true WHERE org = 1 AND no = 1; INSERT INTO item (org, no, app, name) VALUES (3, 1, 'b', 'two')`},
		{"a new parent with a child", `INSERT INTO app (id) VALUES ('n''\w'); INSERT INTO item (org, no, app, name) VALUES (4, 4, 'n''\w', 'four')`},
		{"an identity", `INSERT INTO log (note) VALUES ('third'); UPDATE log SET note = 'changed' WHERE id = 1; DELETE FROM log WHERE id = 2`},
		{"a child moves", `UPDATE item SET app = 'a' WHERE org = 2`},
		{"a composite key changes", `UPDATE item SET no = 77 WHERE org = 2`},
		{"a parent goes", `DELETE FROM app WHERE id = 'b'`},
		{"a truncate", `TRUNCATE log`},
	}
	for _, s := range steps {
		p.as(t, s.sql)
		if a := drain(t, r); len(a.Parked) > 0 {
			t.Fatalf("%s: parked: %v", s.name, a.Parked)
		}
		for _, sql := range []string{
			`SELECT string_agg(md5(id || coalesce(tags::text, '-') || coalesce(j::text, '-') || coalesce(jb::text, '-') || coalesce(b::text, '-') || coalesce(n::text, '-') || coalesce(c::text, '-') || coalesce(at::text, '-') || doubled) || id, ' ' ORDER BY id) FROM app`,
			`SELECT string_agg((org, no, app, name, deleted, colors)::text, ' ' ORDER BY org, no) FROM item`,
			`SELECT string_agg(l::text, ' ' ORDER BY id) FROM log l`,
		} {
			if want, got := p.text(t, p.blue, sql), p.text(t, p.green, sql); want != got {
				t.Errorf("%s:\nblue  %s\ngreen %s", s.name, want, got)
			}
		}
		if loose := p.text(t, p.green, `SELECT string_agg(name, ' ') FROM item i WHERE NOT EXISTS (SELECT 1 FROM app a WHERE a.pk = i.app_pk AND a.id = i.app)`); loose != "" {
			t.Errorf("%s: these items lost their app: %s", s.name, loose)
		}
	}
	after := p.text(t, p.green, `SELECT string_agg(id || pk::text, ' ' ORDER BY id) FROM app WHERE id = 'a'`)
	if !strings.HasPrefix(before, after) {
		t.Errorf("a column that the migration fills at random changed: %s, was %s", after, before)
	}
}

func (p *pair) text(t testing.TB, db *postgres.DB, sql string) string {
	t.Helper()
	var s *string
	if err := pgtest.Pool(t, db.DSN()).QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if s == nil {
		return ""
	}
	return *s
}

// A migration numbers rows. The numbers that a delta's rows get in the scratch database are others' on green: new rows take
// green's next ones, and what refers to them goes along.
func TestNumbersOfAMigration(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, numbered := range []string{"bigint GENERATED BY DEFAULT AS IDENTITY", "bigint GENERATED ALWAYS AS IDENTITY", "bigserial"} {
		t.Run(numbered, func(t *testing.T) {
			t.Parallel()
			p := &plan.Profile{Tables: tables("app name", "item id"), Green: plan.GreenTables{Volatile: []plan.ColumnRef{{Table: "app", Column: "id"}}}}
			w := newTwin(t, p, `
CREATE TABLE app (name text PRIMARY KEY, v int); INSERT INTO app SELECT 'a' || n, 0 FROM generate_series(1, 9) n;
CREATE TABLE item (id int PRIMARY KEY, app text NOT NULL REFERENCES app ON DELETE CASCADE); INSERT INTO item SELECT n, 'a' || n FROM generate_series(1, 9) n;`)
			m := script(`ALTER TABLE app ADD COLUMN id ` + numbered + `; ALTER TABLE app ADD UNIQUE (id); ALTER TABLE item ADD COLUMN app_id bigint;
UPDATE item SET app_id = a.id FROM app a WHERE a.name = item.app; ALTER TABLE item ADD FOREIGN KEY (app_id) REFERENCES app (id) ON DELETE CASCADE`)
			if err := m.Migrate(t.Context(), w.green.DSN()); err != nil {
				t.Fatal(err)
			}
			w.config.Migrator = m
			r := w.replayer(t)
			before := w.text(t, w.green, `SELECT string_agg(name || id, ' ' ORDER BY id) FROM app WHERE name <> 'a3'`)
			for _, change := range []string{
				`INSERT INTO app VALUES ('new', 1); INSERT INTO item VALUES (10, 'new'), (11, 'a2'), (12, 'a1')`,
				`UPDATE app SET v = 5; UPDATE item SET app = 'new' WHERE id = 5; DELETE FROM app WHERE name = 'a3'`,
				`INSERT INTO app VALUES ('a3', 2); INSERT INTO item VALUES (3, 'a3')`,
			} {
				w.as(t, change)
				if a := drain(t, r); len(a.Parked) > 0 {
					t.Fatalf("parked: %v", a.Parked)
				}
				const rows = `SELECT string_agg(i.id || i.app || a.v, ' ' ORDER BY i.id) FROM item i JOIN app a ON a.name = i.app`
				if want, got := w.text(t, w.blue, rows), w.text(t, w.green, rows+` AND a.id = i.app_id`); want != got {
					t.Errorf("blue  %s\ngreen %s", want, got)
				}
			}
			if after := w.text(t, w.green, `SELECT string_agg(name || id, ' ' ORDER BY id) FROM app WHERE name NOT IN ('a3', 'new')`); after != before {
				t.Errorf("numbers changed: %s, were %s", after, before)
			}
			auditAll(t, NewAudit(r, 1))
		})
	}
}

// A log-out takes the login away, and the consent gets another flow. What on_delete says of the login finds the old flow on
// green; its children are the consent's living tokens, and must not go along.
func TestOnDeleteSparesWhatIsOnlyReplaced(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := &plan.Profile{Tables: []plan.Table{
		{Name: "login", OnDelete: "DELETE FROM flow WHERE id = :id"},
		{Name: "consent", Keep: []string{"login"}, OnDelete: "DELETE FROM flow WHERE consent_id = :id"},
		{Name: "token"},
	}}
	w := newTwin(t, p, `
CREATE TABLE login (id text PRIMARY KEY); CREATE TABLE consent (id text PRIMARY KEY, login text REFERENCES login ON DELETE SET NULL);
CREATE TABLE token (id text PRIMARY KEY, consent text NOT NULL REFERENCES consent ON DELETE CASCADE);
INSERT INTO login VALUES ('l1'), ('l2'); INSERT INTO consent VALUES ('c1', 'l1'), ('c2', 'l2'); INSERT INTO token VALUES ('t1', 'c1'), ('t2', 'c2')`)
	m := script(`
CREATE TABLE flow (id text PRIMARY KEY, consent_id text UNIQUE);
INSERT INTO flow SELECT l.id, c.id FROM login l LEFT JOIN consent c ON c.login = l.id;
INSERT INTO flow SELECT 'alone-' || c.id, c.id FROM consent c WHERE c.login IS NULL;
ALTER TABLE token DROP CONSTRAINT token_consent_fkey; ALTER TABLE token ADD FOREIGN KEY (consent) REFERENCES flow (consent_id) ON DELETE CASCADE;
DROP TABLE consent, login`)
	if err := m.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	w.config.Migrator = m
	r := w.replayer(t)
	w.as(t, `DELETE FROM login WHERE id = 'l1'; DELETE FROM consent WHERE id = 'c2'`)
	if a := drain(t, r); len(a.Parked) > 0 {
		t.Fatalf("parked: %v", a.Parked)
	}
	const flows = `SELECT string_agg(id || coalesce(consent_id, '-'), ' ' ORDER BY id) FROM flow`
	if got := w.text(t, w.green, flows); got != "alone-c1c1 l2-" {
		t.Errorf("flows: %s", got)
	}
	if got := w.text(t, w.green, `SELECT string_agg(id, ' ') FROM token`); got != "t1" {
		t.Errorf("tokens: %s, want t1", got)
	}
	auditAll(t, NewAudit(r, 1))
}
