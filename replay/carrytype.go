package replay

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// A value goes back as text. That means the same on both sides where the types are alike, down to what they are made of: an enum whose
// values have swapped names, alone, in an array or in a row, is written in words that mean others on blue.

// modifiers are those of a type, such as (10,2).
var modifiers = regexp.MustCompile(`\([0-9, -]+\)`)

// kindOf is what a value's text can be read as: two types of one kind write what both can hold in the same words. A domain is of its
// base type's kind.
func kindOf(c column) string {
	base, array := strings.CutSuffix(modifiers.ReplaceAllString(c.declared, ""), "[]")
	switch strings.TrimPrefix(base, "pg_catalog.") {
	case "smallint", "integer", "bigint", "numeric", "oid":
		base = "number"
	case "text", "character varying", "character", "bpchar", "name", "uuid", "inet", "cidr":
		base = "text"
	case "json", "jsonb":
		base = "json"
	default:
		if c.enum || strings.HasSuffix(base, "citext") {
			base = "text"
		}
	}
	if array {
		base += "[]"
	}
	return base
}

// sameKeys says whether two keys are one on blue if they are one on green, and the other way round.
func sameKeys(old, now column) bool {
	if old.folds != now.folds || old.collation != now.collation {
		return false
	}
	bare := func(c column) string { return modifiers.ReplaceAllString(c.declared, "") }
	texts := func(c column) bool {
		return c.enum || slices.Contains([]string{"text", "character varying", "name"}, bare(c))
	}
	return bare(old) == bare(now) || kindOf(old) == "number" && kindOf(now) == "number" || texts(old) && texts(now)
}

// part is one of the types that a type is made of.
type part struct {
	Kind  string // of pg_type: "e" an enum, "c" a row, "r" a range, "b" any other
	Name  string
	Names []string // an enum's values in their order, or a row's columns
}

// partsSQL lists a type's parts: itself, and what its rows, arrays and ranges have. Domains and arrays are what they are of.
const partsSQL = `
WITH RECURSIVE part (path, oid) AS (
	SELECT ARRAY[]::int[], $1::text::pg_catalog.regtype::oid
	UNION ALL
	SELECT part.path || inner_type.place, inner_type.oid FROM part JOIN pg_catalog.pg_type t ON t.oid = part.oid
	CROSS JOIN LATERAL (
		SELECT 0, t.typbasetype WHERE t.typtype = 'd'
		UNION ALL SELECT 0, t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0
		UNION ALL SELECT a.attnum::int, a.atttypid FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL SELECT 0, r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::oid)
	) inner_type (place, oid)
	WHERE pg_catalog.cardinality(part.path) < 32
)
SELECT CASE WHEN t.typtype IN ('e', 'c') THEN t.typtype::text WHEN t.typtype IN ('r', 'm') THEN 'r' ELSE 'b' END, pg_catalog.format_type(t.oid, NULL), CASE t.typtype
	WHEN 'e' THEN ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
	WHEN 'c' THEN ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
	ELSE '{}' END
FROM part JOIN pg_catalog.pg_type t ON t.oid = part.oid
WHERE t.typtype <> 'd' AND NOT (t.typcategory = 'A' AND t.typelem <> 0)
ORDER BY part.path`

func partsOf(ctx context.Context, db *postgres.DB, typ string) ([]part, error) {
	rows, err := db.Pool().Query(ctx, partsSQL, typ)
	if err != nil {
		return nil, fmt.Errorf("%s: look at type %s: %w", db.Name(), typ, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[part])
	if err != nil {
		return nil, fmt.Errorf("%s: look at type %s: %w", db.Name(), typ, err)
	}
	return all, nil
}

// otherMeaning says what makes a value's text mean another value on blue; "": nothing does. That a type as a whole has become one of another
// kind is not looked at here.
func (r *Replayer) otherMeaning(ctx context.Context, old, now column) (string, error) {
	was, err := partsOf(ctx, r.Blue, old.typ)
	if err != nil {
		return "", err
	}
	is, err := partsOf(ctx, r.Green, now.typ)
	if err != nil {
		return "", err
	}
	whole := func(parts []part) bool { return len(parts) == 1 } // and no row
	for i, w := range was {
		if i >= len(is) || w.Kind != is[i].Kind {
			if whole(was) && whole(is) {
				return "", nil
			}
			return fmt.Sprintf("type %s is made of others on green", was[0].Name), nil
		}
		switch n := is[i]; {
		case w.Kind == "e" && reordered(w.Names, n.Names):
			return fmt.Sprintf("the values of type %s are called otherwise on green, or are in another order", w.Name), nil
		case w.Kind == "c" && !slices.Equal(w.Names, n.Names):
			return fmt.Sprintf("the rows of type %s have other columns on green", w.Name), nil
		case w.Kind == "b" && i > 0 && w.Name != n.Name:
			return fmt.Sprintf("type %s is made of others on green", was[0].Name), nil
		}
	}
	if len(is) > len(was) {
		return fmt.Sprintf("type %s is made of others on green", was[0].Name), nil
	}
	return "", nil
}

// reordered says whether the values that two enums have in common come in another order: a migration has given some the names of others.
func reordered(was, is []string) bool {
	common := func(all, of []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(label string) bool { return !slices.Contains(of, label) })
	}
	return !slices.Equal(common(was, is), common(is, was))
}
