package snapshot

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// sequencesQuery lists sequences, identity columns' among them.
const sequencesQuery = `
SELECT n.nspname, c.relname, s.seqincrement > 0, c.oid FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname <> $1 AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
	AND d.objid = c.oid AND d.deptype = 'e')`

type sequence struct {
	schema, name string
	ascending    bool
	number       uint32 // of the object
	last         int64
	called       bool
}

func sequences(ctx context.Context, conn *pgx.Conn) ([]sequence, error) {
	rows, err := conn.Query(ctx, sequencesQuery, own)
	if err != nil {
		return nil, fmt.Errorf("list the sequences: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s sequence, err error) {
		return s, row.Scan(&s.schema, &s.name, &s.ascending, &s.number)
	})
	if err != nil {
		return nil, fmt.Errorf("list the sequences: %w", err)
	}
	for i, s := range list {
		query := "SELECT last_value, is_called FROM " + pgx.Identifier{s.schema, s.name}.Sanitize()
		if err := conn.QueryRow(ctx, query).Scan(&list[i].last, &list[i].called); err != nil {
			return nil, fmt.Errorf("read sequence %s.%s: %w", s.schema, s.name, err)
		}
	}
	return list, nil
}

const setSequence = `SELECT pg_catalog.setval($1::text::pg_catalog.regclass, $2, $3)`

// setSequences gives into's sequences the values of blue's. Sequences are in no snapshot: a value read after the rows
// is beyond all that the rows hold.
func setSequences(ctx context.Context, blue, into *pgx.Conn) error {
	list, err := sequences(ctx, blue)
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, err := into.Exec(ctx, setSequence, pgx.Identifier{s.schema, s.name}.Sanitize(), s.last, s.called); err != nil {
			return fmt.Errorf("set sequence %s.%s: %w", s.schema, s.name, err)
		}
	}
	return nil
}

// SequenceName is a schema and a name.
type SequenceName struct{ Schema, Name string }

// AdvanceSequences brings green's sequences at least as far as blue's. It is for the hold before the switch:
// rows that replay brought over carry their numbers with them and advance no sequence. renamed says what green calls those of
// blue that have another name there. A sequence goes back only where it stands as it was copied, by copied (see [Untouched]), and
// blue's has been set back since. One that the migrations took away is left out; one that they made goes past the
// numbers of its columns. It returns how many it moved.
func AdvanceSequences(ctx context.Context, blue, green *postgres.DB, renamed map[SequenceName]SequenceName, copied map[string]Mark) (moved int, err error) {
	from, err := connect(ctx, "blue", blue.DSN())
	if err != nil {
		return 0, err
	}
	defer postgres.HangUp(ctx, from.Conn)
	to, err := connect(ctx, "green", green.DSN())
	if err != nil {
		return 0, err
	}
	defer postgres.HangUp(ctx, to.Conn)
	theirs, err := sequences(ctx, from.Conn)
	if err != nil {
		return 0, err
	}
	list, err := sequences(ctx, to.Conn)
	if err != nil {
		return 0, err
	}
	ours := map[SequenceName]sequence{}
	for _, s := range list {
		ours[SequenceName{s.schema, s.name}] = s
	}
	known := map[SequenceName]bool{}
	for _, s := range theirs {
		name := SequenceName{s.schema, s.name}
		if now, is := renamed[name]; is {
			name = now
		}
		known[name] = true
		o, ok := ours[name]
		was, untouched := copied[pgx.Identifier{name.Schema, name.Name}.Sanitize()]
		untouched = untouched && was.Last == o.last && was.Called == o.called && (s.last != o.last || s.called != o.called)
		if !ok || !ahead(s, o) && !untouched {
			continue
		}
		if _, err := to.Exec(ctx, setSequence, pgx.Identifier{name.Schema, name.Name}.Sanitize(), s.last, s.called); err != nil {
			return moved, fmt.Errorf("set sequence %s.%s: %w", name.Schema, name.Name, err)
		}
		moved++
	}
	fed, err := columnsFed(ctx, green)
	if err != nil {
		return moved, err
	}
	for _, f := range fed {
		s, ok := ours[SequenceName{f.SequenceSchema, f.Sequence}]
		if !ok || known[SequenceName{f.SequenceSchema, f.Sequence}] {
			continue
		}
		n, err := pass(ctx, to.Conn, s, f)
		if err != nil {
			return moved, err
		}
		moved += n
	}
	return moved, nil
}

// pass brings a sequence that blue doesn't have by its name, such as one that the migrations have made, past the numbers
// of a column that it feeds.
func pass(ctx context.Context, green *pgx.Conn, s sequence, f fed) (moved int, err error) {
	furthest := "max"
	if !s.ascending {
		furthest = "min"
	}
	name := pgx.Identifier{s.schema, s.name}.Sanitize()
	var number *int64
	sql := fmt.Sprintf("SELECT %s(%s) FROM %s", furthest, pgx.Identifier{f.Column}.Sanitize(), pgx.Identifier{f.Schema, f.Table}.Sanitize())
	if err := green.QueryRow(ctx, sql).Scan(&number); err != nil {
		return 0, fmt.Errorf("read the numbers of sequence %s: %w", name, err)
	}
	if number == nil || !ahead(sequence{last: *number, called: true, ascending: s.ascending}, s) {
		return 0, nil
	}
	if _, err := green.Exec(ctx, setSequence, name, *number, true); err != nil {
		return 0, fmt.Errorf("set sequence %s: %w", name, err)
	}
	return 1, nil
}

// ahead says whether s would hand out a number beyond o's.
func ahead(s, o sequence) bool {
	if s.last == o.last {
		return s.called && !o.called
	}
	return (s.last > o.last) == s.ascending
}
