package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

const (
	triggers = "triggers"
	logical  = "logical"
	outbox   = "outbox"
)

// ownDatabase11 is a database of 1.1 on a server of its own: a slot waits for every transaction of its server, those of
// other tests too.
func ownDatabase11(t testing.TB) string {
	t.Helper()
	dsn := pgtest.NewServer(t, pgserver.Options{Name: "logical"}).DSN()
	if err := goose(version11).Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// newSource makes the source that an arena was made with; nil: triggers.
func (a *arena) newSource() Source { return sourceOf(a.blue, a.profile, a.source) }

func sourceOf(db *postgres.DB, p *plan.Profile, source string) Source {
	switch source {
	case logical:
		return NewLogical(db, p, 0)
	case outbox:
		return NewOutbox(db, p, "server.outbox")
	}
	return nil
}

func installSource(t testing.TB, db *postgres.DB, p *plan.Profile, source string) {
	t.Helper()
	if source == outbox {
		outboxServer(t, db, p)
	}
	s := sourceOf(db, p, source)
	if s == nil {
		s = NewCapture(db, p, plan.Blue)
	}
	if err := s.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
}

// outboxServer stands for a server that writes an outbox: for each row that a statement of its own changes, cascades
// included, one row more in the same transaction.
func outboxServer(t testing.TB, db *postgres.DB, p *plan.Profile) {
	t.Helper()
	exec(t, db, `CREATE SCHEMA server; `+fmt.Sprintf(outboxDDL, "server.outbox")+`;
CREATE FUNCTION server.pick(r jsonb, names text[]) RETURNS jsonb LANGUAGE sql AS $$ SELECT coalesce(jsonb_object_agg(n, r -> n), '{}') FROM unnest(names) n $$;
CREATE FUNCTION server.write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	k text[] := TG_ARGV[0]; rest text[] := TG_ARGV[1]; was jsonb; fresh jsonb;
BEGIN
	IF TG_OP <> 'INSERT' THEN was := to_jsonb(OLD); END IF;
	IF TG_OP <> 'DELETE' THEN fresh := to_jsonb(NEW); END IF;
	IF TG_OP = 'UPDATE' AND server.pick(was, k) = server.pick(fresh, k) THEN
		IF was <> fresh THEN
			INSERT INTO server.outbox (table_name, op, key, kept) VALUES (TG_TABLE_NAME, 'U', server.pick(was, k), server.pick(was, rest));
		END IF;
		RETURN NULL;
	END IF;
	IF was IS NOT NULL THEN
		INSERT INTO server.outbox (table_name, op, key, kept) VALUES (TG_TABLE_NAME, 'D', server.pick(was, k), server.pick(was, rest));
	END IF;
	IF fresh IS NOT NULL THEN
		INSERT INTO server.outbox (table_name, op, key) VALUES (TG_TABLE_NAME, 'I', server.pick(fresh, k));
	END IF;
	RETURN NULL;
END $$`)
	_, found, err := NewCapture(db, p, plan.Blue).plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found {
		exec(t, db, fmt.Sprintf(`CREATE TRIGGER server_outbox AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION server.write('{%s}', '{%s}');
ALTER TABLE %[1]s ENABLE ALWAYS TRIGGER server_outbox`, pgx.Identifier{"public", s.table}.Sanitize(), strings.Join(s.key, ","), strings.Join(s.keep, ",")))
	}
}

// newPairOf is newSeededPair with another source.
func newPairOf(t testing.TB, source string) *pair {
	t.Helper()
	p := newBarePair(t, ownOr11(t, source))
	p.config.Source = sourceOf(p.blue, p.profile, source)
	installSource(t, p.blue, p.profile, source)
	return p
}

func ownOr11(t testing.TB, source string) string {
	if source == logical {
		return ownDatabase11(t)
	}
	return database11(t)
}

// Every source must say the same of what a server does.
func TestSourcesAreJudgedAlike(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, source := range []string{logical, outbox} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			p := newPairOf(t, source)
			for _, c := range judgedCases {
				if c.elsewhere == nil {
					continue
				}
				p.as(t, `SET tideover.pass = 'on'; `+strings.ReplaceAll("DELETE FROM "+allTables, ",", "; DELETE FROM "), judgedSession)
				if err := p.config.Source.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				exec(t, p.blue, `TRUNCATE tideover.change`)
				p.as(t, statements(c.sql)...)
				// Within a transaction, the log's changes come table by table.
				got, want := strings.Split(p.lines(t), "\n"), strings.Split(*c.elsewhere, "\n")
				slices.Sort(got)
				slices.Sort(want)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s (-want +got):\n%s", c.name, d)
				}
			}
		})
	}
}

