package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// What a database does by itself when it is written to has been done on blue already: what comes of it is in the rows
// that we bring. So green's own triggers and rules, and its event triggers, sleep while we write there, ENABLE ALWAYS or
// not, until green serves. Foreign keys stay, as they are kept by triggers of the system; of tables that refer to each
// other in a circle no order of writes would do, so that these can be deferred meanwhile.
//
// What was changed is recorded in the transaction of the change, so that it is undone after a crash too.

// asleepSQL makes the record. kind is trigger, rule, event trigger or foreign key; state what its catalog had.
const asleepSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.asleep (
	kind text NOT NULL,
	schema_name name NOT NULL,
	table_name name NOT NULL,
	name name NOT NULL,
	state text NOT NULL,
	place int NOT NULL,
	PRIMARY KEY (kind, schema_name, table_name, name)
);` + postgres.KeepSQL

// awakeSQL lists what would run when rows are written, but for what is ours and what extensions bring. place counts
// down from a partitioned table to its partitions, which have its triggers under the same name.
const awakeSQL = `
SELECT 'trigger', n.nspname, c.relname, t.tgname, t.tgenabled::text, CASE WHEN c.relispartition THEN pg_catalog.array_length(ARRAY(SELECT pg_catalog.pg_partition_ancestors(c.oid)), 1) ELSE 0 END
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relkind IN ('r', 'p') AND n.nspname <> 'tideover' AND pn.nspname <> 'tideover'
UNION ALL
SELECT 'rule', n.nspname, c.relname, r.rulename, r.ev_enabled::text, 0
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_type <> '1' AND r.ev_enabled <> 'D' AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tideover')
UNION ALL
SELECT 'event trigger', '', '', e.evtname, e.evtenabled::text, 0
FROM pg_catalog.pg_event_trigger e
WHERE e.evtenabled <> 'D' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
	WHERE d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND d.objid = e.oid AND d.deptype = 'e')`

// firingSQL lists the triggers that fire where session_replication_role is replica.
const firingSQL = `SELECT * FROM (` + awakeSQL + `) awake(kind, schema_name, table_name, name, state, place)
WHERE kind = 'trigger' AND state <> 'O' ORDER BY place`

// strictSQL lists those of some foreign keys ($1 schemas, $2 tables, $3 names) that can't be deferred.
const strictSQL = `
SELECT 'foreign key', n.nspname, c.relname, f.conname, 'immediate', 0
FROM unnest($1::text[], $2::text[], $3::text[]) k(schema_name, table_name, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = k.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = k.table_name
JOIN pg_catalog.pg_constraint f ON f.conrelid = c.oid AND f.conname = k.name AND f.contype = 'f' AND NOT f.condeferrable`

// habit is something that a database does by itself.
type habit struct {
	Kind, Schema, Table, Name string
	State                     string // O, R or A, as in pg_trigger.tgenabled; of a foreign key: immediate
	Place                     int
}

const (
	aTrigger    = "trigger"
	aRule       = "rule"
	anEvent     = "event trigger"
	aForeignKey = "foreign key"
)

func (h habit) String() string {
	if h.Kind == anEvent {
		return fmt.Sprintf("event trigger %q", h.Name)
	}
	return fmt.Sprintf("%s %q of table %q", h.Kind, h.Name, h.Schema+"."+h.Table)
}

// alter is the statement that puts h to sleep, or restores what it was.
func (h habit) alter(sleep bool) string {
	name := pgx.Identifier{h.Name}.Sanitize()
	table := "ALTER TABLE ONLY " + pgx.Identifier{h.Schema, h.Table}.Sanitize()
	how := map[string]string{"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[h.State]
	if sleep {
		how = "DISABLE"
	}
	switch h.Kind {
	case aTrigger:
		return table + " " + how + " TRIGGER " + name
	case aRule:
		return table + " " + how + " RULE " + name
	case anEvent:
		return "ALTER EVENT TRIGGER " + name + " " + how
	}
	how = "NOT DEFERRABLE"
	if sleep {
		how = "DEFERRABLE INITIALLY IMMEDIATE"
	}
	return strings.Replace(table, " ONLY", "", 1) + " ALTER CONSTRAINT " + name + " " + how // with what partitions have of it
}

// lull puts to sleep what is awake on green, and makes foreign keys deferrable that must be. Where nothing is, it only
// looks. It is done before each merge: a switch that was called off has woken them.
func (r *Replayer) lull(ctx context.Context) error {
	awake, err := habits(ctx, r.Green.Pool(), awakeSQL)
	if err != nil {
		return fmt.Errorf("green: %w", err)
	}
	if len(r.strict) > 0 {
		arrays := make([][]string, 3)
		for _, h := range r.strict {
			arrays[0], arrays[1], arrays[2] = append(arrays[0], h.Schema), append(arrays[1], h.Table), append(arrays[2], h.Name)
		}
		keys, err := habits(ctx, r.Green.Pool(), strictSQL, arrays[0], arrays[1], arrays[2])
		if err != nil {
			return fmt.Errorf("green: %w", err)
		}
		awake = append(awake, keys...)
	}
	if len(awake) == 0 {
		return nil
	}
	err = r.Green.InTx(ctx, postgres.DefaultBudget(), func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, asleepSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		for _, h := range awake {
			// What was recorded before is what a person has woken since: its first state counts.
			const record = `INSERT INTO tideover.asleep (kind, schema_name, table_name, name, state, place) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
			if _, err := tx.Exec(ctx, record, h.Kind, h.Schema, h.Table, h.Name, h.State, h.Place); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, h.alter(true)); err != nil {
				return &habitError{h, err}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put to sleep on green: %w", err)
	}
	return nil
}

