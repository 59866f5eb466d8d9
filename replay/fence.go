package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// forever is a fence that has no end: the sequence's highest value.
const forever = math.MaxInt64

// raiseSQL takes microseconds; 0 is forever.
const raiseSQL = `
SELECT pg_catalog.setval('tideover.fence', greatest(last_value, CASE $1::bigint WHEN 0 THEN 9223372036854775807
	ELSE (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $1 END))
FROM tideover.fence`

// FencedCode is the SQLSTATE of a write that the fence refused.
const FencedCode = "TD001"

// raiseWithin bounds Raise where its context has no deadline.
const raiseWithin = 10 * time.Second

// lowerReserve is what Raise keeps of its deadline for lowering the fence again.
const lowerReserve = 200 * time.Millisecond

// Fence makes a database refuse every write to its tables, in whatever schema and whether or not a profile names them, and
// whichever way the writer comes: any role, COPY, TRUNCATE, cascades, session_replication_role = replica. Only sessions of ours
// get through, which know the word of postgres.PassSQL.
//
// Its state is the value of a sequence: until when writes are refused, in microseconds since 1970 by the database's
// clock; 0 is open. A fence that has an end opens by itself where the process that raised it dies, and Keep takes the
// end away once it is certain that it has not come. A row of a table would be versioned: a writer whose
// REPEATABLE READ snapshot is older than the fence would read "open" for as long as its transaction lives, and a
// locking read, which would see the present, takes a row lock for every statement of a busy server. A sequence's only
// tuple is overwritten in place and is visible to every snapshot (Postgres manual 9.17: setval is never rolled back
// and its effect is immediate), so that a plain SELECT of last_value reads the present and locks nothing.
//
// The order makes it tight. A writer takes ROW EXCLUSIVE on its table before its statement's triggers read the
// sequence; Raise sets the sequence and then asks for SHARE on each table, which waits for every holder of ROW
// EXCLUSIVE. So whoever read "open" is waited for, and whoever comes later reads "fenced".
type Fence struct {
	db     *postgres.DB
	schema string   // whose tables go by their bare names
	others []string // tables of others, which it leaves alone: "schema.table" or "schema.*"
}

// NewFence is the fence of a database. The tables of schema, "" is "public", are named without it in errors. others are left
// alone: "schema.table" or "schema.*".
func NewFence(db *postgres.DB, schema string, others ...string) *Fence {
	if schema == "" {
		schema = "public"
	}
	return &Fence{db: db, schema: schema, others: others}
}

// fenceSQL makes the fence's state and its trigger function. The function is never planned against a table of the
// server, and does not look at the clock while the fence is open. It has no search_path of its own, which would cost more
// than all the rest: each name in it is qualified, operators too.
const fenceSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;` + postgres.PassSQL + `
CREATE SEQUENCE IF NOT EXISTS tideover.fence MINVALUE 0 START 0;
CREATE OR REPLACE FUNCTION tideover.refuse_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	refused_until CONSTANT pg_catalog.int8 := (SELECT last_value FROM tideover.fence);
BEGIN
	IF refused_until OPERATOR(pg_catalog.<>) 0
			AND refused_until OPERATOR(pg_catalog.>) (extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000) THEN
		IF ` + postgres.Passed + ` IS NOT TRUE THEN -- apart, since it is dearer than all that is asked of an open fence
			RAISE EXCEPTION 'tideover: writes have moved to the other side'
				USING ERRCODE = 'TD001', HINT = 'send the request to the router again', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
		END IF;
	END IF;
	RETURN NULL;
END $$;` + postgres.KeepSQL

// guardedSQL are the tables of a database, partitions too, but for the system's, ours and those of others ($1). A statement on the
// table that one inherits from fires its statement triggers and not those of the heir, whose rows it writes.
const guardedSQL = `
SELECT c.oid, n.nspname, c.relname, NOT c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) AS heir
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN ('tideover', 'information_schema', 'pg_catalog', 'pg_toast')
	AND (n.nspname || '.' || c.relname) <> ALL ($1::pg_catalog.text[]) AND (n.nspname || '.*') <> ALL ($1)`

// fencedTablesSQL lists the guarded tables, and whether their triggers are there and fire always.
const fencedTablesSQL = `
SELECT g.nspname, g.relname, g.heir, count(t.oid) = 2 + g.heir::int
FROM (` + guardedSQL + `) g
LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = g.oid AND t.tgname IN ('tideover_fence', 'tideover_fence_truncate', 'tideover_fence_rows')
	AND t.tgenabled = 'A' AND t.tgfoid = pg_catalog.to_regprocedure('tideover.refuse_write()')
