package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// What a trigger on green has noted of a row says which row it is, and not what became of it: that is read when rows go back.

// note is what a trigger on green has noted.
type note struct {
	ID      int64
	Table   string // of blue
	Key     []byte
	Another bool

	key tuple
}

// notesBut are the numbers of notes but for those of some rows. Where it is not known which notes are such a row's, none of its table's are
// among them.
func notesBut(all []note, failed []*deed) (numbers []int64) {
	rows, unknown := make(map[string]*keySet), make(map[string]bool)
	for _, d := range failed {
		if rows[d.of.Table] == nil {
			rows[d.of.Table] = &keySet{}
		}
		rows[d.of.Table].add(d.key)
		if !slices.ContainsFunc(all, func(n note) bool { return n.Table == d.of.Table && slices.Equal(n.key, d.key) }) {
			unknown[d.of.Table] = true
		}
	}
	for _, n := range all {
		if !unknown[n.Table] && !rows[n.Table].has(n.key) {
			numbers = append(numbers, n.ID)
		}
	}
	return numbers
}

// noted are what was noted of the rows that green's clients have written, and their keys by table of blue, but for what has been carried
// back before.
func (v *Reverse) noted(ctx context.Context, green pgx.Tx, epoch string, tables []*returning) (found []note, keys map[string]*keySet, err error) {
	there := make(map[string][]string)
	others := make(map[string]*keySet)
	for _, t := range tables {
		t.others = &keySet{}
		there[t.Table], others[t.Table] = t.There, t.others
	}
	rows, err := green.Query(ctx, `SELECT h.id, h.table_name, h.key::text, coalesce((pg_catalog.to_jsonb(h) ->> 'another')::boolean, false) FROM tideover.homebound h WHERE table_name = ANY ($1) ORDER BY id`, sortedNames(there))
	if err != nil {
		return nil, nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[note])
	if err != nil {
		return nil, nil, err
	}
	var numbers []int64
	for _, n := range all {
		numbers = append(numbers, n.ID)
	}
	done, err := collect[int64](ctx, v.blue.Pool(), "read the ledger on blue", `SELECT change_id FROM tideover.applied WHERE epoch = $1 AND change_id = ANY ($2)`, epoch, numbers)
	if err != nil {
		return nil, nil, err
	}
	before := make(map[int64]bool, len(done))
	for _, n := range done {
		before[n] = true
	}
	keys = make(map[string]*keySet)
	for _, n := range all {
		if before[n.ID] {
			continue
		}
		values, err := texts(n.Key)
		if err != nil {
			return nil, nil, err
		}
		k, ok := (&change{key: values}).pick(there[n.Table])
		if !ok {
			return nil, nil, fmt.Errorf("a noted key of table %q is not whole: %s", n.Table, n.Key)
		}
		if keys[n.Table] == nil {
			keys[n.Table] = &keySet{}
		}
		keys[n.Table].add(k)
		if n.Another {
			others[n.Table].add(k)
		}
		n.key = k
		found = append(found, n)
	}
	return found, keys, nil
}

// fetch reads what became of the rows of a table and puts those that are there into a temporary table on blue.
func fetch(ctx context.Context, from, tx pgx.Tx, t *returning, home *relation, keys *keySet) (deeds []*deed, err error) {
	if keys == nil {
		return nil, nil
	}
	if home == nil {
		return nil, fmt.Errorf("green has no table %q any more", t.Home)
	}
	for t.place = "place"; slices.ContainsFunc(t.Columns, func(c carried) bool { return c.Column == t.place }); {
		t.place += "_"
	}
	columns := []string{t.place + " bigint PRIMARY KEY"}
	names := []string{t.place}
	for _, c := range t.Columns {
		columns, names = append(columns, pgx.Identifier{c.Column}.Sanitize()+" text"), append(names, c.Column)
	}
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE "+t.temp+" ("+strings.Join(columns, ", ")+") ON COMMIT DROP"); err != nil {
		return nil, err
	}
	wanted := unnest(home, t.There, "k")
	same := home.equal("g", t.There, "k", numbered(len(t.There)))
	var there [][]any
	width := len(t.There)
	found, err := tuplesWithNull(ctx, from, "SELECT DISTINCT "+keyTexts(home, t.There, "g")+", "+t.values()+" FROM "+home.rows()+" g WHERE EXISTS (SELECT FROM "+wanted+" WHERE "+same+")",
		transpose(keys.keys, width), width+len(t.Columns))
	if err != nil {
		return nil, err
	}
	for i, row := range found {
		d := &deed{of: t, place: int64(i) + 1}
		for _, k := range row[:width] {
			d.key = append(d.key, *k)
		}
		d.another = t.others.has(d.key)
		deeds = append(deeds, d)
		line := []any{d.place}
		for _, value := range row[width:] {
			line = append(line, value)
		}
		there = append(there, line)
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"pg_temp", t.temp}, names, pgx.CopyFromRows(there)); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "ANALYZE pg_temp."+t.temp); err != nil {
		return nil, err
	}
	gone, err := tuples(ctx, from, "SELECT "+textsOf(width)+" FROM "+wanted+" WHERE NOT EXISTS (SELECT FROM "+home.rows()+" g WHERE "+same+")", keys.keys, width)
	if err != nil {
		return nil, err
	}
	for _, k := range gone {
		deeds = append(deeds, &deed{of: t, key: k})
	}
	return deeds, nil
}

// textsOf are the columns of [unnest] as text.
func textsOf(n int) string {
	parts := numbered(n)
	for i, name := range parts {
		parts[i] = "k." + name + "::pg_catalog.text"
	}
	return strings.Join(parts, ", ")
}

func tuplesWithNull(ctx context.Context, tx pgx.Tx, sql string, args []any, width int) ([][]*string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]*string, error) {
		values := make([]*string, width)
		into := make([]any, width)
		for i := range values {
			into[i] = &values[i]
		}
		return values, row.Scan(into...)
	})
}
