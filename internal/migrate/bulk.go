package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// AsWritten runs offline migrations one after the other, each file as it is.
func AsWritten() Option { return func(g *Goose) { g.asWritten = true } }

// Timing says how long a statement of an offline migration took.
type Timing struct {
	File string // as its author has named it
	Name string // as [Applied] is told it
	Line int
	What string // the statement without values, and what was made of it
	Took time.Duration
	Done int // statements so far, of Total
	Of   int
}

// Timed tells f of each statement of an offline migration once its transaction is committed; one call at a time. Of a
// database that is small, and of files that run as they are, it tells nothing: see [Applied].
func Timed(f func(Timing)) Option { return func(g *Goose) { g.timed = f } }

// largeDatabase is the size from which arranging statements saves more than it costs.
const largeDatabase = 8 << 20

// migrateOffline runs the pending files on a database that nobody uses: together where they can be, otherwise each as it
// is. conn holds the lock that keeps other migrations away.
func (g *Goose) migrateOffline(ctx context.Context, conn *pgx.Conn, dsn string, files []file, applied Applied) error {
	scripts := g.joinable(files)
	for len(files) > 0 {
		n := 0
		for n < len(files) && scripts[files[n].version] != nil {
			n++
		}
		if n == 0 {
			if err := g.asTheyAre(ctx, conn, dsn, files[:1], applied); err != nil {
				return err
			}
			files = files[1:]
			continue
		}
		if err := g.together(ctx, conn, dsn, files[:n], scripts, applied); err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

// joinable gives the scripts that may share transactions, by version. What sqlrewrite can't read, goose runs as it is.
func (g *Goose) joinable(files []file) map[int64]*sqlrewrite.Script {
	m := map[int64]*sqlrewrite.Script{}
	if g.asWritten {
		return m
	}
	s := g.scripts
	if s == nil {
		var err error
		if s, err = sqlrewrite.ReadFolder(sqlOnly{g.fsys}, sqlrewrite.GooseFormat); err != nil {
			return m
		}
	}
	for _, script := range s.Scripts {
		v, err := sqlrewrite.Version(script.Target())
		if err == nil && script.Joinable() && slices.ContainsFunc(files, func(f file) bool { return f.version == v }) {
			m[v] = script
		}
	}
	return m
}

// vendorRecords: the files are noted in the vendor's own table by what they do themselves, and nowhere else. The database ends
// as the vendor's command leaves it, without a table that its server doesn't know.
func (g *Goose) vendorRecords() bool {
	return g.scripts.Records() != nil
}

// asTheyAre runs files one after the other: goose does, or we do as pop would.
func (g *Goose) asTheyAre(ctx context.Context, conn *pgx.Conn, dsn string, files []file, applied Applied) error {
	if g.vendorRecords() {
		return g.asVendor(ctx, conn, files, applied)
	}
	db, err := g.open(ctx, dsn, conn)
	if err != nil {
		return err
	}
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, g.fsys, goose.WithVerbose(false),
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	for _, f := range files {
		began := time.Now()
		if _, err := provider.ApplyVersion(ctx, f.version, true); err != nil {
			return &Error{Version: f.version, File: f.name, Err: err, Whole: !f.noTx}
		}
		if applied != nil {
			applied(f.version, f.name, time.Since(began))
		}
	}
	return nil
}

// asVendor runs each file in a transaction that it records itself in; one that wants none, statement by statement.
func (g *Goose) asVendor(ctx context.Context, conn *pgx.Conn, files []file, applied Applied) error {
	own, err := sessionOf(ctx, conn)
	if err != nil {
		return err
	}
	for _, f := range files {
		i := slices.IndexFunc(g.scripts.Scripts, func(s *sqlrewrite.Script) bool { return s.Target() == f.name })
		if i < 0 {
			return &FolderError{File: f.name, Text: "is not among the files that were read", Way: "begin again"}
		}
		s, began := g.scripts.Scripts[i], time.Now()
		var err error
		if s.NoTransaction {
			for _, st := range s.Up {
				if _, err = conn.PgConn().Exec(ctx, st.SQL).ReadAll(); err != nil {
					break
				}
			}
		} else {
			err = pgx.BeginFunc(ctx, conn, func(pgx.Tx) error {
				_, err := conn.PgConn().Exec(ctx, textOf(s)).ReadAll()
				return err
			})
		}
		if err != nil {
			return &Error{Version: f.version, File: s.Name, Err: err, Whole: !s.NoTransaction}
		}
		if err := own.restore(ctx, conn); err != nil {
			return err
		}
		if applied != nil {
			applied(f.version, f.name, time.Since(began))
		}
	}
	return nil
}

// textOf is a script as one text, its record included.
func textOf(s *sqlrewrite.Script) string {
	var b strings.Builder
	for _, st := range s.Up {
		b.WriteString(st.SQL + ";\n")
	}
	return b.String()
}

// together runs files whose scripts may share transactions. All their versions are recorded at once, when all is done.
func (g *Goose) together(ctx context.Context, conn *pgx.Conn, dsn string, files []file, scripts map[int64]*sqlrewrite.Script, applied Applied) error {
	if !g.vendorRecords() {
		if err := ensureVersions(ctx, conn); err != nil {
			return err
		}
	}
	var list []*sqlrewrite.Script
	for _, f := range files {
		list = append(list, scripts[f.version])
	}
	begun, err := bulkBegun(ctx, conn)
	if err != nil {
		return err
	}
	small, err := g.small(ctx, conn)
	if err != nil {
		return err
	}
	if small && !begun {
		took, err := g.inOne(ctx, conn, files, list, applied != nil)
		if err == nil {
			tellAll(applied, files, func(i int) time.Duration { return took[i] })
			return nil
		}
		if postgres.Code(err) == "" {
			return err
		}
		// As they are: either that works, since they don't depend on one transaction, or the error names the file.
		return g.asTheyAre(ctx, conn, dsn, files, applied)
	}
	b := &bulk{goose: g, dsn: dsn, files: files, scripts: list, names: map[string]string{}, versions: map[string]int64{}, took: map[string]time.Duration{}}
	for i, s := range list {
		b.names[s.Name], b.versions[s.Name] = files[i].name, files[i].version
	}
	if err := b.run(ctx, conn, begun); err != nil {
		return err
	}
	tellAll(applied, files, func(i int) time.Duration { return b.took[list[i].Name] })
	return nil
}

func tellAll(applied Applied, files []file, took func(i int) time.Duration) {
	for i, f := range files {
		if applied != nil {
			applied(f.version, f.name, took(i))
		}
	}
}

func (g *Goose) small(ctx context.Context, conn *pgx.Conn) (bool, error) {
	const sql = `SELECT coalesce(sum(pg_catalog.pg_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')`
	var size int64
	if err := conn.QueryRow(ctx, sql, g.schema).Scan(&size); err != nil {
		return false, fmt.Errorf("ask for the size of schema %q: %w", g.schema, err)
	}
	return size < g.large, nil
}

// inOne runs the scripts in one transaction: one by one where somebody wants to know how long each takes, else in one go, since
// a delta is what a switch waits for.
func (g *Goose) inOne(ctx context.Context, conn *pgx.Conn, files []file, scripts []*sqlrewrite.Script, each bool) (took []time.Duration, err error) {
	took = make([]time.Duration, len(scripts))
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var text strings.Builder
		for i, s := range scripts {
			text.WriteString(textOf(s))
			if !each && i < len(scripts)-1 {
				continue
			}
			began := time.Now()
			if _, err := conn.PgConn().Exec(ctx, text.String()).ReadAll(); err != nil {
				return err
			}
			took[i] = time.Since(began)
			text.Reset()
		}
		return g.recordVersions(ctx, tx, files)
	})
	return took, err
}

