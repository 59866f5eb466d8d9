package oracle

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Kind is what a difference is about.
type Kind string

const (
	Missing Kind = "missing" // a row that should be on green and is not
	Extra   Kind = "extra"   // a row on green that should not be there
	Differs Kind = "differs" // a row that is there with other values
	Schema  Kind = "schema"  // a column, constraint, index, … that is missing, extra or another, or a sequence that is behind
)

// Difference is one difference. It holds no values, only a key: what the profile's keys are, which the database itself
// keeps as hashes or signatures where they are secrets.
type Difference struct {
	Table   string   `json:"table"`
	Key     string   `json:"key,omitempty"` // JSON array of the key's values as text; without a key, the row's MD5. Of a schema: the object
	Kind    Kind     `json:"kind"`
	Columns []string `json:"columns,omitempty"` // of Differs: which; of Schema: "missing", "extra", "differs" or "behind"
}

// Comparison is the answer. Count can be more than len(Differences).
type Comparison struct {
	Tables      int
	Rows        int64 // compared, of both sides together counted once
	Count       int64
	Differences []Difference
	// Unseen are the columns of which only the form was compared, and the tables that were not, with the number of values or rows.
	Unseen map[string]int64
}

// Behind is the column of a difference of a sequence that stands behind.
const Behind = "behind"

// Ignore takes differences out that are none to the caller.
func (c *Comparison) Ignore(none func(Difference) bool) {
	before := len(c.Differences)
	c.Differences = slices.DeleteFunc(c.Differences, none)
	c.Count -= int64(before - len(c.Differences))
}

// Limit is how many differences of one table are listed.
const Limit = 1000

// Compare holds actual against expected: two sessions on databases of one server. Each may be in a transaction whose
// state is to be compared (a [Pin]); in one that is not, a transaction is begun and ended here. They are sessions of package
// postgres: values read as text alike.
func Compare(ctx context.Context, expected, actual *pgx.Conn, p *plan.Profile, clock Clock) (Comparison, error) {
	var c Comparison
	for _, conn := range []*pgx.Conn{expected, actual} {
		end, err := steady(ctx, conn)
		if err != nil {
			return c, fmt.Errorf("compare: %w", err)
		}
		defer end()
	}
	scopes, err := scopesOf(ctx, p, expected, actual)
	if err != nil {
		return c, err
	}
	c.Unseen = map[string]int64{}
	for _, s := range scopes {
		if err := c.within(ctx, expected, actual, s, clock); err != nil {
			return c, fmt.Errorf("compare: schema %q: %w", s.schema, err)
		}
	}
	if err := c.quarantine(ctx, expected, actual, p); err != nil {
		return c, fmt.Errorf("compare: the quarantine: %w", err)
	}
	return c, nil
}

// within compares one schema.
func (c *Comparison) within(ctx context.Context, expected, actual *pgx.Conn, s scope, clock Clock) error {
	before := len(c.Differences)
	want, err := load(ctx, expected, s)
	if err != nil {
		return fmt.Errorf("expected: %w", err)
	}
	have, err := load(ctx, actual, s)
	if err != nil {
		return fmt.Errorf("actual: %w", err)
	}
	c.compareObjects(want, have)
	for _, t := range want.tables {
		other, ok := have.byName[t.name]
		if !ok {
			continue // compareObjects has said so
		}
		if err := c.table(ctx, expected, actual, t.shared(other), s.schema, clock); err != nil {
			return fmt.Errorf("table %q: %w", t.name, err)
		}
		c.Tables++
	}
	if err := c.unseen(ctx, actual, have, s); err != nil {
		return fmt.Errorf("count what is not compared: %w", err)
	}
	if err := c.sequences(ctx, expected, actual, s); err != nil {
		return fmt.Errorf("the sequences: %w", err)
	}
	for i := before; i < len(c.Differences); i++ {
		c.Differences[i].Table = s.prefix + c.Differences[i].Table
	}
	return nil
}

