package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Goose runs goose migrations.
type Goose struct {
	fsys fs.FS
	to   int64
	from int64 // a baseline
	// fromText and toText are versions as the vendor writes them.
	fromText, toText string
	schema           string
	budget           *postgres.Budget
	format           sqlrewrite.Format
	placeholders     map[string]string
	// What Live needs besides.
	allow, deferred, endBlockers []string
	tell                         func(Notice)
	patience                     time.Duration
	// scripts is the folder as read, where it isn't goose's; readErr says why it can't be read.
	scripts *sqlrewrite.Migrations
	readErr error
	// What an offline migration needs besides.
	asWritten bool
	large     int64 // bytes of data from which statements are arranged
	timed     func(Timing)
}

// Option changes how a Goose works.
type Option func(*Goose)

// InSchema runs the migrations with another search_path than public: their names are seldom qualified.
func InSchema(schema string) Option { return func(g *Goose) { g.schema = schema } }

// Live is for a database in use: the files are rewritten by sqlrewrite, and run by an [Executor]. What can't be made safe is
// refused ([HazardError]) unless [Allow] names it.
func Live(budget postgres.Budget) Option { return func(g *Goose) { g.budget = &budget } }

// NewGoose runs the migrations in fsys's top folder up to version to; 0 is the newest.
func NewGoose(fsys fs.FS, to int64, options ...Option) *Goose {
	g := &Goose{fsys: fsys, to: to, schema: "public", large: largeDatabase}
	for _, o := range options {
		o(g)
	}
	g.scripts, g.fsys, g.readErr = g.source()
	for _, v := range []struct {
		text string
		into *int64
	}{{g.fromText, &g.from}, {g.toText, &g.to}} {
		if g.readErr == nil && v.text != "" {
			*v.into, g.readErr = g.numbered(v.text)
		}
	}
	return g
}

// Migrate brings the database at dsn to the wanted version. Run again it goes on where it stopped.
func (g *Goose) Migrate(ctx context.Context, dsn string) error { return g.MigrateWith(ctx, dsn, nil) }

// MigrateWith is Migrate that tells of each migration. Errors: [*FolderError] before anything is done, [*Error] for the
// migration that failed.
func (g *Goose) MigrateWith(ctx context.Context, dsn string, applied Applied) error {
	files, err := g.wanted()
	if err != nil {
		return err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn)
	if g.budget == nil {
		if err := (&Executor{Conn: conn, Tell: g.tell}).alone(ctx); err != nil {
			return err
		}
	}
	done, err := g.recorded(ctx, conn)
	if err != nil {
		return err
	}
	if files, err = g.pending(files, done); err != nil || len(files) == 0 {
		return err
	}
	if err := g.prepare(ctx, conn); err != nil {
		return err
	}
	if g.budget != nil {
		return g.migrateLive(ctx, dsn, files, applied)
	}
	return g.migrateOffline(ctx, conn, dsn, files, applied)
}

// wanted lists the files up to the wanted version.
func (g *Goose) wanted() ([]file, error) {
	if g.readErr != nil {
		return nil, g.readErr
	}
	files, err := folder(g.fsys)
	if err != nil || g.to == 0 {
		return files, err
	}
	i := slices.IndexFunc(files, func(f file) bool { return f.version == g.to })
	if i < 0 {
		return nil, &FolderError{Text: fmt.Sprintf("no file has version %d, which is to be reached", g.to),
			Way: fmt.Sprintf("the newest is %d (%s)", files[len(files)-1].version, files[len(files)-1].name)}
	}
	return files[:i+1], nil
}

// pending takes away what is done, and refuses a file that came late where its tool does: its author wrote it for the schema before
// those that are in place already. What another tool than goose does with one, its [sqlrewrite.Records] know.
func (g *Goose) pending(files []file, done map[int64]bool) ([]file, error) {
	var newest int64
	for v := range done {
		if g.scripts == nil {
			newest = max(newest, v)
		}
	}
	var list []file
	for _, f := range files {
		if done[f.version] {
			continue
		}
		if f.version < newest {
			return nil, &FolderError{File: f.name, Text: fmt.Sprintf("was never applied, but the later version %d was", newest),
				Way: "give the file a number above it, or apply it by hand"}
		}
		list = append(list, f)
	}
	return list, g.lasting(list)
}

