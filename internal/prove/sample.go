package prove

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// column is what a sample row needs to know of a column.
type column struct {
	Name      string
	Type      string // with its modifiers
	Category  string // pg_type.typcategory
	Base      string // the type's own name
	Length    int    // of varchar and char; 0: none
	NotNull   bool
	Default   bool
	Generated bool // by Postgres: nothing may be given
	Unique    bool // in a unique index
	Reference string
	Referred  string // the column of Reference
}

// sample fills every table that is empty with the same rows on all trials. A table that refuses them (a CHECK, a type that
// we have no value for) stays empty, and is noted.
func (p *proof) sample(ctx context.Context, trials []*trial) error {
	list, err := tables(ctx, trials[0].conn)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(t table) bool {
		return len(t.Columns) == 0 || p.Records != nil && t.Name == p.Records.Table[strings.LastIndexByte(p.Records.Table, '.')+1:]
	})
	for pass := true; pass; {
		pass = false
		for i := 0; i < len(list); i++ {
			rows, _, err := digest(ctx, trials[0].conn, list[i], nil)
			if err != nil {
				return err
			}
			done := rows > 0
			if !done {
				if done, err = p.fill(ctx, trials, list[i]); err != nil {
					return err
				}
			}
			if done {
				list, pass = slices.Delete(list, i, i+1), true
				i--
			}
		}
	}
	for _, t := range list {
		note := t.Schema + "." + t.Name + " has no sample rows: give your own with --seed"
		if !slices.Contains(p.report.Notes, note) {
			p.report.Notes = append(p.report.Notes, note)
		}
	}
	return nil
}

// fill puts rows into a table; false: it refused them.
func (p *proof) fill(ctx context.Context, trials []*trial, t table) (bool, error) {
	const sql = `SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, ty.typcategory::text AS category, ty.typname::text AS base,
			CASE WHEN ty.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END::int AS length,
			a.attnotnull AS "not_null", a.atthasdef AND a.attgenerated = '' AS "default", (a.attgenerated <> '' OR a.attidentity <> '') AS generated,
			EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY (i.indkey)) AS "unique",
			coalesce(f.confrelid::regclass::text, '') AS reference,
			coalesce((SELECT r.attname::text FROM pg_catalog.pg_attribute r WHERE r.attrelid = f.confrelid AND r.attnum = f.confkey[pg_catalog.array_position(f.conkey, a.attnum)]), '') AS referred
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type ty ON ty.oid = a.atttypid
		LEFT JOIN LATERAL (SELECT * FROM pg_catalog.pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'f' AND a.attnum = ANY (c.conkey) ORDER BY c.conname LIMIT 1) f ON true
		WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
	rows, err := trials[0].conn.Query(ctx, sql, t.String())
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", t, err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByName[column])
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", t, err)
	}
	var names, values []string
	for _, c := range columns {
		v, ok := c.value(t)
		if !ok {
			return false, nil
		}
		if v != "" {
			names, values = append(names, pgx.Identifier{c.Name}.Sanitize()), append(values, v)
		}
	}
	insert := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) i ON CONFLICT DO NOTHING", t, strings.Join(names, ", "), strings.Join(values, ", "), p.Rows)
	if len(names) == 0 {
		insert = fmt.Sprintf("INSERT INTO %s DEFAULT VALUES", t)
	}
	for n, s := range trials {
		tag, err := s.conn.Exec(ctx, insert)
		if n == 0 && (err != nil || tag.RowsAffected() == 0) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("%s: sample rows of %s: %w", s.name, t, err)
		}
	}
	return true, nil
}

// value is an expression over the row's number i; "" leaves the column out. Text is a number in digits, which is JSON too.
func (c column) value(t table) (string, bool) {
	number := "i::text"
	if c.Length > 0 {
		number = fmt.Sprintf("right(i::text, %d)", c.Length)
	}
	switch {
	case c.Generated:
		return "", true
	case c.Reference != "":
		if c.Reference == t.String() || strings.Trim(c.Reference, `"`) == t.Name {
			return "NULL", !c.NotNull
		}
		ref, col := c.Reference, pgx.Identifier{c.Referred}.Sanitize()
		return fmt.Sprintf("(SELECT r.%s FROM %s r ORDER BY r.%s OFFSET i %% greatest((SELECT count(*) FROM %s), 1) LIMIT 1)", col, ref, col, ref), true
	case c.Default && !c.Unique:
		return "", true
	case !c.NotNull && !c.Unique:
		if v, ok := c.plain(number); ok {
			return "CASE WHEN i % 4 > 0 THEN " + v + " END", true
		}
		return "NULL", true
	}
	return c.plain(number)
}

func (c column) plain(number string) (string, bool) {
	switch {
	case c.Base == "uuid":
		return "('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid", true
	case c.Base == "json" || c.Base == "jsonb":
		return "('{\"n\": ' || i || '}')::" + c.Type, true
	case c.Base == "bytea":
		return "decode(lpad(to_hex(i), 8, '0'), 'hex')", true
	case c.Base == "int2":
		return "(i % 30000)::int2", true
	case c.Category == "N":
		return "i::" + c.Type, true
	case c.Category == "B":
		return "i % 2 = 0", true
	case c.Category == "D":
		return "('2024-01-01 00:00:00'::timestamp + i * interval '1 minute')::" + c.Type, true
	case c.Category == "T":
		return "make_interval(secs => i)::" + c.Type, true
	case c.Category == "S":
		return number + "::" + c.Type, true
	case c.Category == "A":
		return "'{}'::" + c.Type, true
	case c.Category == "E":
		return "(enum_range(NULL::" + c.Type + "))[1]", true
	case c.Category == "I":
		return "('10.0.0.0'::inet + i)::" + c.Type, true
	}
	return "", false
}
