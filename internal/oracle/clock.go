package oracle

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Clock tells what migrations take from the clock (a trigger's updated_at, a default of now()) from what rows bring with
// them. A value that expected's migrations have just made, and actual's have made since the run began, is no difference: one
// migration of blue is never another's twin in that. Any other time has to be the same on both sides. The zero Clock has all
// of them be the same.
type Clock struct {
	Began, Ended time.Time // of the migrations of expected, by the server's clock
	Since        time.Time // when the run of actual began, by the server's clock
}

// end is an open one: green's migrations go on for as long as changes come.
func (c Clock) end() time.Time { return c.Ended.AddDate(1, 0, 0) }

// Now is the server's clock.
func Now(ctx context.Context, conn *pgx.Conn) (now time.Time, err error) {
	err = conn.QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&now)
	return now, err
}

// Ago is the moment on a server's clock that lies as far back as past does on this machine's.
func Ago(ctx context.Context, conn *pgx.Conn, past time.Time) (time.Time, error) {
	now, err := Now(ctx, conn)
	return now.Add(-time.Since(past)), err
}

// zones is how far a local time can be from UTC.
const zones = 15 * time.Hour

// timesQuery lists the columns of times.
const timesQuery = `
SELECT c.relname, a.attname, a.atttypid::pg_catalog.regtype::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
	AND a.atttypid IN ('pg_catalog.timestamptz'::pg_catalog.regtype, 'pg_catalog.timestamp'::pg_catalog.regtype, 'pg_catalog.date'::pg_catalog.regtype)
ORDER BY 1, 2`

// timed gives the tables of a catalog their columns of times, but for those of a key: a row without a twin is one that is missing.
func (c *catalog) timed(ctx context.Context, conn *pgx.Conn, schema string) error {
	rows, err := conn.Query(ctx, timesQuery, schema)
	if err != nil {
		return fmt.Errorf("list the times: %w", err)
	}
	var name, column, typ string
	_, err = pgx.ForEachRow(rows, []any{&name, &column, &typ}, func() error {
		t, ok := c.byName[name]
		if ok && len(t.key) > 0 && !slices.Contains(t.key, column) && slices.Contains(t.columns, column) {
			if t.times == nil {
				t.times = map[string]string{}
			}
			t.times[column] = typ
			c.byName[name] = t
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the times: %w", err)
	}
	return nil
}

// made are SQL texts of a row's times, as an array: with a mark before those that lie between two moments.
func (t table) made(from, to time.Time) string {
	var parts []string
	for _, c := range t.columns {
		if t.times[c] != "" {
			parts = append(parts, t.marked(c, from, to))
		}
	}
	if len(parts) == 0 {
		return "NULL::text[]"
	}
	return "ARRAY[" + strings.Join(parts, ", ") + "]"
}

// marked is the SQL text of one time. A local one may be that of any zone, which are whole quarters of an hour away from UTC.
func (t table) marked(column string, from, to time.Time) string {
	at := func(when time.Time) string {
		return "'" + when.UTC().Format("2006-01-02 15:04:05.999999") + "+00'::pg_catalog.timestamptz"
	}
	name := quote([]string{column}, "")
	utc := "(" + name + "::pg_catalog.timestamp AT TIME ZONE 'UTC')"
	var within string
	switch t.times[column] {
	case "date":
		within = fmt.Sprintf("%s BETWEEN %s AND %s", utc, at(from.Add(-zones).Truncate(24*time.Hour)), at(to.Add(zones)))
	case "timestamp without time zone":
		within = fmt.Sprintf("%s BETWEEN %s AND %s AND pg_catalog.mod(extract(epoch FROM %[1]s - %[2]s)::pg_catalog.numeric, 900) <= %[4]d",
			utc, at(from.Add(-zones)), at(to.Add(zones)), int(to.Sub(from).Seconds())+1)
	default:
		within = fmt.Sprintf("%s BETWEEN %s AND %s", name, at(from), at(to))
	}
	return fmt.Sprintf("CASE WHEN pg_catalog.isfinite(%s) AND %s THEN '%s' ELSE '' END || coalesce(%[1]s::text, 'null')", name, within, madeMark)
}

const madeMark = "!"

// sameTimes says whether the times of two rows are the same, or taken from the clock on either side.
func sameTimes(want, have []string) bool {
	return slices.EqualFunc(want, have, sameTime)
}

func sameTime(want, have string) bool {
	was, made := strings.CutPrefix(want, madeMark)
	is, anew := strings.CutPrefix(have, madeMark)
	return was == is || made && anew
}