// ensureVersions makes goose's own table as goose does.
func ensureVersions(ctx context.Context, db postgres.Execer) error {
	const table = `CREATE TABLE IF NOT EXISTS goose_db_version (
		id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now())`
	const first = `INSERT INTO goose_db_version (version_id, is_applied) SELECT 0, true WHERE NOT EXISTS (SELECT FROM goose_db_version)`
	for _, sql := range []string{table, first} {
		if _, err := db.Exec(ctx, sql); err != nil {
			return fmt.Errorf("prepare goose_db_version: %w", err)
		}
	}
	return nil
}

// recordVersions notes files in goose's table, where the vendor has none of its own.
func (g *Goose) recordVersions(ctx context.Context, db postgres.Execer, files []file) error {
	if g.vendorRecords() {
		return nil
	}
	const record = `INSERT INTO goose_db_version (version_id, is_applied) SELECT v, true FROM pg_catalog.unnest($1::bigint[]) WITH ORDINALITY u(v, n) ORDER BY n`
	if _, err := db.Exec(ctx, record, versionsOf(files)); err != nil {
		return fmt.Errorf("record the versions: %w", err)
	}
	return nil
}

func versionsOf(files []file) []int64 {
	var list []int64
	for _, f := range files {
		list = append(list, f.version)
	}
	return list
}

func namesOf(files []file) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.name)
	}
	return list
}

// Arrangement is what Migrate would do with pending files. Either Tasks or Alone is empty.
type Arrangement struct {
	Tasks []sqlrewrite.Task `json:"tasks"`           // of the first files, as far as they run together
	Alone []string          `json:"alone,omitempty"` // the first file, if it runs by itself, as written
	Later []string          `json:"later,omitempty"` // files that are looked at when the first ones are done
}

// Arrange works out what Migrate would do next. It changes nothing.
func (g *Goose) Arrange(ctx context.Context, dsn string) (Arrangement, error) {
	a := Arrangement{Tasks: []sqlrewrite.Task{}}
	files, err := g.wanted()
	if err != nil {
		return a, err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return a, err
	}
	defer postgres.HangUp(ctx, conn)
	done, err := g.recorded(ctx, conn)
	if err != nil {
		return a, err
	}
	if files, err = g.pending(files, done); err != nil || len(files) == 0 {
		return a, err
	}
	scripts, n := g.joinable(files), 0
	var list []*sqlrewrite.Script
	for ; n < len(files) && scripts[files[n].version] != nil; n++ {
		list = append(list, scripts[files[n].version])
	}
	if n == 0 {
		a.Alone, n = []string{files[0].name}, 1
	} else {
		c, err := catalogOf(ctx, conn, g.schema)
		if err != nil {
			return a, err
		}
		a.Tasks = sqlrewrite.Bulk(list, c)
	}
	for _, f := range files[n:] {
		a.Later = append(a.Later, f.name)
	}
	return a, nil
}