// Others may read blue's log too: a publication of all tables takes ours along, and must refuse none of our writes.
func TestOthersPublishAllTables(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, source := range []string{triggers, logical} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			p := newBarePair(t, ownOr11(t, source))
			exec(t, p.blue, `CREATE PUBLICATION others FOR ALL TABLES`)
			exec(t, p.green, `CREATE PUBLICATION others FOR ALL TABLES`)
			p.config.Source = sourceOf(p.blue, p.profile, source)
			installSource(t, p.blue, p.profile, source)
			p.as(t, seedSQL)
			p.bulk(t, p.green)
			p.as(t, `DELETE FROM oauth_consent_request WHERE challenge = 'k1'`, `UPDATE oauth_client SET name = 'other'`)
			r := p.replayer(t)
			drain(t, r)
			p.same(t, r)
		})
	}
}

// Partitions log their rows by themselves: what is done to any of them comes over under the table that they are parts of, and a
// partition that is emptied, whose rows the log does not have, is no silence.
func TestLogOfPartitions(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const schema = `
CREATE TABLE part (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.one (v text, k int NOT NULL, id int NOT NULL); ALTER TABLE part ATTACH PARTITION elsewhere.one FOR VALUES IN (1);
CREATE TABLE two PARTITION OF part FOR VALUES IN (2, 3) PARTITION BY RANGE (id); CREATE TABLE two_low PARTITION OF two FOR VALUES FROM (0) TO (50);
CREATE TABLE "two rest" PARTITION OF two DEFAULT; CREATE TABLE rest PARTITION OF part DEFAULT;
INSERT INTO part SELECT n, n % 5, 'v' FROM generate_series(1, 100) n;
CREATE TABLE one (id int PRIMARY KEY, v text); INSERT INTO one VALUES (1, 'a')`
	w := newTwinOf(t, &plan.Profile{Tables: tables("part id,k", "one id")}, schema, pgtest.NewServer(t, pgserver.Options{Name: "logical"}).DSN(), logical)
	r := w.replayer(t)
	w.as(t, `UPDATE part SET v = 'w' WHERE id < 20`, `UPDATE part SET k = 3 WHERE id = 41`, `DELETE FROM elsewhere.one WHERE id = 6`, `DELETE FROM part WHERE id IN (2, 92)`,
		`INSERT INTO "two rest" VALUES (200, 2, 'direct')`, `INSERT INTO part VALUES (300, 77, 'n')`, `UPDATE two_low SET id = 49 WHERE id = 42`, `UPDATE one SET v = 'b'`)
	drain(t, r)
	if d := w.differences(t); len(d) > 0 {
		t.Errorf("differ: %v", d)
	}
	w.as(t, `TRUNCATE two_low`)
	if _, err := r.Drain(t.Context()); !errors.As(err, new(*LostError)) || !strings.Contains(err.Error(), `table "part" was truncated`) {
		t.Errorf("of a partition that was emptied the replayer says %v", err)
	}
}

func TestSourceThereAndBack(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, source := range []string{logical, outbox} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			p := newBarePair(t, ownOr11(t, source))
			if source == outbox {
				outboxServer(t, p.blue, p.profile)
			}
			exec(t, p.blue, `CREATE UNIQUE INDEX session_subject ON oauth_session (subject, id); ALTER TABLE oauth_session ALTER subject SET NOT NULL;
ALTER TABLE oauth_session REPLICA IDENTITY USING INDEX session_subject; ALTER TABLE oauth_jwk REPLICA IDENTITY NOTHING`)
			before := identities(t, p.blue)
			s := sourceOf(p.blue, p.profile, source)
			for range 2 {
				for range 2 {
					if err := s.Install(t.Context(), postgres.DefaultBudget()); err != nil {
						t.Fatal(err)
					}
				}
				if ok, err := s.Installed(t.Context()); err != nil || !ok {
					t.Fatalf("installed: %t, %v", ok, err)
				}
				for range 2 {
					if err := s.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
						t.Fatal(err)
					}
				}
				if ok, err := s.Installed(t.Context()); err != nil || ok {
					t.Fatalf("installed after Remove: %t, %v", ok, err)
				}
				if after := identities(t, p.blue); after != before {
					t.Errorf("replica identities were\n%s\nand are\n%s", before, after)
				}
				if n := slots(t, p.blue); n != 0 {
					t.Errorf("%d slots are left", n)
				}
			}
		})
	}
}

