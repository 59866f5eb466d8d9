package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Mark is how far a sequence was.
type Mark struct {
	Last      int64 `json:"last"`
	Called    bool  `json:"called"`
	Ascending bool  `json:"ascending"`
	// Number is the sequence's object number on green, which a rename keeps.
	Number uint32 `json:"number,omitempty"`
}

// Marks are how far green's sequences are, by "schema.name", each quoted as SQL.
func Marks(ctx context.Context, green *postgres.DB) (map[string]Mark, error) {
	c, err := connect(ctx, "green", green.DSN())
	if err != nil {
		return nil, err
	}
	defer postgres.HangUp(ctx, c.Conn)
	list, err := sequences(ctx, c.Conn)
	if err != nil {
		return nil, err
	}
	marks := make(map[string]Mark)
	for _, s := range list {
		marks[pgx.Identifier{s.schema, s.name}.Sanitize()] = Mark{s.last, s.called, s.ascending, s.number}
	}
	return marks, nil
}

// Untouched are the marks of those of green's sequences that stand as they did before the migrations, by what they are called now.
func Untouched(ctx context.Context, green *postgres.DB, before map[string]Mark) (map[string]Mark, error) {
	now, err := Marks(ctx, green)
	if err != nil {
		return nil, err
	}
	same := make(map[string]Mark)
	for name, is := range now {
		for _, was := range before {
			if was.Number != 0 && was == is {
				same[name] = is
			}
		}
	}
	return same, nil
}

// fedQuery lists the columns of whole numbers that a sequence feeds: as schema and name of the sequence, and of table and column.
const fedQuery = `
SELECT DISTINCT sn.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, a.attname::text
FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = s.oid AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
	OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
JOIN pg_catalog.pg_class t ON t.oid = coalesce(f.adrelid, d.refobjid) AND t.relkind IN ('r', 'p') AND NOT t.relispartition
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = coalesce(f.adnum, d.refobjsubid) AND a.atttypid IN (
	'pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype)
WHERE s.relkind = 'S' AND sn.nspname NOT LIKE 'pg\_%' AND sn.nspname <> 'tideover'
ORDER BY 1, 2, 3, 4, 5`

// fed is a column that a sequence gives its numbers.
type fed struct{ SequenceSchema, Sequence, Schema, Table, Column string }

// TakenNumbers is a [*TakenError] where the migrations have given rows of green numbers of a sequence that blue's clients take, too,
// for a captured table: what they insert meanwhile has the same ones. before are green's marks from before the migrations.
func TakenNumbers(ctx context.Context, blue, green *postgres.DB, p *plan.Profile, before map[string]Mark) error {
	now, err := Marks(ctx, green)
	if err != nil {
		return err
	}
	clients := make(map[string]bool)
	theirs, err := columnsFed(ctx, blue)
	if err != nil {
		return err
	}
	for _, f := range theirs {
		if t := p.Table(p.Schemas().Called(f.Schema, f.Table)); t != nil && t.Captured() {
			clients[pgx.Identifier{f.SequenceSchema, f.Sequence}.Sanitize()] = true
		}
	}
	ours, err := columnsFed(ctx, green)
	if err != nil {
		return err
	}
	for _, f := range ours {
		name := pgx.Identifier{f.SequenceSchema, f.Sequence}.Sanitize()
		is := now[name]
		old := name // on blue
		for n, was := range before {
			if was.Number != 0 && was.Number == is.Number {
				old = n
			}
		}
		was, there := before[old]
		volatile := slices.ContainsFunc(p.Green.Volatile, func(c plan.ColumnRef) bool {
			return c.Table == p.Schemas().Called(f.Schema, f.Table) && c.Column == f.Column
		})
		if !there || !clients[old] || volatile || !ahead(sequence{last: is.Last, called: is.Called, ascending: is.Ascending}, sequence{last: was.Last, called: was.Called, ascending: was.Ascending}) {
			continue
		}
		beyond := ">"
		if !was.Ascending {
			beyond = "<"
		}
		if !was.Called {
			beyond += "="
		}
		var rows int64
		sql := fmt.Sprintf("SELECT count(*) FROM %s WHERE %s %s $1", pgx.Identifier{f.Schema, f.Table}.Sanitize(), pgx.Identifier{f.Column}.Sanitize(), beyond)
		if err := green.Pool().QueryRow(ctx, sql, was.Last).Scan(&rows); err != nil {
			return fmt.Errorf("look for rows that the migrations have numbered: table %s.%s: %w", f.Schema, f.Table, err)
		}
		if rows > 0 {
			return &TakenError{Table: f.Table, Column: f.Column, Sequence: name, Rows: rows}
		}
	}
	return nil
}

func columnsFed(ctx context.Context, db *postgres.DB) ([]fed, error) {
	rows, err := db.Pool().Query(ctx, fedQuery)
	if err == nil {
		var list []fed
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[fed]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("list the columns of %s that sequences feed: %w", db.Name(), err)
}

// TakenError says that the migrations number rows of their own as blue's clients number theirs.
type TakenError struct {
	Table, Column, Sequence string
	Rows                    int64
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("the migrations make %d rows of table %q with numbers (%s) of sequence %s, which blue's clients take meanwhile: two rows would have one number",
		e.Rows, e.Table, e.Column, e.Sequence)
}

// Hint says what a person can do.
func (e *TakenError) Hint() string {
	return "give those rows numbers in the migration that no client gets, insert them after the switch, or name the column under green.volatile in the profile if nothing outside knows its values; then roll back and begin anew"
}

// ExitCode is 4: stopped safely before the point of no return.
func (e *TakenError) ExitCode() int { return 4 }
