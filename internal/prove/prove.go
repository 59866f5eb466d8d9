// Package prove shows that rewritten migrations end where the original ones do. Both are applied to a throw-away database
// each, with the same sample rows; then the catalogs are compared as pg_dump writes them, and the rows column by column.
// Meanwhile a probe reads and writes the tables that are migrated, and notes how long it had to wait.
//
// Columns that the original itself fills differently each time (random keys, the clock) are found by applying it to a third
// database, and are left out of the comparison by name.
package prove

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/migrate"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Server makes the throw-away databases: *pgserver.Server.
type Server interface {
	CreateDatabase(ctx context.Context, name string) (dsn string, err error)
	DropDatabase(ctx context.Context, name string) error
	BinDir() string
}

// Options say what is proved.
type Options struct {
	Server  Server
	Scripts []*sqlrewrite.Script
	Records *sqlrewrite.Records // the vendor's own table, which is made before the first script; nil: none
	// Base is how many of the scripts are what the database has already: applied as they are, before the sample rows.
	Base int
	Rows int    // sample rows in each table; 0: none
	Seed string // SQL that makes rows instead, run behind the base
	// Allow names hazards that a person accepts. With column-order, columns may stand in another order.
	Allow []string
	// Probe measures who waits how long.
	Probe bool
	Tell  func(text string) // progress; may be nil
}

// Report is what came out.
type Report struct {
	Scripts []Waits
	Schema  string  // the lines in which the two dumps differ, "-" the original's; "" where they are the same
	Tables  []Table // of the rows
	Notes   []string
}

// Waits is the longest that one reading and one writing probe waited while a script ran.
type Waits struct {
	Name                              string
	OriginalRead, OriginalWrite       time.Duration
	RewrittenRead, RewrittenWrite     time.Duration
	OriginalSeconds, RewrittenSeconds float64
	Files                             int
}

// Same says whether schemas and rows are the same.
func (r *Report) Same() bool {
	for _, t := range r.Tables {
		if t.Difference != "" {
			return false
		}
	}
	return r.Schema == ""
}

// Total is the longest of all waits, and the sums of the rest.
func (r *Report) Total() Waits {
	t := Waits{Name: "all"}
	for _, s := range r.Scripts {
		t.OriginalRead, t.OriginalWrite = max(t.OriginalRead, s.OriginalRead), max(t.OriginalWrite, s.OriginalWrite)
		t.RewrittenRead, t.RewrittenWrite = max(t.RewrittenRead, s.RewrittenRead), max(t.RewrittenWrite, s.RewrittenWrite)
		t.OriginalSeconds, t.RewrittenSeconds, t.Files = t.OriginalSeconds+s.OriginalSeconds, t.RewrittenSeconds+s.RewrittenSeconds, t.Files+s.Files
	}
	return t
}

// JSON is the report for a program: waits in milliseconds.
func (r *Report) JSON() any {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	waits := func(w Waits) map[string]any {
		return map[string]any{"file": w.Name, "files": w.Files, "original_read_ms": ms(w.OriginalRead), "original_write_ms": ms(w.OriginalWrite),
			"rewritten_read_ms": ms(w.RewrittenRead), "rewritten_write_ms": ms(w.RewrittenWrite), "original_seconds": w.OriginalSeconds, "rewritten_seconds": w.RewrittenSeconds}
	}
	scripts, rows := []any{}, []any{}
	for _, s := range r.Scripts {
		scripts = append(scripts, waits(s))
	}
	for _, t := range r.Tables {
		rows = append(rows, map[string]any{"table": t.Name, "rows": t.Rows, "left_out": t.LeftOut, "difference": t.Difference})
	}
	return map[string]any{"same": r.Same(), "schema_difference": r.Schema, "scripts": scripts, "total": waits(r.Total()), "tables": rows, "notes": r.Notes}
}

// OriginalError says that the original migrations fail, so that there is nothing to compare with.
type OriginalError struct {
	File string
	Err  error
}