func identities(t testing.TB, db *postgres.DB) (all string) {
	t.Helper()
	const sql = `SELECT string_agg(relname || ' ' || relreplident::text || coalesce((SELECT ' ' || indexrelid::regclass FROM pg_index WHERE indrelid = c.oid AND indisreplident), ''), ', ' ORDER BY relname)
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`
	if err := db.Pool().QueryRow(t.Context(), sql).Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

func slots(t testing.TB, db *postgres.DB) (n int) {
	t.Helper()
	if err := db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'tideover%' AND database = current_database()`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// lost fails the test unless the capture is given up, its slot is gone, and the next one asked says why again.
func lost(t *testing.T, db *postgres.DB, l *Logical, err error, why string) {
	t.Helper()
	for _, err := range []error{err, l.Sync(t.Context()), NewLogical(db, l.profile, 0).Sync(t.Context())} {
		var gone *LostError
		if !errors.As(err, &gone) || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want changes that are lost because of %q", err, why)
		}
	}
	if _, err := l.Installed(t.Context()); !errors.As(err, new(*LostError)) {
		t.Errorf("installed: %v", err)
	}
	if n := slots(t, db); n != 0 {
		t.Errorf("%d slots are left", n)
	}
	if err := l.Remove(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Error(err)
	}
}

// What the log can't tell must end the run, not be lost in silence; and blue's disk comes before the run.
func TestLogicalGivesUp(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	t.Run("truncate", func(t *testing.T) {
		t.Parallel()
		p := newPairOf(t, logical)
		p.as(t, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('j', 'a', 'k')`, `TRUNCATE oauth_jwk`)
		l := p.config.Source.(*Logical)
		lost(t, p.blue, l, l.Sync(t.Context()), "oauth_jwk")
	})
	t.Run("too much log", func(t *testing.T) {
		t.Parallel()
		p := newPairOf(t, logical)
		l := NewLogical(p.blue, p.profile, 1<<20)
		holder, err := stranger(t, p.blue).Begin(t.Context()) // blue must keep the log from here on
		if err != nil {
			t.Fatal(err)
		}
		if _, err := holder.Exec(t.Context(), `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('early', 'a', 'k')`); err != nil {
			t.Fatal(err)
		}
		p.as(t, `CREATE TABLE filler AS SELECT repeat(i::text, 200) FROM generate_series(1, 20000) i`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		lost(t, p.blue, l, l.Run(ctx), "max_wal_mb")
	})
	t.Run("the slot is dropped", func(t *testing.T) {
		t.Parallel()
		p := newPairOf(t, logical)
		exec(t, p.blue, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'tideover%'`)
		l := p.config.Source.(*Logical)
		lost(t, p.blue, l, l.Sync(t.Context()), "slot")
	})
	t.Run("the replica identity is changed", func(t *testing.T) {
		t.Parallel()
		p := newPairOf(t, logical)
		p.as(t, `INSERT INTO oauth_client (id) VALUES ('c')`, `ALTER TABLE oauth_client REPLICA IDENTITY DEFAULT`, `DELETE FROM oauth_client`)
		l := p.config.Source.(*Logical)
		lost(t, p.blue, l, l.Sync(t.Context()), "old values")
	})
}

// A slot waits for transactions that are older than it, and must say so.
func TestLogicalNeedsTheLog(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "replica", Settings: map[string]string{"wal_level": "replica"}})
	db := open(t, "blue", server.DSN())
	exec(t, db, narrowSQL)
	err := NewLogical(db, narrow, 0).Install(t.Context(), postgres.DefaultBudget())
	var hint interface{ Hint() string }
	if err == nil || !strings.Contains(err.Error(), "wal_level = replica") || !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "source: triggers") {
		t.Errorf("got %v", err)
	}
	if there, err := NewCapture(db, narrow, plan.Blue).there(t.Context()); err != nil || there {
		t.Errorf("a queue was made: %t, %v", there, err)
	}
}

// Two at once: the second waits for the slot, and neither writes a change twice.
func TestLogicalIsReadOnce(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPairOf(t, logical)
	for i := range 50 {
		p.as(t, fmt.Sprintf(`INSERT INTO oauth_client (id) SELECT 'c%d-' || i FROM generate_series(1, 40) i`, i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 3)
	for range 3 {
		l := NewLogical(p.blue, p.profile, 0)
		go func() {
			err := l.Sync(ctx)
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	cancel()
	var changes, keys int
	if err := p.blue.Pool().QueryRow(t.Context(), `SELECT count(*), count(DISTINCT key) FROM tideover.change`).Scan(&changes, &keys); err != nil || changes != 2000 || keys != 2000 {
		t.Errorf("%d changes of %d rows, %v", changes, keys, err)
	}
}

// Its connections are cut again and again while it reads: each change comes once.
func TestLogicalSurvivesCuts(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPairOf(t, logical)
	l := p.config.Source.(*Logical)
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() { read <- l.Run(ctx) }()
	const cut = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tideover/capture' AND datname = current_database()`
	cuts := 0
	for i := range 40 {
		p.as(t, fmt.Sprintf(`INSERT INTO oauth_client (id) SELECT 'c%d-' || i FROM generate_series(1, 50) i`, i))
		if i%4 == 3 {
			var n int
			if err := p.blue.Pool().QueryRow(t.Context(), cut).Scan(&n); err != nil {
				t.Fatal(err)
			}
			cuts += n
		}
	}
	if err := l.Sync(t.Context()); err != nil && !passes(err) {
		t.Fatal(err)
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-read; err != nil {
		t.Error(err)
	}
	if cuts == 0 {
		t.Error("nothing was cut")
	}
	if got := p.text(t, p.blue, `SELECT count(*) || ' ' || count(DISTINCT key) FROM tideover.change`); got != "2000 2000" {
		t.Errorf("changes and keys: %s, after %d cuts", got, cuts)
	}
}

// A row of the outbox that can't be replayed is named, stops nothing but its own transaction, and goes on when mended.
func TestOutboxRefuses(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPairOf(t, outbox)
	p.as(t, seedSQL)
	p.bulk(t, p.green)
	p.as(t, `ALTER TABLE oauth_client DISABLE TRIGGER server_outbox`, `BEGIN; DELETE FROM oauth_session WHERE id = 's2'; DELETE FROM oauth_client WHERE id = 'c2';
INSERT INTO server.outbox (table_name, op, key) VALUES ('oauth_client', 'D', '{"id":"c2"}'); COMMIT`, `INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ('j2', 'a', 'k')`)
	r := p.replayer(t)
	a := drain(t, r)
	if len(a.Parked) != 1 || !strings.Contains(a.Parked[0], "oauth_client") || !strings.Contains(a.Parked[0], "c2") {
		t.Errorf("parked: %q", a.Parked)
	}
	if got := p.text(t, p.green, `SELECT string_agg(kid, ' ' ORDER BY kid) FROM oauth_jwk`); got != "j1 j2" {
		t.Errorf("green has the keys %s", got)
	}
	if got := p.text(t, p.green, `SELECT count(*)::text FROM oauth_session WHERE id = 's2'`); got != "1" {
		t.Error("half of a transaction was replayed")
	}
	exec(t, p.blue, `UPDATE server.outbox SET kept = '{"owner":""}' WHERE kept IS NULL AND op = 'D'`)
	if parked, err := r.Retry(t.Context()); err != nil || len(parked) > 0 {
		t.Errorf("after it was mended: %q, %v", parked, err)
	}
	drain(t, r)
	p.same(t, r)
}

func TestOutboxMustFit(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"missing":     {`SELECT 1`, "no such table"},
		"wrong type":  {`CREATE TABLE box (id bigint, at timestamptz, txid bigint, table_name text, op text, key jsonb, kept jsonb, kind text)`, `"txid"`},
		"less wanted": {`CREATE TABLE box (id bigint, at timestamptz, txid xid8, table_name text, op text, key jsonb, kind text)`, `"kept"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, "blue", database11(t))
			exec(t, db, c.sql)
			err := NewOutbox(db, bundled(t), "box").Install(t.Context(), postgres.DefaultBudget())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "public.box") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a view of another shape", func(t *testing.T) {
		t.Parallel()
		p := newBarePair(t, database11(t))
		exec(t, p.blue, `CREATE SCHEMA events; CREATE TABLE events.event (no bigint GENERATED ALWAYS AS IDENTITY, happened timestamptz DEFAULT now(), tx xid8 DEFAULT pg_current_xact_id(), body jsonb);
CREATE VIEW events.outbox AS SELECT no AS id, happened AS at, tx AS txid, body ->> 'table' AS table_name, body ->> 'op' AS op, body -> 'key' AS key, body -> 'old' AS kept, body ->> 'kind' AS kind FROM events.event`)
		o := NewOutbox(p.blue, p.profile, "events.outbox")
		if err := o.Install(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
		exec(t, p.blue, `INSERT INTO events.event (body) VALUES ('{"table":"oauth_jwk","op":"I","key":{"kid":"j"}}')`)
		p.config.Source = o
		if got := p.lines(t); got != "I jwk j" {
			t.Errorf("captured %q", got)
		}
	})
}
