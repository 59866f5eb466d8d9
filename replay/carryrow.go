package replay

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A row that goes back is written from a temporary table on blue, and looked at once it is there.

// returning is a table with rows that go back.
type returning struct {
	carrier
	rel  *relation // of blue
	temp string
	// The column of the temporary table that numbers its rows: no other is called so.
	place string
	// Noted keys whose rows on green are not those that had them before.
	others *keySet
}

// notHeldError says that a row is not on blue what it is on green.
type notHeldError struct{ table string }

func (e *notHeldError) Error() string {
	return "blue's column types, or what blue does by itself, make another row of it"
}

// written are the rows of some places ($1), as blue's columns; those of ring have no value yet.
func (t *returning) written(ring []string) (all []string, from string) {
	var casts []string
	for _, c := range t.Columns {
		column, _ := t.rel.column(c.Column)
		name := pgx.Identifier{c.Column}.Sanitize()
		value := name
		if slices.Contains(ring, c.Column) {
			value = "NULL"
		}
		all, casts = append(all, name), append(casts, value+"::"+column.typ+" AS "+name)
	}
	return all, "(SELECT " + strings.Join(casts, ", ") + " FROM pg_temp." + t.temp + " WHERE " + t.place + " = ANY ($1)) n"
}

// left are the columns that are written, and that green has not got.
func (t *returning) left() (columns names) {
	for _, name := range t.rel.writable() {
		if !slices.ContainsFunc(t.Columns, func(c carried) bool { return c.Column == name }) {
			columns = append(columns, name)
		}
	}
	return columns
}

// blank takes from the rows that blue has under the keys of others what green has not got: it is not theirs.
func (t *returning) blank(ctx context.Context, tx pgx.Tx, others []int64) error {
	var set []string
	for _, name := range t.left() {
		if c, _ := t.rel.column(name); !c.identity {
			set = append(set, pgx.Identifier{name}.Sanitize()+" = DEFAULT")
		}
	}
	if len(set) == 0 || len(others) == 0 {
		return nil
	}
	_, rows := t.written(nil)
	_, err := tx.Exec(ctx, "UPDATE "+t.rel.rows()+" t SET "+strings.Join(set, ", ")+" FROM "+rows+" WHERE "+t.rel.equal("t", t.Key, "n", t.Key), others)
	return err
}

// put writes rows of the temporary table, and looks whether blue has them as green does; where there is a ring, close does.
func (t *returning) put(ctx context.Context, tx pgx.Tx, places []int64, ring []string) (written int64, err error) {
	all, rows := t.written(ring)
	var set []string
	for _, c := range t.Columns {
		if column, _ := t.rel.column(c.Column); !column.identity {
			name := pgx.Identifier{c.Column}.Sanitize()
			set = append(set, name+" = n."+name)
		}
	}
	same := t.rel.equal("t", t.Key, "n", t.Key)
	if len(set) > 0 {
		tag, err := tx.Exec(ctx, "UPDATE "+t.rel.rows()+" t SET "+strings.Join(set, ", ")+" FROM "+rows+" WHERE "+same, places)
		if err != nil {
			return 0, err
		}
		written += tag.RowsAffected()
	}
	list := strings.Join(all, ", ")
	tag, err := tx.Exec(ctx, "INSERT INTO "+t.rel.ident()+" ("+list+") OVERRIDING SYSTEM VALUE SELECT "+list+" FROM "+rows+
		" WHERE NOT EXISTS (SELECT FROM "+t.rel.rows()+" t WHERE "+same+")", places)
	if err != nil {
		return 0, err
	}
	written += tag.RowsAffected()
	if len(ring) > 0 {
		return written, nil
	}
	return written, t.alike(ctx, tx, places)
}

// alike returns a *notHeldError where blue has not got the rows of some places as they came.
func (t *returning) alike(ctx context.Context, tx pgx.Tx, places []int64) error {
	var bad int64
	if err := tx.QueryRow(ctx, t.differingSQL(), places).Scan(&bad); err != nil {
		return err
	}
	if bad > 0 {
		return &notHeldError{t.Table}
	}
	return nil
}

// differingSQL counts the rows of some places that blue has not got as they came, by their texts.
func (t *returning) differingSQL() string {
	var alike, keys []string
	for _, c := range t.Columns {
		column, _ := t.rel.column(c.Column)
		name := pgx.Identifier{c.Column}.Sanitize()
		if slices.Contains(t.Key, c.Column) {
			keys = append(keys, "t."+name+" "+column.equals+" n."+name+"::"+column.typ)
		}
		if !c.Made {
			alike = append(alike, "t."+name+`::pg_catalog.text COLLATE "C" IS NOT DISTINCT FROM n.`+name+` COLLATE "C"`)
		}
	}
	return "SELECT count(*) FROM pg_temp." + t.temp + " n WHERE n." + t.place + " = ANY ($1) AND NOT EXISTS (SELECT FROM " + t.rel.rows() + " t WHERE " +
		strings.Join(append(keys, alike...), " AND ") + ")"
}
