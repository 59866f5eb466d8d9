package estimate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

const (
	sampleBytes = 32 << 20 // of blue's largest table
	madeRows    = 100_000  // on green, 13 MB, taken back
	changesOver = time.Second
	longest     = 20 * time.Second // one statement
)

// Measure looks at blue and green for a second or two. It writes nothing to blue, and what it makes on green is rolled back. A rate that
// can't be measured is 0; the error is for what kept it from looking at all.
func Measure(ctx context.Context, blue, green *postgres.DB) (f Facts, err error) {
	from, err := session(ctx, blue, "on")
	if err != nil {
		return f, err
	}
	defer postgres.HangUp(ctx, from)
	to, err := session(ctx, green, "off")
	if err != nil {
		return f, err
	}
	defer postgres.HangUp(ctx, to)

	began := time.Now()
	before, err := written(ctx, from)
	if err != nil {
		return f, fmt.Errorf("blue: %w", err)
	}
	if f.Tables, err = tables(ctx, from); err != nil {
		return f, fmt.Errorf("blue: %w", err)
	}
	if f.Writer, f.Unseen, err = oldestWriter(ctx, from); err != nil {
		return f, fmt.Errorf("blue: %w", err)
	}
	if err := f.Rates.read(ctx, from, f.Tables); lost(ctx, err) != nil {
		return f, fmt.Errorf("blue: %w", err)
	}
	if err := f.Rates.write(ctx, to); lost(ctx, err) != nil {
		return f, fmt.Errorf("green: %w", err)
	}
	if err := to.QueryRow(ctx, `SELECT setting::bigint << 20 FROM pg_catalog.pg_settings WHERE name = 'max_wal_size'`).Scan(&f.WAL); err != nil {
		return f, fmt.Errorf("green: %w", err)
	}
	select { // a rate over less says nothing
	case <-time.After(changesOver - time.Since(began)):
	case <-ctx.Done():
		return f, context.Cause(ctx)
	}
	after, err := written(ctx, from)
	if err != nil {
		return f, fmt.Errorf("blue: %w", err)
	}
	f.Rates.Changes = float64(max(0, after-before)) / time.Since(began).Seconds()
	return f, nil
}

// session waits for nobody's lock for long, and looks no name up where others may have put theirs.
func session(ctx context.Context, db *postgres.DB, readOnly string) (*pgx.Conn, error) {
	c, err := db.ConnectAs(ctx, "estimate")
	if err != nil {
		return nil, err
	}
	setup := fmt.Sprintf("SET statement_timeout = %d; SET lock_timeout = 500; SET search_path = pg_catalog; SET default_transaction_read_only = %s", longest.Milliseconds(), readOnly)
	if _, err := c.PgConn().Exec(ctx, setup).ReadAll(); err != nil {
		postgres.HangUp(ctx, c)
		return nil, fmt.Errorf("%s: %w", db.Name(), err)
	}
	return c, nil
}

// lost tells an answer of the server from a connection that is gone.
func lost(ctx context.Context, err error) error {
	if err == nil || postgres.Code(err) != "" && ctx.Err() == nil {
		return nil
	}
	return errors.Join(ctx.Err(), err)
}

// tables are what a copy takes: as internal/snapshot does, without what extensions bring.
func tables(ctx context.Context, c *pgx.Conn) ([]Table, error) {
	const sql = `
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, pg_catalog.pg_table_size(c.oid) AS bytes,
       greatest(c.reltuples, 0)::bigint AS rows, pg_catalog.pg_indexes_size(c.oid) AS indexes,
       c.relkind = 'r' AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND NOT c.relrowsecurity AS sample
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'tideover')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY pg_catalog.pg_table_size(c.oid) + pg_catalog.pg_indexes_size(c.oid) DESC, name`
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Table, err error) {
		return t, row.Scan(&t.Name, &t.Bytes, &t.Rows, &t.Indexes, &t.sample)
	})
}

// written is how many rows blue's clients have written since its statistics began. Sessions tell them at the end of transactions, at
// most once a second.
func written(ctx context.Context, c *pgx.Conn) (n int64, err error) {
	const sql = `SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_catalog.pg_stat_user_tables WHERE schemaname <> 'tideover'`
	err = c.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// oldestWriter is how long the oldest transaction of others that has written is at it: the fence would wait for it. Others' are unseen
// where our role is no member of pg_read_all_stats.
func oldestWriter(ctx context.Context, c *pgx.Conn) (age time.Duration, unseen bool, err error) {
	const sql = `SELECT coalesce(extract(epoch FROM max(pg_catalog.clock_timestamp() - xact_start)), 0)::float8,
       NOT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()`
	var s float64
	err = c.QueryRow(ctx, sql).Scan(&s, &unseen)
	return time.Duration(s * float64(time.Second)), unseen, err
}

// read takes some of the largest table that our role may read, and throws it away.
func (r *Rates) read(ctx context.Context, c *pgx.Conn, tables []Table) error {
	for _, t := range tables {
		if !t.sample || t.Bytes < leastSample {
			continue
		}
		width := int64(100)
		if t.Rows > 0 {
			width = max(1, t.Bytes/t.Rows)
		}
		counted := &counter{}
		began := time.Now()
		if _, err := c.PgConn().CopyTo(ctx, counted, fmt.Sprintf("COPY (SELECT * FROM %s LIMIT %d) TO STDOUT (FORMAT binary)", t.Name, sampleBytes/width+1)); err != nil {
			return err
		}
		if took := time.Since(began); counted.n >= leastSample {
			r.Read, r.From, r.Sample = float64(counted.n)/took.Seconds(), t.Name, counted.n
		}
		return nil
	}
	return nil // all of it is small: what is to be copied is soon copied
}

// write makes a table and an index on green in a transaction that is rolled back.
func (r *Rates) write(ctx context.Context, c *pgx.Conn) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	timed := func(sql string, size string) (rate float64, err error) {
		began := time.Now()
		if _, err = tx.Exec(ctx, sql); err != nil {
			return 0, err
		}
		took := time.Since(began)
		var bytes int64
		err = tx.QueryRow(ctx, `SELECT pg_catalog.pg_relation_size($1::regclass)`, size).Scan(&bytes)
		return float64(bytes) / took.Seconds(), err
	}
	const (
		schema = "tideover_estimate"
		table  = schema + ".made"
	)
	if _, err := tx.Exec(ctx, `CREATE SCHEMA `+schema); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE `+table+` (id bigint, text text)`); err != nil {
		return err
	}
	write, err := timed(fmt.Sprintf(`INSERT INTO %s SELECT i, pg_catalog.repeat(pg_catalog.md5(i::text), 3) FROM pg_catalog.generate_series(1, %d) i`, table, madeRows), table)
	if err != nil {
		return err
	}
	index, err := timed(`CREATE INDEX made_text ON `+table+` (text)`, schema+".made_text")
	if err != nil {
		return err
	}
	r.Write, r.Index = write, index
	return nil
}

// counter counts what it is given.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}
