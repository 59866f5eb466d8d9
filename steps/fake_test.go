package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/journal/journaltest"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

// fake is a step made of functions; nil ones do nothing.
type fake struct {
	id         string
	done       func(context.Context) (bool, error)
	run        func(context.Context, *Progress) error
	undo       func(context.Context, *Progress) error
	background func(context.Context, *Progress) error
}

func (f *fake) ID() string { return f.id }

func (f *fake) Done(ctx context.Context) (bool, error) {
	if f.done == nil {
		return false, nil
	}
	return f.done(ctx)
}

func (f *fake) Run(ctx context.Context, p *Progress) error {
	if f.run == nil {
		return nil
	}
	return f.run(ctx, p)
}

func (f *fake) Undo(ctx context.Context, p *Progress) error {
	if f.undo == nil {
		return nil
	}
	return f.undo(ctx, p)
}

func (f *fake) Background(ctx context.Context, p *Progress) error {
	if f.background == nil {
		return nil
	}
	return f.background(ctx, p)
}

// noWayBack is a step without an Undo.
type noWayBack struct{ Step }

// started is the run.started of a runbook with the given steps. Those named "gate…" have a gate.
func started(steps []Step) journal.RunStartedData {
	d := journal.RunStartedData{Name: "test", Runbook: "test.yaml", Hash: "h"}
	for _, s := range steps {
		_, undoable := s.(Undoer)
		gate := len(s.ID()) >= 4 && s.ID()[:4] == "gate"
		d.Steps = append(d.Steps, journal.StepRef{ID: s.ID(), Kind: "fake", Undoable: undoable, Gate: gate})
	}
	return d
}

// process is one process's work on a run.
type process struct {
	*Runner
	lease journaltest.Lease
	shown *[]journal.Event
}

