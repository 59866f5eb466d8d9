package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/postgres"
)

// reportEvery bounds how often progress is shown.
const reportEvery = 100 * time.Millisecond

// Progress is what a step has of its run: it says how far it is, keeps its checkpoints, and stores what happens. Its
// methods may be called from several goroutines; the ones that store return only once the event is stored, and their
// error (a takeover, a lost connection) must end the step.
type Progress struct {
	r    *Runner
	rec  *recorder
	step string

	mu   sync.Mutex
	last time.Time
}

// Step is the step's id.
func (p *Progress) Step() string { return p.step }

// State is what the journal says of the run, copied now: its id, its term, how far the cutover is, the figures.
func (p *Progress) State() journal.State { return p.rec.snapshot() }

// Report shows how far the step is. It is not stored; more than ten a second are dropped, but never the last one
// (done = total).
func (p *Progress) Report(done, total int64, unit, note string) {
	p.show(journal.ProgressData{Done: done, Total: total, Unit: unit, Note: note})
}

// show is Report for a step that can say more.
func (p *Progress) show(d journal.ProgressData) {
	p.mu.Lock()
	now := time.Now()
	skip := now.Sub(p.last) < reportEvery && (d.Total == 0 || d.Done < d.Total)
	if !skip {
		p.last = now
	}
	p.mu.Unlock()
	if !skip {
		p.rec.progress(p.step, d)
	}
}

// Note stores a line for people. Level is "info" or "warn".
func (p *Progress) Note(ctx context.Context, level, format string, args ...any) error {
	return p.Event(ctx, journal.StepNote, journal.NoteData{Level: level, Text: fmt.Sprintf(format, args...)})
}

// NoteAbout is a warning that machines count: about is one of the journal's About….
func (p *Progress) NoteAbout(ctx context.Context, about, format string, args ...any) error {
	return p.Event(ctx, journal.StepNote, journal.NoteData{Level: "warn", Text: fmt.Sprintf(format, args...), About: about})
}

// Checkpoint stores where the step goes on after a crash; v becomes JSON. The last one of a key counts. Undo forgets all.
//
// The effect must have happened before, and a crash can fall between the two: where the effect is in a database, see
// [Progress.Effect].
func (p *Progress) Checkpoint(ctx context.Context, key string, v any) error {
	d, err := p.checkpoint(key, v)
	if err != nil {
		return err
	}
	return p.Event(ctx, journal.StepCheckpoint, d)
}

// Effect does f in a transaction of db and stores a checkpoint. Where db is the control database both are in one
// transaction: exactly once. Elsewhere the checkpoint follows the commit, so that after a crash between the two f comes
// again: at least once.
func (p *Progress) Effect(ctx context.Context, db *postgres.DB, key string, v any, f func(tx pgx.Tx) error) error {
	d, err := p.checkpoint(key, v)
	if err != nil {
		return err
	}
	lease, ok := p.rec.lease.(txAppender)
	if !ok || !lease.Covers(db) {
		if err := pgx.BeginFunc(ctx, db.Pool(), f); err != nil {
			return err
		}
		return p.Event(ctx, journal.StepCheckpoint, d)
	}
	e, err := event(p.step, journal.StepCheckpoint, d)
	if err != nil {
		return err
	}
	return p.rec.appendIn(ctx, db, lease, e, f)
}

func (p *Progress) checkpoint(key string, v any) (journal.CheckpointData, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return journal.CheckpointData{}, fmt.Errorf("step %q: checkpoint %q: %w", p.step, key, err)
	}
	return journal.CheckpointData{Key: key, Value: b}, nil
}

// Load reads the last checkpoint of a key into v; false where there is none.
func (p *Progress) Load(key string, v any) (bool, error) {
	state := p.rec.snapshot()
	st, _ := state.Step(p.step)
	b, ok := st.Checkpoints[key]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("step %q: checkpoint %q: %w", p.step, key, err)
	}
	return true, nil
}

// Figure stores a number of the report, under its dotted path there. The last one of a name counts.
func (p *Progress) Figure(ctx context.Context, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("step %q: figure %q: %w", p.step, name, err)
	}
	return p.Event(ctx, journal.StepFigure, journal.FigureData{Name: name, Value: b})
}

// Event stores an event of the step, such as those of the cutover. Data becomes JSON; nil: none.
func (p *Progress) Event(ctx context.Context, kind journal.Kind, data any) error {
	return p.rec.append(ctx, p.step, kind, data)
}

// StopBackground ends all work in the background of earlier steps and waits for it; this process does not begin it
// again. The error is the first that the work ended with. See [Background].
func (p *Progress) StopBackground() error { return p.r.background.stop() }
