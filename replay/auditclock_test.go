package replay

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

// A column that blue's own trigger sets from the clock is another one each time that the migrations write the row. The audit lets
// that pass, and nothing else.
func TestAuditKnowsTheClock(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	const touching = `
CREATE TABLE app (id int PRIMARY KEY, name text, owner text, touched timestamptz, local timestamp, day date);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.touched := clock_timestamp(); NEW.local := now(); NEW.day := current_date; RETURN NEW; END$$;
INSERT INTO app SELECT n, 'x', CASE WHEN n % 2 = 0 THEN 'me' END, '2024-01-01', '2024-01-01', '2024-01-01' FROM generate_series(1, 20) n;
CREATE TRIGGER touch BEFORE UPDATE ON app FOR EACH ROW EXECUTE FUNCTION touch();
DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database()); END$$;`
	began := time.Now()
	w := newTwin(t, &plan.Profile{Tables: tables("app id")}, touching)
	w.config.Migrator, w.config.Began = script(`UPDATE app SET owner = 'nobody' WHERE owner IS NULL`), began
	if err := w.config.Migrator.Migrate(t.Context(), w.green.DSN()); err != nil {
		t.Fatal(err)
	}
	r := w.replayer(t)
	w.as(t, `UPDATE app SET name = 'y' WHERE id IN (3, 4); INSERT INTO app (id, name) VALUES (21, 'new')`)
	auditAll(t, NewAudit(r, 1))
	for _, tc := range []struct {
		name, sql string
		columns   []string
	}{
		{"what a client wrote", `UPDATE app SET touched = clock_timestamp(), local = now() WHERE id = 4`, []string{"touched", "local"}},
		{"what the migrations don't touch", `UPDATE app SET touched = clock_timestamp() WHERE id = 2`, []string{"touched"}},
		{"a value of before the run", `UPDATE app SET touched = '2024-01-01', day = '2024-01-01' WHERE id = 5`, []string{"touched", "day"}},
		{"no value", `UPDATE app SET local = NULL WHERE id = 7`, []string{"local"}},
		{"beside another column", `UPDATE app SET owner = 'me' WHERE id = 9`, []string{"owner"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			exec(t, w.green, `CREATE SCHEMA kept; CREATE TABLE kept.app AS SELECT * FROM app; SET session_replication_role = replica; `+tc.sql)
			err := auditPass(t, NewAudit(r, 1))
			exec(t, w.green, `SET session_replication_role = replica; DELETE FROM app; INSERT INTO app SELECT * FROM kept.app; DROP SCHEMA kept CASCADE`)
			var wrong *AuditError
			if !errors.As(err, &wrong) || len(wrong.Differences) != 1 || !slices.Equal(wrong.Differences[0].Columns, tc.columns) {
				t.Errorf("the audit says %v", err)
			}
		})
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.config.Began = time.Time{}
	if err := auditPass(t, NewAudit(w.replayer(t), 1)); err == nil {
		t.Error("without a beginning of the run a time has to be the same")
	}
}