// begin creates the run, or takes it where id is not empty.
func begin(t *testing.T, s journaltest.Store, id string, steps []Step, edit func(*Config)) process {
	t.Helper()
	var lease journaltest.Lease
	var err error
	if id == "" {
		lease, err = s.Create(t.Context(), started(steps), journaltest.Who(1))
	} else {
		lease, err = s.Take(t.Context(), id, journaltest.Who(2))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Release)
	shown := &[]journal.Event{}
	cfg := Config{
		Lease: lease, Events: load(t, s, lease.Run()), Hash: "h", Steps: steps, Gate: Open{By: "test"},
		Sinks: []journal.Sink{func(e journal.Event) { *shown = append(*shown, e) }},
	}
	if edit != nil {
		edit(&cfg)
	}
	r, err := NewRunner(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return process{Runner: r, lease: lease, shown: shown}
}

func load(t *testing.T, s journaltest.Store, run string) []journal.Event {
	t.Helper()
	events, err := s.Load(t.Context(), run, 0)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// fold is the run as the next process finds it: an event that nobody can fold fails the test.
func fold(t *testing.T, s journaltest.Store, run string) journal.State {
	t.Helper()
	state, err := journal.Fold(load(t, s, run))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func kindsOf(events []journal.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, string(e.Kind)+" "+e.Step)
	}
	return all
}

// store is the journal in Postgres, with a table of effects beside it.
type store struct {
	*postgres.Journal
	db *postgres.DB
}

func newStore(t *testing.T) store {
	t.Helper()
	db, err := postgres.Open(t.Context(), "control", pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := db.Pool().Exec(t.Context(), `CREATE TABLE public.effect (step text, part int)`); err != nil {
		t.Fatal(err)
	}
	return store{Journal: postgres.NewJournal(db), db: db}
}

func (s store) Create(ctx context.Context, d journal.RunStartedData, who journal.Holder) (journaltest.Lease, error) {
	l, err := s.Journal.Create(ctx, d, who)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s store) Take(ctx context.Context, run string, who journal.Holder) (journaltest.Lease, error) {
	l, err := s.Journal.Take(ctx, run, who)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s store) Kill(t testing.TB, l journaltest.Lease) {
	t.Helper()
	const sql = `SELECT pg_catalog.pg_terminate_backend(backend, 10000) FROM tideover.run WHERE id = $1`
	var ended bool
	if err := s.db.Pool().QueryRow(t.Context(), sql, l.Run()).Scan(&ended); err != nil || !ended {
		t.Fatalf("terminate the lease's backend: %t, %v", ended, err)
	}
}

// effects lists step/part, sorted; one that happened twice is there twice.
func (s store) effects(t *testing.T) []string {
	t.Helper()
	rows, err := s.db.Pool().Query(t.Context(), `SELECT step || '/' || part FROM public.effect`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

const insertEffect = `INSERT INTO public.effect (step, part) VALUES ($1, $2)`

// inParts has three effects, each in the transaction of its checkpoint.
func (s store) inParts(id string) *fake {
	return &fake{id: id, undo: s.remove(id), run: func(ctx context.Context, p *Progress) error {
		part := 0
		if _, err := p.Load("part", &part); err != nil {
			return err
		}
		for part++; part <= 3; part++ {
			if err := p.Effect(ctx, s.db, "part", part, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, insertEffect, id, part)
				return err
			}); err != nil {
				return err
			}
		}
		return p.Figure(ctx, "rows."+id, 3)
	}}
}

// looked has one effect that knows nothing of the journal: Done looks for it.
func (s store) looked(id string) *fake {
	return &fake{id: id, undo: s.remove(id),
		done: func(ctx context.Context) (bool, error) {
			var there bool
			err := s.db.Pool().QueryRow(ctx, `SELECT EXISTS (SELECT FROM public.effect WHERE step = $1)`, id).Scan(&there)
			return there, err
		},
		run: func(ctx context.Context, p *Progress) error {
			if _, err := s.db.Pool().Exec(ctx, insertEffect, id, 1); err != nil {
				return err
			}
			return p.Note(ctx, "info", "%s is done", id)
		}}
}

func (s store) remove(id string) func(context.Context, *Progress) error {
	return func(ctx context.Context, p *Progress) error {
		_, err := s.db.Pool().Exec(ctx, `DELETE FROM public.effect WHERE step = $1`, id)
		return err
	}
}

var errCrash = errors.New("kill -9")

// crashAt stands for a kill -9 at the n-th moment before or after an event is stored: from then on the process can do
// nothing more in the journal.
func crashAt(n int) func(*Config) {
	return func(c *Config) {
		l := &mortal{storedLease: c.Lease.(storedLease), last: n, inTx: make(map[int64]bool)}
		c.Lease = l
		c.Sinks = append(c.Sinks, l.committed)
	}
}

// storedLease is what a lease of the database's store can do.
type storedLease interface {
	journal.Lease
	loader
	txAppender
}

// mortal is the lease of a process that dies at a moment.
type mortal struct {
	storedLease
	moment, last int
	inTx         map[int64]bool // events that are stored with the transaction of their effect
}

var (
	_ loader     = (*mortal)(nil)
	_ txAppender = (*mortal)(nil)
)

func (l *mortal) live() error {
	if l.moment++; l.moment >= l.last {
		return fmt.Errorf("at moment %d: %w", l.last, errCrash)
	}
	return nil
}

func (l *mortal) Append(ctx context.Context, e journal.Event) (journal.Event, error) {
	if err := l.live(); err != nil {
		return e, err
	}
	stored, err := l.storedLease.Append(ctx, e)
	if err != nil {
		return e, err
	}
	return stored, l.live()
}

func (l *mortal) AppendTx(ctx context.Context, tx pgx.Tx, e journal.Event) (journal.Event, error) {
	if err := l.live(); err != nil {
		return e, err
	}
	stored, err := l.storedLease.AppendTx(ctx, tx, e)
	l.inTx[stored.Seq] = err == nil
	return stored, err
}

// committed is told of an event at once after its transaction. The process dies in what it does next.
func (l *mortal) committed(e journal.Event) {
	if l.inTx[e.Seq] {
		_ = l.live()
	}
}

func (l *mortal) Load(ctx context.Context, after int64) ([]journal.Event, error) {
	if l.moment >= l.last {
		return nil, errCrash
	}
	return l.storedLease.Load(ctx, after)
}