func (e *OriginalError) Error() string {
	return fmt.Sprintf("the original %s fails: %v", e.File, e.Err)
}
func (e *OriginalError) Unwrap() error { return e.Err }

// Hint says what may help.
func (e *OriginalError) Hint() string {
	return "if the generated rows are the cause, give rows of your own with --seed, or none with --rows 0"
}

// Run proves. Its error is about the proof's own work, or the original migrations: a difference is in the report.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	p := &proof{Options: o, report: &Report{}}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	original, err := p.trial(ctx, "original", false)
	if err != nil {
		return nil, err
	}
	rewritten, err := p.trial(ctx, "rewritten", true)
	if err != nil {
		return nil, err
	}
	if err := p.apply(ctx, original, rewritten); err != nil {
		return nil, err
	}
	return p.report, p.compare(ctx, original, rewritten)
}

// proof is one run's state.
type proof struct {
	Options
	report *Report
	trials []*trial
}

// trial is one of the databases.
type trial struct {
	name, database, dsn string
	live                bool
	conn, watch         *pgx.Conn
}

func (p *proof) trial(ctx context.Context, name string, live bool) (*trial, error) {
	s := &trial{name: name, live: live, database: fmt.Sprintf("tideover_prove_%s_%d", name, time.Now().UnixNano())}
	dsn, err := p.Server.CreateDatabase(ctx, s.database)
	if err != nil {
		return nil, err
	}
	s.dsn = dsn
	p.trials = append(p.trials, s)
	if s.conn, err = pgx.Connect(ctx, s.dsn); err != nil {
		return nil, err
	}
	if s.watch, err = pgx.Connect(ctx, s.dsn); err != nil || p.Records == nil || p.Records.Create == "" {
		return s, err
	}
	_, err = s.conn.Exec(ctx, p.Records.Create)
	return s, err
}

func (p *proof) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var errs []error
	for _, s := range p.trials {
		for _, c := range []*pgx.Conn{s.conn, s.watch} {
			if c != nil {
				_ = c.Close(ctx)
			}
		}
		errs = append(errs, p.Server.DropDatabase(ctx, s.database))
	}
	return errors.Join(errs...)
}

func (p *proof) tell(format string, args ...any) {
	if p.Tell != nil {
		p.Tell(fmt.Sprintf(format, args...))
	}
}

// apply brings the trials through the scripts, one at a time, with the same sample rows before each.
func (p *proof) apply(ctx context.Context, trials ...*trial) error {
	for i, script := range p.Scripts {
		if i == p.Base {
			for _, s := range trials {
				if err := p.seed(ctx, s); err != nil {
					return err
				}
			}
		}
		if i >= p.Base && p.Seed == "" && p.Rows > 0 {
			if err := p.sample(ctx, trials); err != nil {
				return err
			}
		}
		w := Waits{Name: script.Name, Files: 1}
		for _, s := range trials {
			p.tell("%s: %s", s.name, script.Name)
			if err := p.script(ctx, s, script, i >= p.Base, &w); err != nil {
				if !s.live {
					return &OriginalError{File: script.Name, Err: err}
				}
				return fmt.Errorf("%s: %s: %w", s.name, script.Name, err)
			}
		}
		if i >= p.Base {
			p.report.Scripts = append(p.report.Scripts, w)
		}
	}
	return nil
}

func (p *proof) seed(ctx context.Context, s *trial) error {
	if p.Seed == "" {
		return nil
	}
	if _, err := s.conn.PgConn().Exec(ctx, p.Seed).ReadAll(); err != nil {
		return fmt.Errorf("the sample rows: %w", err)
	}
	return nil
}

