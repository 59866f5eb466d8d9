package preflight

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
)

// trial migrates an empty copy of blue's schema in a scratch database on green's server, and asks blue for the rows
// that the constraints which are new in it would refuse.
func (c *check) trial(ctx context.Context) error {
	if c.Migrator == nil {
		return nil
	}
	scratch, err := postgres.NewThrowaway(ctx, c.Green, "tideover_preflight")
	if err != nil {
		if lost(ctx, err) != nil {
			return err
		}
		c.add(Fail, "trial", fmt.Sprintf("no scratch database on green's server: %v", err), "ALTER ROLE … CREATEDB on green", 0)
		return nil
	}
	defer func() { _ = scratch.Drop(ctx) }() // what is left, the next one removes
	dsn := scratch.DSN
	if err := snapshot.Schema(ctx, c.Blue.DSN(), dsn, snapshot.SchemaOptions{Profile: c.Profile, BinDir: c.BinDir}); err != nil {
		return c.failed(ctx, "blue's schema cannot be copied", err)
	}
	before, err := c.catalog(ctx, dsn)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := c.Migrator.Migrate(ctx, dsn); err != nil {
		return c.failed(ctx, "the migrations fail on an empty copy of blue's schema", err)
	}
	c.add(OK, "trial", fmt.Sprintf("the migrations pass on an empty copy of blue's schema, in %s", time.Since(began).Round(time.Millisecond)), "", 0)
	after, err := c.catalog(ctx, dsn)
	if err != nil {
		return err
	}
	return c.offenders(ctx, before, after)
}

func (c *check) failed(ctx context.Context, text string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	hint := "mend the cause; nothing was changed on blue"
	if h, ok := err.(interface{ Hint() string }); ok {
		hint = h.Hint()
	}
	c.add(Fail, "trial", fmt.Sprintf("%s: %v", text, err), hint, 0)
	return nil
}

// demand is something that a table's rows must meet, and the query that counts those of blue that do not.
type demand struct {
	Kind, Table, Name string
	Columns           []string // of blue's table that the query needs; where one is new, blue cannot be asked
	Offending         string   // without schema: search_path is set
	Needs             []string // tables that the query needs besides
}

const demandsQuery = `
WITH rel AS (SELECT c.oid, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p'))
SELECT 'not null' AS kind, r.relname AS "table", a.attname::text AS name, ARRAY[a.attname::text] AS columns,
	pg_catalog.format('SELECT count(*) FROM %I t WHERE t.%I IS NULL', r.relname, a.attname) AS offending, '{}'::text[] AS needs
FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
UNION ALL
SELECT 'unique', r.relname, x.relname, k.names,
	pg_catalog.format('SELECT coalesce(sum(n - 1), 0)::bigint FROM (SELECT count(*) AS n FROM %I t WHERE (%s) IS NOT NULL%s GROUP BY %s HAVING count(*) > 1) q', r.relname, k.list,
		coalesce(' AND ' || pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''), k.list), '{}'
FROM rel r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indisunique AND i.indexprs IS NULL JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid,
LATERAL (SELECT array_agg(a.attname::text) AS names, string_agg(pg_catalog.quote_ident(a.attname), ', ') AS list FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
	JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts) k
UNION ALL
SELECT 'foreign key', r.relname, c.conname, k.names,
	pg_catalog.format('SELECT count(*) FROM %I t WHERE %s AND NOT EXISTS (SELECT FROM %I p WHERE %s)', r.relname, k.present, p.relname, k.matched), ARRAY[p.relname::text]
FROM rel r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype = 'f' JOIN rel p ON p.oid = c.confrelid,
LATERAL (SELECT array_agg(a.attname::text) AS names, string_agg(pg_catalog.format('t.%I IS NOT NULL', a.attname), ' AND ') AS present,
	string_agg(pg_catalog.format('p.%I = t.%I', b.attname, a.attname), ' AND ') AS matched
	FROM unnest(c.conkey, c.confkey) k(child, parent) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
	JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.parent) k
UNION ALL
SELECT 'check', r.relname, c.conname, coalesce((SELECT array_agg(a.attname::text) FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.oid AND a.attnum = ANY(c.conkey)), '{}'),
	pg_catalog.format('SELECT count(*) FROM %I t WHERE NOT (%s)', r.relname, pg_catalog.pg_get_expr(c.conbin, c.conrelid)), '{}'
FROM rel r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype = 'c'
UNION ALL
SELECT 'type', r.relname, a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ARRAY[a.attname::text],
	pg_catalog.format('SELECT count(*) FROM %I t WHERE pg_catalog.length((t.%I::text::%s)::text) < 0', r.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), '{}'
FROM rel r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped`

func (c *check) catalog(ctx context.Context, dsn string) ([]demand, error) {
	conn, err := postgres.Connect(ctx, "preflight", dsn)
	if err != nil {
		return nil, err
	}
	defer hang(ctx, conn)
	if _, err := conn.Exec(ctx, "SET search_path = "+pgx.Identifier{c.schema}.Sanitize()); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, demandsQuery, c.schema)
	if err != nil {
		return nil, fmt.Errorf("read the migrated catalog: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[demand])
}

// offenders asks blue about the demands that are new. One on a table or column that the migrations make cannot be asked
// there: the rules and the oracle are for those.
func (c *check) offenders(ctx context.Context, before, after []demand) error {
	old, columns := map[string]bool{}, map[[2]string]bool{}
	tables := map[string]bool{}
	for _, d := range before {
		old[d.Kind+"\x00"+d.Table+"\x00"+d.Offending] = true
		tables[d.Table] = true
		for _, col := range d.Columns {
			columns[[2]string{d.Table, col}] = true
		}
	}
	unasked := 0
next:
	for _, d := range after {
		if old[d.Kind+"\x00"+d.Table+"\x00"+d.Offending] {
			continue
		}
		for _, n := range d.Needs {
			if !tables[n] {
				unasked++
				continue next
			}
		}
		for _, col := range d.Columns {
			if !columns[[2]string{d.Table, col}] {
				unasked++
				continue next
			}
		}
		if err := c.ask(ctx, d); err != nil {
			return err
		}
	}
	if unasked > 0 {
		c.add(OK, "constraints", fmt.Sprintf("%d new constraints are on tables or columns that the migrations make; only a rehearsal can tell", unasked), "", 0)
	}
	return nil
}

// SQLSTATE classes of what a value's text is not of the new type: 22 (data exception).
const dataException = "22"

func (c *check) ask(ctx context.Context, d demand) error {
	name := "constraints"
	var n int64
	err := pgx.BeginTxFunc(ctx, c.blue, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return tx.QueryRow(ctx, d.Offending).Scan(&n) })
	if err := lost(ctx, err); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	what := fmt.Sprintf("%s of table %q (%s)", d.Kind, d.Table, d.Name)
	hint := "a rule of phase before should repair or quarantine them (count them again with the rule's where)"
	switch {
	case err != nil && d.Kind == "type" && strings.HasPrefix(postgres.Code(err), dataException):
		c.add(Warn, name, "the new "+what+": blue has rows whose text is not of it", hint, 0)
	case err != nil:
		c.add(Warn, name, fmt.Sprintf("the new %s: blue could not be asked (SQLSTATE %s)", what, postgres.Code(err)), "look by hand", 0)
	case n > 0:
		c.add(Warn, name, fmt.Sprintf("the new %s: %d rows of blue do not meet it", what, n), hint, n)
	}
	return nil
}
