package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
)

// Rows that go back may be such that no order of single writes brings them: two tables that refer to each other, two rows that have
// changed a unique value between them. And of many that blue can't hold, those are found at once whose parent it has not got: to try
// them one by one would take longer than clients can wait.

// parentError says that the parent of a row is of green alone.
type parentError struct{ parent, foreignKey string }

func (e *parentError) Error() string {
	return fmt.Sprintf("the row of table %q that it refers to (foreign key %q) is not on blue and does not go back", e.parent, e.foreignKey)
}

// many deeds are not tried one by one without a look at what blue can't hold of them.
const many = 100

// unringed are tables without those foreign keys of a ring that may be empty: what they refer to is written later.
func unringed(all map[string]*relation) map[string]*relation {
	var reaches func(from, to string, been map[string]bool) bool
	reaches = func(from, to string, been map[string]bool) bool {
		if from == to {
			return true
		}
		if been[from] || all[from] == nil {
			return false
		}
		been[from] = true
		return slices.ContainsFunc(all[from].parents, func(e edge) bool { return reaches(e.to, to, been) })
	}
	found := make(map[string]*relation, len(all))
	for name, rel := range all {
		open := *rel
		open.parents = slices.DeleteFunc(slices.Clone(rel.parents), func(e edge) bool {
			return len(emptiable(rel, e)) > 0 && e.to != name && reaches(e.to, name, make(map[string]bool))
		})
		found[name] = &open
	}
	return found
}

// emptiable are the columns of a foreign key that may be NULL.
func emptiable(rel *relation, e edge) (columns []string) {
	for _, name := range e.fromColumns {
		if c, _ := rel.column(name); !c.notNull && !c.generated {
			columns = append(columns, name)
		}
	}
	return columns
}

// hopeless parts many deeds into those to try and those that blue can't hold, whatever the others do.
func hopeless(ctx context.Context, tx pgx.Tx, h *heirs, tables []*returning, deeds []*deed) (rest, never []*deed, err error) {
	rest, wide, err := tooWide(ctx, tx, tables, deeds)
	if err != nil {
		return nil, nil, err
	}
	rest, strays, err := parentless(ctx, tx, h.blue, tables, rest)
	return rest, slices.Concat(wide, strays), err
}

// tooWide are the deeds whose row has a value that a column of blue, of another type than green's, does not read as it is.
func tooWide(ctx context.Context, tx pgx.Tx, tables []*returning, deeds []*deed) (rest, wide []*deed, err error) {
	if err := cleanup.ProvideIn(ctx, tx); err != nil {
		return nil, nil, err
	}
	rest = slices.Clone(deeds)
	for _, t := range tables {
		for _, c := range t.Columns {
			column, _ := t.rel.column(c.Column)
			places := placesOf(t, rest)
			if c.Exact || c.Made || len(places) == 0 {
				continue
			}
			name := pgx.Identifier{c.Column}.Sanitize()
			sql := "SELECT " + t.place + " FROM pg_temp." + t.temp + " WHERE " + t.place + " = ANY ($1) AND CASE WHEN pg_temp.tideover_is(" + name + ", " + literal(column.declared) + ") THEN " +
				name + "::" + column.declared + `::pg_catalog.text COLLATE "C" <> ` + name + ` COLLATE "C" ELSE ` + name + " IS NOT NULL END"
			found, err := collectIn[int64](ctx, tx, sql, places)
			if err != nil {
				return nil, nil, err
			}
			var some []*deed
			rest, some = setApart(rest, t, found, fmt.Errorf("its value of column %q is none of blue's type %s", c.Column, column.declared))
			wide = append(wide, some...)
		}
	}
	return rest, wide, nil
}

// placesOf are the places of a table's rows that are to be written.
func placesOf(t *returning, deeds []*deed) (places []int64) {
	for _, d := range deeds {
		if d.of == t && d.place > 0 {
			places = append(places, d.place)
		}
	}
	return places
}

