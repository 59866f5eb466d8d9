package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Row is a row in quarantine. Content has the row's columns as JSON: it holds what the database held, so never log it.
type Row struct {
	Rule  string
	Table string          // without its schema
	Key   string          // JSON array of the primary key's values as text; of a table without one, the row's MD5 in hex
	Row   json.RawMessage // columns of type json are in it as strings
}

// Execer is a connection or transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// quarantineTable exists on green, in a scratch database only where rules run there without Options.Collect.
// A row that comes again, by a delta, replaces itself.
const quarantineTable = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.quarantine (
	id bigint GENERATED ALWAYS AS IDENTITY,
	rule text NOT NULL,
	table_name text NOT NULL,
	key text NOT NULL,
	row jsonb NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (rule, table_name, key)
)`

// EnsureTable creates the quarantine where it is not there yet.
func EnsureTable(ctx context.Context, on Execer) error {
	if _, err := on.Exec(ctx, quarantineTable); err != nil {
		return fmt.Errorf("create the quarantine: %w", err)
	}
	return nil
}

const storeRow = `
INSERT INTO tideover.quarantine (rule, table_name, key, row) VALUES ($1, $2, $3, $4)
ON CONFLICT (rule, table_name, key) DO UPDATE SET row = excluded.row`

// Store puts rows that were collected elsewhere into the quarantine, parents before children as Apply returned them.
func Store(ctx context.Context, on Execer, rows []Row) error {
	for _, r := range rows {
		if _, err := on.Exec(ctx, storeRow, r.Rule, r.Table, r.Key, r.Row); err != nil {
			return fmt.Errorf("quarantine a row of %q: %w", r.Table, err)
		}
	}
	return nil
}

// Quarantined names a row in quarantine. Key is as in [Row].
type Quarantined struct {
	Rule  string    `json:"rule"`
	Table string    `json:"table"`
	Key   string    `json:"key"`
	At    time.Time `json:"at"`
}

// List calls each for every row in quarantine, or those of one rule, the oldest first.
func List(ctx context.Context, conn *pgx.Conn, rule string, each func(Quarantined) error) error {
	if there, err := quarantineThere(ctx, conn); err != nil || !there {
		return err
	}
	const sql = `SELECT rule, table_name, key, at FROM tideover.quarantine WHERE $1 IN ('', rule) ORDER BY id`
	rows, err := conn.Query(ctx, sql, rule)
	if err != nil {
		return fmt.Errorf("read the quarantine: %w", err)
	}
	var q Quarantined
	_, err = pgx.ForEachRow(rows, []any{&q.Rule, &q.Table, &q.Key, &q.At}, func() error { return each(q) })
	if err != nil {
		return fmt.Errorf("read the quarantine: %w", err)
	}
	return nil
}

func quarantineThere(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (there bool, err error) {
	err = q.QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.quarantine') IS NOT NULL`).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for the quarantine: %w", err)
	}
	return there, nil
}

// Forget takes rows out of the quarantine that are no longer to be there: a delta has brought them over in a
// form that no rule takes, or they are gone on blue. Keys are as in Row.
func Forget(ctx context.Context, on Execer, table string, keys []string) (int64, error) {
	const sql = `DELETE FROM tideover.quarantine WHERE table_name = $1 AND key = ANY($2)`
	tag, err := on.Exec(ctx, sql, table, keys)
	if err != nil {
		return 0, fmt.Errorf("take rows of %q out of the quarantine: %w", table, err)
	}
	return tag.RowsAffected(), nil
}

// doomed collects, level by level, the rows that a DELETE of the offenders would delete. ON COMMIT DROP: a rule is one
// transaction. A ctid is stable in it, because nobody else writes here.
const doomedTable = `CREATE TEMPORARY TABLE tideover_doomed (rel oid, part oid, tid tid, level integer, PRIMARY KEY (part, tid)) ON COMMIT DROP`