// Pending counts the migrations that Migrate would run. It changes nothing.
func (g *Goose) Pending(ctx context.Context, dsn string) (int, error) {
	files, err := g.wanted()
	if err != nil {
		return 0, err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer postgres.HangUp(ctx, conn)
	done, err := g.recorded(ctx, conn)
	if err != nil {
		return 0, err
	}
	files, err = g.pending(files, done)
	return len(files), err
}

// Down takes back the migrations above version to, newest first, where each has a way back; otherwise it changes
// nothing and the error names the first that has none.
func (g *Goose) Down(ctx context.Context, dsn string, to int64) error {
	files, err := folder(g.fsys)
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
	files = slices.DeleteFunc(files, func(f file) bool { return f.version <= to || !done[f.version] })
	for _, f := range files {
		if !f.down {
			return &FolderError{File: f.name, Text: "has no way back", Way: "restore the database from before it"}
		}
	}
	db, err := g.open(ctx, dsn, conn)
	if err != nil {
		return err
	}
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, g.fsys, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	for _, f := range slices.Backward(files) {
		back := func(ctx context.Context) error { _, err := provider.ApplyVersion(ctx, f.version, false); return err }
		if g.budget != nil && !f.noTx {
			err = postgres.Retry(ctx, *g.budget, back)
		} else {
			err = back(ctx)
		}
		if err != nil {
			return &Error{Version: f.version, File: f.name, Err: err, Whole: !f.noTx}
		}
	}
	return nil
}

// recorded lists the versions that are in place: those that the vendor's own table has, or goose's, and the baseline.
func (g *Goose) recorded(ctx context.Context, conn *pgx.Conn) (map[int64]bool, error) {
	var done map[int64]bool
	some := false // the tool's own table knows better than a baseline
	var err error
	if g.vendorRecords() {
		done, some, err = g.vendorHas(ctx, conn)
	} else if done, err = gooseVersions(ctx, conn); err == nil {
		err = g.known(ctx, conn, done)
	}
	if err != nil || some {
		return done, err
	}
	base, err := g.baseline()
	if err != nil {
		return nil, err
	}
	if err := g.contradicts(done, base); err != nil {
		return nil, err
	}
	if done == nil && len(base) > 0 {
		done = map[int64]bool{}
	}
	for _, v := range base {
		done[v] = true
	}
	return done, nil
}

// contradicts refuses a baseline with files that goose's table, where it has any, doesn't have: they would be left out, and those after
// them run on a schema that they were not written for.
func (g *Goose) contradicts(done map[int64]bool, base []int64) error {
	if g.vendorRecords() || len(base) == 0 || !slices.ContainsFunc(slices.Collect(maps.Keys(done)), func(v int64) bool { return v > 0 }) {
		return nil
	}
	for _, v := range base {
		if !done[v] {
			return &FolderError{Text: fmt.Sprintf("goose_db_version does not have version %d, and from (%d) says that the database has it", v, base[len(base)-1]),
				Way: "leave from out: the table says what the database has; or mend the table, if it is wrong"}
		}
	}
	return nil
}

// known refuses a database of which plain files don't tell what it has.
func (g *Goose) known(ctx context.Context, conn *pgx.Conn, done map[int64]bool) error {
	if g.scripts == nil || g.scripts.Format != sqlrewrite.PlainFormat {
		return nil
	}
	if len(done) == 0 {
		return g.otherTool(ctx, conn)
	}
	files, err := folder(g.fsys)
	if err != nil {
		return err
	}
	for v := range done {
		if v > 0 && !slices.ContainsFunc(files, func(f file) bool { return f.version == v }) {
			return &FolderError{Text: fmt.Sprintf("goose_db_version has version %d, which is no file's number: what the database has can't be told", v),
				Way: "put the file back, or mend goose_db_version: it has the numbers that the files begin with"}
		}
	}
	return nil
}

// vendorHas is what the vendor's own tool has migrated, or we in its place; some is false where its table has none.
func (g *Goose) vendorHas(ctx context.Context, conn *pgx.Conn) (done map[int64]bool, some bool, _ error) {
	const exists = `SELECT pg_catalog.to_regclass($1) IS NOT NULL`
	r := g.scripts.Records()
	var there bool
	if err := conn.QueryRow(ctx, exists, r.Table).Scan(&there); err != nil {
		return nil, false, err
	}
	if !there {
		return nil, false, g.unbegun(ctx, conn)
	}
	rows, err := conn.Query(ctx, r.Read)
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", r.Table, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", r.Table, err)
	}
	scripts, err := g.scripts.InPlace(list)
	if err != nil {
		return nil, false, err
	}
	done = map[int64]bool{}
	for _, s := range scripts {
		v, err := sqlrewrite.Version(s.Target())
		if err != nil {
			return nil, false, fmt.Errorf("migrations: %w", err)
		}
		done[v] = true
		some = some || s.Record() != ""
	}
	return done, some, nil
}

