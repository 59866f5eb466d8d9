package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// compare brings the seeds' rows through a delta and holds it against green. It ends tx.
func (a *Audit) compare(ctx context.Context, tx pgx.Tx, seeds, late []*seed) (l look, err error) {
	r := a.replayer
	d := &delta{seeds: seeds, former: make(map[string]*former)}
	if d.rows, err = r.closure(ctx, tx, seeds); err != nil {
		return l, err
	}
	if l.racing, err = r.racing(ctx, tx, d, late); err != nil {
		return l, err
	}
	for _, set := range d.rows {
		l.rows += len(set.keys)
	}
	var from *pgx.Conn
	began := time.Now()
	taken, err := r.readClock(ctx)
	if err != nil {
		return l, err
	}
	if l.rows > 0 {
		var dsn string
		if dsn, from, err = r.openScratch(ctx); err != nil {
			return l, err
		}
		defer hangUp(ctx, from)
		if err := r.transform(ctx, tx, from, dsn, d); err != nil {
			return l, fmt.Errorf("audit: %w", err)
		}
	}
	taken.ended = taken.began.Add(time.Since(began))
	err = r.onGreen(ctx, func(green pgx.Tx) error {
		if l.differences, err = a.judge(ctx, from, green, d, taken); err != nil {
			return err
		}
		return errDry
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	return l, err
}

// racing says whether a delta has rows that late changes touch.
func (r *Replayer) racing(ctx context.Context, tx pgx.Tx, d *delta, late []*seed) (bool, error) {
	touched, err := r.touched(ctx, tx, late)
	if err != nil {
		return false, err
	}
	for _, s := range late { // a row that is gone, too
		if touched[s.table] == nil {
			touched[s.table] = &keySet{}
		}
		touched[s.table].add(s.key)
	}
	for table, set := range d.rows {
		if slices.ContainsFunc(set.keys, touched[table].has) {
			return true, nil
		}
	}
	return slices.ContainsFunc(d.seeds, func(s *seed) bool { return touched[s.table].has(s.key) }), nil
}

// judge holds what became of a delta against green.
func (a *Audit) judge(ctx context.Context, from *pgx.Conn, green pgx.Tx, d *delta, taken clock) (found []Difference, err error) {
	r := a.replayer
	var stages []*stage
	if from != nil {
		if stages, err = r.stage(ctx, from, green, d); err != nil {
			return nil, err
		}
	}
	if err := r.settleColumns(ctx, green, stages); err != nil {
		return nil, err
	}
	staged := make(map[string]*stage)
	for _, s := range stages {
		staged[s.name] = s
		differences, err := s.unlike(ctx, green, taken)
		if err != nil {
			return nil, fmt.Errorf("audit: table %q of green: %w", s.name, err)
		}
		found = append(found, differences...)
	}
	for _, table := range sortedNames(r.homes) {
		h := r.homes[table]
		if s := staged[h.table]; s != nil && !a.mixed[h.table] {
			if a.mixed[h.table], err = s.mixed(ctx, green, h, d.rows[table]); err != nil {
				return nil, fmt.Errorf("audit: table %q of green: %w", h.table, err)
			}
		}
		extra, err := a.leftovers(ctx, green, table, staged[h.table], d)
		if err != nil {
			return nil, fmt.Errorf("audit: table %q of green: %w", h.table, err)
		}
		found = append(found, extra...)
	}
	others, err := r.changed(ctx, green, d)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	found = append(found, others...)
	for _, table := range sortedNames(r.derived) {
		for _, h := range r.derived[table] {
			extra, err := a.undone(ctx, green, table, h, stages, d)
			if err != nil {
				return nil, fmt.Errorf("audit: table %q of green: %w", h.table, err)
			}
			found = append(found, extra...)
		}
	}
	return found, nil
}

// unlike lists the staged rows that green has otherwise, or not at all.
func (s *stage) unlike(ctx context.Context, tx pgx.Tx, taken clock) ([]Difference, error) {
	var columns, others []string
	var parts, differing []string
	for _, c := range s.columns {
		if s.random(c.name) {
			continue
		}
		columns = append(columns, c.name)
		misread := misread("t", "n", names{c.name})
		if made := taken.taken(c); made != "" && !slices.Contains(s.match, c.name) {
			misread = "(" + misread + " AND " + made + " IS NOT TRUE)"
			differing = append(differing, misread)
		} else {
			others = append(others, c.name)
		}
		parts = append(parts, "CASE WHEN "+misread+" THEN "+literal(c.name)+" END")
	}
	if s.groups {
		return s.unlikeGroups(ctx, tx, columns)
	}
	differing = append(differing, "t.ctid IS NULL", misread("t", "n", others))
	sql := fmt.Sprintf(`
SELECT ARRAY[%s]::pg_catalog.text[], t.ctid IS NULL, pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL)
FROM %s n LEFT JOIN %s t ON %s WHERE %s LIMIT %d`,
		keyTexts(s.relation, s.match, "n"), strings.Join(parts, ", "), s.temp, s.rows(), s.equal("t", s.match, "n", s.match),
		strings.Join(differing, " OR "), mostFound)
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Difference, error) {
		var key []*string
		var missing bool
		d := Difference{Table: s.name}
		if err := row.Scan(&key, &missing, &d.Columns); err != nil {
			return d, err
		}
		d.Key = keyWords(s.match, key)
		if missing {
			d.Kind, d.Columns = RowMissing, nil
		}
		return d, nil
	})
}