GROUP BY g.nspname, g.relname, g.heir ORDER BY g.nspname <> $2, g.nspname, g.relname`

// guarded is a table that the fence protects.
type guarded struct {
	schema, name string
	heir         bool // inherits from another, and is no partition
}

func (g guarded) ident() string { return pgx.Identifier{g.schema, g.name}.Sanitize() }

// shown is how people call the table.
func (f *Fence) shown(g guarded) string {
	if g.schema == f.schema {
		return g.name
	}
	return g.schema + "." + g.name
}

func (f *Fence) tables(ctx context.Context) (all, missing []guarded, err error) {
	fail := func(err error) ([]guarded, []guarded, error) {
		return nil, nil, fmt.Errorf("list the tables of %s: %w", f.db.Name(), err)
	}
	rows, err := f.db.Pool().Query(ctx, fencedTablesSQL, append([]string{}, f.others...), f.schema)
	if err != nil {
		return fail(err)
	}
	var g guarded
	var fenced bool
	_, err = pgx.ForEachRow(rows, []any{&g.schema, &g.name, &g.heir, &fenced}, func() error {
		all = append(all, g)
		if !fenced {
			missing = append(missing, g)
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return all, missing, nil
}

// Missing lists the tables that the fence would not protect, such as one that was created after Install.
func (f *Fence) Missing(ctx context.Context) ([]string, error) {
	_, missing, err := f.tables(ctx)
	return f.names(missing), err
}

func (f *Fence) names(all []guarded) []string {
	var names []string
	for _, g := range all {
		names = append(names, f.shown(g))
	}
	return names
}

// Install puts the triggers on every table that has not got them. The fence stays as it is, open at first. It may be
// called again at any time: one table is one transaction.
func (f *Fence) Install(ctx context.Context, budget postgres.Budget) error {
	err := f.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fenceSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("install the fence on %s: %w", f.db.Name(), err)
	}
	f.db.Renew()
	_, missing, err := f.tables(ctx)
	if err != nil {
		return err
	}
	for _, table := range missing {
		name := table.ident()
		// CREATE OR REPLACE keeps the trigger where it is there already but does not fire always.
		sql := `CREATE OR REPLACE TRIGGER tideover_fence BEFORE INSERT OR UPDATE OR DELETE ON ` + name + `
	FOR EACH STATEMENT EXECUTE FUNCTION tideover.refuse_write();
CREATE OR REPLACE TRIGGER tideover_fence_truncate BEFORE TRUNCATE ON ` + name + `
	FOR EACH STATEMENT EXECUTE FUNCTION tideover.refuse_write();
ALTER TABLE ` + name + ` ENABLE ALWAYS TRIGGER tideover_fence, ENABLE ALWAYS TRIGGER tideover_fence_truncate`
		if table.heir {
			sql += `; CREATE OR REPLACE TRIGGER tideover_fence_rows AFTER INSERT OR UPDATE OR DELETE ON ` + name + `
	FOR EACH ROW EXECUTE FUNCTION tideover.refuse_write(); ALTER TABLE ` + name + ` ENABLE ALWAYS TRIGGER tideover_fence_rows`
		}
		if err := f.exec(ctx, budget, sql); err != nil {
			return notOurs(fmt.Errorf("put the fence on table %q of %s: %w", f.shown(table), f.db.Name(), err), table)
		}
	}
	return nil
}

// Remove takes the fence away, table by table, and its state last: until then it goes on refusing where it is raised.
func (f *Fence) Remove(ctx context.Context, budget postgres.Budget) error {
	all, _, err := f.tables(ctx)
	if err != nil {
		return err
	}
	for _, table := range all {
		name := table.ident()
		sql := `DROP TRIGGER IF EXISTS tideover_fence ON ` + name + `; DROP TRIGGER IF EXISTS tideover_fence_truncate ON ` + name + `;