// cascadesQuery lists the foreign keys that delete along.
const cascadesQuery = `
SELECT c.conrelid, n.nspname, r.relname, c.confrelid,
	(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(attnum, n)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum),
	pn.nspname, pr.relname,
	(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY k(attnum, n)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.attnum)
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_class r ON r.oid = c.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
JOIN pg_catalog.pg_class pr ON pr.oid = c.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = pr.relnamespace
WHERE c.contype = 'f' AND c.confdeltype = 'c' AND c.conparentid = 0`

type cascade struct {
	child, parent               uint32
	childTable, parentTable     pgx.Identifier
	childColumns, parentColumns []string
}

func cascades(ctx context.Context, tx pgx.Tx) ([]cascade, error) {
	rows, err := tx.Query(ctx, cascadesQuery)
	if err != nil {
		return nil, fmt.Errorf("list the foreign keys: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c cascade, err error) {
		var cs, cn, ps, pn string
		err = row.Scan(&c.child, &cs, &cn, &c.parent, &c.childColumns, &ps, &pn, &c.parentColumns)
		c.childTable, c.parentTable = pgx.Identifier{cs, cn}, pgx.Identifier{ps, pn}
		return c, err
	})
}

func (c cascade) on() string {
	var on []string
	for i := range c.childColumns {
		on = append(on, fmt.Sprintf("c.%s = p.%s", pgx.Identifier{c.childColumns[i]}.Sanitize(), pgx.Identifier{c.parentColumns[i]}.Sanitize()))
	}
	return strings.Join(on, " AND ")
}

func (r *Runner) quarantine(ctx context.Context, tx pgx.Tx, rule plan.Rule, result *Result) error {
	if result.Rows == 0 {
		return nil
	}
	if !r.options.Collect {
		if err := EnsureTable(ctx, tx); err != nil {
			return err
		}
	}
	table := r.table(rule.Table)
	if _, err := tx.Exec(ctx, doomedTable); err != nil {
		return fmt.Errorf("collect the rows: %w", err)
	}
	sql := fmt.Sprintf(`INSERT INTO tideover_doomed SELECT %s::pg_catalog.regclass, t.tableoid, t.ctid, 0 FROM %s t WHERE %s`,
		postgres.Literal(table.Sanitize()), table.Sanitize(), where(rule))
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("collect the rows: %w", err)
	}
	if err := doomChildren(ctx, tx); err != nil {
		return err
	}
	if err := r.keep(ctx, tx, rule, table, result); err != nil {
		return err
	}
	sql = fmt.Sprintf(`DELETE FROM %s t USING tideover_doomed d WHERE d.level = 0 AND t.tableoid = d.part AND t.ctid = d.tid`, table.Sanitize())
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("delete the rows: %w", err)
	}
	_, err := tx.Exec(ctx, `DROP TABLE tideover_doomed`)
	return err
}

// doomChildren adds the rows that go along, until no more are found. Foreign keys can form a ring.
func doomChildren(ctx context.Context, tx pgx.Tx) error {
	keys, err := cascades(ctx, tx)
	if err != nil {
		return err
	}
	for level := 0; ; level++ {
		var found int64
		for _, k := range keys {
			sql := fmt.Sprintf(`INSERT INTO tideover_doomed
				SELECT DISTINCT $1::oid, c.tableoid, c.ctid, $2::integer + 1 FROM tideover_doomed d
				JOIN %s p ON p.tableoid = d.part AND p.ctid = d.tid JOIN %s c ON %s
				WHERE d.level = $2::integer ON CONFLICT DO NOTHING`, k.parentTable.Sanitize(), k.childTable.Sanitize(), k.on())
			tag, err := tx.Exec(ctx, sql, k.child, level)
			if err != nil {
				return fmt.Errorf("collect the rows that go along: %w", err)
			}
			found += tag.RowsAffected()
		}
		if found == 0 {
			return nil
		}
	}
}

