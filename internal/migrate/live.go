package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Allow names hazards that a person accepts for all files (sqlrewrite's names).
func Allow(names ...string) Option { return func(g *Goose) { g.allow = append(g.allow, names...) } }

// Told gives what a live migration has to say to f: waits, attempts, progress. f is called from two goroutines, one call at
// a time.
func Told(f func(Notice)) Option { return func(g *Goose) { g.tell = f } }

// EndBlockers lets a live migration end sessions of these application names when they hold up a lock of ours.
func EndBlockers(names ...string) Option { return func(g *Goose) { g.endBlockers = names } }

// HazardError says that a live migration would do what nobody has allowed.
type HazardError struct{ Hazards []sqlrewrite.Hazard }

func (e *HazardError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "migrations: %d hazards for live traffic are not allowed:", len(e.Hazards))
	for _, h := range e.Hazards {
		fmt.Fprintf(&b, "\n  %s:%d: %s: %s", h.File, h.Line, h.Name, h.Text)
		if h.Hint != "" {
			b.WriteString(" (" + h.Hint + ")")
		}
	}
	return b.String()
}

// ExitCode is that of a runbook with a mistake.
func (e *HazardError) ExitCode() int { return 2 }

// Hint names what would have to be allowed, and what can wait instead.
func (e *HazardError) Hint() string {
	names := e.Names()
	hint := "if you accept them, name them in the migrate step: allow: [" + strings.Join(names, ", ") + "]"
	if slices.Contains(names, sqlrewrite.BreaksOldServer) {
		hint += "; what only the old server needs can wait until it is gone: defer: [" + sqlrewrite.BreaksOldServer + "]"
	}
	return hint
}