DROP TRIGGER IF EXISTS tideover_fence_rows ON ` + name
		if err := f.exec(ctx, budget, sql); err != nil {
			return fmt.Errorf("take the fence off table %q of %s: %w", f.shown(table), f.db.Name(), err)
		}
	}
	// By its name alone the function would be looked for in a schema that may not be there any more.
	const sql = `DO $$ BEGIN
	IF to_regnamespace('tideover') IS NOT NULL THEN
		DROP FUNCTION IF EXISTS tideover.refuse_write();
		DROP SEQUENCE IF EXISTS tideover.fence;
	END IF;
END $$;` + postgres.NoPassSQL
	if err := f.exec(ctx, budget, sql); err != nil {
		return fmt.Errorf("remove the fence of %s: %w", f.db.Name(), err)
	}
	return nil
}

func (f *Fence) exec(ctx context.Context, budget postgres.Budget, sql string) error {
	return f.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// Raised says whether writes are refused now. A database without the fence is open.
func (f *Fence) Raised(ctx context.Context) (bool, error) {
	until, now, err := f.read(ctx)
	return until > now, err
}

// read returns until when writes are refused and the database's clock, both in microseconds since 1970. Where there is
// no fence, until is 0.
func (f *Fence) read(ctx context.Context) (until, now int64, err error) {
	var there bool
	const look = `SELECT pg_catalog.to_regclass('tideover.fence') IS NOT NULL`
	if err := f.db.Pool().QueryRow(ctx, look).Scan(&there); err != nil {
		return 0, 0, fmt.Errorf("look for the fence of %s: %w", f.db.Name(), err)
	}
	if !there {
		return 0, 0, nil
	}
	const sql = `SELECT last_value, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM tideover.fence`
	if err := f.db.Pool().QueryRow(ctx, sql).Scan(&until, &now); err != nil {
		return 0, 0, fmt.Errorf("read the fence of %s: %w", f.db.Name(), err)
	}
	return until, now, nil
}

func (f *Fence) set(ctx context.Context, value int64) error {
	_, err := f.db.Pool().Exec(ctx, `SELECT pg_catalog.setval('tideover.fence', $1)`, value)
	return err
}

// Lower lets writers in again. It is no error where there is no fence.
func (f *Fence) Lower(ctx context.Context) error {
	until, _, err := f.read(ctx)
	if err != nil || until == 0 {
		return err
	}
	if err := f.set(ctx, 0); err != nil {
		return fmt.Errorf("lower the fence of %s: %w", f.db.Name(), err)
	}
	return nil
}

// Keep makes a raised fence refuse writes until Lower. The error is [ErrFenceOpen] where it is down or its end came
// first: somebody may have written since.
func (f *Fence) Keep(ctx context.Context) error {
	before, _, err := f.read(ctx)
	if err != nil || before == forever {
		return err
	}
	if before == 0 {
		return fmt.Errorf("%s: %w", f.db.Name(), ErrFenceOpen)
	}
	if err := f.set(ctx, forever); err != nil {
		return fmt.Errorf("keep the fence of %s: %w", f.db.Name(), err)
	}
	// The clock is read after the fence was made to stay: if the end has not come by now, nobody has seen it open.
	_, now, err := f.read(ctx)
	if err == nil && now < before {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s: %w", f.db.Name(), ErrFenceOpen)
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, f.set(back, before))
}

// ErrFenceOpen says that writes are not refused any more, or may not have been for a while.
var ErrFenceOpen = errors.New("the fence has been open since it was raised")

// Raise refuses writes from now on, for a time or, with 0, until Lower, and returns when every write that was under way
// has ended. Its deadline is the context's, or ten seconds. Where a writer holds out longer, the error is a
// [*WriterError] that names it; on every error the fence is lowered again. Raising it twice is no error, and makes the
// time no shorter.
func (f *Fence) Raise(ctx context.Context, d time.Duration) (err error) {
	all, missing, err := f.tables(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("raise the fence of %s: no trigger on %s: install the fence again", f.db.Name(), strings.Join(f.names(missing), ", "))
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(raiseWithin)
	}
	deadline = deadline.Add(-lowerReserve)
	conn, err := f.db.ConnectAs(ctx, "fence")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, f.Lower(ctx))
	}()
	// The wait for a lock is also what makes a running autovacuum give way, after deadlock_timeout. Only superusers
	// may shorten it; others wait a second.
	if _, err := conn.Exec(ctx, `SET deadlock_timeout = '10ms'`); err != nil && postgres.Code(err) != "42501" {
		return fmt.Errorf("raise the fence of %s: %w", f.db.Name(), err)
	}
	if _, err := conn.Exec(ctx, raiseSQL, d.Microseconds()); err != nil {
		return fmt.Errorf("raise the fence of %s: %w", f.db.Name(), err)
	}
	for _, table := range all {
		if err := f.await(ctx, conn, table, time.Until(deadline)); err != nil {
			return err
		}
	}
	return nil
}

// await waits for the writers of one table, in a transaction of its own: a writer under way may want the next table,
// and two locks at once would be a deadlock.
func (f *Fence) await(ctx context.Context, conn *pgx.Conn, table guarded, within time.Duration) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := postgres.WithLockTimeout(ctx, tx, within); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `LOCK TABLE ONLY `+table.ident()+` IN SHARE MODE`)
		return err
	})
	switch {
	case err == nil:
		return nil
	case postgres.Code(err) == "42P01": // dropped meanwhile
		return nil
	case postgres.Code(err) == "55P03" || ctx.Err() != nil:
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return &WriterError{Side: f.db.Name(), Table: f.shown(table), Writers: f.writers(look, table), Err: err}
	}
	return fmt.Errorf("raise the fence of %s: table %q: %w", f.db.Name(), f.shown(table), err)
}

func (f *Fence) writers(ctx context.Context, table guarded) []string {
	const sql = `
