package replay

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
)

// scratch makes databases of blue's empty schema on green's server, in green's locale and with its settings. One is kept ready, so that a batch in the hold need
// not wait for it; used ones are dropped in a quiet moment, because DROP DATABASE waits for a checkpoint.
type scratch struct {
	green    *postgres.DB
	base     string // of the names; its own for each green database
	template string
	like     postgres.Likeness // of green
	ready    string
	taken    string // by the batch under way, or the last
	spent    []string
}

// manySpent is how many used databases may wait for a quiet moment: each has some megabytes of catalogs.
const manySpent = 16

// name is a new one each time: the backend of a process that was killed may still be making its database.
func (s *scratch) name() string {
	return s.base + "_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
}

// prepare drops what an earlier process left, makes the template anew, and a first database of it. The caller holds
// the replayer's lock, so that nobody else uses them.
func (s *scratch) prepare(ctx context.Context, schema func(ctx context.Context, into string) error) error {
	if err := s.close(ctx); err != nil {
		return err
	}
	var err error
	if s.like, err = postgres.LikenessOf(ctx, s.green.Pool()); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	s.template = s.name()
	if err := s.like.Create(ctx, s.green.Pool(), s.template, ""); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	dsn, err := postgres.WithDatabase(s.green.DSN(), s.template)
	if err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	if err := schema(ctx, dsn); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	return s.refresh(ctx)
}

// take gives the DSN of an empty database of blue's schema.
func (s *scratch) take(ctx context.Context) (string, error) {
	if s.ready == "" {
		if err := s.create(ctx); err != nil {
			return "", err
		}
	}
	name := s.ready
	s.release()
	s.ready, s.taken = "", name
	for len(s.spent) > manySpent {
		if err := s.drop(ctx, s.spent[0]); err != nil {
			return "", err
		}
		s.spent = s.spent[1:]
	}
	dsn, err := postgres.WithDatabase(s.green.DSN(), name)
	if err != nil {
		return "", fmt.Errorf("scratch database: %w", err)
	}
	return dsn, nil
}

// release says that the batch that had a database needs it no more.
func (s *scratch) release() {
	if s.taken != "" {
		s.spent = append(s.spent, s.taken)
	}
	s.taken = ""
}

func (s *scratch) create(ctx context.Context) error {
	name := s.name()
	if err := s.like.Create(ctx, s.green.Pool(), name, s.template); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	s.ready = name
	return nil
}

// refresh makes the next database and drops those that are spent. It may run while a batch uses the one that it took.
func (s *scratch) refresh(ctx context.Context) error {
	if s.ready == "" {
		if err := s.create(ctx); err != nil {
			return err
		}
	}
	for len(s.spent) > 0 {
		if err := s.drop(ctx, s.spent[0]); err != nil {
			return err
		}
		s.spent = s.spent[1:]
	}
	return nil
}

// close drops all databases of this green, those of a process that died too. The caller holds the replayer's lock.
func (s *scratch) close(ctx context.Context) error {
	var green string
	if err := s.green.Pool().QueryRow(ctx, `SELECT pg_catalog.current_database()`).Scan(&green); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	sum := sha256.Sum256([]byte(green))
	s.base = "tideover_scratch_" + hex.EncodeToString(sum[:6])
	const list = `SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, $1)`
	rows, err := s.green.Pool().Query(ctx, list, s.base+"_")
	if err != nil {
		return fmt.Errorf("list the scratch databases: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the scratch databases: %w", err)
	}
	s.ready, s.taken, s.spent = "", "", nil
	var errs []error
	for _, name := range names {
		errs = append(errs, s.drop(ctx, name))
	}
	return errors.Join(errs...)
}

func (s *scratch) drop(ctx context.Context, name string) error {
	if err := postgres.DropDatabase(ctx, s.green.Pool(), name); err != nil {
		return fmt.Errorf("scratch database: %w", err)
	}
	return nil
}

