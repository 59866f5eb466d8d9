package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// Where the migrations give a key another type, two keys of blue may be one on green: '07' and '7' as numbers, 'A' and 'a' as
// citext. Neither may then be written or deleted without the other. Rows that become kin come along in a delta, so that the
// migrations see all of them, as they would offline: one that goes leaves its kin's row on green alone, and two that are there
// together fail together.

// retype is what becomes of a column of a key.
type retype struct {
	column   string // of blue
	from, to string // types, as a cast takes them
	collate  string // " COLLATE …" where different texts are equal
	equals   string // by which keys of the new type are equal
	exact    bool   // two keys that become equal don't both read as the new type writes it
}

// widens are changes of type that keep any two keys apart, by what they lead to.
var widens = map[string][]string{
	"integer": {"smallint"},
	"bigint":  {"smallint", "integer", "oid"},
	"numeric": {"smallint", "integer", "bigint"},
}

// exactTypes are those of which two equal keys read the same.
var exactTypes = []string{"smallint", "integer", "bigint", "oid", "boolean", "uuid", "date", "timestamp without time zone", "timestamp with time zone",
	"time without time zone", "text", "character varying", "bytea", "name"}

// parts says whether a change of a column's type keeps any two keys apart, whatever they are.
func parts(old, now column) bool {
	if old.declared == now.declared && old.folds == now.folds && old.collation == now.collation || now.enum {
		return true
	}
	if now.folds {
		return false
	}
	return now.declared == "text" || now.declared == "character varying" || slices.Contains(widens[now.declared], old.declared)
}

// wholeNumbers are types of which each value is written in one way.
var wholeNumbers = []string{"smallint", "integer", "bigint", "oid"}

// hangs says by which setting of a session it hangs what a change of a column's type makes of a key; "": by none.
func hangs(old, now column, zone, style string) string {
	zoned := func(c column) bool { return strings.HasSuffix(c.declared, " with time zone") }
	dated := func(c column) bool {
		return c.declared == "date" || strings.HasPrefix(c.declared, "time") || strings.HasPrefix(c.declared, "interval")
	}
	switch {
	case zoned(old) != zoned(now) && !slices.Contains([]string{"UTC", "Etc/UTC", "UCT", "Etc/UCT", "GMT", "Etc/GMT", "Zulu"}, zone):
		return "the time zone (" + zone + ")"
	case dated(old) != dated(now) && style != "ISO, MDY":
		return "how dates are written (" + style + ")"
	}
	return ""
}

// retypes finds the tables whose keys may become one, and whether blue has such keys already.
func (r *Replayer) retypes(ctx context.Context) error {
	r.retyped, r.blurred = make(map[string][]retype), make(map[string]bool)
	for i, t := range r.Profile.Tables {
		homes := slices.Clone(r.derived[t.Name])
		if h, ok := r.homes[t.Name]; ok {
			homes = append(homes, h)
		}
		for _, h := range homes {
			if err := r.retypesTo(ctx, i, h); err != nil {
				return err
			}
		}
		if len(r.retyped[t.Name]) == 0 {
			continue
		}
		rel := r.blue[t.Name]
		blurred, err := r.blurs(ctx, r.Blue.Pool(), t.Name, rel.rows()+" k", r.keys[t.Name])
		switch {
		case strings.HasPrefix(postgres.Code(err), "22"): // a key that is no value of the new type: what the migrations do with it is seen when it comes
			blurred = true
		case err != nil:
			return err
		}
		r.blurred[t.Name] = blurred
	}
	return nil
}

func (r *Replayer) retypesTo(ctx context.Context, i int, h home) error {
	table := r.Profile.Tables[i].Name
	rel := r.green[h.table]
	for n, name := range r.keys[table] {
		old, _ := r.blue[table].column(name)
		now, known := rel.column(h.key[n])
		if !known {
			continue
		}
		if old.declared != now.declared {
			if err := r.castOnGreen(ctx, i, name, old, rel, h.key[n]); err != nil {
				return err
			}
		}
		if parts(old, now) {
			continue
		}
		var there bool
		sql := `SELECT pg_catalog.to_regtype($1) IS NOT NULL AND ($2 = '' OR EXISTS (SELECT FROM pg_catalog.pg_collation WHERE oid = pg_catalog.to_regcollation($2) AND NOT collisdeterministic))`
		if err := r.Blue.Pool().QueryRow(ctx, sql, now.declared, now.collation).Scan(&there); err != nil {
			return fmt.Errorf("look for type %s on blue: %w", now.declared, err)
		}
		if !there {
			kind, way := now.declared, "make the type on blue too (CREATE EXTENSION)"
			if now.collation != "" {
				kind, way = kind+" of collation "+now.collation, "make the collation on blue too (CREATE COLLATION)"
			}
			return r.Profile.At(fmt.Sprintf("tables[%d]", i), fmt.Sprintf("the migrations make of column %q of the key of %q one of type %s, which blue has not got: whether two keys become one is not known", name, table, kind),
				way+", or name another key of "+table+" (key)")
		}
		t := retype{column: name, from: old.declared, to: now.declared, equals: now.equals}
		if now.collation != "" {
			t.collate = " COLLATE " + now.collation
		}
		t.exact = !now.folds && (slices.Contains(exactTypes, now.typ) || slices.Contains(wholeNumbers, old.declared))
		r.retyped[table] = append(r.retyped[table], t)
	}
	return nil
}

