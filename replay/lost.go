package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Lost is what a way back leaves on green of one table: rows that green's clients have written or deleted since the switch.
type Lost struct {
	Table   string   `json:"table"`   // of green
	New     int64    `json:"new"`     // rows that blue has not got
	Changed int64    `json:"changed"` // rows that blue has as they were
	Deleted int64    `json:"deleted"` // rows that live again on blue
	Rows    []string `json:"rows"`    // the first of them, by table and key
}

func (l Lost) String() string {
	s := fmt.Sprintf("%s: %d new, %d changed, %d deleted", l.Table, l.New, l.Changed, l.Deleted)
	if rows := l.Rows[:min(len(l.Rows), lostShown)]; len(rows) > 0 {
		s += fmt.Sprintf(" %v", rows)
		if n := l.New + l.Changed + l.Deleted - int64(len(rows)); n > 0 {
			s += fmt.Sprintf(" and %d more", n)
		}
	}
	return s
}

// lostNamed is how many rows of a table are named, and lostShown how many of them in a line of text.
const (
	lostNamed = 100
	lostShown = 8
)

// writtenTablesSQL lists the tables of green that clients may have written, with their primary keys: but for those of others ($1) and
// some more ($3), as a profile of schema $2 calls them.
const writtenTablesSQL = `
SELECT n.nspname, c.relname, c.relkind = 'p', coalesce((SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
	FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
	JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
	WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts), '{}')
FROM (` + guardedSQL + `) g
JOIN pg_catalog.pg_class c ON c.oid = g.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT c.relispartition AND CASE WHEN n.nspname = $2 THEN c.relname::pg_catalog.text ELSE n.nspname || '.' || c.relname END <> ALL ($3)
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname <> $2, n.nspname, c.relname`