// unseen counts what is not compared.
func (c *Comparison) unseen(ctx context.Context, actual *pgx.Conn, have catalog, s scope) error {
	count := func(table string) (n int64, err error) {
		return n, actual.QueryRow(ctx, "SELECT count(*) FROM "+pgx.Identifier{s.schema, table}.Sanitize()).Scan(&n)
	}
	for _, t := range have.tables {
		for _, column := range t.formed {
			n, err := count(t.name)
			if err != nil {
				return err
			}
			c.Unseen[s.prefix+t.name+"."+column] = n
		}
	}
	for _, table := range slices.Concat(s.profile.Green.Ignore, s.others) {
		var there bool
		if err := actual.QueryRow(ctx, `SELECT pg_catalog.to_regclass($1) IS NOT NULL`, pgx.Identifier{s.schema, table}.Sanitize()).Scan(&there); err != nil {
			return err
		}
		if !there {
			continue
		}
		n, err := count(table)
		if err != nil {
			return err
		}
		c.Unseen[s.prefix+table] = n
	}
	return nil
}

// steady makes a session of ours see one state, and look no name up.
func steady(ctx context.Context, conn *pgx.Conn) (end func(), err error) {
	end = func() {}
	switch conn.PgConn().TxStatus() {
	case 'I':
		if err := begin(ctx, conn); err != nil {
			return nil, err
		}
		end = func() { _, _ = conn.Exec(context.WithoutCancel(ctx), `ROLLBACK`) } // it has written nothing
	case 'E':
		return nil, errBusy
	}
	if _, err := conn.Exec(ctx, `SELECT pg_catalog.set_config('search_path', '', false)`); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

func (c *Comparison) add(listed *int, d Difference) bool {
	c.Count++
	*listed++
	if *listed > Limit {
		return false
	}
	c.Differences = append(c.Differences, d)
	return true
}

// query reads a table in the order of its key's bytes, and marks the times between two moments. Where it has no usable key a row is
// its hash.
func (t table) query(schema string, from, to time.Time) string {
	hash := "pg_catalog.md5(ROW(" + t.quoted() + ")::text)"
	key := "pg_catalog.jsonb_build_array(" + t.keys() + ")::text"
	if len(t.key) == 0 {
		key = hash
	}
	return fmt.Sprintf(`SELECT %s AS k, %s AS h, %s AS made FROM %s ORDER BY (%s) COLLATE "C"`, key, hash, t.made(from, to), t.from(schema), key)
}

func (c *Comparison) table(ctx context.Context, expected, actual *pgx.Conn, t table, schema string, clock Clock) error {
	if clock == (Clock{}) {
		t.times = nil
	}
	queries := [2]string{t.query(schema, clock.Began, clock.Ended), t.query(schema, clock.Since, clock.end())}
	differing, err := c.merge(ctx, expected, actual, t.name, queries, len(t.key) > 0)
	if err != nil || len(differing) == 0 {
		return err
	}
	return c.columns(ctx, expected, actual, t, schema, clock, differing)
}

// merge reads a table on both sides and returns where in c.Differences the rows stand that differ, by key.
func (c *Comparison) merge(ctx context.Context, expected, actual *pgx.Conn, name string, queries [2]string, keyed bool) (map[string]int, error) {
	want, err := expected.Query(ctx, queries[0])
	if err != nil {
		return nil, err
	}
	defer want.Close()
	have, err := actual.Query(ctx, queries[1])
	if err != nil {
		return nil, err
	}
	defer have.Close()
	return c.walk(&stream{rows: want}, &stream{rows: have}, name, keyed)
}

// walk goes through both sides in the order of their keys.
func (c *Comparison) walk(w, h *stream, name string, keyed bool) (map[string]int, error) {
	differing, listed := map[string]int{}, 0
	w.next()
	h.next()
	for w.ok || h.ok {
		c.Rows++
		order := strings.Compare(w.key, h.key)
		switch {
		case !h.ok || w.ok && order < 0:
			c.add(&listed, Difference{Table: name, Key: w.key, Kind: Missing})
			w.next()
		case !w.ok || order > 0:
			c.add(&listed, Difference{Table: name, Key: h.key, Kind: Extra})
			h.next()
		default:
			if (w.hash != h.hash || !sameTimes(w.made, h.made)) && c.add(&listed, Difference{Table: name, Key: w.key, Kind: Differs}) && keyed {
				differing[w.key] = len(c.Differences) - 1
			}
			w.next()
			h.next()
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	return differing, h.err
}

type stream struct {
	rows      pgx.Rows
	key, hash string
	made      []string // the times, marked as Clock says
	ok        bool
	err       error
}

func (s *stream) next() {
	if s.ok = s.rows.Next(); !s.ok {
		s.err = s.rows.Err()
		return
	}
	if s.err = s.rows.Scan(&s.key, &s.hash, &s.made); s.err != nil {
		s.ok = false
	}
}

// columns finds out which columns of the rows that differ do so.
func (c *Comparison) columns(ctx context.Context, expected, actual *pgx.Conn, t table, schema string, clock Clock, differing map[string]int) error {
	keys := slices.Collect(maps.Keys(differing))
	want, err := t.values(ctx, expected, schema, keys, clock.Began, clock.Ended)
	if err != nil {
		return err
	}
	have, err := t.values(ctx, actual, schema, keys, clock.Since, clock.end())
	if err != nil {
		return err
	}
	for key, at := range differing {
		for i, col := range slices.Concat(t.columns, t.formed) {
			if i < len(want[key]) && i < len(have[key]) && !sameTime(want[key][i], have[key][i]) {
				c.Differences[at].Columns = append(c.Differences[at].Columns, col)
			}
		}
	}
	return nil
}

// values are, by key, what is compared of each column of some rows: hashes, forms, and times as they are marked.
func (t table) values(ctx context.Context, conn *pgx.Conn, schema string, keys []string, from, to time.Time) (map[string][]string, error) {
	var values []string
	for _, col := range t.columns {
		if t.times[col] != "" {
			values = append(values, t.marked(col, from, to))
		} else {
			values = append(values, "coalesce(pg_catalog.md5(t."+pgx.Identifier{col}.Sanitize()+"::text), 'null')")
		}
	}
	for _, col := range t.formed {
		values = append(values, form(col))
	}
	query := fmt.Sprintf(`SELECT k, h FROM (SELECT pg_catalog.jsonb_build_array(%s)::text AS k, ARRAY[%s]::text[] AS h FROM %s) q WHERE k = ANY($1)`,
		t.keys(), strings.Join(values, ", "), t.from(schema))
	rows, err := conn.Query(ctx, query, keys)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	var key string
	var row []string
	_, err = pgx.ForEachRow(rows, []any{&key, &row}, func() error { found[key] = row; row = nil; return nil })
	return found, err
}

// quarantine compares what was taken out: a row is to be in green or in its quarantine, and in both alike.
func (c *Comparison) quarantine(ctx context.Context, expected, actual *pgx.Conn, p *plan.Profile) error {
	const exists = `SELECT pg_catalog.to_regclass('tideover.quarantine') IS NOT NULL`
	const empty = `SELECT ''::text AS k, ''::text AS h, NULL::text[] AS made WHERE false`
	skip := map[string][]string{}
	for _, ref := range append(append([]plan.ColumnRef{}, p.Green.Constants...), p.Green.Volatile...) {
		skip[ref.Table] = append(skip[ref.Table], ref.Column)
	}
	var b strings.Builder
	for table, columns := range skip {
		quoted := make([]string, len(columns))
		for i, col := range columns {
			quoted[i] = postgres.Literal(col)
		}
		fmt.Fprintf(&b, " WHEN %s THEN q.row - ARRAY[%s]::text[]", postgres.Literal(table), strings.Join(quoted, ", "))
	}
	content := "q.row"
	if b.Len() > 0 {
		content = "CASE q.table_name" + b.String() + " ELSE q.row END"
	}
	const key = `pg_catalog.jsonb_build_array(q.rule, q.table_name, q.key)::text`
	query := `SELECT ` + key + ` AS k, pg_catalog.md5((` + content + `)::text) AS h, NULL::text[] AS made FROM tideover.quarantine q ORDER BY (` + key + `) COLLATE "C"`
	// The two sides may not both have the table: each gets its own query.
	queries := [2]string{query, query}
	for i, conn := range []*pgx.Conn{expected, actual} {
		var there bool
		if err := conn.QueryRow(ctx, exists).Scan(&there); err != nil {
			return err
		}
		if !there {
			queries[i] = empty
		}
	}
	_, err := c.merge(ctx, expected, actual, "tideover.quarantine", queries, false)
	return err
}

// String names the place, without values.
func (d Difference) String() string {
	s := fmt.Sprintf("%s %s: %s", d.Table, d.Key, d.Kind)
	if len(d.Columns) > 0 {
		s += " (" + strings.Join(d.Columns, ", ") + ")"
	}
	return s
}