// Names are those of the hazards, each once.
func (e *HazardError) Names() []string {
	var names []string
	for _, h := range e.Hazards {
		if !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Refused are the hazards of scripts that are not among the allowed names.
func Refused(hazards []sqlrewrite.Hazard, allowed []string) error {
	left := slices.DeleteFunc(slices.Clone(hazards), func(h sqlrewrite.Hazard) bool { return slices.Contains(allowed, h.Name) })
	if len(left) == 0 {
		return nil
	}
	return &HazardError{Hazards: left}
}

// LiveHazards are the hazards of the folder's migrations above version from and above the baseline, up to the wanted one, that are not allowed: an
// error of [HazardError] where there are any. It opens no connection; [Goose.LiveHazardsAt] knows more.
func (g *Goose) LiveHazards(from int64) error {
	ctx := context.Background() // no connection, no wait
	files, err := g.wanted()
	if err != nil {
		return err
	}
	var pending []file
	from = max(from, g.from)
	for _, f := range files {
		if f.version > from {
			pending = append(pending, f)
		}
	}
	if err := g.lasting(pending); err != nil {
		return err
	}
	rewritten, hazards, scripts, err := g.rewrite(ctx, nil, pending)
	if err != nil {
		return err
	}
	if err := Refused(hazards, g.accepted()); err != nil {
		return err
	}
	return g.checkLate(pending, rewritten, scripts)
}

// LiveHazardsAt is LiveHazards of the files that Migrate would run in a database, in the light of its catalog: of triggers, rules,
// keys, children and functions, which make that rows depend on each other. It changes nothing.
func (g *Goose) LiveHazardsAt(ctx context.Context, dsn string) error {
	files, err := g.wanted()
	if err != nil {
		return err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn)
	done, err := g.recorded(ctx, conn)
	if err != nil {
		return err
	}
	begun, err := begunVersions(ctx, conn)
	if err != nil {
		return err
	}
	if files, err = g.pending(files, done); err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(f file) bool { return begun[f.version] }) // those were allowed when they began
	rewritten, hazards, scripts, err := g.rewrite(ctx, conn, files)
	if err != nil {
		return err
	}
	if err := Refused(hazards, g.accepted()); err != nil {
		return err
	}
	return g.checkLate(files, rewritten, scripts)
}

// accepted are the hazards that a person has allowed now or for later.
func (g *Goose) accepted() []string { return slices.Concat(g.allow, g.deferred) }

// rewrite makes the files lock-safe. The scripts before them are read too: they say what types columns have. With a connection,
// the catalog decides what is done in batches.
func (g *Goose) rewrite(ctx context.Context, conn *pgx.Conn, pending []file) (_ map[int64]sqlrewrite.Rewritten, _ []sqlrewrite.Hazard, scripts map[int64]*sqlrewrite.Script, _ error) {
	s := g.scripts
	if s == nil {
		var err error
		if s, err = sqlrewrite.ReadFolder(sqlOnly{g.fsys}, sqlrewrite.GooseFormat); err != nil {
			return nil, nil, nil, err
		}
	}
	all, hazards := map[int64]sqlrewrite.Rewritten{}, []sqlrewrite.Hazard(nil)
	scripts = map[int64]*sqlrewrite.Script{}
	names, begun := named{freed: map[string]bool{}, made: map[string]bool{}, may: map[string]bool{}, dropped: map[string]bool{}}, map[int64]bool(nil)
	if conn != nil {
		var err error
		if begun, err = begunVersions(ctx, conn); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, script := range s.Scripts {
		v, err := sqlrewrite.Version(script.Target())
		if err != nil {
			return nil, nil, nil, err
		}
		if !slices.ContainsFunc(pending, func(f file) bool { return f.version == v }) {
			continue
		}
		r, err := sqlrewrite.LiveWith(script, sqlrewrite.Given{Allowed: g.accepted()})
		if conn != nil {
			if !begun[v] {
				if err := taken(ctx, conn, script, names); err != nil {
					return nil, nil, nil, err
				}
			}
			r, err = LiveOn(ctx, conn, script, g.accepted())
		}
		if err != nil {
			return nil, nil, nil, err
		}
		all[v], scripts[v], hazards = r, script, append(hazards, r.Hazards...)
	}
	return all, hazards, scripts, nil
}

// sqlOnly leaves out the .go files that may stand beside migrations.
type sqlOnly struct{ fs.FS }

// migrateLive runs the pending files rewritten. A version counts as reached when its last part is done; until then the
// rewritten parts are kept in the database, so that a later process goes on with exactly the same.
func (g *Goose) migrateLive(ctx context.Context, dsn string, files []file, applied Applied) error {
	e, closed, err := g.executor(ctx, dsn)
	if err != nil {
		return err
	}
	defer closed()
	ledger, err := openLedger(ctx, e.Conn, g.schema, g.vendorRecords())
	if err != nil {
		return err
	}
	// What another process has finished while we waited for it is done.
	done, err := g.recorded(ctx, e.Conn)
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(slices.Clone(files), func(f file) bool { return done[f.version] })
	if err := g.sameBegun(ledger, files); err != nil {
		return err
	}
	rewritten, _, scripts, err := g.rewrite(ctx, e.Conn, files)
	if err != nil {
		return err
	}
	var hazards []sqlrewrite.Hazard
	for _, f := range files {
		if ledger.entries[f.version] == nil { // those under way were allowed when they began
			hazards = append(hazards, rewritten[f.version].Hazards...)
		}
	}
	if err := Refused(hazards, g.accepted()); err != nil {
		return err
	}
	if err := g.checkLate(files, rewritten, scripts); err != nil {
		return err
	}
	for i, f := range files {
		if i > 0 && ledger.entries[f.version] == nil { // those before it have changed the catalog
			r, err := LiveOn(ctx, e.Conn, scripts[f.version], g.accepted())
			if err == nil {
				err = Refused(r.Hazards, g.accepted())
			}
			if err != nil {
				return err
			}
			rewritten[f.version] = r
		}
		if err := timed(applied, f.version, f.name, func() error {
			entry, err := ledger.entry(ctx, f, rewritten[f.version].Files)
			if err != nil {
				return err
			}
			return e.parts(ctx, ledger, entry, g.deferred)
		}); err != nil {
			return err
		}
		if err := ledger.own.restore(ctx, e.Conn); err != nil {
			return err
		}
	}
	return ledger.drop(ctx)
}

// sameBegun refuses a folder in which another file has the place of one that is under way.
func (g *Goose) sameBegun(l *ledger, files []file) error {
	if !g.scripts.Places() {
		return nil
	}
	for v, m := range l.entries {
		if !slices.ContainsFunc(files, func(f file) bool { return f.version == v && f.name == m.Name }) {
			return &FolderError{File: m.Name, Text: "is under way in this database, and the folder has other files now", Way: "put the files back as they were until it is done"}
		}
	}
	return nil
}

// Untouched says whether a live migration, before which so many files were pending, has run none of their statements. Of a statement
// outside of transactions that was begun it says that it was run.
func (g *Goose) Untouched(ctx context.Context, dsn string, pending int) (bool, error) {
	now, err := g.Pending(ctx, dsn)
	if err != nil || now != pending {
		return false, err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return false, err
	}
	defer postgres.HangUp(ctx, conn)
	begun, err := begunEntries(ctx, conn)
	if err != nil {
		return false, err
	}
	for _, e := range begun {
		if e.Part > 0 || e.Step > 0 || len(e.Files) == 0 || e.Files[0].NoTransaction {
			return false, nil
		}
	}
	return true, nil
}

// Withdraw forgets a live migration that is [Goose.Untouched], once nobody is at it any more.
func (g *Goose) Withdraw(ctx context.Context, dsn string, pending int) error {
	e, closed, err := g.executor(ctx, dsn)
	if err != nil {
		return err
	}
	defer closed()
	if untouched, err := g.Untouched(ctx, dsn, pending); err != nil || !untouched {
		return errors.Join(err, errors.New("the migration has run a statement meanwhile, and can't be taken back"))
	}
	if _, err := e.Conn.Exec(ctx, `DROP TABLE IF EXISTS `+LedgerTable); err != nil {
		return fmt.Errorf("drop %s: %w", LedgerTable, err)
	}
	return nil
}

// executor is alone at the database until closed is called.
func (g *Goose) executor(ctx context.Context, dsn string) (_ *Executor, closed func(), err error) {
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	watch, err := g.connect(ctx, dsn)
	if err != nil {
		postgres.HangUp(ctx, conn)
		return nil, nil, err
	}
	closed = func() {
		postgres.HangUp(ctx, watch)
		postgres.HangUp(ctx, conn)
	}
	e := &Executor{Conn: conn, Watch: watch, Budget: *g.budget, Patience: g.patience, EndBlockers: g.endBlockers, Tell: g.tell}
	if err := e.alone(ctx); err != nil {
		closed()
		return nil, nil, err
	}
	return e, closed, nil
}

// timed runs one migration and tells how long it took; its error says which it was.
func timed(applied Applied, version int64, name string, run func() error) error {
	began := time.Now()
	if err := run(); err != nil {
		var hinted *Error
		if errors.As(err, &hinted) {
			return err
		}
		return &Error{Version: version, File: name, Err: err, Live: true}
	}
	if applied != nil {
		applied(version, name, time.Since(began))
	}
	return nil
}

// parts runs what is left of one migration, up to the first part that has a deferred hazard.
func (e *Executor) parts(ctx context.Context, l *ledger, m *entry, deferred []string) error {
	for m.Part < len(m.Files) {
		f := m.Files[m.Part]
		if m.Step == 0 && f.Has(deferred) {
			e.tell(Notice{Text: fmt.Sprintf("%s: what only the old server needs is removed by retire", m.Name)})
			return l.putOff(ctx, l.conn, m)
		}
		if err := e.Run(ctx, f, m.Step, func(ctx context.Context, db postgres.Execer, step, steps int) error {
			return l.done(ctx, db, m, step == steps)
		}); err != nil {
			return err
		}
		m.Part, m.Step = m.Part+1, 0
	}
	return nil
}

// alone waits until no other process migrates the database: one that was killed may have left a session that is still at
// work, which the server ends as soon as it sees that nobody listens.
func (e *Executor) alone(ctx context.Context) error {
	const key = `pg_catalog.hashtextextended('tideover/migrate/' || pg_catalog.current_schema(), 0)`
	const take = `SELECT pg_catalog.pg_try_advisory_lock(` + key + `)`
	const who = `SELECT a.pid, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state,
			coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), 0)::float8 AS seconds, coalesce(a.query, '') AS query
		FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
			AND ((l.classid::bigint << 32) | l.objid::bigint) = ` + key
	others := func() ([]Blocker, error) {
		rows, err := e.Conn.Query(ctx, who)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowToStructByName[Blocker])
	}
	if got, err := postgres.AwaitLock(ctx, e.Conn, 0, take); err != nil || got {
		return err
	}
	holders, err := others()
	if err != nil {
		return err
	}
	if len(holders) > 0 {
		e.tell(Notice{Warn: true, Waits: true, Text: "another session migrates this database; waiting for " + holders[0].String()})
	}
	if got, err := postgres.AwaitLock(ctx, e.Conn, max(e.Budget.Retry, time.Minute), take); err != nil || got {
		return err
	}
	if holders, err = others(); err != nil {
		return err
	}
	return &heldError{holders}
}

// heldError says that another process migrates the database.
type heldError struct{ by []Blocker }

func (e *heldError) Error() string {
	s := "another session migrates this database"
	for _, b := range e.by {
		s += ": " + b.String()
	}
	return s
}

func (e *heldError) ExitCode() int { return 3 }

func (e *heldError) Hint() string {
	return "let it finish; if its process is dead, end the session: SELECT pg_terminate_backend(pid)"
}

func encode(files []sqlrewrite.File) (string, error) {
	b, err := json.Marshal(files)
	return string(b), err
}