// prepare makes the table of versions, and notes the baseline in it.
func (g *Goose) prepare(ctx context.Context, conn *pgx.Conn) error {
	base, err := g.baseline()
	if err != nil {
		return err
	}
	if !g.vendorRecords() {
		if len(base) == 0 {
			return nil // goose's is made when the first file is noted
		}
		const note = `INSERT INTO goose_db_version (version_id, is_applied)
			SELECT v, true FROM pg_catalog.unnest($1::bigint[]) v WHERE NOT EXISTS (SELECT FROM goose_db_version g WHERE g.version_id = v AND g.is_applied) ORDER BY v`
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := ensureVersions(ctx, tx); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, note, base); err != nil {
				return fmt.Errorf("note the baseline: %w", err)
			}
			return nil
		})
	}
	r := g.scripts.Records()
	if r.Create == "" {
		return nil
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, r.Create); err != nil {
			return fmt.Errorf("prepare %s: %w", r.Table, err)
		}
		done, some, err := g.vendorHas(ctx, conn)
		if err != nil {
			return err
		}
		if r.Newest && len(base) > 0 {
			base = base[len(base)-1:]
		}
		for _, s := range g.scripts.Scripts {
			v, err := sqlrewrite.Version(s.Target())
			if err != nil {
				return err
			}
			if done[v] || !slices.Contains(base, v) || r.Newest && some {
				continue
			}
			if _, err := tx.Exec(ctx, s.Record()); err != nil {
				return fmt.Errorf("note the baseline in %s: %w", r.Table, err)
			}
		}
		return nil
	})
}

func gooseVersions(ctx context.Context, conn *pgx.Conn) (map[int64]bool, error) {
	const exists = `SELECT pg_catalog.to_regclass('goose_db_version') IS NOT NULL`
	const versions = `SELECT DISTINCT version_id FROM goose_db_version WHERE is_applied`
	var there bool
	if err := conn.QueryRow(ctx, exists).Scan(&there); err != nil || !there {
		return nil, err
	}
	rows, err := conn.Query(ctx, versions)
	if err != nil {
		return nil, fmt.Errorf("read goose_db_version: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("read goose_db_version: %w", err)
	}
	done := map[int64]bool{}
	for _, v := range list {
		done[v] = true
	}
	return done, nil
}

// settings is what a session has beside what the database sets ([Goose.asTheDatabase]), which bulk, delta and the oracle's database have in
// common ([postgres.Likeness]). The migrations' names mean those of our schema first.
func (g *Goose) settings(path string) string {
	s := "SET search_path = " + path
	if g.budget != nil {
		ms := g.budget.Timeout.Milliseconds()
		if ms <= 0 {
			ms = postgres.DefaultBudget().Timeout.Milliseconds()
		}
		return s + fmt.Sprintf("; SET statement_timeout = 0; SET lock_timeout = %d", ms)
	}
	return s + "; SET lock_timeout = 0; SET statement_timeout = 0"
}

func (g *Goose) connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	conn, err := postgres.Connect(ctx, "migrate", dsn)
	if err != nil {
		return nil, err
	}
	schemas, err := g.asTheDatabase(ctx, conn)
	for _, s := range schemas {
		if err == nil {
			err = postgres.Unshadowed(ctx, conn, "the migrations' database", s)
		}
	}
	if err == nil {
		if _, err = conn.Exec(ctx, g.settings(searchPath(schemas))); err != nil {
			err = fmt.Errorf("prepare a session: %w", err)
		}
	}
	if err != nil {
		postgres.HangUp(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// open gives goose sessions of its own, which are as like is.
func (g *Goose) open(ctx context.Context, dsn string, like *pgx.Conn) (*sql.DB, error) {
	var path string
	if err := like.QueryRow(ctx, `SELECT pg_catalog.current_setting('search_path')`).Scan(&path); err != nil {
		return nil, fmt.Errorf("prepare a session: %w", err)
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("migrate: the connection string can't be read")
	}
	postgres.Configure(config, "migrate")
	ours := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := ours(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, resetReading+"; "+g.settings(path)).ReadAll()
		return err
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(2) // goose holds one and may ask for another
	return db, nil
}