// script applies one script to one side, and measures who waits.
func (p *proof) script(ctx context.Context, s *trial, script *sqlrewrite.Script, measured bool, w *Waits) error {
	turn := sqlrewrite.Offline
	if s.live && measured {
		turn = func(script *sqlrewrite.Script) (sqlrewrite.Rewritten, error) {
			return migrate.LiveOn(ctx, s.conn, script, p.Allow)
		}
	}
	r, err := turn(script)
	if err != nil {
		return err
	}
	probing := &probe{}
	if p.Probe && measured {
		if probing, err = startProbe(ctx, s, script); err != nil {
			return err
		}
	}
	began := time.Now()
	for _, f := range r.Files {
		if s.live && measured {
			e := &migrate.Executor{Conn: s.conn, Watch: s.watch, Budget: postgres.Budget{Retry: time.Minute}, Patience: 10 * time.Minute}
			err = e.Run(ctx, f, 0, nil)
		} else {
			err = stock(ctx, s.conn, f)
		}
		if err != nil {
			break
		}
	}
	seconds := time.Since(began).Seconds()
	read, write, probeErr := probing.stop()
	if err = errors.Join(err, probeErr); err != nil {
		return err
	}
	switch s.name {
	case "original":
		w.OriginalRead, w.OriginalWrite, w.OriginalSeconds = read, write, seconds
	case "rewritten":
		w.RewrittenRead, w.RewrittenWrite, w.RewrittenSeconds, w.Files = read, write, seconds, len(r.Files)
	}
	return nil
}

// stock runs a file as goose would: in one transaction, unless it says otherwise.
func stock(ctx context.Context, conn *pgx.Conn, f sqlrewrite.File) error {
	steps, err := f.Steps()
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SET lock_timeout = 0"); err != nil {
		return err
	}
	run := func(st sqlrewrite.Step) error {
		for _, s := range st.Statements {
			if _, err := conn.PgConn().Exec(ctx, s.SQL).ReadAll(); err != nil {
				return fmt.Errorf("line %d: %w", s.Line, err)
			}
		}
		return nil
	}
	for _, st := range steps {
		if !st.Transaction {
			if err := run(st); err != nil {
				return err
			}
			continue
		}
		if err := pgx.BeginFunc(ctx, conn, func(pgx.Tx) error { return run(st) }); err != nil {
			return err
		}
	}
	return nil
}

// compare looks at schemas and rows.
func (p *proof) compare(ctx context.Context, original, rewritten *trial) error {
	a, err := Dump(ctx, original.dsn, p.Server.BinDir())
	if err != nil {
		return err
	}
	b, err := Dump(ctx, rewritten.dsn, p.Server.BinDir())
	if err != nil {
		return err
	}
	if slices.Contains(p.Allow, sqlrewrite.ColumnOrder) && a != b {
		p.report.Notes = append(p.report.Notes, "the order of columns is not compared: column-order is allowed")
		a, b = orderless(a), orderless(b)
	}
	p.report.Schema = difference(a, b)
	if p.report.Tables, err = CompareRows(ctx, original.conn, rewritten.conn, nil); err != nil || p.report.Same() || p.report.Schema != "" {
		return err
	}
	p.tell("rows differ: applying the original once more, to see what it fills differently each time")
	again, err := p.trial(ctx, "again", false)
	if err != nil {
		return err
	}
	kept := p.report.Scripts
	if err := p.apply(ctx, again); err != nil {
		return err
	}
	p.report.Scripts = kept
	random, err := Differing(ctx, original.conn, again.conn)
	if err != nil {
		return err
	}
	p.report.Tables, err = CompareRows(ctx, original.conn, rewritten.conn, random)
	return err
}

// difference is the lines that only one text has, in order of appearance.
func difference(a, b string) string {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]++
	}
	for line := range strings.Lines(b) {
		count[line]--
	}
	var out strings.Builder
	for line := range strings.Lines(a) {
		if count[line] > 0 {
			count[line]--
			out.WriteString("- " + line)
		}
	}
	for line := range strings.Lines(b) {
		if count[line] < 0 {
			count[line]++
			out.WriteString("+ " + line)
		}
	}
	if out.Len() == 0 && a != b {
		return "the same lines in another order\n"
	}
	return out.String()
}