// misread is the condition that rows differ by the image of their values and read otherwise, too: an array may be stored in
// two ways that mean the same.
func misread(a, b string, columns names) string {
	return "(" + differ(a, b, columns) + " AND ROW(" + columns.of(a) + ")::pg_catalog.text OPERATOR(pg_catalog.<>) ROW(" + columns.of(b) + ")::pg_catalog.text)"
}

// unlikeGroups is unlike for rows of which several may have one key.
func (s *stage) unlikeGroups(ctx context.Context, tx pgx.Tx, columns names) ([]Difference, error) {
	side := func(alias, from string) string {
		return "SELECT ARRAY[" + keyTexts(s.relation, s.match, alias) + "]::pg_catalog.text[], ROW(" + columns.of(alias) + ")::pg_catalog.text FROM " + from
	}
	want := side("n", s.temp+" n")
	have := side("t", s.rows()+" t WHERE EXISTS (SELECT 1 FROM "+s.temp+" n WHERE "+s.equal("t", s.match, "n", s.match)+")")
	sql := fmt.Sprintf("SELECT key, true FROM (%[1]s EXCEPT ALL %[2]s) missing(key) UNION ALL SELECT key, false FROM (%[2]s EXCEPT ALL %[1]s) extra(key) LIMIT %[3]d", want, have, mostFound)
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Difference, error) {
		var key []*string
		var missing bool
		err := row.Scan(&key, &missing)
		d := Difference{Table: s.name, Key: keyWords(s.match, key), Kind: RowExtra}
		if missing {
			d.Kind = RowMissing
		}
		return d, err
	})
}

// mixed says whether the stage has rows in a table's home that are of no loaded row: something else feeds it as well.
func (s *stage) mixed(ctx context.Context, tx pgx.Tx, h home, loaded *keySet) (some bool, err error) {
	sql := "SELECT EXISTS (SELECT 1 FROM " + s.temp + " n"
	var args []any
	if loaded != nil && len(loaded.keys) > 0 {
		sql += " WHERE NOT EXISTS (SELECT 1 FROM " + unnest(s.relation, h.key, "k") + " WHERE " + s.equal("n", h.key, "k", numbered(len(h.key))) + ")"
		args = transpose(loaded.keys, len(h.key))
	}
	err = tx.QueryRow(ctx, sql+")", args...).Scan(&some)
	return some, err
}

// undone are rows of green that were made of rows of blue, and that these don't make any more.
func (a *Audit) undone(ctx context.Context, tx pgx.Tx, table string, h home, stages []*stage, d *delta) ([]Difference, error) {
	r := a.replayer
	var keys []tuple
	if set := d.rows[table]; set != nil {
		keys = append(keys, set.keys...)
	}
	for _, gone := range d.seeds {
		if gone.table == table && !d.rows[table].has(gone.key) {
			keys = append(keys, gone.key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	rel := r.green[h.table]
	using, where := r.undone(h, stages)
	sql := fmt.Sprintf("SELECT %s FROM %s t, %s WHERE %s LIMIT %d", keyTexts(rel, h.key, "t"), rel.rows(), using, where, mostFound)
	found, err := tuples(ctx, tx, sql, keys, len(h.key))
	return extras(h, found), err
}

// leftovers are rows of green that a table's rows should have left: those that no rule let through, and those that blue has
// not any more.
func (a *Audit) leftovers(ctx context.Context, tx pgx.Tx, table string, s *stage, d *delta) ([]Difference, error) {
	r := a.replayer
	h := r.homes[table]
	var keys []tuple
	if set := d.rows[table]; set != nil {
		keys = append(keys, set.keys...)
	}
	if a.coverage.Passes > 0 && a.alone(table) { // by then it is known what feeds the table
		for _, gone := range d.seeds {
			if gone.table == table && !d.rows[table].has(gone.key) {
				keys = append(keys, gone.key)
			}
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	rel := r.green[h.table]
	sql := "SELECT " + keyTexts(rel, h.key, "t") + " FROM " + rel.rows() + " t JOIN " + unnest(rel, h.key, "k") + " ON " + rel.equal("t", h.key, "k", numbered(len(h.key)))
	if s != nil {
		sql += " WHERE " + s.without(h.key)
	}
	found, err := tuples(ctx, tx, fmt.Sprintf("%s LIMIT %d", sql, mostFound), keys, len(h.key))
	return extras(h, found), err
}