const doomedTables = `
SELECT n.nspname, c.relname, d.rel, min(d.level) FROM tideover_doomed d
JOIN pg_catalog.pg_class c ON c.oid = d.rel JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
GROUP BY n.nspname, c.relname, d.rel ORDER BY min(d.level), c.relname`

// keep writes the doomed rows to the quarantine, or hands them back, parents first.
func (r *Runner) keep(ctx context.Context, tx pgx.Tx, rule plan.Rule, root pgx.Identifier, result *Result) error {
	rows, err := tx.Query(ctx, doomedTables)
	if err != nil {
		return err
	}
	type doomed struct {
		table pgx.Identifier
		rel   uint32
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d doomed, err error) {
		var schema, name string
		var level int
		err = row.Scan(&schema, &name, &d.rel, &level)
		d.table = pgx.Identifier{schema, name}
		return d, err
	})
	if err != nil {
		return fmt.Errorf("collect the rows: %w", err)
	}
	for _, d := range tables {
		key, row, err := expressions(ctx, tx, d.rel)
		if err != nil {
			return err
		}
		query := fmt.Sprintf(`SELECT $1::text AS rule, $2::text AS table_name, %s AS key, %s AS row FROM %s t
			JOIN tideover_doomed d ON t.tableoid = d.part AND t.ctid = d.tid AND d.rel = $3 ORDER BY d.level`, key, row, d.table.Sanitize())
		args := []any{rule.Name, r.options.Schemas.Called(d.table[0], d.table[1]), d.rel}
		var n int64
		if r.options.Collect {
			found, err := tx.Query(ctx, query, args...)
			if err != nil {
				return err
			}
			moved, err := pgx.CollectRows(found, pgx.RowToStructByPos[Row])
			if err != nil {
				return fmt.Errorf("collect rows of %q: %w", d.table[1], err)
			}
			result.Moved = append(result.Moved, moved...)
			n = int64(len(moved))
		} else {
			tag, err := tx.Exec(ctx, `INSERT INTO tideover.quarantine (rule, table_name, key, row) `+query+
				` ON CONFLICT (rule, table_name, key) DO UPDATE SET row = excluded.row`, args...)
			if err != nil {
				return fmt.Errorf("quarantine rows of %q: %w", d.table[1], err)
			}
			n = tag.RowsAffected()
		}
		if d.table[0] == root[0] && d.table[1] == root[1] {
			n -= result.Rows
		}
		result.Cascaded += n
	}
	return nil
}

type column struct {
	Name      string
	Position  int  // in the primary key, from 1; 0: not in it
	JSON      bool // of type json, which can hold what jsonb refuses
	Generated bool
}

const columnsQuery = `
SELECT a.attname AS name, coalesce(pg_catalog.array_position(i.indkey::int2[], a.attnum) + 1, 0) AS position,
	a.atttypid = 'pg_catalog.json'::pg_catalog.regtype AS json, a.attgenerated <> '' AS generated
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY position, a.attnum`

func columnsOf(ctx context.Context, tx pgx.Tx, rel uint32) ([]column, error) {
	rows, err := tx.Query(ctx, columnsQuery, rel)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[column])
}

// expressions are the SQL of a row's key and of the row as JSON.
func expressions(ctx context.Context, tx pgx.Tx, rel uint32) (key, row string, err error) {
	columns, err := columnsOf(ctx, tx, rel)
	if err != nil {
		return "", "", fmt.Errorf("list the columns: %w", err)
	}
	var keys, all []string
	for _, c := range columns {
		name := pgx.Identifier{c.Name}.Sanitize()
		if c.Position > 0 {
			keys = append(keys, "t."+name+"::text")
		}
		if c.JSON {
			all = append(all, "t."+name+"::text AS "+name)
		} else {
			all = append(all, "t."+name)
		}
	}
	row = "(SELECT pg_catalog.to_jsonb(s) FROM (SELECT " + strings.Join(all, ", ") + ") s)"
	if len(keys) == 0 {
		return "pg_catalog.md5(t::text)", row, nil
	}
	return "pg_catalog.jsonb_build_array(" + strings.Join(keys, ", ") + ")::text", row, nil
}