// setApart takes the deeds of some places of a table out, for a reason.
func setApart(deeds []*deed, t *returning, places []int64, reason error) (rest, some []*deed) {
	out := make(map[int64]bool, len(places))
	for _, place := range places {
		out[place] = true
	}
	for _, d := range deeds {
		if d.of == t && out[d.place] {
			d.err = reason
			some = append(some, d)
		} else {
			rest = append(rest, d)
		}
	}
	return rest, some
}

func collectIn[T any](ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// parentless parts the deeds into those to try and those whose row has no parent on blue, not even with the others.
func parentless(ctx context.Context, tx pgx.Tx, blue map[string]*relation, tables []*returning, deeds []*deed) (rest, strays []*deed, err error) {
	rest = deeds
	for again := true; again; {
		again = false
		for _, t := range tables {
			for _, e := range t.rel.parents {
				if !e.enforced || blue[e.to] == nil {
					continue
				}
				found, err := t.strays(ctx, tx, blue[e.to], e, tables, rest)
				if err != nil {
					return nil, nil, err
				}
				if len(found) > 0 {
					var some []*deed
					rest, some = setApart(rest, t, found, &parentError{e.to, e.foreignKey})
					strays, again = append(strays, some...), true
				}
			}
		}
	}
	return rest, strays, nil
}

// strays are the places of rows whose parent by a foreign key is neither on blue nor among the rows that go back. A row that has referred
// to it on blue as well is none: it is not looked at again. Where it can't be asked, of a value that blue can't read, there are none.
func (t *returning) strays(ctx context.Context, tx pgx.Tx, parent *relation, e edge, tables []*returning, deeds []*deed) (found []int64, err error) {
	carries := func(t *returning, columns []string) bool {
		return !slices.ContainsFunc(columns, func(name string) bool {
			return !slices.ContainsFunc(t.Columns, func(c carried) bool { return c.Column == name })
		})
	}
	places := placesOf(t, deeds)
	if len(places) == 0 || !carries(t, e.fromColumns) {
		return nil, nil
	}
	value := func(alias string, rel *relation, name string) string {
		c, _ := rel.column(name)
		return alias + "." + pgx.Identifier{name}.Sanitize() + "::" + c.typ
	}
	var some, there, was, come []string
	for i, name := range e.fromColumns {
		own, _ := t.rel.column(name)
		theirs, _ := parent.column(e.toColumns[i])
		n := value("n", t.rel, name)
		some = append(some, "n."+pgx.Identifier{name}.Sanitize()+" IS NOT NULL")
		there = append(there, "p."+pgx.Identifier{e.toColumns[i]}.Sanitize()+" "+theirs.equals+" "+n)
		was = append(was, "o."+pgx.Identifier{name}.Sanitize()+" "+own.equals+" "+n)
		come = append(come, value("m", parent, e.toColumns[i])+" "+theirs.equals+" "+n)
	}
	for _, name := range t.Key {
		c, _ := t.rel.column(name)
		was = append(was, "o."+pgx.Identifier{name}.Sanitize()+" "+c.equals+" "+value("n", t.rel, name))
	}
	sql := "SELECT n." + t.place + " FROM pg_temp." + t.temp + " n WHERE n." + t.place + " = ANY ($1) AND " + strings.Join(some, " AND ") +
		" AND NOT EXISTS (SELECT FROM " + parent.rows() + " p WHERE " + strings.Join(there, " AND ") + ")" +
		" AND NOT EXISTS (SELECT FROM " + t.rel.rows() + " o WHERE " + strings.Join(was, " AND ") + ")"
	args := []any{places}
	if i := slices.IndexFunc(tables, func(o *returning) bool { return o.Table == e.to }); i >= 0 && len(placesOf(tables[i], deeds)) > 0 {
		if !carries(tables[i], e.toColumns) {
			return nil, nil
		}
		sql += " AND NOT EXISTS (SELECT FROM pg_temp." + tables[i].temp + " m WHERE m." + tables[i].place + " = ANY ($2) AND " + strings.Join(come, " AND ") + ")"
		args = append(args, placesOf(tables[i], deeds))
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint
		found, err = collectIn[int64](ctx, tx, sql, args...)
		return err
	})
	if poisonous(err) || strings.HasPrefix(postgres.Code(err), "42") {
		return nil, nil
	}
	return found, err
}

