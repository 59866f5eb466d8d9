package replay

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// move has some move what is captured, over and over, until the function that it returns is called: then all is moved.
func move(t *testing.T, capture *Capture, some int) (moved func()) {
	t.Helper()
	var movers sync.WaitGroup
	done := make(chan struct{})
	for range some {
		movers.Go(func() {
			for {
				if err := capture.Sync(t.Context()); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	return func() {
		t.Helper()
		close(done)
		movers.Wait()
		if err := capture.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Some move what is captured while others write, and one rolls back: each change comes into the queue once.
func TestIntakeIsMovedOnce(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	capture := NewCapture(p.blue, p.profile, plan.Blue)
	var writers sync.WaitGroup
	moved := move(t, capture, 3)
	for w := range 3 {
		conn := stranger(t, p.blue)
		writers.Go(func() {
			for i := range 100 {
				end := []string{"COMMIT", "ROLLBACK"}[i%2]
				sql := fmt.Sprintf(`BEGIN; INSERT INTO oauth_client (id) SELECT 'c%d-%d-' || i FROM generate_series(1, 5) i; %s`, w, i, end)
				if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	moved()
	const count = `SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || count(DISTINCT key) || ' ' || (SELECT count(*) FROM tideover.captured) FROM tideover.change`
	if got := p.text(t, p.blue, count); got != "750 750 750 0" {
		t.Errorf("changes, numbers, keys and what is left: %s", got)
	}
}

// Rows go and come again in many transactions, several times in one, while others move what is captured: the queue has a
// row's changes in the order in which they were made.
func TestIntakeKeepsOrder(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	capture := NewCapture(p.blue, p.profile, plan.Blue)
	p.as(t, `INSERT INTO oauth_client (id) SELECT 'c' || i FROM generate_series(1, 3) i`)
	var writers sync.WaitGroup
	moved := move(t, capture, 2)
	for range 4 {
		conn := stranger(t, p.blue)
		writers.Go(func() {
			for i := range 150 {
				// Whoever has the lock finds the row, and leaves it.
				sql := fmt.Sprintf(`BEGIN; SELECT pg_advisory_xact_lock(%d); `, i%3)
				for range 1 + i%2 {
					sql += fmt.Sprintf(`DELETE FROM oauth_client WHERE id = 'c%d'; INSERT INTO oauth_client (id) VALUES ('c%[1]d'); `, 1+i%3)
				}
				if _, err := conn.PgConn().Exec(t.Context(), sql+"COMMIT").ReadAll(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	moved()
	const runs = `SELECT string_agg(k || ' ' || n || ' ' || (ops ~ '^I(DI)+$'), ', ' ORDER BY k) FROM (
		SELECT key ->> 'id' AS k, count(*) AS n, string_agg(op, '' ORDER BY id) AS ops FROM tideover.change GROUP BY 1) r`
	if got, want := p.text(t, p.blue, runs), "c1 601 true, c2 601 true, c3 601 true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Values are recorded as JSON has them, arrays as SQL does, whatever the session's formats are, and after the profile wants others too.
func TestIntakeKeepsValues(t *testing.T) {
	t.Parallel()
	p := &pair{blue: open(t, "blue", newDatabase(t))}
	exec(t, p.blue, `
CREATE DOMAIN short AS varchar(9);
CREATE TABLE thing (d date, "Key" text, u uuid, n numeric, b boolean, at timestamptz, i interval, tags text[], j jsonb, s short, c char(5), f float8, raw bytea,
	PRIMARY KEY (d, "Key"))`)
	kept := []string{"u", "n", "b", "at", "i", "tags", "j", "s", "c", "f", "raw"}
	for _, keep := range [][]string{{"n"}, kept} {
		p.profile = &plan.Profile{Tables: []plan.Table{{Name: "thing", Keep: keep}}}
		if err := NewCapture(p.blue, p.profile, plan.Blue).Install(t.Context(), postgres.DefaultBudget()); err != nil {
			t.Fatal(err)
		}
		p.as(t, `SET DateStyle = 'SQL, DMY'; SET TimeZone = 'UTC'; INSERT INTO thing VALUES ('2020-02-01', E'a''\\"\n', gen_random_uuid(), 1.50, true,
			'2020-02-01 00:00:00.5+02', '1 day', '{x,"y z"}', '{"a": [1]}', 'so', 'c', 0.1, '\xff'), ('infinity', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
			CREATE TEMP TABLE was AS SELECT to_jsonb(t) || jsonb_build_object('tags', tags::text) AS row FROM thing t; DELETE FROM thing;
			CREATE TABLE IF NOT EXISTS expected (row jsonb); INSERT INTO expected SELECT row FROM was; DROP TABLE was`)
		const wrong = `SELECT string_agg(k || ': ' || coalesce(r.v, 'NULL'), ' ') FROM (SELECT (key || coalesce(kept, '{}')) AS o FROM tideover.recorded WHERE op = 'D') c,
			jsonb_each_text(c.o) r(k, v) WHERE NOT EXISTS (SELECT 1 FROM expected e WHERE e.row ->> 'Key' = c.o ->> 'Key' AND e.row ->> k IS NOT DISTINCT FROM v)`
		for _, when := range []string{"captured", "moved"} {
			if got := p.text(t, p.blue, wrong); got != "" {
				t.Errorf("%s with %v: %s", when, keep, got)
			}
			const columns = `SELECT string_agg(DISTINCT (SELECT count(*) FROM jsonb_object_keys(key || coalesce(kept, '{}')))::text, ' ') FROM tideover.recorded WHERE op = 'D'`
			if got, want := p.text(t, p.blue, columns), fmt.Sprint(2+len(keep)); got != want {
				t.Errorf("%s with %v: %s columns", when, keep, got)
			}
			if err := NewCapture(p.blue, p.profile, plan.Blue).Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		exec(t, p.blue, `DELETE FROM tideover.change; DELETE FROM expected`)
	}
}

// A row that gets another key is one that goes and one that comes, in this order; what is kept is of the one that goes.
func TestIntakeSeesRowsMove(t *testing.T) {
	t.Parallel()
	p := &pair{blue: open(t, "blue", newDatabase(t))}
	exec(t, p.blue, `CREATE TABLE thing (a int, b text, v text, PRIMARY KEY (a, b))`)
	p.profile = &plan.Profile{Tables: []plan.Table{{Name: "thing", Keep: []string{"v"}}}}
	capture := NewCapture(p.blue, p.profile, plan.Blue)
	if err := capture.Install(t.Context(), postgres.DefaultBudget()); err != nil {
		t.Fatal(err)
	}
	p.as(t, `INSERT INTO thing VALUES (1, 'x', 'v1'), (2, 'x', NULL); UPDATE thing SET v = 'v2' WHERE a = 2; UPDATE thing SET b = 'y', v = 'v3';
		INSERT INTO thing VALUES (1, 'y', 'new') ON CONFLICT (a, b) DO UPDATE SET a = 9`)
	const want = `I [1, "x"] | I [2, "x"] | U [2, "x"] | D [1, "x"] v1 | I [1, "y"] | D [2, "x"] v2 | I [2, "y"] | D [1, "y"] v3 | I [9, "y"]`
	const recorded = `SELECT string_agg(concat_ws(' ', op, jsonb_build_array((key ->> 'a')::int, key ->> 'b'), kept ->> 'v'), ' | ' ORDER BY %s) FROM tideover.%s`
	if got := p.text(t, p.blue, `SELECT count(*)::text FROM tideover.recorded`); got != "9" {
		t.Errorf("%s changes", got)
	}
	if err := capture.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.text(t, p.blue, fmt.Sprintf(recorded, "id", "change")); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// Whoever reads the intake knows what came after a snapshot: what it does not see has no lower number than its xmin,
// within savepoints too. In the queue all changes of a transaction have one number.
func TestIntakeKnowsTransactions(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p := newPair(t)
	capture := NewCapture(p.blue, p.profile, plan.Blue)
	conn := stranger(t, p.blue)
	run := func(sql string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	run(`BEGIN; SAVEPOINT a; INSERT INTO oauth_client (id) VALUES ('in a'); SAVEPOINT b; INSERT INTO oauth_client (id) VALUES ('in b'); RELEASE b; RELEASE a`)
	snapshot := p.text(t, p.blue, `SELECT pg_current_snapshot()::text`)
	run(`INSERT INTO oauth_client (id) VALUES ('outside'); COMMIT`)
	p.as(t, `INSERT INTO oauth_client (id) VALUES ('after')`)
	const later = `key ->> 'id' IN ('in a', 'in b', 'outside', 'after')`
	unseen := `SELECT count(*)::text FROM tideover.recorded WHERE ` + later + ` AND txid >= pg_snapshot_xmin('` + snapshot + `')`
	for _, when := range []string{"captured", "moved"} {
		if got := p.text(t, p.blue, unseen); got != "4" {
			t.Errorf("%s: %s of 4 changes came after the snapshot", when, got)
		}
		const epoch = `SELECT bool_and(txid < pg_snapshot_xmax(pg_current_snapshot()))::text FROM tideover.recorded`
		if got := p.text(t, p.blue, epoch); got != "true" {
			t.Errorf("%s: numbers of transactions that are still to come", when)
		}
		if err := capture.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const whole = `SELECT string_agg(names, ' | ' ORDER BY txid) FROM (
		SELECT txid, string_agg(key ->> 'id', ', ' ORDER BY key ->> 'id') AS names FROM tideover.change WHERE ` + later + ` GROUP BY txid) r`
	if got, want := p.text(t, p.blue, whole), "in a, in b, outside | after"; got != want {
		t.Error(got)
	}
}

// A change whose shape is unknown is an error, not a loss.
func TestIntakeLosesNothing(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, sql := range []string{`INSERT INTO oauth_client (id) VALUES ('d')`, `UPDATE oauth_client SET owner = 'o'`, `UPDATE oauth_client SET id = 'd'`, `DELETE FROM oauth_client`} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			p.as(t, `INSERT INTO oauth_client (id) VALUES ('c')`)
			capture := NewCapture(p.blue, p.profile, plan.Blue)
			if err := capture.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.as(t, sql)
			exec(t, p.blue, `DELETE FROM tideover.shape`)
			if err := capture.Sync(t.Context()); postgres.Code(err) != "23502" {
				t.Errorf("got %v", err)
			}
			if lag, err := capture.Lag(t.Context()); err != nil || lag.Changes == 0 {
				t.Errorf("%+v, %v", lag, err)
			}
		})
	}
}