const quarantinedTables = `SELECT table_name FROM tideover.quarantine WHERE rule = $1 GROUP BY table_name ORDER BY min(id)`

// Restore puts the rows that a rule quarantined back into their tables, parents first, and takes them out of
// the quarantine, in one transaction. It returns how many. A row whose primary key is there again stays as it is. It is for a
// rule that was wrong: what made the rows offend is not mended by it.
func Restore(ctx context.Context, conn *pgx.Conn, schemas plan.Schemas, rule string) (restored int64, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if there, err := quarantineThere(ctx, tx); err != nil || !there {
			return err
		}
		rows, err := tx.Query(ctx, quarantinedTables, rule)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, table := range tables {
			n, err := restore(ctx, tx, place(schemas, table), table, rule)
			if err != nil {
				return fmt.Errorf("table %q: %w", table, err)
			}
			restored += n
		}
		_, err = tx.Exec(ctx, `DELETE FROM tideover.quarantine WHERE rule = $1`, rule)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rule %q: put its rows back: %w", rule, err)
	}
	return restored, nil
}

func restore(ctx context.Context, tx pgx.Tx, table pgx.Identifier, called, rule string) (int64, error) {
	var rel uint32
	if err := tx.QueryRow(ctx, `SELECT $1::text::pg_catalog.regclass::oid`, table.Sanitize()).Scan(&rel); err != nil {
		return 0, err
	}
	columns, err := columnsOf(ctx, tx, rel)
	if err != nil {
		return 0, err
	}
	if err := fits(ctx, tx, columns, called, rule); err != nil {
		return 0, err
	}
	var names, values, same []string
	for _, c := range columns {
		if c.Position > 0 {
			name := pgx.Identifier{c.Name}.Sanitize()
			same = append(same, "t."+name+" = r."+name)
		}
		if c.Generated {
			continue
		}
		name := pgx.Identifier{c.Name}.Sanitize()
		names = append(names, name)
		if c.JSON {
			values = append(values, "(q.row->>"+postgres.Literal(c.Name)+")::json")
		} else {
			values = append(values, "r."+name)
		}
	}
	from := "q.row"
	for _, c := range columns {
		if c.JSON {
			from += " - " + postgres.Literal(c.Name)
		}
	}
	// A row whose key is there again stays as it is. Any other conflict is an error: the row would be lost.
	there := ""
	if len(same) > 0 {
		there = fmt.Sprintf("AND NOT EXISTS (SELECT 1 FROM %s t WHERE %s)", table.Sanitize(), strings.Join(same, " AND "))
	}
	sql := fmt.Sprintf(`INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM tideover.quarantine q,
		LATERAL pg_catalog.jsonb_populate_record(NULL::%s, %s) r WHERE q.rule = $1 AND q.table_name = $2 %s ORDER BY q.id`,
		table.Sanitize(), strings.Join(names, ", "), strings.Join(values, ", "), table.Sanitize(), from, there)
	tag, err := tx.Exec(ctx, sql, rule, called)
	return tag.RowsAffected(), err
}

// fits refuses rows that have a column which their table has not: putting back the rest of such a row would drop it.
func fits(ctx context.Context, tx pgx.Tx, columns []column, table, rule string) error {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	const sql = `SELECT k FROM tideover.quarantine q, pg_catalog.jsonb_object_keys(q.row) k
WHERE q.rule = $1 AND q.table_name = $2 AND k <> ALL ($3::text[]) LIMIT 1`
	var strange string
	switch err := tx.QueryRow(ctx, sql, rule, table, names).Scan(&strange); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("its rows in quarantine have a column %q, which the table has not: they were set aside before a migration that changed it", strange)
}
