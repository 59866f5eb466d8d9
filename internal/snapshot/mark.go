package snapshot

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// markTable records on green what of the copy is done. Every record is written in the transaction of what it records.
// Of rows it also says when they were read (taken, a pg_snapshot of blue), by which pages of which file, and which
// trigger had recorded all changes since.
const markTable = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.snapshot (
	part text PRIMARY KEY,
	rows bigint NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	relation text,
	pieces boolean NOT NULL DEFAULT false,
	first bigint NOT NULL DEFAULT 0,
	beyond bigint NOT NULL DEFAULT 0,
	taken text,
	file oid NOT NULL DEFAULT 0,
	capture oid NOT NULL DEFAULT 0
)`

// mark records what has no rows: a section of the schema, an index, the end.
const mark = `INSERT INTO tideover.snapshot (part, rows) VALUES ($1, $2)`

// markTaken records what was read of blue: the large objects and, with more, the parts of relations.
const markTaken = `INSERT INTO tideover.snapshot (part, rows, taken) VALUES ($1, $2, $3)
ON CONFLICT (part) DO UPDATE SET rows = excluded.rows, taken = excluded.taken, at = excluded.at`

const markPart = `INSERT INTO tideover.snapshot (part, rows, taken, relation, pieces, first, beyond, file, capture) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

// marks is what green records as done.
type marks struct {
	names map[string]bool
	taken map[string]string       // of what is no part of a relation
	parts map[string][]markedPart // by relation
	rows  int64                   // of all parts
}

// markedPart is a part that is on green.
type markedPart struct {
	pieces        bool
	from, to      int64
	rows          int64
	taken         string
	file, capture uint32
}

// readMarks reads the records of an earlier copy, or makes their table where green is empty.
func readMarks(ctx context.Context, green *pgx.Conn, name string) (*marks, error) {
	begun, err := marked(ctx, green)
	if err != nil {
		return nil, err
	}
	m := &marks{names: map[string]bool{}, taken: map[string]string{}, parts: map[string][]markedPart{}}
	if !begun {
		empty, err := isEmpty(ctx, green)
		if err != nil {
			return nil, err
		}
		if !empty {
			return nil, &notEmptyError{name}
		}
		if _, err := green.Exec(ctx, markTable, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, fmt.Errorf("prepare green: %w", err)
		}
		return m, nil
	}
	rows, err := green.Query(ctx, `SELECT part, rows, coalesce(relation, ''), pieces, first, beyond, coalesce(taken, ''), file, capture FROM tideover.snapshot`)
	if err != nil {
		return nil, fmt.Errorf("read what is copied: %w", err)
	}
	var (
		part, relation string
		p              markedPart
	)
	_, err = pgx.ForEachRow(rows, []any{&part, &p.rows, &relation, &p.pieces, &p.from, &p.to, &p.taken, &p.file, &p.capture}, func() error {
		if relation != "" {
			m.parts[relation] = append(m.parts[relation], p)
			m.rows += p.rows
			return nil
		}
		m.names[part], m.taken[part] = true, p.taken
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is copied: %w", err)
	}
	return m, nil
}

// marked says whether a copy of ours began in this database.
func marked(ctx context.Context, conn *pgx.Conn) (there bool, err error) {
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.snapshot') IS NOT NULL`).Scan(&there); err != nil {
		return false, fmt.Errorf("look for an earlier copy: %w", err)
	}
	return there, nil
}