// pipe copies the outcome of a query into a table, as text: it means the same in every Postgres and for every type,
// while the binary form of an array or a composite type has the numbers of one database's types in it.
func pipe(ctx context.Context, from *pgx.Conn, query string, to *pgx.Conn, into string) (int64, error) {
	r, w := io.Pipe()
	var g errgroup.Group // not with a context: its end would cut the other connection
	var n int64
	g.Go(func() error {
		_, err := from.PgConn().CopyTo(ctx, w, "COPY ("+query+") TO STDOUT")
		w.CloseWithError(err)
		return err
	})
	tag, err := to.PgConn().CopyFrom(ctx, r, "COPY "+into+" FROM STDIN")
	r.CloseWithError(cmp.Or(err, io.EOF))
	n = tag.RowsAffected()
	if sent := g.Wait(); sent != nil && (err == nil || !errors.Is(sent, err)) {
		return n, errors.Join(sent, err)
	}
	return n, err
}

// notValidSQL drops and puts back the checks that old rows need not pass: one that doesn't may be in a delta beside what was changed.
const notValidSQL = `
SELECT pg_catalog.format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, c.relname, k.conname),
	pg_catalog.format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid))
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND NOT k.convalidated AND k.coninhcount = 0 AND n.nspname <> 'tideover'
ORDER BY k.oid`

// load copies rows of blue, by their keys, into the scratch database. Foreign keys are not checked on the way and no
// trigger fires: blue's rows are taken as they are, as the bulk copy took them. Those triggers that fire all the same
// (ENABLE ALWAYS, ENABLE REPLICA) are off until the rows are there; the migrations find all of them as they were.
func (r *Replayer) load(ctx context.Context, tx pgx.Tx, to *pgx.Conn, rows map[string]*keySet) error {
	if err := r.loadAsleep(ctx, tx, to, rows); err != nil {
		return fmt.Errorf("load the delta: %w", err)
	}
	return nil
}

func (r *Replayer) loadAsleep(ctx context.Context, tx pgx.Tx, to *pgx.Conn, rows map[string]*keySet) error {
	firing, err := habits(ctx, to, firingSQL)
	if err != nil {
		return err
	}
	// What is computed from rows on their way in may call functions that find others by name, as on blue.
	before := "SET session_replication_role = replica; SET search_path = " + postgres.Path(schemaOf(r.Profile))
	after := "RESET session_replication_role; SET search_path = pg_catalog, pg_temp"
	for _, h := range firing {
		before += ";\n" + h.alter(true)
		after += ";\n" + h.alter(false)
	}
	rowsOf, err := to.Query(ctx, notValidSQL)
	if err != nil {
		return err
	}
	checks, err := pgx.CollectRows(rowsOf, pgx.RowToStructByPos[struct{ Drop, Add string }])
	if err != nil {
		return err
	}
	for _, c := range checks {
		before += ";\n" + c.Drop
		after += ";\n" + c.Add
	}
	if _, err := to.Exec(ctx, before, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	for _, table := range sortedNames(rows) {
		if len(rows[table].keys) == 0 {
			continue
		}
		rel := r.blue[table]
		columns := names(rel.writable())
		query := "SELECT " + columns.of("t") + " FROM " + rel.rows() + " t JOIN " +
			constants(rel, r.keys[table], rows[table].keys) + " ON " + rel.equal("t", r.keys[table], "k", numbered(len(r.keys[table])))
		if _, err := pipe(ctx, tx.Conn(), query, to, rel.ident()+" ("+columns.list()+")"); err != nil {
			return fmt.Errorf("table %q: %w", table, err)
		}
	}
	_, err = to.Exec(ctx, after, pgx.QueryExecModeSimpleProtocol)
	return err
}

// constants is unnest with the values written out: COPY takes no parameters.
func constants(rel *relation, columns []string, values []tuple) string {
	arrays := make([]string, len(columns))
	for i := range columns {
		var b strings.Builder
		b.WriteString("ARRAY[")
		for j, v := range values {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(literal(v[i]))
		}
		b.WriteString("]::pg_catalog.text[]")
		arrays[i] = b.String()
	}
	return typed(rel, columns, arrays, "k")
}

// names are column names.
type names []string

func (n names) list() string {
	parts := make([]string, len(n))
	for i, c := range n {
		parts[i] = pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(parts, ", ")
}

func (n names) of(alias string) string {
	parts := make([]string, len(n))
	for i, c := range n {
		parts[i] = alias + "." + pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(parts, ", ")
}
