package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
)

// Kinds of a [Document].
const (
	RunbookDocument = "runbook"
	ProfileDocument = "profile"
)

// Document is a text that a run was started with, kept so that it can be taken over where the file is not.
type Document struct {
	Kind    string
	Name    string // path or name as the user gave it
	Text    string
	Blanked bool // passwords stood in the file, and are not in Text
}

func (d Document) keep(ctx context.Context, tx pgx.Tx, run string) error {
	const sql = `INSERT INTO tideover.document (run, kind, name, content, blanked) VALUES ($1, $2, $3, $4, $5)`
	_, err := tx.Exec(ctx, sql, run, d.Kind, d.Name, d.Text, d.Blanked)
	return err
}

// Document is a run's text of a kind; false where none is kept, as in journals of older versions.
func (j *Journal) Document(ctx context.Context, run, kind string) (Document, bool, error) {
	const sql = `SELECT name, content, blanked FROM tideover.document WHERE run = $1 AND kind = $2 AND content <> ''`
	d := Document{Kind: kind}
	err := j.db.pool.QueryRow(ctx, sql, run, kind).Scan(&d.Name, &d.Text, &d.Blanked)
	switch {
	case err == nil:
		return d, true, nil
	case errors.Is(err, pgx.ErrNoRows), Code(err) == pgerrcode.UndefinedTable:
		return d, false, nil
	}
	return d, false, j.wrap("read the run's "+kind, err)
}
