package rehearsal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// tracesSQL is what of ours an operator would find in a database, and what of his own he would find switched off.
const tracesSQL = `
SELECT 'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND p.pronamespace = pg_catalog.to_regnamespace('tideover')
UNION ALL SELECT 'switched-off trigger ' || t.tgname || ' on ' || t.tgrelid::regclass FROM pg_catalog.pg_trigger t WHERE t.tgenabled = 'D'
UNION ALL SELECT 'switched-off rule ' || r.rulename || ' on ' || r.ev_class::regclass FROM pg_catalog.pg_rewrite r WHERE r.ev_enabled = 'D'
UNION ALL SELECT 'event trigger ' || evtname FROM pg_catalog.pg_event_trigger WHERE evtname LIKE 'tideover%'
UNION ALL SELECT 'relation ' || c.relname FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.to_regnamespace('tideover') AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL SELECT 'function ' || p.proname FROM pg_catalog.pg_proc p WHERE p.pronamespace = pg_catalog.to_regnamespace('tideover')
UNION ALL SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace WHERE nspname LIKE 'tideover%' AND nspname <> 'tideover'
UNION ALL SELECT 'column ' || a.attname || ' of ' || a.attrelid::regclass FROM pg_catalog.pg_attribute a WHERE a.attname LIKE 'tideover%' AND NOT a.attisdropped
	AND a.attrelid IN (SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p'))
UNION ALL SELECT 'publication ' || pubname FROM pg_catalog.pg_publication WHERE pubname LIKE 'tideover%'
UNION ALL SELECT 'replication slot ' || slot_name FROM pg_catalog.pg_replication_slots WHERE slot_name LIKE 'tideover%' AND (database = pg_catalog.current_database() OR database IS NULL)
UNION ALL SELECT 'role ' || rolname FROM pg_catalog.pg_roles WHERE rolname LIKE 'tideover%'
UNION ALL SELECT 'database ' || datname FROM pg_catalog.pg_database WHERE datname LIKE 'tideover%'
UNION ALL SELECT 'setting ' || pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
UNION ALL SELECT 'index that is not valid: ' || indexrelid::regclass FROM pg_catalog.pg_index WHERE NOT indisvalid
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts WHERE gid LIKE 'tideover%' AND database = pg_catalog.current_database()`

// traces are what there was before a run.
type traces struct {
	blue, green []string
	lifetimes   lifetimes // of blue
}

func tracesOf(ctx context.Context, db *postgres.DB) ([]string, error) {
	rows, err := db.Pool().Query(ctx, tracesSQL)
	if err != nil {
		return nil, fmt.Errorf("look for traces in %s: %w", db.Name(), err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// stays are traces that a run leaves on purpose, by how they begin: on blue the fence and the journal, on green what went to
// quarantine and the books of copy and replay, which tell an auditor what was brought over.
var stays = map[string][]string{
	"blue": {"trigger tideover_fence on ", "trigger tideover_fence_truncate on ", "trigger tideover_fence_rows on ", "function refuse_write",
		"relation fence", "function pass", "relation pass", "relation run", "relation event", "relation approval", "relation document", "relation progress", "relation command", "relation applied"},
	"green": {"relation quarantine", "relation snapshot", "relation applied"},
}

// left says what of a run is left in a database though the run is over.
func left(ctx context.Context, db *postgres.DB, before []string) (findings []string, err error) {
	now, err := tracesOf(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, trace := range now {
		expected := func(prefix string) bool { return strings.HasPrefix(trace, prefix) }
		if !slices.Contains(before, trace) && !slices.ContainsFunc(stays[db.Name()], expected) {
			findings = append(findings, fmt.Sprintf("operator: the run has left in %s: %s", db.Name(), trace))
		}
	}
	return findings, nil
}

// patienceOfLocks is how much longer than its lock budget a run may keep somebody waiting on a busy machine: a lock that is had
// is not given back at once.
const patienceOfLocks = time.Second

// promised compares what was measured with what the runbook promises.
func promised(rb *plan.Runbook, longestBlock time.Duration, hold int64) (findings []string) {
	if limit := rb.Locks.Timeout + patienceOfLocks; longestBlock > limit {
		findings = append(findings, fmt.Sprintf("operator: clients waited %s for locks of the run; locks.timeout is %s", longestBlock.Round(time.Millisecond), rb.Locks.Timeout))
	}
	if step := rb.Step(plan.Cutover); step != nil {
		if deadline := step.Config.(*plan.CutoverSpec).Deadline; time.Duration(hold)*time.Millisecond > deadline+fenceOutlasts {
			findings = append(findings, fmt.Sprintf("operator: requests were held for %d ms; the cutover's deadline is %s", hold, deadline))
		}
	}
	return findings
}

// fenceOutlasts is what the switch may take longer than its deadline.
const fenceOutlasts = time.Second