// ring are the columns of a table that may be empty, and by which its rows refer at once to those of a table that comes later, of which
// there are some.
func (t *returning) ring(later []*returning, some func(table string) bool) (columns []string) {
	for _, e := range t.rel.parents {
		if !e.immediate || !e.enforced || !slices.ContainsFunc(later, func(o *returning) bool { return o.Table == e.to }) || !some(e.to) {
			continue
		}
		for _, name := range emptiable(t.rel, e) {
			if !slices.Contains(t.Key, name) && slices.ContainsFunc(t.Columns, func(c carried) bool { return c.Column == name }) {
				columns = append(columns, name)
			}
		}
	}
	slices.Sort(columns)
	return slices.Compact(columns)
}

// letGo empties a ring of rows that go.
func (t *returning) letGo(ctx context.Context, tx pgx.Tx, ring []string, keys []tuple) error {
	var set []string
	for _, name := range ring {
		set = append(set, pgx.Identifier{name}.Sanitize()+" = NULL")
	}
	n := len(t.Key)
	_, err := tx.Exec(ctx, "UPDATE "+t.rel.rows()+" t SET "+strings.Join(set, ", ")+" FROM "+unnest(t.rel, t.Key, "k")+" WHERE "+t.rel.equal("t", t.Key, "k", numbered(n)), transpose(keys, n)...)
	return err
}

// close gives the rows of some places what a ring refers to, and looks whether blue has them as they came.
func (t *returning) close(ctx context.Context, tx pgx.Tx, places []int64, ring []string) error {
	_, rows := t.written(nil)
	var set []string
	for _, name := range ring {
		set = append(set, pgx.Identifier{name}.Sanitize()+" = n."+pgx.Identifier{name}.Sanitize())
	}
	if _, err := tx.Exec(ctx, "UPDATE "+t.rel.rows()+" t SET "+strings.Join(set, ", ")+" FROM "+rows+" WHERE "+t.rel.equal("t", t.Key, "n", t.Key), places); err != nil {
		return err
	}
	return t.alike(ctx, tx, places)
}

// anew deletes the rows of some places that blue has and inserts them as they are on green, in one statement: their foreign keys are looked
// at when both are done. It returns a *heirError where something that green has would go with them or be changed.
func (t *returning) anew(ctx context.Context, tx pgx.Tx, h *heirs, places []int64) error {
	if slices.ContainsFunc(t.rel.parents, func(e edge) bool { return e.to == t.rel.name && e.acts }) {
		return nil
	}
	all, rows := t.written(nil)
	same := t.rel.equal("t", t.Key, "n", t.Key)
	found, err := tuplesWithNull(ctx, tx, "SELECT "+keyTexts(t.rel, t.Key, "t")+" FROM "+t.rel.rows()+" t JOIN "+rows+" ON "+same, []any{places}, len(t.Key))
	if err != nil || len(found) == 0 {
		return err
	}
	going := &keySet{}
	for _, row := range found {
		k := make(tuple, len(row))
		for i, value := range row {
			k[i] = *value
		}
		going.add(k)
	}
	if err := h.none(ctx, tx, t.rel, t.Key, going.keys, map[string]*keySet{t.Table: going.copied()}); err != nil {
		return err
	}
	kept := t.left()
	list, returned := strings.Join(all, ", "), "n.*"
	if len(kept) > 0 {
		list, returned = list+", "+kept.list(), returned+", "+kept.of("t")
	}
	// All are gone before one comes: they have to be counted.
	_, err = tx.Exec(ctx, "WITH gone AS (DELETE FROM "+t.rel.rows()+" t USING "+rows+" WHERE "+same+" RETURNING "+returned+")"+
		" INSERT INTO "+t.rel.ident()+" ("+list+") OVERRIDING SYSTEM VALUE SELECT "+list+" FROM gone WHERE (SELECT count(*) FROM gone) > 0", places)
	return err
}