SELECT coalesce('pid ' || l.pid, 'a prepared transaction') || coalesce(' (' || nullif(a.application_name, '') || ')', '')
	|| coalesce(', ' || a.state, '') || coalesce(', in a transaction since ' || date_trunc('second', a.xact_start)::text, '')
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.relation = pg_catalog.to_regclass($1) AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
	AND l.mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
	AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`
	rows, err := f.db.Pool().Query(ctx, sql, table.ident())
	if err != nil {
		return nil
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil
	}
	return found
}

// WriterError says that a write was still under way when the fence's deadline came. The fence is open again.
type WriterError struct {
	Side    string
	Table   string
	Writers []string // who holds the table, as far as it could be seen
	Err     error
}

func (e *WriterError) Error() string {
	who := "a writer"
	if len(e.Writers) > 0 {
		who = strings.Join(e.Writers, "; ")
	}
	return fmt.Sprintf("raise the fence of %s: table %q is still being written by %s: %v", e.Side, e.Table, who, e.Err)
}

func (e *WriterError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *WriterError) Hint() string {
	return "the fence is open again and nothing is lost; wait for that transaction or end it (pg_terminate_backend), then try again"
}

// notOurs puts a hint to an error that says that a table belongs to somebody else.
func notOurs(err error, table guarded) error {
	if postgres.Code(err) != pgerrcode.InsufficientPrivilege {
		return err
	}
	return &ownerError{err, table.schema + "." + table.name}
}

type ownerError struct {
	error
	table string
}

func (e *ownerError) Unwrap() error { return e.error }

func (e *ownerError) Hint() string {
	return "only a table's owner can guard it: GRANT its owner's role to ours, or, where its writes need not come to green, list " + e.table + " under `others:` in the profile"
}

// alone lets one installation run at a time: CREATE ... IF NOT EXISTS of two sessions can collide in the catalog. Nobody else's code
// is to see what it makes.
func alone(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tideover.install'))`); err != nil {
		return err
	}
	return postgres.Unwatched(ctx, tx, "the database")
}