// castOnGreen has a key of blue's read as blue's type on green, before it is cast to that of green: 7.6 is the number 8 that
// the migrations make of it.
func (r *Replayer) castOnGreen(ctx context.Context, i int, name string, old column, rel *relation, as string) error {
	at := slices.IndexFunc(rel.columns, func(c column) bool { return c.name == as })
	now := &rel.columns[at]
	var zone, style string
	var there bool
	sql := `SELECT pg_catalog.to_regtype($1) IS NOT NULL, (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'), (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'DateStyle')`
	if err := r.Green.Pool().QueryRow(ctx, sql, old.declared).Scan(&there, &zone, &style); err != nil {
		return fmt.Errorf("look for type %s on green: %w", old.declared, err)
	}
	table := r.Profile.Tables[i].Name
	if by := hangs(old, *now, zone, style); by != "" {
		return r.Profile.At(fmt.Sprintf("tables[%d]", i), fmt.Sprintf("the migrations make of column %q of the key of %q, %s, one of type %s, and which key becomes which hangs on a setting of green's database, %s",
			name, table, old.declared, now.declared, by), "name another key of "+table+" (key), or leave the change of type to after the switch")
	}
	if there && !slices.Contains(widens[now.declared], old.declared) { // a type that the migrations drop reads as text
		now.via = old.declared
	}
	return nil
}

// blurs says whether one of the keys of from, as k, becomes a key that another one may become as well.
func (r *Replayer) blurs(ctx context.Context, q queryer, table, from string, columns []string, args ...any) (some bool, err error) {
	rel := r.blue[table]
	var other []string
	for _, t := range r.retyped[table] {
		if !t.exact {
			return true, nil
		}
		c, _ := rel.column(t.column)
		value := "k." + pgx.Identifier{columns[slices.Index(r.keys[table], t.column)]}.Sanitize()
		other = append(other, c.text(value+"::"+t.to+"::"+t.from)+" OPERATOR(pg_catalog.<>) "+c.text(value))
	}
	if err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+from+" WHERE "+strings.Join(other, " OR ")+")", args...).Scan(&some); err != nil {
		return false, fmt.Errorf("look for keys of table %q that become one: %w", table, err)
	}
	return some, nil
}

// kin are the keys of a table's rows on blue that become one of those wanted.
func (r *Replayer) kin(ctx context.Context, tx pgx.Tx, table string, wanted []tuple) ([]tuple, error) {
	if len(r.retyped[table]) == 0 {
		return nil, nil
	}
	rel, key := r.blue[table], r.keys[table]
	if !r.blurred[table] {
		blurred, err := r.blurs(ctx, tx, table, unnest(rel, key, "k"), numbered(len(key)), transpose(wanted, len(key))...)
		if err != nil || !blurred {
			return nil, err
		}
		r.blurred[table] = true
	}
	on := make([]string, len(key))
	for i, name := range key {
		on[i] = rel.equal("t", key[i:i+1], "k", numbered(len(key))[i:])
		for _, t := range r.retyped[table] {
			if t.column == name {
				on[i] = fmt.Sprintf("(t.%s::%s%s) %s (k.c%d::%[2]s%[3]s)", pgx.Identifier{name}.Sanitize(), t.to, t.collate, t.equals, i+1)
			}
		}
	}
	sql := "SELECT DISTINCT " + r.keyTexts(table, "t") + " FROM " + rel.rows() + " t JOIN " + unnest(rel, key, "k") + " ON " + strings.Join(on, " AND ")
	return tuples(ctx, tx, sql, wanted, len(key))
}