// habits reads a list of them.
func habits(ctx context.Context, q queryer, sql string, args ...any) ([]habit, error) {
	rows, _ := q.Query(ctx, sql, args...) // its error comes up in the rows
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[habit])
	if err != nil {
		return nil, fmt.Errorf("look for triggers and rules: %w", err)
	}
	return found, nil
}

// stubborn are the foreign keys of green that can't be deferred and would refuse rows in whatever order they come: those
// of tables that refer to each other in a circle, or to themselves.
func stubborn(all map[string]*relation) []habit {
	var found []habit
	for _, name := range sortedNames(all) {
		for _, e := range all[name].parents {
			if e.immediate && leads(all, e.to, e.from) {
				found = append(found, habit{Kind: aForeignKey, Schema: all[name].schema, Table: all[name].table, Name: e.foreignKey})
			}
		}
	}
	return found
}

// leads says whether foreign keys lead from one table to another.
func leads(all map[string]*relation, from, to string) bool {
	seen := map[string]bool{}
	var visit func(name string) bool
	visit = func(name string) bool {
		if name == to {
			return true
		}
		if seen[name] || all[name] == nil {
			return false
		}
		seen[name] = true
		return slices.ContainsFunc(all[name].parents, func(e edge) bool { return visit(e.to) })
	}
	return visit(from)
}

// Wake gives a database back what replay has put to sleep there: triggers, rules and event triggers run again, each as it
// did, and foreign keys are immediate. It may be called again, and where nothing sleeps. What has been dropped meanwhile
// is forgotten.
func Wake(ctx context.Context, db *postgres.DB, budget postgres.Budget) error {
	var there bool
	if err := db.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.asleep') IS NOT NULL`).Scan(&there); err != nil {
		return fmt.Errorf("look for what sleeps on %s: %w", db.Name(), err)
	}
	if !there {
		return nil
	}
	err := db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		asleep, err := habits(ctx, tx, asleepNowSQL)
		if err != nil {
			return err
		}
		for _, h := range asleep {
			if _, err := tx.Exec(ctx, h.alter(false)); err != nil {
				return &habitError{h, err}
			}
		}
		_, err = tx.Exec(ctx, `DELETE FROM tideover.asleep`)
		return err
	})
	if err != nil {
		return fmt.Errorf("wake what sleeps on %s: %w", db.Name(), err)
	}
	return nil
}

// asleepNowSQL lists what sleeps and is still there, partitions behind their tables.
const asleepNowSQL = `
SELECT a.kind, a.schema_name, a.table_name, a.name, a.state, a.place FROM tideover.asleep a
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = a.schema_name
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = a.table_name
WHERE CASE a.kind
	WHEN 'trigger' THEN EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = a.name)
	WHEN 'rule' THEN EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename = a.name)
	WHEN 'foreign key' THEN EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.conrelid = c.oid AND f.conname = a.name AND f.contype = 'f')
	ELSE EXISTS (SELECT FROM pg_catalog.pg_event_trigger e WHERE e.evtname = a.name)
END
ORDER BY a.place, a.schema_name, a.table_name, a.name`

// habitError says that something of a database can't be put to sleep or woken.
type habitError struct {
	habit habit
	err   error
}

func (e *habitError) Error() string { return fmt.Sprintf("%s: %v", e.habit, e.err) }

func (e *habitError) Unwrap() error { return e.err }

// Hint says what can be done.
func (e *habitError) Hint() string {
	if postgres.Code(e.err) != "42501" {
		return ""
	}
	if e.habit.Kind == anEvent {
		return "only its owner and superusers may switch it: drop it on green until green serves, or let the run's role own it"
	}
	return "it must be off while rows are brought: make the run's role on green the owner of the table, or a member of the role that owns it"
}
