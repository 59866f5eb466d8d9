package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
)

// Progress is how far the step of a run was when its process last said so: no event holds it, and one row a run is kept.
type Progress struct {
	Step string               `json:"step"`
	Time time.Time            `json:"time"`
	Data journal.ProgressData `json:"data"`
}

// Progress is the last that was said of a run's progress; nil: nothing.
func (j *Journal) Progress(ctx context.Context, run string) (*Progress, error) {
	const sql = `SELECT step, time, data FROM tideover.progress WHERE run = $1`
	var p Progress
	var data []byte
	err := j.db.pool.QueryRow(ctx, sql, run).Scan(&p.Step, &p.Time, &data)
	switch {
	case errors.Is(err, pgx.ErrNoRows), Code(err) == pgerrcode.UndefinedTable:
		return nil, nil
	case err != nil:
		return nil, j.wrap("read the run's progress", err)
	}
	if err := json.Unmarshal(data, &p.Data); err != nil {
		return nil, j.wrap("read the run's progress", err)
	}
	return &p, nil
}

// SetProgress says how far a step of a run is.
func (j *Journal) SetProgress(ctx context.Context, run, step string, d journal.ProgressData) error {
	const sql = `INSERT INTO tideover.progress (run, step, data) VALUES ($1, $2, $3)
		ON CONFLICT (run) DO UPDATE SET step = excluded.step, data = excluded.data, time = pg_catalog.clock_timestamp()`
	_, err := j.db.pool.Exec(ctx, sql, run, step, string(encode(d)))
	if err != nil {
		return j.wrap("keep the run's progress", err)
	}
	return nil
}