// Lost lists what a way back would leave on green: rows of tables that the profile does not carry back, which green's clients have
// written since mark, the number of green's first transaction after the switch. It reads each table once. Revocations are not
// among it: they go back by meaning.
func (v *Reverse) Lost(ctx context.Context, mark uint64) (all []Lost, err error) {
	t, err := readTrail(ctx, v.green)
	if err != nil {
		return nil, err
	}
	schema := schemaOf(v.profile)
	left := slices.Concat(v.profile.Bookkeeping, v.profile.Green.Ignore)
	for _, c := range t.Carriers {
		left = append(left, c.Home)
	}
	blue, err := catalog(ctx, v.blue.Pool(), schemasOf(v.profile))
	if err != nil {
		return nil, fmt.Errorf("blue: %w", err)
	}
	now, err := catalog(ctx, v.green.Pool(), schemasOf(v.profile))
	if err != nil {
		return nil, fmt.Errorf("green: %w", err)
	}
	err = snapshotOf(ctx, v.green, schema, func(green pgx.Tx) error {
		return snapshotOf(ctx, v.blue, schema, func(tx pgx.Tx) error {
			rows, err := green.Query(ctx, writtenTablesSQL, append([]string{}, v.profile.Others...), schema, append([]string{}, left...))
			if err != nil {
				return err
			}
			var tables []*writtenTable
			w := writtenTable{}
			_, err = pgx.ForEachRow(rows, []any{&w.schema, &w.name, &w.partitioned, &w.key}, func() error {
				table := w
				tables = append(tables, &table)
				w = writtenTable{}
				return nil
			})
			if err != nil {
				return err
			}
			for _, table := range tables {
				table.called = v.profile.Schemas().Called(table.schema, table.name)
				table.dwell(t, blue, now)
				lost, err := table.lost(ctx, green, tx, mark)
				if err != nil {
					return fmt.Errorf("table %q: %w", table.called, err)
				}
				if lost.New+lost.Changed+lost.Deleted > 0 {
					lost.Table = table.called
					all = append(all, lost)
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look for what green's clients have written: %w", err)
	}
	return all, nil
}

// writtenTable is a table of green.
type writtenTable struct {
	schema, name string
	called       string // by the profile
	partitioned  bool
	key          []string // by which its rows are named
	// Where it is the home of one table of blue's: that, and both as their catalogs have them.
	table  string
	home   *relation
	old    *relation
	oldKey []string
}

// dwell finds the table of blue whose rows live in t.
func (t *writtenTable) dwell(kept trail, blue, green map[string]*relation) {
	for _, name := range sortedNames(kept.Homes) {
		h := kept.Homes[name]
		if h.Table != t.called || blue[name] == nil || green[t.called] == nil {
			continue
		}
		if t.old != nil { // of several
			t.table, t.home, t.old = "", nil, nil
			return
		}
		t.table, t.home, t.old, t.oldKey, t.key = name, green[t.called], blue[name], h.Key, h.There
	}
}

// keyOf is the select list of the key's texts.
func (t *writtenTable) keyOf(alias string) string {
	if t.home != nil {
		return keyTexts(t.home, t.key, alias)
	}
	return keyTexts(&relation{}, t.key, alias)
}

func (t *writtenTable) lost(ctx context.Context, green, blue pgx.Tx, mark uint64) (l Lost, err error) {
	rel := &relation{schema: t.schema, table: t.name, partitioned: t.partitioned}
	name := func(k tuple) {
		if len(l.Rows) < lostNamed {
			l.Rows = append(l.Rows, describe(t.called, t.key, k))
		}
	}
	// A row's xmin is the low half of a transaction's number; age() compares it rightly across a wrap-around.
	written := " FROM " + rel.rows() + " t WHERE pg_catalog.age(t.xmin) <= pg_catalog.age($1::text::xid8::xid)"
	if len(t.key) == 0 {
		return l, green.QueryRow(ctx, "SELECT count(*)"+written, fmt.Sprint(mark)).Scan(&l.New)
	}
	width := len(t.key)
	batch := make([]tuple, 0, lostBatch)
	judge := func() error {
		there, err := held(ctx, blue, t.old, t.oldKey, batch)
		if err != nil {
			return err
		}
		for i, k := range batch {
			if there[i] {
				l.Changed++
			} else {
				l.New++
			}
			name(k)
		}
		batch = batch[:0]
		return nil
	}
	rows, err := green.Query(ctx, "SELECT "+t.keyOf("t")+written, fmt.Sprint(mark))
	if err != nil {
		return l, err
	}
	found := make([]*string, width)
	into := make([]any, width)
	for i := range into {
		into[i] = &found[i]
	}
	if _, err := pgx.ForEachRow(rows, into, func() error {
		values := make(tuple, width)
		for i, v := range found {
			if v == nil { // no row of blue's has that for a key
				l.New++
				if len(l.Rows) < lostNamed {
					l.Rows = append(l.Rows, fmt.Sprintf("%s (%s)", t.called, keyWords(t.key, found)))
				}
				return nil
			}
			values[i] = *v
		}
		if batch = append(batch, values); len(batch) == cap(batch) {
			return judge()
		}
		return nil
	}); err != nil {
		return l, err
	}
	if err := judge(); err != nil || t.old == nil {
		return l, err
	}
	return l, t.deleted(ctx, green, blue, &l, name)
}

const lostBatch = 5000

// held says of each key whether a table has its row.
func held(ctx context.Context, tx pgx.Tx, rel *relation, columns []string, keys []tuple) ([]bool, error) {
	there := make([]bool, len(keys))
	if rel == nil || len(keys) == 0 {
		return there, nil
	}
	found, err := tuples(ctx, tx, "SELECT "+textsOf(len(columns))+" FROM "+unnest(rel, columns, "k")+" WHERE EXISTS (SELECT FROM "+rel.rows()+
		" t WHERE "+rel.equal("t", columns, "k", numbered(len(columns)))+")", keys, len(columns))
	if err != nil {
		return nil, err
	}
	set := keySet{}
	for _, k := range found {
		set.add(k)
	}
	for i, k := range keys {
		there[i] = set.has(k)
	}
	return there, nil
}

// deleted counts the rows that green's clients have deleted, which are noted, and that blue has.
func (t *writtenTable) deleted(ctx context.Context, green, blue pgx.Tx, l *Lost, name func(tuple)) error {
	var noted bool
	if err := green.QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.homebound') IS NOT NULL`).Scan(&noted); err != nil || !noted {
		return err
	}
	rows, err := green.Query(ctx, `SELECT DISTINCT key::text FROM tideover.homebound WHERE table_name = $1 ORDER BY 1`, t.table)
	if err != nil {
		return err
	}
	var keys []tuple
	var object []byte
	_, err = pgx.ForEachRow(rows, []any{&object}, func() error {
		values, err := texts(object)
		if err != nil {
			return err
		}
		if k, ok := (&change{key: values}).pick(t.key); ok {
			keys = append(keys, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(keys, lostBatch) {
		again, err := held(ctx, green, t.home, t.key, part) // written again since
		if err != nil {
			return err
		}
		there, err := held(ctx, blue, t.old, t.oldKey, part)
		if err != nil {
			return err
		}
		for i, k := range part {
			if there[i] && !again[i] {
				l.Deleted++
				name(k)
			}
		}
	}
	return nil
}
